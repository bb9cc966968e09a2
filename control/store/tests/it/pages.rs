//! Every page of a file damaged, one after the other: the store opens, what was not on the page is there, it takes changes,
//! and it says what is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bartizan_names::{AppId, CertificateId};
use bartizan_store::{
    AccessRuleQuery, Direction, Entry, Filter, Index, Key, Kind, Lost, Op, OpenError, Prefix, ReadError, RecordOrder,
    RecordQuery, Retention, Scope, Snapshot, Store, TunnelQuery, ZoneQuery,
};
use rusqlite::{Connection, OpenFlags};

use crate::objects::{
    Record, account, at, everything, name, open, put, record_id, rule_key, rule_op, set, tunnel, tunnel_op, zone,
    zone_op,
};

pub(crate) const PAGE: usize = 4096;

/// What is written over a page.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Zeros,
    Noise,
}

impl Damage {
    fn bytes(self, size: usize) -> Vec<u8> {
        match self {
            Damage::Zeros => vec![0; size],
            // The same each time, and the beginning of no page (a step of xorshift a byte).
            Damage::Noise => {
                let mut state = 0x9e37_79b9_7f4a_7c15_u64;
                let noise = std::iter::repeat_with(|| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[3]
                });
                noise.take(size).collect()
            }
        }
    }
}

/// When it happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Stopped,
    Running,
}

/// A store of all kinds of objects, some of which spread over several pages. Zone 3 is small and stays so.
pub(crate) fn filled(dir: &Path) {
    let store = Store::open(dir).unwrap();
    for number in 1..=3 {
        let mut ops =
            vec![zone_op(number, &format!("{number}.test"), 1, "active"), put(Key::settings(zone(number)), "{}")];
        ops.push(put(Key::unique(Scope::Edge, Index::ZoneName, format_args!("{number}.test")), "{}"));
        for id in 1..=if number == 3 { 3 } else { 40 } {
            let mut record =
                Record::new(number, id, &format!("host-{id}.{number}.test"), "A", &format!("192.0.2.{id}"));
            record.comment = (id % 3 == 0).then(|| format!("the comment of {id}"));
            record.tags = if id % 4 == 0 { vec![format!("team:{id}")] } else { vec![] };
            ops.push(record.put());
            ops.push(put(Key::name(zone(number), &name(&record.name)), &format!(r#"{{"records":[{id}]}}"#)));
        }
        store.commit(set(vec![], ops)).unwrap();
    }
    let text = |size| format!(r#""{}""#, "x".repeat(size));
    let mut ops = vec![put(Key::meta("admin"), "1"), put(Key::account(account(1)), "{}")];
    for number in 1..=40 {
        ops.push(tunnel_op(number, &format!("tunnel {number}"), 1, number.into(), None));
        ops.push(rule_op(number, 2, "block", "ip", &format!("192.0.2.{number}"), "a note"));
        ops.push(put(Key::app(zone(2), AppId::from_bytes([number; 16])), &text(usize::from(number) * 40)));
    }
    // On pages of their own.
    for number in 1..=4 {
        let key = Key::certificate(Scope::Zone(zone(1)), CertificateId::from_bytes([number; 16]));
        ops.push(put(key, &text(usize::from(number) * 3_000)));
    }
    store.commit(set(vec![], ops)).unwrap();
    // Some of them in a second state, some gone, and some pages free.
    let gone = (20..=40).map(|id| Op::Del { key: Key::record(zone(1), record_id(id)) });
    store.commit(set(vec![], gone.collect())).unwrap();
    let again = (1..=30).map(|id| Record::new(2, id, &format!("again-{id}.2.test"), "AAAA", "2001:db8::1").put());
    store.commit(set(vec![], again.collect())).unwrap();
    let gone = (20..=40).map(|number| Op::Del { key: rule_key(number, 2) });
    store.commit(set(vec![], gone.collect())).unwrap();
    // Until the letters of all records are read: then nothing is left to do.
    while unread(dir) {
        std::thread::yield_now();
    }
}

fn unread(dir: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(dir.join("store.sqlite"), flags).unwrap();
    let sql = "SELECT EXISTS (SELECT 1 FROM record_unread)";
    connection.query_row(sql, (), |row| row.get(0)).unwrap()
}

/// Names the tree that each page belongs to.
fn trees(file: &Path) -> BTreeMap<usize, (String, String)> {
    let connection = Connection::open(file).unwrap();
    let mut select = connection.prepare("SELECT pageno, name, pagetype FROM dbstat").unwrap();
    let rows = select.query_map((), |row| Ok((row.get::<_, i64>(0)? as usize, (row.get(1)?, row.get(2)?)))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn damage(file: &Path, page: usize, size: usize, damage: Damage) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&damage.bytes(size), ((page - 1) * size) as u64).unwrap();
}

/// All that can be asked for. What is damaged may fail once, while it is being mended.
fn look(snapshot: &Snapshot) -> Result<(), ReadError> {
    for order in [RecordOrder::Type, RecordOrder::Name, RecordOrder::Content, RecordOrder::Ttl, RecordOrder::Proxied] {
        for number in 1..=3 {
            for search in [None, Some("omment".to_owned())] {
                let direction = Direction::Ascending;
                let query = RecordQuery { order, search, direction, per_page: 1_000, ..RecordQuery::all(zone(number)) };
                snapshot.records(&query)?;
            }
        }
    }
    snapshot.zones(&ZoneQuery::default())?;
    snapshot.tunnels(&TunnelQuery::all(account(1)))?;
    snapshot.access_rules(&AccessRuleQuery::all(Scope::Zone(zone(2))))?;
    snapshot.zones_changed()?;
    snapshot.wrong_parts()?;
    for kind in Kind::ALL {
        snapshot.list_kind(*kind, 1_000)?;
    }
    snapshot
        .stretches(NonZeroU32::MAX)?
        .into_iter()
        .try_for_each(|all| snapshot.for_each_record(all, &mut |_| {}).map(drop))?;
    Ok(())
}

/// What a person of the edge does: reads all, makes a record in one zone, deletes a tunnel. Returns what was lost.
pub(crate) fn use_it(store: &Store, what: &str) -> Lost {
    // Whatever damage readers meet is mended before the writer goes on.
    for _ in 0..3 {
        let met = store.read().is_ok_and(|snapshot| {
            snapshot.for_each(&Filter::Everything, &mut drop).is_err() || look(&snapshot).is_err()
        });
        if !store.settle().unwrap() && !met {
            break;
        }
    }
    let new = Record::new(3, 200, "new.3.test", "A", "192.0.2.200");
    store.commit(set(vec![], vec![new.put()])).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let gone = Op::Del { key: Key::tunnel(account(1), tunnel(1)) };
    store.commit(set(vec![], vec![gone])).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let snapshot = store.read().unwrap_or_else(|error| panic!("{what}: {error:?}"));
    look(&snapshot).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let listed = snapshot.records(&RecordQuery::all(zone(3))).unwrap();
    assert_eq!(listed.total, snapshot.count(&Prefix::of(Scope::Zone(zone(3)), Kind::Record)).unwrap(), "{what}");
    assert!(listed.items.iter().any(|entry| entry.key == Key::record(zone(3), record_id(200))), "{what}");
    let wrong = snapshot.wrong_parts().unwrap();
    drop(snapshot);
    if wrong.is_empty() {
        return store.condition().borrow().lost.clone();
    }
    // The engine does not see a document whose end is on a page of zeros: the doctor does, and it is mended on request.
    assert!(what.contains("overflow"), "{what}: {wrong:?}");
    let lost = store.mend().unwrap().lost;
    assert_eq!(store.read().unwrap().wrong_parts().unwrap(), [], "{what}");
    lost
}

/// A store as it was before any damage.
pub(crate) struct Sound {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) objects: BTreeMap<Key, Entry>,
    trees: BTreeMap<usize, (String, String)>,
    pub(crate) pages: usize,
}

impl Sound {
    pub(crate) fn new(fill: impl Fn(&Path)) -> Sound {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        let objects = by_key(&Store::open(dir.path()).unwrap());
        let file = dir.path().join("store.sqlite");
        let pages = fs::metadata(&file).unwrap().len() as usize / PAGE;
        Sound { trees: trees(&file), objects, pages, dir }
    }

    /// Damages a page of a copy and looks at what becomes of it; what is lost.
    fn damaged(&self, page: usize, how: Damage, when: When) -> BTreeSet<String> {
        let (tree, kind) = self.trees.get(&page).cloned().unwrap_or_default();
        let what = format!("{how:?} on page {page} of {}, {kind} of {tree:?}, {when:?}", self.pages);
        let harmed = self
            .harmed(&what, when, |file| damage(file, page, PAGE, how))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(harmed.lost.keys.len() as u64, harmed.lost.count, "{what}");
        let unnamed = |key: &String| Key::parse(key).is_err();
        assert!(!harmed.lost.keys.iter().any(unnamed), "{what}: {}", harmed.lost);
        assert_eq!(harmed.missing, [], "{what}: {}", harmed.lost);
        harmed.lost.keys
    }

    /// Does harm to the file of a copy and looks at what becomes of it.
    pub(crate) fn harmed(&self, what: &str, when: When, harm: impl Fn(&Path)) -> Result<Harmed, OpenError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("store.sqlite");
        fs::copy(self.dir.path().join("store.sqlite"), &file).unwrap();
        let store = match when {
            When::Stopped => {
                harm(&file);
                Store::open(dir.path())?
            }
            When::Running => {
                let store = Store::open(dir.path())?;
                harm(&file);
                store
            }
        };
        let lost = use_it(&store, what);
        let remembered = store.condition().borrow().lost.clone();
        drop(store);
        // And so it is for the next process, which still knows what was lost.
        let store = Store::open(dir.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(store.condition().borrow().lost, remembered, "{what}");
        let mut left = by_key(&store);
        assert!(left.remove(&Key::record(zone(3), record_id(200))).is_some(), "{what}");
        let mut expect = self.objects.clone();
        expect.remove(&Key::tunnel(account(1), tunnel(1)));
        for key in lost.keys.iter().filter_map(|key| Key::parse(key).ok()) {
            expect.remove(&key);
            // One that is not what was committed is there all the same.
            left.remove(&key);
        }
        for (key, entry) in &left {
            assert_eq!(Some(entry), expect.get(key), "{what}: {lost}");
        }
        expect.retain(|key, _| !left.contains_key(key));
        Ok(Harmed { missing: expect.into_keys().collect(), lost })
    }
}

/// What became of a store.
pub(crate) struct Harmed {
    pub(crate) lost: Lost,
    /// Objects that are neither there nor named as lost.
    pub(crate) missing: Vec<Key>,
}

pub(crate) fn by_key(store: &Store) -> BTreeMap<Key, Entry> {
    everything(&store.read().unwrap()).into_iter().map(|entry| (entry.key.clone(), entry)).collect()
}

/// With a log that reaches back to the beginning nothing is lost, whichever page it is.
fn nothing_is_lost(when: When, how: Damage) {
    let sound = Sound::new(filled);
    for page in 1..=sound.pages {
        assert_eq!(sound.damaged(page, how, when), BTreeSet::new(), "{page}");
    }
}

#[test]
fn zeros_on_a_page_of_a_stopped_store_take_nothing_that_the_log_has() {
    nothing_is_lost(When::Stopped, Damage::Zeros);
}

#[test]
fn noise_on_a_page_of_a_stopped_store_takes_nothing_that_the_log_has() {
    nothing_is_lost(When::Stopped, Damage::Noise);
}

#[test]
fn zeros_on_a_page_of_a_running_store_take_nothing_that_the_log_has() {
    nothing_is_lost(When::Running, Damage::Zeros);
}

#[test]
fn noise_on_a_page_of_a_running_store_takes_nothing_that_the_log_has() {
    nothing_is_lost(When::Running, Damage::Noise);
}

/// With a short log a page of objects takes those that were on it, and they are named.
#[test]
fn a_damaged_page_of_objects_takes_what_was_on_it_and_says_so() {
    let sound = Sound::new(|dir| {
        filled(dir);
        let store = Store::open(dir).unwrap();
        store.commit(set(vec![], vec![])).unwrap();
        store.compact(Retention { changes_max: 1, changes_min: 0, since: at(0), bytes_max: u64::MAX }).unwrap();
    });
    let cells = cells(&sound.dir.path().join("store.sqlite"));
    let mut all = 0;
    for (page, on_it) in cells {
        for (when, how) in [(When::Stopped, Damage::Zeros), (When::Running, Damage::Noise)] {
            let lost = sound.damaged(page, how, when);
            assert!(lost.len() <= on_it, "page {page}: {on_it} {lost:?}");
            all += lost.len();
        }
    }
    assert!(all > 100, "{all}");
}

/// How many objects each page of them has at most.
pub(crate) fn cells(file: &Path) -> BTreeMap<usize, usize> {
    let connection = Connection::open(file).unwrap();
    let sql = "SELECT pageno, CASE pagetype WHEN 'leaf' THEN ncell WHEN 'overflow' THEN 1 ELSE 0 END
               FROM dbstat WHERE name = 'object'";
    let mut select = connection.prepare(sql).unwrap();
    let rows =
        select.query_map((), |row| Ok((row.get::<_, i64>(0)? as usize, row.get::<_, i64>(1)? as usize))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// The store of the fixture: with its pages of 1 KB, a log that lacks its older half, and no hashes.
#[test]
fn a_damaged_store_of_0_1_0_opens_without_what_was_on_the_page() {
    const SMALL_PAGE: usize = 1024;
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/0.1.0/store.sqlite");
    let copied = |damaged: Option<(usize, Damage)>| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("store.sqlite");
        fs::copy(&fixture, &file).unwrap();
        if let Some((page, how)) = damaged {
            damage(&file, page, SMALL_PAGE, how);
        }
        dir
    };
    let objects = by_key(&open(&copied(None)));
    let cells = cells(&copied(None).path().join("store.sqlite"));
    for page in 1..=fs::metadata(&fixture).unwrap().len() as usize / SMALL_PAGE {
        let how = if page % 2 == 0 { Damage::Zeros } else { Damage::Noise };
        let what = format!("{how:?} on page {page}");
        let dir = copied(Some((page, how)));
        let store = Store::open(dir.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let (left, lost) = (by_key(&store), store.condition().borrow().lost.clone());
        let same = objects.iter().filter(|(key, entry)| left.get(key) == Some(entry)).count();
        let on_it = cells.get(&page).copied().unwrap_or(0);
        assert!(same + on_it >= objects.len(), "{what}: {} of {}, {on_it} on it", left.len(), objects.len());
        // One whose end is zeros may not say any more whose it is.
        let told = lost.count as usize + store.read().unwrap().for_each(&Filter::Everything, &mut drop).unwrap().len();
        assert!(left.len() + told >= objects.len(), "{what}: {lost}");
        store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(dir.path().join("store.schema-1.sqlite").exists(), "{what}");
    }
}
