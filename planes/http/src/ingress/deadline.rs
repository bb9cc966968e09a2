//! How long a visitor may take to send or read something, and an origin to answer.
//!
//! There are no timers here: the worker checks all connections once a second ([`Connections::expire`]). Nearly all waits
//! end before that, and such a wait costs only a note: the time of most begins when it is first seen.
//!
//! [`Connections::expire`]: super::connection::Connections::expire

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bartizan_net::Account;
use tokio::time::Instant;

use crate::limits::Limits;

/// What we wait for the visitor to do, or the origin.
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
    /// To say anything, on a connection of many streams; and then to answer a PING.
    Sign,
    Pong,
    /// The origin: to answer, or to go on with it, within this time.
    Answer(Duration),
}

impl Awaited {
    fn limit(self, limits: &Limits) -> Duration {
        match self {
            Awaited::Request => limits.idle_time,
            Awaited::Head => limits.head_time,
            Awaited::Body | Awaited::Room => limits.stall_time,
            Awaited::Sign => limits.ping_every,
            Awaited::Pong => limits.ping_answer_time,
            Awaited::Answer(limit) => limit,
        }
    }

    /// Whether what comes in small pieces buys time.
    fn has_rate(self) -> bool {
        matches!(self, Awaited::Body | Awaited::Room)
    }
}

/// The time limit of one direction of a connection, or of a stream.
///
/// For a body the limit is an account ([`Account`]). So one limit ends who stops, and who goes on too slowly.
#[derive(Default)]
pub(crate) struct Deadline {
    running: Cell<Option<Running>>,
    /// What was used up by waits that are over, and not bought back.
    used: Cell<Account>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy)]
struct Running {
    awaited: Awaited,
    /// None until it is first seen, where so much does not matter.
    since: Option<Instant>,
    limit: Duration,
    is_over: bool,
}

impl Deadline {
    /// Ready when the time for `awaited` is over. The time starts with the first call, and anew when `awaited` changes.
    pub(crate) fn poll(&self, cx: &Context<'_>, awaited: Awaited, limits: &Limits) -> Poll<()> {
        self.poll_within(cx, awaited, awaited.limit(limits))
    }

    /// The same with this limit.
    pub(crate) fn poll_within(&self, cx: &Context<'_>, awaited: Awaited, limit: Duration) -> Poll<()> {
        match self.running.get() {
            Some(running) if running.awaited == awaited => {
                if running.is_over {
                    return Poll::Ready(());
                }
            }
            _ => {
                if !awaited.has_rate() {
                    self.used.set(Account::default());
                }
                let since = awaited.has_rate().then(Instant::now);
                let limit = self.used.get().left(limit);
                self.running.set(Some(Running { awaited, since, limit, is_over: false }));
            }
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// So many bytes of a body were moved.
    pub(crate) fn moved(&self, bytes: usize, limits: &Limits) {
        let since = self.running.take().and_then(|running| running.since);
        let mut used = self.used.get();
        if let Some(since) = since {
            used.waited(since.elapsed());
        }
        used.moved(bytes, limits.least_rate());
        self.used.set(used);
    }

    /// What was awaited is here, or nothing is awaited any more.
    pub(crate) fn rest(&self) {
        self.running.set(None);
        self.used.set(Account::default());
    }

    /// Whether the time of the last wait ran out.
    pub(crate) fn is_over(&self) -> bool {
        self.running.get().is_some_and(|running| running.is_over)
    }

    /// Wakes the task if the time is over.
    pub(crate) fn expire(&self, now: Instant) {
        let Some(running) = self.running.get() else { return };
        let since = running.since.unwrap_or(now);
        let is_over = since + running.limit <= now;
        self.running.set(Some(Running { since: Some(since), is_over, ..running }));
        if is_over {
            self.wake();
        }
    }

    /// Wakes the task that waits.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        idle_time: Duration::from_secs(75),
        head_time: Duration::from_secs(15),
        stall_time: Duration::from_secs(60),
        least_bytes_per_second: 100,
        ..Limits::DEFAULT
    };

    fn poll(deadline: &Deadline, awaited: Awaited) -> Poll<()> {
        deadline.poll(&Context::from_waker(Waker::noop()), awaited, &LIMITS)
    }

    #[test]
    fn each_limit_ends_when_it_is_due() {
        for (awaited, seconds) in [
            (Awaited::Request, 75),
            (Awaited::Head, 15),
            (Awaited::Body, 60),
            (Awaited::Room, 60),
            (Awaited::Answer(Duration::from_secs(30)), 30),
        ] {
            let deadline = Deadline::default();
            let (start, limit, margin) = (Instant::now(), Duration::from_secs(seconds), Duration::from_secs(5));
            assert!(poll(&deadline, awaited).is_pending());
            deadline.expire(start);
            deadline.expire(start + limit - margin);
            assert!(poll(&deadline, awaited).is_pending(), "{awaited:?} early");
            deadline.expire(start + limit + margin);
            assert!(poll(&deadline, awaited).is_ready(), "{awaited:?} late");
            deadline.rest();
            deadline.expire(start + limit + margin);
            assert!(poll(&deadline, awaited).is_pending(), "{awaited:?} after a rest");
        }
    }

    /// The time starts anew when something else is awaited.
    #[test]
    fn a_head_gets_its_own_time() {
        let deadline = Deadline::default();
        let start = Instant::now();
        assert!(poll(&deadline, Awaited::Request).is_pending());
        deadline.expire(start);
        deadline.expire(start + LIMITS.idle_time);
        assert!(poll(&deadline, Awaited::Head).is_pending());
    }

    /// Waits of 50 s with so many bytes after each: the least rate is 100 a second.
    #[test]
    fn a_body_has_a_least_rate() {
        const WAIT: Duration = Duration::from_secs(50);
        for (bytes, waits) in [(1, 1), (500, 1), (4_200, 2), (5_000, 100), (1_000_000, 100)] {
            let deadline = Deadline::default();
            let mut lasted = 0;
            for _ in 0..100 {
                assert!(poll(&deadline, Awaited::Body).is_pending());
                let running = deadline.running.get().unwrap();
                deadline.running.set(Some(Running { since: running.since.map(|since| since - WAIT), ..running }));
                deadline.expire(Instant::now());
                if poll(&deadline, Awaited::Body).is_ready() {
                    break;
                }
                deadline.moved(bytes, &LIMITS);
                lasted += 1;
            }
            assert_eq!(lasted, waits, "{bytes} bytes");
        }
    }
}
