//! The time that signatures are made for: the wall clock's, unless that jumps back.
//!
//! A clock that is set back for a moment would make signatures that are not valid yet, or have run out, everywhere at
//! once. So a jump back is doubted: the time that was told before goes on, and is counted as told by a wrong clock.
//! Whoever looks after the machine has an hour; then the clock is believed, for it may have been wrong before.

use std::time::Duration;

/// A smaller step back is believed: signatures begin an hour before they are made.
const STEP_MAX: u64 = 1_800;

/// How long a jump back is doubted.
const DOUBT_MAX: Duration = Duration::from_secs(3_600);

#[derive(Debug, Default)]
pub(crate) struct Clock {
    believed: Option<Believed>,
    doubted_since: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Believed {
    wall: u64,
    at: Duration,
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Seconds since 1970.
    Believed(u64),
    /// The clock said less: this is what it would say if it had gone on.
    Doubted(u64),
}

impl Clock {
    /// `wall` is what the clock says, in seconds since 1970, and `now` the time since any moment, which never goes back.
    pub(crate) fn read(&mut self, wall: u64, now: Duration) -> Reading {
        if let Some(Believed { wall: then, at }) = self.believed {
            let expected = then + now.saturating_sub(at).as_secs();
            if wall + STEP_MAX < expected {
                let since = *self.doubted_since.get_or_insert(now);
                if now.saturating_sub(since) < DOUBT_MAX {
                    return Reading::Doubted(expected);
                }
            }
        }
        self.believed = Some(Believed { wall, at: now });
        self.doubted_since = None;
        Reading::Believed(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_of_the_clock() {
        use Reading::{Believed, Doubted};
        let mut clock = Clock::default();
        for (what, after, wall, expect) in [
            ("the beginning", 0, 1_000_000, Believed(1_000_000)),
            ("a second later", 1, 1_000_001, Believed(1_000_001)),
            ("a small step back", 2, 998_300, Believed(998_300)),
            ("a jump ahead", 3, 1_100_000, Believed(1_100_000)),
            ("a jump back", 4, 1_000_000, Doubted(1_100_001)),
            ("still", 1_004, 1_001_000, Doubted(1_101_001)),
            ("back to what it was", 1_005, 1_101_000, Believed(1_101_000)),
            ("another jump back", 1_006, 0, Doubted(1_101_001)),
            ("almost an hour later", 4_605, 3_599, Doubted(1_104_600)),
            ("an hour later", 4_606, 3_600, Believed(3_600)),
            ("and on", 4_607, 3_601, Believed(3_601)),
        ] {
            assert_eq!(clock.read(wall, Duration::from_secs(after)), expect, "{what}");
        }
    }
}
