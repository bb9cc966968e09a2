//! Certificates that run out are renewed behind a running edge.

use std::time::SystemTime;

use bartizan_api::router;
use bartizan_certs::{Ca, Certs, Document};
use bartizan_names::{Timestamp, ZoneId};
use bartizan_seal::Key as SealKey;
use bartizan_store::{ChangeSet, Key, Kind, Meta, Op, Store, Value};

use crate::edge::Edge;

/// Several times what goes in one revision.
const ZONES: u32 = 2_400;

fn commit(store: &Store, ops: Vec<Op>) {
    let meta = Meta {
        at: SystemTime::now().into(),
        actor: "test".to_owned(),
        interface: "test".to_owned(),
        client: None,
        request_id: bartizan_seal::random(),
    };
    store.commit(ChangeSet { guards: vec![], ops, meta }).unwrap();
}

fn certificates(store: &Store) -> Vec<Document> {
    let entries = store.read().unwrap().list_kind(Kind::Certificate, 100_000).unwrap();
    entries.iter().filter_map(|entry| Document::from_entry(entry).ok()).collect()
}

fn id(number: u32) -> ZoneId {
    ZoneId::from_bytes(u128::from(number).to_be_bytes())
}

/// The start waits for none of them; one that cannot be issued and one that cannot be read do not stop the others; and
/// the old ones stay until the new ones are there.
#[test]
fn all_that_is_due_is_renewed_behind_a_running_edge() {
    let (mut edge, given) = Edge::without_router();
    // Of another authority, so that all are due.
    let elsewhere = tempfile::tempdir().unwrap();
    let seal = SealKey::load_or_create(&elsewhere.path().join("seal.key")).unwrap();
    let now: Timestamp = SystemTime::now().into();
    let other = Ca::load_or_create(elsewhere.path(), &seal, now).unwrap();
    let theirs = other.fingerprint().to_owned();
    let other = Certs::new(other, seal);
    let zone = edge.store.read().unwrap().get(&Key::zone(edge.zone().parse().unwrap())).unwrap().unwrap();
    for numbers in (1..=ZONES).collect::<Vec<_>>().chunks(200) {
        let ops = numbers.iter().flat_map(|number| {
            let (id, name) = (id(*number), format!("zone{number}.example"));
            let document = zone.value.json.replace("bartizan.localhost", &name);
            let mut ops = other.for_zone(id, &bartizan_model::Zone::parse_name(&name).unwrap(), now).unwrap();
            let Some(Op::Put { value, .. }) = ops.first_mut() else { panic!("a put") };
            match number {
                // A name for which no certificate can be issued, and a document that cannot be read.
                7 => value.json = value.json.replace(&name, "not a name \u{e9}").into(),
                8 => value.json = "{}".into(),
                _ => {}
            }
            ops.push(Op::Put { key: Key::zone(id), value: Value { format: 1, json: document.into() } });
            ops
        });
        commit(&edge.store, ops.collect());
    }
    let of_theirs = |store: &Store| certificates(store).iter().filter(|one| one.issuer == theirs).count();
    assert_eq!(of_theirs(&edge.store), ZONES as usize - 1, "one cannot be read");
    edge.router = router(given);
    assert_eq!(edge.get("/zones?name=bartizan.localhost").verdict(), "200", "the edge does not wait");
    edge.settle_until(|store| of_theirs(store) == 1);
    assert_eq!(certificates(&edge.store).len(), ZONES as usize - 1 + 2, "none is lost");
    let numbers = || edge.send_as(&[("host", "localhost")], "GET", "/metrics", "").text;
    let wanted = format!("bartizan_certificates_renewed_total {}", ZONES - 2);
    let text = numbers();
    assert!(text.contains(&wanted) && text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("bartizan_certificates_not_renewed_total 2\n"), "{text}");
    let tail = edge.store.read().unwrap().tail(bartizan_store::Rev(edge.revision() - 1), 1).unwrap();
    let meta = &tail[0].meta;
    assert_eq!((&*meta.actor, &*meta.interface), ("edge", "renewal"), "in the log like every change");
}
