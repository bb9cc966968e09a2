//! Where the HTTP edge carries requests, and how each zone wants it.

use std::collections::HashMap;
use std::sync::Arc;

use bartizan_live::Generation;
use bartizan_names::{Name, ZoneId, ZoneName};
use bartizan_policy::Policy;
use bartizan_routes::{Edit, Routes, Site, SiteNumber, Target};

use crate::part::secret_seed;
use crate::unit::{NameUnit, ServedZone, ZoneChanges};

pub(super) struct HostsPart {
    pub(super) routes: Generation<Routes<Policy>>,
    sites: HashMap<ZoneId, SiteNumber>,
    /// Of zones that are held: no host is put into them.
    held: HashMap<ZoneId, SiteNumber>,
}

impl HostsPart {
    pub(super) fn empty() -> HostsPart {
        let routes = Generation { number: 0, value: Routes::with_seed(secret_seed()) };
        HostsPart { routes, sites: HashMap::new(), held: HashMap::new() }
    }

    pub(super) fn apply(&mut self, changes: &ZoneChanges, names: &[NameUnit], at: u64) {
        let mut edit = self.routes.value.edit();
        for number in changes.release.keys().filter_map(|id| self.held.remove(id)) {
            edit.remove_site(number);
        }
        for (id, apex) in &changes.hold {
            let before = self.held.insert(*id, hold(&mut edit, *id, apex));
            debug_assert!(before.is_none(), "what is held already is released first");
        }
        for (id, change) in &changes.by_id {
            if change.goes()
                && let Some(number) = self.sites.remove(id)
            {
                edit.remove_site(number);
            }
            if let Some(after) = &change.after {
                match self.sites.get(id) {
                    Some(number) => edit.put_site(*number, site(after)),
                    None => self.sites.extend([(*id, edit.add_site(site(after)))]),
                }
            }
        }
        for unit in names {
            self.put(&mut edit, unit);
        }
        // Most changes of names change no host.
        if !edit.is_empty() {
            self.routes = Generation { number: at, value: edit.finish() };
        }
    }

    pub(super) fn put(&self, edit: &mut Edit<Policy>, unit: &NameUnit) {
        let (Some(site), Some(records)) = (self.sites.get(&unit.zone), &unit.records) else { return };
        match &records.target {
            Some(target) => edit.put(*site, &unit.owner, target.clone()),
            None => edit.remove(*site, &unit.owner),
        }
    }

    /// Where the requests for a name of a zone go.
    pub(super) fn target(&self, zone: ZoneId, owner: &Name) -> Option<&Target> {
        self.routes.value.target(*self.sites.get(&zone)?, owner)
    }

    /// Begins to place all hosts of a start, which are too many for a patch.
    pub(super) fn edit(&self) -> Edit<Policy> {
        self.routes.value.edit()
    }

    pub(super) fn finish(&mut self, edit: Edit<Policy>) {
        self.routes.value = edit.finish();
    }
}

/// Takes all requests for the names of a zone that cannot be read. Its settings are the defaults, none of which answers
/// before the target does.
fn hold(edit: &mut Edit<Policy>, zone: ZoneId, apex: &ZoneName) -> SiteNumber {
    let site = Site { zone, apex: apex.clone(), policy: Arc::default() };
    let number = edit.add_site(site);
    let below = apex.as_name().child(b"*").ok();
    for host in std::iter::once(apex.as_name()).chain(&below) {
        edit.put(number, host, Target::Unknown);
    }
    number
}

fn site(served: &ServedZone) -> Site<Policy> {
    let ServedZone { zone, policy, .. } = served;
    Site { zone: zone.id, apex: zone.name.clone(), policy: Arc::clone(policy) }
}
