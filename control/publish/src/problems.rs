//! Objects with which something is wrong, and what.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bartizan_names::Timestamp;
use bartizan_observed::{NAMED_MAX, Problem, ProblemKind, What};
use bartizan_store::{Key, Kind};

/// What a person can do about what is not in force.
const REMEDY: &str = "change or delete the object by the API; what was in force before stays so until then";

/// The same for a zone. Of one that is lost only its name may be left: it cannot be changed, and no other can take the name.
const ZONE_REMEDY: &str = "restore a backup, or delete the zone by its id (DELETE /zones/{id}), which works also for one \
                           that is lost, and make it anew; what was in force before stays so until then";

/// About a document that the API cannot read.
const DOCUMENT_REMEDY: &str = "delete the object by the API, and make it anew; if a newer version wrote it, run that one; if \
                               it was damaged, `bartizan doctor --rebuild`, while the edge is stopped, takes it from the \
                               change log if it is there, or restore a backup";

/// The same for an object that no call of the API deletes.
const KEPT_REMEDY: &str = "if a newer version wrote it, run that one; if it was damaged, `bartizan doctor --rebuild`, while \
                           the edge is stopped, takes it from the change log if it is there, or restore a backup; until \
                           then nobody can use it";

/// Which objects a list is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum About {
    /// What cannot be put in force now. What each was before stays, if there was anything.
    #[default]
    Unit,
    /// What the API cannot read, and is in force if a plane uses it.
    Document,
}

/// A list of objects with which something is wrong.
///
/// Nothing is logged here: whoever puts [`Problems::observed`] up is told there what is news.
#[derive(Debug, Default)]
pub struct Problems {
    about: About,
    /// Why, by the key in the store. Nobody reads more of them, and a million damaged records must not fill the memory
    /// too.
    told: BTreeMap<Arc<str>, Arc<str>>,
    /// Hashes of the keys of those beyond [`NAMED_MAX`].
    rest: HashSet<u64>,
    hasher: RandomState,
}

impl Problems {
    pub(crate) fn of(about: About) -> Problems {
        Problems { about, ..Problems::default() }
    }

    /// How many there are, with those that are not named.
    pub fn count(&self) -> usize {
        self.told.len() + self.rest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The first of them in the order of their keys, and how many others there are, as seen at `now`.
    pub fn observed(&self, now: Timestamp) -> Vec<Problem> {
        let shown = |(key, reason): (&Arc<str>, &Arc<str>)| Problem {
            what: self.about.what(key),
            count: 1,
            reason: reason.to_string(),
            since: now,
            remedy: self.about.remedy(key),
        };
        let others = (!self.rest.is_empty()).then(|| Problem {
            what: What::Others(self.about.kind()),
            count: self.rest.len() as u64,
            reason: "they cannot be read either; a new start names those that are left".to_owned(),
            since: now,
            remedy: self.about.remedy(""),
        });
        self.told.iter().map(shown).chain(others).collect()
    }

    /// Whether something is wrong with a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.told.contains_key(key) || (!self.rest.is_empty() && self.rest.contains(&self.hasher.hash_one(key)))
    }

    /// Notes what a step saw at a key.
    pub(crate) fn note(&mut self, key: Arc<str>, reason: Arc<str>) {
        if self.told.len() >= NAMED_MAX && !self.told.contains_key(&key) {
            self.rest.insert(self.hasher.hash_one(&key));
        } else {
            self.told.insert(key, reason);
        }
    }

    /// Notes that there is nothing wrong with a key.
    pub(crate) fn forget(&mut self, key: &str) {
        if self.told.remove(key).is_none() && !self.rest.is_empty() {
            self.rest.remove(&self.hasher.hash_one(key));
        }
    }
}

impl About {
    const fn kind(self) -> ProblemKind {
        match self {
            About::Unit => ProblemKind::Unit,
            About::Document => ProblemKind::Document,
        }
    }

    fn what(self, key: &str) -> What {
        match self {
            About::Unit => What::Unit(key.to_owned()),
            About::Document => What::Document(key.to_owned()),
        }
    }

    fn remedy(self, key: &str) -> &'static str {
        match (self, Key::parse(key).map(|key| key.kind())) {
            (About::Unit, Ok(Kind::Zone)) => ZONE_REMEDY,
            (About::Unit, _) => REMEDY,
            (About::Document, Ok(Kind::Account | Kind::User | Kind::Name | Kind::Unique)) => KEPT_REMEDY,
            (About::Document, _) => DOCUMENT_REMEDY,
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
        for number in 0..NAMED_MAX + 5 {
            problems.note(key(number), "damaged".into());
        }
        problems.note(key(0), "damaged too".into());
        let told = |problems: &Problems| problems.observed(Timestamp::from_unix_micros(1));
        let counted = |problems: &Problems| told(problems).iter().map(|problem| problem.count as usize).sum::<usize>();
        assert_eq!(told(&problems).len(), NAMED_MAX + 1);
        assert_eq!(told(&problems)[0].to_string(), "00000: damaged too");
        // Also when all that were named are mended.
        for number in 0..NAMED_MAX + 5 {
            assert_eq!((problems.count(), counted(&problems)), (NAMED_MAX + 5 - number, NAMED_MAX + 5 - number));
            problems.forget(&key(number));
        }
        assert!(problems.is_empty() && told(&problems).is_empty());
    }
}
