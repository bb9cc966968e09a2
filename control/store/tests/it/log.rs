//! The change log: tails, compaction, and a copy that is fed by it.

use bartizan_names::AppId;
use bartizan_store::{ChangeSet, Filter, Key, Kind, Op, Prefix, Retention, Rev, Scope, Store, TailError};

use crate::objects::{Record, at, everything, hashes, name, open, put, set, zone, zone_op};

fn filled(dir: &tempfile::TempDir, changes: u64) -> Store {
    let store = open(dir);
    for number in 1..=changes {
        let mut change = set(vec![], vec![put(Key::meta("a"), &number.to_string())]);
        change.meta.at = at(number);
        store.commit(change).unwrap();
    }
    store
}

#[test]
fn tails_have_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = filled(&dir, 20).read().unwrap();
    for (after, limit, expect) in
        [(0, 100, 1..21), (0, 5, 1..6), (5, 5, 6..11), (19, 5, 20..21), (20, 5, 21..21), (0, 0, 1..1)]
    {
        let revs: Vec<u64> = snapshot.tail(Rev(after), limit).unwrap().iter().map(|change| change.rev.0).collect();
        assert!(revs.iter().copied().eq(expect), "after {after}, {limit} at most: {revs:?}");
    }
    let ahead = snapshot.tail(Rev(21), 5);
    assert!(matches!(ahead, Err(TailError::Ahead { head: Rev(20) })), "{ahead:?}");
}

#[test]
fn compaction_keeps_what_is_asked_for() {
    for (changes_max, since, oldest) in [
        (100, 0, 1),
        (5, 0, 16),
        (100, 8, 8),
        (5, 8, 16),
        (100, 1_000, 20),
        // The newest change always stays.
        (0, 0, 20),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(&dir, 20);
        let before = everything(&store.read().unwrap());
        let kept =
            store.compact(Retention { changes_max, changes_min: 0, since: at(since), bytes_max: u64::MAX }).unwrap();
        assert_eq!(kept, Rev(oldest), "{changes_max} since {since}");
        let snapshot = store.read().unwrap();
        assert_eq!((snapshot.head(), everything(&snapshot)), (Rev(20), before));
        if oldest > 1 {
            let error = snapshot.tail(Rev(oldest - 2), 100);
            assert!(matches!(error, Err(TailError::Compacted { oldest: Rev(found) }) if found == oldest), "{error:?}");
        }
        let tail = snapshot.tail(Rev(oldest - 1), 100).unwrap();
        assert!(tail.iter().map(|change| change.rev.0).eq(oldest..21));
        drop((snapshot, store));
        // The log knows its end from what is left.
        let store = open(&dir);
        assert_eq!(store.commit(set(vec![], vec![])).unwrap(), Rev(21));
    }
}

#[test]
fn compaction_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for number in 1..=20 {
        // Ten times as much in the older half; not so much that it is compressed.
        let text = format!("\"{}\"", "x".repeat(if number <= 10 { 3_000 } else { 300 }));
        store.commit(set(vec![], vec![put(Key::meta("a"), &text)])).unwrap();
    }
    for (bytes_max, oldest) in [(1 << 30, 1), (10_500, 9), (10_500, 9), (3_700, 11), (1_500, 17), (0, 20)] {
        let keep = Retention { changes_max: 100, changes_min: 0, since: at(0), bytes_max };
        assert_eq!(store.compact(keep).unwrap(), Rev(oldest), "{bytes_max}");
    }
    // The count goes on where it was.
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    assert_eq!(
        store.compact(Retention { changes_max: 100, changes_min: 0, since: at(0), bytes_max: 300 }).unwrap(),
        Rev(21)
    );
}

/// A start whose clock is ten years ahead, or comes back from it, takes no history for its age.
#[test]
fn a_jump_of_the_clock_takes_no_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir, 20);
    let ahead = at(4_102_444_800);
    assert_eq!(store.compact(Retention::usual(ahead)).unwrap(), Rev(1));
    // Nor when something was written meanwhile.
    let mut change = set(vec![], vec![]);
    change.meta.at = ahead;
    store.commit(change).unwrap();
    assert_eq!(store.compact(Retention::usual(ahead)).unwrap(), Rev(1));
    // What is more than must stay may go.
    let keep = |changes_min| Retention { changes_max: 100, changes_min, since: ahead, bytes_max: u64::MAX };
    for (changes_min, oldest) in [(100, 1), (21, 1), (15, 7), (0, 21)] {
        assert_eq!(store.compact(keep(changes_min)).unwrap(), Rev(oldest), "{changes_min}");
    }
}

#[test]
fn an_empty_store_compacts_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    assert_eq!(store.compact(Retention::usual(at(1 << 32))).unwrap(), Rev::ZERO);
    assert_eq!(store.read().unwrap().tail(Rev::ZERO, 10).unwrap(), []);
}

#[test]
fn more_than_one_step_of_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_600 {
                    store.commit(set(vec![], vec![])).unwrap();
                }
            });
        }
    });
    assert_eq!(
        store.compact(Retention { changes_max: 10, changes_min: 0, since: at(0), bytes_max: u64::MAX }).unwrap(),
        Rev(8 * 2_600 - 9)
    );
}

#[test]
fn a_copy_fed_by_the_tail_is_equal() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, copy) = (filled(&dir, 10), open(&other));
    store.commit(set(vec![], vec![Record::new(1, 1, "a.test", "A", "192.0.2.1").put()])).unwrap();
    store.commit(set(vec![], vec![Op::Del { key: Key::meta("a") }])).unwrap();
    for change in store.read().unwrap().tail(Rev::ZERO, 100).unwrap() {
        let rev = copy.commit(ChangeSet { guards: vec![], ops: change.ops, meta: change.meta }).unwrap();
        assert_eq!(rev, change.rev);
    }
    let (original, copied) = (store.read().unwrap(), copy.read().unwrap());
    assert_eq!((original.head(), hashes(&original)), (copied.head(), hashes(&copied)));
    assert_eq!(everything(&original), everything(&copied));
    // One more change on either side, and the hashes tell.
    copy.commit(set(vec![], vec![put(Key::meta("b"), "1")])).unwrap();
    store.commit(set(vec![], vec![put(Key::meta("b"), "2")])).unwrap();
    assert_ne!(hashes(&store.read().unwrap()), hashes(&copy.read().unwrap()));
}

#[test]
fn states_by_filter_and_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let ops = (1..=2).flat_map(|number| {
        let record = |id| Record::new(number, id, "a.test", "A", "192.0.2.1").put();
        let owner = put(Key::name(zone(number), &name("a.test")), "{}");
        let app = put(Key::app(zone(number), AppId::from_bytes([1; 16])), "{}");
        let settings = put(Key::settings(zone(number)), "{}");
        [app, owner, record(2), record(1), settings, zone_op(number, "a.test", 1, "active")]
    });
    store.commit(set(vec![], ops.collect())).unwrap();
    let snapshot = store.read().unwrap();
    let kinds = |filter: Filter| {
        let mut found = Vec::new();
        snapshot.for_each(&filter, &mut |entry| found.push((entry.key.kind(), entry.key.zone_id().unwrap()))).unwrap();
        found
    };
    // What others refer to comes first.
    let all: Vec<Kind> = kinds(Filter::Everything).into_iter().map(|(kind, _)| kind).collect();
    assert!(all.is_sorted() && all.len() == 12, "{all:?}");
    assert_eq!(kinds(Filter::Kinds(vec![Kind::Name, Kind::Tunnel])), [1, 2].map(|number| (Kind::Name, zone(number))));
    let of_zone = kinds(Filter::Scope(Scope::Zone(zone(2))));
    assert!(of_zone.len() == 6 && of_zone.iter().all(|(_, id)| *id == zone(2)), "{of_zone:?}");

    let of = |number, kind| Prefix::of(Scope::Zone(zone(number)), kind);
    let records: Vec<Key> = [1, 2].map(|id| Record::new(1, id, "", "", "").key()).into();
    for (prefix, after, limit, expect) in [
        (of(1, Kind::Record), None, 10, &records[..]),
        (of(1, Kind::Record), None, 1, &records[..1]),
        (of(1, Kind::Record), Some(&records[0]), 10, &records[1..]),
        (of(1, Kind::Record), Some(&records[1]), 10, &[]),
        (of(3, Kind::Record), None, 10, &[]),
        (of(1, Kind::Name), None, 10, &[Key::name(zone(1), &name("a.test"))]),
        (of(2, Kind::App), None, 10, &[Key::app(zone(2), AppId::from_bytes([1; 16]))]),
    ] {
        let found: Vec<Key> =
            snapshot.list(&prefix, after, limit).unwrap().into_iter().map(|entry| entry.key).collect();
        assert_eq!(found, expect, "{prefix:?} after {after:?}");
    }
    let zones: Vec<Key> = snapshot.list_kind(Kind::Zone, 10).unwrap().into_iter().map(|entry| entry.key).collect();
    assert_eq!(zones, [Key::zone(zone(1)), Key::zone(zone(2))]);
    assert_eq!(snapshot.list_kind(Kind::Zone, 1).unwrap().len(), 1);
    let everything = snapshot.list(&Prefix::scope(Scope::Zone(zone(2))), None, 10).unwrap();
    assert!(everything.len() == 6 && everything.iter().all(|entry| entry.key.zone_id() == Some(zone(2))));
}
