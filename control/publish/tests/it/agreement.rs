//! DNS and the HTTP edge read one truth: the edge carries requests for a name if and only if DNS answers the name with the
//! edge's addresses.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_names::{RecordId, ZoneId};
use bartizan_store::{Key, Op};
use proptest::prelude::*;
use serde_json::json;

use crate::answers::{leads_here, route};
use crate::lab::{Lab, name, put, record_at, zone_called};

/// Apexes, some inside others, with a gap between some.
const APEXES: [&str; 5] = ["example.com", "b.example.com", "a.b.example.com", "a.a.a.example.com", "example.net"];

/// Of these all names are made, those of records and those that are asked for.
const LABELS: [&str; 3] = ["a", "b", "*"];

/// Labels below an apex.
const DEPTH: usize = 3;

const RECORDS: [&str; 8] = [
    "A 192.0.2.1",
    "A 192.0.2.2 proxied",
    "AAAA 2001:db8::2 proxied",
    "CNAME a.example.com",
    "CNAME origin.test proxied",
    "CNAME 04040404-0404-0404-0404-040404040404.cfargotunnel.com proxied",
    "TXT hello",
    // Below an apex, all from there on is somebody else's.
    "NS ns.example.org",
];

/// A zone: its apex, whether it is paused, and what stands at which of the names below it.
#[derive(Clone, Debug)]
struct Zone {
    apex: &'static str,
    paused: bool,
    records: BTreeMap<Vec<&'static str>, &'static str>,
}

fn zone(apex: &'static str) -> impl Strategy<Value = Zone> {
    let owner = prop::collection::vec(prop::sample::select(&LABELS), 0..=DEPTH);
    let records = prop::collection::btree_map(owner, prop::sample::select(&RECORDS), 0..8);
    (prop::bool::weighted(0.1), records).prop_map(move |(paused, records)| Zone { apex, paused, records })
}

fn zones() -> impl Strategy<Value = Vec<Zone>> {
    let each = APEXES.map(|apex| prop::option::weighted(0.7, zone(apex)));
    Vec::from(each).prop_map(|zones| zones.into_iter().flatten().collect())
}

fn below(labels: &[&str], apex: &str) -> String {
    labels.iter().chain([&apex]).copied().collect::<Vec<_>>().join(".")
}

impl Zone {
    /// What puts it into a store, as the zone with this number.
    fn ops(&self, number: u8) -> Vec<Op> {
        let id = ZoneId::from_bytes([number; 16]);
        let mut ops = vec![zone_called(id, self.apex, &["ns1.example.org"], self.paused)];
        for (at, (owner, words)) in (0..).zip(&self.records) {
            let owner = below(owner, self.apex);
            let mut record = [number; 16];
            record[0] = at;
            let record = Key::record(id, RecordId::from_bytes(record));
            ops.push(put(record, &record_at(id, self.apex, at, &owner, words)));
            ops.push(put(Key::name(id, &name(&owner)), &json!({"records": 1})));
        }
        ops
    }
}

/// Every name that can be made, some of them in no zone.
fn asked() -> BTreeSet<String> {
    let mut below_apexes = vec![Vec::new()];
    let mut newest = below_apexes.clone();
    for _ in 0..=DEPTH {
        newest = newest.iter().flat_map(|labels| LABELS.map(|label| [vec![label], labels.clone()].concat())).collect();
        below_apexes.extend_from_slice(&newest);
    }
    let names = below_apexes.iter().flat_map(|labels| APEXES.map(|apex| below(labels, apex)));
    names.chain(["test".to_owned(), "com".to_owned()]).collect()
}

/// The same name as somebody else would write it.
fn otherwise(name: &str) -> String {
    format!("{}.", name.to_ascii_uppercase())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn dns_and_http_agree(zones in zones()) {
        let mut lab = Lab::new();
        let mut follower = lab.publisher();
        for (number, zone) in (1..).zip(&zones) {
            lab.commit(zone.ops(number));
        }
        follower.follow().unwrap();
        let starter = lab.publisher();
        for bundle in [follower.bundle(), starter.bundle()] {
            for host in asked() {
                let expect = leads_here(bundle, &host);
                prop_assert_eq!(route(bundle, &host).is_some(), expect, "{}", host);
                prop_assert_eq!(route(bundle, &otherwise(&host)).is_some(), expect, "{}", otherwise(&host));
            }
        }
    }
}

/// What lies below a delegation is not this edge's, whatever records there are (RFC 1034 §4.2).
#[test]
fn what_is_delegated_is_not_served() {
    let zone = Zone {
        apex: "example.com",
        paused: false,
        records: BTreeMap::from([
            (vec![], "A 192.0.2.1 proxied"),
            (vec!["a"], "NS ns.example.org"),
            (vec!["b", "a"], "A 192.0.2.1 proxied"),
            (vec!["*", "a"], "A 192.0.2.1 proxied"),
            (vec!["b"], "A 192.0.2.1 proxied"),
        ]),
    };
    let mut lab = Lab::new();
    lab.commit(zone.ops(1));
    let publisher = lab.publisher();
    let bundle = publisher.bundle();
    for (host, expect) in [
        ("example.com", true),
        ("b.example.com", true),
        ("a.example.com", false),
        ("b.a.example.com", false),
        ("c.a.example.com", false),
    ] {
        assert_eq!((leads_here(bundle, host), route(bundle, host).is_some()), (expect, expect), "{host}");
    }
}

/// The rules one by one: an inner zone against an outer one's names, and names that hide others from a wildcard (RFC 4592
/// §3.3.1).
#[test]
fn what_hides_a_name_from_a_wildcard() {
    let zones = [
        Zone {
            apex: "example.com",
            paused: false,
            records: BTreeMap::from([
                (vec!["*"], "A 192.0.2.1 proxied"),
                (vec!["c"], "TXT hello"),
                (vec!["x", "d"], "A 192.0.2.1"),
                (vec!["exact", "b"], "A 192.0.2.2 proxied"),
            ]),
        },
        Zone { apex: "b.example.com", paused: false, records: BTreeMap::from([(vec!["*"], "A 192.0.2.3 proxied")]) },
    ];
    let mut lab = Lab::new();
    for (number, zone) in (1..).zip(&zones) {
        lab.commit(zone.ops(number));
    }
    let publisher = lab.publisher();
    let bundle = publisher.bundle();
    for (host, expect) in [
        ("w.example.com", Some("*.example.com")),
        ("v.w.example.com", Some("*.example.com")),
        ("example.com", None),
        // It exists, with a text alone.
        ("c.example.com", None),
        ("y.c.example.com", None),
        // It exists because something is below it.
        ("d.example.com", None),
        ("y.d.example.com", None),
        // The inner zone decides, whatever the outer one has.
        ("exact.b.example.com", Some("*.b.example.com")),
        ("b.example.com", None),
    ] {
        let found = route(bundle, host).map(|found| found.route.host.clone());
        assert_eq!(found, expect.map(name), "{host}");
        assert_eq!(leads_here(bundle, host), expect.is_some(), "{host}");
    }
}
