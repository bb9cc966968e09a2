//! The time that signatures are made for: the wall clock's, unless that jumps.
//!
//! A clock that is set wrong for a moment would make signatures that are not valid yet, or have run out, everywhere at
//! once. So a jump, either way, is doubted: the time that was told before goes on, and is counted as told by a wrong clock.
//! Whoever looks after the machine has an hour; then the clock is believed, for it may have been wrong before. Nothing is
//! lost if it was set right, or the machine slept for a night: what is signed in that hour is valid for two days.
//!
//! A clock that is not set yet when the worker begins is believed as soon as it is.

use std::time::Duration;

/// A smaller step is believed: signatures begin an hour before they are made.
const STEP_MAX: u64 = 1_800;

/// How long a jump is doubted.
const DOUBT_MAX: Duration = Duration::from_secs(3_600);

/// How long a clock may need at the beginning until it is set: NTP waits for the network.
const SETTLING: Duration = Duration::from_secs(600);

/// A machine that was switched off for less may go on with the time at which it was.
const YEAR: u64 = 31_557_600;

/// The beginning of 2026, in seconds since 1970: a clock that says less is not set, for this was not written yet.
pub const EARLIEST: u64 = 1_767_225_600;

/// What a wall clock is believed.
#[derive(Debug, Default)]
pub struct Clock {
    began: Option<Duration>,
    believed: Option<Mark>,
    /// What was believed before the last jump that was: if the clock says that again, the jump was the fault.
    before: Option<Mark>,
    /// The first that was told of the time that is doubted.
    doubted: Option<Mark>,
}

/// What a clock told, and when.
#[derive(Clone, Copy, Debug)]
struct Mark {
    wall: u64,
    at: Duration,
}

impl Mark {
    /// What the clock says at `now` if it goes on.
    fn wall_at(self, now: Duration) -> u64 {
        self.wall.saturating_add(now.saturating_sub(self.at).as_secs())
    }

    fn leads_to(self, later: Mark) -> bool {
        self.wall_at(later.at).abs_diff(later.wall) <= STEP_MAX
    }
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Seconds since 1970.
    Believed(u64),
    /// The clock said something else: this is what it would say if it had gone on.
    Doubted(u64),
}

impl Clock {
    /// `wall` is what the clock says, in seconds since 1970, and `now` the time since any moment, which never goes back.
    pub fn read(&mut self, wall: u64, now: Duration) -> Reading {
        let told = Mark { wall, at: now };
        let began = *self.began.get_or_insert(now);
        if let Some(last) = self.believed.filter(|last| !last.leads_to(told)) {
            let expected = last.wall_at(now);
            if self.before.is_some_and(|before| before.leads_to(told)) {
                self.before = None;
            } else if was_not_set(expected, wall, now.saturating_sub(began)) || self.is_doubt_over(told) {
                self.before = Some(last);
            } else {
                return Reading::Doubted(expected);
            }
        }
        self.believed = Some(told);
        self.doubted = None;
        Reading::Believed(wall)
    }

    /// Whether the clock has said so for long enough. One that jumps about is believed nothing.
    fn is_doubt_over(&mut self, told: Mark) -> bool {
        let since = *self.doubted.get_or_insert(told);
        if !since.leads_to(told) {
            self.doubted = Some(told);
            return false;
        }
        told.at.saturating_sub(since.at) >= DOUBT_MAX
    }
}

/// Whether a jump sets a clock that was not set before.
fn was_not_set(expected: u64, wall: u64, age: Duration) -> bool {
    let is_ahead = wall > expected;
    let is_likely = wall >= EARLIEST && wall < expected.saturating_add(YEAR);
    (is_ahead && expected < EARLIEST) || (age < SETTLING && is_likely)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;

    /// Any time at which a clock may be.
    const RIGHT: u64 = EARLIEST + 1_000 * DAY;

    /// What is wrong with the clock, in seconds, when it is read; and with the reading, and whether that is doubted.
    type Row = (u64, i64, i64, bool);

    const TEN_YEARS: i64 = 10 * YEAR as i64;

    #[test]
    fn jumps_of_the_clock() {
        let settled = (0, 0, 0, false);
        let (hour, day) = (HOUR as i64, DAY as i64);
        let unset = -(RIGHT as i64);
        let tables: [(&str, &[Row]); 11] = [
            (
                "ahead for ten seconds",
                &[
                    settled,
                    (DAY, 0, 0, false),
                    (DAY + 1, TEN_YEARS, 0, true),
                    (DAY + 10, TEN_YEARS, 0, true),
                    (DAY + 11, 0, 0, false),
                ],
            ),
            ("ahead for ten seconds, at the beginning", &[settled, (1, TEN_YEARS, 0, true), (11, 0, 0, false)]),
            (
                "ahead until it is believed, and back",
                &[
                    settled,
                    (DAY, 2 * day, 0, true),
                    (DAY + HOUR - 1, 2 * day, 0, true),
                    (DAY + HOUR, 2 * day, 2 * day, false),
                    (3 * DAY, 2 * day, 2 * day, false),
                    (3 * DAY + 1, 0, 0, false),
                    // It was found wrong before.
                    (3 * DAY + 2, 2 * day, 0, true),
                    (3 * DAY + 3, 0, 0, false),
                ],
            ),
            ("back and ahead", &[settled, (DAY, -day, 0, true), (DAY + 5, -day, 0, true), (DAY + 6, 0, 0, false)]),
            (
                "back for good",
                &[settled, (DAY, -day, 0, true), (DAY + HOUR, -day, -day, false), (DAY + HOUR + 1, -day, -day, false)],
            ),
            (
                "jumping about",
                &[
                    settled,
                    (DAY, day, 0, true),
                    (DAY + HOUR, -day, 0, true),
                    (DAY + 2 * HOUR - 1, -day, 0, true),
                    (DAY + 2 * HOUR, -day, -day, false),
                ],
            ),
            (
                "behind at the beginning, then set right; a fault later",
                &[
                    (0, -30 * day, -30 * day, false),
                    (9, -30 * day, -30 * day, false),
                    (10, 0, 0, false),
                    (11, 0, 0, false),
                    (DAY, TEN_YEARS, 0, true),
                    (DAY + 1, 0, 0, false),
                ],
            ),
            ("not set for a day", &[(0, unset, unset, false), (DAY, unset, unset, false), (DAY + 1, 0, 0, false)]),
            (
                "ahead at the beginning, then set right",
                &[(0, TEN_YEARS, TEN_YEARS, false), (10, 0, 0, false), (11, 0, 0, false), (12, unset, 0, true)],
            ),
            (
                "small steps and slow drift",
                &[
                    settled,
                    (DAY, 1_700, 1_700, false),
                    (DAY + 1, 0, 0, false),
                    (2 * DAY, -1_700, -1_700, false),
                    (3 * DAY, -3_400, -3_400, false),
                    (4 * DAY, -5_100, -5_100, false),
                ],
            ),
            (
                // The time since any moment stands still meanwhile.
                "a night's sleep",
                &[
                    settled,
                    (DAY, 8 * hour, 0, true),
                    (DAY + HOUR - 1, 8 * hour, 0, true),
                    (DAY + HOUR, 8 * hour, 8 * hour, false),
                    (2 * DAY, 8 * hour, 8 * hour, false),
                ],
            ),
        ];
        for (what, rows) in tables {
            let mut clock = Clock::default();
            for (after, wrong, reading, is_doubted) in rows {
                let at = |wrong: i64| (RIGHT + after).saturating_add_signed(wrong);
                let expect = if *is_doubted { Reading::Doubted } else { Reading::Believed }(at(*reading));
                assert_eq!(clock.read(at(*wrong), Duration::from_secs(*after)), expect, "{what}: {after}");
            }
        }
    }
}
