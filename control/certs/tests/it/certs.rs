//! Which certificates appear, are renewed, and go.

use std::path::Path;

use bartizan_certs::{Ca, Certs, CertsError, Document, Purpose};
use bartizan_names::{Name, Span, Timestamp, ZoneId, ZoneName};
use bartizan_seal::Key;
use bartizan_store::{ChangeSet, Filter, Kind, Meta, Op, Store};
use tempfile::TempDir;

use crate::{ca, day, openssl, seal_key};

/// An edge as far as certificates go.
struct Edge {
    dir: TempDir,
    store: Store,
    certs: Certs,
}

const ZONE: ZoneId = ZoneId::from_bytes([1; 16]);

fn zone_name(text: &str) -> ZoneName {
    ZoneName::new(Name::parse(text).unwrap()).unwrap()
}

fn facade(dir: &Path) -> Certs {
    Certs::new(ca(dir), seal_key(dir))
}

impl Edge {
    fn new() -> Edge {
        let dir = tempfile::tempdir().unwrap();
        Edge { store: Store::open(dir.path()).unwrap(), certs: facade(dir.path()), dir }
    }

    fn commit(&self, ops: Vec<Op>) {
        let meta = Meta {
            at: day(0),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: bartizan_seal::random(),
        };
        self.store.commit(ChangeSet { guards: vec![], ops, meta }).unwrap();
    }

    fn documents(&self) -> Vec<Document> {
        let mut found = Vec::new();
        self.store
            .read()
            .unwrap()
            .for_each(&Filter::Kinds(vec![Kind::Certificate]), &mut |entry| {
                found.push(Document::from_entry(&entry).unwrap());
            })
            .unwrap();
        found
    }

    fn host(&self, owner: &str, now: Timestamp) -> Vec<Op> {
        let snapshot = self.store.read().unwrap();
        self.certs.for_host(&snapshot, ZONE, &zone_name("example.test"), &Name::parse(owner).unwrap(), now).unwrap()
    }

    fn trusts(&self, document: &Document, host: &str, now: Timestamp) -> bool {
        openssl::verify(&self.dir.path().join("ca.pem"), &document.chain_pem, now, &["-verify_hostname", host])
    }
}

#[test]
fn a_zone_and_the_tunnels_get_what_they_need() {
    let edge = Edge::new();
    edge.commit(edge.certs.for_zone(ZONE, &zone_name("example.test"), day(0)).unwrap());
    edge.commit(edge.certs.for_tunnels(day(0)).unwrap());
    // Asked twice is had once.
    edge.commit(edge.certs.for_tunnels(day(0)).unwrap());
    let documents = edge.documents();
    assert_eq!(documents.len(), 2);
    for document in documents {
        let (zone, chain, hosts) = match document.purpose {
            Purpose::Zone => (Some(ZONE), 1, vec!["example.test", "www.example.test"]),
            Purpose::Tunnel => (None, 2, vec!["quic.cftunnel.com", "h2.cftunnel.com", "probe.cftunnel.com"]),
            Purpose::Host => panic!("nobody asked for one"),
        };
        assert_eq!((document.zone, document.chain_pem.matches("-----BEGIN").count()), (zone, chain));
        assert_eq!(document.chain_pem.ends_with(edge.certs.ca_pem()), chain == 2);
        for host in hosts {
            assert!(edge.trusts(&document, host, day(1)), "{host}");
        }
        let key = document.key(&seal_key(edge.dir.path())).unwrap();
        let of_key = openssl::stdin(&["pkey", "-inform", "DER", "-pubout"], &key).text();
        let of_leaf = openssl::stdin(&["x509", "-noout", "-pubkey"], document.chain_pem.as_bytes()).text();
        assert_eq!(of_key, of_leaf);
    }
}

#[test]
fn keys_open_with_their_own_seal_and_id_only() {
    let edge = Edge::new();
    edge.commit(edge.certs.for_tunnels(day(0)).unwrap());
    let mut document = edge.documents().remove(0);
    let other = tempfile::tempdir().unwrap();
    let refused = document.key(&Key::load_or_create(&other.path().join("seal.key")).unwrap());
    assert!(matches!(refused, Err(CertsError::SealedKey { .. })), "{refused:?}");
    document.id = bartizan_names::CertificateId::from_bytes([0; 16]);
    let refused = document.key(&seal_key(edge.dir.path()));
    assert!(matches!(refused, Err(CertsError::SealedKey { .. })), "{refused:?}");
    let mut text = serde_json::to_value(&document).unwrap();
    text["sealed_key"] = format!("{}!", text["sealed_key"].as_str().unwrap()).into();
    let document: Document = serde_json::from_value(text).unwrap();
    let refused = document.key(&seal_key(edge.dir.path()));
    assert!(matches!(refused, Err(CertsError::Document { .. })), "{refused:?}");
}

#[test]
fn only_deeper_hosts_need_a_certificate_of_their_own() {
    let edge = Edge::new();
    edge.commit(edge.host("*.wild.example.test", day(0)));
    edge.commit(edge.host("one.deep.example.test", day(0)));
    for (owner, needed) in [
        ("example.test", false),
        ("www.example.test", false),
        ("*.example.test", false),
        ("one.deep.example.test", false),
        ("two.deep.example.test", true),
        ("a.wild.example.test", false),
        ("*.wild.example.test", false),
        ("a.b.wild.example.test", true),
        ("*.other.example.test", true),
        // No host on the web, and not ours.
        (r"a\032b.c.example.test", false),
        ("a.b.elsewhere.test", false),
    ] {
        assert_eq!(edge.host(owner, day(1)).len(), usize::from(needed), "{owner}");
    }
    // One that is about to end covers nothing.
    assert_eq!(edge.host("one.deep.example.test", day(80)).len(), 1);
    for document in edge.documents() {
        assert_eq!((document.purpose, document.zone), (Purpose::Host, Some(ZONE)));
        let host = document.names[0].replace('*', "any");
        assert!(edge.trusts(&document, &host, day(1)), "{host}");
    }
}

#[test]
fn the_last_third_of_a_life_is_for_renewal() {
    let edge = Edge::new();
    edge.commit(edge.certs.for_zone(ZONE, &zone_name("example.test"), day(0)).unwrap());
    edge.commit(edge.certs.for_tunnels(day(30)).unwrap());
    edge.commit(edge.host("one.deep.example.test", day(30)));
    let due = |today| edge.documents().into_iter().filter(|old| edge.certs.is_due(old, day(today))).count();
    // At first two are not valid yet.
    for (today, expect) in [(0, 2), (31, 0), (59, 0), (61, 1), (89, 1), (91, 3), (200, 3)] {
        assert_eq!(due(today), expect, "day {today}");
    }
    let before = edge.documents();
    edge.commit(before.iter().map(|old| edge.certs.renewed(old.clone(), Span::at(day(91))).unwrap().to_op()).collect());
    let after = edge.documents();
    assert_eq!(after.len(), before.len());
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((old.id, &old.names, old.zone, old.purpose), (new.id, &new.names, new.zone, new.purpose));
        assert_ne!(old.chain_pem, new.chain_pem);
        assert!(edge.trusts(new, &new.names[0], day(180)));
    }
    assert_eq!(due(92), 0);
}

/// Issued when the clock was ahead: the new one lasts as long as any, and not until the end of the wrong one.
#[test]
fn what_is_not_valid_yet_is_renewed_at_once_for_as_long_as_usual() {
    let edge = Edge::new();
    edge.commit(edge.certs.for_zone(ZONE, &zone_name("example.test"), day(400)).unwrap());
    let ahead = edge.documents().remove(0);
    assert!(edge.certs.is_due(&ahead, day(1)) && !edge.trusts(&ahead, "example.test", day(1)));
    let new = edge.certs.renewed(ahead, Span::at(day(1))).unwrap();
    assert!(!edge.certs.is_due(&new, day(1)));
    for (today, expect) in [(1, true), (90, true), (92, false), (400, false), (489, false)] {
        assert_eq!(edge.trusts(&new, "example.test", day(today)), expect, "day {today}");
    }
}

/// After a rest of half a year either time may be the right one.
#[test]
fn what_has_ended_while_an_edge_was_off_is_renewed_for_both_times() {
    let edge = Edge::new();
    edge.commit(edge.certs.for_zone(ZONE, &zone_name("example.test"), day(0)).unwrap());
    let old = edge.documents().remove(0);
    let new = edge.certs.renewed(old, Span { earliest: day(10), latest: day(190) }).unwrap();
    for (today, expect) in [(9, false), (10, true), (190, true), (279, true), (281, false)] {
        assert_eq!(edge.trusts(&new, "example.test", day(today)), expect, "day {today}");
    }
    assert!(edge.certs.is_due(&new, day(191)), "back to the usual length");
}

#[test]
fn certificates_of_another_ca_are_renewed_at_once() {
    let edge = Edge::new();
    edge.commit(edge.certs.for_tunnels(day(0)).unwrap());
    let other = tempfile::tempdir().unwrap();
    let seal = seal_key(edge.dir.path());
    let certs = Certs::new(Ca::load_or_create(other.path(), &seal, day(0)).unwrap(), seal);
    assert!(edge.documents().iter().all(|document| certs.is_due(document, day(1))));
}
