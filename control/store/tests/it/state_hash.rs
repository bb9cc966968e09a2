//! The hashes of the state follow the objects, and tell who does not.

use bartizan_store::{ChangeSet, Key, Kind, Op, Part, Rev, StateHash, Store, Wrong};
use rusqlite::Connection;

use crate::objects::{Record, hashes, open, put, set, zone, zone_op};

fn filled(dir: &tempfile::TempDir) {
    let store = open(dir);
    for number in 1..=2 {
        let records = (1..=3).map(|id| Record::new(number, id, "a.x.test", "A", "192.0.2.1").put());
        store.commit(set(vec![], records.chain([zone_op(number, "x.test", 1, "active")]).collect())).unwrap();
    }
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
}

#[test]
fn what_is_changed_behind_the_stores_back_is_named() {
    let (records, zones) = (Part::Kind(Kind::Record), Part::Kind(Kind::Zone));
    for (sql, expect) in [
        ("UPDATE object SET rev = rev WHERE kind = 7", vec![]),
        ("UPDATE object SET json = '{}' WHERE key LIKE 'zone/02%/record/%'", vec![records, Part::Zone(zone(2))]),
        ("UPDATE object SET rev = 2 WHERE key LIKE 'zone/01%/record/%'", vec![records, Part::Zone(zone(1))]),
        ("UPDATE object SET format = 9 WHERE key LIKE 'zone/01%/zone'", vec![zones, Part::Zone(zone(1))]),
        (
            "DELETE FROM record; DELETE FROM object WHERE kind = 7",
            vec![records, Part::Zone(zone(1)), Part::Zone(zone(2))],
        ),
        ("DELETE FROM object WHERE key = 'edge/meta/a'", vec![Part::Kind(Kind::Meta)]),
        // What is no key is no part of the state.
        ("INSERT INTO object VALUES (99, 'nonsense', 16, 1, 1, x'', '{}')", vec![]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Store::wrong_parts(dir.path()).unwrap(), None);
        filled(&dir);
        assert_eq!(Store::wrong_parts(dir.path()).unwrap(), Some(vec![]));
        Connection::open(dir.path().join("store.sqlite")).unwrap().execute_batch(sql).unwrap();
        assert_eq!(Store::wrong_parts(dir.path()).unwrap(), Some(expect.clone()), "{sql}");
        // Beside a writer as well.
        let store = open(&dir);
        assert_eq!(Store::wrong_parts(dir.path()).unwrap(), Some(expect), "{sql}");
        drop(store);
    }
}

/// Who goes back a version has objects of kinds that it does not know. They are not missing.
#[test]
fn what_a_later_version_wrote_into_a_zone_is_no_fault_of_the_zone() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let connection = Connection::open(dir.path().join("store.sqlite")).unwrap();
    let (key, part) = (format!("zone/{}/novelty/1", zone(1)), format!("zone/{}", zone(1)));
    let text = [&(key.len() as u32).to_be_bytes(), key.as_bytes(), &3_i64.to_be_bytes(), &1_i64.to_be_bytes(), b"{}"];
    let hash = &bartizan_seal::sha256(&text.concat())[..16];
    connection.execute("INSERT INTO object VALUES (99, ?, 99, 3, 1, ?, '{}')", (&key, hash)).unwrap();
    let select = "SELECT hash FROM state_hash WHERE part = ?";
    let sum: Vec<u8> = connection.query_row(select, [&part], |row| row.get(0)).unwrap();
    let number = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().unwrap());
    let sum = number(&sum).wrapping_add(number(hash)).to_be_bytes();
    connection.execute("UPDATE state_hash SET hash = ? WHERE part = ?", (&sum[..], &part)).unwrap();
    assert_eq!(Store::wrong(dir.path()).unwrap(), Some(Wrong::default()));
    // If it is gone, it is.
    connection.execute_batch("DELETE FROM object WHERE id = 99").unwrap();
    assert_eq!(Store::wrong_parts(dir.path()).unwrap(), Some(vec![Part::Zone(zone(1))]));
}

#[test]
fn what_is_written_anew_is_right_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let connection = Connection::open(dir.path().join("store.sqlite")).unwrap();
    connection.execute_batch("UPDATE object SET json = '2' WHERE key = 'edge/meta/a'").unwrap();
    drop(connection);
    let store = open(&dir);
    assert_eq!(store.read().unwrap().wrong_parts().unwrap(), [Part::Kind(Kind::Meta)]);
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    assert_eq!(store.read().unwrap().wrong_parts().unwrap(), []);
}

#[test]
fn hashes_depend_on_what_is_there_and_not_on_how_it_came() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (open(&one), open(&other));
    let (a, b) = (Record::new(1, 1, "a.x.test", "A", "192.0.2.1"), Record::new(2, 2, "b.x.test", "A", "192.0.2.2"));
    let del = |record: &Record| Op::Del { key: record.key() };
    let commit = |store: &Store, ops| store.commit(set(vec![], ops)).unwrap();
    assert_eq!(commit(&one, vec![a.put()]), commit(&other, vec![b.put()]));
    assert_ne!(hashes(&one.read().unwrap()), hashes(&other.read().unwrap()));
    assert_eq!(commit(&one, vec![b.put(), a.put()]), commit(&other, vec![del(&b), a.put(), b.put()]));
    assert_eq!(hashes(&one.read().unwrap()), hashes(&other.read().unwrap()));
    let of_zone = |store: &Store| store.read().unwrap().state_hash(Part::Zone(zone(1))).unwrap();
    assert_ne!(of_zone(&one), StateHash::default());
    // Of what is gone nothing stays.
    commit(&one, vec![del(&a), del(&b), del(&b)]);
    assert!(hashes(&one.read().unwrap()).iter().all(|hash| *hash == StateHash::default()));
    // A change that does not land leaves no trace.
    let before = hashes(&other.read().unwrap());
    let guard = bartizan_store::Guard::Absent(a.key());
    let refused = ChangeSet { guards: vec![guard], ..set(vec![], vec![del(&a)]) };
    other.commit(refused).unwrap_err();
    assert_eq!((hashes(&other.read().unwrap()), other.read().unwrap().head()), (before, Rev(2)));
}
