//! Who may ask a parent now. Whoever has a zone says who serves its parent: they may be silent, and they may be anybody.
//!
//! One look at a time for a zone. Of all looks that go on, one account and one parent have a part, so that silent ones leave
//! room for others; those that somebody waits for have places of their own beside the keeper's, and a distance in time, since
//! each sends questions to whom the zone's owner pleases.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bartizan_model::Zone;
use bartizan_names::{AccountId, ZoneId};
use tokio::sync::Notify;

/// Looks at the same time: each has some ten sockets for a moment.
const LOOKS_MAX: u32 = 16;

/// Those of them for one account, and at one parent.
const ACCOUNT_MAX: u32 = 8;
const PARENT_MAX: u32 = 4;

/// Between two looks that somebody asks for at one zone.
const DISTANCE: Duration = Duration::from_secs(5);

/// Calls that wait for their turn.
const WAITING_MAX: usize = 64;

/// Zones of which it is remembered when somebody asked for a look.
const REMEMBERED_MAX: usize = 4_096;

/// Whose a look is, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) account: AccountId,
    /// A hash of the name above the zone: which zone that is in is not known before the look.
    pub(crate) parent: u64,
}

/// On whose behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Keeper,
    Caller,
}

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Looks {
    state: Arc<Mutex<State>>,
    ended: Arc<Notify>,
    hashes: RandomState,
    distance: Duration,
}

#[derive(Default)]
struct State {
    zones: HashSet<ZoneId>,
    keeper: Places,
    callers: Places,
    /// Zones for which a call waits.
    waiting: HashSet<ZoneId>,
    /// When somebody asked for a look at a zone.
    asked: HashMap<ZoneId, Instant>,
}

/// Places that are taken.
#[derive(Default)]
struct Places {
    all: u32,
    accounts: HashMap<AccountId, u32>,
    parents: HashMap<u64, u32>,
}

/// A place. Dropping it makes room for another.
pub(crate) struct Turn {
    looks: Looks,
    zone: ZoneId,
    lane: Lane,
    by: For,
}

/// There is no place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Looks {
    pub(crate) fn at_pace(pace: u32) -> Looks {
        Looks {
            state: Arc::default(),
            ended: Arc::default(),
            hashes: RandomState::new(),
            distance: DISTANCE / pace.max(1),
        }
    }

    pub(crate) fn lane(&self, zone: &Zone) -> Lane {
        Lane { account: zone.account, parent: self.hashes.hash_one(zone.name.as_name().parent()) }
    }

    /// Whether the keeper may look at another zone of an account; and at one of a lane.
    pub(crate) fn has_room_for(&self, account: AccountId) -> bool {
        self.lock().keeper.has_room_for(account)
    }

    pub(crate) fn has_room(&self, lane: Lane) -> bool {
        self.lock().keeper.has_room(lane)
    }

    /// A place of the keeper's. None where there is none, or the zone is looked at.
    pub(crate) fn take(&self, zone: ZoneId, lane: Lane) -> Option<Turn> {
        self.try_take(&mut self.lock(), zone, lane, For::Keeper)
    }

    /// A place for somebody who waits for it, and is told soon if there is none.
    pub(crate) async fn wait(&self, zone: ZoneId, lane: Lane, patience: Duration) -> Result<Turn, Busy> {
        let Some(_waiting) = Waiting::begin(self, zone) else { return Err(Busy) };
        let turn = async {
            loop {
                let ended = self.ended.notified();
                tokio::pin!(ended);
                // From here on it hears of each end.
                ended.as_mut().enable();
                match self.attempt(zone, lane, Instant::now())? {
                    Attempt::Turn(turn) => return Ok(turn),
                    Attempt::After(wait) => tokio::time::sleep(wait).await,
                    Attempt::Taken => ended.await,
                }
            }
        };
        tokio::time::timeout(patience, turn).await.unwrap_or(Err(Busy))
    }

    fn attempt(&self, zone: ZoneId, lane: Lane, now: Instant) -> Result<Attempt, Busy> {
        let mut state = self.lock();
        let age = state.asked.get(&zone).map(|asked| now.saturating_duration_since(*asked));
        if let Some(wait) = age.and_then(|age| self.distance.checked_sub(age)).filter(|wait| !wait.is_zero()) {
            return Ok(Attempt::After(wait));
        }
        if state.asked.len() >= REMEMBERED_MAX {
            state.asked.retain(|_, asked| now.saturating_duration_since(*asked) < self.distance);
        }
        if state.asked.len() >= REMEMBERED_MAX {
            return Err(Busy);
        }
        let Some(turn) = self.try_take(&mut state, zone, lane, For::Caller) else { return Ok(Attempt::Taken) };
        state.asked.insert(zone, now);
        Ok(Attempt::Turn(turn))
    }

    fn try_take(&self, state: &mut State, zone: ZoneId, lane: Lane, by: For) -> Option<Turn> {
        if state.zones.contains(&zone) || !state.places(by).has_room(lane) {
            return None;
        }
        state.zones.insert(zone);
        state.places(by).take(lane);
        Some(Turn { looks: self.clone(), zone, lane, by })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each call leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Attempt {
    Turn(Turn),
    /// The zone was asked about a moment ago.
    After(Duration),
    /// Others have the places, or look at the zone.
    Taken,
}

/// A call that waits for a zone: one at a time.
struct Waiting<'l> {
    looks: &'l Looks,
    zone: ZoneId,
}

impl<'l> Waiting<'l> {
    fn begin(looks: &'l Looks, zone: ZoneId) -> Option<Waiting<'l>> {
        let mut state = looks.lock();
        let fits = state.waiting.len() < WAITING_MAX && state.waiting.insert(zone);
        fits.then(|| Waiting { looks, zone })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.looks.lock().waiting.remove(&self.zone);
    }
}

impl State {
    fn places(&mut self, by: For) -> &mut Places {
        match by {
            For::Keeper => &mut self.keeper,
            For::Caller => &mut self.callers,
        }
    }
}

impl Places {
    fn has_room_for(&self, account: AccountId) -> bool {
        self.all < LOOKS_MAX && count(&self.accounts, account) < ACCOUNT_MAX
    }

    fn has_room(&self, lane: Lane) -> bool {
        self.has_room_for(lane.account) && count(&self.parents, lane.parent) < PARENT_MAX
    }

    fn take(&mut self, lane: Lane) {
        self.all += 1;
        *self.accounts.entry(lane.account).or_default() += 1;
        *self.parents.entry(lane.parent).or_default() += 1;
    }

    fn give_back(&mut self, lane: Lane) {
        self.all -= 1;
        give_back(&mut self.accounts, lane.account);
        give_back(&mut self.parents, lane.parent);
    }
}

fn count<K: Eq + std::hash::Hash>(counts: &HashMap<K, u32>, key: K) -> u32 {
    counts.get(&key).copied().unwrap_or(0)
}

/// Who has none is forgotten.
fn give_back<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.looks.lock();
        state.zones.remove(&self.zone);
        state.places(self.by).give_back(self.lane);
        drop(state);
        self.looks.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(number: u8) -> ZoneId {
        ZoneId::from_bytes([number; 16])
    }

    fn lane(account: u8, parent: u64) -> Lane {
        Lane { account: AccountId::from_bytes([account; 16]), parent }
    }

    #[test]
    fn one_account_and_one_parent_leave_room_for_others() {
        let looks = Looks::at_pace(1);
        let mut turns = Vec::new();
        let mut taken = |lanes: &[Lane]| {
            let before = turns.len();
            for lane in lanes {
                let number = turns.len() as u8;
                turns.extend(looks.take(zone(number), *lane));
            }
            turns.len() - before
        };
        // As many as it asks for, and as many as it gets.
        assert_eq!(taken(&[lane(1, 1); 9]), 4, "one parent");
        assert_eq!(taken(&[lane(1, 2), lane(1, 3), lane(1, 4), lane(1, 5), lane(1, 6)]), 4, "one account");
        assert_eq!(taken(&[lane(2, 1)]), 0, "the parent is as silent for others");
        assert_eq!(taken(&[lane(2, 7), lane(2, 8), lane(3, 9), lane(4, 10)]), 4);
        assert_eq!(taken(&[lane(5, 11), lane(5, 12), lane(5, 13), lane(5, 14), lane(6, 15)]), 4, "all");
        assert!(!looks.has_room_for(lane(9, 9).account));
        turns.pop();
        assert!(looks.has_room(lane(9, 99)) && !looks.has_room(lane(1, 99)) && !looks.has_room(lane(9, 1)));
        drop(turns);
        let state = looks.lock();
        assert!(state.keeper.accounts.is_empty() && state.keeper.parents.is_empty() && state.zones.is_empty());
    }

    #[tokio::test]
    async fn whoever_asks_waits_for_the_zone_and_keeps_a_distance() {
        let looks = Looks::at_pace(1);
        // It is tried once.
        let patience = Duration::ZERO;
        let keepers = looks.take(zone(1), lane(1, 1)).unwrap();
        assert_eq!(looks.wait(zone(1), lane(1, 1), patience).await.err(), Some(Busy));
        // The places of callers are others than the keeper's.
        let others: Vec<_> = (2..5).map(|number| looks.take(zone(number), lane(1, 1)).unwrap()).collect();
        // Whoever waits is told when it ends.
        let waits = looks.wait(zone(1), lane(1, 1), Duration::MAX);
        let ends = async { drop(keepers) };
        let (turn, ()) = futures_util::future::join(waits, ends).await;
        let turn = turn.unwrap();
        assert!(looks.take(zone(1), lane(2, 2)).is_none(), "the zone is looked at");
        drop((turn, others));
        let first = looks.lock().asked[&zone(1)];
        match looks.attempt(zone(1), lane(1, 1), first + DISTANCE / 2) {
            Ok(Attempt::After(wait)) => assert_eq!(wait, DISTANCE / 2),
            _ => panic!("too soon"),
        }
        let later = looks.attempt(zone(1), lane(1, 1), first + DISTANCE);
        assert!(matches!(later, Ok(Attempt::Turn(_))));
        // Two who wait for one zone are one too many.
        let waiting = Waiting::begin(&looks, zone(7)).unwrap();
        assert_eq!(looks.wait(zone(7), lane(1, 1), patience).await.err(), Some(Busy));
        drop(waiting);
        assert!(looks.wait(zone(7), lane(1, 1), patience).await.is_ok());
        let more: Vec<_> = (0..WAITING_MAX as u8).map(|number| Waiting::begin(&looks, zone(number)).unwrap()).collect();
        assert!(Waiting::begin(&looks, zone(200)).is_none());
        drop(more);
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let looks = Looks::at_pace(1);
        let now = Instant::now();
        for number in 0..REMEMBERED_MAX as u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            looks.lock().asked.insert(ZoneId::from_bytes(id), now);
        }
        assert!(looks.attempt(zone(9), lane(1, 1), now).is_err());
        assert!(looks.attempt(zone(9), lane(1, 1), now + DISTANCE).is_ok());
        assert_eq!(looks.lock().asked.len(), 1);
    }
}
