//! The table of all hosts: immutable, shared between generations but for what changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bartizan_authority::{ProxiedName, Zones};
use bartizan_live::{PersistentVec, Sweep};
use bartizan_names::{NAME_WIRE_MAX, Name, ZoneName};

use crate::{Route, Site, SiteNumber, Target};

/// A change copies one shard and what leads to it. With a million hosts a shard has 244 entries, so that takes
/// microseconds; an empty table takes 64 KB.
const SHARDS: usize = 4096;

/// Shards that a change takes the hosts of removed sites out of: some thousand hosts, well below a millisecond.
const SWEPT_AT_ONCE: usize = 16;

/// Places for sites that are added when there is none left, since the list of all sites is copied for it.
const SITES_AT_ONCE: u32 = 128;

/// Every host that this edge answers for. Cheap to clone. `P` is what holds for all hosts of a zone.
#[derive(Clone)]
pub struct Routes<P>(Arc<Table<P>>);

#[derive(Clone)]
struct Table<P> {
    /// Entries of one shard, ascending by hash; of one host as many as zones have it. Slices and no `Shards`, whose lists
    /// cost each request one more load and have room that is not used.
    shards: PersistentVec<Arc<[Slot]>>,
    sites: PersistentVec<Option<Arc<Site<P>>>>,
    /// Removed sites of which some shards still have hosts.
    sweep: Sweep,
    /// Numbers for the next new sites.
    free: Arc<Vec<u32>>,
    /// Who owns zones chooses hosts: the hash must not be theirs to guess.
    seed: u64,
    hosts: usize,
}

#[derive(Clone)]
struct Slot {
    hash: u64,
    route: Arc<Route>,
}

/// What a host led to.
pub struct Match<'r, P> {
    /// Shared as the route is, so that both can be held for as long as a request lasts.
    pub site: &'r Arc<Site<P>>,
    pub route: &'r Arc<Route>,
}

impl<P: Clone> Routes<P> {
    pub fn empty() -> Routes<P> {
        Routes::with_seed(0)
    }

    /// As [`Routes::empty`], with a secret number that keeps users from making up hosts which all meet in one shard.
    pub fn with_seed(seed: u64) -> Routes<P> {
        let none: Arc<[Slot]> = Arc::new([]);
        Routes(Arc::new(Table {
            shards: std::iter::repeat_n(none, SHARDS).collect(),
            sites: PersistentVec::default(),
            sweep: Sweep::default(),
            free: Arc::default(),
            seed,
            hosts: 0,
        }))
    }

    /// Begins a change. Nothing of it is seen before [`Edit::finish`], and never in `self`.
    pub fn edit(&self) -> Edit<P> {
        Edit { table: Table::clone(&self.0), changed: HashMap::new(), sites: Sites::AsBefore }
    }

    /// The route of a host name without a port, in any case (RFC 9110 §4.2.3), with or without a final dot. None if DNS does not lead here:
    /// `names` says which name of which zone answers for it.
    // Hot: once a request. No allocation.
    pub fn find(&self, names: &Zones, host: &str) -> Option<Match<'_, P>> {
        let mut wire = [0; NAME_WIRE_MAX];
        let length = write_wire(host, &mut wire)?;
        let ProxiedName { apex, owner } = names.proxied(&wire[..length])?;
        self.0.get(apex, owner)
    }

    /// Where the requests for exactly this host of a zone go, whatever other zones have at it.
    pub fn target(&self, site: SiteNumber, host: &Name) -> Option<&Target> {
        let hash = hash_of(host.as_wire(), self.0.seed);
        let shard = self.0.shards.get(shard_of(hash))?;
        position(shard, hash, host, site).ok().map(|at| &shard[at].route.target)
    }

    /// All routes, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Route> {
        let slots = self.0.shards.iter().flat_map(|shard| shard.iter());
        slots.map(|slot| &*slot.route).filter(|route| self.0.site(route.site).is_some())
    }

    /// How many routes there are. Those of a removed site count until they are swept, by later changes.
    pub fn len(&self) -> usize {
        self.0.hosts
    }

    pub fn is_empty(&self) -> bool {
        self.0.hosts == 0
    }
}

impl<P: Clone> Default for Routes<P> {
    fn default() -> Routes<P> {
        Routes::empty()
    }
}

impl<P> Table<P> {
    /// The route of exactly this name in a zone.
    fn get(&self, apex: &ZoneName, owner: &[u8]) -> Option<Match<'_, P>> {
        let hash = hash_of(owner, self.seed);
        let shard = self.shards.get(shard_of(hash))?;
        let first = shard.partition_point(|slot| slot.hash < hash);
        let mut same = shard[first..].iter().take_while(|slot| slot.hash == hash);
        same.find_map(|Slot { route, .. }| {
            // Without a site it is left over from a zone that went.
            let site = self.site(route.site).filter(|site| site.apex == *apex)?;
            (route.host.as_wire() == owner).then_some(Match { site, route })
        })
    }

    fn site(&self, number: SiteNumber) -> Option<&Arc<Site<P>>> {
        self.sites.get(number.0 as usize)?.as_ref()
    }
}

/// A change in the making.
pub struct Edit<P> {
    table: Table<P>,
    changed: HashMap<usize, Vec<Slot>>,
    sites: Sites,
}

/// Whether a change is one of sites too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sites {
    AsBefore,
    Changed,
}

impl<P: PartialEq> Edit<P> {
    /// Adds a zone; its hosts refer to it by the number that is given.
    pub fn add_site(&mut self, site: Site<P>) -> SiteNumber {
        let free = Arc::make_mut(&mut self.table.free);
        if free.is_empty() {
            let first = self.table.sites.len() as u32; // four thousand million zones do not fit a machine of ours
            self.table.sites.extend(std::iter::repeat_n(None, SITES_AT_ONCE as usize));
            free.extend((first..first + SITES_AT_ONCE).rev());
        }
        let number = SiteNumber(free.pop().unwrap_or_default());
        self.put_site(number, site);
        number
    }

    /// Says what is true for a zone from now on. None of its hosts is touched.
    pub fn put_site(&mut self, number: SiteNumber, site: Site<P>) {
        if self.table.site(number).is_some_and(|before| **before == site) {
            return;
        }
        self.set_site(number, Some(Arc::new(site)));
    }

    /// Forgets a zone with all its hosts, of which none is found from then on; the memory that they take is given back
    /// by later changes.
    pub fn remove_site(&mut self, number: SiteNumber) {
        if self.table.site(number).is_some() {
            self.set_site(number, None);
            self.table.sweep.add(number.0);
        }
    }

    /// Maps `host` of a zone, which may begin with `*.`, to `target`, whatever it was mapped to before. Nothing happens
    /// if there is no such zone.
    pub fn put(&mut self, site: SiteNumber, host: &Name, target: Target) {
        if self.table.site(site).is_none() {
            return;
        }
        let hash = hash_of(host.as_wire(), self.table.seed);
        if self.route(site, host, hash).is_some_and(|before| before.target == target) {
            return;
        }
        let shard = self.shard(hash);
        let slot = Slot { hash, route: Arc::new(Route { host: host.clone(), site, target }) };
        match position(shard, hash, host, site) {
            Ok(at) => shard[at] = slot,
            Err(at) => {
                shard.insert(at, slot);
                self.table.hosts += 1;
            }
        }
    }

    /// Forgets `host` of a zone, if it is there.
    pub fn remove(&mut self, site: SiteNumber, host: &Name) {
        let hash = hash_of(host.as_wire(), self.table.seed);
        // Most names of a zone were never here: their shards need no copy.
        if self.route(site, host, hash).is_none() {
            return;
        }
        let shard = self.shard(hash);
        if let Ok(at) = position(shard, hash, host, site) {
            shard.remove(at);
            self.table.hosts -= 1;
        }
    }

    /// Whether nothing would be found otherwise than before.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.sites == Sites::AsBefore
    }

    /// The table with all of these changes.
    pub fn finish(mut self) -> Routes<P> {
        self.sweep();
        for (index, shard) in self.changed {
            if let Some(place) = self.table.shards.get_mut(index) {
                *place = shard.into();
            }
        }
        Routes(Arc::new(self.table))
    }

    fn route(&self, site: SiteNumber, host: &Name, hash: u64) -> Option<&Arc<Route>> {
        let index = shard_of(hash);
        let shard = match self.changed.get(&index) {
            Some(shard) => shard.as_slice(),
            None => self.table.shards.get(index)?,
        };
        position(shard, hash, host, site).ok().map(|at| &shard[at].route)
    }

    fn shard(&mut self, hash: u64) -> &mut Vec<Slot> {
        let index = shard_of(hash);
        let shards = &self.table.shards;
        self.changed.entry(index).or_insert_with(|| shards.get(index).map(|shard| shard.to_vec()).unwrap_or_default())
    }

    fn set_site(&mut self, number: SiteNumber, site: Option<Arc<Site<P>>>) {
        self.sites = Sites::Changed;
        if let Some(place) = self.table.sites.get_mut(number.0 as usize) {
            *place = site;
        }
    }

    /// Takes the hosts of removed sites out of the next shards.
    fn sweep(&mut self) {
        let Some(step) = self.table.sweep.step(SHARDS, SWEPT_AT_ONCE) else { return };
        for index in step.parts.clone() {
            let is_gone = |slot: &Slot| step.takes(slot.route.site.0);
            let shard = match self.changed.get_mut(&index) {
                Some(shard) => shard,
                None => match self.table.shards.get(index).filter(|shard| shard.iter().any(is_gone)) {
                    Some(shard) => self.changed.entry(index).or_insert(shard.to_vec()),
                    None => continue,
                },
            };
            let before = shard.len();
            shard.retain(|slot| !is_gone(slot));
            self.table.hosts -= before - shard.len();
        }
        Arc::make_mut(&mut self.table.free).extend_from_slice(&step.free);
    }
}

/// Where the entry of a zone's host is, or where it belongs.
fn position(shard: &[Slot], hash: u64, host: &Name, site: SiteNumber) -> Result<usize, usize> {
    let first = shard.partition_point(|slot| slot.hash < hash);
    let same = shard[first..].iter().take_while(|slot| slot.hash == hash);
    for (offset, slot) in same.enumerate() {
        if slot.route.site == site && slot.route.host == *host {
            return Ok(first + offset);
        }
    }
    Err(first)
}

fn hash_of(wire: &[u8], seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(wire);
    hasher.finish()
}

/// The low bits, for the high ones order the shard.
fn shard_of(hash: u64) -> usize {
    hash as usize % SHARDS
}

/// Writes a host in the form in which [`Name`] keeps it; none if it cannot be a name (RFC 1035 §2.3.4, §3.1).
fn write_wire(host: &str, wire: &mut [u8; NAME_WIRE_MAX]) -> Option<usize> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut at = 0;
    for label in host.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        let end = at + 1 + label.len();
        // One octet is kept for the root, which is there already: the array began as zeros.
        if end >= NAME_WIRE_MAX {
            return None;
        }
        wire[at] = length;
        for (to, from) in wire[at + 1..end].iter_mut().zip(label.bytes()) {
            *to = from.to_ascii_lowercase();
        }
        at = end;
    }
    Some(at + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bartizan_authority::{NameContent, Proxied, ZoneFacts};
    use bartizan_names::{TunnelId, ZoneId};

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// A target that can be told from others by its number.
    fn target(number: u32) -> Target {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Target::Tunnel(TunnelId::from_bytes(id))
    }

    fn apex(text: &str) -> ZoneName {
        ZoneName::new(name(text)).unwrap()
    }

    fn site(text: &str) -> Site<()> {
        Site { zone: ZoneId::from_bytes([0; 16]), apex: apex(text), policy: Arc::new(()) }
    }

    fn number_of(found: Option<Match<'_, ()>>) -> Option<u32> {
        let Target::Tunnel(id) = &found?.route.target else { return None };
        Some(id.as_bytes()[..4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// What exactly this name leads to in the zone `test`.
    fn found(routes: &Routes<()>, host: &str) -> Option<u32> {
        number_of(routes.0.get(&apex("test"), name(host).as_wire()))
    }

    /// These hosts of the zone `test`, with numbers from 1 on.
    fn table(hosts: &[&str]) -> (Routes<()>, SiteNumber) {
        let mut edit = Routes::empty().edit();
        let number = edit.add_site(site("test"));
        for (target_number, host) in (1..).zip(hosts) {
            edit.put(number, &name(host), target(target_number));
        }
        (edit.finish(), number)
    }

    /// Zones with proxied names.
    fn names(zones: &[(&str, &[&str])]) -> Zones {
        let mut edit = Zones::empty().edit();
        for (zone, hosts) in zones {
            let apex = apex(zone);
            edit.put_zone(ZoneFacts::new(apex.clone()));
            for host in *hosts {
                let content = NameContent { sets: Vec::new(), proxied: Proxied::UnlessPaused };
                edit.put_name(&apex, &name(host), content);
            }
        }
        edit.finish()
    }

    /// Which names there are is tested where they are, and with all of it in `control/publish`.
    #[test]
    fn hosts_find_their_route() {
        let hosts = ["sub.test", "*.sub.test", "www.sub.test", "a_b.test"];
        let (routes, _) = table(&hosts);
        let names = names(&[("test", &hosts), ("other", &["without.other"])]);
        let long = format!("{0}.{0}.{0}.{1}.sub.test", "l".repeat(60), "m".repeat(61)); // 255 octets on the wire
        let too_long = format!("n{long}");
        for (host, expect) in [
            ("sub.test", Some(1)),
            ("SUB.Test.", Some(1)),
            ("www.sub.test", Some(3)),
            ("other.sub.test", Some(2)),
            ("*.sub.test", Some(2)),
            ("deep.www.sub.test", None),
            ("A_b.test", Some(4)),
            (long.as_str(), Some(2)),
            ("without.other", None),
            ("ansub.test", None),
            ("test", None),
            ("", None),
            (".", None),
            ("..", None),
            (".sub.test", None),
            ("sub.test..", None),
            ("sub.test:80", None),
            ("192.0.2.1", None),
            ("[2001:db8::1]", None),
            (too_long.as_str(), None),
            ("ünï.sub.test", Some(2)), // no such name can be asked for; the edge refuses it earlier
        ] {
            assert_eq!(number_of(routes.find(&names, host)), expect, "{host}");
        }
        assert_eq!(routes.len(), 4);
    }

    #[test]
    fn a_change_is_seen_in_the_new_table_only() {
        let (before, site) = table(&["a.test", "*.test"]);
        let mut edit = before.edit();
        edit.put(site, &name("a.test"), target(9));
        edit.remove(site, &name("*.test"));
        edit.remove(site, &name("never.test"));
        let after = edit.finish();
        assert_eq!((found(&before, "a.test"), found(&before, "*.test")), (Some(1), Some(2)));
        assert_eq!((found(&after, "a.test"), found(&after, "*.test")), (Some(9), None));
        assert_eq!((before.len(), after.len()), (2, 1));
        assert!(Routes::<()>::default().is_empty() && found(&Routes::default(), "a.test").is_none());
    }

    /// What is true for a zone is true for all its hosts at once, and gone with it.
    #[test]
    fn zones_and_their_hosts() {
        let mut edit = Routes::empty().edit();
        let (outer, inner) = (edit.add_site(site("test")), edit.add_site(site("in.test")));
        edit.put(outer, &name("www.in.test"), target(1));
        edit.put(inner, &name("www.in.test"), target(2));
        let both = edit.finish();
        let mut edit = both.edit();
        edit.remove_site(inner);
        let inner_gone = edit.finish();
        let mut edit = inner_gone.edit();
        edit.remove_site(outer);
        edit.put(outer, &name("late.test"), target(3));
        let all_gone = edit.finish();
        for (state, routes, expect) in [
            ("both", &both, [Some(1), Some(2), None]),
            ("inner gone", &inner_gone, [Some(1), None, None]),
            ("all gone", &all_gone, [None; 3]),
        ] {
            let asked = [("test", "www.in.test"), ("in.test", "www.in.test"), ("test", "late.test")];
            let numbers = asked.map(|(zone, host)| number_of(routes.0.get(&apex(zone), name(host).as_wire())));
            assert_eq!(numbers, expect, "{state}");
        }
    }

    /// A zone that has the number of one that went has none of its hosts.
    #[test]
    fn numbers_are_used_again_when_nothing_has_them() {
        let mut routes = Routes::empty();
        let mut numbers = std::collections::HashSet::new();
        for round in 0..3 * SHARDS / SWEPT_AT_ONCE {
            let mut edit = routes.edit();
            let number = edit.add_site(site("test"));
            numbers.insert(number);
            edit.put(number, &name(&format!("h{round}.test")), target(1));
            let alone = edit.finish();
            assert!(round == 0 || found(&alone, &format!("h{}.test", round - 1)).is_none());
            let mut edit = alone.edit();
            edit.remove_site(number);
            routes = edit.finish();
        }
        assert!(numbers.len() < 2 * SHARDS / SWEPT_AT_ONCE, "{} numbers", numbers.len());
        assert!(routes.len() < 2 * SHARDS / SWEPT_AT_ONCE, "{} hosts", routes.len());
    }

    /// Long histories of changes against a map; shards that did not change are the same memory.
    #[test]
    fn many_changes_agree_with_a_map() {
        let mut model = BTreeMap::new();
        let (mut routes, site) = table(&[]);
        let mut state = 1_u64;
        for round in 0..200 {
            let mut edit = routes.edit();
            for _ in 0..20 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let host = format!("h{}.test", (state >> 33) % 500);
                if state >> 63 == 0 {
                    edit.put(site, &name(&host), target(round));
                    model.insert(host, round);
                } else {
                    edit.remove(site, &name(&host));
                    model.remove(&host);
                }
            }
            routes = edit.finish();
            assert_eq!(routes.len(), model.len());
        }
        for number in 0..500 {
            let host = format!("h{number}.test");
            assert_eq!(found(&routes, &host), model.get(&host).copied(), "{host}");
        }
        let mut edit = routes.edit();
        edit.put(site, &name("one.more"), target(1));
        let next = edit.finish();
        let shared = |(a, b): (&Arc<[Slot]>, &Arc<[Slot]>)| Arc::ptr_eq(a, b);
        assert_eq!(routes.0.shards.iter().zip(next.0.shards.iter()).filter(|pair| shared(*pair)).count(), SHARDS - 1);
    }
}
