//! Who works in which zone for longer than a call takes: one at a time in each and for each account, and so many in all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bartizan_names::{AccountId, ZoneId};

/// Zones in which somebody is at work.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Taken>);

#[derive(Default)]
struct Taken {
    /// With the account for which it is, if it is for one.
    zones: Mutex<HashMap<ZoneId, Option<AccountId>>>,
    is_over: AtomicBool,
}

/// Ends all turns when it is dropped: those who work end after the piece that they are at, and the process can.
pub(crate) struct End(Turns);

/// The right to work in a zone. It ends when this is dropped.
pub(crate) struct Turn {
    turns: Turns,
    zone: ZoneId,
}

impl Turns {
    /// None while somebody else works in the zone or for the account, or there are `others_max` at work in others.
    pub(crate) fn take(&self, zone: ZoneId, account: Option<AccountId>, others_max: usize) -> Option<Turn> {
        let mut taken = self.0.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = taken.len() <= others_max
            && !taken.contains_key(&zone)
            && (account.is_none() || !taken.values().any(|other| *other == account));
        is_free.then(|| {
            taken.insert(zone, account);
            Turn { turns: self.clone(), zone }
        })
    }

    pub(crate) fn end(&self) -> End {
        End(self.clone())
    }

    /// Whether to leave what is not done to whoever starts next.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.zones.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.zone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_zone_one_an_account_and_so_many_in_all() {
        let turns = Turns::default();
        let zone = |number| ZoneId::from_bytes([number; 16]);
        let account = |number| Some(AccountId::from_bytes([number; 16]));
        let first = turns.take(zone(1), account(1), 1).unwrap();
        assert!(turns.take(zone(1), account(2), usize::MAX).is_none());
        assert!(turns.take(zone(2), account(1), usize::MAX).is_none());
        let second = turns.take(zone(2), account(2), 1).unwrap();
        assert!(turns.take(zone(3), account(3), 1).is_none());
        drop((first, second));
        // What the edge does by itself is for nobody.
        let own = (turns.take(zone(1), None, 1), turns.take(zone(2), None, 1));
        assert!(own.0.is_some() && own.1.is_some());
        assert!(!turns.is_over());
        drop(turns.end());
        assert!(turns.is_over());
    }
}
