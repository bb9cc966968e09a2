//! Guards, limits, and many who commit at once.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use bartizan_store::{CHANGE_BYTES_MAX, CommitError, Guard, Key, Op, Rev, Store, VALUE_BYTES_MAX};

use crate::objects::{Record, everything, open, put, set, zone};

#[test]
fn guards_hold_or_nothing_happens() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (there, gone, other) = (Key::meta("there"), Key::meta("gone"), Key::meta("other"));
    store.commit(set(vec![], vec![put(there.clone(), "1"), put(gone.clone(), "1")])).unwrap();
    store.commit(set(vec![], vec![Op::Del { key: gone.clone() }])).unwrap();
    let before = everything(&store.read().unwrap());
    for (guards, broken) in [
        (vec![Guard::Absent(there.clone())], Some(0)),
        (vec![Guard::Exists(gone.clone())], Some(0)),
        (vec![Guard::At(there.clone(), Rev(2))], Some(0)),
        (vec![Guard::At(gone.clone(), Rev(1))], Some(0)),
        (vec![Guard::Exists(there.clone()), Guard::Absent(gone.clone()), Guard::Exists(other.clone())], Some(2)),
        (vec![Guard::Exists(there.clone()), Guard::Absent(gone.clone()), Guard::At(there.clone(), Rev(1))], None),
    ] {
        let verdict = store.commit(set(guards.clone(), vec![put(other.clone(), "1")]));
        match (broken, verdict) {
            (Some(index), Err(CommitError::Conflict { guard })) => assert_eq!(guard, guards[index]),
            (None, Ok(rev)) => assert_eq!(rev, Rev(3)),
            (_, verdict) => panic!("{guards:?}: {verdict:?}"),
        }
        if broken.is_some() {
            assert_eq!(everything(&store.read().unwrap()), before, "{guards:?}");
            assert_eq!(store.read().unwrap().head(), Rev(2));
        }
    }
}

#[test]
fn a_request_is_carried_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let key = Key::meta("counter");
    let request = set(vec![Guard::Absent(key.clone())], vec![put(key.clone(), "1")]);
    assert_eq!(store.commit(request.clone()).unwrap(), Rev(1));
    // Its guard would not hold any more: it is known before that is looked at.
    assert_eq!(store.commit(request.clone()).unwrap(), Rev(1));
    store.commit(set(vec![], vec![put(key.clone(), "2")])).unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!(store.commit(request).unwrap(), Rev(1));
    assert_eq!(&*store.read().unwrap().get(&key).unwrap().unwrap().value.json, "2");
}

#[test]
fn a_conflict_does_not_use_a_request_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let key = Key::meta("a");
    let request = set(vec![Guard::Exists(key.clone())], vec![put(key.clone(), "2")]);
    assert!(matches!(store.commit(request.clone()), Err(CommitError::Conflict { .. })));
    store.commit(set(vec![], vec![put(key, "1")])).unwrap();
    assert_eq!(store.commit(request).unwrap(), Rev(2));
}

#[test]
fn what_is_too_large_or_cannot_be_listed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let large = text(VALUE_BYTES_MAX);
    let many = || (0..=CHANGE_BYTES_MAX / VALUE_BYTES_MAX).map(|_| put(Key::meta("a"), &large)).collect::<Vec<_>>();
    let record = Record::new(1, 1, "a.test", "A", "192.0.2.1").key();
    for (ops, lands, expect) in [
        (vec![put(Key::meta("a"), &large)], true, ""),
        (vec![put(Key::meta("a"), &text(VALUE_BYTES_MAX + 1))], false, "bytes in a value"),
        (many(), false, "bytes in a change set"),
        (vec![Op::Del { key: Key::meta("a") }; 200_001], false, "guards and operations"),
        (vec![put(record.clone(), "{}")], false, "the type of this record is missing or invalid"),
        (vec![put(record, "no JSON")], false, "expected ident"),
        (
            vec![put(Key::zone(zone(1)), r#"{"name":"a.test","status":"active"}"#)],
            false,
            "the account of this zone is missing or invalid",
        ),
    ] {
        let verdict = store.commit(set(vec![], ops));
        let text = verdict.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!((verdict.is_ok(), text.contains(expect)), (lands, true), "{verdict:?}");
    }
    assert_eq!(store.read().unwrap().head(), Rev(1));
}

/// Each of eight adds one, time and again, to a counter that all share and to one of its own.
fn add(store: &Store, own: u8, times: u32) -> Vec<Rev> {
    let shared = Key::meta("shared");
    let own = Key::settings(zone(own));
    let mut revs = Vec::new();
    while revs.len() < times as usize {
        let snapshot = store.read().unwrap();
        let (guard, value) = match snapshot.get(&shared).unwrap() {
            None => (Guard::Absent(shared.clone()), 0),
            Some(entry) => (Guard::At(shared.clone(), entry.rev), entry.value.json.parse::<u32>().unwrap()),
        };
        drop(snapshot);
        let ops = vec![put(shared.clone(), &(value + 1).to_string()), put(own.clone(), &(revs.len() + 1).to_string())];
        match store.commit(set(vec![guard], ops)) {
            Ok(rev) => {
                // Whoever committed sees it, and so does everybody who watches.
                assert!(*store.watch().borrow() >= rev && store.read().unwrap().head() >= rev);
                revs.push(rev);
            }
            Err(CommitError::Conflict { guard }) => assert_eq!(guard.key(), &shared),
            Err(error) => panic!("{error}"),
        }
    }
    revs
}

#[test]
fn eight_committers_lose_nothing() {
    const EACH: u32 = 40;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let revs: Vec<Vec<Rev>> = thread::scope(|scope| {
        let threads: Vec<_> = (1..=8)
            .map(|own| {
                scope.spawn({
                    let store = &store;
                    move || add(store, own, EACH)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for of_one in &revs {
        assert!(of_one.is_sorted());
    }
    let all: BTreeSet<Rev> = revs.into_iter().flatten().collect();
    assert!(all.into_iter().eq((1..=8 * u64::from(EACH)).map(Rev)));
    let snapshot = store.read().unwrap();
    assert_eq!(snapshot.get(&Key::meta("shared")).unwrap().unwrap().value.json.parse(), Ok(8 * EACH));
    let tail = snapshot.tail(Rev::ZERO, usize::MAX).unwrap();
    assert!(tail.iter().map(|change| change.rev.0).eq(1..=8 * u64::from(EACH)));
    assert_eq!(snapshot.wrong_parts().unwrap(), []);
}

#[test]
fn a_snapshot_does_not_move() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    let before = store.read().unwrap();
    store.commit(set(vec![], vec![put(Key::meta("a"), "2"), put(Key::meta("b"), "2")])).unwrap();
    assert_eq!((before.head(), everything(&before).len()), (Rev(1), 1));
    assert_eq!(before.tail(Rev::ZERO, 10).unwrap().len(), 1);
    let after = store.read().unwrap();
    assert_eq!((after.head(), everything(&after).len()), (Rev(2), 2));
}

#[test]
fn more_readers_than_connections_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(store.read().unwrap().head(), Rev(1));
                }
            });
        }
    });
}

/// What a bulk load brought into the engine's memory goes when nobody has anything to write.
#[cfg(target_env = "gnu")]
#[test]
fn a_bulk_load_leaves_no_memory_behind() {
    const PAGES_BYTES: usize = 4 << 20;
    if !bartizan_lab::flood::is_alone("commit::a_bulk_load_leaves_no_memory_behind") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let used = || bartizan_net::held_memory().expect("the C library tells").used;
    // In the first rest or two all keys are looked at, too.
    for time in 0..3 {
        for part in 0..20 {
            let number = |at: u32| Key::meta(&format!("{time}-{}", (part * 500 + at).wrapping_mul(0x9e37_79b9)));
            let ops = (0..500).map(|at| put(number(at), &format!("\"{}\"", "x".repeat(400)))).collect();
            store.commit(set(vec![], ops)).unwrap();
        }
        let filled = used();
        let begin = Instant::now();
        while used() + PAGES_BYTES > filled {
            assert!(begin.elapsed() < Duration::from_secs(20), "{time}: {filled} {}", used());
            thread::sleep(Duration::from_millis(50));
        }
    }
}
