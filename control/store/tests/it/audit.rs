//! What the audit says of changes, how long it says it, and what it never says.

use bartizan_names::{TokenId, UserId};
use bartizan_store::{
    AuditAction, AuditEntry, AuditOf, AuditRange, AuditRetention, ChangeSet, Direction, Kind, Op, Rev, Scope, Snapshot,
    Store,
};
use rusqlite::Connection;

use crate::objects::{
    Record, account, at, open, put, record_id, rule_key, rule_op, set, tunnel, tunnel_op, zone, zone_op,
};

const USER: UserId = UserId::from_bytes([7; 16]);

fn token(number: u8) -> TokenId {
    TokenId::from_bytes([number; 16])
}

/// As somebody asks for it, with the token of this number.
fn by(number: u8, ops: Vec<Op>) -> ChangeSet {
    let mut set = set(vec![], ops);
    set.meta.actor = format!("token:{} user:{USER}", token(number));
    set.meta.interface = "api POST /zones/{zone_id}/dns_records".to_owned();
    set.meta.client = Some("192.0.2.9".parse().unwrap());
    set
}

fn all(snapshot: &Snapshot) -> Vec<AuditEntry> {
    snapshot.audit(&AuditOf::All, AuditRange::ALL, Direction::Ascending, usize::MAX).unwrap()
}

/// Of an entry: revision, what was done, to what, and how many.
fn told(entry: &AuditEntry) -> String {
    let AuditEntry { place, action, key, name, count, .. } = entry;
    let name = name.as_deref().unwrap_or("-");
    format!("{} {action} {} {name} {count}", place.rev(), key.kind().text())
}

fn documents(snapshot: &Snapshot, entry: &AuditEntry) -> [Option<String>; 2] {
    let (before, after) = snapshot.audit_documents(entry.place).unwrap();
    [before, after].map(|document| document.map(|value| value.json.to_string()))
}

fn json(op: &Op) -> Option<String> {
    if let Op::Put { value, .. } = op { Some(value.json.to_string()) } else { None }
}

#[test]
fn an_entry_says_who_what_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let record = |content: &str| Record::new(1, 2, "www.a.test", "A", content).put();
    let (zone_put, first, second) = (zone_op(1, "a.test", 3, "active"), record("192.0.2.1"), record("192.0.2.2"));
    let gone = Op::Del { key: first.key().clone() };
    for ops in [
        vec![zone_put.clone()],
        vec![first.clone()],
        vec![second.clone()],
        // Nothing is changed by it.
        vec![second.clone()],
        vec![gone.clone()],
        vec![gone],
        vec![rule_op(1, 1, "block", "ip", "192.0.2.7", ""), Op::Del { key: rule_key(1, 1) }],
    ] {
        store.commit(by(1, ops)).unwrap();
    }
    // What the edge does by itself.
    store.commit(set(vec![], vec![record("192.0.2.3")])).unwrap();
    let snapshot = store.read().unwrap();
    let entries = all(&snapshot);
    let expect = [
        "1 add zone a.test 1",
        "2 add record www.a.test 1",
        "3 change record www.a.test 1",
        "5 delete record www.a.test 1",
        "7 add access_rule 192.0.2.7 1",
        "7 delete access_rule 192.0.2.7 1",
    ];
    assert_eq!(entries.iter().map(told).collect::<Vec<_>>(), expect);
    let [zone_added, added, changed, deleted, ..] = &*entries else { panic!("{entries:?}") };
    assert_eq!(documents(&snapshot, zone_added), [None, json(&zone_put)]);
    assert_eq!(documents(&snapshot, added), [None, json(&first)]);
    assert_eq!(documents(&snapshot, changed), [json(&first), json(&second)]);
    assert_eq!(documents(&snapshot, deleted), [json(&second), None]);
    assert_eq!((changed.user, changed.token, changed.client), (Some(USER), Some(token(1)), "192.0.2.9".parse().ok()));
    assert_eq!((changed.interface.as_str(), changed.at), ("api POST /zones/{zone_id}/dns_records", at(1)));
    assert_eq!(changed.object, Some(record_id(2).to_string()));

    let found = |of: AuditOf| snapshot.audit(&of, AuditRange::ALL, Direction::Descending, 10).unwrap();
    let reversed: Vec<_> = entries.iter().rev().cloned().collect();
    for of in [AuditOf::Account(account(3)), AuditOf::By(USER), AuditOf::Zone(zone(1))] {
        assert_eq!(found(of.clone()), reversed, "{of:?}");
    }
    for (of, expect) in [
        (AuditOf::Object(record_id(2).to_string()), 3),
        // An access rule has the same digits for an id.
        (AuditOf::Object(zone(1).to_string()), 3),
        (AuditOf::Named("a.test".to_owned(), Kind::Zone), 1),
        (AuditOf::Named("a.test".to_owned(), Kind::Record), 0),
        (AuditOf::Account(account(4)), 0),
        (AuditOf::User(USER), 0),
        (AuditOf::Zone(zone(2)), 0),
    ] {
        assert_eq!(found(of.clone()).len(), expect, "{of:?}");
    }
    let of_three = snapshot.audit(&AuditOf::All, AuditRange::of(Rev(3)), Direction::Ascending, 10).unwrap();
    assert_eq!(of_three, std::slice::from_ref(changed));
    assert_eq!(snapshot.audit_extent().unwrap().entries, 6);
    // Nothing of this is a part of the state.
    assert_eq!(snapshot.wrong_parts().unwrap(), []);
}

#[test]
fn secrets_are_not_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let key = tunnel_op(9, "", 1, 1, None).key().clone();
    let document = |secret: &str| {
        let json = serde_json::json!({
            "id": tunnel(9), "name": "office", "account_tag": account(1), "created_at": at(1), "deleted_at": null,
            "secret_sha256": secret, "sealed_secret": secret,
        });
        put(key.clone(), &json.to_string())
    };
    store.commit(by(1, vec![document("in clear")])).unwrap();
    store.commit(by(1, vec![document("another")])).unwrap();
    let snapshot = store.read().unwrap();
    let entries = all(&snapshot);
    assert_eq!(entries.iter().map(told).collect::<Vec<_>>(), ["1 add tunnel office 1", "2 change tunnel office 1"]);
    for entry in &entries {
        let text = format!("{:?}", documents(&snapshot, entry));
        assert!(text.contains("office") && !text.contains("clear") && !text.contains("another"), "{text}");
    }
    // That one is another now is told, and by the next change it is as it was before.
    store.commit(by(1, vec![document("another")])).unwrap();
    let snapshot = store.read().unwrap();
    let replaced: Vec<[Option<String>; 2]> = all(&snapshot)
        .iter()
        .map(|entry| {
            let (before, after) = snapshot.audit_documents(entry.place).unwrap();
            [before, after].map(|document| {
                let document: serde_json::Value = serde_json::from_str(&document?.json).unwrap();
                document.get("replaced").map(ToString::to_string)
            })
        })
        .collect();
    let both = r#"["secret_sha256","sealed_secret"]"#.to_owned();
    assert_eq!(replaced, [[None, None], [None, Some(both)], [None, None]]);
}

/// A large change set has so many entries in an hour, and says how many objects it changed beside.
#[test]
fn a_large_change_is_told_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(by(1, vec![zone_op(1, "a.test", 3, "active")])).unwrap();
    let key = |number: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        bartizan_store::Key::record(zone(1), bartizan_names::RecordId::from_bytes(id))
    };
    let batch = |hour: u64, numbers: std::ops::Range<u32>, by_token: u8| {
        let put = |number: u32| {
            let json = serde_json::json!({
                "name": format!("{number}.a.test"), "type": "A", "content": format!("{by_token} {hour}"),
                "proxied": false, "ttl": 1,
            });
            put(key(number), &json.to_string())
        };
        let mut set = by(by_token, numbers.map(put).collect());
        set.meta.at = at(hour * 3_600);
        store.commit(set).unwrap()
    };
    let counts = |rev: Rev| {
        let entries = store.read().unwrap().audit(&AuditOf::All, AuditRange::of(rev), Direction::Ascending, 100_000);
        let entries = entries.unwrap();
        let summaries: Vec<_> = entries.iter().filter(|entry| entry.object.is_none()).collect();
        (entries.len() - summaries.len(), summaries.iter().map(|entry| entry.count).sum::<u64>(), summaries.len())
    };
    assert_eq!(counts(batch(1, 0..15_000, 1)), (15_000, 0, 0));
    assert_eq!(counts(batch(1, 20_000..21_000, 2)), (1_000, 0, 0), "another token has its own");
    let more = batch(1, 10_000..26_000, 1);
    // 5,000 of them stay as they are, 1,000 are changed, and 10,000 are new.
    assert_eq!(counts(more), (1_000 + 5_000, 5_000, 1));
    let snapshot = store.read().unwrap();
    let summaries = snapshot.audit(&AuditOf::Zone(zone(1)), AuditRange::of(more), Direction::Ascending, 100_000);
    let told: Vec<_> = summaries.unwrap().iter().filter(|entry| entry.object.is_none()).map(told).collect();
    assert_eq!(told, [format!("{more} add record - 5000")]);
    // Who added so many does not hide by it what they delete then.
    let mut deleted = by(1, (0..120).map(|number| Op::Del { key: key(number) }).collect());
    deleted.meta.at = at(3_600);
    let deleted = store.commit(deleted).unwrap();
    assert_eq!(counts(deleted), (120, 0, 0));
    let snapshot = store.read().unwrap();
    for entry in snapshot.audit(&AuditOf::All, AuditRange::of(deleted), Direction::Ascending, 200).unwrap() {
        let [before, after] = documents(&snapshot, &entry);
        assert!(entry.name.is_some() && before.is_some() && after.is_none(), "{entry:?}");
    }
    // Small ones always have an entry each, and the next hour is another one.
    assert_eq!(counts(batch(1, 0..50, 1)), (50, 0, 0));
    assert_eq!(counts(batch(2, 30_000..30_200, 1)), (200, 0, 0));
}

/// What goes with a zone in the background is told as done by whoever deleted the zone.
#[test]
fn the_rest_of_a_deletion_is_somebodys() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let record = Record::new(1, 2, "www.a.test", "A", "192.0.2.1");
    store.commit(by(1, vec![zone_op(1, "a.test", 3, "active"), record.put()])).unwrap();
    let deleted = by(2, vec![Op::Del { key: bartizan_store::Key::zone(zone(1)) }]);
    store.commit(deleted.clone()).unwrap();
    let mut rest = set(vec![], vec![Op::Del { key: record.key() }]);
    (rest.meta.actor, rest.meta.interface) = ("edge".to_owned(), "deletion".to_owned());
    store.commit(rest).unwrap();
    let snapshot = store.read().unwrap();
    let entries = snapshot.audit(&AuditOf::Account(account(3)), AuditRange::ALL, Direction::Ascending, 10).unwrap();
    let last = entries.last().unwrap();
    assert_eq!(told(last), "3 delete record www.a.test 1");
    assert_eq!((last.token, last.request_id), (Some(token(2)), deleted.meta.request_id));
    assert_eq!(documents(&snapshot, last), [json(&record.put()), None]);
}

/// A file of before the audit gets the one that its log tells.
#[test]
fn an_older_file_gets_an_audit_from_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let record = |content: &str| Record::new(1, 2, "www.a.test", "A", content).put();
    store.commit(by(1, vec![zone_op(1, "a.test", 3, "active")])).unwrap();
    for op in [record("192.0.2.1"), record("192.0.2.2"), Op::Del { key: record("").key().clone() }] {
        store.commit(by(1, vec![op])).unwrap();
    }
    let expect = all(&store.read().unwrap());
    drop(store);
    let path = dir.path().join("store.sqlite");
    let older = "DROP TABLE audit; DROP TABLE audit_share; PRAGMA user_version = 2";
    Connection::open(&path).unwrap().execute_batch(older).unwrap();
    let store = open(&dir);
    let snapshot = store.read().unwrap();
    let found = all(&snapshot);
    // The first change of an object that does not say when it was made could be any.
    let told_of = |entries: &[AuditEntry]| entries[1..].iter().skip(1).map(told).collect::<Vec<_>>();
    assert_eq!(told_of(&found), told_of(&expect));
    assert_eq!(documents(&snapshot, &found[2]), [json(&record("192.0.2.1")), json(&record("192.0.2.2"))]);
    assert_eq!(documents(&snapshot, &found[3]), [json(&record("192.0.2.2")), None]);
    assert_eq!(snapshot.audit_extent().unwrap().entries, 4);
    drop(snapshot);
    // The way back, and the way on.
    let copy = std::fs::read(dir.path().join("store.schema-2.sqlite")).unwrap();
    assert_eq!(copy[60..64], 2_u32.to_be_bytes());
    assert_eq!(store.commit(by(1, vec![record("192.0.2.3")])).unwrap(), Rev(5));
    assert_eq!(told(all(&store.read().unwrap()).last().unwrap()), "5 add record www.a.test 1");
}

/// What the operator says holds at once: the oldest go, and not with a step for each change.
#[test]
fn as_much_stays_as_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    assert_eq!(store.audit_kept(), AuditRetention::USUAL);
    store.commit(by(1, vec![zone_op(1, "a.test", 3, "active")])).unwrap();
    let batch = |content: &str| (1..=100).map(|id| Record::new(1, id, "www.a.test", "A", content).put()).collect();
    for number in 0..20 {
        store.commit(by(1, batch(&format!("192.0.2.{number}")))).unwrap();
    }
    let before = store.read().unwrap().audit_extent().unwrap();
    assert_eq!(before.entries, 2_001);
    let keep = AuditRetention { days: 365, bytes: before.bytes / 2 };
    store.keep_audit(keep);
    for number in 0..5 {
        store.commit(by(1, vec![Record::new(1, 1, "www.a.test", "A", &format!("192.0.3.{number}")).put()])).unwrap();
    }
    let after = store.read().unwrap().audit_extent().unwrap();
    assert!(after.bytes <= keep.bytes && after.bytes > keep.bytes / 10 * 9, "{before:?} {after:?}");
    let newest = store.read().unwrap().audit(&AuditOf::All, AuditRange::ALL, Direction::Descending, 1).unwrap();
    assert_eq!(newest[0].place.rev(), store.read().unwrap().head());
}

/// The audit outlives the log, a mended file, and a start.
#[test]
fn it_outlives_the_log_and_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(by(1, vec![zone_op(1, "a.test", 3, "active")])).unwrap();
    for number in 0..20 {
        store.commit(by(1, vec![Record::new(1, 2, "www.a.test", "A", &format!("192.0.2.{number}")).put()])).unwrap();
    }
    let (expect, extent) = (all(&store.read().unwrap()), store.read().unwrap().audit_extent().unwrap());
    let keep = bartizan_store::Retention { changes_max: 1, changes_min: 0, since: at(0), bytes_max: 0 };
    store.compact(keep).unwrap();
    assert_eq!(all(&store.read().unwrap()), expect);
    store.mend().unwrap();
    assert_eq!((all(&store.read().unwrap()), store.read().unwrap().audit_extent().unwrap()), (expect, extent));
    drop(store);
    let store: Store = open(&dir);
    store.commit(by(1, vec![Op::Del { key: rule_key(1, 1) }])).unwrap();
    assert_eq!(all(&store.read().unwrap()).len(), 21);
    let old = store.read().unwrap().audit(&AuditOf::All, AuditRange::ALL, Direction::Descending, 1).unwrap();
    assert_eq!(old[0].action, AuditAction::Change);
    assert_eq!(old[0].key.scope(), Scope::Zone(zone(1)));
}
