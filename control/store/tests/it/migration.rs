//! A store of version 0.1.0, whose keys began with their kind, becomes one of today, and so does one of schema 3.

use std::path::Path;

use bartizan_names::{CertificateId, RuleId, TokenId, UserId};
use bartizan_store::{
    AccessRuleQuery, AuditOf, AuditRange, ChangeSet, Direction, Filter, Index, Key, Op, Part, RecordQuery, Rev, Scope,
    Snapshot, StateHash, Store, TailError, TunnelQuery, ZoneQuery,
};
use rusqlite::{Connection, params};

use crate::objects::{
    Record, account, everything, hashes, name, open, put, record_id, rule_op, set, tunnel, tunnel_op, zone, zone_op,
};

include!("../fixtures/schema-3/steps.rs");

/// The codes of that version.
const CODES: [(&str, i64); 13] = [
    ("meta", 1),
    ("account", 2),
    ("user", 3),
    ("token", 4),
    ("zone", 5),
    ("settings", 6),
    ("record", 7),
    ("name", 8),
    ("tunnel", 9),
    ("tunnel_config", 10),
    ("certificate", 11),
    ("access_rule", 12),
    ("app", 13),
];

/// A file as that version left it, with these objects, and a log that ends at revision 41.
fn old_store(dir: &Path, objects: &[(String, String)]) {
    let connection = Connection::open(dir.join("store.sqlite")).unwrap();
    connection.execute_batch(include_str!("../fixtures/schema-1.sql")).unwrap();
    connection.pragma_update(None, "application_id", 0x4272_747a).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    for (key, json) in objects {
        let kind = CODES.iter().find(|(kind, _)| key.starts_with(&format!("{kind}/"))).unwrap().1;
        let sql = "INSERT INTO object (key, kind, rev, format, json) VALUES (?, ?, 40, 1, ?)";
        connection.execute(sql, params![key, kind, json]).unwrap();
    }
    let sql = "INSERT INTO change (rev, request_id, at, actor, checksum, ops) VALUES (?, ?, 1, 'a', 7, x'')";
    for rev in [40, 41] {
        connection.execute(sql, params![rev, [rev as u8; 16]]).unwrap();
    }
    connection.execute("INSERT INTO zone_change VALUES (?, 40)", [zone(1).as_bytes()]).unwrap();
}

#[test]
fn every_object_gets_the_key_of_today() {
    let hex = |byte: u8| format!("{byte:02x}").repeat(16);
    let (user, rule, certificate) =
        (UserId::from_bytes([4; 16]), RuleId::from_bytes([5; 16]), CertificateId::from_bytes([6; 16]));
    let record = r#"{"name":"www.a.test","type":"A","content":"192.0.2.1","proxied":false,"ttl":1}"#;
    let rules = r#""notes":"n","mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}"#;
    let zone_document = format!(r#"{{"name":"a.test","status":"active","account":{{"id":"{}"}}}}"#, account(2));
    let tunnel_document =
        format!(r#"{{"name":"t","account_tag":"{}","created_at":"2025-01-01T00:00:00Z"}}"#, account(2));
    let rows = [
        ("meta/admin".to_owned(), "1".to_owned(), Key::meta("admin")),
        (format!("account/{}", hex(2)), "{}".into(), Key::account(account(2))),
        (format!("user/{}", hex(4)), "{}".into(), Key::user(user)),
        (format!("zone/{}", hex(1)), zone_document, Key::zone(zone(1))),
        (format!("settings/{}", hex(1)), "{}".into(), Key::settings(zone(1))),
        (format!("record/{}/{}", hex(1), hex(3)), record.into(), Key::record(zone(1), record_id(3))),
        (format!("name/{}/0/25.a.test", hex(1)), "{}".into(), Key::name(zone(1), &name("0/25.a.test"))),
        (format!("tunnel/{}", tunnel(9)), tunnel_document, Key::tunnel(account(2), tunnel(9))),
        (
            format!("tunnel_config/{}", tunnel(9)),
            format!(r#"{{"account_id":"{}"}}"#, account(2)),
            Key::tunnel_config(account(2), tunnel(9)),
        ),
        (format!("certificate/{}", hex(6)), r#"{"zone":null}"#.into(), Key::certificate(Scope::Edge, certificate)),
        (
            format!("certificate/{}", hex(7)),
            format!(r#"{{"zone":"{}"}}"#, zone(1)),
            Key::certificate(Scope::Zone(zone(1)), CertificateId::from_bytes([7; 16])),
        ),
        (
            format!("access_rule/{}", hex(5)),
            format!(r#"{{{rules},"scope":{{"type":"zone","id":"{}"}}}}"#, zone(1)),
            Key::access_rule(Scope::Zone(zone(1)), rule),
        ),
        (
            format!("access_rule/{}", hex(6)),
            format!(r#"{{{rules},"scope":{{"type":"organization","id":"{}"}}}}"#, account(2)),
            Key::access_rule(Scope::Account(account(2)), RuleId::from_bytes([6; 16])),
        ),
        (
            format!("access_rule/{}", hex(7)),
            format!(r#"{{{rules},"scope":{{"type":"user","id":"{user}"}}}}"#),
            Key::access_rule(Scope::User(user), RuleId::from_bytes([7; 16])),
        ),
        ("meta/zone-name/a.test".into(), "{}".into(), Key::unique(Scope::Edge, Index::ZoneName, "a.test")),
        (
            format!("meta/tunnel-name/{}/a/b", hex(2)),
            "{}".into(),
            Key::unique(Scope::Account(account(2)), Index::TunnelName, "a/b"),
        ),
        ("meta/app-slot/0000000007".into(), "{}".into(), Key::unique(Scope::Edge, Index::AppSlot, "0000000007")),
        ("meta/app-address/::1".into(), "{}".into(), Key::unique(Scope::Edge, Index::AppAddress, "::1")),
        (format!("meta/zone-deletion/{}", hex(8)), "{}".into(), Key::deletion(zone(8))),
    ];
    let dir = tempfile::tempdir().unwrap();
    let objects: Vec<_> = rows.iter().map(|(key, json, _)| (key.clone(), json.clone())).collect();
    old_store(dir.path(), &objects);

    let store = open(&dir);
    let snapshot = store.read().unwrap();
    for (_, json, key) in &rows {
        let entry = snapshot.get(key).unwrap().unwrap_or_else(|| panic!("{key} is not there"));
        assert_eq!((&*entry.value.json, entry.rev), (json.as_str(), Rev(40)), "{key}");
    }
    assert_eq!(everything(&snapshot).len(), rows.len());
    // Revisions go on, and so does what depends on them; who follows takes the state again.
    assert_eq!((snapshot.head(), snapshot.wrong_parts().unwrap()), (Rev(41), vec![]));
    assert_ne!(snapshot.state_hash(Part::Zone(zone(1))).unwrap(), StateHash::default());
    assert_eq!(snapshot.zone_changed(zone(1)).unwrap(), Some(Rev(40)));
    assert_eq!(snapshot.tail(Rev(41), 10).unwrap(), []);
    assert!(matches!(snapshot.tail(Rev(40), 10), Err(TailError::Compacted { oldest: Rev(42) })));
    // The listings know them.
    assert_eq!(snapshot.records(&RecordQuery::all(zone(1))).unwrap().items.len(), 1);
    assert_eq!(snapshot.zones(&ZoneQuery::default()).unwrap().total, 1);
    assert_eq!(snapshot.tunnels(&TunnelQuery::all(account(2))).unwrap().total, 1);
    for scope in [Scope::Zone(zone(1)), Scope::Account(account(2)), Scope::User(user)] {
        assert_eq!(snapshot.access_rules(&AccessRuleQuery::all(scope)).unwrap().total, 1, "{scope}");
    }
    drop(snapshot);
    assert_eq!(store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap(), Rev(42));
    drop(store);
    let again = open(&dir);
    assert_eq!(everything(&again.read().unwrap()).len(), rows.len() + 1);
    assert_eq!(again.read().unwrap().tail(Rev(41), 10).unwrap().len(), 1);
}

#[test]
fn what_cannot_be_read_stays_and_stops_nobody() {
    let hex = "01".repeat(16);
    let dir = tempfile::tempdir().unwrap();
    let bad = [format!("tunnel/{}", tunnel(9)), format!("certificate/{hex}"), format!("record/{hex}/nonsense")];
    let mut objects: Vec<_> = bad.iter().map(|key| (key.clone(), "no JSON".to_owned())).collect();
    objects.push(("meta/admin".to_owned(), "1".to_owned()));
    // It has a key and cannot be listed.
    objects.push((format!("zone/{hex}"), "no JSON".to_owned()));
    old_store(dir.path(), &objects);

    let store = open(&dir);
    let snapshot = store.read().unwrap();
    let mut found = Vec::new();
    let unreadable = snapshot.for_each(&Filter::Everything, &mut |entry| found.push(entry.key)).unwrap();
    assert_eq!(found, [Key::meta("admin"), Key::zone(zone(1))]);
    let mut keys: Vec<_> = unreadable.into_iter().map(|unreadable| unreadable.key).collect();
    keys.sort();
    let mut expect = bad.to_vec();
    expect.sort();
    assert_eq!(keys, expect);
}

/// The store of the fixture, as version 0.1.0 itself left it.
#[test]
fn a_store_of_0_1_0_opens() {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/0.1.0/store.sqlite");
    std::fs::copy(from, dir.path().join("store.sqlite")).unwrap();
    let store = open(&dir);
    let snapshot = store.read().unwrap();
    assert_eq!(snapshot.head(), Rev(50));
    let mut kinds = std::collections::BTreeMap::new();
    let mut count = |entry: bartizan_store::Entry| *kinds.entry(entry.key.kind().text()).or_insert(0) += 1;
    assert_eq!(snapshot.for_each(&Filter::Everything, &mut count).unwrap(), []);
    let zones = snapshot.zones(&ZoneQuery::default()).unwrap();
    assert_eq!((zones.items.len(), zones.total, zones.skipped), (3, 3, 0));
    let one = "6e5cbf6450e1cab6e746f8d6f4220c91".parse().unwrap();
    assert_eq!(snapshot.records(&RecordQuery::all(one)).unwrap().total, 14);
    let account = "3413fac57ae5152eecf6c059fd2909b7".parse().unwrap();
    assert_eq!(snapshot.tunnels(&TunnelQuery::all(account)).unwrap().total, 2);
    assert_eq!((kinds["certificate"], kinds["app"], kinds["tunnel_config"]), (5, 5, 1), "{kinds:?}");
    assert!(snapshot.get(&Key::unique(Scope::Edge, Index::ZoneName, "one.test")).unwrap().is_some());
    assert!(snapshot.get(&Key::unique(Scope::Account(account), Index::TunnelName, "my laptop")).unwrap().is_some());
    drop(snapshot);
    assert_eq!(store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap(), Rev(51));
    // The way back: the file as it was, with its own `user_version` (https://www.sqlite.org/fileformat.html, offset 60).
    let copy = std::fs::read(dir.path().join("store.schema-1.sqlite")).unwrap();
    assert_eq!(copy[60..64], 1_u32.to_be_bytes());
}

/// The store of the fixture, as a build with schema 3 left it, is one in which the same was done today.
#[test]
fn a_store_of_schema_3_opens() {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema-3/store.sqlite");
    std::fs::copy(from, dir.path().join("store.sqlite")).unwrap();
    let version = |file: &str| -> u32 {
        let file = Connection::open(dir.path().join(file)).unwrap();
        file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    assert_eq!(version("store.sqlite"), 3);
    let today = tempfile::tempdir().unwrap();
    let today = open(&today);
    for step in steps() {
        today.commit(step).unwrap();
    }
    let store = open(&dir);
    let same = |store: &Store, what: &str| {
        let (old, new) = (store.read().unwrap(), today.read().unwrap());
        assert_eq!((old.head(), old.wrong_parts().unwrap()), (new.head(), vec![]), "{what}");
        assert_eq!((everything(&old), hashes(&old)), (everything(&new), hashes(&new)), "{what}");
        assert_eq!((log_of(&old), audit_of(&old)), (log_of(&new), audit_of(&new)), "{what}");
        let office = RecordQuery { search: Some("the office".to_owned()), ..RecordQuery::all(zone(1)) };
        for query in [RecordQuery::all(zone(1)), office] {
            let [old, new] = [&old, &new].map(|snapshot| snapshot.records(&query).unwrap());
            assert_eq!((old.total, old.items), (new.total, new.items), "{what}");
        }
    };
    same(&store, "as it was");
    // It goes on as one of today: the same change, which is compressed in the log now, and what it was before.
    let mut again = steps().swap_remove(4);
    again.meta.request_id = [99; 16];
    let gone = |op: &Op| Op::Del { key: op.key().clone() };
    for step in [set(vec![], again.ops.iter().map(gone).collect()), again] {
        store.commit(step.clone()).unwrap();
        today.commit(step).unwrap();
    }
    same(&store, "going on");
    drop(store);
    same(&open(&dir), "opened again");
    // And the way back.
    assert_eq!((version("store.sqlite"), version("store.schema-3.sqlite")), (4, 3));
    let kept = Connection::open(dir.path().join("store.schema-3.sqlite")).unwrap();
    let count = |table: &str| -> u32 {
        kept.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
    };
    assert_eq!((count("change"), count("object")), (7, 27));
}

/// What was done to what, revision by revision.
fn log_of(snapshot: &Snapshot) -> Vec<(Rev, Vec<Op>)> {
    let changes = snapshot.tail(Rev::ZERO, usize::MAX).unwrap();
    changes.into_iter().map(|change| (change.rev, change.ops)).collect()
}

/// Each entry of the audit with its documents.
fn audit_of(snapshot: &Snapshot) -> Vec<String> {
    let entries = snapshot.audit(&AuditOf::All, AuditRange::ALL, Direction::Ascending, usize::MAX).unwrap();
    let told = |entry: &bartizan_store::AuditEntry| {
        let documents = snapshot.audit_documents(entry.place).unwrap();
        format!("{entry:?} {documents:?}")
    };
    entries.iter().map(told).collect()
}
