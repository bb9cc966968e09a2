//! The one thread that writes.
//!
//! Commits that wait together are written together: one transaction and one sync for the group, while each change set
//! keeps its own guards, its own verdict and its own revision. Nobody is answered before all of it is durable.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_names::ZoneId;
use bartizan_quotas::Rarely;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use tokio::sync::watch;

use crate::change::{self, ChangeSet, Op, Rev};
use crate::condition::{Condition, Survey, Walk};
use crate::damage::{self, Damage};
use crate::envelope::{self, Envelope, Verdict};
use crate::error::{CommitError, EngineError};
use crate::install::{self, State};
use crate::key::Key;
use crate::listing::Row;
use crate::log;
use crate::lost::Lost;
use crate::mend::{self, Mended, Occasion};
use crate::rebuild::{self, Reading};
use crate::schema;
use crate::state_hash::Sums;
use crate::store::Retention;
use crate::tables::{self, signed};

/// One value. Far above any document of ours; what is larger is a mistake or an attack.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// All operations of one change set together, encoded. Room for some ten thousand records; larger imports are cut into
/// several change sets, so that nobody else waits for seconds behind one.
pub const CHANGE_BYTES_MAX: usize = 32 << 20;

/// Guards and operations of one change set.
const STEPS_MAX: usize = 200_000;

/// Jobs that wait for the writer. A caller that finds the queue full waits for room.
pub(crate) const QUEUE_MAX: usize = 1024;

/// Change sets in one transaction: enough to share a sync among all who wait, few enough to answer soon.
const GROUP_MAX: usize = 256;

/// When the journal is folded by force, and at what price.
#[derive(Clone, Copy)]
pub(crate) struct Folding {
    /// The journal's size above which the writer waits for readers to let go of it.
    pub(crate) bytes: u64,
    /// How long it waits, and with it everybody who commits.
    pub(crate) wait_max: Duration,
}

impl Folding {
    /// Several times what the engine folds at by itself, and many times what a reader usually takes.
    pub(crate) const USUAL: Folding = Folding { bytes: 128 << 20, wait_max: Duration::from_secs(1) };
}

/// One try to fold the journal. A waiting try holds locks that a new reader needs, and the wait may be for that very
/// reader: several short tries get through where a long one does not.
const FOLD_TRY_MAX: Duration = Duration::from_millis(20);

/// Their encoded operations together.
const GROUP_BYTES_MAX: usize = CHANGE_BYTES_MAX;

/// Operations between two looks at how many records wait for their letters to be read: counting them takes a moment.
const LOOK_EVERY: usize = 2_000;

/// How long nobody has anything to write before what may wait is done.
const IDLE_AFTER: Duration = Duration::from_millis(200);

/// What may wait until nobody has anything to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chores {
    /// Something was written since they were done.
    Waiting,
    UnderWay,
    Done,
}

/// How long damage that readers met may wait when nobody writes: to look is to read a flag.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Free pages that the file keeps for what comes next, and those that are given back in one step: some milliseconds.
const FREE_PAGES_MAX: i64 = 1024;
const FREE_PAGES_STEP: i64 = 256;

/// How often a file is mended without being asked, for as long as a process runs: a disk that damages it time and again is
/// not helped by more.
pub(crate) const MENDS_MAX: u32 = 3;

/// Changes dropped in one step of compaction, so that commits get in between.
const COMPACT_STEP: u64 = 10_000;

pub(crate) type Answer = Result<Outcome, CommitError>;

/// What became of a job.
pub(crate) enum Outcome {
    Verdict(Verdict),
    /// The oldest revision that is left in the log.
    Oldest(Rev),
    Done,
    Mended(Mended),
    /// Whether damage was ever met.
    Settled {
        met: bool,
    },
}

pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) reply: SyncSender<Answer>,
}

pub(crate) enum Work {
    /// Decided here.
    Append(Box<Prepared>),
    /// Decided elsewhere: it is this revision.
    Apply(Box<Prepared>, Rev),
    /// Another state in place of this one.
    Install(Mutex<State>),
    /// One step.
    Compact(Retention),
    /// The whole file anew, as a person wants it.
    Mend,
    /// What was met before this is mended, if anything was.
    Settle,
}

impl Work {
    fn operations(&self) -> usize {
        match self {
            Work::Append(prepared) | Work::Apply(prepared, _) => prepared.envelope.set.ops.len(),
            Work::Install(_) | Work::Compact(_) | Work::Mend | Work::Settle => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Work::Append(prepared) | Work::Apply(prepared, _) => prepared.encoded.len(),
            Work::Install(_) | Work::Compact(_) | Work::Mend | Work::Settle => 0,
        }
    }
}

/// A change set with everything done to it that needs no database.
pub(crate) struct Prepared {
    envelope: Envelope,
    encoded: Vec<u8>,
    /// One for each operation.
    listings: Vec<Option<Row>>,
}

impl Prepared {
    pub(crate) fn new(envelope: Envelope) -> Result<Prepared, CommitError> {
        let set = &envelope.set;
        within("guards and operations in a change set", set.guards.len() + set.ops.len(), STEPS_MAX)?;
        for op in &set.ops {
            if let Op::Put { value, .. } = op {
                within("bytes in a value", value.json.len(), VALUE_BYTES_MAX)?;
            }
        }
        let encoded = change::encode(&set.ops);
        within("bytes in a change set", encoded.len(), CHANGE_BYTES_MAX)?;
        let listings = set.ops.iter().map(listing).collect::<Result<_, _>>()?;
        Ok(Prepared { encoded, listings, envelope })
    }
}

/// The row that goes with an operation.
fn listing(op: &Op) -> Result<Option<Row>, CommitError> {
    let Op::Put { key, value } = op else { return Ok(None) };
    Row::of(key, value.format, &value.json).map_err(|reason| CommitError::Malformed { key: key.clone(), reason })
}

fn within(what: &'static str, size: usize, max: usize) -> Result<(), CommitError> {
    if size > max { Err(CommitError::TooLarge { what, size, max }) } else { Ok(()) }
}

pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) queue: Receiver<Job>,
    pub(crate) head: watch::Sender<Rev>,
    pub(crate) epoch: Arc<AtomicU64>,
    pub(crate) folding: Folding,
    pub(crate) damage: Arc<Damage>,
    pub(crate) condition: watch::Sender<Condition>,
    pub(crate) dir: PathBuf,
    pub(crate) mends_left: u32,
    /// None once all keys were looked at.
    pub(crate) survey: Option<Survey>,
    /// The same one, to be read without the engine.
    pub(crate) file: Arc<File>,
}

impl Writer {
    /// Runs until every sender is gone and the queue is empty.
    pub(crate) fn run(mut self) {
        let mut fold_at = self.folding.bytes;
        let mut written = 0;
        let mut chores = Chores::Waiting;
        loop {
            let idle_after = match chores {
                Chores::Waiting => IDLE_AFTER,
                Chores::UnderWay => Duration::ZERO,
                Chores::Done => LOOK_AGAIN_AFTER,
            };
            match self.queue.recv_timeout(idle_after) {
                Ok(first) => {
                    let group = self.gather(first);
                    let group_operations = group.iter().map(|job| job.work.operations()).sum::<usize>();
                    self.answer(group);
                    fold_at = self.fold_journal(fold_at);
                    written += group_operations;
                    if written >= LOOK_EVERY {
                        written = 0;
                        self.catch_up();
                    }
                    chores = Chores::Waiting;
                }
                Err(RecvTimeoutError::Timeout) => chores = self.use_idle_time(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.settle();
        }
    }

    /// Mends what was met.
    fn settle(&mut self) {
        if self.damage.take() {
            self.mend_by_itself();
        }
    }

    /// Lets no more records wait for their letters to be read than searches can look at in passing.
    fn catch_up(&mut self) {
        match rebuild::many_unread(&self.connection) {
            Ok(false) => {}
            Ok(true) => drop(self.read_records()),
            Err(error) => self.met(&error),
        }
    }

    /// Does a step of what may wait until nobody has work.
    fn use_idle_time(&mut self) -> Chores {
        if let Some(Reading::Unfinished) = self.read_records() {
            return Chores::UnderWay;
        }
        match self.give_back() {
            Ok(Chores::UnderWay) => return Chores::UnderWay,
            Ok(_) => {}
            Err(error) => self.met(&error),
        }
        match self.look_at_keys() {
            Ok(Chores::UnderWay) => return Chores::UnderWay,
            Ok(_) => {}
            Err(error) => self.met(&error),
        }
        // Whoever copies the file alone has all of it.
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(())) {
            self.met(&error);
        }
        Chores::Done
    }

    /// Gives some of the file's free pages back to the disk, if there are many.
    fn give_back(&self) -> rusqlite::Result<Chores> {
        let free: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        if free <= FREE_PAGES_MAX {
            return Ok(Chores::Done);
        }
        let mut step = self.connection.prepare_cached(&format!("PRAGMA incremental_vacuum({FREE_PAGES_STEP})"))?;
        let mut rows = step.query(())?;
        while rows.next()?.is_some() {}
        drop(rows);
        let left: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        Ok(if left < free { Chores::UnderWay } else { Chores::Done })
    }

    fn read_records(&mut self) -> Option<Reading> {
        let step = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            let reading = rebuild::read_records(&transaction)?;
            transaction.commit()?;
            Ok(reading)
        });
        step.inspect_err(|error| self.met(error)).ok()
    }

    /// Counts the keys that are none, once.
    fn look_at_keys(&mut self) -> rusqlite::Result<Chores> {
        let Some(survey) = &mut self.survey else { return Ok(Chores::Done) };
        if survey.step(&self.connection)? == Walk::UnderWay {
            return Ok(Chores::UnderWay);
        }
        let strangers = survey.strangers;
        self.survey = None;
        self.condition.send_if_modified(|known| std::mem::replace(&mut known.strangers, strangers) != strangers);
        Ok(Chores::Done)
    }

    /// A chore failed.
    fn met(&mut self, error: &rusqlite::Error) {
        if damage::is_damage(error) {
            self.damage.note();
        } else {
            tracing::warn!(%error, "the store's care for its file failed");
        }
    }

    /// Mends the file because damage was met, unless that was done too often. True if it is mended.
    fn mend_by_itself(&mut self) -> bool {
        if self.mends_left == 0 {
            let damaged = format!("damage was met again after {MENDS_MAX} attempts to mend it");
            self.condition.send_if_modified(|known| {
                let news = known.damaged.is_none();
                known.damaged.get_or_insert(damaged);
                news
            });
            return false;
        }
        self.mends_left -= 1;
        tracing::error!("the store's file is damaged: what can be read of it is put into a new one");
        self.mend(Occasion::Need).is_ok()
    }

    fn mend(&mut self, occasion: Occasion) -> Result<Mended, CommitError> {
        let done = mend::mend(&mut self.connection, &self.file, &self.dir, occasion).and_then(|done| {
            // What readers met is mended with the rest.
            self.damage.take();
            self.look_again()?;
            Ok(done)
        });
        self.condition.send_modify(|known| match &done {
            Ok(done) => {
                known.damaged = None;
                known.lost = if occasion == Occasion::Need { done.lost.clone() } else { Lost::default() };
                if occasion == Occasion::Request {
                    known.strangers = 0;
                }
            }
            Err(error) => known.damaged = Some(format!("it could not be mended: {error}")),
        });
        match done {
            Ok(done) => {
                done.tell();
                Ok(done)
            }
            Err(error) => {
                tracing::error!(%error, "the store's file could not be mended");
                Err(CommitError::NotMended { reason: error.to_string().into() })
            }
        }
    }

    /// Another log may have begun.
    fn look_again(&mut self) -> rusqlite::Result<()> {
        self.connection.flush_prepared_statement_cache();
        self.epoch.store(log::epoch(&self.connection)?.0, Ordering::Relaxed);
        let head = log::head(&self.connection)?;
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
        Ok(())
    }

    /// Folds the journal into the file once it is larger than `at`, and says when to look again.
    ///
    /// The engine folds by itself, but begins the journal anew only when nobody reads from it as a change is written.
    /// Under constant reads somebody always does. Here nothing is written while those who read the journal are waited
    /// for; a reader that begins when all of it is in the file reads only the file, and does not hold up the next fold.
    ///
    /// A reader that outlasts the wait keeps its state and the journal grows on; so a journal has at most
    /// [`Folding::bytes`], what is written during the longest read, and one such step more.
    fn fold_journal(&self, at: u64) -> u64 {
        let size = self.journal_bytes();
        if size < at {
            return at;
        }
        match self.truncate_journal() {
            Ok(true) => self.folding.bytes,
            Ok(false) => {
                tracing::warn!(size, "the store's journal grows: somebody has looked at an old state for long");
                size + self.folding.bytes
            }
            Err(error) => {
                tracing::warn!(size, %error, "the store's journal cannot be folded");
                size + self.folding.bytes
            }
        }
    }

    fn journal_bytes(&self) -> u64 {
        let journal = self.connection.path().map(|path| format!("{path}-wal"));
        journal.and_then(|journal| std::fs::metadata(journal).ok()).map_or(0, |file| file.len())
    }

    /// False if readers were in the way for all of the wait.
    fn truncate_journal(&self) -> rusqlite::Result<bool> {
        let begun = Instant::now();
        self.connection.busy_timeout(FOLD_TRY_MAX)?;
        let folded = loop {
            let busy: rusqlite::Result<i64> =
                self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0));
            match busy {
                Ok(0) => break Ok(true),
                Ok(_) if begun.elapsed() < self.folding.wait_max => {}
                other => break other.map(|_| false),
            }
        };
        self.connection.busy_timeout(schema::LOCK_WAIT_MAX)?;
        folded
    }

    /// The first job and those that wait already.
    fn gather(&self, first: Job) -> Vec<Job> {
        let mut bytes = first.work.bytes();
        let mut group = vec![first];
        while group.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
            let Ok(job) = self.queue.try_recv() else { break };
            bytes += job.work.bytes();
            group.push(job);
        }
        group
    }

    fn answer(&mut self, group: Vec<Job>) {
        // These have transactions of their own.
        let alone = |job: &Job| matches!(job.work, Work::Mend | Work::Settle | Work::Install(_));
        if group.len() > 1 && group.iter().any(alone) {
            return group.into_iter().for_each(|job| self.answer(vec![job]));
        }
        if let [Job { work, reply }] = &*group {
            let answer = match work {
                Work::Install(state) => Some(self.install(state).map(|()| Outcome::Done)),
                Work::Mend => Some(self.mend(Occasion::Request).map(Outcome::Mended)),
                Work::Settle => {
                    self.settle();
                    Some(Ok(Outcome::Settled { met: self.mends_left < MENDS_MAX }))
                }
                Work::Append(_) | Work::Apply(..) | Work::Compact(_) => None,
            };
            if let Some(answer) = answer {
                return drop(reply.send(answer));
            }
        }
        match self.write_or_mend(&group) {
            Ok((head, verdicts)) => {
                self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
                for (job, verdict) in group.into_iter().zip(verdicts) {
                    // Who does not wait any more has lost interest, not the change.
                    let _ = job.reply.send(verdict);
                }
            }
            // The engine may have choked on one of them: the others shall not suffer for it.
            Err(_) if group.len() > 1 => group.into_iter().for_each(|job| self.answer(vec![job])),
            Err(error) => {
                static REFUSED: Rarely = Rarely::new();
                if let Some(times) = REFUSED.turn() {
                    tracing::error!(%error, times, "the store cannot write; see what `bartizan doctor` says of its disk");
                }
                group.into_iter().for_each(|job| drop(job.reply.send(Err(CommitError::Engine(error.clone())))));
            }
        }
    }

    fn install(&mut self, state: &Mutex<State>) -> Result<(), CommitError> {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let installed = install::install(&mut self.connection, &mut state);
        match &installed {
            Ok(()) => {
                self.epoch.store(state.epoch.0, Ordering::Relaxed);
                self.head.send_replace(state.head);
            }
            // Whoever gave the state has used it up, and gives it again.
            Err(CommitError::Engine(error)) if self.is_of_damage(error) => self.damage.note(),
            Err(_) => {}
        }
        installed
    }

    /// Damage that is met on the way is mended: it is no reason to take no more changes.
    fn write_or_mend(&mut self, group: &[Job]) -> Result<(Rev, Vec<Answer>), EngineError> {
        match self.write(group) {
            Err(error) if self.is_of_damage(&error) && self.mend_by_itself() => self.write(group),
            written => written,
        }
    }

    /// Whether an error comes from the file, and not from the disk, another process or the change.
    fn is_of_damage(&self, error: &EngineError) -> bool {
        match error.code() {
            _ if error.is_damage() => true,
            // A statement of ours does not fail like that on a sound file; be sure of it.
            None | Some(ErrorCode::Unknown | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
                let check: rusqlite::Result<String> =
                    self.connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0));
                check.is_ok_and(|found| found != "ok")
            }
            Some(_) => false,
        }
    }

    /// All of the group in one transaction; the newest revision after it, and a verdict for each job.
    fn write(&mut self, group: &[Job]) -> Result<(Rev, Vec<Answer>), EngineError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut log = Log::open(&transaction)?;
        let verdicts = group
            .iter()
            .map(|job| match &job.work {
                Work::Append(prepared) => log.append(prepared).map(|verdict| Ok(Outcome::Verdict(verdict))),
                Work::Apply(prepared, rev) => log.apply(prepared, *rev).map(|applied| applied.map(|()| Outcome::Done)),
                Work::Compact(keep) => log.compact(*keep).map(|oldest| Ok(Outcome::Oldest(oldest))),
                // Done by now.
                Work::Mend | Work::Settle | Work::Install(_) => Ok(Ok(Outcome::Done)),
            })
            .collect::<Result<_, _>>()?;
        let head = log.close()?;
        transaction.commit()?;
        Ok((head, verdicts))
    }
}

/// The end of the change log, inside a transaction.
struct Log<'t> {
    transaction: &'t Transaction<'t>,
    /// Of the transaction's beginning.
    begin: Rev,
    head: Rev,
    /// Of all operations since the log began.
    bytes: u64,
    /// What the transaction changes of the state's hashes: put down once for all of a group.
    sums: Sums,
}

impl<'t> Log<'t> {
    /// Reads the end from the file and remembers nothing: a transaction that was rolled back leaves no trace here.
    fn open(transaction: &'t Transaction<'t>) -> rusqlite::Result<Log<'t>> {
        let head = log::head(transaction)?;
        let bytes = tables::bytes_until(transaction, head)?.unwrap_or(0);
        Ok(Log { transaction, begin: head, head, bytes, sums: Sums::default() })
    }

    fn append(&mut self, prepared: &Prepared) -> rusqlite::Result<Verdict> {
        let verdict = envelope::decide(self.transaction, self.head, &prepared.envelope)?;
        if let Verdict::Landed(rev) = verdict {
            self.land(prepared, rev)?;
        }
        Ok(verdict)
    }

    /// The outer error is the engine's and spoils the whole transaction; the inner one is about this change.
    fn apply(&mut self, prepared: &Prepared, rev: Rev) -> rusqlite::Result<Result<(), CommitError>> {
        if prepared.envelope.epoch != log::epoch(self.transaction)? {
            return Ok(Err(CommitError::Foreign));
        }
        if rev != self.head.next() {
            return Ok(Err(CommitError::Gap { head: self.head }));
        }
        self.land(prepared, rev).map(Ok)
    }

    /// Makes a change set the next revision.
    fn land(&mut self, prepared: &Prepared, rev: Rev) -> rusqlite::Result<()> {
        let ChangeSet { ops, meta, .. } = &prepared.envelope.set;
        let bytes = self.bytes.saturating_add(prepared.encoded.len() as u64);
        self.transaction
            .prepare_cached("INSERT INTO change (rev, request_id, at, actor, interface, client, bytes, ops) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                signed(rev.0),
                meta.request_id,
                signed(meta.at.unix_micros()),
                meta.actor,
                meta.interface,
                meta.client.map(|client| client.to_string()),
                signed(bytes),
                prepared.encoded
            ])?;
        for (op, listing) in ops.iter().zip(&prepared.listings) {
            tables::apply(self.transaction, &mut self.sums, rev, op, listing.as_ref())?;
        }
        let moves = |key: &&Key| key.kind().moves_serial();
        let zones: BTreeSet<ZoneId> = ops.iter().map(Op::key).filter(moves).filter_map(Key::zone_id).collect();
        zones.into_iter().try_for_each(|zone| tables::touch_zone(self.transaction, zone, rev))?;
        (self.head, self.bytes) = (rev, bytes);
        Ok(())
    }

    /// Puts down what the whole transaction came to; the newest revision.
    fn close(self) -> rusqlite::Result<Rev> {
        if self.head != self.begin {
            log::put_head(self.transaction, self.head)?;
            self.sums.add_to_file(self.transaction)?;
        }
        Ok(self.head)
    }

    /// The last revision of those at the log's beginning without which the rest has no more than `bytes_max`.
    fn last_too_much(&self, oldest: Rev, bytes_max: u64) -> rusqlite::Result<Rev> {
        let Some(all) = tables::bytes_until(self.transaction, self.head)? else { return Ok(Rev::ZERO) };
        // Revisions are dense and the bytes grow with them: halving finds it.
        let (mut fits, mut too_early) = (self.head.0, oldest.0.saturating_sub(1));
        while fits - too_early > 1 {
            let middle = too_early.midpoint(fits);
            let until = tables::bytes_until(self.transaction, Rev(middle))?.unwrap_or(0);
            if all - until <= bytes_max { fits = middle } else { too_early = middle }
        }
        let before = tables::bytes_before(self.transaction, oldest)?;
        Ok(if all - before <= bytes_max { Rev(oldest.0.saturating_sub(1)) } else { Rev(fits) })
    }

    /// Drops some of the changes that need not be kept, oldest first; the oldest revision that is left.
    fn compact(&self, keep: Retention) -> rusqlite::Result<Rev> {
        let oldest = tables::oldest(self.transaction)?;
        let by_number = self.head.0.saturating_sub(keep.changes_max.max(1));
        let by_time = tables::last_before(self.transaction, keep.since)?.0;
        let by_bytes = self.last_too_much(oldest, keep.bytes_max)?.0;
        // The newest one always stays: it is where the log knows its end from.
        let drop_until = by_number.max(by_time).max(by_bytes).min(self.head.0.saturating_sub(1));
        let step_until = drop_until.min(oldest.0.saturating_add(COMPACT_STEP));
        tables::drop_changes(self.transaction, Rev(step_until))?;
        Ok(tables::oldest(self.transaction)?.min(self.head))
    }
}
