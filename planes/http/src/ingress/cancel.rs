//! Tells one task that it must end.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Triggered once, and for as long as the task lasts, which looks at it whenever it wakes, and is woken to look.
#[derive(Default)]
pub(crate) struct Cancel {
    triggered: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Cancel {
    pub(crate) fn trigger(&self) {
        if !self.triggered.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// For another task.
    pub(crate) fn reset(&self) {
        self.triggered.set(false);
        self.waker.take();
    }

    pub(crate) fn is_triggered(&self) -> bool {
        self.triggered.get()
    }

    // Hot: once a wake. No allocation.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.triggered.get() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
