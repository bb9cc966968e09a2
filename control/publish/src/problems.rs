//! What could not be put in force, and why.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bartizan_names::Timestamp;
use bartizan_observed as observed;
use bartizan_store::Rev;

/// Problems that are told one by one; the others are only counted. Nobody reads more, and whoever damages a million
/// records shall not fill the memory too.
pub const TOLD_MAX: usize = 1_000;

/// An object that cannot be put in force. What it was before stays, if there was anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In the store.
    pub key: Arc<str>,
    pub reason: Arc<str>,
    /// The revision at which it was noticed.
    pub since: Rev,
}

/// All problems there are now.
#[derive(Debug, Default)]
pub struct Problems {
    told: BTreeMap<Arc<str>, Problem>,
    /// Hashes of the keys of those beyond [`TOLD_MAX`].
    rest: HashSet<u64>,
    hasher: RandomState,
}

impl Problems {
    /// The first of them, ascending by key.
    pub fn told(&self) -> impl Iterator<Item = &Problem> {
        self.told.values()
    }

    /// How many there are, those that are not told one by one included.
    pub fn count(&self) -> usize {
        self.told.len() + self.rest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Those that are told, for whoever looks, who notices them at `now`.
    pub fn observed(&self, now: Timestamp) -> Vec<observed::Problem> {
        let shown = |problem: &Problem| observed::Problem {
            what: observed::What::Unit(problem.key.to_string()),
            reason: problem.reason.to_string(),
            since: now,
            remedy: "change or delete the object by the API; what was in force before stays so until then",
        };
        self.told().map(shown).collect()
    }

    /// Notes what a step saw at a key: a problem that goes on keeps the revision at which it was noticed.
    pub(crate) fn note(&mut self, key: Arc<str>, reason: Arc<str>, at: Rev) {
        let known = self.told.get(&key);
        if known.is_none() && self.told.len() >= TOLD_MAX {
            self.rest.insert(self.hasher.hash_one(&key));
            return;
        }
        if known.is_none_or(|known| known.reason != reason) {
            tracing::error!(%key, %reason, "cannot be put in force; what it was before stays so");
        }
        let since = known.map_or(at, |known| known.since);
        self.told.insert(Arc::clone(&key), Problem { key, reason, since });
    }

    /// Notes that there is nothing wrong with a key.
    pub(crate) fn forget(&mut self, key: &str) {
        if self.told.remove(key).is_none() && !self.rest.is_empty() {
            self.rest.remove(&self.hasher.hash_one(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_told_than_people_read_and_all_are_counted() {
        let mut problems = Problems::default();
        let key = |number: usize| -> Arc<str> { format!("{number:05}").into() };
        for number in 0..TOLD_MAX + 5 {
            problems.note(key(number), "damaged".into(), Rev(1));
        }
        assert_eq!((problems.told().count(), problems.count()), (TOLD_MAX, TOLD_MAX + 5));
        problems.note(key(0), "damaged".into(), Rev(2));
        assert_eq!(problems.told().next().unwrap().since, Rev(1));
        for number in 0..TOLD_MAX + 5 {
            problems.forget(&key(number));
            assert_eq!(problems.count(), TOLD_MAX + 4 - number);
        }
        assert!(problems.is_empty());
    }
}
