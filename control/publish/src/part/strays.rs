//! Names that lead to a tunnel which is not known to be of their own account: that may change behind their records.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_names::{Name, TunnelId, ZoneId};

/// Mostly none.
#[derive(Default)]
pub(super) struct Strays {
    by_name: BTreeMap<(ZoneId, Name), TunnelId>,
    by_tunnel: BTreeSet<(TunnelId, ZoneId, Name)>,
}

impl Strays {
    pub(super) fn note(&mut self, tunnel: TunnelId, zone: ZoneId, owner: &Name) {
        self.by_name.insert((zone, owner.clone()), tunnel);
        self.by_tunnel.insert((tunnel, zone, owner.clone()));
    }

    /// The name leads elsewhere, or nowhere.
    pub(super) fn forget(&mut self, zone: ZoneId, owner: &Name) {
        if self.by_name.is_empty() {
            return; // as on most edges, and asked for each of a million names
        }
        let name = (zone, owner.clone());
        if let Some(tunnel) = self.by_name.remove(&name) {
            self.by_tunnel.remove(&(tunnel, name.0, name.1));
        }
    }

    pub(super) fn forget_zone(&mut self, zone: ZoneId) {
        for owner in self.names_of(zone) {
            self.forget(zone, &owner);
        }
    }

    /// The names that lead to one.
    pub(super) fn of(&self, tunnel: TunnelId) -> Vec<(ZoneId, Name)> {
        let from = self.by_tunnel.range((tunnel, ZoneId::from_bytes([0; 16]), Name::root())..);
        from.take_while(|(of, ..)| *of == tunnel).map(|(_, zone, owner)| (*zone, owner.clone())).collect()
    }

    fn names_of(&self, zone: ZoneId) -> Vec<Name> {
        let from = self.by_name.range((zone, Name::root())..);
        from.take_while(|((of, _), _)| *of == zone).map(|((_, owner), _)| owner.clone()).collect()
    }
}
