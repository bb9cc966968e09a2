//! The time by which keys are exchanged: what the process believes (`base/clock`).
//!
//! All waits are for what resolvers may have kept, so a clock that runs ahead would end them too early. While it is doubted no
//! step is taken and no parent asked; what people do meanwhile is noted by the time that is used. If another time is then
//! believed, what was under way has waited for an unknown time: it waits once more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_clock::{Clock, Reading};
use bartizan_names::Timestamp;
use bartizan_signer::rollover::after;

/// A smaller step of the clock makes no difference to waits, which are hours.
const STEP_MAX: Duration = Duration::from_secs(60);

/// The time since the start, which never goes back.
pub(crate) type Age = Duration;

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Time {
    clock: Clock,
    began: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    believed: Option<(Timestamp, Age)>,
    /// When the time of today began, if it was another one before.
    epoch: Option<Timestamp>,
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    pub(crate) age: Age,
    /// What is older is of another time: waits begin here.
    pub(crate) epoch: Option<Timestamp>,
    pub(crate) trust: Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Believed,
    Doubted,
}

impl Time {
    pub(crate) fn by(clock: Clock) -> Time {
        Time { clock, began: Instant::now(), state: Arc::default() }
    }

    /// For TLS.
    pub(crate) fn teller(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        self.clock.teller()
    }

    pub(crate) fn now(&self) -> Moment {
        // Each reading leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).read(self.clock.read(), self.began.elapsed())
    }
}

impl State {
    fn read(&mut self, reading: Reading, age: Age) -> Moment {
        let at = reading.at();
        let expected = self.believed.map(|(at, then)| after(at, age.saturating_sub(then)));
        let jump = expected.map_or(0, |expected| expected.unix_micros().abs_diff(at.unix_micros()));
        if u128::from(jump) > STEP_MAX.as_micros() {
            self.epoch = Some(at);
        }
        self.believed = Some((at, age));
        let trust = if reading.doubt().is_some() { Trust::Doubted } else { Trust::Believed };
        Moment { at, age, epoch: self.epoch, trust }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_clock::{Belief, EARLIEST, Known, Told};

    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    const RIGHT: u64 = EARLIEST.unix_seconds() + 1_000 * DAY;
    const WRONG: u64 = RIGHT + 9 * DAY + HOUR;

    #[test]
    fn a_clock_that_jumps_ends_no_wait() {
        let second = |second: u64| Timestamp::from_unix_micros(second * 1_000_000);
        let earliest = EARLIEST.unix_seconds();
        // When it is, what the clock says, and what is made of it: the time, whether it is believed, and where waits begin.
        let rows = [
            (0, 1_000, earliest, Trust::Doubted, None),
            (10, RIGHT, RIGHT, Trust::Believed, Some(RIGHT)),
            (20, RIGHT + 10, RIGHT + 10, Trust::Believed, Some(RIGHT)),
            (30, RIGHT + 5, RIGHT + 5, Trust::Believed, Some(RIGHT)),
            (DAY, RIGHT + DAY, RIGHT + DAY, Trust::Believed, Some(RIGHT)),
            (DAY + 1, RIGHT + 9 * DAY, RIGHT + DAY + 1, Trust::Doubted, Some(RIGHT)),
            (DAY + 9, RIGHT + DAY + 9, RIGHT + DAY + 9, Trust::Believed, Some(RIGHT)),
            (2 * DAY, RIGHT + 9 * DAY, RIGHT + 2 * DAY, Trust::Doubted, Some(RIGHT)),
            (2 * DAY + HOUR, WRONG, WRONG, Trust::Believed, Some(WRONG)),
            // It was wrong, and is right again.
            (3 * DAY, RIGHT + 3 * DAY, RIGHT + 3 * DAY, Trust::Believed, Some(RIGHT + 3 * DAY)),
        ];
        let told = |age, wall| Told { wall: second(wall), steady: Duration::from_secs(age) };
        let (mut belief, mut state) = (Belief::begin(Known::default(), told(rows[0].0, rows[0].1)), State::default());
        for (age, wall, at, trust, epoch) in rows {
            let reading = belief.observe(told(age, wall));
            let age = Age::from_secs(age);
            let expect = Moment { at: second(at), age, epoch: epoch.map(second), trust };
            assert_eq!(state.read(reading, age), expect, "{age:?}");
        }
    }
}
