//! All load balancers.

use std::sync::Arc;

use bartizan_live::PersistentMap;
use bartizan_names::LoadBalancerId;

use crate::balancer::{Balancer, Steering};

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Balancers {
    by_id: PersistentMap<LoadBalancerId, Arc<Balancer>>,
    /// Those that are not proxied, by the name as it is on the wire.
    by_name: PersistentMap<Box<[u8]>, Arc<Balancer>>,
    /// How many of those answer each place in its own way.
    by_place: usize,
}

impl Balancers {
    /// With a secret number that keeps users from making up names which all meet in one place.
    pub fn with_seed(seed: u64) -> Balancers {
        Balancers { by_id: PersistentMap::default(), by_name: PersistentMap::with_seed(seed), by_place: 0 }
    }

    // Hot: once a request. No allocation.
    pub fn get(&self, id: LoadBalancerId) -> Option<&Arc<Balancer>> {
        self.by_id.get(&id)
    }

    /// One that is not proxied, by its name in lower-case wire bytes.
    // Hot: once a query for such a name. No allocation.
    pub fn named(&self, name: &[u8]) -> Option<&Arc<Balancer>> {
        self.by_name.get(name)
    }

    /// Whether one that is not proxied answers each place in its own way.
    pub fn steer_by_place(&self) -> bool {
        self.by_place > 0
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
            self.0.by_place += usize::from(balancer.steering == Steering::Geo);
            self.0.by_name.insert(balancer.name.as_wire().into(), Arc::clone(&balancer));
        }
        self.0.by_id.insert(balancer.id, balancer);
    }

    pub fn remove(&mut self, id: LoadBalancerId) {
        let Some(before) = self.0.by_id.get(&id).cloned() else { return };
        self.0.by_id.remove(&id);
        let name = before.name.as_wire();
        if self.0.by_name.get(name).is_some_and(|there| there.id == id) {
            self.0.by_name.remove(name);
            self.0.by_place -= usize::from(before.steering == Steering::Geo);
        }
    }

    pub fn finish(self) -> Balancers {
        self.0
    }
}
