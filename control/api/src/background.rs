//! Work that nobody waits for, each on a thread of its own: begun at the start, when it is woken, and from time to time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::Notify;

/// A thread that works in the background. Dropping it lets it finish the piece it is at.
pub(crate) struct Worker {
    /// One request to wake is as good as many. None only while dropping.
    wake: Option<SyncSender<()>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

/// Whether work should end after the piece that it is at.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Work that is to be done once more by whoever does it, and nothing else to be said about it.
#[derive(Clone, Default)]
pub(crate) struct Due(Arc<AtomicBool>);

impl Due {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is due. Whoever asks does it now.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Worker {
    /// `work` says how long it may rest when nobody wakes it.
    pub(crate) fn start(name: &str, mut work: impl FnMut(&Stop) -> Duration + Send + 'static) -> Worker {
        let (wake, woken) = mpsc::sync_channel(1);
        let stop = Stop::default();
        let seen = stop.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            loop {
                let rest = work(&seen);
                if seen.is_set() || woken.recv_timeout(rest) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        let thread = thread.inspect_err(|error| tracing::error!(name, %error, "there is no thread for this work")).ok();
        Worker { wake: Some(wake), stop, thread }
    }

    /// There is something to do.
    pub(crate) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Full: it is going to look anyway.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // What it was at, the next start finishes.
            let _ = thread.join();
        }
    }
}

/// A thread of its own for work that mostly waits for others. Dropping it ends the work where it is.
pub(crate) struct Waiter {
    wake: Arc<Notify>,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Waiter {
    /// `work` gets what is told when there is something to do.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &'static str,
        work: impl FnOnce(Arc<Notify>) -> F + Send + 'static,
    ) -> Waiter {
        let (wake, stop) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let (woken, stopped) = (Arc::clone(&wake), Arc::clone(&stop));
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(async {
                    tokio::select! {
                        () = work(woken) => {}
                        () = stopped.notified() => {}
                    }
                }),
                Err(error) => tracing::error!(name, %error, "nobody does this work"),
            }
        });
        let thread = thread.inspect_err(|error| tracing::error!(name, %error, "there is no thread for this work")).ok();
        Waiter { wake, stop, thread }
    }

    /// There is something to do.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
