//! Who is written next of those who wait.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::CHANGE_BYTES_MAX;
use super::queue::Job;

/// Change sets in one transaction: enough to share a sync among all who wait, few enough to answer soon.
const GROUP_MAX: usize = 256;

/// Their encoded operations together.
const GROUP_BYTES_MAX: usize = CHANGE_BYTES_MAX;

/// Large change sets that wait beside the queue, while those behind them go first.
const LARGE_MAX: usize = 64;

/// The other end of the queue, and what was taken out of it and is not written yet.
pub(crate) struct Waiting {
    queue: Receiver<Job>,
    /// Those who change much.
    large: VecDeque<Job>,
    large_is_next: bool,
}

impl Waiting {
    pub(crate) fn of(queue: Receiver<Job>) -> Waiting {
        Waiting { queue, large: VecDeque::new(), large_is_next: false }
    }

    /// What is written next, in one transaction: all who change little and wait already, and then one who changes much. So
    /// whoever changes little waits for one turn of the others at most, and these wait for one group.
    pub(super) fn next(&mut self, wait: Duration) -> Result<Vec<Job>, RecvTimeoutError> {
        if std::mem::take(&mut self.large_is_next)
            && let Some(large) = self.large.pop_front()
        {
            return Ok(Some(large).filter(|job| job.claim.begin()).into_iter().collect());
        }
        let (mut group, mut bytes) = (Vec::new(), 0);
        let first = if self.large.is_empty() { Some(self.queue.recv_timeout(wait)?) } else { None };
        let mut waiting = first.into_iter().chain(self.queue.try_iter());
        while group.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX && self.large.len() < LARGE_MAX {
            match waiting.next() {
                Some(job) if job.work.is_large() => self.large.push_back(job),
                Some(job) if job.claim.begin() => {
                    bytes += job.work.bytes();
                    group.push(job);
                }
                Some(_) => {}
                None => break,
            }
        }
        drop(waiting);
        if group.is_empty() {
            group.extend(self.large.pop_front().filter(|job| job.claim.begin()));
        } else {
            self.large_is_next = true;
        }
        Ok(group)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use bartizan_names::Timestamp;

    use super::super::queue::Claim;
    use super::super::{Prepared, SHARED_MAX, Work};
    use super::*;
    use crate::change::{ChangeSet, Epoch, Meta, Op, Rev, Value};
    use crate::envelope::Envelope;
    use crate::key::Key;

    fn prepared(operations: usize) -> Box<Prepared> {
        let put = |number: usize| {
            let value = Value { format: 1, json: "{}".into() };
            Op::Put { key: Key::meta(&number.to_string()), value }
        };
        let meta = Meta {
            at: Timestamp::from_unix_micros(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [1; 16],
        };
        let set = ChangeSet { guards: Vec::new(), ops: (0..operations).map(put).collect(), meta };
        Box::new(Prepared::new(Envelope::new(Epoch(1), set)).unwrap())
    }

    /// A piece of an import is in nobody's transaction, and behind who came while the one before it was written.
    #[test]
    fn who_changes_little_waits_for_nobody_who_changes_much() {
        let appended = |operations| Work::Append(prepared(operations));
        for (works, expect) in [
            (vec![appended(1)], vec![vec![1]]),
            (vec![appended(500), appended(1), appended(2)], vec![vec![1, 2], vec![500]]),
            (vec![appended(1), appended(500), appended(600)], vec![vec![1], vec![500], vec![600]]),
            (vec![appended(SHARED_MAX), appended(SHARED_MAX)], vec![vec![SHARED_MAX; 2]]),
            // In the order in which they were decided.
            (vec![Work::Apply(prepared(500), Rev(1)), Work::Apply(prepared(1), Rev(2))], vec![vec![500, 1]]),
        ] {
            let (mut waiting, jobs) = start();
            works.into_iter().for_each(|work| put(&jobs, work));
            assert_eq!(turns(&mut waiting), expect);
        }
        // Those who come meanwhile are before the next one who changes much, and not before more than one.
        let (mut waiting, jobs) = start();
        [500, 600, 700].into_iter().for_each(|operations| put(&jobs, appended(operations)));
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.extend(turn(&mut waiting));
            put(&jobs, appended(1));
        }
        seen.extend(turns(&mut waiting));
        assert_eq!(seen, [vec![500], vec![1], vec![600], vec![1, 1], vec![700], vec![1]]);
    }

    /// Whoever does not wait any more is not written, however long they stood beside the queue.
    #[test]
    fn who_gave_up_beside_the_queue_is_not_written() {
        let (mut waiting, jobs) = start();
        let claim = put_claimed(&jobs, Work::Append(prepared(500)));
        put(&jobs, Work::Append(prepared(1)));
        assert_eq!(turn(&mut waiting), Some(vec![1]));
        assert!(claim.give_up());
        assert_eq!(turn(&mut waiting), Some(vec![]));
        assert_eq!(turns(&mut waiting), Vec::<Vec<usize>>::new());
    }

    fn start() -> (Waiting, mpsc::SyncSender<Job>) {
        let (jobs, queue) = mpsc::sync_channel(16);
        (Waiting::of(queue), jobs)
    }

    fn put(jobs: &mpsc::SyncSender<Job>, work: Work) {
        let _ = put_claimed(jobs, work);
    }

    fn put_claimed(jobs: &mpsc::SyncSender<Job>, work: Work) -> Arc<Claim> {
        let claim = Arc::<Claim>::default();
        jobs.send(Job { work, reply: mpsc::sync_channel(1).0, claim: Arc::clone(&claim) }).unwrap();
        claim
    }

    /// The operations of those who are written next, together; none when nobody waits.
    fn turn(waiting: &mut Waiting) -> Option<Vec<usize>> {
        let together = waiting.next(Duration::ZERO).ok()?;
        Some(together.iter().map(|job| job.work.operations()).collect())
    }

    fn turns(waiting: &mut Waiting) -> Vec<Vec<usize>> {
        std::iter::from_fn(|| turn(waiting)).collect()
    }
}
