//! Which zones with DNSSEC are looked after, and when each is next: shared by those who change one, and by the thread that
//! does the work.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_names::{Timestamp, ZoneId};
use bartizan_signer::Ds;
use bartizan_signer::rollover::after;

/// Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Board(Arc<Mutex<Zones>>);

#[derive(Default)]
struct Zones {
    watched: HashMap<ZoneId, Place>,
    /// In the order in which their parents are to be asked.
    due: BTreeSet<(Timestamp, ZoneId)>,
}

struct Place {
    due: Timestamp,
    /// How often it was put off in a row.
    tries: u32,
    watched: Watched,
}

/// When a zone's parent was asked, and what was wrong then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    pub(crate) checked_on: Option<Timestamp>,
    pub(crate) failure: Option<Arc<str>>,
    /// What was sent to the registry last.
    pub(crate) sent: Option<Sent>,
    /// And what it took last: these are ours there, though their key may be gone.
    pub(crate) taken: Vec<Ds>,
}

/// A call of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) on: Timestamp,
    pub(crate) ds: Vec<Ds>,
    pub(crate) failure: Option<Arc<str>>,
}

/// How often the parent of a zone is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressing {
    /// Something waits for it: at first often, and ever more seldom.
    Waits { first: Duration, most: Duration },
    /// Nothing does.
    Rests(Duration),
}

impl Board {
    /// Somebody changed DNSSEC of a zone: its parent is asked at the next turn.
    pub(super) fn note(&self, zone: ZoneId, now: Timestamp) {
        let mut zones = self.lock();
        zones.put(zone, now, 0);
    }

    /// A zone that is there at a start; its parent is asked by then.
    pub(super) fn expect(&self, zone: ZoneId, by: Timestamp) {
        let mut zones = self.lock();
        if !zones.watched.contains_key(&zone) {
            zones.put(zone, by, 0);
        }
    }

    /// There is nothing to look after any more.
    pub(super) fn forget(&self, zone: ZoneId) {
        let mut zones = self.lock();
        if let Some(place) = zones.watched.remove(&zone) {
            zones.due.remove(&(place.due, zone));
        }
    }

    /// The first zones whose time has come.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<ZoneId> {
        let zones = self.lock();
        zones.due.iter().take_while(|(due, _)| *due <= now).take(limit).map(|(_, zone)| *zone).collect()
    }

    /// When the next one's time comes.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.lock().due.first().map(|(due, _)| *due)
    }

    /// Notes that the parent of a zone was asked.
    pub(super) fn checked(&self, zone: ZoneId, failure: Option<String>, pressing: Pressing, now: Timestamp) {
        let mut zones = self.lock();
        let tries = zones.watched.get(&zone).map_or(0, |place| place.tries);
        let (wait, tries) = match pressing {
            Pressing::Waits { first, most } => (first.saturating_mul(1 << tries.min(16)).min(most), tries + 1),
            Pressing::Rests(wait) => (wait, 0),
        };
        zones.put(zone, after(now, wait), tries);
        if let Some(place) = zones.watched.get_mut(&zone) {
            place.watched.failure = failure.map(Into::into);
            place.watched.checked_on = Some(now);
        }
    }

    /// Notes that a registry was called for a zone.
    pub(super) fn sent(&self, zone: ZoneId, sent: Sent) {
        if let Some(place) = self.lock().watched.get_mut(&zone) {
            if sent.failure.is_none() {
                place.watched.taken.clone_from(&sent.ds);
            }
            place.watched.sent = Some(sent);
        }
    }

    /// Notes that nothing is to be sent: what failed once is over.
    pub(super) fn fits(&self, zone: ZoneId) {
        if let Some(place) = self.lock().watched.get_mut(&zone) {
            place.watched.sent.take_if(|sent| sent.failure.is_some());
        }
    }

    pub(super) fn watched(&self, zone: ZoneId) -> Watched {
        self.lock().watched.get(&zone).map(|place| place.watched.clone()).unwrap_or_default()
    }

    pub(super) fn count(&self) -> usize {
        self.lock().watched.len()
    }

    fn lock(&self) -> MutexGuard<'_, Zones> {
        // Each call leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Zones {
    fn put(&mut self, zone: ZoneId, due: Timestamp, tries: u32) {
        let place = self.watched.entry(zone).or_insert(Place { due, tries, watched: Watched::default() });
        self.due.remove(&(place.due, zone));
        (place.due, place.tries) = (due, tries);
        self.due.insert((due, zone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    #[test]
    fn what_waits_is_asked_for_ever_more_seldom() {
        let board = Board::default();
        let (one, other) = (ZoneId::from_bytes([1; 16]), ZoneId::from_bytes([2; 16]));
        board.expect(other, at(500));
        board.note(one, at(10));
        board.expect(one, at(3));
        assert_eq!((board.due(at(9), 9), board.due(at(10), 9)), (vec![], vec![one]));
        let waits = Pressing::Waits { first: Duration::from_secs(60), most: Duration::from_secs(200) };
        for (now, next) in [(10, 70), (70, 190), (190, 390), (390, 500)] {
            board.checked(one, None, waits, at(now));
            assert_eq!(board.next(), Some(at(next)), "{now}");
        }
        board.checked(one, Some("silent".to_owned()), Pressing::Rests(Duration::from_secs(1)), at(600));
        assert_eq!(board.due(at(601), 9), [other, one]);
        assert_eq!(board.due(at(601), 1), [other]);
        assert_eq!(board.watched(one).failure.as_deref(), Some("silent"));
        board.note(one, at(700));
        assert_eq!(board.due(at(601), 9), [other]);
        board.forget(other);
        board.forget(other);
        assert_eq!((board.next(), board.count()), (Some(at(700)), 1));
    }
}
