//! What waits for the writer, and for how long.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Answer, Work};
use crate::damage::Damage;
use crate::error::CommitError;

/// Jobs that wait for the writer. A caller that finds the queue full waits for room.
const QUEUE_MAX: usize = 1024;

/// How long a change waits for its turn, as readers do for theirs: a large file is mended for longer than that.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often it is looked again whether there is room for one, or whether one that was begun late waits once more.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Where the writer's work is put.
pub(crate) struct Queue {
    jobs: SyncSender<Job>,
    damage: Arc<Damage>,
    pub(crate) write_wait_max: Duration,
}

impl Queue {
    pub(crate) fn new(damage: Arc<Damage>) -> (Queue, Receiver<Job>) {
        let (jobs, queued) = mpsc::sync_channel(QUEUE_MAX);
        (Queue { jobs, damage, write_wait_max: WRITE_WAIT_MAX }, queued)
    }

    /// What is to be written is given up if its turn does not come in time; all else waits for as long as it takes.
    pub(crate) fn run(&self, work: Work) -> Answer {
        let is_write = matches!(work, Work::Append(_) | Work::Apply(..));
        let (reply, answer) = mpsc::sync_channel(1);
        let (begun, claim) = (Instant::now(), Arc::<Claim>::default());
        let mut job = Job { work, reply, claim: Arc::clone(&claim) };
        if !is_write {
            self.jobs.send(job).map_err(|_| CommitError::Closed)?;
            return answer.recv().map_err(|_| CommitError::Closed)?;
        }
        let waited = || Err(CommitError::Waited { waited: begun.elapsed(), is_mending: self.damage.is_mending() });
        while let Err(error) = self.jobs.try_send(job) {
            match error {
                TrySendError::Full(back) if begun.elapsed() < self.write_wait_max => job = back,
                TrySendError::Full(_) => return waited(),
                TrySendError::Disconnected(_) => return Err(CommitError::Closed),
            }
            thread::sleep(LOOK_AGAIN_AFTER);
        }
        let mut wait = self.write_wait_max.saturating_sub(begun.elapsed());
        loop {
            match answer.recv_timeout(wait) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => return Err(CommitError::Closed),
                Err(RecvTimeoutError::Timeout) if claim.give_up() => return waited(),
                // It is being written; if that meets damage, it waits again.
                Err(RecvTimeoutError::Timeout) => wait = LOOK_AGAIN_AFTER,
            }
        }
    }
}

pub(crate) struct Job {
    pub(super) work: Work,
    pub(super) reply: SyncSender<Answer>,
    pub(super) claim: Arc<Claim>,
}

/// Who decides about a job: whoever waits for it may give it up as long as the writer has not begun with it.
#[derive(Default)]
pub(super) struct Claim(Mutex<Claimed>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Claimed {
    #[default]
    ByNobody,
    ByWriter,
    GivenUp,
}

impl Claim {
    /// The writer begins. False if nobody waits any more.
    pub(super) fn begin(&self) -> bool {
        self.take_for(Claimed::ByWriter)
    }

    /// Nothing came of it, and it will take a while until it is begun again.
    pub(super) fn put_back(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Claimed::ByNobody;
    }

    /// False if the writer has begun.
    pub(super) fn give_up(&self) -> bool {
        self.take_for(Claimed::GivenUp)
    }

    fn take_for(&self, next: Claimed) -> bool {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = *claimed == Claimed::ByNobody;
        if is_free {
            *claimed = next;
        }
        is_free
    }
}
