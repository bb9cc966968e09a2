//! Objects with which something is wrong, and what.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bartizan_names::Timestamp;
use bartizan_observed::{NAMED_MAX, Problem, ProblemKind, What};
use bartizan_store::{Blame, Key, Kind};

use crate::remedy::{Changes, for_document, for_unit, meanwhile};

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
    /// Why, and whose fault it is, by the key in the store. Nobody reads more of them, and a million damaged records must not
    /// fill the memory too.
    told: BTreeMap<Arc<str>, (Arc<str>, Blame)>,
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

    /// The first of them in the order of their keys, and how many others there are, as seen at `now`, with what mends each.
    pub fn observed(&self, now: Timestamp, changes: Changes) -> Vec<Problem> {
        let shown = |(key, (reason, blame)): (&Arc<str>, &(Arc<str>, Blame))| Problem {
            what: self.about.what(key),
            count: 1,
            reason: self.about.reason(key, reason),
            since: now,
            remedy: self.about.remedy(key, *blame, changes),
        };
        let others = (!self.rest.is_empty()).then(|| Problem {
            what: What::Others(self.about.kind()),
            count: self.rest.len() as u64,
            reason: "they cannot be read either; a new start names those that are left".to_owned(),
            since: now,
            remedy: "`bartizan doctor`, run beside the edge, names what the disk spoilt, and what mends it",
        });
        self.told.iter().map(shown).chain(others).collect()
    }

    /// Whether something is wrong with a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.told.contains_key(key) || (!self.rest.is_empty() && self.rest.contains(&self.hasher.hash_one(key)))
    }

    /// Notes what a step saw at a key.
    pub(crate) fn note(&mut self, key: Arc<str>, reason: Arc<str>, blame: Blame) {
        if self.told.len() >= NAMED_MAX && !self.told.contains_key(&key) {
            self.rest.insert(self.hasher.hash_one(&key));
        } else {
            self.told.insert(key, (reason, blame));
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

    /// With what is done about it meanwhile.
    fn reason(self, key: &str, reason: &str) -> String {
        match (self, kind(key)) {
            (About::Unit, Some(kind)) => format!("{reason}; {}", meanwhile(kind)),
            _ => reason.to_owned(),
        }
    }

    fn remedy(self, key: &str, blame: Blame, changes: Changes) -> &'static str {
        match self {
            About::Unit => for_unit(kind(key), blame, changes),
            About::Document => for_document(kind(key), blame, changes),
        }
    }
}

fn kind(key: &str) -> Option<Kind> {
    Key::parse(key).ok().map(|key| key.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_told_than_people_read_and_all_are_counted() {
        let mut problems = Problems::default();
        let key = |number: usize| -> Arc<str> { format!("{number:05}").into() };
        for number in 0..NAMED_MAX + 5 {
            problems.note(key(number), "damaged".into(), Blame::Disk);
        }
        problems.note(key(0), "damaged too".into(), Blame::Disk);
        let told = |problems: &Problems| problems.observed(Timestamp::from_unix_micros(1), Changes::Taken);
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
