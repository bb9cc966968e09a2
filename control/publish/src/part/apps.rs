//! Spectrum applications, and the addresses of their names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bartizan_authority::RecordSet;
use bartizan_live::Generation;
use bartizan_model as model;
use bartizan_names::{AppId, Name, RecordType, ZoneId};
use bartizan_routes::{self as routes, App, Apps, Pools};
use bartizan_store::{Key, Kind, ReadError};

use crate::part::secret_seed;
use crate::reading::{Found, Reading, Touched, document};
use crate::unit::{KnownZones, ZoneChanges};

/// How long resolvers may keep an application's addresses, in seconds: they change only when somebody changes them.
const ADDRESS_TTL: u32 = 300;

pub(super) struct AppsPart {
    pub(super) apps: Generation<Apps>,
    /// Which applications a name leads to.
    by_name: BTreeMap<(ZoneId, Name), BTreeSet<AppId>>,
    /// The pools of the PoP that this edge is.
    pools: Pools,
}

/// What becomes of applications.
#[derive(Default)]
pub(crate) struct AppsPatch {
    by_id: BTreeMap<AppId, Option<App>>,
    /// The PoP's pools, if they changed.
    pools: Option<Pools>,
    /// Names whose addresses change with them, and the addresses that they had.
    pub(super) owners: BTreeMap<(ZoneId, Name), Vec<RecordSet>>,
}

impl AppsPart {
    pub(super) const KINDS: &'static [Kind] = &[Kind::App];

    pub(super) fn empty() -> AppsPart {
        AppsPart {
            apps: Generation { number: 0, value: Apps::with_seed(secret_seed()) },
            by_name: BTreeMap::new(),
            pools: Pools::default(),
        }
    }

    /// Reads the applications that were touched, and those of zones that come or go: nothing of a zone that is not served
    /// is served.
    pub(super) fn read(
        &self,
        reading: &mut Reading<'_>,
        touched: &Touched,
        known: &KnownZones,
        zones: &ZoneChanges,
    ) -> Result<AppsPatch, ReadError> {
        let mut patch = AppsPatch::default();
        for zone in zones.by_id.iter().filter(|(_, change)| change.after.is_none()).map(|(zone, _)| zone) {
            patch.by_id.extend(self.of_zone(*zone).map(|app| (app, None)));
        }
        let keys: BTreeSet<&Key> = touched.of(Kind::App).chain(&zones.apps).collect();
        for key in keys {
            let (Some(zone), Some(id)) = (key.zone_id(), key.id_as::<AppId>()) else { continue };
            let found = if zones.will_serve(known, zone) {
                reading.get(key, |entry| Ok(served(&model::Application::parse(&document(entry)?)?)))?
            } else {
                Found::Nothing
            };
            match found {
                Found::Value(app) => drop(patch.by_id.insert(id, app)),
                Found::Nothing => drop(patch.by_id.insert(id, None)),
                Found::Bad => patch.by_id.extend(self.apps.value.get(id).map(|app| (id, Some(App::clone(app))))),
            }
        }
        for (id, app) in &patch.by_id {
            let both = self.apps.value.get(*id).map(|app| (app.zone, &app.name)).into_iter();
            let both = both.chain(app.as_ref().map(|app| (app.zone, &app.name)));
            for (zone, name) in both {
                let before = self.addresses_of(zone, name).unwrap_or_default();
                patch.owners.insert((zone, name.clone()), before);
            }
        }
        Ok(patch)
    }

    /// Adds to a patch that the PoP has other pools: all names of applications get other addresses.
    pub(super) fn move_to(&self, pools: &Pools, patch: &mut AppsPatch) {
        if self.pools == *pools {
            return;
        }
        patch.pools = Some(pools.clone());
        for (zone, name) in self.by_name.keys() {
            let before = self.addresses_of(*zone, name).unwrap_or_default();
            patch.owners.insert((*zone, name.clone()), before);
        }
    }

    pub(super) fn apply(&mut self, patch: AppsPatch, at: u64) {
        if let Some(pools) = patch.pools {
            self.pools = pools;
        }
        if patch.by_id.is_empty() {
            return;
        }
        let mut edit = self.apps.value.edit();
        for (id, app) in patch.by_id {
            self.forget_name(id);
            match app {
                Some(app) => {
                    self.by_name.entry((app.zone, app.name.clone())).or_default().insert(id);
                    edit.put(app);
                }
                None => edit.remove(id),
            }
        }
        self.apps = Generation { number: at, value: edit.finish() };
    }

    /// The addresses of a name that come from applications; none if it is no application's.
    pub(super) fn addresses_of(&self, zone: ZoneId, owner: &Name) -> Option<Vec<RecordSet>> {
        if self.by_name.is_empty() {
            return None; // as on most edges, and asked for each of a million names
        }
        let ids = self.by_name.get(&(zone, owner.clone()))?;
        Some(address_sets(ids.iter().filter_map(|id| self.apps.value.get(*id)).map(|app| &**app), &self.pools))
    }

    /// All names of applications.
    pub(super) fn owners(&self) -> impl Iterator<Item = &(ZoneId, Name)> {
        self.by_name.keys()
    }

    fn of_zone(&self, zone: ZoneId) -> impl Iterator<Item = AppId> {
        let from = self.by_name.range((zone, Name::root())..);
        from.take_while(move |((of, _), _)| *of == zone).flat_map(|(_, ids)| ids.iter().copied())
    }

    fn forget_name(&mut self, id: AppId) {
        let Some(unit) = self.apps.value.get(id).map(|app| (app.zone, app.name.clone())) else { return };
        if let Some(ids) = self.by_name.get_mut(&unit) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_name.remove(&unit);
            }
        }
    }
}

/// What an application's name answers at the PoP with these pools.
fn address_sets<'a>(apps: impl Iterator<Item = &'a routes::App>, pools: &Pools) -> Vec<RecordSet> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in apps.flat_map(|app| app.addresses_at(pools)) {
        match address {
            IpAddr::V4(address) => v4.push(address.octets().to_vec()),
            IpAddr::V6(address) => v6.push(address.octets().to_vec()),
        }
    }
    // Several applications of one name may share an address; an RRset has no record twice (RFC 2181 §5).
    [(RecordType::A, v4), (RecordType::AAAA, v6)]
        .into_iter()
        .filter(|(_, rdata)| !rdata.is_empty())
        .map(|(rtype, mut rdata)| {
            rdata.sort_unstable();
            rdata.dedup();
            RecordSet { rtype, ttl: ADDRESS_TTL, rdata }
        })
        .collect()
}

/// The application as the edge serves it; none while it has neither a slot nor addresses of its own.
fn served(app: &model::Application) -> Option<routes::App> {
    let addresses = match (&app.edge_ips, app.slot) {
        (model::EdgeIps::Static(addresses), _) => routes::AppAddresses::Literal(addresses.clone()),
        (model::EdgeIps::Dynamic(families), Some(number)) => routes::AppAddresses::Slot { number, families: *families },
        (model::EdgeIps::Dynamic(_), None) => return None,
    };
    Some(routes::App {
        id: app.id,
        zone: app.zone,
        name: app.name.clone(),
        protocol: app.protocol,
        ports: app.ports.clone(),
        addresses,
        origin: app.origin.clone(),
        tls: app.tls,
        proxy_protocol: app.proxy_protocol,
        ip_firewall: app.ip_firewall,
    })
}
