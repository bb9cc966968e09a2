//! A map that shares its parts with its earlier versions.
//!
//! ```text
//! key ── hash with a seed ──► first 12 bits: one of 4,096 parts ──► whole hash: an entry of it, found by bisection
//! ```
//! A change in a map that others hold copies one part, some hundred entries in a map of a million; one in a map that
//! nobody else holds copies nothing, so that a large one is filled in linear time.

use std::borrow::Borrow;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};

use crate::Shards;

/// A full part grows by this fraction of itself. A vector would double, and tables of a million entries that are filled
/// once would keep a third of their memory for nothing.
const GROWTH_DIVISOR: usize = 4;

/// A map that is cheap to clone, and where neither of two clones sees what happens to the other.
///
/// The seed should be secret where users choose the keys: it keeps them from making up keys that all meet in one part.
/// Whatever the seed, equal contents answer alike; only the order of [`PersistentMap::iter`] depends on it.
#[derive(Clone, Debug)]
pub struct PersistentMap<K, V> {
    /// Each part ascending by hash.
    shards: Shards<Entry<K, V>>,
    len: usize,
    seed: Seed,
}

#[derive(Clone, Debug)]
struct Entry<K, V> {
    hash: u64,
    key: K,
    value: V,
}

/// Begins every hash with a number of ours.
#[derive(Clone, Copy)]
struct Seed(u64);

impl<K, V> PersistentMap<K, V> {
    pub fn with_seed(seed: u64) -> PersistentMap<K, V> {
        PersistentMap { shards: Shards::empty(), len: 0, seed: Seed(seed) }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().map(|entry| (&entry.key, &entry.value))
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether both are one value, which costs no look at the entries. Equal entries may still be two values.
    pub fn is_same(&self, other: &PersistentMap<K, V>) -> bool {
        self.shards.is_same(&other.shards)
    }
}

impl<K, V> Default for PersistentMap<K, V> {
    /// With a seed that everybody knows: for keys that no user chooses, such as ids.
    fn default() -> PersistentMap<K, V> {
        PersistentMap::with_seed(0)
    }
}

impl<K: Clone + Eq + Hash, V: Clone> FromIterator<(K, V)> for PersistentMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> PersistentMap<K, V> {
        let mut map = PersistentMap::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K: Eq + Hash, V> PersistentMap<K, V> {
    // Hot in most tables. No allocation.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.seed.hash_one(key);
        let part = self.shards.part(start(hash));
        position(part, hash, key).ok().map(|at| &part[at].value)
    }

    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }
}

impl<K: Clone + Eq + Hash, V: Clone> PersistentMap<K, V> {
    /// Gives the value that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.seed.hash_one(&key);
        let part = self.shards.part_mut(start(hash));
        match position(part, hash, &key) {
            Ok(at) => Some(std::mem::replace(&mut part[at].value, value)),
            Err(at) => {
                if part.len() == part.capacity() {
                    part.reserve_exact(part.len() / GROWTH_DIVISOR + 1);
                }
                part.insert(at, Entry { hash, key, value });
                self.len += 1;
                None
            }
        }
    }

    /// Gives the value that was there. Nothing is copied if none was.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let hash = self.seed.hash_one(key);
        let at = position(self.shards.part(start(hash)), hash, key).ok()?;
        self.len -= 1;
        Some(self.shards.part_mut(start(hash)).remove(at).value)
    }
}

impl BuildHasher for Seed {
    type Hasher = DefaultHasher;

    /// SipHash with the library's fixed key, and the seed as its first word.
    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

/// What chooses the part.
fn start(hash: u64) -> u16 {
    (hash >> 48) as u16
}

/// Where the entry of a key is, or where it belongs.
fn position<K: Borrow<Q>, V, Q: Eq + ?Sized>(part: &[Entry<K, V>], hash: u64, key: &Q) -> Result<usize, usize> {
    let first = part.partition_point(|entry| entry.hash < hash);
    let same = part[first..].iter().take_while(|entry| entry.hash == hash);
    for (offset, entry) in same.enumerate() {
        if entry.key.borrow() == key {
            return Ok(first + offset);
        }
    }
    Err(first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Hashes like all others: so entries of one hash are told apart by their keys.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Alike(u8);

    impl Hash for Alike {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write_u8(self.0 % 3);
        }
    }

    fn contents(map: &PersistentMap<Alike, u32>) -> BTreeMap<Alike, u32> {
        map.iter().map(|(key, value)| (key.clone(), *value)).collect()
    }

    proptest! {
        /// A history of changes, and all versions of it: each is what a plain map was at that moment.
        #[test]
        fn every_version_agrees_with_a_map(
            steps in prop::collection::vec((any::<u8>(), prop::option::of(any::<u32>())), 0..40),
            seed: u64,
        ) {
            let mut model = BTreeMap::new();
            let mut map = PersistentMap::with_seed(seed);
            let mut versions = Vec::new();
            for (key, value) in steps {
                versions.push((map.clone(), model.clone()));
                let key = Alike(key % 12);
                let (was, expect) = match value {
                    Some(value) => (map.insert(key.clone(), value), model.insert(key.clone(), value)),
                    None => (map.remove(&key), model.remove(&key)),
                };
                prop_assert_eq!(was, expect);
                prop_assert_eq!(map.get(&key), model.get(&key));
            }
            versions.push((map, model));
            for (map, model) in versions {
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.is_empty(), model.is_empty());
                prop_assert_eq!(contents(&map), model);
            }
        }
    }

    #[test]
    fn what_changes_nothing_copies_nothing() {
        let mut map = PersistentMap::with_seed(1);
        map.insert("a".to_owned(), 1);
        let before = map.clone();
        assert_eq!((map.remove("b"), map.is_same(&before)), (None, true));
        assert_eq!((map.remove("a"), map.is_same(&before)), (Some(1), false));
        assert_eq!((before.get("a"), map.get("a")), (Some(&1), None));
        assert!(before.contains_key("a") && before.keys().eq(["a"]) && before.values().eq([&1]));
    }

    /// Keys made to meet in one part of a table do not meet in that of another edge.
    #[test]
    fn the_seed_chooses_the_part() {
        let part_of = |seed: u64, key: u32| start(Seed(seed).hash_one(key)) >> 4;
        let aimed: Vec<u32> = (0..200_000).filter(|key| part_of(1, *key) == 0).collect();
        assert!(aimed.len() > 20);
        let hit = aimed.iter().filter(|key| part_of(2, **key) == 0).count();
        assert!(hit < 3, "{hit} of {}", aimed.len());
    }
}
