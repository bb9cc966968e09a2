//! How much of the worker's time a connection may use before it is the turn of others.
//!
//! What belongs to one connection shares its turn: its own task, and those of its streams. When the turn is used up, or
//! that of its source ([`lanes`](super::lanes)), each waits until it is called. There are no timers: what a connection does
//! is counted in steps, and the clock is looked at only while several sources have something to do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::lanes::Lane;
use crate::limits::{CALL_BYTES, LONE_STEP_BYTES, STEP_BYTES, TURN_LOOK_FRAMES, TURN_READ_TIME, TURN_STEPS};

thread_local! {
    /// How often this thread has looked what came, after all that was ready had its turn.
    static LOOKS: Cell<u32> = const { Cell::new(0) };
}

/// To be called when a thread has waited for what comes, or has looked: everybody's turn begins anew.
pub(crate) fn looked() {
    LOOKS.set(LOOKS.get().wrapping_add(1));
}

/// Returns when the thread has looked, and counts that unless somebody else who waited for the same look has.
pub(crate) async fn look() {
    let before = looks();
    tokio::task::yield_now().await;
    if looks() == before {
        looked();
    }
}

/// How often it has.
pub(super) fn looks() -> u32 {
    LOOKS.get()
}

/// The turn of one connection.
pub(crate) struct Turn {
    lane: Rc<Lane>,
    /// The look since which it has used something, and how many steps.
    look: Cell<u32>,
    used: Cell<u32>,
    /// What was moved in this step.
    moved: Cell<usize>,
    /// Whether the next step takes as long as a turn.
    is_next_long: Cell<bool>,
    queue: RefCell<Queue>,
}

/// Tasks that wait, in the order in which they came.
#[derive(Default)]
struct Queue {
    /// Of those that are not called yet. A task that has ended since is woken in vain.
    wakers: VecDeque<Waker>,
    /// The ticket of the next one to be called.
    next: u32,
    /// Whether the connection is in its lane, or at its turn.
    is_in_lane: bool,
}

/// The ticket of a task that waits for the turn of its connection.
pub(crate) type Waiting = Option<u32>;

impl Queue {
    fn add(&mut self, waker: &Waker) -> u32 {
        self.wakers.push_back(waker.clone());
        self.next.wrapping_add(self.wakers.len() as u32 - 1)
    }

    /// The waker of a ticket; none if it was called.
    fn waker_of(&mut self, ticket: u32) -> Option<&mut Waker> {
        self.wakers.get_mut(ticket.wrapping_sub(self.next) as usize)
    }
}

impl Turn {
    pub(crate) fn new(lane: Rc<Lane>) -> Rc<Turn> {
        let (look, used, moved, is_next_long, queue) = Default::default();
        Rc::new(Turn { lane, look, used, moved, is_next_long, queue })
    }

    /// Does a step of the connection's work, or waits for the next turn. By each task with a [`Waiting`] of its own.
    // Hot: a few times a request. No look at the clock.
    pub(crate) fn poll<T>(
        self: &Rc<Self>,
        waiting: &mut Waiting,
        cx: &mut Context<'_>,
        step: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let is_called = match *waiting {
            Some(ticket) => !self.still_waits_for(ticket, cx),
            None if self.must_wait() => {
                *waiting = Some(self.queue_up(cx));
                false
            }
            None => true,
        };
        if !is_called {
            return Poll::Pending;
        }
        *waiting = None;
        self.moved.set(0);
        self.is_next_long.set(false);
        self.charge(1);
        self.lane.step(|| step(cx))
    }

    /// Ready while there may be another read or write in this step. Else it is for the next one.
    pub(crate) fn poll_move(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.moved.get() < self.most() {
            return Poll::Ready(());
        }
        let_others_go_first(cx);
        Poll::Pending
    }

    /// What may be moved in one step.
    pub(crate) fn most(&self) -> usize {
        if self.lane.is_shared() { STEP_BYTES } else { LONE_STEP_BYTES }
    }

    /// So much was read or written at once.
    pub(crate) fn moved(&self, bytes: usize) {
        self.moved.set(self.moved.get().saturating_add(bytes + CALL_BYTES));
    }

    /// Does all of this work in turns.
    pub(crate) async fn take<T>(self: &Rc<Self>, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        let mut waiting = Waiting::default();
        poll_fn(|cx| self.poll(&mut waiting, cx, |cx| work.as_mut().poll(cx))).await
    }

    /// The same, unless `poll_over` is ready before its end. What it holds is let go in its turn too: that may be connections
    /// to origins with much in them, and no runtime counts what it takes.
    pub(crate) fn take_unless(
        self: Rc<Self>,
        work: Pin<Box<impl Future<Output = ()>>>,
        mut poll_over: impl FnMut(&Context<'_>) -> Poll<()>,
    ) -> impl Future<Output = ()> {
        let (mut work, mut waiting) = (Some(work), Waiting::default());
        poll_fn(move |cx| {
            self.poll(&mut waiting, cx, |cx| {
                if poll_over(cx).is_ready() {
                    work = None;
                }
                work.as_mut().map_or(Poll::Ready(()), |work| work.as_mut().poll(cx))
            })
        })
    }

    /// A request of the connection begins.
    pub(super) fn begin_request(&self) {
        self.lane.expect_answer();
    }

    /// It is over.
    pub(super) fn end_request(&self) {
        self.lane.expect_no_answer();
    }

    /// What was done took as long as a turn.
    pub(crate) fn use_up(&self) {
        self.charge(TURN_STEPS);
    }

    /// What was done took as long as so many steps more.
    pub(crate) fn charge(&self, steps: u32) {
        self.used.set(self.used().saturating_add(steps));
        self.look.set(looks());
    }

    /// Steps since the last look.
    fn used(&self) -> u32 {
        if self.look.get() == looks() { self.used.get() } else { 0 }
    }

    /// Returns in the next turn: what follows takes as long as one.
    pub(crate) async fn next(&self) {
        self.charge(TURN_STEPS);
        self.is_next_long.set(true);
        let mut has_waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    fn must_wait(&self) -> bool {
        self.used() >= TURN_STEPS || self.lane.must_wait() || !self.queue.borrow().wakers.is_empty()
    }

    fn queue_up(self: &Rc<Self>, cx: &Context<'_>) -> u32 {
        let mut queue = self.queue.borrow_mut();
        let ticket = queue.add(cx.waker());
        if !std::mem::replace(&mut queue.is_in_lane, true) {
            self.lane.queue_up(Rc::clone(self));
        }
        ticket
    }

    /// Whether a task that runs for another reason was not called yet.
    fn still_waits_for(&self, ticket: u32, cx: &Context<'_>) -> bool {
        let mut queue = self.queue.borrow_mut();
        let Some(waker) = queue.waker_of(ticket) else { return false };
        if !waker.will_wake(cx.waker()) {
            waker.clone_from(cx.waker());
        }
        true
    }

    /// Whether what is called next takes as long as a turn.
    pub(super) fn is_next_long(&self) -> bool {
        self.is_next_long.get()
    }

    /// Calls the task that has waited longest; says whether there was one.
    pub(super) fn call_next(&self) -> bool {
        let mut queue = self.queue.borrow_mut();
        let Some(waker) = queue.wakers.pop_front() else { return false };
        queue.next = queue.next.wrapping_add(1);
        drop(queue);
        waker.wake();
        true
    }

    /// Whether more of it waits, at the end of a turn. If not, it has left its lane.
    pub(super) fn still_waits(&self) -> bool {
        let mut queue = self.queue.borrow_mut();
        queue.is_in_lane = !queue.wakers.is_empty();
        if !queue.is_in_lane {
            // Most do not wait again soon.
            queue.wakers = VecDeque::new();
        }
        queue.is_in_lane
    }
}

/// How long frames of one connection are read in one step.
#[derive(Default)]
pub(crate) struct FrameTurn {
    /// Since the last look at the clock.
    frames: u32,
    began: Option<Instant>,
}

impl FrameTurn {
    /// Whether the next frame is for another step.
    // Hot: once a frame. A look at the clock each few of them.
    pub(crate) fn is_over(&mut self) -> bool {
        let began = *self.began.get_or_insert_with(Instant::now);
        self.frames += 1;
        self.frames > TURN_LOOK_FRAMES && {
            self.frames = 1;
            began.elapsed() >= TURN_READ_TIME
        }
    }

    /// The last frame concerned all streams, and may have taken as long as many.
    pub(crate) fn look_next(&mut self) {
        self.frames = TURN_LOOK_FRAMES;
    }
}

/// Wakes the task when the worker has looked what came, and after those that something came for.
pub(crate) fn let_others_go_first(cx: &mut Context<'_>) {
    // Pending the first time, when the runtime takes note of the waker.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clock is looked at after some frames, and after one that concerned all streams.
    #[test]
    fn frames_have_a_turn() {
        let (mut slow, mut quick) = (FrameTurn::default(), FrameTurn::default());
        assert!(!slow.is_over() && !quick.is_over());
        let start = Instant::now();
        while start.elapsed() < TURN_READ_TIME {}
        let frames = (1..).find(|_| slow.is_over());
        assert_eq!(frames, Some(TURN_LOOK_FRAMES));
        quick.look_next();
        assert!(quick.is_over());
    }
}
