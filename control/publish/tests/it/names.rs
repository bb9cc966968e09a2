//! Names that mean something by where they lie.

use bartizan_names::{RecordId, ZoneId};
use bartizan_store::{Key, Op};
use serde_json::json;

use crate::answers::{addresses, route};
use crate::lab::{Lab, ZONE, add, name, put, record_document, remove, zone, zone_called};

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
        for bundle in [&followed, fresh.bundle()] {
            let found = (addresses(bundle, "ns1.example.com"), addresses(bundle, "ns2.deep.example.com"));
            assert_eq!((found.0.as_str(), found.1.as_str()), (ns1, ns2), "revision {}", followed.number);
        }
        assert_eq!(
            followed.zones.value.name_count(),
            fresh.bundle().zones.value.name_count(),
            "revision {}",
            followed.number
        );
        assert!(route(&followed, "ns1.example.com").is_none(), "nothing is served there over HTTP");
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
            put(Key::record(young, id), &document),
            put(Key::name(young, &name("www.example.com")), &json!({"records": 1})),
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
        assert_eq!(addresses(bundle, "www.example.com"), "203.0.113.1 2001:db8::1");
        let found = route(bundle, "www.example.com").expect("a route");
        assert_eq!(found.site.zone, young);
    }
}

/// A record may get another name: both are told, and nothing of it stays at the old one.
#[test]
fn a_record_that_moves_leaves_its_name() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1 proxied"), add(2, "www TXT hello")].concat());
    let mut follower = lab.publisher();
    lab.commit(
        [
            add(1, "api A 192.0.2.1 proxied"),
            vec![put(Key::name(ZONE, &name("www.example.com")), &json!({"records": 1}))],
        ]
        .concat(),
    );
    follower.follow().unwrap().unwrap();
    for publisher in [&follower, &lab.publisher()] {
        let bundle = publisher.bundle();
        assert_eq!(addresses(bundle, "www.example.com"), "NOERROR");
        assert!(route(bundle, "www.example.com").is_none());
        assert_eq!(addresses(bundle, "api.example.com"), "203.0.113.1 2001:db8::1");
        assert!(route(bundle, "api.example.com").is_some());
    }
}

/// Records of one name lie apart in the store, in the order in which they came. They are told in the order of their ids, and
/// what is spelt twice is told once.
#[test]
fn records_of_a_name_come_together() {
    let mut lab = Lab::new();
    lab.commit(vec![zone(false)]);
    let mut follower = lab.publisher();
    for (number, words) in [
        (9, "www A 192.0.2.9"),
        (3, "api A 192.0.2.3"),
        (7, "www AAAA 2001:db8::7"),
        (4, "www A 192.0.2.4"),
        (8, "api A 192.0.2.2"),
        (2, "www AAAA 2001:db8:0:0::7"),
        (5, "shop A 192.0.2.5 proxied"),
    ] {
        lab.commit(add(number, words));
        follower.follow().unwrap().expect("a record");
    }
    for publisher in [&follower, &lab.publisher()] {
        let bundle = publisher.bundle();
        for (name, expect) in [
            ("www.example.com", "192.0.2.4 192.0.2.9 2001:db8::7"),
            ("api.example.com", "192.0.2.3 192.0.2.2"),
            ("shop.example.com", "203.0.113.1 2001:db8::1"),
        ] {
            assert_eq!(addresses(bundle, name), expect);
            assert_eq!(route(bundle, name).is_some(), name.starts_with("shop"));
        }
        assert_eq!(bundle.zones.value.name_count(), 3);
    }
}
