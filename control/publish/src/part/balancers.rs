//! Load balancers, their pools, and what is asked of the servers of these.
//!
//! A load balancer holds the places of the pools that it leads to, so that who is sent somewhere finds all of it in one place. A
//! pool that changes is swapped in its place; one that comes or goes makes those anew that lead to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bartizan_authority::Proxied;
use bartizan_live::Generation;
use bartizan_model as model;
use bartizan_names::{AccountId, LoadBalancerId, MonitorId, Name, PoolId, Timestamp, ZoneId};
use bartizan_routes::Target;
use bartizan_steering::{
    Affinity, Balancer, Balancers, Check, Checks, Cookie, Lists, Monitor, MonitorKind, Node, NodeChoice, NodeTarget,
    Place, Pool, PoolSlot, Request, SameSite, Steering,
};
use bartizan_store::{Entry, Key, Kind, Prefix, ReadError, Scope};

use crate::part::secret_seed;
use crate::reading::{Found, Reading, Touched, document};
use crate::unit::{KnownZones, ZoneChanges};

pub(super) struct BalancersPart {
    pub(super) balancers: Generation<Balancers>,
    pub(super) checks: Generation<Checks>,
    pools: HashMap<PoolId, (AccountId, Arc<PoolSlot>, Option<MonitorId>)>,
    monitors: HashMap<MonitorId, (AccountId, Arc<Monitor>)>,
    /// Monitors that cannot be read, and never could be.
    unread_monitors: BTreeSet<MonitorId>,
    /// And such load balancers. Their names are not known, but which names are theirs is.
    unread: BTreeMap<ZoneId, BTreeSet<LoadBalancerId>>,
    /// Names of those of which so much can be read: they are answered, without records too.
    unread_names: BTreeMap<(ZoneId, Name), LoadBalancerId>,
    wanted: HashMap<LoadBalancerId, (ZoneId, model::LoadBalancer)>,
    /// Which load balancers lead to a pool, and which pools go by a monitor.
    users: HashMap<PoolId, BTreeSet<LoadBalancerId>>,
    watched: HashMap<MonitorId, BTreeSet<PoolId>>,
    by_name: BTreeMap<(ZoneId, Name), LoadBalancerId>,
    /// What the PoP that this edge is is called, in upper case.
    place: String,
}

/// What becomes of them.
#[derive(Default)]
pub(crate) struct BalancersPatch {
    pools: BTreeMap<PoolId, PoolAfter>,
    monitors: BTreeMap<MonitorId, Option<(AccountId, Arc<Monitor>)>>,
    balancers: BTreeMap<LoadBalancerId, Option<(ZoneId, model::LoadBalancer)>>,
    unread_monitors: BTreeSet<MonitorId>,
    unread: BTreeSet<(ZoneId, LoadBalancerId)>,
    unread_names: BTreeMap<LoadBalancerId, (ZoneId, Name)>,
    /// The PoP's name, if it may have changed.
    pub(super) place: Option<String>,
    /// Names whose meaning may change with them.
    pub(super) owners: BTreeSet<(ZoneId, Name)>,
}

/// What becomes of a pool.
enum PoolAfter {
    Gone,
    Wanted(AccountId, model::Pool),
    /// It cannot be read, and is as it was.
    Stays(AccountId, Arc<PoolSlot>, Option<MonitorId>),
}

impl BalancersPart {
    pub(super) const KINDS: &'static [Kind] = &[Kind::Monitor, Kind::Pool, Kind::LoadBalancer];

    pub(super) fn empty() -> BalancersPart {
        BalancersPart {
            balancers: Generation { number: 0, value: Balancers::with_seed(secret_seed()) },
            checks: Generation { number: 0, value: Checks::default() },
            pools: HashMap::new(),
            monitors: HashMap::new(),
            unread_monitors: BTreeSet::new(),
            unread: BTreeMap::new(),
            unread_names: BTreeMap::new(),
            wanted: HashMap::new(),
            users: HashMap::new(),
            watched: HashMap::new(),
            by_name: BTreeMap::new(),
            place: String::new(),
        }
    }

    /// Reads what was touched, and the load balancers of zones that come or go. What cannot be read stays as it is.
    pub(super) fn read(
        &self,
        reading: &mut Reading<'_>,
        touched: &Touched,
        known: &KnownZones,
        zones: &ZoneChanges,
    ) -> Result<BalancersPatch, ReadError> {
        let mut patch = BalancersPatch::default();
        for key in touched.of(Kind::Monitor) {
            let (Scope::Account(account), Some(id)) = (key.scope(), key.id_as::<MonitorId>()) else { continue };
            match reading.get(key, |entry| Ok(model::Monitor::parse(&document(entry)?)?))? {
                Found::Value(it) => drop(patch.monitors.insert(id, Some((account, Arc::new(monitor(it)))))),
                Found::Nothing => drop(patch.monitors.insert(id, None)),
                Found::Bad => match self.monitors.get(&id) {
                    Some(before) => drop(patch.monitors.insert(id, Some(before.clone()))),
                    None => drop(patch.unread_monitors.insert(id)),
                },
            }
        }
        for key in touched.of(Kind::Pool) {
            let (Scope::Account(account), Some(id)) = (key.scope(), key.id_as::<PoolId>()) else { continue };
            match reading.get(key, |entry| Ok(model::Pool::parse(&document(entry)?)?))? {
                Found::Value(it) => drop(patch.pools.insert(id, PoolAfter::Wanted(account, it))),
                Found::Nothing => drop(patch.pools.insert(id, PoolAfter::Gone)),
                Found::Bad => {
                    let stays = |(account, slot, monitor): &(AccountId, Arc<PoolSlot>, Option<MonitorId>)| {
                        (id, PoolAfter::Stays(*account, Arc::clone(slot), *monitor))
                    };
                    patch.pools.extend(self.pools.get(&id).map(stays));
                }
            }
        }
        for zone in zones.by_id.iter().filter(|(_, change)| change.after.is_none()).map(|(zone, _)| zone) {
            let from = self.by_name.range((*zone, Name::root())..);
            patch.balancers.extend(from.take_while(|((of, _), _)| of == zone).map(|(_, id)| (*id, None)));
            patch.balancers.extend(self.unread.get(zone).into_iter().flatten().map(|id| (*id, None)));
        }
        let keys: BTreeSet<&Key> = touched.of(Kind::LoadBalancer).chain(&zones.balancers).collect();
        for key in keys {
            let (Some(zone), Some(id)) = (key.zone_id(), key.id_as::<LoadBalancerId>()) else { continue };
            let mut name = None;
            let found = if zones.will_serve(known, zone) {
                reading.get(key, |entry| {
                    name = name_of(entry).filter(|name| Key::load_balancer_id(zone, name) == id);
                    Ok(model::LoadBalancer::parse(&document(entry)?)?)
                })?
            } else {
                Found::Nothing
            };
            match found {
                Found::Value(it) => drop(patch.balancers.insert(id, it.enabled.then_some((zone, it)))),
                Found::Nothing => drop(patch.balancers.insert(id, None)),
                Found::Bad => match self.wanted.get(&id) {
                    Some(before) => drop(patch.balancers.insert(id, Some(before.clone()))),
                    None => {
                        patch.unread.insert((zone, id));
                        patch.unread_names.extend(name.map(|name| (id, (zone, name))));
                    }
                },
            }
            // What it hid is no longer hidden, or is now: whoever has the id has the name.
            let was_unread = self.unread.get(&zone).is_some_and(|unread| unread.contains(&id));
            if was_unread != patch.unread.contains(&(zone, id)) {
                let names = match reading.snapshot.keys(&Prefix::of(Scope::Zone(zone), Kind::Name), None, usize::MAX) {
                    Ok(names) => names,
                    Err(error) => {
                        reading.damaged(key, error)?;
                        Vec::new()
                    }
                };
                let owners =
                    names.iter().filter_map(Key::id_as::<Name>).filter(|name| Key::load_balancer_id(zone, name) == id);
                patch.owners.extend(owners.map(|owner| (zone, owner)));
            }
        }
        let were_unread = self.unread_names.iter().filter(|(_, id)| patch.balancers.contains_key(*id));
        patch.owners.extend(were_unread.map(|(unit, _)| unit.clone()).chain(patch.unread_names.values().cloned()));
        for (id, after) in &patch.balancers {
            let both = [self.wanted.get(id), after.as_ref()].into_iter().flatten();
            patch.owners.extend(both.map(|(zone, it)| (*zone, it.name.clone())));
        }
        Ok(patch)
    }

    pub(super) fn apply(&mut self, patch: BalancersPatch, known: &KnownZones, at: u64) {
        let place = patch.place.map(|place| place.to_ascii_uppercase()).filter(|place| *place != self.place);
        let has_unread = !patch.unread.is_empty() || !patch.unread_monitors.is_empty();
        let is_same = patch.pools.is_empty() && patch.monitors.is_empty() && patch.balancers.is_empty();
        if is_same && !has_unread && place.is_none() {
            return;
        }
        let (mut to_make, mut to_check) = (BTreeSet::new(), BTreeSet::new());
        if let Some(place) = place {
            self.place = place;
            let by_place = self.wanted.iter().filter(|(_, (_, it))| !it.by_pop.is_empty());
            to_make.extend(by_place.map(|(id, _)| *id));
        }
        for id in patch.unread_monitors {
            to_check.extend(self.watched.get(&id).into_iter().flatten().copied());
            self.unread_monitors.insert(id);
        }
        for (id, after) in patch.monitors {
            self.unread_monitors.remove(&id);
            to_check.extend(self.watched.get(&id).into_iter().flatten().copied());
            match after {
                Some(monitor) => drop(self.monitors.insert(id, monitor)),
                None => drop(self.monitors.remove(&id)),
            }
        }
        for (id, after) in patch.pools {
            to_check.insert(id);
            let before = self.pools.remove(&id);
            if let Some((.., Some(monitor))) = &before {
                remove_from(&mut self.watched, monitor, &id);
            }
            let account = before.as_ref().map(|(account, ..)| *account);
            let after = match after {
                PoolAfter::Gone => None,
                PoolAfter::Stays(account, slot, monitor) => Some((account, slot, monitor)),
                PoolAfter::Wanted(of, wanted) => {
                    let slot = before.map(|(_, slot, _)| slot);
                    let made = pool(&wanted, slot.as_ref().map(|slot| slot.pool()).as_deref());
                    let slot = match slot.filter(|_| account == Some(of)) {
                        Some(slot) => {
                            slot.put(Arc::new(made));
                            slot
                        }
                        None => Arc::new(PoolSlot::new(tag_of(id), made)),
                    };
                    Some((of, slot, wanted.monitor))
                }
            };
            if account != after.as_ref().map(|(account, ..)| *account) {
                to_make.extend(self.users.get(&id).into_iter().flatten().copied());
            }
            if let Some((account, slot, monitor)) = after {
                if let Some(monitor) = monitor {
                    self.watched.entry(monitor).or_default().insert(id);
                }
                self.pools.insert(id, (account, slot, monitor));
            }
        }
        for (zone, id) in patch.unread {
            self.unread.entry(zone).or_default().insert(id);
        }
        self.unread_names.retain(|_, id| !patch.balancers.contains_key(id));
        self.unread_names.extend(patch.unread_names.into_iter().map(|(id, unit)| (unit, id)));
        for (id, after) in patch.balancers {
            to_make.insert(id);
            self.unread.retain(|_, unread| {
                unread.remove(&id);
                !unread.is_empty()
            });
            if let Some((zone, before)) = self.wanted.remove(&id) {
                self.by_name.remove(&(zone, before.name.clone()));
                before.pools().for_each(|pool| remove_from(&mut self.users, &pool, &id));
            }
            if let Some((zone, wanted)) = after {
                self.by_name.insert((zone, wanted.name.clone()), id);
                for pool in wanted.pools() {
                    self.users.entry(pool).or_default().insert(id);
                }
                self.wanted.insert(id, (zone, wanted));
            }
        }
        if !to_make.is_empty() {
            let mut edit = self.balancers.value.edit();
            for id in to_make {
                match self.make(id, known) {
                    Some(balancer) => edit.put(balancer),
                    None => edit.remove(id),
                }
            }
            self.balancers = Generation { number: at, value: edit.finish() };
        }
        for id in &to_check {
            match self.pools.get(id) {
                Some((account, slot, monitor)) => {
                    let is_unread = monitor.is_some_and(|monitor| self.unread_monitors.contains(&monitor));
                    let monitor = monitor.and_then(|monitor| self.monitors.get(&monitor));
                    let monitor = monitor.filter(|(of, _)| of == account).map(|(_, monitor)| Arc::clone(monitor));
                    let check = Check { account: *account, pool: slot.pool(), monitor, is_unread };
                    self.checks.value.insert(*id, Arc::new(check));
                }
                None => drop(self.checks.value.remove(id)),
            }
        }
        if !to_check.is_empty() {
            self.checks.number = at;
        }
    }

    /// What DNS answers at a name in place of its records; none if it is no load balancer's.
    pub(super) fn proxied(&self, zone: ZoneId, owner: &Name) -> Option<Proxied> {
        if self.is_unread(zone, owner) {
            // By nobody: whoever asks is told to ask again, and no request is carried.
            return Some(Proxied::Steered);
        }
        let (_, balancer) = self.at(zone, owner)?;
        Some(if balancer.proxied { Proxied::Always } else { Proxied::Steered })
    }

    /// Where the HTTP edge carries requests for a name in place of where its records lead.
    pub(super) fn target(&self, zone: ZoneId, owner: &Name) -> Option<Target> {
        let (id, balancer) = self.at(zone, owner)?;
        balancer.proxied.then_some(Target::Balancer(id))
    }

    /// All names of load balancers.
    pub(super) fn owners(&self) -> impl Iterator<Item = &(ZoneId, Name)> {
        self.by_name.keys().chain(self.unread_names.keys())
    }

    /// Whether a name is that of a load balancer which cannot be read. What that hides stays hidden.
    fn is_unread(&self, zone: ZoneId, owner: &Name) -> bool {
        self.unread.get(&zone).is_some_and(|unread| unread.contains(&Key::load_balancer_id(zone, owner)))
    }

    fn at(&self, zone: ZoneId, owner: &Name) -> Option<(LoadBalancerId, &model::LoadBalancer)> {
        if self.by_name.is_empty() {
            return None; // as on most edges, and asked for each of a million names
        }
        let id = *self.by_name.get(&(zone, owner.clone()))?;
        Some((id, &self.wanted.get(&id)?.1))
    }

    /// The load balancer as it is served, with the pools that its account has.
    fn make(&self, id: LoadBalancerId, known: &KnownZones) -> Option<Balancer> {
        let (zone, wanted) = self.wanted.get(&id)?;
        let served = known.get(*zone)?;
        let account = served.zone.account;
        let one = |pool: &PoolId| {
            let (of, slot, _) = self.pools.get(pool)?;
            (*of == account).then(|| Arc::clone(slot))
        };
        let all = |pools: &Vec<PoolId>| -> Arc<[Arc<PoolSlot>]> { pools.iter().filter_map(one).collect() };
        let there: Vec<&PoolId> = wanted.default.iter().filter(|pool| one(pool).is_some()).collect();
        let share = |pool: &&PoolId| wanted.weights.get(*pool).copied().unwrap_or(wanted.default_weight);
        let lists = Lists {
            // Nobody is sent to one that is not there.
            fallback: one(&wanted.fallback)
                .unwrap_or_else(|| Arc::new(PoolSlot::new(0, Pool::new(wanted.fallback, Vec::new(), None)))),
            default: all(&wanted.default),
            here: wanted.by_pop.get(&self.place).map(all),
            by_country: wanted.by_country.iter().map(|(country, pools)| (*country, all(pools))).collect(),
            by_region: wanted.by_region.iter().map(|(region, pools)| (*region, all(pools))).collect(),
            weights: there.iter().map(share).collect(),
        };
        let mut balancer = Balancer::new(id, served.zone.name.clone(), wanted.name.clone(), lists);
        (balancer.proxied, balancer.is_service) = (wanted.proxied, wanted.is_service);
        balancer.ttl = wanted.ttl;
        balancer.steering = match wanted.steering {
            model::Steering::Failover => Steering::Failover,
            model::Steering::Geo => Steering::Geo,
            model::Steering::Random => Steering::Random,
            model::Steering::LeastOutstanding => Steering::LeastOutstanding,
            model::Steering::Latency => Steering::Latency,
            model::Steering::Proximity => Steering::Proximity,
        };
        balancer.affinity = match &wanted.affinity {
            model::Affinity::None => Affinity::None,
            model::Affinity::Cookie { cookie, by_address } => Affinity::Cookie {
                cookie: Cookie {
                    max_age: cookie.max_age,
                    same_site: match cookie.same_site {
                        model::SameSite::Lax => SameSite::Lax,
                        model::SameSite::None => SameSite::None,
                        model::SameSite::Strict => SameSite::Strict,
                    },
                    secure: cookie.secure,
                    fails_over: cookie.fails_over,
                    drain: cookie.drain,
                },
                by_address: *by_address,
            },
            model::Affinity::Header { names, all } => {
                Affinity::Header { names: names.iter().map(|name| name.as_str().into()).collect(), all: *all }
            }
        };
        Some(balancer)
    }
}

/// The name in the document of a load balancer, whatever else is in it.
fn name_of(entry: &Entry) -> Option<Name> {
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    let named: Named = serde_json::from_str(&entry.value.json).ok()?;
    Name::parse(&named.name).ok()
}

fn remove_from<K: std::hash::Hash + Eq, V: Ord>(sets: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// What cookies call a pool. Nobody can guess it without the id, which is random.
fn tag_of(pool: PoolId) -> u32 {
    half(&format!("pool/{pool}"))
}

fn half(text: &str) -> u32 {
    bartizan_seal::sha256(text.as_bytes()).first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// A pool with a monitor that is not in force, for a look that somebody asks for.
pub fn check_of(account: AccountId, wanted: model::Monitor, of: &model::Pool) -> Check {
    let (pool, monitor) = (Arc::new(pool(of, None)), Some(Arc::new(monitor(wanted))));
    Check { account, pool, monitor, is_unread: false }
}

fn pool(wanted: &model::Pool, before: Option<&Pool>) -> Pool {
    let node = |node: &model::PoolNode| {
        let target = match &node.target {
            model::NodeTarget::Host(host) => NodeTarget::Host([host.clone()].into()),
            model::NodeTarget::Tunnel(tunnel) => NodeTarget::Tunnel(*tunnel),
        };
        let lower = half(&format!("pool-node/{}/{target:?}/{:?}", wanted.id, node.port));
        let tag = u64::from(tag_of(wanted.id)) << 32 | u64::from(lower);
        let (name, port, enabled, weight) = (node.name.as_str().into(), node.port, node.enabled, node.weight);
        let disabled_at = node.disabled_at.map(Timestamp::unix_seconds);
        Node { name, target, port, enabled, disabled_at, weight, tag }
    };
    let mut pool = Pool::new(wanted.id, wanted.nodes.iter().map(node).collect(), before);
    pool.tell_services(wanted.nodes.iter().map(service));
    pool.enabled = wanted.enabled;
    pool.minimum = wanted.minimum;
    pool.place = wanted.place.map(|(latitude, longitude)| Place::at(latitude, longitude));
    pool.choice = match wanted.choice {
        model::NodeChoice::Random => NodeChoice::Random,
        model::NodeChoice::Hash => NodeChoice::Hash,
        model::NodeChoice::LeastOutstanding => NodeChoice::LeastOutstanding,
    };
    pool
}

/// How DNS tells a server of a service behind its priority (RFC 2782).
fn service(node: &model::PoolNode) -> Option<Box<[u8]>> {
    let (name, port) = node.service()?;
    Some([&node.weight.to_be_bytes()[..], &port.to_be_bytes(), name.as_wire()].concat().into())
}

fn monitor(wanted: model::Monitor) -> Monitor {
    let kind = match wanted.kind {
        model::MonitorKind::Tcp => MonitorKind::Tcp,
        model::MonitorKind::Http { tls, insecure, head, path, fields, host, codes, body, redirects } => {
            let codes = codes.ranges().to_vec();
            MonitorKind::Http(Request { tls, insecure, head, path, fields, host, codes, body, redirects })
        }
    };
    Monitor {
        kind,
        port: wanted.port,
        timeout: wanted.timeout,
        interval: wanted.interval,
        retries: wanted.retries,
        down_after: wanted.down_after,
        up_after: wanted.up_after,
    }
}
