//! How often a source may do something: fail, and then it is refused (wrong tokens, mostly); or come, and then it waits.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bucket::{Bucket, Rate};
use crate::source::SourceKey;

/// Sources that are remembered. When there are more, those that are not known are taken for one that was there too often:
/// whoever comes from so many addresses guesses.
const SOURCES_MAX: usize = 16_384;

/// Each source may do it so often at once, and so often in each period. What a source is, is the key's matter: mostly a
/// network, or a network together with whom it asks for.
pub struct Throttle<K = SourceKey> {
    rate: Rate,
    sources: Mutex<HashMap<K, Bucket>>,
}

impl<K: Copy + Eq + Hash> Throttle<K> {
    pub fn new(times: u32, period: Duration) -> Throttle<K> {
        let most = times.max(1) as f32;
        Throttle { rate: Rate { most, per_second: most / period.as_secs_f32() }, sources: Mutex::default() }
    }

    /// Counts a try. An error if there were too many before: then how long to wait.
    pub fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let counted = self.with(key, now, |bucket| {
            if !bucket.has_one() {
                return Err(Duration::from_secs_f32(bucket.wait(self.rate)));
            }
            bucket.take();
            Ok(())
        });
        counted.unwrap_or(Err(self.one()))
    }

    /// A try that was counted does not count: it went well.
    pub fn give_back(&self, key: K, now: Instant) {
        self.with(key, now, |bucket| bucket.give_back(self.rate));
    }

    /// Whether there were too many tries before.
    pub fn is_over(&self, key: K, now: Instant) -> bool {
        self.with(key, now, |bucket| !bucket.has_one()).unwrap_or(true)
    }

    /// Whether it did not come lately.
    pub fn is_new(&self, key: &K, now: Instant) -> bool {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get_mut(key).is_none_or(|bucket| {
            bucket.refill(self.rate, now);
            bucket.is_full(self.rate)
        })
    }

    /// The bucket of a source; none where the table is full of others.
    fn with<T>(&self, key: K, now: Instant, count: impl FnOnce(&mut Bucket) -> T) -> Option<T> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&key) {
            sources.retain(|_, bucket| {
                bucket.refill(self.rate, now);
                !bucket.is_full(self.rate)
            });
            if sources.len() >= SOURCES_MAX {
                return None;
            }
        }
        let bucket = sources.entry(key).or_insert_with(|| Bucket::full(self.rate, now));
        bucket.refill(self.rate, now);
        Some(count(bucket))
    }

    fn one(&self) -> Duration {
        Duration::from_secs_f32(1.0 / self.rate.per_second)
    }
}

impl Throttle {
    /// Counts a failure. An error if the source had failed too often before: then how long it should wait.
    pub fn fail(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        self.take(SourceKey::widest(from), now)
    }

    /// A turn for one more, which comes in its time and is not refused: how long it has to wait. That is about a period at
    /// most, however many came before.
    pub fn turn(&self, from: IpAddr, now: Instant) -> Duration {
        let waits = self.with(SourceKey::widest(from), now, |bucket| {
            let wait = bucket.wait(self.rate);
            bucket.owe(self.rate);
            Duration::from_secs_f32(wait)
        });
        waits.unwrap_or(self.one())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_often_has_to_wait() {
        let start = Instant::now();
        let throttle: Throttle = Throttle::new(3, Duration::from_secs(60));
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
    fn what_goes_well_does_not_count() {
        let now = Instant::now();
        let throttle: Throttle<(u8, u8)> = Throttle::new(2, Duration::from_secs(60));
        for _ in 0..9 {
            assert_eq!(throttle.take((1, 1), now), Ok(()));
            throttle.give_back((1, 1), now);
        }
        throttle.give_back((1, 1), now);
        assert!((0..2).all(|_| throttle.take((1, 1), now).is_ok()) && throttle.take((1, 1), now).is_err());
        assert_eq!((throttle.is_over((1, 1), now), throttle.is_over((1, 2), now)), (true, false));
        let later = now + Duration::from_secs(61);
        let is_new =
            [((1, 1), now), ((1, 2), now), ((1, 3), now), ((1, 1), later)].map(|(key, at)| throttle.is_new(&key, at));
        assert_eq!(is_new, [false, true, true, true]);
    }

    #[test]
    fn who_comes_often_takes_turns() {
        let start = Instant::now();
        let throttle: Throttle = Throttle::new(4, Duration::from_secs(1));
        let from = |text: &str| text.parse::<IpAddr>().unwrap();
        // Who, after so many milliseconds, how many come, and how long they wait.
        for (source, after, waits) in [
            ("192.0.2.1", 0, &[0, 0, 0, 0, 250, 500, 750][..]),
            ("192.0.2.2", 0, &[0]),
            ("192.0.2.1", 500, &[500, 750]),
            // No longer than a period and one.
            ("192.0.2.1", 500, &[1_000, 1_250, 1_250, 1_250]),
            ("192.0.2.1", 9_000, &[0, 0, 0, 0, 250]),
        ] {
            let now = start + Duration::from_millis(after);
            for wait in waits {
                let waited = throttle.turn(from(source), now).as_millis();
                assert!(waited.abs_diff(*wait) <= 1, "{source} after {after} ms: {waited} and not {wait}");
            }
        }
    }

    #[test]
    fn so_many_sources_are_remembered() {
        let start = Instant::now();
        let throttle: Throttle = Throttle::new(2, Duration::from_secs(60));
        let from = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        assert!((0..SOURCES_MAX).all(|number| throttle.fail(from(number), start).is_ok()));
        assert!(throttle.fail(from(SOURCES_MAX), start).is_err());
        // Those that are known are counted on, and the table is free again when they have been quiet.
        assert!(throttle.fail(from(1), start).is_ok());
        assert!(throttle.fail(from(SOURCES_MAX), start + Duration::from_secs(61)).is_ok());
    }
}
