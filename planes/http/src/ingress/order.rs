//! A word to one task that it shall end.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Given once, and for good. The task looks whenever it wakes, and is woken to look.
#[derive(Default)]
pub(crate) struct Order {
    given: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Order {
    pub(crate) fn give(&self) {
        if !self.given.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    pub(crate) fn is_given(&self) -> bool {
        self.given.get()
    }

    // Hot: once a wake. No allocation.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.given.get() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
