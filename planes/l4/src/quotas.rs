//! How much each source and each application uses: connections at once, new ones a second, handshakes in progress.
//!
//! All workers share them, since the connections of a source come to all of them. One of 64 shards is locked for the
//! arithmetic of one entry; nothing waits while it is held. Memory is bounded: an entry stays while something of it is
//! open or its last second still counts, and a full shard refuses new sources.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::Ceiling;

const SHARDS: usize = 64;

/// How often a full shard is searched for entries that are not needed any more.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// What a source is counted by: an IPv4 address, or the first 64 bits of an IPv6 one (one site, RFC 6177 §2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SourceKey {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for SourceKey {
    fn from(address: IpAddr) -> SourceKey {
        match address.to_canonical() {
            IpAddr::V4(address) => SourceKey::V4(address.to_bits()),
            IpAddr::V6(address) => SourceKey::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// Why there is no permit: the ceiling that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Open,
    Rate,
    Handshakes,
    /// The table is full of other keys.
    Counted,
}

/// The counts of all keys of one kind. Clones share them.
pub(crate) struct Quotas<K>(Arc<Shared<K>>);

struct Shared<K> {
    shards: Box<[Mutex<Shard<K>>]>,
    hasher: RandomState,
}

struct Shard<K> {
    numbers: HashMap<K, Numbers>,
    most: usize,
    tidied: Instant,
}

#[derive(Clone, Copy)]
struct Numbers {
    open: u32,
    handshakes: u32,
    /// How many new ones could come at once at the time `at`: a token bucket.
    allowance: f32,
    at: Instant,
}

/// Counts as one while it lives. Dropping it gives it back.
pub(crate) struct Permit<K: Copy + Eq + Hash> {
    quotas: Quotas<K>,
    key: K,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Open,
    Handshake,
}

impl<K: Copy + Eq + Hash> Quotas<K> {
    /// Quotas for at most `most` keys in each shard.
    pub(crate) fn new(most: usize, now: Instant) -> Quotas<K> {
        let shard = || Mutex::new(Shard { numbers: HashMap::new(), most, tidied: now });
        Quotas(Arc::new(Shared { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new() }))
    }

    /// A permit for one more, if the ceiling allows it.
    // Hot: once a connection or flow. Allocates for the first of a key only.
    pub(crate) fn acquire(&self, key: K, ceiling: &Ceiling, now: Instant) -> Result<Permit<K>, Over> {
        let mut shard = self.shard(&key);
        let numbers = shard.numbers_of(key, ceiling, now)?;
        if numbers.open >= ceiling.open {
            return Err(Over::Open);
        }
        numbers.refill(ceiling, now);
        if numbers.allowance < 1.0 {
            return Err(Over::Rate);
        }
        numbers.allowance -= 1.0;
        numbers.open += 1;
        Ok(Permit { quotas: self.clone(), key, kind: Kind::Open })
    }

    /// A permit for the handshake of a connection that has its own permit already.
    pub(crate) fn shake_hands(&self, key: K, ceiling: &Ceiling, now: Instant) -> Result<Permit<K>, Over> {
        let mut shard = self.shard(&key);
        let numbers = shard.numbers_of(key, ceiling, now)?;
        if numbers.handshakes >= ceiling.handshakes {
            return Err(Over::Handshakes);
        }
        numbers.handshakes += 1;
        Ok(Permit { quotas: self.clone(), key, kind: Kind::Handshake })
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let index = self.0.hasher.hash_one(key) as usize % SHARDS;
        self.0.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for Quotas<K> {
    fn clone(&self) -> Quotas<K> {
        Quotas(Arc::clone(&self.0))
    }
}

impl<K: Copy + Eq + Hash> Shard<K> {
    fn numbers_of(&mut self, key: K, ceiling: &Ceiling, now: Instant) -> Result<&mut Numbers, Over> {
        if self.numbers.len() >= self.most && !self.numbers.contains_key(&key) {
            self.tidy(ceiling, now)?;
        }
        let fresh = || Numbers { open: 0, handshakes: 0, allowance: ceiling.per_second as f32, at: now };
        Ok(self.numbers.entry(key).or_insert_with(fresh))
    }

    /// Drops entries that are not needed. An error if the shard stays full.
    fn tidy(&mut self, ceiling: &Ceiling, now: Instant) -> Result<(), Over> {
        if now.duration_since(self.tidied) >= TIDY_EVERY {
            self.tidied = now;
            self.numbers.retain(|_, numbers| {
                numbers.refill(ceiling, now);
                numbers.open > 0 || numbers.handshakes > 0 || numbers.allowance < ceiling.per_second as f32
            });
        }
        if self.numbers.len() < self.most { Ok(()) } else { Err(Over::Counted) }
    }
}

impl Numbers {
    fn refill(&mut self, ceiling: &Ceiling, now: Instant) {
        let most = ceiling.per_second as f32;
        let earned = now.duration_since(self.at).as_secs_f32() * most;
        self.allowance = (self.allowance + earned).min(most);
        debug_assert!((0.0..=most).contains(&self.allowance), "{} of {most}", self.allowance);
        self.at = now;
    }
}

impl<K: Copy + Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut shard = self.quotas.shard(&self.key);
        // An entry stays as long as permits of it are out.
        let Entry::Occupied(mut entry) = shard.numbers.entry(self.key) else { return };
        let numbers = entry.get_mut();
        let count = match self.kind {
            Kind::Open => &mut numbers.open,
            Kind::Handshake => &mut numbers.handshakes,
        };
        debug_assert!(*count > 0, "each permit was counted");
        *count = count.saturating_sub(1);
        // The entry itself stays, for its allowance; the next search of a full shard drops it.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: Ceiling = Ceiling { open: 3, per_second: 5, handshakes: 2 };

    fn source(address: &str) -> SourceKey {
        SourceKey::from(address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn sources_are_addresses_or_networks() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("0.0.0.1", "::1", false),
        ] {
            assert_eq!(source(one) == source(other), same, "{one} {other}");
        }
    }

    #[test]
    fn so_many_at_once() {
        let now = Instant::now();
        let quotas = Quotas::new(100, now);
        let mut permits: Vec<_> = (0..3).map(|_| quotas.acquire(1, &CEILING, now).unwrap()).collect();
        assert_eq!(quotas.acquire(1, &CEILING, now).err(), Some(Over::Open));
        assert!(quotas.acquire(2, &CEILING, now).is_ok());
        permits.pop();
        assert!(quotas.acquire(1, &CEILING, now).is_ok());
        let shaking: Vec<_> = (0..2).map(|_| quotas.shake_hands(1, &CEILING, now).unwrap()).collect();
        assert_eq!(quotas.shake_hands(1, &CEILING, now).err(), Some(Over::Handshakes));
        drop(shaking);
        assert!(quotas.shake_hands(1, &CEILING, now).is_ok());
    }

    #[test]
    fn so_many_a_second() {
        let start = Instant::now();
        let quotas = Quotas::new(100, start);
        // After so many milliseconds: so many are tried, so many are let in.
        for (after, tried, expect) in [(0, 7, 5), (100, 1, 0), (200, 2, 1), (1_000, 9, 4), (60_000, 9, 5)] {
            let now = start + Duration::from_millis(after);
            let entered = (0..tried).filter(|_| quotas.acquire(1, &CEILING, now).is_ok()).count();
            assert_eq!(entered, expect, "after {after} ms");
        }
        assert_eq!(quotas.acquire(1, &CEILING, start).err(), Some(Over::Rate));
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let start = Instant::now();
        let most = 16;
        let quotas: Quotas<usize> = Quotas::new(most, start);
        let ceiling = Ceiling { open: 1, per_second: 1, handshakes: 0 };
        // No shard is empty with so many keys, and none takes more than its share.
        let all = SHARDS * most;
        let refused = (0..4 * all).filter(|key| quotas.acquire(*key, &ceiling, start).is_err()).count();
        let counted = || -> usize { quotas.0.shards.iter().map(|shard| shard.lock().unwrap().numbers.len()).sum() };
        assert!(refused > 0 && counted() == all);
        // Entries that are not needed any more make room.
        let later = start + 2 * TIDY_EVERY;
        let permits: Vec<_> = (9 * all..9 * all + SHARDS).map(|key| quotas.acquire(key, &ceiling, later)).collect();
        assert!(permits.iter().all(Result::is_ok));
        assert!(counted() < all);
    }
}
