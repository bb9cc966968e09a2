//! Lists and searches are read on threads of their own. They are few and stand back behind all others: however many clients
//! wait for a list, and however long each takes, nobody waits for them who writes, logs in or asks for one object. And whoever
//! wants a page of a list waits for nobody who searches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, Fault};

/// As many as the store has connections for lists.
const THREADS: usize = 2;

/// How far they stand back (nice(1)): of a busy processor lists have a tenth of what a usual thread has, searches a third of
/// that, and each all of an idle one.
const LISTS_NICE: i32 = 10;
const SEARCHES_NICE: i32 = 15;

/// Clients that wait for their turn, and for how long; others are told to come again.
const WAITING_MAX: usize = 256;
const WAIT_MAX: Duration = Duration::from_secs(10);
const COME_AGAIN: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce() + Send>;

pub(crate) struct Lists {
    waiting: Semaphore,
    turns: Arc<Semaphore>,
    wait_max: Duration,
    /// None only while dropping.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Lists {
    pub(crate) fn start() -> Lists {
        Lists::start_as("api-lists", LISTS_NICE)
    }

    pub(crate) fn start_for_searches() -> Lists {
        Lists::start_as("api-searches", SEARCHES_NICE)
    }

    fn start_as(name: &str, nice: i32) -> Lists {
        let (jobs, queued) = mpsc::channel();
        let queued = Arc::new(Mutex::new(queued));
        let threads = (0..THREADS).filter_map(|_| {
            let queued = Arc::clone(&queued);
            let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&queued, nice));
            thread.inspect_err(|error| tracing::error!(%error, "there is no thread for lists")).ok()
        });
        let threads: Vec<JoinHandle<()>> = threads.collect();
        Lists {
            waiting: Semaphore::new(WAITING_MAX),
            turns: Arc::new(Semaphore::new(threads.len())),
            wait_max: WAIT_MAX,
            jobs: Some(jobs),
            threads,
        }
    }

    /// Runs `read`, which blocks, when it is its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || Error::from(Fault::Busy).after(COME_AGAIN);
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let turn = tokio::time::timeout(self.wait_max, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.map_err(|_| busy())?.map_err(|_| busy())?;
        let (done, answer) = oneshot::channel();
        let job = move || {
            // Whoever left meanwhile needs none.
            if !done.is_closed() {
                drop(done.send(read()));
            }
            drop(turn);
        };
        let jobs = self.jobs.as_ref().ok_or_else(busy)?;
        jobs.send(Box::new(job)).map_err(|_| busy())?;
        // It ends without an answer by a panic alone.
        answer.await.map_err(|error| Error::internal(&error))?
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            // A job may have had the last of what owns this.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Until there are no more.
fn work(queued: &Mutex<Receiver<Job>>, nice: i32) {
    if let Err(error) = bartizan_net::stand_back(nice) {
        tracing::warn!(%error, "lists are as urgent as all else");
    }
    loop {
        // One of them waits for the next job, and the others for it.
        let job = queued.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The hook has said where.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until it may go on.
    fn stuck() -> (Sender<()>, impl FnOnce() -> Result<(), Error> + Send + 'static) {
        let (go, may_go) = mpsc::channel::<()>();
        (go, move || {
            let _ = may_go.recv();
            Ok(())
        })
    }

    #[tokio::test]
    async fn so_many_are_read_at_once_and_so_many_wait() {
        let mut lists = Lists::start();
        lists.wait_max = Duration::MAX;
        let lists = Arc::new(lists);
        let run = |read| {
            let lists = Arc::clone(&lists);
            tokio::spawn(async move { lists.run(read).await })
        };
        let (held, reads): (Vec<_>, Vec<_>) = (0..WAITING_MAX).map(|_| stuck()).unzip();
        let all: Vec<_> = reads.into_iter().map(run).collect();
        while lists.waiting.available_permits() > 0 || lists.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(lists.run(|| Ok(())).await.unwrap_err().fault, Fault::Busy);
        drop(held);
        for one in all {
            assert_eq!(one.await.unwrap(), Ok(()));
        }
        assert_eq!(lists.run(|| Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn who_waits_too_long_comes_again() {
        let mut lists = Lists::start();
        lists.wait_max = Duration::ZERO;
        let turns = Arc::clone(&lists.turns).acquire_many_owned(THREADS as u32).await.unwrap();
        assert_eq!(lists.run(|| Ok(())).await.unwrap_err().fault, Fault::Busy);
        drop(turns);
        assert_eq!(lists.run(|| Ok(())).await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_takes_no_thread_with_it() {
        let lists = Lists::start();
        for _ in 0..=THREADS {
            let answer: Result<(), Error> = lists.run(|| panic!("on purpose")).await;
            assert_eq!(answer.unwrap_err().fault, Fault::Internal);
        }
        assert_eq!(lists.run(|| Ok(7)).await, Ok(7));
    }
}
