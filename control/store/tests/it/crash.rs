//! A process that is killed while it writes: what it acknowledged is there, and nothing is there in part.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use bartizan_names::RecordId;
use bartizan_store::{Change, ChangeSet, Guard, Key, Meta, Op, Rev, Store};

use crate::objects::{Record, at, everything, name, put, zone};

const KILLS: usize = 60;

/// Tells the test binary to be the process that will be killed, and where to write.
const CHILD: &str = "BARTIZAN_STORE_CRASH_DIR";

/// Threads of the child: several, so that groups of commits are in flight when it dies.
const COMMITTERS: u8 = 4;

/// What belongs together: if one part of a change set is there, so are the others, with the same number in them.
fn change_set(own: u8, number: u64, at_name: Guard) -> ChangeSet {
    let text = number.to_string();
    let mut record = Record::new(own, 1, "a.test", "TXT", &text);
    record.comment = Some(text.clone());
    record.tags = vec![format!("n:{text}")];
    let ops = vec![
        put(Key::name(zone(own), &name("a.test")), &text),
        record.put(),
        put(Key::settings(zone(own)), &text),
        // One that comes and goes, for the counters.
        match number % 2 {
            0 => Record::new(own, 2, "b.test", "A", "192.0.2.1").put(),
            _ => Op::Del { key: Key::record(zone(own), RecordId::from_bytes([2; 16])) },
        },
    ];
    let meta = Meta {
        at: at(number),
        actor: "child".to_owned(),
        interface: "test".to_owned(),
        client: None,
        request_id: bartizan_seal::random(),
    };
    ChangeSet { guards: vec![at_name], ops, meta }
}

/// The child's life: commit, tell, and again, until it is killed. In an ordinary run of the tests there is nothing to be.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let store = Store::open(Path::new(&dir)).unwrap();
    thread::scope(|scope| {
        for own in 1..=COMMITTERS {
            let store = &store;
            scope.spawn(move || {
                let key = Key::name(zone(own), &name("a.test"));
                let last = store.read().unwrap().get(&key).unwrap();
                let mut number = last.as_ref().map_or(0, |entry| entry.value.json.parse().unwrap());
                let mut guard = last.map_or(Guard::Absent(key.clone()), |entry| Guard::At(key.clone(), entry.rev));
                loop {
                    number += 1;
                    let rev = store.commit(change_set(own, number, guard)).unwrap();
                    // One write, so that a line is whole or not there.
                    println!("ack {} {own} {number}", rev.0);
                    guard = Guard::At(key.clone(), rev);
                }
            });
        }
    });
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// An acknowledgement: revision, committer, number.
fn ack(line: &str) -> Option<(Rev, u8, u64)> {
    // The harness writes its own words in front of the first line.
    let (_, line) = line.split_once("ack ")?;
    let mut words = line.split(' ');
    Some((Rev(words.next()?.parse().ok()?), words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Runs the child, kills it at some point of its work, and returns all that it acknowledged.
fn run_and_kill(dir: &Path) -> Vec<(Rev, u8, u64)> {
    let mut child = spawn(dir);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let [acks, spins] = bartizan_seal::random::<2>();
    let mut seen: Vec<_> =
        (&mut lines).map_while(Result::ok).filter_map(|line| ack(&line)).take(usize::from(acks % 32)).collect();
    // Anywhere between two acknowledgements, and not always right behind one.
    (0..u32::from(spins) * 500).for_each(|_| std::hint::spin_loop());
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    seen.extend(lines.map_while(Result::ok).filter_map(|line| ack(&line)));
    seen
}

/// Everything that can be torn, looked at from all sides. The log up to `known` was looked at before.
fn examine(dir: &Path, log: &mut Vec<Change>) {
    let store = Store::open(dir).unwrap();
    let snapshot = store.read().unwrap();
    let mut rev = log.last().map_or(Rev::ZERO, |change| change.rev);
    for change in snapshot.tail(rev, usize::MAX).unwrap() {
        assert_eq!((change.rev, change.ops.len()), (rev.next(), 4));
        rev = change.rev;
        log.push(change);
    }
    assert_eq!((snapshot.head(), snapshot.wrong_parts().unwrap()), (rev, vec![]));

    // The state is what the log says.
    let mut expect = BTreeMap::new();
    for change in log.iter() {
        for op in &change.ops {
            match op {
                Op::Put { key, value } => drop(expect.insert(key.clone(), (change.rev, value.clone()))),
                Op::Del { key } => drop(expect.remove(key)),
            }
        }
    }
    let state = everything(&snapshot).into_iter().map(|entry| (entry.key, (entry.rev, entry.value)));
    assert!(state.eq(expect));

    // And the listings are what the state says.
    let connection = rusqlite::Connection::open(dir.join("store.sqlite")).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    for question in [
        "SELECT count(*) FROM object WHERE kind = 7 AND id NOT IN (SELECT id FROM record)",
        "SELECT count(*) FROM record WHERE id NOT IN (SELECT id FROM object)",
        "SELECT count(*) FROM record WHERE type = 'TXT' AND comment IS NOT content",
        "SELECT count(*) FROM record r WHERE type = 'TXT' AND content NOT IN (SELECT value FROM record_tag t WHERE t.id = r.id)",
        "SELECT count(*) FROM record_tag WHERE id NOT IN (SELECT id FROM record)",
        "SELECT count(*) FROM (SELECT zone, count(*) FROM record GROUP BY zone EXCEPT SELECT zone, count FROM record_count)",
        "SELECT count(*) FROM (SELECT zone, status, count(*) FROM client_certificate GROUP BY 1, 2
            EXCEPT SELECT zone, status, count FROM client_certificate_count)",
    ] {
        let wrong: i64 = connection.query_row(question, (), |row| row.get(0)).unwrap();
        assert_eq!(wrong, 0, "{question}");
    }
}

#[test]
fn killed_at_any_point_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut log: Vec<Change> = Vec::new();
    let mut committers = BTreeSet::new();
    let mut acknowledged = 0;
    for kill in 1..=KILLS {
        let seen = run_and_kill(dir.path());
        examine(dir.path(), &mut log);
        for (rev, own, number) in seen {
            let change =
                log.get(usize::try_from(rev.0).unwrap() - 1).unwrap_or_else(|| panic!("kill {kill} lost {rev}"));
            let Op::Put { key, value } = &change.ops[0] else { panic!("{change:?}") };
            assert_eq!((key, &*value.json), (&Key::name(zone(own), &name("a.test")), number.to_string().as_str()));
            committers.insert(own);
            acknowledged += 1;
        }
    }
    // The test itself: it did write, by all hands.
    assert!(acknowledged >= KILLS && committers.len() == usize::from(COMMITTERS), "{acknowledged} {committers:?}");
}
