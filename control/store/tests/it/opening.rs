//! Files that open, and files that do not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bartizan_store::{
    BackupError, Budget, CommitError, Filter, Key, Log, Op, OpenError, Retention, Rev, Store, ZoneQuery,
};
use rusqlite::Connection;

use crate::objects::{at, everything, hashes, open, put, set, zone_op};

fn refusal(dir: &Path) -> OpenError {
    match Store::open(dir) {
        Ok(_) => panic!("{} opened", dir.display()),
        Err(error) => error,
    }
}

#[test]
fn a_new_store_is_empty_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let deeper = dir.path().join("a/b");
    let store = Store::open(&deeper).unwrap();
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    for entry in fs::read_dir(&deeper).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[test]
fn what_was_committed_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir);
    let rev = first.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    let before = (everything(&first.read().unwrap()), hashes(&first.read().unwrap()));
    drop(first);
    let second = open(&dir);
    assert_eq!((rev, *second.watch().borrow()), (Rev(1), Rev(1)));
    assert_eq!((everything(&second.read().unwrap()), hashes(&second.read().unwrap())), before);
}

#[test]
fn the_last_clone_closes_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    drop(store.clone());
    store.commit(set(vec![], vec![put(Key::meta("a"), "2")])).unwrap();
    drop(store);
    // A clean close folds the journal into the file and removes it.
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["store.head", "store.sqlite"]);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let path = dir.path().join("store.sqlite");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let before = fs::read(&path).unwrap();
    let error = refusal(dir.path());
    assert!(matches!(error, OpenError::NewerSchema { found: 7, supported: 4 }), "{error}");
    assert!(error.to_string().contains("install the newer version"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_directory_that_cannot_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    fs::create_dir_all(dir.path().join("taken/store.sqlite")).unwrap();
    // These fail for root too.
    for path in [file.clone(), file.join("below"), dir.path().join("taken")] {
        let error = refusal(&path);
        assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
        assert!(error.to_string().contains("choose another data directory"), "{error}");
    }
}

#[test]
fn files_that_are_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let foreign = |path: &Path| Connection::open(path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let text = |path: &Path| fs::write(path, "no database, but a text of some length ".repeat(200)).unwrap();
    let torn = |path: &Path| {
        drop(Store::open(path.parent().unwrap()).unwrap());
        let mut bytes = fs::read(path).unwrap();
        bytes[100..4096].fill(0xa5);
        fs::write(path, bytes).unwrap();
    };
    let writers: [&dyn Fn(&Path); 3] = [&foreign, &text, &torn];
    for write in writers {
        write(&path);
        let error = refusal(dir.path());
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
        fs::remove_file(&path).unwrap();
    }
}

/// As somebody copies it who does not know of the journal: right after the start, and a moment after each change.
#[test]
fn a_copy_of_the_file_alone_is_a_store() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&dir);
    let copy = || {
        fs::copy(dir.path().join("store.sqlite"), other.path().join("store.sqlite")).unwrap();
        *open(&other).watch().borrow()
    };
    assert_eq!(copy(), Rev::ZERO);
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    let begun = Instant::now();
    while copy() != Rev(1) {
        assert!(begun.elapsed() < Duration::from_secs(30), "the journal is never folded");
    }
}

/// Where nothing can be written; for root too, whom no mode of a file stops.
#[test]
fn a_store_that_cannot_be_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    drop(store);
    fs::create_dir(dir.path().join("store.sqlite-shm")).unwrap();
    let store = open(&dir);
    assert!(store.is_read_only().is_some());
    assert_eq!((*store.watch().borrow(), everything(&store.read().unwrap()).len()), (Rev(1), 1));
    assert!(store.read_for_listing().unwrap().zones(&ZoneQuery::default()).is_ok());
    let refused = store.commit(set(vec![], vec![put(Key::meta("a"), "2")]));
    assert!(matches!(refused, Err(CommitError::ReadOnly { .. })), "{refused:?}");
    drop(store);
    fs::remove_dir(dir.path().join("store.sqlite-shm")).unwrap();
    let store = open(&dir);
    assert_eq!(store.is_read_only(), None);
    assert_eq!(store.commit(set(vec![], vec![])).unwrap(), Rev(2));
}

/// What was deleted goes back to the disk when nobody has anything to write.
#[test]
fn a_file_shrinks_after_a_large_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let text = format!("\"{}\"", "x".repeat(100_000));
    let key = |number: u32| Key::meta(&number.to_string());
    for number in 0..200 {
        store.commit(set(vec![], vec![put(key(number), &text)])).unwrap();
    }
    let size = || fs::metadata(dir.path().join("store.sqlite")).unwrap().len();
    store.commit(set(vec![], (0..200).map(|number| Op::Del { key: key(number) }).collect())).unwrap();
    store.compact(Retention { changes_max: 1, changes_min: 0, since: at(0), bytes_max: 0 }).unwrap();
    let begun = Instant::now();
    while size() > 10 << 20 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} bytes", size());
        std::thread::yield_now();
    }
}

/// As a command makes it, beside the process that writes; and as it begins on another machine.
#[test]
fn a_store_begins_with_a_copy() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to = other.path().join("store.sqlite");
    let error = Store::backup_of(dir.path(), &to).unwrap_err();
    assert!(matches!(error, BackupError::None { .. }), "{error}");
    let store = open(&dir);
    store.commit(set(vec![], vec![zone_op(1, "x.test", 1, "active"), put(Key::meta("a"), "1")])).unwrap();
    // This one is in the journal alone.
    store.commit(set(vec![], vec![put(Key::meta("a"), "2")])).unwrap();
    Store::backup_of(dir.path(), &to).unwrap();
    store.commit(set(vec![], vec![put(Key::meta("a"), "3")])).unwrap();

    let (epoch, _) = store.head().unwrap();
    let contents = Store::contents(other.path()).unwrap().unwrap();
    assert_eq!((contents.epoch, contents.head, contents.objects, contents.zones), (epoch, Rev(2), 2, 1));
    assert_eq!(contents.wrong, []);
    assert_eq!(Store::begin_epoch(other.path()).unwrap(), Rev(2));
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1, "nothing stays beside it");
    let copy = open(&other);
    let (begun, head) = copy.head().unwrap();
    assert!(begun != epoch && head == Rev(2), "{begun:?} {head:?}");
    // Who followed the old one is told from who follows this one.
    let change = store.tail(Rev(2), &Filter::Everything, Budget { changes: 1, bytes: 1 }).unwrap().remove(0);
    assert!(matches!(copy.apply(epoch, change), Err(CommitError::Foreign)));
    assert_eq!(copy.commit(set(vec![], vec![put(Key::meta("a"), "4")])).unwrap(), Rev(3));
    assert_eq!(&*copy.read().unwrap().get(&Key::meta("a")).unwrap().unwrap().value.json, "4");
}

#[test]
fn a_backup_is_a_store() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&dir);
    for number in 0..10 {
        store.commit(set(vec![], vec![put(Key::meta("a"), &number.to_string())])).unwrap();
    }
    let to = other.path().join("store.sqlite");
    // An attempt that was cut off left this behind.
    fs::write(other.path().join("store.sqlite.partial"), "half a copy").unwrap();
    store.backup(&to).unwrap();
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    // What comes later is not in it.
    store.commit(set(vec![], vec![put(Key::meta("a"), "later")])).unwrap();
    let copy = open(&other);
    let (copied, snapshot) = (copy.read().unwrap(), store.read().unwrap());
    assert_eq!(copied.head(), Rev(10));
    assert_eq!(copied.tail(Rev(0), 100).unwrap(), snapshot.tail(Rev(0), 10).unwrap());
    assert_eq!(&*copied.get(&Key::meta("a")).unwrap().unwrap().value.json, "9");

    let error = store.backup(&to).unwrap_err();
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    let error = store.backup(&other.path().join("absent/copy")).unwrap_err();
    assert!(matches!(error, BackupError::NotWritable { .. }), "{error}");
    // Whatever became of it, the store reads on.
    assert_eq!(store.read().unwrap().head(), Rev(11));
}
