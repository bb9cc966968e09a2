//! The door: opening, committing, reading, and looking after the file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bartizan_names::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::change::{Change, ChangeSet, Epoch, Op, Rev};
use crate::condition::{self, Condition, Examined, Survey};
use crate::damage::Damage;
use crate::envelope::{Budget, Envelope, Log, Verdict};
use crate::error::{CommitError, EngineError, OpenError, ReadError, TailError};
use crate::install::State;
use crate::key::Filter;
use crate::log;
use crate::lost::Lost;
use crate::mend::{self, Mended};
use crate::readers::{Purpose, Readers};
use crate::schema::{self, Access};
use crate::snapshot::Snapshot;
use crate::state_hash::Part;
use crate::writer::{Answer, Attempts, Claim, Folding, Job, Outcome, Prepared, QUEUE_MAX, Work, Writer};

/// How much of the change log stays. Only whole beginnings of the log go, and never the newest change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At most so many changes stay.
    pub changes_max: u64,
    /// What is older may go.
    pub since: Timestamp,
    /// At most so many bytes of operations stay.
    pub bytes_max: u64,
}

impl Retention {
    /// A PoP that was away for longer than this takes a full state, which is the faster way by then anyway.
    const DAYS: u64 = 7;
    const CHANGES_MAX: u64 = 1_000_000;

    /// As much as a million records of usual size.
    const BYTES_MAX: u64 = 512 << 20;

    /// Seven days, and no more than a million changes or half a gigabyte.
    pub fn usual(now: Timestamp) -> Retention {
        let since = now.unix_micros().saturating_sub(Self::DAYS * 86_400 * 1_000_000);
        Retention {
            changes_max: Self::CHANGES_MAX,
            since: Timestamp::from_unix_micros(since),
            bytes_max: Self::BYTES_MAX,
        }
    }
}

/// How long a change waits for its turn, as readers do for theirs: a large file is mended for longer than that.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often it is looked again whether there is room for one, or whether one that was begun late waits once more.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// The store of one data directory. Cheap to clone; the file is closed when the last clone is gone.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    writing: Writing,
    told: Told,
    readers: Arc<Readers>,
    /// Separate ones for long listings, so that short reads do not wait for them.
    listing_readers: Arc<Readers>,
    dir: PathBuf,
    access: Access,
    write_wait_max: Duration,
    /// Last, to be open as long as any connection: the engine's locks are the process's, and whoever closes a descriptor of
    /// the file lets go of all of them (<https://www.sqlite.org/howtocorrupt.html> §2.2).
    _file: Option<Arc<File>>,
}

/// What the writer tells.
struct Told {
    head: watch::Receiver<Rev>,
    epoch: Arc<AtomicU64>,
    damage: Arc<Damage>,
}

/// Whether changes are taken.
enum Writing {
    Open {
        queue: SyncSender<Job>,
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
        let readers = |purpose| Arc::new(Readers::new(dir.to_owned(), access, purpose, Arc::clone(&told.damage)));
        Shared {
            readers: readers(Purpose::State),
            listing_readers: readers(Purpose::Listing),
            writing,
            told,
            dir: dir.to_owned(),
            access,
            write_wait_max: WRITE_WAIT_MAX,
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

    fn with_writer(dir: &Path, connection: Connection, folding: Folding) -> Result<Store, OpenError> {
        let engine =
            |source: rusqlite::Error| OpenError::Engine { path: dir.join(schema::FILE), source: source.into() };
        let file = File::options().read(true).write(true).open(dir.join(schema::FILE));
        let file = file.map_err(|source| OpenError::NotWritable { path: dir.join(schema::FILE), source })?;
        let file = Arc::new(file);
        let rev = log::head(&connection).map_err(engine)?;
        let epoch = Arc::new(AtomicU64::new(log::epoch(&connection).map_err(engine)?.0));
        let (head_sender, head) = watch::channel(rev);
        let (queue, jobs) = mpsc::sync_channel(QUEUE_MAX);
        let lost = Lost::of_file(&connection);
        let damage = Arc::new(Damage::new(Condition { lost, ..Condition::default() }));
        let writer = Writer {
            connection,
            queue: jobs,
            head: head_sender,
            epoch: Arc::clone(&epoch),
            folding,
            damage: Arc::clone(&damage),
            attempts: Attempts::new(),
            dir: dir.to_owned(),
            survey: Some(Survey::default()),
            file: Arc::clone(&file),
        };
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::NotWritable { path: dir.to_owned(), source })?;
        let writing = Writing::Open { queue, writer };
        Ok(Store(Arc::new(Shared::new(dir, Access::Shared, writing, Told { head, epoch, damage }, Some(file)))))
    }

    /// A store that cannot be written can be served.
    fn for_reading(dir: &Path, error: OpenError) -> Result<Store, OpenError> {
        let Some(access) = schema::readable(dir) else { return Err(error) };
        let damage = Arc::<Damage>::default();
        let readers = Readers::new(dir.to_owned(), access, Purpose::State, Arc::clone(&damage));
        let Ok(seen) = Snapshot::open(Arc::new(readers)).map(|snapshot| snapshot.head()) else { return Err(error) };
        let reason = error.to_string();
        tracing::error!(reason, "the store is open for reading only");
        // Nobody will ever tell of a newer revision.
        let (_, head) = watch::channel(seen);
        let writing = Writing::Refused { reason: reason.into() };
        let told = Told { head, epoch: Arc::default(), damage };
        let shared = Shared::new(dir, access, writing, told, None);
        shared.readers.open_all();
        shared.listing_readers.open_all();
        Ok(Store(Arc::new(shared)))
    }

    /// Reads all objects of the store in `dir`, be it in use or not, and names the kinds and zones whose objects are not
    /// those that were committed. None if there is no store of this version: opening it would make or change one.
    pub fn wrong_parts(dir: &Path) -> Result<Option<Vec<Part>>, ReadError> {
        let Some(access) = schema::readable(dir) else { return Ok(None) };
        let readers = Readers::new(dir.to_owned(), access, Purpose::State, Arc::default());
        Snapshot::open(Arc::new(readers))?.wrong_parts().map(Some)
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

    /// Writes a whole copy of now to the new file `to`, readable by this user only. A store opens it as `store.sqlite`.
    pub fn backup(&self, to: &Path) -> Result<(), BackupError> {
        if to.exists() {
            return Err(BackupError::Exists { path: to.to_owned() });
        }
        let failed = |source: io::Error| BackupError::NotWritable { path: to.to_owned(), source };
        // SQLite takes names as UTF-8.
        let name = to.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        let partial = PathBuf::from(format!("{name}.partial"));
        let copied = self.copy(&partial, &failed).and_then(|()| place(&partial, to).map_err(failed));
        if copied.is_err() {
            // The reason is already known; a file that cannot be removed adds nothing to it.
            let _ = fs::remove_file(&partial);
        }
        copied
    }

    /// Makes the file `partial` a copy, in place of what an earlier attempt may have left there.
    fn copy(&self, partial: &Path, failed: &dyn Fn(io::Error) -> BackupError) -> Result<(), BackupError> {
        if partial.exists() {
            fs::remove_file(partial).map_err(failed)?;
        }
        // SQLite fills an empty file; one that we made has the right mode from its first byte.
        schema::create_private(partial).map_err(failed)?;
        self.vacuum_into(partial).map_err(|error| BackupError::Read(error.into()))?;
        File::open(partial).and_then(|file| file.sync_all()).map_err(failed)
    }

    /// Copies a consistent state, without free pages, into the empty file `to`. On a connection of its own: it takes long.
    fn vacuum_into(&self, to: &Path) -> Result<(), EngineError> {
        let connection = schema::open_reader(&self.0.dir, self.0.access)?;
        // `query_only` also forbids to write the other file; nothing is written to ours.
        connection.pragma_update(None, "query_only", false)?;
        connection.execute("VACUUM INTO ?", [to.to_string_lossy()])?;
        Ok(())
    }

    /// What is to be written is given up if its turn does not come in time; all else waits for as long as it takes.
    fn run(&self, work: Work) -> Answer {
        let (reply, verdict) = mpsc::sync_channel(1);
        let queue = match &self.0.writing {
            Writing::Open { queue, .. } => queue,
            Writing::Refused { reason } => return Err(CommitError::ReadOnly { reason: Arc::clone(reason) }),
            Writing::Closed => return Err(CommitError::Closed),
        };
        let is_write = matches!(work, Work::Append(_) | Work::Apply(..));
        let (begun, claim) = (Instant::now(), Arc::<Claim>::default());
        let mut job = Job { work, reply, claim: Arc::clone(&claim) };
        if !is_write {
            queue.send(job).map_err(|_| CommitError::Closed)?;
            return verdict.recv().map_err(|_| CommitError::Closed)?;
        }
        let wait_max = self.0.write_wait_max;
        let waited = || {
            let is_mending = self.0.told.damage.is_mending();
            Err(CommitError::Waited { waited: begun.elapsed(), is_mending })
        };
        while let Err(error) = queue.try_send(job) {
            match error {
                TrySendError::Full(back) if begun.elapsed() < wait_max => job = back,
                TrySendError::Full(_) => return waited(),
                TrySendError::Disconnected(_) => return Err(CommitError::Closed),
            }
            thread::sleep(LOOK_AGAIN_AFTER);
        }
        let mut wait = wait_max.saturating_sub(begun.elapsed());
        loop {
            match verdict.recv_timeout(wait) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => return Err(CommitError::Closed),
                Err(RecvTimeoutError::Timeout) if claim.give_up() => return waited(),
                // It is being written; if that meets damage, it waits again.
                Err(RecvTimeoutError::Timeout) => wait = LOOK_AGAIN_AFTER,
            }
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

/// Gives the whole copy its name, durably.
fn place(partial: &Path, to: &Path) -> io::Result<()> {
    fs::rename(partial, to)?;
    // The parent of a bare name is empty, which `open` does not take for the current directory.
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// No copy was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{} is already there; name a new file", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}; choose a place that this user may write to and that has room", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Read(ReadError),
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::change::{Meta, Value};
    use crate::key::Key;

    const FOLD_AT: u64 = 1 << 20;

    /// One change, below a quarter of what is folded at.
    const CHANGE_BYTES_MAX: u64 = FOLD_AT / 4;

    fn open(dir: &Path, wait_max: Duration) -> Store {
        Store::open_folding(dir, Folding { bytes: FOLD_AT, wait_max }).unwrap()
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
        Arc::get_mut(&mut store.0).unwrap().write_wait_max = Duration::ZERO;
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
        Arc::get_mut(&mut store.0).unwrap().write_wait_max = WRITE_WAIT_MAX;
        // None of the others was made.
        assert_eq!(try_write(&store, 10).unwrap(), Rev(2));
    }

    /// A reader that stays for long keeps what it sees and holds nobody up for longer than the wait; afterwards the
    /// journal is small again.
    #[test]
    fn a_long_reader_keeps_its_state_and_the_journal_shrinks_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Duration::ZERO);
        write(&store);
        let seen = store.read().unwrap();
        while journal_bytes(dir.path()) < 3 * FOLD_AT {
            write(&store);
        }
        assert_eq!((seen.head(), seen.tail(Rev::ZERO, 10).unwrap().len()), (Rev(1), 1));
        drop(seen);
        // The next look is one step of growth away at most; it comes after the answer, so the change behind it sees it.
        for _ in 0..=FOLD_AT / 100_000 {
            write(&store);
        }
        let left = journal_bytes(dir.path());
        assert!(left < FOLD_AT + 2 * CHANGE_BYTES_MAX, "{left} bytes");
    }
}
