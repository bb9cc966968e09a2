//! What one zone, one account or one registry waits for, no other waits for.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bartizan_dial::Destinations;
use bartizan_dnssec::{Dnssec, Given, KeepError, LookError, context};
use bartizan_lab::{NameServer, registry};
use bartizan_names::{AccountId, Name, RecordType, ZoneId};
use bartizan_observed::{Problems, What};
use bartizan_publish::seal_context;
use bartizan_registry::Parents;
use bartizan_signer::{Algorithm, NewKey, Role, generate};
use bartizan_store::{ChangeSet, Key, Meta, Op, Store, Value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value as Json, json};

const AT: &str = "2026-01-01T00:00:00Z";

const GREEDY: AccountId = AccountId::from_bytes([1; 16]);
const OTHER: AccountId = AccountId::from_bytes([2; 16]);

struct Lab {
    store: Store,
    seal: bartizan_seal::Key,
    problems: Problems,
    zones: u8,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let seal = bartizan_seal::Key::load_or_create(&folder.path().join("seal.key")).unwrap();
        let (store, problems) = (Store::open(folder.path()).unwrap(), Problems::default());
        Lab { store, seal, problems, zones: 0, _folder: folder }
    }

    fn start(&self, resolver: &NameServer) -> Dnssec {
        let (store, seal, problems) = (self.store.clone(), self.seal.clone(), self.problems.clone());
        let parents = Parents::by(&[resolver.address], Destinations::all());
        Dnssec::start(Given { store, seal, parents, pace: 1, problems, clock: bartizan_clock::Clock::default() })
    }

    fn put(&self, all: Vec<(Key, Json)>) {
        let put = |(key, json): (Key, Json)| {
            let value = Value::of(key.kind(), json.to_string());
            Op::Put { key, value }
        };
        let meta = Meta {
            at: AT.parse().unwrap(),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: bartizan_seal::random(),
        };
        let ops = all.into_iter().map(put).collect();
        self.store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
    }

    /// A signed zone whose parent is asked at once; with what `change` makes of its DNSSEC. Its id and its key.
    fn zone(&mut self, account: AccountId, name: &str, change: impl Fn(&Lab, ZoneId, &mut Json)) -> (ZoneId, NewKey) {
        self.zones += 1;
        let mut id = [0; 16];
        id[15] = self.zones;
        let id = ZoneId::from_bytes(id);
        let zone = json!({
            "id": id, "name": name, "status": "active", "paused": false, "type": "full",
            "development_mode": 0, "name_servers": ["ns1.example.net"],
            "original_name_servers": null, "original_registrar": null, "original_dnshost": null,
            "modified_on": AT, "created_on": AT, "activated_on": AT,
            "meta": {"step": 4, "custom_certificate_quota": 0, "page_rule_quota": 0, "phishing_detected": false,
                     "multiple_railguns_allowed": false, "cdn_only": false, "dns_only": false, "foundation_dns": false},
            "vanity_name_servers": [], "owner": {"id": "1", "name": "Main", "type": "organization"},
            "account": {"id": account, "name": "Main"}, "permissions": [],
            "plan": {"id": "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "name": "Self-hosted", "price": 0, "currency": "USD",
                     "frequency": "", "is_subscribed": true, "can_subscribe": false, "legacy_id": "enterprise",
                     "legacy_discount": false, "externally_managed": false},
        });
        let mut dnssec = json!({
            "state": "on", "denial": "compact", "ksk_days": 0, "zsk_days": 0, "keys": [], "sealed_keys": {},
            "created_on": AT, "modified_on": AT,
        });
        let key = self.add_key(id, &mut dnssec, "active");
        change(self, id, &mut dnssec);
        self.put(vec![(Key::zone(id), zone), (Key::dnssec(id), dnssec)]);
        (id, key)
    }

    fn add_key(&self, zone: ZoneId, dnssec: &mut Json, stage: &str) -> NewKey {
        let made = generate(Role::Csk, Algorithm::EcdsaP256Sha256).unwrap();
        let keys = dnssec["keys"].as_array_mut().unwrap();
        let id = keys.len().to_string();
        keys.push(json!({
            "id": id, "role": "csk", "algorithm": 13, "public_key": BASE64.encode(made.public.as_bytes()),
            "stage": stage, "since": AT,
        }));
        let sealed = self.seal.seal(&seal_context(zone, &id), &made.pkcs8);
        dnssec["sealed_keys"][id] = json!(BASE64.encode(sealed));
        made
    }

    fn dnssec(&self, zone: ZoneId) -> Json {
        let entry = self.store.read().unwrap().get(&Key::dnssec(zone)).unwrap().unwrap();
        serde_json::from_str(&entry.value.json).unwrap()
    }
}

fn nothing(_: &Lab, _: ZoneId, _: &mut Json) {}

impl Lab {
    /// The registry of all below a name, which is called at this URL.
    fn registry(&self, name: &str, url: &str) {
        let password = BASE64.encode(self.seal.seal(&context(name), b"hush-hush"));
        let registry = json!({
            "name": name, "way": "dsu", "url": url, "userid": "REG-1", "sealed_password": password,
            "created_on": AT, "modified_on": AT,
        });
        self.put(vec![(Key::registry(&Name::parse(name).unwrap()), registry)]);
    }

    /// A signed zone whose parent has no DS record of it, and what a resolver has of both.
    fn shown(&mut self, account: AccountId, name: &str) -> (ZoneId, String) {
        let (zone, key) = self.zone(account, name, nothing);
        let (parent, dnskey) = (name.split_once('.').unwrap().1, key.public.dnskey());
        let parent = format!("{parent} 60 NS ns.{parent}\n ns.{parent} 60 A 127.0.0.255\n");
        (zone, format!("{parent}{name} 60 DNSKEY \\# {} {}\n", dnskey.len(), hex::encode(dnskey)))
    }

    /// Waits until it is so: what the keeper does is a revision, or told soon after one.
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        let mut head = self.store.watch();
        while !is_so() {
            assert!(Instant::now() < end, "not {what}");
            head.borrow_and_update();
            let _ = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(200), head.changed()).await });
        }
    }
}

/// An account whose zones have silent parents, which are waited for: its own steps go on, problems are told, and the zones of
/// others are looked at.
#[test]
fn silent_parents_hold_up_nobody() {
    const SILENT: u8 = 40;
    let resolver = NameServer::start("other.test 60 NS ns.other.test\n ns.other.test 60 A 127.0.0.255");
    resolver.ignores("silent.test");
    let mut lab = Lab::new();
    let silent: Vec<_> =
        (0..SILENT).map(|number| lab.zone(GREEDY, &format!("a.parent{number}.silent.test"), nothing).0).collect();
    let (rolling, _) = lab.zone(GREEDY, "rolling.silent.test", |lab, zone, dnssec| {
        lab.add_key(zone, dnssec, "incoming");
        dnssec["due_on"] = json!(AT);
    });
    lab.zone(GREEDY, "cut.silent.test", |_, _, dnssec| {
        let ds = ["5 13 2 B4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17"];
        dnssec["parent"] = json!({"any": ds, "all": ds, "since": AT, "ttl": 60, "had_ds": true});
    });
    let (other, _) = lab.zone(OTHER, "b.other.test", nothing);
    let keeper = lab.start(&resolver);
    lab.until("asked", || lab.dnssec(other)["parent"]["since"].is_string());
    let stages = || {
        let keys = lab.dnssec(rolling)["keys"].clone();
        keys.as_array().unwrap().iter().map(|key| key["stage"].clone()).collect::<Vec<_>>()
    };
    lab.until("taken", || stages() == ["outgoing", "active"]);
    let cut = What::Dnssec("cut.silent.test".to_owned());
    let told = || lab.problems.all(Instant::now()).iter().any(|told| told.what == cut);
    lab.until("told", told);
    // It did not wait for all of them, which takes five times as long as it waits for one.
    let asked = silent.iter().filter(|zone| keeper.watched(**zone).checked_on.is_some()).count();
    assert!(asked < usize::from(SILENT), "{asked}");
}

/// One registry takes a call and does not answer.
#[test]
fn a_silent_registry_holds_up_no_other() {
    let resolver = NameServer::start("");
    let mut lab = Lab::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, calls) = registry::start(vec![registry::answer("200 OK", None); 2]);
    lab.registry("slow", &format!("http://{}/1.0", silent.local_addr().unwrap()));
    lab.registry("quick", &url);
    let all = [(GREEDY, "a.slow"), (GREEDY, "b.slow"), (OTHER, "c.quick"), (OTHER, "d.quick")];
    let (zones, records): (Vec<_>, Vec<_>) = all.map(|(account, name)| lab.shown(account, name)).into_iter().unzip();
    resolver.has(&records.concat());
    let _keeper = lab.start(&resolver);
    let mut called: Vec<String> = (0..2).map(|_| calls.recv_timeout(Duration::from_secs(25)).unwrap()).collect();
    called.sort();
    assert!(called[0].contains("domain=c.quick&") && called[1].contains("domain=d.quick&"), "{called:?}");
    // And one call at a time, of those that go to the silent one: the second waits, though its zone was looked at long ago, and
    // comes when the first has ended.
    for zone in &zones {
        lab.until("looked at", || lab.dnssec(*zone)["parent"]["since"].is_string());
    }
    silent.set_nonblocking(true).unwrap();
    let accept = || {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match silent.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
            }
            assert!(Instant::now() < end, "not called");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let first: TcpStream = accept();
    std::thread::sleep(Duration::from_secs(2));
    assert!(silent.accept().is_err());
    drop(first);
    accept();
}

/// Two accounts have zones at one registry, and nobody who serves those of the one says which keys they have.
#[test]
fn who_is_silent_about_keys_holds_up_no_other_at_the_registry() {
    const SILENT: u8 = 16;
    let resolver = NameServer::start("");
    let mut lab = Lab::new();
    let (url, calls) = registry::start(vec![registry::answer("200 OK", None)]);
    lab.registry("both", &url);
    let (silent, mut records): (Vec<_>, Vec<_>) =
        (0..SILENT).map(|number| lab.shown(GREEDY, &format!("x{number}.greedy.both"))).unzip();
    records.push(lab.shown(OTHER, "a.both").1);
    resolver.has(&records.concat());
    resolver.ignores_type("greedy.both", RecordType::DNSKEY);
    let keeper = lab.start(&resolver);
    let call = calls.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(call.contains("domain=a.both&"), "{call}");
    // It did not wait until all of them were given up.
    let given_up = silent.iter().filter(|zone| keeper.watched(**zone).sent.is_some()).count();
    assert!(given_up < silent.len(), "{given_up}");
    // Which is told, and nothing is sent for them.
    let failure = |zone: ZoneId| keeper.watched(zone).sent.and_then(|sent| sent.failure);
    lab.until("told", || silent.iter().any(|zone| failure(*zone).is_some()));
}

/// An account with many zones at a registry leaves another its turn there.
#[test]
fn accounts_have_their_turns_at_a_registry() {
    const MANY: u8 = 24;
    let resolver = NameServer::start("");
    let mut lab = Lab::new();
    let (url, calls) = registry::start(vec![registry::answer("200 OK", None); usize::from(MANY)]);
    lab.registry("both", &url);
    let mut records: Vec<_> = (0..MANY).map(|number| lab.shown(GREEDY, &format!("g{number}.both")).1).collect();
    records.push(lab.shown(OTHER, "a.both").1);
    resolver.has(&records.concat());
    let _keeper = lab.start(&resolver);
    // In one line for all it is the last.
    let is_other = || calls.recv_timeout(Duration::from_secs(60)).unwrap().contains("domain=a.both&");
    assert!((0..MANY).any(|_| is_other()));
}

/// What a caller asks for is bounded, whatever the keeper does.
#[test]
fn callers_wait_for_each_other() {
    let resolver = NameServer::start("other.test 60 NS ns.other.test\n ns.other.test 60 A 127.0.0.255");
    let mut lab = Lab::new();
    let (id, _) = lab.zone(OTHER, "b.other.test", nothing);
    let keeper = lab.start(&resolver);
    let entry = lab.store.read().unwrap().get(&Key::zone(id)).unwrap().unwrap();
    let zone = bartizan_model::Zone::parse(&serde_json::from_str(&entry.value.json).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let checks = || futures_util::future::join3(keeper.check(&zone), keeper.check(&zone), keeper.check(&zone));
    let (first, second, third) = runtime.block_on(checks());
    // The second waits for its turn too, unless the keeper was at it and the first had to.
    assert!(first.is_ok(), "{first:?}");
    assert!(matches!(third, Err(KeepError::Look(LookError::Busy))), "{second:?} {third:?}");
    assert!(lab.dnssec(id)["parent"]["since"].is_string());
}
