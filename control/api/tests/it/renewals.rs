//! Certificates that run out are renewed behind a running edge.

use std::path::Path;
use std::time::{Instant, SystemTime};

use bartizan_api::{Preset, bootstrap, router};
use bartizan_certs::{Ca, Certs, Document};
use bartizan_names::{Timestamp, ZoneId};
use bartizan_observed::What;
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

/// A CA that has run out takes only what needs a new certificate: the edge starts, serves, and says what is to be done.
#[test]
fn an_edge_whose_ca_has_ended_starts_and_serves() {
    let (mut edge, mut given) = Edge::without_router();
    let elsewhere = tempfile::tempdir().unwrap();
    let seal = SealKey::load_or_create(&elsewhere.path().join("seal.key")).unwrap();
    let ended = Certs::new(Ca::load_or_create(elsewhere.path(), &seal, Timestamp::from_unix_micros(1)).unwrap(), seal);
    given.certs = ended.clone();
    let before = certificates(&edge.store);
    let run = |store: &Store, data: &Path, certs: &Certs| {
        let domain = bartizan_model::Zone::parse_name("bartizan.localhost").unwrap();
        bootstrap(store, certs, data, &Preset::default(), &domain, &[]).unwrap()
    };
    assert!(run(&edge.store, &given.facts.data, &ended).zone.is_some(), "what is there stays");
    edge.router = router(given);
    let refused = edge.post("/zones", r#"{"name":"new.example"}"#);
    assert_eq!(refused.verdict(), "503 10511");
    assert!(refused.text.contains("move ca.key.sealed and ca.pem away"), "{}", refused.text);
    let body = r#"{"type":"A","name":"www","content":"192.0.2.1","proxied":true}"#;
    assert_eq!(edge.post(&edge.records(), body).verdict(), "200", "the certificate of the zone covers it");
    assert_eq!(certificates(&edge.store), before, "none is touched");
    let shown =
        || edge.observed.problems.all(Instant::now()).into_iter().map(|problem| problem.what).collect::<Vec<_>>();
    while shown() != [What::Renewal, What::Authority] {
        std::thread::yield_now();
    }

    // A new edge has no zone before it has a CA that issues.
    let (data, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(empty.path()).unwrap();
    assert!(run(&store, data.path(), &ended).zone.is_none());
    assert!(certificates(&store).is_empty());
    let (certs, _) = crate::edge::certs(data.path());
    assert!(run(&store, data.path(), &certs).zone.is_some());
    assert_eq!(certificates(&store).len(), 2);
}
