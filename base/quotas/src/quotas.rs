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

use crate::bucket::{Bucket, Rate};
use crate::source::SourceKey;

const SHARDS: usize = 64;

/// How often a full shard is searched for entries that are not needed any more.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// What an IPv6 site (/48) may have, in allowances of one link (/64): some sites are whole companies.
const SITE_LINKS: u32 = 4;

/// What one source, or one application, may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// At once.
    pub open: u32,
    /// New ones in a second. After a pause at most one second's worth may come at once.
    pub per_second: u32,
    /// Handshakes in progress. Without meaning where there are none.
    pub handshakes: u32,
}

impl Ceiling {
    /// The same with no more at once than this.
    pub fn lower(self, open: usize) -> Ceiling {
        Ceiling { open: self.open.min(u32::try_from(open).unwrap_or(u32::MAX)), ..self }
    }

    fn of_site(self) -> Ceiling {
        let times = |number: u32| number.saturating_mul(SITE_LINKS);
        Ceiling { open: times(self.open), per_second: times(self.per_second), handshakes: times(self.handshakes) }
    }

    fn rate(self) -> Rate {
        Rate { most: self.per_second as f32, per_second: self.per_second as f32 }
    }
}

/// Why there is no permit: the ceiling that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The source or application has as many at once as it may have.
    Open,
    Rate,
    Handshakes,
    /// The table is full of other keys.
    Counted,
    /// The source has as many as are left free for all others.
    Crowded,
    /// The whole share is used, and nothing in it is idle.
    Full,
}

impl Over {
    pub const ALL: [Over; 6] = [Over::Open, Over::Rate, Over::Handshakes, Over::Counted, Over::Crowded, Over::Full];

    /// As a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Over::Open => "source_open",
            Over::Rate => "source_rate",
            Over::Handshakes => "source_handshakes",
            Over::Counted => "sources",
            Over::Crowded => "crowded",
            Over::Full => "full",
        }
    }
}

/// The counts of all keys of one kind. Clones share them.
pub struct Quotas<K>(Arc<Shared<K>>);

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
    /// How many new ones may come.
    allowance: Bucket,
}

/// Counts as one while it lives. Dropping it gives it back.
pub struct Permit<K: Copy + Eq + Hash> {
    quotas: Quotas<K>,
    key: K,
    kind: Kind,
}

/// The permits of a source: of its address or link, and of the site that a link is in.
pub struct SourcePermit {
    _source: Permit<SourceKey>,
    _site: Option<Permit<SourceKey>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Open,
    Handshake,
}

impl<K: Copy + Eq + Hash> Quotas<K> {
    /// Quotas for at most `most` keys in each shard.
    pub fn new(most: usize, now: Instant) -> Quotas<K> {
        let shard = || Mutex::new(Shard { numbers: HashMap::new(), most, tidied: now });
        Quotas(Arc::new(Shared { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new() }))
    }

    /// A permit for one more, if the ceiling allows it.
    // Hot: once a connection or flow. Allocates for the first of a key only.
    pub fn acquire(&self, key: K, ceiling: &Ceiling, now: Instant) -> Result<Permit<K>, Over> {
        let mut shard = self.shard(&key);
        let numbers = shard.numbers_of(key, ceiling, now)?;
        numbers.allowance.refill(ceiling.rate(), now);
        // First, so that whoever could have a place by another's end is not in a hurry.
        if !numbers.allowance.has_one() {
            return Err(Over::Rate);
        }
        if numbers.open >= ceiling.open {
            return Err(Over::Open);
        }
        numbers.allowance.take();
        numbers.open += 1;
        Ok(Permit { quotas: self.clone(), key, kind: Kind::Open })
    }

    /// A permit for the handshake of a connection that has its own permit already.
    pub fn shake_hands(&self, key: K, ceiling: &Ceiling, now: Instant) -> Result<Permit<K>, Over> {
        let mut shard = self.shard(&key);
        let numbers = shard.numbers_of(key, ceiling, now)?;
        if numbers.handshakes >= ceiling.handshakes {
            return Err(Over::Handshakes);
        }
        numbers.handshakes += 1;
        Ok(Permit { quotas: self.clone(), key, kind: Kind::Handshake })
    }

    /// How many of it are open.
    pub fn open(&self, key: K) -> u32 {
        self.shard(&key).numbers.get(&key).map_or(0, |numbers| numbers.open)
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let index = self.0.hasher.hash_one(key) as usize % SHARDS;
        self.0.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Quotas<SourceKey> {
    /// Permits for one more from this address, if the ceiling and `free` allow it: a source may have at most as many
    /// as are left free for all others.
    pub fn admit(&self, from: IpAddr, ceiling: Ceiling, free: usize, now: Instant) -> Result<SourcePermit, Over> {
        let key = SourceKey::from(from);
        let site = key.site().map(|site| self.acquire(site, &ceiling.of_site().lower(free), now)).transpose();
        let permit = site
            .and_then(|site| Ok(SourcePermit { _source: self.acquire(key, &ceiling.lower(free), now)?, _site: site }));
        permit.map_err(|over| match over {
            Over::Open if free == 0 => Over::Full,
            Over::Open if (free as u64) < u64::from(ceiling.open) => Over::Crowded,
            other => other,
        })
    }

    /// The same for the handshake of a connection that was admitted.
    pub fn shake_hands_with(&self, from: IpAddr, ceiling: Ceiling, now: Instant) -> Result<SourcePermit, Over> {
        let key = SourceKey::from(from);
        let site = key.site().map(|site| self.shake_hands(site, &ceiling.of_site(), now)).transpose()?;
        Ok(SourcePermit { _source: self.shake_hands(key, &ceiling, now)?, _site: site })
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
        let fresh = || Numbers { open: 0, handshakes: 0, allowance: Bucket::full(ceiling.rate(), now) };
        Ok(self.numbers.entry(key).or_insert_with(fresh))
    }

    /// Drops entries that are not needed. An error if the shard stays full.
    fn tidy(&mut self, ceiling: &Ceiling, now: Instant) -> Result<(), Over> {
        if now.duration_since(self.tidied) >= TIDY_EVERY {
            self.tidied = now;
            self.numbers.retain(|_, numbers| {
                numbers.allowance.refill(ceiling.rate(), now);
                numbers.open > 0 || numbers.handshakes > 0 || !numbers.allowance.is_full(ceiling.rate())
            });
        }
        if self.numbers.len() < self.most { Ok(()) } else { Err(Over::Counted) }
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

    #[test]
    fn so_many_at_once() {
        let now = Instant::now();
        let quotas = Quotas::new(100, now);
        let mut permits: Vec<_> = (0..3).map(|_| quotas.acquire(1, &CEILING, now).unwrap()).collect();
        assert_eq!(quotas.acquire(1, &CEILING, now).err(), Some(Over::Open));
        assert!(quotas.acquire(2, &CEILING, now).is_ok());
        permits.pop();
        assert!(quotas.acquire(1, &CEILING, now).is_ok());
        assert_eq!((quotas.open(1), quotas.open(2)), (2, 0));
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

    /// The links of one site share what the site may have.
    #[test]
    fn a_site_has_a_ceiling_too() {
        let now = Instant::now();
        let quotas = Quotas::new(100, now);
        let ceiling = Ceiling { open: 2, per_second: 100, handshakes: 1 };
        let from = |link: u32| format!("2001:db8:0:{link:x}::1").parse::<IpAddr>().unwrap();
        let admit = |link| quotas.admit(from(link), ceiling, usize::MAX, now);
        let permits: Vec<_> = (0..8).map(|link| admit(link).unwrap()).collect();
        assert_eq!(admit(9).err(), Some(Over::Open));
        assert!(quotas.admit("2001:db8:1::1".parse().unwrap(), ceiling, usize::MAX, now).is_ok());
        let shaking: Vec<_> = (0..4).map(|link| quotas.shake_hands_with(from(link), ceiling, now).unwrap()).collect();
        assert_eq!(quotas.shake_hands_with(from(9), ceiling, now).err(), Some(Over::Handshakes));
        drop((permits, shaking));
        // What the link refused did not stay counted for the site.
        for link in 0..4 {
            let open: Vec<_> = (0..9).filter_map(|_| admit(link).ok()).collect();
            assert_eq!(open.len(), 2);
        }
        assert_eq!(quotas.open(SourceKey::widest(from(0))), 0);
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
