//! Files whose end is cut off, or parts of which the disk does not give: the store opens with what is left.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bartizan_store::{Filter, Key, Kind, OpenError, Retention, Rev, Store};
use rusqlite::Connection;

use crate::objects::{at, everything, hashes, open, put, set};
use crate::pages::{PAGE, Sound, When, by_key, cells, filled, use_it};

/// Pages between two ends that are tried.
const STEP: usize = 8;

fn cut(file: &Path, bytes: usize) {
    OpenOptions::new().write(true).open(file).unwrap().set_len(bytes as u64).unwrap();
}

#[test]
fn a_file_that_was_cut_off_opens_with_what_is_left() {
    let sound = Sound::new(filled);
    let cells = cells(&sound.dir.path().join("store.sqlite"));
    let (mut lost_some, mut unnamed_rules) = (0, 0);
    let is_rule = |key: &Key| key.kind() == Kind::AccessRule;
    // Also in the middle of a page.
    let ends = (0..sound.pages).step_by(STEP).flat_map(|pages| [pages * PAGE + PAGE, pages * PAGE + PAGE / 3]);
    for end in ends {
        let what = format!("{end} bytes of {} pages", sound.pages);
        let gone: usize = cells.iter().filter(|(page, _)| **page * PAGE > end).map(|(_, cells)| cells).sum();
        let harmed = match sound.harmed(&what, When::Stopped, |file| cut(file, end)) {
            // A new one in its place would be a loss without a word.
            Err(OpenError::Corrupt { .. }) if gone == cells.values().sum::<usize>() => continue,
            opened => opened.unwrap_or_else(|error| panic!("{what}: {error}")),
        };
        let missing = harmed.missing.len();
        assert!(missing <= gone, "{what}: {missing} missing, {gone} gone");
        assert!(missing == 0 || !harmed.lost.is_empty(), "{what}: {missing} missing");
        // Whom a rule kept out stays out, be it that nobody knows the rule.
        let held: Vec<_> = harmed.lost.keys.iter().filter_map(|key| Key::parse(key).ok()).filter(is_rule).collect();
        for rule in harmed.missing.iter().filter(|key| is_rule(key)) {
            let is_held = held.iter().any(|key| key.scope() == rule.scope());
            assert!(is_held, "{what}: {rule} {}", harmed.lost);
            unnamed_rules += 1;
        }
        // Two with one id would be one for who puts them in force.
        let unnamed: Vec<_> = held.iter().filter(|key| !sound.objects.contains_key(key)).collect();
        let ids: BTreeSet<&str> = unnamed.iter().map(|key| key.id()).collect();
        assert_eq!(ids.len(), unnamed.len(), "{what}: {unnamed:?}");
        let settings = harmed.missing.iter().find(|key| key.kind() == Kind::Settings);
        assert_eq!(settings, None, "{what}: {}", harmed.lost);
        lost_some += usize::from(!harmed.lost.is_empty());
    }
    assert!(lost_some > 0 && unnamed_rules > 0, "the test itself: {lost_some} {unnamed_rules}");
}

/// Copies what a store has on its disk while it runs, as a kill would leave it.
fn killed(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["store.sqlite", "store.sqlite-wal"] {
        fs::copy(from.join(name), dir.path().join(name)).unwrap();
    }
    dir
}

/// What was acknowledged is in the journal alone, and the file it belongs to is damaged.
#[test]
fn what_is_in_the_journal_is_not_lost_with_the_file() {
    type Harm = fn(&Path);
    let rows: [(&str, Harm); 4] = [
        ("emptied", |file| cut(file, 0)),
        ("cut off", |file| cut(file, PAGE + 700)),
        ("without its first page", |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[..PAGE].fill(0xa5);
            fs::write(file, bytes).unwrap();
        }),
        ("whole", |_| {}),
    ];
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = open(&dir);
    // Nothing is folded into the file while somebody looks at an old state.
    let old = store.read().unwrap();
    for number in 1..=20 {
        store.commit(set(vec![], vec![put(Key::meta("a"), &number.to_string())])).unwrap();
    }
    for (what, harm) in rows {
        let copy = killed(dir.path());
        harm(&copy.path().join("store.sqlite"));
        let opened = Store::open(copy.path());
        if what == "emptied" || what == "cut off" {
            // Nearly all is gone, and that which is left is what was acknowledged last.
            let opened = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            let entry = opened.read().unwrap().get(&Key::meta("a")).unwrap().unwrap();
            assert_eq!(&*entry.value.json, "20", "{what}");
            assert!(!opened.condition().borrow().lost.is_empty(), "{what}");
            continue;
        }
        let opened = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(everything(&opened.read().unwrap()), everything(&store.read().unwrap()), "{what}");
        assert_eq!(hashes(&opened.read().unwrap()), hashes(&store.read().unwrap()), "{what}");
        assert!(opened.condition().borrow().lost.is_empty(), "{what}");
    }
    drop(old);
}

/// Another file may have its name by the time that it would be deleted.
#[test]
fn who_looks_from_outside_leaves_the_journal_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = open(&dir);
    let old = store.read().unwrap();
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    let copy = killed(dir.path());
    let journal = copy.path().join("store.sqlite-wal");
    let before = fs::read(&journal).unwrap();
    assert!(Store::examine(copy.path()).unwrap().pages.is_empty());
    assert_eq!(Store::wrong_parts(copy.path()).unwrap(), Some(vec![]));
    assert!(fs::read(&journal).unwrap() == before);
    drop(old);
}

/// The engine takes what stands behind a bad frame for what was never committed. It was acknowledged, and that is told.
#[test]
fn changes_behind_a_bad_frame_of_the_journal_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = open(&dir);
    // Nothing is folded into the file while somebody looks at an old state.
    let old = store.read().unwrap();
    let epoch = old.epoch().unwrap();
    let journal = |dir: &Path| dir.join("store.sqlite-wal");
    let mut ends = Vec::new();
    for number in 1..=5 {
        store.commit(set(vec![], vec![put(Key::meta("a"), &number.to_string())])).unwrap();
        ends.push(fs::metadata(journal(dir.path())).unwrap().len());
    }
    let head = *store.watch().borrow();
    for (harmed_at, gone) in [(ends[1] + 100, 3), (ends[3] + 100, 1), (ends[4], 0)] {
        let copy = killed(dir.path());
        fs::copy(dir.path().join("store.head"), copy.path().join("store.head")).unwrap();
        let mut bytes = fs::read(journal(copy.path())).unwrap();
        bytes.iter_mut().skip(usize::try_from(harmed_at).unwrap()).take(8).for_each(|byte| *byte ^= 0xff);
        fs::write(journal(copy.path()), bytes).unwrap();
        let opened = open(&copy);
        assert_eq!(opened.condition().borrow().gone, gone);
        let snapshot = opened.read().unwrap();
        let value = snapshot.get(&Key::meta("a")).unwrap().unwrap().value.json;
        assert_eq!(&*value, (5 - gone).to_string());
        // Who follows begins anew, and no revision is given twice.
        assert_eq!(snapshot.epoch().unwrap() == epoch, gone == 0);
        assert_eq!(snapshot.head() == head, gone == 0);
        assert!(snapshot.head() >= head);
        drop(snapshot);
        let next = opened.commit(set(vec![], vec![put(Key::meta("b"), "1")])).unwrap();
        assert!(next > head);
        drop(opened);
        // It is told until a person has dealt with it.
        assert_eq!(Store::examine(copy.path()).unwrap().gone, gone);
        let opened = open(&copy);
        assert_eq!(opened.condition().borrow().gone, gone);
        assert_eq!(*opened.watch().borrow(), next, "and not missed again");
        opened.mend().unwrap();
        assert_eq!(opened.condition().borrow().gone, 0);
        drop(opened);
        assert_eq!(open(&copy).condition().borrow().gone, 0);
    }
    drop(old);
}

/// A journal that says nothing leaves the file as it was without it.
#[test]
fn a_journal_that_cannot_be_used_is_left_aside() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let before = by_key(&open(&dir));
    let path = dir.path().join("store.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..PAGE].fill(0);
    fs::write(&path, bytes).unwrap();
    fs::write(dir.path().join("store.sqlite-wal"), [0xa5; 9_000]).unwrap();
    let store = open(&dir);
    assert_eq!(by_key(&store), before);
    drop(store);
    assert_eq!(by_key(&open(&dir)), before);
}

/// Damage must not make a store of what never was one, nor an older store of a newer one.
#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    type Make = fn(&Path);
    let rows: [(&str, Make, &str); 4] = [
        (
            "foreign",
            |path| {
                let connection = Connection::open(path).unwrap();
                connection
                    .execute_batch(
                        "CREATE TABLE object (id INTEGER PRIMARY KEY, key, kind, rev, format, hash, json);
                    INSERT INTO object VALUES (1, 'edge/meta/a', 1, 1, 1, zeroblob(16), '{}')",
                    )
                    .unwrap();
            },
            "another program's database",
        ),
        (
            "foreign and cut off",
            |path| {
                let connection = Connection::open(path).unwrap();
                connection.execute_batch("CREATE TABLE a (b); INSERT INTO a VALUES (zeroblob(20000))").unwrap();
                drop(connection);
                cut(path, 2 * PAGE);
            },
            "another program's database",
        ),
        ("a text", |path| fs::write(path, "no database ".repeat(1_000)).unwrap(), "nothing of it can be read"),
        (
            "newer and damaged",
            |path| {
                filled(path.parent().unwrap());
                Connection::open(path).unwrap().pragma_update(None, "user_version", 7).unwrap();
                cut(path, 20 * PAGE);
            },
            "the store has schema 7",
        ),
    ];
    for (what, make, reason) in rows {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        make(&path);
        let names =
            || -> BTreeSet<OsString> { fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
        let (before, before_names) = (fs::read(&path).unwrap(), names());
        let error = Store::open(dir.path()).err().unwrap_or_else(|| panic!("{what} opened"));
        assert!(error.to_string().contains(reason), "{what}: {error}");
        assert!(fs::read(&path).unwrap() == before, "{what}");
        assert_eq!(names(), before_names, "{what}");
    }
}

/// If something is lost, the file that it was lost from stays, as it was.
#[test]
fn the_damaged_file_is_kept_if_something_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = open(&dir);
    store.compact(Retention { changes_max: 1, changes_min: 0, since: at(0), bytes_max: u64::MAX }).unwrap();
    drop(store);
    let path = dir.path().join("store.sqlite");
    let pages = fs::metadata(&path).unwrap().len() as usize / PAGE;
    cut(&path, pages * 3 / 4 * PAGE);
    let (before, inode) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino());
    assert!(!open(&dir).condition().borrow().lost.is_empty());
    let kept = dir.path().join("store.damaged.sqlite");
    assert!(fs::read(&kept).unwrap() == before);
    assert_eq!(fs::metadata(&kept).unwrap().ino(), inode);
}

/// A start that is cut off while the new file takes the place of the old one, at each step of it.
#[test]
fn a_start_that_was_cut_off_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = open(&dir);
    let all = everything(&store.read().unwrap());
    store.backup(&dir.path().join("new")).unwrap();
    let old = store.read().unwrap();
    store.commit(set(vec![], vec![put(Key::meta("only in the old one"), "1")])).unwrap();
    let left = |dir: &Path, name: &str| fs::remove_file(dir.join(name)).unwrap();
    let steps: [&dyn Fn(&Path); 4] = [
        &|_| {},
        &|dir| left(dir, "store.sqlite"),
        &|dir| {
            left(dir, "store.sqlite");
            left(dir, "store.sqlite-wal");
        },
        &|dir| fs::write(dir.join("store.sqlite-shm"), "stale").unwrap(),
    ];
    for (number, step) in steps.iter().enumerate() {
        let copy = killed(dir.path());
        fs::copy(dir.path().join("new"), copy.path().join("store.ready.sqlite")).unwrap();
        step(copy.path());
        let opened = open(&copy);
        assert_eq!(everything(&opened.read().unwrap()), all, "step {number}");
        assert!(!copy.path().join("store.ready.sqlite").exists(), "step {number}");
    }
    drop(old);
}

/// Tells the test binary to open the store there while its disk does not give a page of it.
const CHILD: &str = "BARTIZAN_STORE_UNREADABLE";

/// Makes the C library fail to read one page of one file, as a kernel does whose disk has a bad sector.
fn bad_sector(dir: &Path) -> PathBuf {
    let library = dir.join("bad_sector.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bad_sector.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(made.success());
    library
}

#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    // The test itself: it cannot be read.
    assert_eq!(fs::read(dir.join("store.sqlite")).unwrap_err().raw_os_error(), Some(5));
    let store = Store::open(dir).unwrap();
    assert_eq!(use_it(&store, "a bad sector").count, 0);
    assert_eq!(store.read().unwrap().for_each(&Filter::Everything, &mut drop).unwrap(), []);
}

#[test]
fn a_page_that_cannot_be_read_does_not_stop_a_start() {
    let sound = Sound::new(filled);
    let dir = tempfile::tempdir().unwrap();
    let library = bad_sector(dir.path());
    for page in (0..sound.pages).step_by(STEP / 2) {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("store.sqlite");
        fs::copy(sound.dir.path().join("store.sqlite"), &file).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["torn::child", "--exact", "--nocapture"])
            .env(CHILD, data.path())
            .env("LD_PRELOAD", &library)
            .env("BAD_INODE", File::open(&file).unwrap().metadata().unwrap().ino().to_string())
            .env("BAD_AT", (page * PAGE).to_string())
            .output()
            .unwrap();
        assert!(child.status.success(), "page {}: {}", page + 1, String::from_utf8_lossy(&child.stderr));
        let mut left = by_key(&open(&data));
        left.retain(|key, _| sound.objects.contains_key(key));
        // The tunnel that was deleted since.
        assert_eq!(left.len() + 1, sound.objects.len(), "page {}", page + 1);
        assert!(*open(&data).watch().borrow() > Rev(1));
    }
}
