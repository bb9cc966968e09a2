//! Zones that nobody who validates finds: the loudest thing that there is.

use std::collections::BTreeMap;
use std::time::Instant;

use bartizan_model::Zone;
use bartizan_names::{Timestamp, ZoneId};
use bartizan_observed::{Lease, NAMED_MAX, Problem, ProblemKind, Problems, Reporter, What};
use bartizan_publish::{Changes, KEYS_BACK, ZoneDnssec};

use crate::keeping::Care;
use crate::status::all_open;

/// All that are known.
#[derive(Default)]
pub(crate) struct Wrong {
    zones: BTreeMap<ZoneId, Cut>,
    /// Whether something is not told yet.
    is_news: bool,
}

/// One that is cut off.
struct Cut {
    zone: String,
    why: Why,
    since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The parent's DS records lead to no key.
    Broken,
    /// A key does not open.
    Sealed,
}

impl Wrong {
    /// Notes whether something is wrong with a zone.
    pub(crate) fn judge(&mut self, zone: &Zone, dnssec: &ZoneDnssec, care: &Care) {
        let why = match dnssec {
            dnssec if dnssec.is_broken(&zone.name) => Why::Broken,
            dnssec if !all_open(zone, dnssec, &care.seal) => Why::Sealed,
            _ => return self.forget(zone.id),
        };
        if self.zones.get(&zone.id).is_none_or(|cut| cut.why != why) {
            self.zones.insert(zone.id, Cut { zone: zone.name.to_string(), why, since: care.time.now().at });
            self.is_news = true;
        }
    }

    pub(crate) fn forget(&mut self, zone: ZoneId) {
        self.is_news |= self.zones.remove(&zone).is_some();
    }

    pub(crate) fn count(&self) -> usize {
        self.zones.len()
    }

    /// Puts up what is wrong.
    pub(crate) fn tell(&mut self, problems: &Problems, now: Timestamp, changes: Changes) {
        if !std::mem::take(&mut self.is_news) {
            return;
        }
        let mut told: Vec<Problem> = self.zones.values().take(NAMED_MAX).map(|cut| cut.problem(changes)).collect();
        if let Some(others) = self.zones.len().checked_sub(NAMED_MAX).filter(|others| *others > 0) {
            told.push(Problem {
                what: What::Others(ProblemKind::Dnssec),
                count: others as u64,
                reason: "they have DNSSEC that nobody can validate".to_owned(),
                since: now,
                remedy: "`bartizan dnssec status` tells of each",
            });
        }
        for problem in problems.report(Reporter::Dnssec, told, Lease::Held, Instant::now()) {
            tracing::error!(%problem, "degraded");
        }
    }
}

/// Nothing is said of the key itself.
const NOT_OPEN: &str = "a private key does not open, so nothing can be signed by it";

impl Cut {
    fn problem(&self, changes: Changes) -> Problem {
        let (reason, remedy) = match (self.why, changes) {
            (Why::Broken, _) => (
                "the parent zone has DS records that lead to no key of it, so nobody who validates finds it",
                "have the registrar put there what `bartizan dnssec ds ZONE` prints, or remove them",
            ),
            (Why::Sealed, Changes::Refused) => (NOT_OPEN, KEYS_BACK),
            // The key of the directory opens the CA: another in its place would not.
            (Why::Sealed, Changes::Taken) => (
                NOT_OPEN,
                "restore a backup to a new directory (`bartizan restore FILE --data DIR`) and start the edge with that one; or, \
                 once the parent has no DS record, `bartizan dnssec disable ZONE --force` and begin anew",
            ),
        };
        let what = What::Dnssec(self.zone.clone());
        Problem { what, count: 1, reason: reason.to_owned(), since: self.since, remedy }
    }
}
