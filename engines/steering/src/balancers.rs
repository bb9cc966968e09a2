//! All load balancers.

use std::sync::Arc;

use bartizan_live::PersistentMap;
use bartizan_names::{LoadBalancerId, NAME_WIRE_MAX};

use crate::balancer::Balancer;

/// Two names on the wire.
const KEY_MAX: usize = 2 * NAME_WIRE_MAX;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Balancers {
    by_id: PersistentMap<LoadBalancerId, Arc<Balancer>>,
    /// Those that are not proxied, by the zone and the name as they are on the wire: one name may be in two zones.
    by_name: PersistentMap<Box<[u8]>, Arc<Balancer>>,
}

impl Balancers {
    /// With a secret number that keeps users from making up names which all meet in one place.
    pub fn with_seed(seed: u64) -> Balancers {
        Balancers { by_id: PersistentMap::default(), by_name: PersistentMap::with_seed(seed) }
    }

    // Hot: once a request. No allocation.
    pub fn get(&self, id: LoadBalancerId) -> Option<&Arc<Balancer>> {
        self.by_id.get(&id)
    }

    /// One that is not proxied, by the apex of its zone and its name, in lower-case wire bytes.
    // Hot: some times a query for such a name. No allocation.
    pub fn named(&self, apex: &[u8], name: &[u8]) -> Option<&Arc<Balancer>> {
        let mut key = [0; KEY_MAX];
        let length = apex.len() + name.len();
        let (first, rest) = key.get_mut(..length)?.split_at_mut_checked(apex.len())?;
        first.copy_from_slice(apex);
        rest.copy_from_slice(name);
        self.by_name.get(&key[..length])
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Balancer>> {
        self.by_id.values()
    }

    pub fn edit(&self) -> BalancersEdit {
        BalancersEdit(self.clone())
    }
}

/// A change in the making.
pub struct BalancersEdit(Balancers);

impl BalancersEdit {
    pub fn put(&mut self, balancer: Balancer) {
        self.remove(balancer.id);
        let balancer = Arc::new(balancer);
        if !balancer.proxied {
            self.0.by_name.insert(key(&balancer), Arc::clone(&balancer));
        }
        self.0.by_id.insert(balancer.id, balancer);
    }

    pub fn remove(&mut self, id: LoadBalancerId) {
        let Some(before) = self.0.by_id.get(&id).cloned() else { return };
        self.0.by_id.remove(&id);
        let key = key(&before);
        if self.0.by_name.get(&key).is_some_and(|there| there.id == id) {
            self.0.by_name.remove(&key);
        }
    }

    pub fn finish(self) -> Balancers {
        self.0
    }
}

/// A name on the wire says itself where it ends.
fn key(balancer: &Balancer) -> Box<[u8]> {
    [balancer.apex.as_name().as_wire(), balancer.name.as_wire()].concat().into()
}
