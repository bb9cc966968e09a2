//! How often a source may fail at something: wrong tokens, mostly.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bucket::{Bucket, Rate};
use crate::source::SourceKey;

/// Sources that are remembered. When there are more, those that are not known have failed too often already: whoever
/// comes from so many addresses guesses.
const SOURCES_MAX: usize = 16_384;

/// Each source may fail so often at once, and so often in each period.
pub struct Throttle {
    rate: Rate,
    failed: Mutex<HashMap<SourceKey, Bucket>>,
}

impl Throttle {
    pub fn new(failures: u32, period: Duration) -> Throttle {
        let most = failures.max(1) as f32;
        Throttle { rate: Rate { most, per_second: most / period.as_secs_f32() }, failed: Mutex::default() }
    }

    /// Counts a failure. An error if the source had failed too often before: then how long it should wait.
    pub fn fail(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let key = SourceKey::widest(from);
        if failed.len() >= SOURCES_MAX && !failed.contains_key(&key) {
            failed.retain(|_, bucket| {
                bucket.refill(self.rate, now);
                !bucket.is_full(self.rate)
            });
            if failed.len() >= SOURCES_MAX {
                return Err(Duration::from_secs_f32(1.0 / self.rate.per_second));
            }
        }
        let bucket = failed.entry(key).or_insert_with(|| Bucket::full(self.rate, now));
        bucket.refill(self.rate, now);
        if !bucket.has_one() {
            return Err(Duration::from_secs_f32(bucket.wait(self.rate)));
        }
        bucket.take();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_often_has_to_wait() {
        let start = Instant::now();
        let throttle = Throttle::new(3, Duration::from_secs(60));
        let from = |text: &str| text.parse::<IpAddr>().unwrap();
        // Who, after so many seconds, and how long to wait if refused.
        for (source, after, expect) in [
            ("192.0.2.1", 0, None),
            ("192.0.2.1", 0, None),
            ("192.0.2.1", 0, None),
            ("192.0.2.1", 0, Some(20)),
            ("192.0.2.2", 0, None),
            ("192.0.2.1", 5, Some(15)),
            ("192.0.2.1", 21, None),
            ("192.0.2.1", 21, Some(19)),
            ("192.0.2.1", 500, None),
        ] {
            let wait = throttle.fail(from(source), start + Duration::from_secs(after)).err();
            assert_eq!(wait.map(|wait| wait.as_secs_f32().round() as u64), expect, "{source} after {after} s");
        }
    }

    #[test]
    fn so_many_sources_are_remembered() {
        let start = Instant::now();
        let throttle = Throttle::new(2, Duration::from_secs(60));
        let from = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        assert!((0..SOURCES_MAX).all(|number| throttle.fail(from(number), start).is_ok()));
        assert!(throttle.fail(from(SOURCES_MAX), start).is_err());
        // Those that are known are counted on, and the table is free again when they have been quiet.
        assert!(throttle.fail(from(1), start).is_ok());
        assert!(throttle.fail(from(SOURCES_MAX), start + Duration::from_secs(61)).is_ok());
    }
}
