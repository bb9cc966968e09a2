//! The one thread that writes.
//!
//! Commits that wait together are written together: one transaction and one sync for the group, while each change set
//! keeps its own guards, its own verdict and its own revision. Nobody is answered before all of it is durable.

mod folder;
mod idle;
mod journal;
mod log_end;
mod mending;
mod pace;
mod queue;
mod waiting;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bartizan_names::Timestamp;
use bartizan_quotas::Rarely;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::watch;

pub(crate) use self::folder::Folder;
use self::idle::Progress;
pub(crate) use self::journal::Folding;
use self::log_end::LogEnd;
pub(crate) use self::mending::Attempts;
use self::mending::Urgency;
pub(crate) use self::pace::{Pace, Step};
use self::queue::Job;
pub(crate) use self::queue::Queue;
pub(crate) use self::waiting::Waiting;
use crate::audit::{Dropped, Trim};
use crate::change::{self, Encoded, Epoch, Op, Rev};
use crate::condition::Survey;
use crate::damage::Damage;
use crate::envelope::{Envelope, Verdict};
use crate::error::{CommitError, EngineError};
use crate::gate::Gate;
use crate::high_water::HighWater;
use crate::install::{self, State};
use crate::listing::Row;
use crate::log::Retention;
use crate::mend::{Mended, Occasion};
use crate::pause::Pauses;

/// One value. Far above any document of ours; what is larger is a mistake or an attack.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// All operations of one change set together, encoded. Room for some ten thousand records; larger imports are cut into
/// several change sets, so that nobody else waits for seconds behind one.
pub const CHANGE_BYTES_MAX: usize = 32 << 20;

/// Guards and operations of one change set.
const STEPS_MAX: usize = 200_000;

/// Operations of a change set that shares no transaction with others: what is larger (an import goes in pieces of some
/// hundreds) takes long enough to be felt by whoever lands with it.
const SHARED_MAX: usize = 100;

pub(crate) type Answer = Result<Outcome, CommitError>;

/// What became of a job.
pub(crate) enum Outcome {
    Verdict(Verdict),
    /// The oldest revision that is left in the log.
    Oldest(Rev),
    Forgotten(Dropped),
    Done,
    Mended(Mended),
    /// Whether damage was ever met.
    Settled {
        met: bool,
    },
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
    /// One step through what may be too old of the audit.
    Forget { since: Timestamp, from: i64 },
    /// The whole file anew, as a person wants it.
    Mend,
    /// What was met before this is mended, if anything was.
    Settle,
}

impl Work {
    fn operations(&self) -> usize {
        match self {
            Work::Append(prepared) | Work::Apply(prepared, _) => prepared.envelope.set.ops.len(),
            Work::Install(_) | Work::Compact(_) | Work::Forget { .. } | Work::Mend | Work::Settle => 0,
        }
    }

    /// Whether others go first that ask for less at the same time. What was decided elsewhere has its order.
    fn is_large(&self) -> bool {
        matches!(self, Work::Append(_)) && self.operations() > SHARED_MAX
    }

    fn bytes(&self) -> usize {
        match self {
            Work::Append(prepared) | Work::Apply(prepared, _) => prepared.encoded.whole,
            Work::Install(_) | Work::Compact(_) | Work::Forget { .. } | Work::Mend | Work::Settle => 0,
        }
    }
}

/// A change set with everything done to it that needs no database.
pub(crate) struct Prepared {
    envelope: Envelope,
    encoded: Encoded,
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
        within("bytes in a change set", encoded.whole, CHANGE_BYTES_MAX)?;
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

/// How often letters of records are read after a change at most.
const STEPS_A_TURN: usize = 4;

pub(crate) struct Writer {
    /// In front of the connection: the engine folds the journal when the last one is closed.
    pub(crate) folder: Folder,
    pub(crate) connection: Connection,
    pub(crate) waiting: Waiting,
    pub(crate) pace: Arc<Pace>,
    /// How many records have their letters read at once.
    pub(crate) letters: Step,
    pub(crate) head: watch::Sender<Rev>,
    pub(crate) epoch: Arc<AtomicU64>,
    pub(crate) folding: Folding,
    /// Closed while the journal waits to be folded.
    pub(crate) gate: Arc<Gate>,
    pub(crate) pauses: Pauses,
    pub(crate) damage: Arc<Damage>,
    pub(crate) attempts: Attempts,
    pub(crate) dir: PathBuf,
    /// None once all keys were looked at.
    pub(crate) survey: Option<Survey>,
    /// So much was read and written that the engine's memory is full of it.
    pub(crate) is_filled: bool,
    pub(crate) trim: Trim,
    /// The same one, to be read without the engine.
    pub(crate) file: Arc<File>,
    pub(crate) high_water: HighWater,
}

impl Writer {
    /// Runs until every sender is gone and the queue is empty.
    pub(crate) fn run(mut self) {
        Folder::watch(&self.connection);
        let mut fold_at = self.folding.bytes;
        let mut written = 0;
        let mut chores = Progress::new(Instant::now());
        loop {
            match self.waiting.next(chores.after(Instant::now())) {
                Ok(together) => {
                    written += together.iter().map(|job| job.work.operations()).sum::<usize>();
                    if !together.is_empty() {
                        self.answer(together);
                    }
                    self.trim_audit();
                    // As much is read as was written, or what is unread would grow for as long as somebody writes; but not all
                    // of what one large change wrote before anybody else's.
                    for _ in 0..STEPS_A_TURN {
                        let size = self.letters.size() as usize;
                        if written >= size {
                            written -= size;
                            self.is_filled = true;
                            self.catch_up();
                        }
                    }
                    chores.wait(Instant::now());
                }
                // A look at whether a reader met damage is all that there is to do.
                Err(RecvTimeoutError::Timeout) if chores.are_done() => {}
                Err(RecvTimeoutError::Timeout) => {
                    let step = self.use_idle_time();
                    chores.went(step, Instant::now());
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // What is done when nobody has anything to write is written there too.
            self.folder.wake_if_large();
            fold_at = self.fold_journal(fold_at);
            if self.settle(Urgency::InTurn) {
                chores.wait(Instant::now());
            }
        }
    }

    fn answer(&mut self, mut group: Vec<Job>) {
        // These have transactions of their own.
        let alone = |job: &Job| matches!(job.work, Work::Mend | Work::Settle | Work::Install(_));
        if group.len() > 1 && group.iter().any(alone) {
            return group.into_iter().for_each(|job| self.answer(vec![job]));
        }
        if let [Job { work, reply, .. }] = &*group {
            let answer = match work {
                Work::Install(state) => Some(self.install(state).map(|()| Outcome::Done)),
                Work::Mend => Some(self.mend(Occasion::Request).map(Outcome::Mended)),
                Work::Settle => {
                    let _ = self.settle(Urgency::AtOnce);
                    Some(Ok(Outcome::Settled { met: self.attempts.met }))
                }
                Work::Append(_) | Work::Apply(..) | Work::Compact(_) | Work::Forget { .. } => None,
            };
            if let Some(answer) = answer {
                self.is_filled = true;
                return drop(reply.send(answer));
            }
        }
        match self.write_or_mend(&mut group) {
            Ok((head, verdicts)) => {
                self.high_water.tell(Epoch(self.epoch.load(Ordering::Relaxed)), head);
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
                let error = match self.damage.stays() {
                    Some(reason) if error.is_damage() => CommitError::NotMended { reason },
                    _ => CommitError::Engine(error),
                };
                group.into_iter().for_each(|job| drop(job.reply.send(Err(error.clone()))));
            }
        }
    }

    fn install(&mut self, state: &Mutex<State>) -> Result<(), CommitError> {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let installed = install::install(&mut self.connection, &mut state);
        match &installed {
            Ok(()) => {
                self.trim.sum_anew();
                self.epoch.store(state.epoch.0, Ordering::Relaxed);
                self.head.send_replace(state.head);
                self.high_water.tell(state.epoch, state.head);
            }
            // Whoever gave the state has used it up, and gives it again.
            Err(CommitError::Engine(error)) if self.is_of_damage(error) => self.damage.note(),
            Err(_) => {}
        }
        installed
    }

    /// Damage that is met on the way is mended: it is no reason to take no more changes.
    fn write_or_mend(&mut self, group: &mut Vec<Job>) -> Result<(Rev, Vec<Answer>), EngineError> {
        match self.write(group) {
            Err(error) if self.is_of_damage(&error) => {
                self.attempts.note();
                group.iter().for_each(|job| job.claim.put_back());
                let is_mended = self.mend_by_itself(Urgency::InTurn);
                group.retain(|job| job.claim.begin());
                if is_mended { self.write(group) } else { Err(error) }
            }
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
        let begun = Instant::now();
        let mut log = LogEnd::open(&transaction)?;
        let verdicts = group
            .iter()
            .map(|job| match &job.work {
                Work::Append(prepared) => log.append(prepared).map(|verdict| Ok(Outcome::Verdict(verdict))),
                Work::Apply(prepared, rev) => log.apply(prepared, *rev).map(|applied| applied.map(|()| Outcome::Done)),
                Work::Compact(keep) => log.compact(*keep).map(|oldest| Ok(Outcome::Oldest(oldest))),
                Work::Forget { since, from } => log.forget(*since, *from).map(|gone| Ok(Outcome::Forgotten(gone))),
                // Done by now.
                Work::Mend | Work::Settle | Work::Install(_) => Ok(Ok(Outcome::Done)),
            })
            .collect::<Result<_, _>>()?;
        let closed = log.close()?;
        let worked = begun.elapsed();
        transaction.commit()?;
        let operations = group.iter().map(|job| job.work.operations()).sum();
        self.pace.note(operations, worked, begun.elapsed().saturating_sub(worked));
        self.trim.landed(closed.audit_added, closed.audit_gone);
        Ok((closed.head, verdicts))
    }
}
