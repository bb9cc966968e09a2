//! Whose work a worker does next, when there is more than it can do at once.
//!
//! ```text
//! ready ─► Turn::poll ─┬─ its source has used little ──────────────────────────────► step
//!                      └─ queue of the connection ─► lane of its source ─► ferry ───► step
//! ```
//! The runtime runs what is ready in the order in which it became ready, and one visitor can make very much of it ready:
//! a hundred streams, small frames without end, connections by the thousand. So what has used up its turn waits in the
//! lane of its source, and the [`ferry`] takes one turn of one lane across at a time: then the worker looks what came, and
//! what came for those who do not wait goes first. Sources take turns, and so do the connections of each; who took more time
//! than it had is passed over for as long. A lane is left by doing less: when nothing has waited in it for a while.
//!
//! The connections to the origins of a zone that speak HTTP/2 have a lane too: what an origin sends without end keeps others
//! from as little as what a visitor does.
//!
//! So have newcomers together: to accept a connection is work too, and whose it is, is known when it is done.
//!
//! No time is lost by it where nobody else has anything to do. While only one source has, each of its connections waits for
//! what it has used itself, and turns are longer.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bartizan_names::ZoneId;
use bartizan_quotas::SourceKey;

use super::turn::{Turn, look, looks};
use crate::limits::{
    HOLD_TIME, HOLD_TIME_MAX, LANE_DEBT_MAX, LANE_TURN_TIME, LONE_TURN_TIME, SLOW_ROUNDS, SOURCE_TIME,
    SOURCE_TIME_LEAST,
};

/// For how many calls of [`Lanes::go_on`] a worker counts as shared after two sources had something to do.
const SHARED_FOR: u32 = 2;

/// The lanes of one worker: one for each source that has connections, and for each zone to whose origins there are some of HTTP/2,
/// so there are never more than those.
#[derive(Default)]
pub(crate) struct Lanes {
    by_source: RefCell<HashMap<SourceKey, Weak<Lane>>>,
    by_zone: RefCell<HashMap<ZoneId, Weak<Lane>>>,
    /// Those in which something waits, in the order of their turns.
    waiting: RefCell<VecDeque<Rc<Lane>>>,
    /// How many they are, with the one at its turn.
    queued: Cell<usize>,
    /// Wakes the ferry when the first comes.
    bell: RefCell<Option<Waker>>,
    /// Turns that were taken.
    rounds: Cell<u32>,
    /// The number of the lane that was made last.
    numbers: Cell<u64>,
    /// That of the one that did something last; none if its source has left.
    last: Cell<Option<u64>>,
    /// Whether a request of a source that does not wait is likely to be answered soon, and which lane's it is.
    expected: Cell<(u64, Expected)>,
    /// How long several sources have had something to do, or will be taken to have.
    shared: Cell<u32>,
    /// What all have used together since a look.
    used: Used,
}

/// How much time was used, and since which look.
#[derive(Default)]
struct Used {
    look: Cell<u32>,
    time: Cell<Duration>,
}

impl Used {
    fn get(&self) -> Duration {
        if self.look.get() == looks() { self.time.get() } else { Duration::ZERO }
    }

    fn add(&self, time: Duration) {
        self.time.set(self.get() + time);
        self.look.set(looks());
    }
}

/// An answer of an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expected {
    #[default]
    No,
    /// The request is on its way, or will be when the step that it came in is over.
    Soon,
    Until(Instant),
}

/// Whose work a lane is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Source(SourceKey),
    /// What its origins send.
    Origins(ZoneId),
    /// Whoever has just come, from wherever: that is not known before.
    Newcomers,
}

/// The work of one source.
pub(crate) struct Lane {
    lanes: Rc<Lanes>,
    of: Of,
    number: u64,
    used: Used,
    /// Until which round what comes of it waits, as there was more of it than it had time for.
    slow_until: Cell<u32>,
    /// Connections with tasks that wait, in the order of their turns. None is in it twice.
    waiting: RefCell<VecDeque<Rc<Turn>>>,
    /// Whether it is among those that wait, or at its turn.
    is_queued: Cell<bool>,
    /// What its last turn took too much.
    debt: Cell<Duration>,
}

impl Lanes {
    /// The turn of a new connection.
    pub(crate) fn turn_of(self: &Rc<Self>, from: IpAddr) -> Rc<Turn> {
        let source = SourceKey::widest(from);
        let mut by_source = self.by_source.borrow_mut();
        let known = by_source.get(&source).and_then(Weak::upgrade);
        let lane = known.unwrap_or_else(|| {
            let lane = Rc::new(Lane::new(Rc::clone(self), Of::Source(source)));
            by_source.insert(source, Rc::downgrade(&lane));
            lane
        });
        Turn::new(lane)
    }

    /// The turn of a new connection to an origin.
    pub(crate) fn turn_to_origin(self: &Rc<Self>, zone: ZoneId) -> Rc<Turn> {
        let mut by_zone = self.by_zone.borrow_mut();
        let known = by_zone.get(&zone).and_then(Weak::upgrade);
        let lane = known.unwrap_or_else(|| {
            let lane = Rc::new(Lane::new(Rc::clone(self), Of::Origins(zone)));
            by_zone.insert(zone, Rc::downgrade(&lane));
            lane
        });
        Turn::new(lane)
    }

    /// The lane in which connections are accepted.
    pub(crate) fn of_newcomers(self: &Rc<Self>) -> Rc<Lane> {
        Rc::new(Lane::new(Rc::clone(self), Of::Newcomers))
    }

    /// Forgets after a while that a source was not alone. To be called about once a second.
    pub(crate) fn go_on(&self) {
        self.shared.set(self.shared.get().saturating_sub(1));
    }

    /// Lets go what waits. To be called when nothing runs any more.
    pub(crate) fn let_go(&self) {
        let waiting = self.waiting.take();
        waiting.iter().for_each(|lane| drop(lane.waiting.take()));
    }

    fn is_shared(&self) -> bool {
        self.shared.get() > 0
    }

    /// Whether an answer is likely to come before a turn would be over. Its time begins with the first look after the
    /// request was sent on, so that what that took is no part of it.
    fn expects_answer(&self) -> bool {
        match self.expected.get() {
            (_, Expected::No) => false,
            (lane, Expected::Soon) => {
                self.expected.set((lane, Expected::Until(Instant::now() + HOLD_TIME)));
                true
            }
            (_, Expected::Until(until)) => Instant::now() < until,
        }
    }

    fn poll_waiting(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.waiting.borrow().is_empty() {
            return Poll::Ready(());
        }
        *self.bell.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next one that has not taken too much, and what it may take. Only to be called while one waits.
    fn next(&self) -> Option<(Rc<Lane>, Duration)> {
        let most = if self.is_shared() { LANE_TURN_TIME } else { LONE_TURN_TIME };
        let mut waiting = self.waiting.borrow_mut();
        // Each round takes some of every debt.
        while let Some(lane) = waiting.pop_front() {
            let debt = lane.debt.get();
            if debt < most {
                return Some((lane, most - debt));
            }
            lane.debt.set(debt - most);
            waiting.push_back(lane);
        }
        None
    }
}

impl Lane {
    fn new(lanes: Rc<Lanes>, of: Of) -> Lane {
        let number = lanes.numbers.get() + 1;
        lanes.numbers.set(number);
        let slow_until = Cell::new(lanes.rounds.get());
        let (used, waiting, is_queued, debt) = Default::default();
        Lane { lanes, of, number, used, slow_until, waiting, is_queued, debt }
    }

    /// Whether other sources have something to do too.
    pub(super) fn is_shared(&self) -> bool {
        self.lanes.is_shared()
    }

    /// Whether what comes of it has to wait for a turn.
    pub(super) fn must_wait(&self) -> bool {
        if !self.lanes.is_shared() {
            return false;
        }
        // A newcomer may be of those who wait.
        if self.of == Of::Newcomers {
            return self.lanes.queued.get() > 0;
        }
        let used = self.used.get();
        if used >= SOURCE_TIME {
            self.slow_down();
        }
        // However many sources there are, together they keep who comes next from little more than one of them does.
        let is_too_much = || used >= SOURCE_TIME_LEAST && self.lanes.used.get() >= SOURCE_TIME;
        self.is_queued.get() || self.is_slow() || is_too_much()
    }

    fn is_slow(&self) -> bool {
        let left = self.slow_until.get().wrapping_sub(self.lanes.rounds.get());
        (1..=SLOW_ROUNDS).contains(&left)
    }

    fn slow_down(&self) {
        self.slow_until.set(self.lanes.rounds.get().wrapping_add(SLOW_ROUNDS));
    }

    /// A request of it begins.
    pub(super) fn expect_answer(&self) {
        if self.lanes.is_shared() && !self.is_queued.get() && !self.is_slow() {
            self.lanes.expected.set((self.number, Expected::Soon));
        }
    }

    /// It is over.
    pub(super) fn expect_no_answer(&self) {
        if self.lanes.expected.get().0 == self.number {
            self.lanes.expected.take();
        }
    }

    /// Does a step of its work.
    // Hot: a few times a request. No look at the clock while it is alone.
    pub(super) fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        // What an origin sends is for a visitor, who shares the worker with nobody by that.
        if matches!(self.of, Of::Source(_))
            && self.lanes.last.replace(Some(self.number)).is_some_and(|last| last != self.number)
        {
            self.lanes.shared.set(SHARED_FOR);
        }
        if !self.lanes.is_shared() {
            return step();
        }
        let start = Instant::now();
        let done = step();
        // One alone is not too much: the system may have run something else meanwhile.
        let time = start.elapsed().min(SOURCE_TIME / 2);
        self.used.add(time);
        self.lanes.used.add(time);
        done
    }

    /// A connection of it waits that did not.
    pub(super) fn queue_up(self: &Rc<Self>, turn: Rc<Turn>) {
        self.waiting.borrow_mut().push_back(turn);
        if !self.is_queued.replace(true) {
            self.lanes.queued.set(self.lanes.queued.get() + 1);
            self.lanes.waiting.borrow_mut().push_back(Rc::clone(self));
            self.lanes.bell.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Its turn, of so long, or the last step of it longer: one connection after the other, each for as long as it has
    /// something to do. Many do little, and a look at what came for each would take as long as that. What takes as long as
    /// a turn by itself has one.
    async fn serve(self: &Rc<Self>, time: Duration) {
        let start = Instant::now();
        let mut spent = Duration::ZERO;
        while spent < time {
            let Some(turn) = self.waiting.borrow_mut().pop_front() else { break };
            let has_to_wait = |spent| spent > Duration::ZERO && turn.is_next_long();
            while spent < time && !has_to_wait(spent) && turn.call_next() {
                others_in_the_queue().await;
                spent = start.elapsed();
            }
            if !turn.still_waits() {
                continue;
            }
            if spent < time && has_to_wait(spent) {
                self.waiting.borrow_mut().push_front(turn);
                break;
            }
            self.waiting.borrow_mut().push_back(turn);
        }
        self.debt.set(spent.saturating_sub(time).min(LANE_DEBT_MAX));
        if !self.waiting.borrow().is_empty() {
            self.slow_down();
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        match &self.of {
            Of::Source(source) => self.lanes.by_source.borrow_mut().remove(source),
            Of::Origins(zone) => self.lanes.by_zone.borrow_mut().remove(zone),
            Of::Newcomers => None,
        };
        // Who comes next is alone.
        if self.lanes.last.get() == Some(self.number) {
            self.lanes.last.set(None);
        }
    }
}

/// Takes what waits across, for ever.
pub(crate) async fn ferry(lanes: Rc<Lanes>) {
    loop {
        poll_fn(|cx| lanes.poll_waiting(cx)).await;
        // Until the worker has looked what came, and has done what is ready; and until there is nothing that is likely to
        // come before a turn is over. However many ask, what waits has its turn then.
        let start = Instant::now();
        loop {
            look().await;
            if !lanes.expects_answer() || start.elapsed() >= HOLD_TIME_MAX {
                break;
            }
        }
        lanes.rounds.set(lanes.rounds.get().wrapping_add(1));
        let Some((lane, time)) = lanes.next() else { continue };
        lane.serve(time).await;
        if lane.waiting.borrow().is_empty() {
            lane.is_queued.set(false);
            lanes.queued.set(lanes.queued.get() - 1);
        } else {
            lanes.waiting.borrow_mut().push_back(lane);
        }
    }
}

/// Returns when the tasks that are ready now have run, without a look at what came.
async fn others_in_the_queue() {
    let mut were_asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut were_asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests;
