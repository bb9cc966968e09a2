//! One bad thing takes only itself: documents that cannot be read, and pages of the file that are damaged.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use bartizan_store::{
    Blame, CommitError, Filter, Key, Kind, Op, Part, Prefix, ReadError, RecordOrder, RecordQuery, Retention, Rev,
    Scope, Snapshot, Store, TailError, Unreadable, Unseen, ZoneQuery,
};
use rusqlite::Connection;

use crate::objects::{Record, at, everything, name, open, put, record_id, set, zone, zone_op};

/// Enough records for several pages of everything.
const RECORDS: u8 = 200;

const PAGE: u64 = 4096;

fn filled(dir: &tempfile::TempDir) {
    let store = open(dir);
    let mut ops = vec![zone_op(1, "x.test", 1, "active")];
    for id in 1..=RECORDS {
        let record = Record::new(1, id, &format!("host-{id}.x.test"), "A", &format!("192.0.2.{id}"));
        ops.push(record.put());
        ops.push(put(Key::name(zone(1), &name(&record.name)), r#"{"records":1}"#));
    }
    store.commit(set(vec![], ops)).unwrap();
}

/// Overwrites the beginning of a leaf of a table or an index, the one in the middle.
fn damage(dir: &Path, btree: &str) {
    damage_leaf(dir, btree, |leaves| leaves / 2);
}

/// The same while a store has it open, and its journal is empty.
fn damage_running(dir: &Path, btree: &str) {
    overwrite_leaf(dir, btree, |leaves| leaves / 2);
}

fn damage_leaf(dir: &Path, btree: &str, which: impl Fn(usize) -> usize) {
    overwrite_leaf(dir, btree, which);
    assert!(!fs::exists(dir.join("store.sqlite-wal")).unwrap());
}

fn overwrite_leaf(dir: &Path, btree: &str, which: impl Fn(usize) -> usize) {
    let path = dir.join("store.sqlite");
    let connection = Connection::open(&path).unwrap();
    let pages: Vec<u64> = connection
        .prepare("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path")
        .unwrap()
        .query_map([btree], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(pages.len() > 1, "{btree}: {pages:?}");
    drop(connection);
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start((pages[which(pages.len())] - 1) * PAGE)).unwrap();
    file.write_all(&[0xa5; 512]).unwrap();
}

/// How many records can be read, and what cannot, as a start reads them.
fn records(snapshot: &Snapshot) -> (usize, Vec<Unreadable>) {
    let (mut found, mut unreadable) = (0, Vec::new());
    for stretch in snapshot.stretches(NonZeroU32::MAX).unwrap() {
        unreadable.extend(snapshot.for_each_record(stretch, &mut |_| found += 1).unwrap());
    }
    (found, unreadable)
}

#[test]
fn a_document_that_cannot_be_read_is_passed_over_and_told() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let path = dir.path().join("store.sqlite");
    let connection = Connection::open(&path).unwrap();
    let key = Key::record(zone(1), record_id(7));
    // A newer version wrote it.
    connection.execute("UPDATE object SET format = 9 WHERE key = ?", [key.as_str()]).unwrap();
    connection.execute("UPDATE object SET format = 9 WHERE key = ?", [Key::zone(zone(1)).as_str()]).unwrap();
    drop(connection);

    let store = open(&dir);
    let snapshot = store.read().unwrap();
    let mut found = 0;
    let unreadable = snapshot.for_each(&Filter::Kinds(vec![Kind::Record]), &mut |_| found += 1).unwrap();
    assert_eq!((found, unreadable.len()), (usize::from(RECORDS) - 1, 1));
    assert_eq!(unreadable[0].key, key.to_string());
    assert!(unreadable[0].reason.contains("format 9"), "{unreadable:?}");
    assert_eq!(records(&snapshot), (usize::from(RECORDS) - 1, unreadable));
    let page = snapshot.records(&RecordQuery { per_page: 50, ..RecordQuery::all(zone(1)) }).unwrap();
    assert_eq!((page.items.len(), page.skipped, page.total), (49, 1, RECORDS.into()));
    let zones = snapshot.zones(&ZoneQuery::default()).unwrap();
    assert_eq!((zones.items.len(), zones.skipped, zones.total), (0, 1, 1));
    assert!(matches!(snapshot.get(&key), Err(ReadError::Unreadable(error)) if error.key == key.as_str()));
    let listed = snapshot.list(&Prefix::of(Scope::Zone(zone(1)), Kind::Record), None, 1_000).unwrap();
    assert_eq!(listed.len(), usize::from(RECORDS) - 1);
    drop(snapshot);
    // It goes like any other, and leaves its listing.
    store.commit(set(vec![], vec![Op::Del { key: key.clone() }, Op::Del { key: Key::zone(zone(1)) }])).unwrap();
    let snapshot = store.read().unwrap();
    assert_eq!(snapshot.get(&key).unwrap(), None);
    assert_eq!(snapshot.records(&RecordQuery::all(zone(1))).unwrap().total, u64::from(RECORDS) - 1);
    assert_eq!(snapshot.zones(&ZoneQuery::default()).unwrap().total, 0);
}

/// A content that the disk, or another program, changed and that still reads well is not served: neither to who asks for it
/// nor at a start. What the log has of it comes back; what it does not have stays out until it is written anew.
#[test]
fn what_is_not_what_was_committed_is_not_read() {
    for (what, sql) in [
        ("the content", "UPDATE object SET json = replace(json, '192.0.2.7\"', '192.0.2.9\"') WHERE key = ?"),
        ("the revision", "UPDATE object SET rev = rev + 1 WHERE key = ?"),
        ("the hash", "UPDATE object SET hash = zeroblob(16) WHERE key = ?"),
        ("a hash that is none", "UPDATE object SET hash = x'00' WHERE key = ?"),
        ("the text", "UPDATE object SET json = CAST(x'ff' AS TEXT) WHERE key = ?"),
    ] {
        for has_log in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            filled(&dir);
            let key = Key::record(zone(1), record_id(7));
            let all = everything(&open(&dir).read().unwrap());
            let connection = Connection::open(dir.path().join("store.sqlite")).unwrap();
            assert_eq!(connection.execute(sql, [key.as_str()]).unwrap(), 1);
            drop(connection);

            let store = open(&dir);
            let expect = |store: &Store| {
                let snapshot = store.read().unwrap();
                let Err(ReadError::Unreadable(unreadable)) = snapshot.get(&key) else { panic!("{what} is read") };
                assert_eq!((&*unreadable.key, unreadable.blame), (key.as_str(), Blame::Disk), "{what}");
                assert_eq!(records(&snapshot), (usize::from(RECORDS) - 1, vec![unreadable.clone()]), "{what}");
                let mut found = Vec::new();
                let seen = snapshot.for_each(&Filter::Everything, &mut |entry| found.push(entry)).unwrap();
                assert_eq!((found.len(), seen), (all.len() - 1, vec![unreadable.clone()]), "{what}");
                let page = snapshot.records(&RecordQuery { per_page: 1_000, ..RecordQuery::all(zone(1)) }).unwrap();
                assert_eq!((page.items.len(), page.skipped), (usize::from(RECORDS) - 1, 1), "{what}");
                assert!(
                    !snapshot.records_at(zone(1), &name("host-7.x.test")).is_ok_and(|there| !there.is_empty()),
                    "{what}"
                );
                assert_eq!(snapshot.wrong().unwrap().objects.keys, [key.to_string()].into(), "{what}");
                unreadable.reason
            };
            let reason = expect(&store);
            if what == "the content" {
                assert_eq!(reason, "host-7.x.test is not what was committed: the disk, or another program, changed it");
            }
            if has_log {
                let done = store.mend().unwrap();
                assert_eq!((done.restored, done.lost.count), (1, 0), "{what}");
                assert_eq!(everything(&store.read().unwrap()), all, "{what}");
                continue;
            }
            // Of what is no text nothing can be kept.
            if what == "the text" {
                continue;
            }
            // A later change is all that the log has.
            store.commit(set(vec![], vec![put(Key::meta("a"), "1"), Op::Del { key: Key::meta("a") }])).unwrap();
            store.compact(Retention { changes_max: 1, changes_min: 0, since: at(0), bytes_max: u64::MAX }).unwrap();
            for _ in 0..2 {
                let done = store.mend().unwrap();
                assert_eq!((done.restored, done.lost.keys), (0, [key.to_string()].into()), "{what}");
                expect(&store);
                assert_eq!(store.read().unwrap().wrong_parts().unwrap(), [], "{what}");
            }
            store.commit(set(vec![], vec![Record::new(1, 7, "host-7.x.test", "A", "192.0.2.7").put()])).unwrap();
            let snapshot = store.read().unwrap();
            assert_eq!(records(&snapshot), (RECORDS.into(), vec![]), "{what}");
            assert_eq!(snapshot.wrong().unwrap(), Default::default(), "{what}");
        }
    }
}

#[test]
fn a_damaged_page_of_objects_hides_only_what_is_on_it() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let all = everything(&open(&dir).read().unwrap());
    damage(dir.path(), "object");

    let store = open(&dir);
    let snapshot = store.read().unwrap();
    assert_eq!(snapshot.head(), Rev(1));
    let mut left = Vec::new();
    let unreadable = snapshot.for_each(&Filter::Everything, &mut |entry| left.push(entry)).unwrap();
    let hidden = all.len() - left.len();
    assert!((1..50).contains(&hidden) && unreadable.len() == 1, "{hidden} {unreadable:?}");
    assert!(unreadable[0].key.starts_with("objects "), "{unreadable:?}");
    assert!(left.iter().all(|entry| all.contains(entry)));
    let of_zone = |store: &Store| {
        let mut found = 0;
        let filter = Filter::Scope(Scope::Zone(zone(1)));
        store.read().unwrap().for_each(&filter, &mut |_| found += 1).unwrap();
        found
    };
    assert_eq!(of_zone(&store), left.len());
    assert!(snapshot.wrong_parts().unwrap().contains(&Part::Zone(zone(1))));
    let (records, unreadable) = records(&snapshot);
    assert_eq!(records, left.iter().filter(|entry| entry.key.kind() == Kind::Record).count());
    assert!(!unreadable.is_empty());
    let page = snapshot.records(&RecordQuery { per_page: 1_000, ..RecordQuery::all(zone(1)) }).unwrap();
    assert_eq!((page.items.len(), page.items.len() as u64 + page.skipped), (records, page.total));
    drop(snapshot);
    // What is on other pages changes as ever.
    let rev = store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    assert_eq!(rev, Rev(2));
    // The file is mended behind it, so that all may be there already.
    assert!([left.len(), all.len()].contains(&of_zone(&store)));
}

/// The state is whole, so it goes on behind the same revision; who follows the log can see that it is another one.
#[test]
fn a_damaged_log_begins_anew() {
    type Which = fn(usize) -> usize;
    let rows: [(&str, Which); 3] =
        [("change", |_| 0), ("change", |leaves| leaves - 1), ("change", |leaves| leaves / 2)];
    for (btree, which) in rows {
        let dir = tempfile::tempdir().unwrap();
        filled(&dir);
        let store = open(&dir);
        for number in 2..=RECORDS.into() {
            store.commit(set(vec![], vec![put(Key::meta("a"), &"7".repeat(number))])).unwrap();
        }
        let (all, epoch) = (everything(&store.read().unwrap()), store.read().unwrap().epoch().unwrap());
        drop(store);
        damage_leaf(dir.path(), btree, which);

        let store = open(&dir);
        assert!(store.read().unwrap().head() >= Rev(RECORDS.into()), "{btree}");
        assert_eq!(everything(&store.read().unwrap()), all, "{btree}");
        // One that a start does not see is met by a change, if not by the first.
        let mut head = store.read().unwrap().head();
        while store.read().unwrap().epoch().unwrap() == epoch {
            let next = store.commit(set(vec![], vec![])).unwrap();
            assert!(next > head, "{btree}");
            head = next;
            store.compact(Retention { changes_max: 1, changes_min: 0, since: at(0), bytes_max: u64::MAX }).unwrap();
        }
        let snapshot = store.read().unwrap();
        assert!(matches!(snapshot.tail(Rev(1), 10), Err(TailError::Compacted { oldest }) if oldest >= head), "{btree}");
        let head = snapshot.head();
        drop(snapshot);
        assert_eq!(store.commit(set(vec![], vec![])).unwrap(), head.next(), "{btree}");
        assert_eq!(store.read().unwrap().wrong_parts().unwrap(), [], "{btree}");
    }
}

/// What the end of a log says is what holds, whatever its beginning was; what stands in front of the damage may have changed
/// since, and is lost rather than old.
#[test]
fn the_whole_end_of_a_damaged_log_restores() {
    type Which = fn(usize) -> usize;
    let rows: [(Which, Which, bool); 3] = [
        (|_| 0, |leaves| leaves - 2, false),
        (|leaves| leaves / 2, |leaves| leaves - 2, false),
        (|leaves| leaves - 1, |_| 0, true),
    ];
    for (number, (change, object, loses)) in rows.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        for id in 1..=RECORDS {
            let record = Record::new(1, id, &format!("host-{id}.x.test"), "A", &format!("192.0.2.{id}"));
            store.commit(set(vec![], vec![record.put()])).unwrap();
        }
        let all = everything(&store.read().unwrap());
        drop(store);
        damage_leaf(dir.path(), "change", change);
        damage_leaf(dir.path(), "object", object);
        let store = open(&dir);
        let done = store.mend().unwrap();
        assert_eq!(!done.lost.is_empty(), loses, "{number}: {done:?}");
        let left = everything(&store.read().unwrap());
        assert_eq!(left == all, !loses, "{number}");
        assert!(left.iter().all(|entry| all.contains(entry)), "{number}");
    }
}

#[test]
fn damaged_listings_are_made_anew() {
    for (btree, order) in [("record_type", RecordOrder::Type), ("record_owner", RecordOrder::Name)] {
        let dir = tempfile::tempdir().unwrap();
        filled(&dir);
        damage(dir.path(), btree);
        let store = open(&dir);
        let query = RecordQuery { per_page: 1_000, order, ..RecordQuery::all(zone(1)) };
        // The state is whole in the meantime.
        assert_eq!(records(&store.read().unwrap()), (usize::from(RECORDS), Vec::new()), "{btree}");
        match store.read().unwrap().records(&query) {
            Ok(_) | Err(ReadError::Damaged { stays: None, .. }) => {}
            Err(error) => panic!("{btree}: {error}"),
        }
        let mut tries = 0;
        while !matches!(store.read().unwrap().records(&query), Ok(page) if page.items.len() == usize::from(RECORDS)) {
            // A commit makes the writer look, and is behind the rebuild in its turn.
            store.commit(set(vec![], vec![])).unwrap();
            tries += 1;
            assert!(tries < 100, "{btree} {:?}", store.mend());
        }
    }
}

/// A disk that damages the file time and again is left alone, and that is told.
#[test]
fn a_file_is_mended_a_few_times_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let store = open(&dir);
    for attempt in 1..=4 {
        // The pages of the last time are in the journal, and read from there.
        let connection = Connection::open(dir.path().join("store.sqlite")).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
        drop(connection);
        damage_running(dir.path(), "record_type");
        let query = RecordQuery { per_page: 1_000, order: RecordOrder::Type, ..RecordQuery::all(zone(1)) };
        let met = store.read_for_listing().unwrap().records(&query);
        assert!(matches!(met, Err(ReadError::Damaged { stays: None, .. })), "{attempt}: {met:?}");
        assert!(store.settle().unwrap());
        let damaged = store.condition().borrow().damaged.clone();
        assert_eq!(damaged.is_some(), attempt == 4, "{attempt}: {damaged:?}");
    }
    // Until somebody sees to it.
    assert!(store.mend().unwrap().lost.is_empty());
    assert_eq!(store.condition().borrow().damaged, None);
}

/// A folder where a file is to be made stands for a disk that does not take it.
#[test]
fn attempts_that_fail_for_lack_of_room_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let store = open(&dir);
    let in_the_way = dir.path().join("store.mended.sqlite");
    fs::create_dir(&in_the_way).unwrap();
    damage_running(dir.path(), "record_type");
    let query = RecordQuery { per_page: 1_000, order: RecordOrder::Type, ..RecordQuery::all(zone(1)) };
    let read = || store.read_for_listing().unwrap().records(&query);
    assert!(matches!(read(), Err(ReadError::Damaged { stays: None, .. })));
    let mut condition = store.condition();
    // More often than it would be mended.
    for _ in 0..5 {
        assert!(store.settle().unwrap());
        let damaged = condition.borrow_and_update().damaged.clone().unwrap();
        assert!(damaged.contains("MiB of room are needed, and it is tried again"), "{damaged}");
    }
    // Who reads is told that it stays, and so is who writes there.
    let Err(ReadError::Damaged { stays: Some(reason), .. }) = read() else { panic!() };
    assert!(reason.contains("Is a directory"), "{reason}");
    let record = Record::new(1, 1, "host-1.x.test", "MX", "mail.test");
    let written = store.commit(set(vec![], vec![record.put()]));
    assert!(matches!(&written, Ok(_) | Err(CommitError::NotMended { .. })), "{written:?}");
    fs::remove_dir(&in_the_way).unwrap();
    // By itself, when the rest behind the last attempt is over.
    let begun = Instant::now();
    while condition.borrow_and_update().damaged.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(100), "it is not tried again");
        std::thread::yield_now();
    }
    assert_eq!(read().unwrap().items.len(), usize::from(RECORDS));
    // And as often as if nothing had failed.
    drop(store);
    assert!(open(&dir).condition().borrow().lost.is_empty());
}

/// Written by a newer version, say. They stay until a person says otherwise.
#[test]
fn objects_with_unknown_keys_are_counted_and_can_be_set_aside() {
    let [dir, other] = [(); 2].map(|()| {
        let dir = tempfile::tempdir().unwrap();
        filled(&dir);
        let connection = Connection::open(dir.path().join("store.sqlite")).unwrap();
        let sql =
            "INSERT INTO object (key, kind, rev, format, hash, json) VALUES (?, 99, 1, 1, zeroblob(16), '{\"a\":1}')";
        for key in ["edge/new_kind/1", "nonsense"] {
            connection.execute(sql, [key]).unwrap();
        }
        dir
    });
    let counted = |store: &Store| {
        let mut condition = store.condition();
        while condition.borrow_and_update().strangers != 2 {
            std::thread::yield_now();
        }
    };
    let store = open(&dir);
    let pause = store.pause();
    let all = everything(&store.read().unwrap());
    // What may wait is not in the way of whoever reads much: where nobody does, it is done in less time.
    counted(&open(&other));
    assert_eq!(store.condition().borrow().strangers, 0);
    drop(pause);
    counted(&store);
    assert_eq!(Store::examine(dir.path()).unwrap().strangers, 2);
    let done = store.mend().unwrap();
    assert_eq!((done.set_aside, done.lost.count, store.condition().borrow().strangers), (2, 0, 0));
    let [aside] = &done.beside[..] else { panic!("{done:?}") };
    let lines = fs::read_to_string(aside).unwrap();
    assert!(lines.lines().count() == 2 && lines.contains("edge/new_kind/1") && lines.contains("nonsense"), "{lines}");
    let seen = Store::examine(dir.path()).unwrap();
    assert!(seen.strangers == 0 && seen.pages.is_empty() && seen.schema == seen.schema_of_today, "{seen:?}");
    assert_eq!(everything(&store.read().unwrap()), all);
}

#[test]
fn pages_that_are_damaged_are_seen_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Store::examine(dir.path()), None);
    filled(&dir);
    damage(dir.path(), "record_type");
    let seen = Store::examine(dir.path()).unwrap();
    assert!((1..=5).contains(&seen.pages.len()), "{seen:?}");
}

/// What cannot be looked at is told from what is damaged. Links that lead in a circle are what also root cannot open.
#[test]
fn what_is_closed_or_held_is_not_damaged() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let unseen = || Store::examine(dir.path()).map(|seen| (seen.unseen, seen.pages)).unwrap();
    assert_eq!(unseen(), (None, vec![]));
    let holder = Connection::open(dir.path().join("store.sqlite")).unwrap();
    holder.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    assert_eq!(unseen(), (Some(Unseen::Held), vec![]));
    drop(holder);
    let journal = dir.path().join("store.sqlite-wal");
    std::os::unix::fs::symlink(&journal, dir.path().join("loop")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("loop"), &journal).unwrap();
    let (seen, pages) = unseen();
    assert!(matches!(seen, Some(Unseen::Closed { path, .. }) if path == journal) && pages.is_empty(), "{pages:?}");
}

#[test]
fn listings_can_be_made_anew_and_stay_the_same() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let store = open(&dir);
    let query = RecordQuery { per_page: 1_000, ..RecordQuery::all(zone(1)) };
    let before = store.read().unwrap().records(&query).unwrap();
    let (epoch, log) = (store.read().unwrap().epoch().unwrap(), store.read().unwrap().tail(Rev::ZERO, 10).unwrap());
    store.mend().unwrap();
    let snapshot = store.read().unwrap();
    assert_eq!(snapshot.records(&query).unwrap(), before);
    // Who follows is told to read all of it; the changes are there for the next damage.
    assert_ne!(snapshot.epoch().unwrap(), epoch);
    assert_eq!((snapshot.head(), &snapshot.tail(Rev::ZERO, 10).unwrap()[..1]), (Rev(2), &log[..]));
    drop(snapshot);
    drop(store);
    // Those of another version are replaced when a file is opened.
    let connection = Connection::open(dir.path().join("store.sqlite")).unwrap();
    connection
        .execute_batch("DROP INDEX record_type; UPDATE about SET text = 'x' WHERE what = 'listings layout'")
        .unwrap();
    drop(connection);
    assert_eq!(open(&dir).read().unwrap().records(&query).unwrap(), before);
}

#[test]
fn a_page_of_large_documents_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for id in 1..=20 {
        let mut record = Record::new(1, id, "x.test", "TXT", "text");
        record.comment = Some("c".repeat(1 << 19));
        store.commit(set(vec![], vec![record.put()])).unwrap();
    }
    let page = store.read_for_listing().unwrap().records(&RecordQuery::all(zone(1))).unwrap();
    assert!(page.items.len() < 20 && page.items.len() as u64 + page.left_off == 20, "{}", page.left_off);
    assert_eq!(page.total, 20);
}

/// Listings wait for each other, and nobody else for them.
#[test]
fn listings_keep_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    filled(&dir);
    let store = open(&dir);
    let listings: Vec<_> = (0..2).map(|_| store.read_for_listing().unwrap()).collect();
    // All of them are taken, and stay so.
    assert_eq!(store.read().unwrap().head(), Rev(1));
    assert!(!matches!(store.commit(set(vec![], vec![])), Err(CommitError::Engine(_))));
    drop(listings);
    assert_eq!(store.read_for_listing().unwrap().head(), Rev(2));
}
