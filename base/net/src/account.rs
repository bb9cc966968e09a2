//! How long a peer is waited for that is to take something, or to bring it.
//!
//! The time is an account: waiting uses it up, and what was moved buys it back at the least rate that is allowed, up to what
//! it was at first. So one limit ends who stops, and who goes on too slowly however much there is to move; and who is slow
//! and honest is waited for however long that takes.

use std::time::Duration;

/// A tenth of what the slowest mobile networks carry.
pub const LEAST_BYTES_PER_SECOND: u32 = 500;

/// The least that a peer has to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeastRate {
    /// How long it may move nothing.
    pub stall: Duration,
    /// Who moves less than this on average is left when the time of a stall is used up.
    pub bytes_per_second: u32,
}

impl LeastRate {
    /// With the usual rate.
    pub const fn with_stall(stall: Duration) -> LeastRate {
        LeastRate { stall, bytes_per_second: LEAST_BYTES_PER_SECOND }
    }
}

/// The time of a stall that is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account(Duration);

impl Account {
    /// So long nothing was moved.
    pub fn waited(&mut self, time: Duration) {
        self.0 = self.0.saturating_add(time);
    }

    /// So much was.
    pub fn moved(&mut self, bytes: usize, rate: LeastRate) {
        if !self.0.is_zero() {
            let bought = Duration::from_secs_f64(bytes as f64 / f64::from(rate.bytes_per_second.max(1)));
            self.0 = self.0.saturating_sub(bought);
        }
    }

    /// What is left of the time of a stall.
    pub fn left(&self, stall: Duration) -> Duration {
        stall.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits of a second with so many bytes after each, at 100 a second and a stall of ten: how many seconds it lasts, of a
    /// thousand.
    #[test]
    fn what_is_moved_buys_time_back() {
        let rate = LeastRate { stall: Duration::from_secs(10), bytes_per_second: 100 };
        for (bytes, lasts) in [(0, 10), (1, 11), (50, 19), (90, 91), (100, 1_000), (100_000, 1_000)] {
            let mut account = Account::default();
            let mut lasted = 0;
            while lasted < 1_000 {
                lasted += 1;
                account.waited(Duration::from_secs(1));
                if account.left(rate.stall).is_zero() {
                    break;
                }
                account.moved(bytes, rate);
            }
            assert_eq!(lasted, lasts, "{bytes} bytes");
        }
    }

    /// However much came before, nobody has more than the time of a stall.
    #[test]
    fn nothing_is_saved_up() {
        let rate = LeastRate::with_stall(Duration::from_secs(10));
        let mut account = Account::default();
        account.waited(Duration::from_secs(5));
        account.moved(usize::MAX, rate);
        assert_eq!(account.left(rate.stall), rate.stall);
        account.waited(Duration::MAX);
        account.waited(Duration::MAX);
        assert_eq!(account.left(rate.stall), Duration::ZERO);
    }
}
