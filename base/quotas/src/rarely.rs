//! Lines in the log that strangers can cause: one a minute, with a count.
//!
//! ```text
//! static REFUSED: Rarely = Rarely::new();
//! if let Some(times) = REFUSED.turn() {
//!     tracing::warn!(times, "refused a connector");
//! }
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock::since_start;

const PAUSE: Duration = Duration::from_secs(60);

/// One place in the code that may log a line now.
#[derive(Debug)]
pub struct Rarely {
    /// Milliseconds since the first look at the clock.
    next: AtomicU64,
    /// How often it happened since the last line.
    times: AtomicU64,
}

impl Rarely {
    pub const fn new() -> Rarely {
        Rarely { next: AtomicU64::new(0), times: AtomicU64::new(0) }
    }

    /// It has happened. If it is time for a line: how often since the last one.
    pub fn turn(&self) -> Option<u64> {
        self.turn_at(since_start(Instant::now()))
    }

    fn turn_at(&self, now: Duration) -> Option<u64> {
        self.times.fetch_add(1, Ordering::Relaxed);
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, next) = (milliseconds(now), milliseconds(now + PAUSE));
        let due = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| (due <= now).then_some(next));
        due.ok().map(|_| self.times.swap(0, Ordering::Relaxed))
    }
}

impl Default for Rarely {
    fn default() -> Rarely {
        Rarely::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute() {
        let rarely = Rarely::new();
        let lines = |seconds| rarely.turn_at(Duration::from_secs(seconds));
        let got: Vec<Option<u64>> = [0, 1, 2, 59, 60, 61, 300].into_iter().map(lines).collect();
        assert_eq!(got, [Some(1), None, None, None, Some(4), None, Some(2)]);
    }
}
