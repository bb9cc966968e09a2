//! Where the HTTP edge carries requests, and how each zone wants it.
//!
//! A name leads to no tunnel of another account, whatever is written in its record. Which those are may change behind the
//! record, so names that do not lead to a tunnel of their own account are remembered by the tunnel.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bartizan_live::Generation;
use bartizan_names::{AccountId, Name, TunnelId, ZoneId, ZoneName};
use bartizan_policy::Policy;
use bartizan_routes::{Edit, Routes, Site, SiteNumber, Target};

use crate::part::balancers::BalancersPart;
use crate::part::secret_seed;
use crate::part::strays::Strays;
use crate::part::tunnels::TunnelsPart;
use crate::unit::{KnownZones, NameUnit, ServedZone, ZoneChanges};

/// Where a name leads whose record is about a tunnel of another account: to one that nobody has.
const NO_TUNNEL: TunnelId = TunnelId::from_bytes([0; 16]);

/// Whose zones and tunnels are.
#[derive(Clone, Copy)]
pub(super) struct Owners<'p> {
    pub(super) known: &'p KnownZones,
    pub(super) tunnels: &'p TunnelsPart,
    pub(super) balancers: &'p BalancersPart,
}

impl Owners<'_> {
    fn zone(self, zone: ZoneId) -> Option<AccountId> {
        self.known.get(zone).map(|served| served.zone.account)
    }
}

pub(super) struct HostsPart {
    pub(super) routes: Generation<Routes<Policy>>,
    sites: HashMap<ZoneId, SiteNumber>,
    /// Of zones that are held: no host is put into them.
    held: HashMap<ZoneId, SiteNumber>,
    strays: Strays,
}

impl HostsPart {
    pub(super) fn empty() -> HostsPart {
        let routes = Generation { number: 0, value: Routes::with_seed(secret_seed()) };
        HostsPart { routes, sites: HashMap::new(), held: HashMap::new(), strays: Strays::default() }
    }

    /// `moved` are the tunnels that came or went.
    pub(super) fn apply(
        &mut self,
        changes: &ZoneChanges,
        names: &[NameUnit],
        moved: &BTreeSet<TunnelId>,
        owners: Owners<'_>,
        at: u64,
    ) {
        let mut edit = self.routes.value.edit();
        let mut strays = std::mem::take(&mut self.strays);
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
                strays.forget_zone(*id);
            }
            if let Some(after) = &change.after {
                match self.sites.get(id) {
                    Some(number) => edit.put_site(*number, site(after)),
                    None => self.sites.extend([(*id, edit.add_site(site(after)))]),
                }
            }
        }
        for tunnel in moved {
            for (zone, owner) in strays.of(*tunnel) {
                if let Some(site) = self.sites.get(&zone) {
                    edit.put(*site, &owner, led(*tunnel, zone, &owner, &mut strays, owners));
                }
            }
        }
        for unit in names {
            if let Some(target) = owners.balancers.target(unit.zone, &unit.owner) {
                self.put(&mut edit, &mut strays, (unit.zone, &unit.owner), Some(target), owners);
            } else if let Some(records) = &unit.records {
                self.put(&mut edit, &mut strays, (unit.zone, &unit.owner), records.target.clone(), owners);
            }
        }
        self.strays = strays;
        // Most changes of names change no host.
        if !edit.is_empty() {
            self.routes = Generation { number: at, value: edit.finish() };
        }
    }

    /// Puts where a name of a zone leads.
    pub(super) fn put(
        &self,
        edit: &mut Edit<Policy>,
        strays: &mut Strays,
        (zone, owner): (ZoneId, &Name),
        target: Option<Target>,
        owners: Owners<'_>,
    ) {
        let Some(site) = self.sites.get(&zone) else { return };
        strays.forget(zone, owner);
        match target {
            Some(Target::Tunnel(tunnel)) => edit.put(*site, owner, led(tunnel, zone, owner, strays, owners)),
            Some(target) => edit.put(*site, owner, target),
            None => edit.remove(*site, owner),
        }
    }

    /// Where the requests for a name of a zone go.
    pub(super) fn target(&self, zone: ZoneId, owner: &Name) -> Option<&Target> {
        self.routes.value.target(*self.sites.get(&zone)?, owner)
    }

    /// Begins to place all hosts of a start, which are too many for a patch.
    pub(super) fn edit(&self) -> (Edit<Policy>, Strays) {
        (self.routes.value.edit(), Strays::default())
    }

    pub(super) fn finish(&mut self, (edit, strays): (Edit<Policy>, Strays)) {
        self.routes.value = edit.finish();
        self.strays = strays;
    }
}

/// Where a name goes whose record is about a tunnel.
fn led(tunnel: TunnelId, zone: ZoneId, owner: &Name, strays: &mut Strays, owners: Owners<'_>) -> Target {
    let (whose, account) = (owners.tunnels.owner(tunnel), owners.zone(zone));
    if whose.is_some() && whose == account {
        strays.forget(zone, owner);
        return Target::Tunnel(tunnel);
    }
    strays.note(tunnel, zone, owner);
    Target::Tunnel(if whose.is_none() { tunnel } else { NO_TUNNEL })
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
