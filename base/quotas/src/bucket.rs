//! A token bucket: how many may still come now.

use std::time::Instant;

#[derive(Clone, Copy)]
pub(crate) struct Bucket {
    left: f32,
    at: Instant,
}

/// How large a bucket is, and how fast it fills.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) most: f32,
    pub(crate) per_second: f32,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket { left: rate.most, at: now }
    }

    pub(crate) fn refill(&mut self, rate: Rate, now: Instant) {
        let earned = now.duration_since(self.at).as_secs_f32() * rate.per_second;
        self.left = (self.left + earned).min(rate.most);
        debug_assert!((-rate.most..=rate.most).contains(&self.left), "{} of {}", self.left, rate.most);
        self.at = now;
    }

    pub(crate) fn has_one(&self) -> bool {
        self.left >= 1.0
    }

    pub(crate) fn take(&mut self) {
        self.left = (self.left - 1.0).max(0.0);
    }

    pub(crate) fn give_back(&mut self, rate: Rate) {
        self.left = (self.left + 1.0).min(rate.most);
    }

    /// Takes one that is yet to come; as many may be owed as the bucket holds.
    pub(crate) fn owe(&mut self, rate: Rate) {
        self.left = (self.left - 1.0).max(-rate.most);
    }

    pub(crate) fn is_full(&self, rate: Rate) -> bool {
        self.left >= rate.most
    }

    /// Seconds until there is one.
    pub(crate) fn wait(&self, rate: Rate) -> f32 {
        (1.0 - self.left).max(0.0) / rate.per_second
    }
}
