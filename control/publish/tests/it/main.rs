//! Through the front door: a real store, changes, and the bundles that come of them.

use std::net::{Ipv4Addr, Ipv6Addr};

use bartizan_authority::{Addresses, Authority, Identity, Outcome, Scratch, Transaction, Transport, Zones};
use bartizan_model::{Record, Settings};
use bartizan_names::{AccountId, Name, RecordId, RecordType, Timestamp, ZoneId};
use bartizan_publish::{Publisher, check};
use bartizan_routes::Pools;
use bartizan_store::{ChangeSet, Key, Meta, Op, Store, Value};
use bartizan_wire::dns::{Class, Message, write_query};
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
    zone_called(ZONE, "example.com", &["ns1.example.net", "ns2.example.net"], paused)
}

fn zone_called(id: ZoneId, name: &str, servers: &[&str], paused: bool) -> Op {
    let document = json!({
        "id": id, "name": name, "status": "active", "paused": paused, "type": "full",
        "development_mode": 0, "name_servers": servers,
        "original_name_servers": null, "original_registrar": null, "original_dnshost": null,
        "modified_on": AT, "created_on": AT, "activated_on": AT,
        "meta": {"step": 4, "custom_certificate_quota": 0, "page_rule_quota": 0, "phishing_detected": false,
                 "multiple_railguns_allowed": false, "cdn_only": false, "dns_only": false, "foundation_dns": false},
        "vanity_name_servers": [], "owner": {"id": "1", "name": "Main", "type": "organization"},
        "account": {"id": AccountId::from_bytes([2; 16]), "name": "Main"},
        "permissions": [], "plan": plan(),
    });
    put(Key::zone(id), document)
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
            for host in ["www.example.com", "deep.er.www.example.com", "a.wild.example.com"] {
                let found = bundle.routes.find(host).is_some();
                assert_eq!(found, hosts.contains(&host), "{host} at revision {}", followed.number);
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
        assert!(bundle.routes.find(host).unwrap().site.settings.always_use_https, "{host}");
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

fn of_type(message: &Message, rtype: RecordType) -> impl Iterator<Item = &[u8]> {
    message.answers.iter().filter(move |record| record.rtype == rtype).map(|record| record.rdata.as_slice())
}

/// Addresses at `owner`, of a PoP at 203.0.113.1 and 2001:db8::1; or the response code.
fn addresses(zones: &Zones, owner: &str) -> String {
    let addresses = Addresses { v4: vec!["203.0.113.1".parse().unwrap()], v6: vec!["2001:db8::1".parse().unwrap()] };
    let authority = Authority { zones, addresses: &addresses, identity: &Identity::default() };
    let ask = |rtype: &str| {
        let query = write_query(1, &Name::parse(owner).unwrap(), rtype.parse().unwrap(), Class::IN, None);
        let mut reply = [0; 512];
        let mut transaction = [Transaction::new(Transport::Udp, &query, &mut reply)];
        authority.answer(&mut transaction, &mut Scratch::default());
        let Outcome::Reply { len, .. } = transaction[0].outcome else { panic!("silence") };
        Message::parse(&transaction[0].reply[..len]).unwrap()
    };
    let (v4, v6) = (ask("A"), ask("AAAA"));
    let v4s = of_type(&v4, RecordType::A).map(|rdata| Ipv4Addr::from(*rdata.first_chunk().unwrap()).to_string());
    let v6s = of_type(&v6, RecordType::AAAA).map(|rdata| Ipv6Addr::from(*rdata.first_chunk().unwrap()).to_string());
    let all: Vec<String> = v4s.chain(v6s).collect();
    if all.is_empty() { format!("{:?}", v4.rcode) } else { all.join(" ") }
}

/// The names of this edge's servers lead to this edge, wherever they lie, unless somebody says otherwise. After each
/// step a new start agrees.
#[test]
fn name_servers_have_addresses() {
    const INNER: ZoneId = ZoneId::from_bytes([2; 16]);
    const OTHER: ZoneId = ZoneId::from_bytes([3; 16]);
    const POP: &str = "203.0.113.1 2001:db8::1";
    let mut lab = Lab::new();
    let servers = ["ns1.example.com", "ns2.deep.example.com"];
    let outer = |paused| zone_called(ZONE, "example.com", &servers, paused);
    lab.commit(vec![outer(false)]);
    let mut follower = lab.publisher();
    for (ops, ns1, ns2) in [
        (add(1, "www A 192.0.2.1"), POP, POP),
        // What users say counts, and what is no address says nothing.
        (add(2, "ns1 A 192.0.2.7"), "192.0.2.7", POP),
        (add(2, "ns1 CNAME www.example.com"), "192.0.2.1", POP),
        (add(2, "ns1 TXT hello"), POP, POP),
        (remove(2, "ns1.example.com"), POP, POP),
        (vec![outer(true)], POP, POP),
        // A zone inside, which is asked from now on, and one elsewhere that has the same servers.
        (vec![zone_called(INNER, "deep.example.com", &servers, false)], POP, POP),
        (vec![zone_called(OTHER, "example.net", &servers, false)], POP, POP),
        // Nobody names the second any more.
        (vec![zone_called(INNER, "deep.example.com", &servers[..1], false)], POP, POP),
        (vec![zone_called(ZONE, "example.com", &servers[..1], false)], POP, POP),
        (vec![Op::Del { key: Key::zone(OTHER) }], POP, "NXDOMAIN"),
        (vec![Op::Del { key: Key::zone(ZONE) }], "REFUSED", "NXDOMAIN"),
        (vec![zone_called(ZONE, "example.com", &servers, false)], POP, POP),
    ] {
        lab.commit(ops);
        let followed = follower.follow().unwrap().expect("something was committed").clone();
        let fresh = lab.publisher();
        for zones in [&followed.zones, &fresh.bundle().zones] {
            let found = (addresses(zones, "ns1.example.com"), addresses(zones, "ns2.deep.example.com"));
            assert_eq!((found.0.as_str(), found.1.as_str()), (ns1, ns2), "revision {}", followed.number);
        }
        assert_eq!(followed.zones.name_count(), fresh.bundle().zones.name_count(), "revision {}", followed.number);
        assert!(followed.routes.find("ns1.example.com").is_none(), "nothing is served there over HTTP");
    }
}

/// A name that is free again may be taken at once, while what is left of the old zone still goes.
#[test]
fn a_zone_in_the_place_of_a_deleted_one() {
    let young = ZoneId::from_bytes([0; 16]);
    let in_young = |mut ops: Vec<Op>| {
        let id = RecordId::from_bytes([9; 16]);
        let mut document = record_document(9, "www A 192.0.2.9 proxied");
        document["zone_id"] = json!(young);
        ops.extend([
            zone_called(young, "example.com", &[], false),
            put(Key::record(young, id), document),
            put(Key::name(young, &Name::parse("www.example.com").unwrap()), json!({"records": 1})),
        ]);
        ops
    };
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1 proxied")].concat());
    let mut follower = lab.publisher();
    // Both in what is followed in one go; and then the rest of the old one.
    lab.commit(vec![Op::Del { key: Key::zone(ZONE) }]);
    lab.commit(in_young(Vec::new()));
    for ops in [None, Some(remove(1, "www.example.com"))] {
        if let Some(ops) = ops {
            lab.commit(ops);
        }
        let bundle = follower.follow().unwrap().unwrap();
        assert_eq!(addresses(&bundle.zones, "www.example.com"), "203.0.113.1 2001:db8::1");
        let found = bundle.routes.find("www.example.com").expect("a route");
        assert_eq!(found.site.zone, young);
    }
}
