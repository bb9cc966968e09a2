//! In which state a connection is, and when that has lasted too long.

use std::sync::{Mutex, PoisonError};

use bartizan_quotas::Place;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Times;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A head is expected, or has begun.
    Head,
    /// A request is read and answered.
    Exchange,
    /// Its answer is composed, but perhaps not written to its end.
    Written,
    Idle,
}

pub(super) struct Clock {
    now: Mutex<(State, Instant)>,
    changed: Notify,
    times: Times,
    place: Place,
}

impl Clock {
    /// Begins with the wait for the first head.
    pub(super) fn start(times: Times, place: Place) -> Clock {
        Clock { now: Mutex::new((State::Head, Instant::now() + times.head)), changed: Notify::new(), times, place }
    }

    /// A byte has come. A head that only grows gets no more time.
    pub(super) fn read(&self) {
        self.turn(|state| (state == State::Idle).then_some(State::Head));
    }

    /// A head is complete.
    pub(super) fn begin(&self) {
        self.turn(|_| Some(State::Exchange));
    }

    /// The request is still being read, worked on, or answered: it has as much time again.
    pub(super) fn renew(&self) {
        let mut current = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == State::Exchange {
            current.1 = Instant::now() + self.times.exchange;
            drop(current);
            self.changed.notify_one();
        }
    }

    /// The library has taken the last of the answer.
    pub(super) fn answered(&self) {
        self.turn(|state| (state == State::Exchange).then_some(State::Written));
    }

    /// All that the library had was written.
    pub(super) fn flushed(&self) {
        self.turn(|state| (state == State::Written).then_some(State::Idle));
    }

    fn turn(&self, next: impl FnOnce(State) -> Option<State>) {
        let mut current = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = next(current.0) else { return };
        let now = Instant::now();
        let due = match next {
            State::Head => now + self.times.head,
            State::Exchange => now + self.times.exchange,
            State::Written => current.1,
            State::Idle => now + self.times.idle,
        };
        *current = (next, due);
        drop(current);
        match next {
            State::Exchange => self.place.work(),
            State::Idle => self.place.rest(now.into_std()),
            State::Head | State::Written => {}
        }
        self.changed.notify_one();
    }

    /// Returns when a state has lasted too long, and which.
    pub(super) async fn overdue(&self) -> State {
        loop {
            let (state, due) = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(due) => return state,
            }
        }
    }

    /// Returns when the place is needed for another, while it rests.
    pub(super) async fn displaced(&self) {
        self.place.displaced().await;
    }
}
