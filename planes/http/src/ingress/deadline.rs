//! How long a visitor may take to send or read something.
//!
//! There are no timers here: the worker checks all connections once a second ([`Connections::expire`]). Nearly all waits
//! end in time, and such a wait costs only a note of when it would expire.
//!
//! [`Connections::expire`]: super::connection::Connections::expire

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{BODY_STALL_TIME, HEAD_TIME, IDLE_TIME, WRITE_STALL_TIME};

/// What we wait for the visitor to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// To send the first byte of a request.
    Request,
    /// To send the rest of a head.
    Head,
    /// To send more of a body.
    Body,
    /// To read more of an answer.
    Room,
}

impl Awaited {
    fn limit(self) -> Duration {
        match self {
            Awaited::Request => IDLE_TIME,
            Awaited::Head => HEAD_TIME,
            Awaited::Body => BODY_STALL_TIME,
            Awaited::Room => WRITE_STALL_TIME,
        }
    }
}

/// The time limit of one direction of a connection.
#[derive(Default)]
pub(crate) struct Deadline {
    running: Cell<Option<Running>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy)]
struct Running {
    awaited: Awaited,
    due: Instant,
    is_over: bool,
}

impl Deadline {
    /// Ready when the time for `awaited` is over. The time starts with the first call, and anew when `awaited` changes.
    pub(crate) fn poll(&self, cx: &Context<'_>, awaited: Awaited) -> Poll<()> {
        match self.running.get() {
            Some(running) if running.awaited == awaited => {
                if running.is_over {
                    return Poll::Ready(());
                }
            }
            _ => self.running.set(Some(Running { awaited, due: Instant::now() + awaited.limit(), is_over: false })),
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// There was progress.
    pub(crate) fn rest(&self) {
        self.running.set(None);
    }

    /// Wakes the task if the time is over.
    pub(crate) fn expire(&self, now: Instant) {
        if let Some(running) = self.running.get()
            && running.due <= now
        {
            self.running.set(Some(Running { is_over: true, ..running }));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_ends_when_it_is_due() {
        for (awaited, limit) in [
            (Awaited::Request, IDLE_TIME),
            (Awaited::Head, HEAD_TIME),
            (Awaited::Body, BODY_STALL_TIME),
            (Awaited::Room, WRITE_STALL_TIME),
        ] {
            let deadline = Deadline::default();
            let cx = Context::from_waker(Waker::noop());
            let start = Instant::now();
            let margin = Duration::from_secs(5);
            assert!(deadline.poll(&cx, awaited).is_pending());
            deadline.expire(start + limit - margin);
            assert!(deadline.poll(&cx, awaited).is_pending(), "{awaited:?} early");
            deadline.expire(start + limit + margin);
            assert!(deadline.poll(&cx, awaited).is_ready(), "{awaited:?} late");
            deadline.rest();
            deadline.expire(start + limit + margin);
            assert!(deadline.poll(&cx, awaited).is_pending(), "{awaited:?} after a rest");
        }
    }

    /// The time starts anew when something else is awaited.
    #[test]
    fn a_head_gets_its_own_time() {
        let deadline = Deadline::default();
        let cx = Context::from_waker(Waker::noop());
        assert!(deadline.poll(&cx, Awaited::Request).is_pending());
        deadline.expire(Instant::now() + IDLE_TIME);
        assert!(deadline.poll(&cx, Awaited::Head).is_pending());
    }
}
