//! Origins that could not be reached a moment ago.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits::{DEAD_MAX, DEAD_TIME};

/// Addresses that are not tried first. If one is forgotten, that costs one attempt and no more.
#[derive(Default)]
pub(crate) struct Dead(Mutex<HashMap<SocketAddr, Instant>>);

impl Dead {
    /// The same addresses, with the dead ones at the end.
    pub(crate) fn addresses_last(&self, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        self.last(addresses, std::slice::from_ref)
    }

    /// The same groups; those in which all addresses are dead come last.
    pub(crate) fn groups_last(&self, groups: Vec<Vec<SocketAddr>>) -> Vec<Vec<SocketAddr>> {
        self.last(groups, Vec::as_slice)
    }

    pub(crate) fn is_dead(&self, address: &SocketAddr) -> bool {
        self.lock().get(address).is_some_and(|since| *since + DEAD_TIME > Instant::now())
    }

    fn last<T>(&self, all: Vec<T>, addresses: fn(&T) -> &[SocketAddr]) -> Vec<T> {
        let dead = self.lock();
        if all.len() < 2 || dead.is_empty() {
            return all;
        }
        let now = Instant::now();
        let is_dead = |address: &SocketAddr| dead.get(address).is_some_and(|since| *since + DEAD_TIME > now);
        let (last, mut first): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| addresses(one).iter().all(is_dead));
        first.extend(last);
        first
    }

    pub(crate) fn mark_dead(&self, address: SocketAddr) {
        let mut dead = self.lock();
        // The oldest makes room: one who has many does not keep the others' out.
        if dead.len() >= DEAD_MAX
            && !dead.contains_key(&address)
            && let Some(oldest) = dead.iter().min_by_key(|(_, since)| **since).map(|(oldest, _)| *oldest)
        {
            dead.remove(&oldest);
        }
        dead.insert(address, Instant::now());
    }

    pub(crate) fn mark_alive(&self, address: SocketAddr) {
        let mut dead = self.lock();
        if !dead.is_empty() {
            dead.remove(&address);
        }
    }

    /// One worker's own, so nobody waits for it.
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_last() {
        let [one, two, three]: [SocketAddr; 3] = [1, 2, 3].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let dead = Dead::default();
        let order = || dead.addresses_last(vec![one, two, three]);
        assert_eq!(order(), [one, two, three]);
        dead.mark_dead(one);
        assert_eq!(order(), [two, three, one]);
        dead.mark_dead(two);
        dead.mark_dead(three);
        assert_eq!(order(), [one, two, three]);
        dead.mark_alive(two);
        assert_eq!(order(), [two, one, three]);
        let groups = vec![vec![one], vec![one, three], vec![two, three], vec![three]];
        assert_eq!(dead.groups_last(groups), [vec![two, three], vec![one], vec![one, three], vec![three]]);
        for port in 0..2_000 {
            dead.mark_dead(SocketAddr::from(([192, 0, 2, 2], port)));
        }
        assert_eq!(dead.lock().len(), DEAD_MAX);
        // The newest of all is known, and the first of them is forgotten.
        dead.mark_dead(two);
        let first = SocketAddr::from(([192, 0, 2, 2], 0));
        assert_eq!(dead.addresses_last(vec![two, first]), [first, two]);
        assert_eq!(dead.lock().len(), DEAD_MAX);
    }
}
