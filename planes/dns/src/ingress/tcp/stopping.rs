//! The end of the plane, as connections learn of it.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Stopping {
    has_begun: Cell<bool>,
    begun: Notify,
}

impl Stopping {
    pub(super) fn begin(&self) {
        self.has_begun.set(true);
        self.begun.notify_waiters();
    }

    /// Does `work` until then.
    pub(super) async fn unless_begun<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let begun = self.begun.notified();
        if self.has_begun.get() {
            return None;
        }
        tokio::select! {
            biased;
            () = begun => None,
            done = work => Some(done),
        }
    }

    /// The same, but `work` is asked to end, and ends by itself: it is told whether it has begun. It costs the work
    /// nothing: the task is called once, when it begins, and in between nobody asks.
    pub(super) async fn with_notice<T>(&self, mut work: impl FnMut(&mut std::task::Context<'_>, bool) -> Poll<T>) -> T {
        let mut begun = pin!(self.begun.notified());
        let mut is_known = false;
        poll_fn(|cx| {
            if !is_known {
                is_known = true;
                // A task is called in one way as long as it lives.
                let _ = begun.as_mut().poll(cx);
            }
            work(cx, self.has_begun.get())
        })
        .await
    }
}
