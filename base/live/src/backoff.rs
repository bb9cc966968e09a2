//! How long to wait before the next try.

use std::time::Duration;

/// Waits that double from try to try up to a limit, each drawn from `0..=wait` ("full jitter"), so that many
/// clients that lost the same server do not come back in step.
///
/// Randomness is handed in: `draw` is a number in `0.0..1.0`.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// The first wait is at most `base`, none is longer than `max`.
    pub const fn new(base: Duration, max: Duration) -> Backoff {
        Backoff { base, max, failures: 0 }
    }

    /// The wait after one more failure.
    pub fn next(&mut self, draw: f64) -> Duration {
        let wait = self.base.saturating_mul(1 << self.failures.min(16)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(draw.clamp(0.0, 1.0))
    }

    /// After a success the next failure starts at `base` again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let waits: Vec<u64> = (0..4).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_millis(500));
    }
}
