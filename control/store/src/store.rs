//! The door: opening, committing, reading, and looking after the file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use bartizan_names::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::audit::{AuditRetention, Dropped, Kept, Trim};
use crate::change::{Change, ChangeSet, Epoch, Op, Rev};
use crate::condition::{self, Condition, Examined, Survey};
use crate::damage::Damage;
use crate::envelope::{Budget, Envelope, Log, Verdict};
use crate::error::{CommitError, OpenError, ReadError, TailError};
use crate::gate::Gate;
use crate::high_water::{self, HighWater};
use crate::install::State;
use crate::key::Filter;
use crate::log::{self, Retention};
use crate::lost::Lost;
use crate::mend::{self, Mended};
use crate::pause::{Pause, Pauses};
use crate::readers::{Purpose, Readers};
use crate::rebuild;
use crate::schema::{self, Access};
use crate::snapshot::Snapshot;
use crate::state_hash::{Part, Wrong};
use crate::writer::{Answer, Attempts, Folder, Folding, Outcome, Pace, Prepared, Queue, Waiting, Work, Writer};

/// Steps through the audit that may find nothing too old, before it is enough for this time: all of it is looked through in a
/// few of them, whatever the clocks did.
const FORGET_LOOKS_MAX: u32 = 100;

/// The store of one data directory. Cheap to clone; the file is closed when the last clone is gone.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    writing: Writing,
    told: Told,
    readers: Arc<Readers>,
    /// Separate ones for long listings, so that short reads do not wait for them.
    listing_readers: Arc<Readers>,
    /// And for searches, so that short lists do not wait either.
    search_readers: Arc<Readers>,
    dir: PathBuf,
    access: Access,
    /// Where in the audit the look for what is too old goes on.
    forget_from: AtomicI64,
    audit_kept: Arc<Kept>,
    /// Last, to be open as long as any connection: the engine's locks are the process's, and whoever closes a descriptor of
    /// the file lets go of all of them (<https://www.sqlite.org/howtocorrupt.html> §2.2).
    _file: Option<Arc<File>>,
}

/// What the writer tells.
struct Told {
    head: watch::Receiver<Rev>,
    epoch: Arc<AtomicU64>,
    damage: Arc<Damage>,
    gate: Arc<Gate>,
    pace: Arc<Pace>,
    /// What it is told.
    pauses: Pauses,
}

/// Whether changes are taken.
enum Writing {
    Open {
        queue: Queue,
        writer: JoinHandle<()>,
    },
    Refused {
        reason: Arc<str>,
    },
    /// Only while the last clone goes.
    Closed,
}

impl Shared {
    fn new(dir: &Path, access: Access, writing: Writing, told: Told, file: Option<Arc<File>>) -> Shared {
        let readers = |purpose| {
            let readers = Readers::new(dir.to_owned(), access, purpose, Arc::clone(&told.damage));
            Arc::new(readers.behind(Arc::clone(&told.gate)).of_file(file.as_ref()))
        };
        Shared {
            readers: readers(Purpose::State),
            listing_readers: readers(Purpose::Listing),
            search_readers: readers(Purpose::Search),
            writing,
            told,
            dir: dir.to_owned(),
            access,
            forget_from: AtomicI64::new(0),
            audit_kept: Arc::default(),
            _file: file,
        }
    }
}

impl Store {
    /// Opens `dir`, which is made if it is not there, and brings an older file up to date.
    ///
    /// Two processes with one store do no harm but wait for each other; the caller sees to it that there is only one.
    pub fn open(dir: &Path) -> Result<Store, OpenError> {
        Store::open_folding(dir, Folding::USUAL)
    }

    fn open_folding(dir: &Path, folding: Folding) -> Result<Store, OpenError> {
        match schema::open_writer(dir) {
            Ok(connection) => Store::with_writer(dir, connection, folding),
            Err(error) if error.is_of_writing() => Store::for_reading(dir, error),
            Err(error) => Err(error),
        }
    }

    fn with_writer(dir: &Path, mut connection: Connection, folding: Folding) -> Result<Store, OpenError> {
        let engine =
            |source: rusqlite::Error| OpenError::Engine { path: dir.join(schema::FILE), source: source.into() };
        let file = File::options().read(true).write(true).open(dir.join(schema::FILE));
        let file = file.map_err(|source| OpenError::NotWritable { path: dir.join(schema::FILE), source })?;
        let file = Arc::new(file);
        let high_water = HighWater::open(dir);
        high_water.compare(&mut connection).map_err(engine)?;
        let gone = high_water::gone(&connection).map_err(engine)?;
        let rev = log::head(&connection).map_err(engine)?;
        let epoch = Arc::new(AtomicU64::new(log::epoch(&connection).map_err(engine)?.0));
        let (head_sender, head) = watch::channel(rev);
        let lost = Lost::of_file(&connection);
        let damage = Arc::new(Damage::new(Condition { lost, gone, ..Condition::default() }));
        let (queue, jobs) = Queue::new(Arc::clone(&damage));
        let audit_kept = Arc::<Kept>::default();
        let (gate, pauses, pace) = <(Arc<Gate>, Pauses, Arc<Pace>)>::default();
        let not_writable = |source| OpenError::NotWritable { path: dir.to_owned(), source };
        let folder = Folder::start(dir, Arc::clone(&file), Arc::clone(&damage)).map_err(not_writable)?;
        let writer = Writer {
            folder,
            connection,
            waiting: Waiting::of(jobs),
            pace: Arc::clone(&pace),
            letters: rebuild::read_step(),
            head: head_sender,
            epoch: Arc::clone(&epoch),
            folding,
            gate: Arc::clone(&gate),
            pauses: pauses.clone(),
            damage: Arc::clone(&damage),
            attempts: Attempts::new(),
            dir: dir.to_owned(),
            survey: Some(Survey::default()),
            is_filled: false,
            trim: Trim::to(Arc::clone(&audit_kept)),
            file: Arc::clone(&file),
            high_water,
        };
        let writer =
            thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run()).map_err(not_writable)?;
        let writing = Writing::Open { queue, writer };
        let mut shared =
            Shared::new(dir, Access::Shared, writing, Told { head, epoch, damage, gate, pauses, pace }, Some(file));
        shared.audit_kept = audit_kept;
        Ok(Store(Arc::new(shared)))
    }

    /// A store that cannot be written can be served.
    fn for_reading(dir: &Path, error: OpenError) -> Result<Store, OpenError> {
        Store::open_for_reading(dir, &error.to_string()).ok_or(error)
    }

    /// Opens `dir` for reading alone, for this reason: who would change something is told it. None if there is no store of
    /// this version.
    pub fn open_for_reading(dir: &Path, reason: &str) -> Option<Store> {
        let access = schema::readable(dir)?;
        let damage = Arc::<Damage>::default();
        let readers = Readers::new(dir.to_owned(), access, Purpose::State, Arc::clone(&damage));
        let seen = Snapshot::open(Arc::new(readers)).ok()?.head();
        tracing::error!(reason, "the store is open for reading only");
        // Nobody will ever tell of a newer revision.
        let (_, head) = watch::channel(seen);
        let writing = Writing::Refused { reason: reason.into() };
        let (epoch, gate, pauses, pace) = Default::default();
        let told = Told { head, epoch, damage, gate, pauses, pace };
        let shared = Shared::new(dir, access, writing, told, None);
        shared.readers.open_all();
        shared.listing_readers.open_all();
        shared.search_readers.open_all();
        Some(Store(Arc::new(shared)))
    }

    /// Reads all objects of the store in `dir`, be it in use or not, and names the kinds and zones whose objects are not
    /// those that were committed. None if there is no store of this version: opening it would make or change one.
    pub fn wrong_parts(dir: &Path) -> Result<Option<Vec<Part>>, ReadError> {
        Ok(Store::wrong(dir)?.map(|wrong| wrong.parts))
    }

    /// The same, with the objects themselves that are there and are not what was committed.
    pub fn wrong(dir: &Path) -> Result<Option<Wrong>, ReadError> {
        let Some(access) = schema::readable(dir) else { return Ok(None) };
        let readers = Readers::new(dir.to_owned(), access, Purpose::State, Arc::default());
        Snapshot::open(Arc::new(readers))?.wrong().map(Some)
    }

    /// Where its file is; what derives from it is kept beside it.
    pub fn folder(&self) -> &Path {
        &self.0.dir
    }

    /// Why nothing can be written, if that is so: the disk was full or not to be written to when the store was opened.
    pub fn is_read_only(&self) -> Option<&str> {
        match &self.0.writing {
            Writing::Refused { reason } => Some(reason),
            Writing::Open { .. } | Writing::Closed => None,
        }
    }

    /// Makes `set` the next revision, durably, or says why not. Blocks, for a sync of the disk at least.
    ///
    /// Let go of the snapshot that `set` was made from before: when the writer folds the
    /// journal it waits for its readers, and a reader that waits for the writer would block both until the wait ends.
    ///
    /// A request id that landed before returns its revision, whatever else `set` says; a conflict does not use it up.
    pub fn commit(&self, set: ChangeSet) -> Result<Rev, CommitError> {
        match self.append(Envelope::new(self.epoch(), set.clone()))? {
            // The log was damaged and began anew in the meantime.
            Verdict::Foreign => self.append(Envelope::new(self.epoch(), set))?.rev(),
            verdict => verdict.rev(),
        }
    }

    /// How many operations whoever has very many should put into one change set, so that others get their turn between: what
    /// was written in some milliseconds lately.
    pub fn operations_in_a_turn(&self) -> usize {
        self.0.told.pace.operations()
    }

    /// Whether `set` could become the next revision, as far as that does not depend on who is faster: the same as
    /// [`Store::commit`], without doing it.
    pub fn would_take(&self, set: ChangeSet) -> Result<(), CommitError> {
        Prepared::new(Envelope::new(self.epoch(), set))?;
        match &self.0.writing {
            Writing::Open { .. } => Ok(()),
            Writing::Refused { reason } => Err(CommitError::ReadOnly { reason: Arc::clone(reason) }),
            Writing::Closed => Err(CommitError::Closed),
        }
    }

    /// Makes a change that was decided elsewhere the next revision of this copy, durably: the one behind its newest and no
    /// other, of the same log.
    pub fn apply(&self, epoch: Epoch, change: Change) -> Result<(), CommitError> {
        let set = ChangeSet { guards: Vec::new(), ops: change.ops, meta: change.meta };
        self.run(Work::Apply(Box::new(Prepared::new(Envelope::new(epoch, set))?), change.rev)).map(drop)
    }

    /// Puts another state in place of this one, whole or not at all; the log begins behind it.
    pub fn install(&self, state: State) -> Result<(), CommitError> {
        self.run(Work::Install(Mutex::new(state))).map(drop)
    }

    /// The log that this is a copy of.
    fn epoch(&self) -> Epoch {
        Epoch(self.0.told.epoch.load(Ordering::Relaxed))
    }

    /// A consistent view of now. Blocks while all reading connections are lent; keep it for milliseconds, not minutes,
    /// because the journal grows for as long as somebody looks at an old state.
    pub fn read(&self) -> Result<Snapshot, ReadError> {
        Snapshot::open(Arc::clone(&self.0.readers))
    }

    /// The same for listings, on connections of their own: no number of them keeps a caller of
    /// [`Store::read`] waiting. What takes too long ends with [`ReadError::TooSlow`], counted from here on.
    pub fn read_for_listing(&self) -> Result<Snapshot, ReadError> {
        Snapshot::open(Arc::clone(&self.0.listing_readers))
    }

    /// The same for what looks at many rows ([`RecordQuery::is_search`](crate::RecordQuery::is_search)), so that no number of
    /// searches keeps a caller of [`Store::read_for_listing`] waiting.
    pub fn read_for_search(&self) -> Result<Snapshot, ReadError> {
        Snapshot::open(Arc::clone(&self.0.search_readers))
    }

    /// Puts off what may wait until nobody has work, however long that is. For who has much to read: the processors are needed
    /// for that.
    pub fn pause(&self) -> Pause {
        self.0.told.pauses.begin()
    }

    /// Makes a new file of all that can be read of this one, while nobody commits. Damage that is met leads to it by itself;
    /// asked for, it also takes out what no version of today knows, and forgets what was lost before, having told it.
    pub fn mend(&self) -> Result<Mended, CommitError> {
        match self.run(Work::Mend)? {
            Outcome::Mended(done) => Ok(done),
            _ => unreachable!("the writer answers what it was asked"),
        }
    }

    /// Waits until damage that was met before this call is mended, if it can be. False if none was met since the store was
    /// opened.
    pub fn settle(&self) -> Result<bool, CommitError> {
        match self.run(Work::Settle)? {
            Outcome::Settled { met } => Ok(met),
            _ => unreachable!("the writer answers what it was asked"),
        }
    }

    /// Room that the disk of a store in `dir` must have for its file to be mended, at most, in bytes.
    pub fn room_to_mend(dir: &Path) -> u64 {
        mend::room(dir)
    }

    /// What is wrong with the file, as long as it is.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.0.told.damage.condition()
    }

    /// Looks at all pages of the store in `dir`, be it in use or not, damaged or not. None if there is none.
    pub fn examine(dir: &Path) -> Option<Examined> {
        condition::examine(dir)
    }

    /// The newest revision. It is seen here before the one who committed it hears of it.
    pub fn watch(&self) -> watch::Receiver<Rev> {
        self.0.told.head.clone()
    }

    /// Drops what `keep` does not want from the change log; returns the oldest revision that is left.
    /// Commits go on meanwhile.
    pub fn compact(&self, keep: Retention) -> Result<Rev, CommitError> {
        let mut oldest = Rev::ZERO;
        loop {
            match self.run(Work::Compact(keep))? {
                Outcome::Oldest(newer) if newer != oldest => oldest = newer,
                _ => return Ok(oldest),
            }
        }
    }

    /// How much of the audit stays from now on: it was [`AuditRetention::USUAL`] when the store was opened. What is more goes
    /// with the next changes and with [`Store::forget`].
    pub fn keep_audit(&self, keep: AuditRetention) {
        self.0.audit_kept.set(keep);
    }

    /// How much of the audit stays.
    pub fn audit_kept(&self) -> AuditRetention {
        self.0.audit_kept.get()
    }

    /// Deletes what is too old of the audit ([`Store::keep_audit`]); commits go on meanwhile.
    pub fn forget(&self, now: Timestamp) -> Result<(), CommitError> {
        let since = self.0.audit_kept.since(now);
        // Usually they are in order, and what is too old is at the beginning.
        self.forget_from(since, 0, 1)?;
        // Where a clock was wrong, there may be old ones behind others that seem new: each time the look goes on from where
        // the last one ended.
        let next = self.forget_from(since, self.0.forget_from.load(Ordering::Relaxed), FORGET_LOOKS_MAX)?;
        self.0.forget_from.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// Goes on until so many steps in a row found nothing; where that was, or the beginning once it came to the end.
    fn forget_from(&self, since: Timestamp, mut from: i64, looks: u32) -> Result<i64, CommitError> {
        let mut in_vain = 0;
        while in_vain < looks {
            let Outcome::Forgotten(Dropped { entries, next, .. }) = self.run(Work::Forget { since, from })? else {
                unreachable!("the writer answers what it was asked")
            };
            let Some(next) = next else { return Ok(0) };
            from = next;
            in_vain = if entries == 0 { in_vain + 1 } else { 0 };
        }
        Ok(from)
    }

    /// A connection of its own, for what takes long.
    pub(crate) fn reader(&self) -> rusqlite::Result<Connection> {
        schema::open_reader(&self.0.dir, self.0.access)
    }

    fn run(&self, work: Work) -> Answer {
        match &self.0.writing {
            Writing::Open { queue, .. } => queue.run(work),
            Writing::Refused { reason } => Err(CommitError::ReadOnly { reason: Arc::clone(reason) }),
            Writing::Closed => Err(CommitError::Closed),
        }
    }
}

impl Log for Store {
    fn append(&self, envelope: Envelope) -> Result<Verdict, CommitError> {
        match self.run(Work::Append(Box::new(Prepared::new(envelope)?)))? {
            Outcome::Verdict(verdict) => Ok(verdict),
            _ => unreachable!("the writer answers what it was asked"),
        }
    }

    fn tail(&self, after: Rev, filter: &Filter, budget: Budget) -> Result<Vec<Change>, TailError> {
        let mut bytes_left = budget.bytes;
        let mut changes = Vec::new();
        for change in self.read()?.tail(after, budget.changes)? {
            let change = change.filtered(filter);
            let bytes: usize = change.ops.iter().map(Op::bytes).sum();
            if bytes > bytes_left && !changes.is_empty() {
                break;
            }
            bytes_left = bytes_left.saturating_sub(bytes);
            changes.push(change);
        }
        Ok(changes)
    }

    fn head(&self) -> Result<(Epoch, Rev), ReadError> {
        let snapshot = self.read()?;
        Ok((snapshot.epoch()?, snapshot.head()))
    }
}

impl Drop for Shared {
    /// Waits for the writer, so that the file is closed and all is written when the last clone is gone.
    fn drop(&mut self) {
        if let Writing::Open { queue, writer } = std::mem::replace(&mut self.writing, Writing::Closed) {
            drop(queue);
            // A panic of the writer was printed by its thread and told to all who waited.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::change::{Meta, Value};
    use crate::key::Key;

    const FOLD_AT: u64 = 1 << 20;

    /// One change, below a quarter of what is folded at.
    const CHANGE_BYTES_MAX: u64 = FOLD_AT / 4;

    fn open(dir: &Path, wait_max: Duration) -> Store {
        Store::open_folding(dir, Folding { bytes: FOLD_AT, wait_max, kept: FOLD_AT / 2 }).unwrap()
    }

    fn write(store: &Store) {
        try_write(store, 100_000).unwrap();
    }

    fn try_write(store: &Store, bytes: usize) -> Result<Rev, CommitError> {
        let json = format!("\"{}\"", "x".repeat(bytes)).into();
        let op = Op::Put { key: Key::meta("a"), value: Value { format: 1, json } };
        let meta = Meta {
            at: Timestamp::from_unix_micros(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: bartizan_seal::random(),
        };
        store.commit(ChangeSet { guards: Vec::new(), ops: vec![op], meta })
    }

    fn journal_bytes(dir: &Path) -> u64 {
        fs::metadata(dir.join("store.sqlite-wal")).unwrap().len()
    }

    /// Each of many readers looks anew before it lets go of what it saw last, so that there never is none.
    #[test]
    fn constant_readers_do_not_keep_the_journal_growing() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Duration::from_secs(60));
        let stop = AtomicBool::new(false);
        let mut largest = 0;
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut seen = store.read().unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        let next = store.read().unwrap();
                        drop(std::mem::replace(&mut seen, next));
                    }
                });
            }
            for _ in 0..200 {
                write(&store);
                largest = largest.max(journal_bytes(dir.path()));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(largest < FOLD_AT + 2 * CHANGE_BYTES_MAX, "{largest} bytes");
    }

    /// The engine's own limit of a file's pages ends as a full disk does.
    #[test]
    fn a_full_disk_is_told_and_reading_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(dir.path()).unwrap();
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", pages + 10).unwrap();
        let store = Store::with_writer(dir.path(), connection, Folding::USUAL).unwrap();
        let large = |bytes| try_write(&store, bytes);
        assert_eq!(large(10).unwrap(), Rev(1));
        let full = large(100_000);
        assert!(matches!(&full, Err(CommitError::Engine(error)) if error.is_disk_full()), "{full:?}");
        assert_eq!(store.read().unwrap().head(), Rev(1));
        assert_eq!(large(10).unwrap(), Rev(2));
    }

    /// The writer is busy for as long as the test wants, with a state that does not come to its end.
    #[test]
    fn a_change_whose_turn_does_not_come_is_given_up_and_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path(), Duration::ZERO);
        write(&store);
        let wait_at_most = |store: &mut Store, max| {
            let Writing::Open { queue, .. } = &mut Arc::get_mut(&mut store.0).unwrap().writing else { panic!() };
            std::mem::replace(&mut queue.write_wait_max, max)
        };
        let usual = wait_at_most(&mut store, Duration::ZERO);
        let (begun, has_begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let entries = std::iter::from_fn(move || {
            begun.send(()).unwrap();
            // The state broke off, once the test is done with it.
            ended.recv().err().map(|_| Err(ReadError::Busy))
        });
        let state =
            State { epoch: Epoch(1), head: Rev(1), zones: Vec::new(), hashes: Vec::new(), entries: Box::new(entries) };
        thread::scope(|scope| {
            let installed = scope.spawn(|| store.install(state));
            has_begun.recv().unwrap();
            for is_mending in [false, true] {
                let waited = || try_write(&store, 10).unwrap_err();
                let error = if is_mending { store.0.told.damage.while_mending(waited) } else { waited() };
                assert!(
                    matches!(error, CommitError::Waited { is_mending: told, .. } if told == is_mending),
                    "{error:?}"
                );
            }
            // Reads go on.
            assert_eq!(store.read().unwrap().head(), Rev(1));
            drop(end);
            assert!(matches!(installed.join().unwrap(), Err(CommitError::BrokeOff(_))));
        });
        wait_at_most(&mut store, usual);
        // None of the others was made.
        assert_eq!(try_write(&store, 10).unwrap(), Rev(2));
    }

    /// A reader that stays for long keeps what it sees and holds nobody up for longer than the wait; afterwards the
    /// journal is folded or begun anew, and takes no more than one step of growth beyond.
    #[test]
    fn a_long_reader_keeps_its_state_and_the_journal_grows_no_more_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Duration::ZERO);
        write(&store);
        let seen = store.read().unwrap();
        let mut changes = 0;
        while journal_bytes(dir.path()) < 3 * FOLD_AT {
            write(&store);
            changes += 1;
        }
        assert_eq!((seen.head(), seen.tail(Rev::ZERO, 10).unwrap().len()), (Rev(1), 1));
        drop(seen);
        let before = journal_bytes(dir.path());
        for _ in 0..changes {
            write(&store);
        }
        let left = journal_bytes(dir.path());
        assert!(left < before + FOLD_AT + 2 * CHANGE_BYTES_MAX, "{left} bytes, {before} with the reader");
    }

    /// What a long read has made of the journal is given back to the disk, though somebody writes all the time and never
    /// leaves the writer without work.
    #[test]
    fn the_journal_shrinks_behind_a_long_reader_while_somebody_writes() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Duration::from_millis(1));
        write(&store);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let seen = store.read().unwrap();
            let hurried = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    write(&store);
                }
            });
            let until = |what: &str, is_so: &dyn Fn(u64) -> bool| {
                let end = std::time::Instant::now() + Duration::from_secs(60);
                while !is_so(journal_bytes(dir.path())) {
                    assert!(std::time::Instant::now() < end, "{what}: {} bytes", journal_bytes(dir.path()));
                    thread::sleep(Duration::from_millis(1));
                }
            };
            until("it grows", &|bytes| bytes > 4 * FOLD_AT);
            drop(seen);
            until("it shrinks", &|bytes| bytes < 2 * FOLD_AT);
            stop.store(true, Ordering::Relaxed);
            hurried.join().unwrap();
        });
        assert!(journal_bytes(dir.path()) < 2 * FOLD_AT + 2 * CHANGE_BYTES_MAX);
    }

    /// Somebody who writes a little more often than the writer calls it idle is no reason to keep what a bulk load left.
    #[test]
    fn the_journal_shrinks_under_a_steady_writer() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Duration::ZERO);
        write(&store);
        let seen = store.read().unwrap();
        while journal_bytes(dir.path()) < 2 * FOLD_AT {
            write(&store);
        }
        drop(seen);
        let begun = std::time::Instant::now();
        // Far less than it is folded at for its size in use.
        while journal_bytes(dir.path()) > FOLD_AT / 2 + CHANGE_BYTES_MAX {
            assert!(begun.elapsed() < Duration::from_secs(120), "{} bytes", journal_bytes(dir.path()));
            try_write(&store, 10).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Who looks at the store for long waits with that until the journal is folded, which waits for those who are at it: a
    /// change waits for none of them.
    #[test]
    fn no_list_begins_while_the_journal_is_to_be_folded() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Duration::ZERO);
        write(&store);
        let seen = store.read_for_listing().unwrap();
        while !store.0.told.gate.is_closed() {
            write(&store);
        }
        assert!(journal_bytes(dir.path()) >= FOLD_AT);
        thread::scope(|scope| {
            let next = scope.spawn(|| store.read_for_listing().unwrap().head());
            drop(seen);
            while store.0.told.gate.is_closed() {
                write(&store);
            }
            assert!(next.join().unwrap() > Rev(1));
        });
    }
}
