//! Through the front door: a real store, changes, and the bundles that come of them.

use bartizan_model::{Record, Settings};
use bartizan_names::{AccountId, Name, RecordId, Timestamp, ZoneId};
use bartizan_publish::{Publisher, check};
use bartizan_routes::Pools;
use bartizan_store::{ChangeSet, Key, Meta, Op, Store, Value};
use serde_json::json;

const ZONE: ZoneId = ZoneId::from_bytes([1; 16]);
const AT: &str = "2026-01-01T00:00:00.000000Z";

/// A store in a directory of its own, and the seal that goes with it.
struct Lab {
    store: Store,
    seal: bartizan_seal::Key,
    _dir: tempfile::TempDir,
    requests: u8,
}

impl Lab {
    fn new() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let seal = bartizan_seal::Key::load_or_create(&dir.path().join("seal.key")).unwrap();
        Lab { store: Store::open(dir.path()).unwrap(), seal, _dir: dir, requests: 0 }
    }

    fn commit(&mut self, ops: Vec<Op>) {
        self.requests += 1;
        let meta =
            Meta { at: Timestamp::from_unix_micros(1), actor: "test".to_owned(), request_id: [self.requests; 16] };
        self.store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
    }

    fn publisher(&self) -> Publisher {
        Publisher::load(self.store.clone(), self.seal.clone(), Pools::new(["127.77.0.0/16".parse().unwrap()])).unwrap()
    }
}

fn put(key: Key, document: serde_json::Value) -> Op {
    Op::Put { key, value: Value { format: 1, json: document.to_string().into() } }
}

fn zone(paused: bool) -> Op {
    let document = json!({
        "id": ZONE, "name": "example.com", "status": "active", "paused": paused, "type": "full",
        "development_mode": 0, "name_servers": ["ns1.example.net", "ns2.example.net"],
        "original_name_servers": null, "original_registrar": null, "original_dnshost": null,
        "modified_on": AT, "created_on": AT, "activated_on": AT,
        "meta": {"step": 4, "custom_certificate_quota": 0, "page_rule_quota": 0, "phishing_detected": false,
                 "multiple_railguns_allowed": false, "cdn_only": false, "dns_only": false, "foundation_dns": false},
        "vanity_name_servers": [], "owner": {"id": "1", "name": "Main", "type": "organization"},
        "account": {"id": AccountId::from_bytes([2; 16]), "name": "Main"},
        "permissions": [], "plan": plan(),
    });
    put(Key::zone(ZONE), document)
}

fn plan() -> serde_json::Value {
    json!({"id": "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "name": "Self-hosted", "price": 0, "currency": "USD",
           "frequency": "", "is_subscribed": true, "can_subscribe": false, "legacy_id": "enterprise",
           "legacy_discount": false, "externally_managed": false})
}

/// `"www A 192.0.2.1 proxied"`, as the record with this number.
fn record_document(number: u8, words: &str) -> serde_json::Value {
    let words: Vec<&str> = words.split(' ').collect();
    let name = if words[0] == "@" { "example.com".to_owned() } else { format!("{}.example.com", words[0]) };
    json!({
        "id": RecordId::from_bytes([number; 16]), "zone_id": ZONE, "zone_name": "example.com", "name": name,
        "type": words[1], "content": words[2], "proxiable": true, "proxied": words.get(3) == Some(&"proxied"),
        "ttl": 1, "settings": {}, "meta": {"auto_added": false, "managed_by_apps": false, "managed_by_argo_tunnel": false}, "comment": null, "tags": [], "created_on": AT, "modified_on": AT,
    })
}

fn record(number: u8, words: &str) -> Record {
    Record::parse(&serde_json::from_value(record_document(number, words)).unwrap()).unwrap()
}

/// The operations that add a record, its owner's unit included.
fn add(number: u8, words: &str) -> Vec<Op> {
    let record = record(number, words);
    vec![
        put(Key::record(ZONE, record.id), record_document(number, words)),
        put(Key::name(ZONE, &record.owner), json!({"records": 1})),
    ]
}

fn remove(number: u8, owner: &str) -> Vec<Op> {
    let owner = Name::parse(owner).unwrap();
    vec![
        Op::Del { key: Key::record(ZONE, RecordId::from_bytes([number; 16])) },
        Op::Del { key: Key::name(ZONE, &owner) },
    ]
}

/// After each step the followed bundle is what a new start would build.
#[test]
fn following_and_loading_agree() {
    let mut lab = Lab::new();
    lab.commit(vec![zone(false)]);
    let mut follower = lab.publisher();
    for (ops, hosts) in [
        (add(1, "www A 192.0.2.1 proxied"), vec!["www.example.com"]),
        (add(2, "deep.er.www AAAA 2001:db8::1"), vec!["www.example.com"]),
        (add(3, "*.wild CNAME www.example.com proxied"), vec!["www.example.com", "a.wild.example.com"]),
        (add(1, "www A 192.0.2.1"), vec!["a.wild.example.com"]),
        (vec![zone(true)], vec![]),
        (vec![zone(false)], vec!["a.wild.example.com"]),
        (remove(3, "*.wild.example.com"), vec![]),
        (remove(2, "deep.er.www.example.com"), vec![]),
        (vec![Op::Del { key: Key::zone(ZONE) }], vec![]),
    ] {
        lab.commit(ops);
        let followed = follower.follow().unwrap().expect("something was committed").clone();
        assert!(follower.follow().unwrap().is_none());
        let fresh = lab.publisher();
        let fresh = fresh.bundle();
        assert_eq!(followed.number, fresh.number);
        assert_eq!(followed.zones.zone_count(), fresh.zones.zone_count(), "revision {}", followed.number);
        assert_eq!(followed.zones.name_count(), fresh.zones.name_count(), "revision {}", followed.number);
        for bundle in [&followed, fresh] {
            assert_eq!(bundle.routes.len(), hosts.len(), "revision {}", followed.number);
            for host in &hosts {
                assert!(bundle.routes.find(host).is_some(), "{host} at revision {}", followed.number);
            }
        }
    }
}

#[test]
fn settings_reach_every_host() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "a A 192.0.2.1 proxied"), add(2, "b A 192.0.2.1 proxied")].concat());
    let mut follower = lab.publisher();
    lab.commit(vec![put(
        Key::settings(ZONE),
        json!({"items": [{"id": "always_use_https", "value": "on", "modified_on": AT}]}),
    )]);
    let bundle = follower.follow().unwrap().unwrap();
    for host in ["a.example.com", "b.example.com"] {
        assert!(bundle.routes.find(host).unwrap().route.settings.always_use_https, "{host}");
    }
    assert!(!Settings::default().always_use_https);
}

#[test]
fn what_cannot_stand_together() {
    let apex = bartizan_names::ZoneName::new(Name::parse("example.com").unwrap()).unwrap();
    for (records, expect) in [
        (vec!["www A 192.0.2.1", "www A 192.0.2.2"], "ok"),
        (vec!["www CNAME a.example.net"], "ok"),
        (vec!["www CNAME a.example.net", "www A 192.0.2.1"], "CnameNotAlone"),
        (vec!["www CNAME a.example.net", "www CNAME b.example.net"], "CnameNotAlone"),
        (vec!["@ CNAME a.example.net"], "CnameAtApex"),
        (vec!["@ CNAME a.example.net proxied"], "ok"),
        (vec!["@ CNAME a.example.net proxied", "@ TXT hello"], "ok"),
        (vec!["www A 192.0.2.1 proxied", "www A 192.0.2.2"], "ProxiedInPart"),
        (vec!["www A 192.0.2.1 proxied", "www TXT hello"], "ok"),
    ] {
        let parsed: Vec<Record> = records.iter().zip(1..).map(|(words, number)| record(number, words)).collect();
        let verdict = match check(&apex, &parsed) {
            Ok(()) => "ok".to_owned(),
            Err(refused) => format!("{refused:?}").split(' ').next().unwrap_or_default().to_owned(),
        };
        assert_eq!(verdict, expect, "{records:?}");
    }
}
