//! Clients that make and delete things of all kinds at the same time: whatever meets, what is left fits together.

use std::collections::BTreeMap;
use std::sync::Barrier;

use bartizan_names::{AppId, Name, TokenId, TunnelId, ZoneId};
use bartizan_store::{Filter, Index, Key, Kind, Prefix, Scope, Store};
use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::deletions::Client;
use crate::edge::{Edge, commit, put};

/// One lies in another.
const ZONES: [&str; 3] = ["raced.example", "in.raced.example", "other.example"];

const LABELS: [&str; 3] = ["a", "b", "c.deep"];

const TUNNELS: [&str; 2] = ["one", "two"];

/// What one client does next. Numbers choose among the constants above.
#[derive(Clone, Debug)]
enum Step {
    MakeZone(usize),
    DeleteZone(usize),
    Set(usize),
    Make { zone: usize, what: What, label: usize },
    Delete { zone: usize, what: What },
    MakeTunnel(usize),
    Configure(usize),
    Route { zone: usize, tunnel: usize, label: usize },
    DeleteTunnel(usize),
}

/// What there may be several of in a zone.
#[derive(Clone, Copy, Debug)]
enum What {
    Record,
    ProxiedRecord,
    App,
    StaticApp,
    Rule,
}

fn step() -> impl Strategy<Value = Step> {
    let (zone, label, tunnel) = (0..ZONES.len(), 0..LABELS.len(), 0..TUNNELS.len());
    let what = || prop::sample::select(vec![What::Record, What::ProxiedRecord, What::App, What::StaticApp, What::Rule]);
    prop_oneof![
        3 => zone.clone().prop_map(Step::MakeZone),
        2 => zone.clone().prop_map(Step::DeleteZone),
        1 => zone.clone().prop_map(Step::Set),
        8 => (zone.clone(), what(), label.clone()).prop_map(|(zone, what, label)| Step::Make { zone, what, label }),
        4 => (zone.clone(), what()).prop_map(|(zone, what)| Step::Delete { zone, what }),
        2 => tunnel.clone().prop_map(Step::MakeTunnel),
        1 => tunnel.clone().prop_map(Step::Configure),
        2 => (zone, tunnel.clone(), label).prop_map(|(zone, tunnel, label)| Step::Route { zone, tunnel, label }),
        1 => tunnel.prop_map(Step::DeleteTunnel),
    ]
}

struct Racer<'e> {
    client: Client,
    account: &'e str,
}

impl Racer<'_> {
    /// A call that may come too late or too early, and must not fail for any other reason.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.client.ask(method, path, body.to_string());
        let fine = [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST, StatusCode::CONFLICT];
        assert!(fine.contains(&status), "{method} {path} {body}: {status} {answer}");
        answer["result"].clone()
    }

    fn id_of(&self, path: &str) -> Option<String> {
        self.call("GET", path, &Value::Null)[0]["id"].as_str().map(str::to_owned)
    }

    fn zone(&self, zone: usize) -> Option<String> {
        self.id_of(&format!("/zones?name={}", ZONES[zone]))
    }

    fn tunnel(&self, tunnel: usize) -> Option<String> {
        self.id_of(&format!("/accounts/{}/cfd_tunnel?is_deleted=false&name={}", self.account, TUNNELS[tunnel]))
    }

    /// None where what the step is about is not there.
    fn take(&self, step: &Step) -> Option<Value> {
        let tunnels = format!("/accounts/{}/cfd_tunnel", self.account);
        Some(match step {
            Step::MakeZone(zone) => self.call("POST", "/zones", &json!({"name": ZONES[*zone]})),
            Step::DeleteZone(zone) => self.call("DELETE", &format!("/zones/{}", self.zone(*zone)?), &Value::Null),
            Step::Set(zone) => {
                self.call("PATCH", &format!("/zones/{}/settings/ssl", self.zone(*zone)?), &json!({"value": "full"}))
            }
            Step::Make { zone, what, label } => {
                let path = format!("/zones/{}/{}", self.zone(*zone)?, what.path());
                self.call("POST", &path, &what.body(&format!("{}.{}", LABELS[*label], ZONES[*zone]), *label))
            }
            Step::Delete { zone, what } => {
                let path = format!("/zones/{}/{}", self.zone(*zone)?, what.path());
                self.call("DELETE", &format!("{path}/{}", self.id_of(&path)?), &Value::Null)
            }
            Step::MakeTunnel(tunnel) => self.call("POST", &tunnels, &json!({"name": TUNNELS[*tunnel]})),
            Step::Configure(tunnel) => {
                let path = format!("{tunnels}/{}/configurations", self.tunnel(*tunnel)?);
                self.call("PUT", &path, &json!({"config": {"ingress": [{"service": "http_status:404"}]}}))
            }
            Step::Route { zone, tunnel, label } => {
                let path = format!("/zones/{}/tunnels/{}/routes", self.zone(*zone)?, self.tunnel(*tunnel)?);
                self.call(
                    "PUT",
                    &path,
                    &json!({"type": "dns", "user_hostname": format!("{}.{}", LABELS[*label], ZONES[*zone])}),
                )
            }
            Step::DeleteTunnel(tunnel) => {
                self.call("DELETE", &format!("{tunnels}/{}", self.tunnel(*tunnel)?), &Value::Null)
            }
        })
    }
}

impl What {
    const fn path(self) -> &'static str {
        match self {
            What::Record | What::ProxiedRecord => "dns_records",
            What::App | What::StaticApp => "spectrum/apps",
            What::Rule => "firewall/access_rules/rules",
        }
    }

    fn body(self, name: &str, number: usize) -> Value {
        let app = |edge_ips: Value| {
            json!({"protocol": format!("tcp/{}", 22 + number), "dns": {"type": "CNAME", "name": name},
                   "origin_direct": ["tcp://198.51.100.7:22"], "edge_ips": edge_ips})
        };
        match self {
            What::Record => json!({"type": "TXT", "name": name, "content": "text"}),
            What::ProxiedRecord => json!({"type": "A", "name": name, "content": "192.0.2.1", "proxied": true}),
            What::App => app(json!({"type": "dynamic"})),
            What::StaticApp => app(json!({"type": "static", "ips": ["127.77.0.200"]})),
            What::Rule => {
                json!({"mode": "block", "configuration": {"target": "ip", "value": format!("192.0.2.{number}")}})
            }
        }
    }
}

/// All objects, by their keys.
struct State(BTreeMap<Key, Value>);

impl State {
    fn of(store: &Store) -> State {
        let mut objects = BTreeMap::new();
        let mut put = |entry: bartizan_store::Entry| {
            objects.insert(entry.key, serde_json::from_str(&entry.value.json).unwrap());
        };
        store.read().unwrap().for_each(&Filter::Everything, &mut put).unwrap();
        State(objects)
    }

    fn has(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// What does not fit.
    fn faults(&self) -> Vec<String> {
        let faults = self.0.iter().filter(|(key, document)| !self.fits(key, document).unwrap_or(false));
        faults.map(|(key, document)| format!("{key} {document}")).collect()
    }

    /// Whether what an object relies on is there; none if it does not say what that is.
    fn fits(&self, key: &Key, document: &Value) -> Option<bool> {
        let owner_is_there = match key.scope() {
            Scope::Edge => true,
            Scope::User(user) => self.has(&Key::user(user)),
            Scope::Account(account) => self.has(&Key::account(account)),
            Scope::Zone(zone) => self.has(&Key::zone(zone)),
        };
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
        let owner = |pointer: &str| Some(self.name_document(key.zone_id()?, text(pointer)?));
        let of_kind = match key.kind() {
            Kind::Zone => self.holds(Key::unique(Scope::Edge, Index::ZoneName, text("/name")?), text("/id")?),
            Kind::Tunnel if document["deleted_at"].is_null() => {
                self.holds(Key::unique(key.scope(), Index::TunnelName, text("/name")?), text("/id")?)
            }
            Kind::TunnelConfig => {
                let tunnel = Key::new(key.scope(), Kind::Tunnel, key.id());
                self.0.get(&tunnel)?["deleted_at"].is_null()
            }
            Kind::Record => owner("/name")?["records"].as_u64()? > 0,
            Kind::App => {
                let slot = document["slot"].as_u64();
                let has_addresses =
                    slot.map_or(document["edge_ips"]["type"] == "static", |slot| self.has(&slot_key(slot)));
                has_addresses && owner("/dns/name")?["apps"].as_array()?.contains(&json!(text("/id")?))
            }
            Kind::Name => self.name_fits(key.zone_id()?, key.id(), document)?,
            Kind::Unique => self.holder_is_there(key, document)?,
            Kind::Deletion | Kind::Import => false,
            _ => true,
        };
        Some(owner_is_there && of_kind)
    }

    fn holds(&self, name: Key, id: &str) -> bool {
        self.0.get(&name).is_some_and(|holder| holder["by"] == id)
    }

    fn name_document(&self, zone: ZoneId, owner: &str) -> &Value {
        let key = Name::parse(owner).map(|owner| Key::name(zone, &owner)).unwrap();
        self.0.get(&key).unwrap_or(&Value::Null)
    }

    /// It counts the records that are there, and lists the applications.
    fn name_fits(&self, zone: ZoneId, owner: &str, document: &Value) -> Option<bool> {
        let in_zone =
            |kind: Kind| self.0.iter().filter(move |(key, _)| key.zone_id() == Some(zone) && key.kind() == kind);
        let records = in_zone(Kind::Record).filter(|(_, record)| record["name"] == owner).count();
        let apps = in_zone(Kind::App).filter(|(_, app)| app["dns"]["name"] == owner).count();
        let listed = document["apps"].as_array().map_or(0, Vec::len);
        let alone = records == 0 || apps == 0;
        Some(document["records"].as_u64()? == records as u64 && listed == apps && alone && records + apps > 0)
    }

    fn holder_is_there(&self, key: &Key, document: &Value) -> Option<bool> {
        Some(match key.index()? {
            Index::ZoneName => self.has(&Key::zone(document["by"].as_str()?.parse().ok()?)),
            Index::TunnelName => {
                let Scope::Account(account) = key.scope() else { return None };
                let id: TunnelId = document["by"].as_str()?.parse().ok()?;
                self.0.get(&Key::tunnel(account, id))?["deleted_at"].is_null()
            }
            Index::TokenHash => {
                let token = self.0.get(&Key::parse(document["by"].as_str()?).ok()?)?;
                key.id().strip_prefix("token-hash/") == token["sha256"].as_str()
            }
            Index::UserEmail => {
                let user = self.0.get(&Key::user(document["by"].as_str()?.parse().ok()?))?;
                key.id().strip_prefix("user-email/") == user["email"].as_str()
            }
            Index::SessionHash => {
                let session = self.0.get(&Key::parse(document["by"].as_str()?).ok()?)?;
                key.id().strip_prefix("session-hash/") == session["sha256"].as_str()
            }
            Index::Member => {
                let Scope::Account(account) = key.scope() else { return None };
                self.has(&Key::membership(document["by"].as_str()?.parse().ok()?, account))
            }
            // It may be deleted by now.
            Index::LastToken | Index::LastCertificate => document["by"].is_string(),
            Index::AppSlot => {
                let zone = document["zone"].as_str()?.parse().ok()?;
                !self.name_document(zone, document["name"].as_str()?)["apps"].as_array()?.is_empty()
            }
            Index::AppAddress => {
                let app = |app: &Value| -> Option<bool> {
                    let id: AppId = app["app"].as_str()?.parse().ok()?;
                    Some(self.has(&Key::app(app["zone"].as_str()?.parse().ok()?, id)))
                };
                let apps = document["apps"].as_array()?;
                !apps.is_empty() && apps.iter().all(|one| app(one) == Some(true))
            }
        })
    }
}

fn slot_key(slot: u64) -> Key {
    Key::unique(Scope::Edge, Index::AppSlot, format_args!("{slot:010}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn what_is_left_fits_together(clients in prop::collection::vec(prop::collection::vec(step(), 10..25), 3)) {
        let edge = Edge::new();
        let account = edge.account();
        (0..ZONES.len()).for_each(|zone| drop(edge.new_zone(ZONES[zone])));
        std::thread::scope(|scope| {
            for steps in &clients {
                let racer = Racer { client: Client::new(&edge.router), account: &account };
                scope.spawn(move || steps.iter().for_each(|step| drop(racer.take(step))));
            }
        });
        edge.settle();
        let faults = State::of(&edge.store).faults();
        prop_assert!(faults.is_empty(), "{faults:#?}");
    }
}

/// Many who make the last one at once make one.
#[test]
fn there_are_no_more_tokens_than_there_may_be() {
    let edge = Edge::new();
    let (user, all) = (edge.administrator.user_id, Prefix::of(Scope::User(edge.administrator.user_id), Kind::Token));
    let count = || edge.store.read().unwrap().count(&all).unwrap();
    let key = |number: u16| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Key::token(Scope::User(user), TokenId::from_bytes(id))
    };
    let missing = u16::try_from(999 - count()).unwrap();
    commit(&edge.store, (0..missing).map(|number| put(key(number), "{}")).collect());
    let policy = json!({
        "permission_groups": [{"name": "DNS Read"}],
        "resources": {format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*"},
    });
    let body = json!({"name": "t", "policies": [policy]}).to_string();
    let clients: Vec<Client> = (0..8).map(|_| Client::new(&edge.router)).collect();
    let start = Barrier::new(clients.len());
    let make = &|client: Client| {
        start.wait();
        let (status, answer) = client.ask("POST", "/user/tokens", body.clone());
        assert!([StatusCode::OK, StatusCode::BAD_REQUEST].contains(&status), "{status} {answer}");
        usize::from(status == StatusCode::OK)
    };
    let made: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = clients.into_iter().map(|client| scope.spawn(move || make(client))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((made, count()), (1, 1_000));
}
