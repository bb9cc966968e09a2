//! Moments as numbers, for atomics.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long after the first call this is. Moments before that are the same as it.
pub(crate) fn since_start(now: Instant) -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*START.get_or_init(|| now))
}
