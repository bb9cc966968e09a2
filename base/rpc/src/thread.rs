//! The thread on which remote calls are worked, because the RPC library's values cannot leave theirs.

use std::future::Future;
use std::io;

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

/// Work handed to the thread and not begun. Beginning is quick: a full queue means that hundreds of connectors come at
/// once, and those who hand over work wait.
const JOBS_MAX: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// A thread with a current-thread runtime. It ends when the last handle is dropped, and all work on it too.
#[derive(Clone, Debug)]
pub struct RpcThread(mpsc::Sender<Job>);

/// The thread of remote calls is gone, or the work on it panicked.
#[derive(Debug, thiserror::Error)]
#[error("the work of remote calls stopped")]
pub struct RpcStopped;

impl RpcThread {
    pub fn start(name: &str) -> io::Result<RpcThread> {
        let (handle, mut jobs) = mpsc::channel::<Job>(JOBS_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let work = async {
                while let Some(job) = jobs.recv().await {
                    job();
                }
            };
            LocalSet::new().block_on(&runtime, work);
        })?;
        Ok(RpcThread(handle))
    }

    /// Runs a future on the thread and waits for its result. Dropping the wait cancels the work.
    pub async fn run<M, F, T>(&self, make: M) -> Result<T, RpcStopped>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (mut reply, result) = oneshot::channel();
        let job = move || {
            let work = make();
            // A panic in the RPC library ends this task alone; who waits sees the dropped sender.
            tokio::task::spawn_local(async move {
                let done = tokio::select! {
                    done = work => done,
                    () = reply.closed() => return,
                };
                let _ = reply.send(done);
            });
        };
        self.0.send(Box::new(job)).await.map_err(|_| RpcStopped)?;
        result.await.map_err(|_| RpcStopped)
    }

    /// Begins work that ends by itself, such as when its stream or its last caller goes.
    pub(crate) async fn spawn<M, F>(&self, make: M) -> Result<(), RpcStopped>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let job = move || {
            tokio::task::spawn_local(make());
        };
        self.0.send(Box::new(job)).await.map_err(|_| RpcStopped)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn work_that_cannot_be_sent_runs_and_a_panic_hurts_nobody_else() {
        let rpc = RpcThread::start("rpc-test").unwrap();
        assert_eq!(rpc.run(|| async { *Rc::new(7) }).await.unwrap(), 7);
        assert!(rpc.run(|| async { std::panic::resume_unwind(Box::new("stop")) }).await.is_err());
        assert_eq!(rpc.run(|| async { 8 }).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn dropping_the_wait_cancels_the_work() {
        let rpc = RpcThread::start("rpc-test").unwrap();
        let (held, mut dropped) = oneshot::channel::<()>();
        let (started, begun) = oneshot::channel();
        let waiting = rpc.run(move || async move {
            let _ = started.send(());
            let _held = held;
            std::future::pending::<()>().await;
        });
        tokio::select! {
            _ = waiting => {}
            _ = begun => {}
        }
        assert!((&mut dropped).await.is_err(), "its values are gone");
    }
}
