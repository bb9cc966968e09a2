//! Which zones with DNSSEC are looked after, and when the parent of each is asked next: shared by those who change one, and by
//! the thread that does the work.
//!
//! Zones stand in lanes, by their account and parent, so that those which wait for a silent one are passed over together:
//! whose turn it is is found in a few steps, however many wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_names::{AccountId, Timestamp, ZoneId};
use bartizan_signer::Ds;

use crate::looks::Lane;
use crate::time::{Age, Moment};

/// Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Zones>>);

#[derive(Default)]
struct Zones {
    watched: HashMap<ZoneId, Place>,
    due: Due,
}

/// In the order in which parents are to be asked: zones of a lane, lanes of an account by the first of their zones, and accounts
/// by the first of theirs.
#[derive(Default)]
struct Due {
    zones: BTreeSet<(Lane, Age, ZoneId)>,
    lanes: BTreeSet<(AccountId, Age, u64)>,
    accounts: BTreeSet<(Age, AccountId)>,
}

struct Place {
    lane: Lane,
    turn: Turn,
    /// How often it was put off in a row.
    tries: u32,
    watched: Watched,
}

/// When a zone is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Due(Age),
    /// Its parent is being asked; and whether somebody has changed it since, so that it is asked once more.
    Now {
        again: bool,
    },
}

/// When a zone's parent was asked, and what was wrong then.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    pub checked_on: Option<Timestamp>,
    pub failure: Option<Arc<str>>,
    /// What was sent to the registry last.
    pub sent: Option<Sent>,
    /// And what it took last: these are ours there, though their key may be gone.
    pub(crate) taken: Vec<Ds>,
}

/// A call of a registry.
#[derive(Clone, Debug)]
pub struct Sent {
    pub on: Timestamp,
    pub(crate) age: Age,
    pub(crate) ds: Vec<Ds>,
    pub failure: Option<Arc<str>>,
}

/// How often the parent of a zone is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressing {
    /// Something waits for it: at first often, and ever more seldom.
    Waits { first: Duration, most: Duration },
    /// Nothing does.
    Rests(Duration),
}

impl Board {
    /// Somebody changed DNSSEC of a zone: its parent is asked at the next turn.
    pub(crate) fn note(&self, zone: ZoneId, lane: Lane, now: Age) {
        let mut zones = self.lock();
        match zones.watched.get_mut(&zone).map(|place| &mut place.turn) {
            Some(Turn::Now { again }) => *again = true,
            _ => zones.put(zone, lane, now, 0),
        }
    }

    /// A zone that is there at a start; its parent is asked by then.
    pub(crate) fn expect(&self, zone: ZoneId, lane: Lane, by: Age) {
        let mut zones = self.lock();
        if !zones.watched.contains_key(&zone) {
            zones.put(zone, lane, by, 0);
        }
    }

    /// There is nothing to look after any more.
    pub(crate) fn forget(&self, zone: ZoneId) {
        let mut zones = self.lock();
        if let Some(Place { lane, turn: Turn::Due(due), .. }) = zones.watched.remove(&zone) {
            zones.due.remove(lane, due, zone);
        }
    }

    /// The zone whose turn it is: of those whose time has come the first, but for accounts and lanes that have no room. It is
    /// being asked about from now on, until [`Board::checked`] or [`Board::again`].
    pub(crate) fn take(
        &self,
        now: Age,
        account_has_room: impl Fn(AccountId) -> bool,
        has_room: impl Fn(Lane) -> bool,
    ) -> Option<(ZoneId, Lane)> {
        let mut zones = self.lock();
        let (lane, due, zone) = zones.due.first(now, account_has_room, has_room)?;
        zones.due.remove(lane, due, zone);
        if let Some(place) = zones.watched.get_mut(&zone) {
            place.turn = Turn::Now { again: false };
        }
        Some((zone, lane))
    }

    /// When the next one's time comes.
    #[cfg(test)]
    fn next(&self) -> Option<Age> {
        self.lock().due.accounts.first().map(|(due, _)| *due)
    }

    /// A zone's parent is asked after so long, as if it had not been.
    pub(crate) fn again(&self, zone: ZoneId, wait: Duration, now: Age) {
        self.lock().put_off(zone, |tries| (wait, tries), now);
    }

    /// Notes that the parent of a zone was asked.
    pub(crate) fn checked(&self, zone: ZoneId, failure: Option<String>, pressing: Pressing, now: Moment) {
        let mut zones = self.lock();
        zones.put_off(
            zone,
            |tries| match pressing {
                Pressing::Waits { first, most } => (first.saturating_mul(1 << tries.min(16)).min(most), tries + 1),
                Pressing::Rests(wait) => (wait, 0),
            },
            now.age,
        );
        if let Some(place) = zones.watched.get_mut(&zone) {
            place.watched.failure = failure.map(Into::into);
            place.watched.checked_on = Some(now.at);
        }
    }

    /// Notes that a registry was called for a zone.
    pub(crate) fn sent(&self, zone: ZoneId, sent: Sent) {
        if let Some(place) = self.lock().watched.get_mut(&zone) {
            if sent.failure.is_none() {
                place.watched.taken.clone_from(&sent.ds);
            }
            place.watched.sent = Some(sent);
        }
    }

    /// Notes that nothing is to be sent: what failed once is over.
    pub(crate) fn fits(&self, zone: ZoneId) {
        if let Some(place) = self.lock().watched.get_mut(&zone) {
            place.watched.sent.take_if(|sent| sent.failure.is_some());
        }
    }

    pub(crate) fn watched(&self, zone: ZoneId) -> Watched {
        self.lock().watched.get(&zone).map(|place| place.watched.clone()).unwrap_or_default()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().watched.len()
    }

    fn lock(&self) -> MutexGuard<'_, Zones> {
        // Each call leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Zones {
    fn put(&mut self, zone: ZoneId, lane: Lane, due: Age, tries: u32) {
        let turn = Turn::Due(due);
        let new = || Place { lane, turn, tries, watched: Watched::default() };
        let place = self.watched.entry(zone).or_insert_with(new);
        let before = (std::mem::replace(&mut place.lane, lane), std::mem::replace(&mut place.turn, turn));
        place.tries = tries;
        if let (lane, Turn::Due(due)) = before {
            self.due.remove(lane, due, zone);
        }
        self.due.insert(lane, due, zone);
    }

    /// `wait` says after how long it is next, and how often it was put off then.
    fn put_off(&mut self, zone: ZoneId, wait: impl Fn(u32) -> (Duration, u32), now: Age) {
        let Some(place) = self.watched.get(&zone) else { return };
        let (wait, tries) = wait(place.tries);
        match place.turn {
            Turn::Now { again: true } => self.put(zone, place.lane, now, 0),
            _ => self.put(zone, place.lane, now.saturating_add(wait), tries),
        }
    }
}

impl Due {
    fn insert(&mut self, lane: Lane, due: Age, zone: ZoneId) {
        self.change(lane, |zones| zones.insert((lane, due, zone)));
    }

    fn remove(&mut self, lane: Lane, due: Age, zone: ZoneId) {
        self.change(lane, |zones| zones.remove(&(lane, due, zone)));
    }

    /// Changes a lane, and keeps the order of lanes and accounts.
    fn change(&mut self, lane: Lane, change: impl FnOnce(&mut BTreeSet<(Lane, Age, ZoneId)>) -> bool) {
        let (account, parent) = (lane.account, lane.parent);
        let (lane_before, account_before) = (self.first_of_lane(lane), self.first_of_account(account));
        change(&mut self.zones);
        let lane_after = self.first_of_lane(lane);
        if lane_before != lane_after {
            lane_before.map(|due| self.lanes.remove(&(account, due, parent)));
            lane_after.map(|due| self.lanes.insert((account, due, parent)));
        }
        let account_after = self.first_of_account(account);
        if account_before != account_after {
            account_before.map(|due| self.accounts.remove(&(due, account)));
            account_after.map(|due| self.accounts.insert((due, account)));
        }
    }

    fn first_of_lane(&self, lane: Lane) -> Option<Age> {
        let from = (lane, Age::ZERO, ZoneId::from_bytes([0; 16]));
        self.zones.range(from..).next().filter(|(of, ..)| *of == lane).map(|(_, due, _)| *due)
    }

    fn first_of_account(&self, account: AccountId) -> Option<Age> {
        self.lanes_of(account).next().map(|(due, _)| due)
    }

    fn lanes_of(&self, account: AccountId) -> impl Iterator<Item = (Age, Lane)> {
        let from = (account, Age::ZERO, 0);
        let lanes = self.lanes.range(from..).take_while(move |(of, ..)| *of == account);
        lanes.map(|(account, due, parent)| (*due, Lane { account: *account, parent: *parent }))
    }

    fn first(
        &self,
        now: Age,
        account_has_room: impl Fn(AccountId) -> bool,
        has_room: impl Fn(Lane) -> bool,
    ) -> Option<(Lane, Age, ZoneId)> {
        let accounts = self.accounts.iter().take_while(|(due, _)| *due <= now).map(|(_, account)| *account);
        // Few have no room: the places that are taken are few.
        let mut lanes = accounts
            .filter(|account| account_has_room(*account))
            .flat_map(|account| self.lanes_of(account).take_while(|(due, _)| *due <= now));
        let (due, lane) = lanes.find(|(_, lane)| has_room(*lane))?;
        self.zones.range((lane, due, ZoneId::from_bytes([0; 16]))..).next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Trust;

    fn at(second: u64) -> Age {
        Age::from_secs(second)
    }

    fn moment(second: u64) -> Moment {
        let at = Timestamp::from_unix_micros(second);
        Moment { at, age: Age::from_secs(second), epoch: None, trust: Trust::Believed }
    }

    fn zone(number: u8) -> ZoneId {
        ZoneId::from_bytes([number; 16])
    }

    fn lane(account: u8, parent: u64) -> Lane {
        Lane { account: AccountId::from_bytes([account; 16]), parent }
    }

    fn take(board: &Board, now: u64) -> Option<ZoneId> {
        board.take(at(now), |_| true, |_| true).map(|(zone, _)| zone)
    }

    #[test]
    fn zones_are_due_in_turn_and_put_off_longer_and_longer() {
        let board = Board::default();
        let (one, other, here) = (zone(1), zone(2), lane(1, 1));
        board.expect(other, here, at(500));
        board.note(one, here, at(10));
        board.expect(one, here, at(3));
        assert_eq!((take(&board, 9), take(&board, 10), take(&board, 10)), (None, Some(one), None));
        let waits = Pressing::Waits { first: Duration::from_secs(60), most: Duration::from_secs(200) };
        for (now, next) in [(10, 70), (70, 190), (190, 390), (390, 500)] {
            board.checked(one, None, waits, moment(now));
            assert_eq!(board.next(), Some(at(next)), "{now}");
        }
        board.checked(one, Some("silent".to_owned()), Pressing::Rests(Duration::from_secs(1)), moment(600));
        assert_eq!((take(&board, 601), take(&board, 601), take(&board, 601)), (Some(other), Some(one), None));
        assert_eq!(board.watched(one).failure.as_deref(), Some("silent"));
        // Changed while its parent is asked, so what is seen may be old.
        board.note(one, here, at(602));
        board.checked(one, None, waits, moment(603));
        board.again(other, Duration::from_secs(5), at(603));
        assert_eq!((take(&board, 603), take(&board, 607), take(&board, 608)), (Some(one), None, Some(other)));
        board.forget(other);
        board.forget(other);
        board.checked(one, None, waits, moment(610));
        assert_eq!((board.next(), board.count()), (Some(at(670)), 1));
        board.forget(one);
        let zones = board.lock();
        assert!(zones.due.zones.is_empty() && zones.due.lanes.is_empty() && zones.due.accounts.is_empty());
    }

    #[test]
    fn those_without_room_are_passed_over() {
        let board = Board::default();
        // Zone 1 of lane 1.1 is the first, and so on.
        let lanes = [lane(1, 1), lane(1, 1), lane(1, 2), lane(2, 1), lane(2, 3), lane(3, 4)];
        for (number, lane) in (1..).zip(lanes) {
            board.expect(zone(number), lane, at(number.into()));
        }
        let first = |account: u8, parent: u64| {
            let zones = board.lock();
            let full = AccountId::from_bytes([account; 16]);
            zones.due.first(at(9), |of| of != full, |lane| lane.parent != parent).map(|(_, _, zone)| zone)
        };
        assert_eq!(first(0, 0), Some(zone(1)));
        assert_eq!(first(0, 1), Some(zone(3)), "a parent");
        assert_eq!(first(1, 0), Some(zone(4)), "an account");
        assert_eq!(first(1, 1), Some(zone(5)), "both");
        board.forget(zone(5));
        assert_eq!(first(1, 1), Some(zone(6)));
        assert_eq!(board.lock().due.first(at(5), |of| of != lane(1, 1).account, |lane| lane.parent != 1), None);
    }
}
