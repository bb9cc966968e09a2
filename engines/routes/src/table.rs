//! The table of all hosts: immutable, shared between generations but for what changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bartizan_names::{NAME_WIRE_MAX, Name};

use crate::Route;

/// A change copies the list of shards (a pointer each) and one shard. With a million hosts a shard has 244 entries, so
/// both copies take microseconds; an empty table takes 64 KB.
const SHARDS: usize = 4096;

/// Every host that this edge answers for. Cheap to clone.
#[derive(Clone)]
pub struct Routes(Arc<Table>);

struct Table {
    /// Entries of one shard, ascending by hash.
    shards: Box<[Arc<[Slot]>]>,
    hosts: usize,
    /// Of them with a leftmost `*`: without any, nobody looks for one.
    wildcards: usize,
}

#[derive(Clone)]
struct Slot {
    hash: u64,
    entry: Arc<Entry>,
}

struct Entry {
    host: Name,
    route: Arc<Route>,
}

/// What a host led to.
pub struct Match<'r> {
    /// Shared, so that it can be held for as long as a request lasts.
    pub route: &'r Arc<Route>,
    pub by: By,
}

/// Which kind of entry matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Exact,
    Wildcard,
}

impl Routes {
    pub fn empty() -> Routes {
        let none: Arc<[Slot]> = Arc::new([]);
        Routes(Arc::new(Table { shards: vec![none; SHARDS].into(), hosts: 0, wildcards: 0 }))
    }

    /// Begins a change. Nothing of it is seen before [`Edit::finish`], and never in `self`.
    pub fn edit(&self) -> Edit {
        Edit {
            shards: self.0.shards.clone(),
            changed: HashMap::new(),
            hosts: self.0.hosts,
            wildcards: self.0.wildcards,
        }
    }

    /// The route of a host name without a port, in any case, with or without a final dot.
    // Hot: once a request. No allocation.
    pub fn find(&self, host: &str) -> Option<Match<'_>> {
        let mut wire = [0; NAME_WIRE_MAX];
        let length = write_wire(host, &mut wire)?;
        if let Some(route) = self.0.get(&wire[..length]) {
            return Some(Match { route, by: By::Exact });
        }
        if self.0.wildcards == 0 {
            return None;
        }
        self.0.nearest_wildcard(&mut wire[..length]).map(|route| Match { route, by: By::Wildcard })
    }

    pub fn len(&self) -> usize {
        self.0.hosts
    }

    pub fn is_empty(&self) -> bool {
        self.0.hosts == 0
    }
}

impl Default for Routes {
    fn default() -> Routes {
        Routes::empty()
    }
}

impl Table {
    fn get(&self, wire: &[u8]) -> Option<&Arc<Route>> {
        let hash = hash_of(wire);
        let shard = &self.shards[shard_of(hash)];
        position(shard, hash, wire).ok().map(|at| &shard[at].entry.route)
    }

    /// Walks up from `wire`. A label's two last octets at least lie in front of its parent: there `*` is written, so
    /// that every candidate is one slice of the same bytes.
    fn nearest_wildcard(&self, wire: &mut [u8]) -> Option<&Arc<Route>> {
        let mut at = 0;
        while wire[at] != 0 {
            at += usize::from(wire[at]) + 1;
            wire[at - 2] = 1;
            wire[at - 1] = b'*';
            if let Some(route) = self.get(&wire[at - 2..]) {
                return Some(route);
            }
        }
        None
    }
}

/// A change in the making.
pub struct Edit {
    shards: Box<[Arc<[Slot]>]>,
    changed: HashMap<usize, Vec<Slot>>,
    hosts: usize,
    wildcards: usize,
}

impl Edit {
    /// Maps `host`, which may begin with `*.`, to `route`, whatever it was mapped to before.
    pub fn put(&mut self, host: &Name, route: Route) {
        let hash = hash_of(host.as_wire());
        let shard = self.shard(hash);
        let slot = Slot { hash, entry: Arc::new(Entry { host: host.clone(), route: Arc::new(route) }) };
        match position(shard, hash, host.as_wire()) {
            Ok(at) => shard[at] = slot,
            Err(at) => {
                shard.insert(at, slot);
                self.hosts += 1;
                self.wildcards += usize::from(host.is_wildcard());
            }
        }
    }

    /// Forgets `host`, if it is there.
    pub fn remove(&mut self, host: &Name) {
        let hash = hash_of(host.as_wire());
        let shard = self.shard(hash);
        if let Ok(at) = position(shard, hash, host.as_wire()) {
            shard.remove(at);
            self.hosts -= 1;
            self.wildcards -= usize::from(host.is_wildcard());
        }
    }

    /// The table with all of these changes.
    pub fn finish(mut self) -> Routes {
        for (index, shard) in self.changed {
            self.shards[index] = shard.into();
        }
        Routes(Arc::new(Table { shards: self.shards, hosts: self.hosts, wildcards: self.wildcards }))
    }

    fn shard(&mut self, hash: u64) -> &mut Vec<Slot> {
        let index = shard_of(hash);
        self.changed.entry(index).or_insert_with(|| self.shards[index].to_vec())
    }
}

/// Where the entry of a name is, or where it belongs.
fn position(shard: &[Slot], hash: u64, wire: &[u8]) -> Result<usize, usize> {
    let first = shard.partition_point(|slot| slot.hash < hash);
    let same = shard[first..].iter().take_while(|slot| slot.hash == hash);
    for (offset, slot) in same.enumerate() {
        if slot.entry.host.as_wire() == wire {
            return Ok(first + offset);
        }
    }
    Err(first)
}

/// The library's hash with its fixed key: the same everywhere, so that equal tables are equal.
fn hash_of(wire: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(wire);
    hasher.finish()
}

/// The low bits, for the high ones order the shard.
fn shard_of(hash: u64) -> usize {
    hash as usize % SHARDS
}

/// Writes a host in the form in which [`Name`] keeps it; none if it cannot be a name.
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

    use bartizan_names::{TunnelId, ZoneId};

    use super::*;
    use crate::{Target, ZoneSettings};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// A route that can be told from others by its number.
    fn route(number: u32) -> Route {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Route {
            zone: ZoneId::from_bytes([0; 16]),
            settings: Arc::new(ZoneSettings::default()),
            target: Target::Tunnel(TunnelId::from_bytes(id)),
        }
    }

    fn found(routes: &Routes, host: &str) -> Option<(u32, By)> {
        let found = routes.find(host)?;
        let Target::Tunnel(id) = &found.route.target else { return None };
        let number = id.as_bytes()[..4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        Some((number, found.by))
    }

    fn table(hosts: &[&str]) -> Routes {
        let mut edit = Routes::empty().edit();
        for (number, host) in (1..).zip(hosts) {
            edit.put(&name(host), route(number));
        }
        edit.finish()
    }

    #[test]
    fn hosts_find_their_route() {
        use By::{Exact, Wildcard};
        let routes = table(&["example.com", "*.example.com", "www.example.com", "*.sub.example.com", "a_b.test"]);
        let long = format!("{0}.{0}.{0}.{1}.example.com", "l".repeat(60), "m".repeat(58)); // 254 octets on the wire
        let too_long = format!("n{long}x");
        for (host, expect) in [
            ("example.com", Some((1, Exact))),
            ("EXAMPLE.Com.", Some((1, Exact))),
            ("www.example.com", Some((3, Exact))),
            ("other.example.com", Some((2, Wildcard))),
            ("*.example.com", Some((2, Exact))),
            ("deep.www.example.com", Some((2, Wildcard))),
            ("a.sub.example.com", Some((4, Wildcard))),
            ("b.a.sub.example.com", Some((4, Wildcard))),
            ("sub.example.com", Some((2, Wildcard))),
            ("A_b.test", Some((5, Exact))),
            (long.as_str(), Some((2, Wildcard))),
            ("anexample.com", None),
            ("com", None),
            ("", None),
            (".", None),
            ("..", None),
            (".example.com", None),
            ("example.com..", None),
            ("example.com:80", None),
            ("192.0.2.1", None),
            ("[2001:db8::1]", None),
            (too_long.as_str(), None),
            ("ünï.example.com", Some((2, Wildcard))), // no such name can be asked for; the edge refuses it earlier
        ] {
            assert_eq!(found(&routes, host), expect, "{host}");
        }
        assert_eq!(routes.len(), 5);
    }

    #[test]
    fn a_change_is_seen_in_the_new_table_only() {
        let before = table(&["a.test", "*.test"]);
        let mut edit = before.edit();
        edit.put(&name("a.test"), route(9));
        edit.remove(&name("*.test"));
        edit.remove(&name("never.test"));
        let after = edit.finish();
        assert_eq!(
            (found(&before, "a.test"), found(&before, "x.test")),
            (Some((1, By::Exact)), Some((2, By::Wildcard)))
        );
        assert_eq!((found(&after, "a.test"), found(&after, "x.test")), (Some((9, By::Exact)), None));
        assert_eq!((before.len(), after.len()), (2, 1));
        assert!(Routes::default().is_empty() && Routes::default().find("a.test").is_none());
    }

    /// Long histories of changes against a map; shards that did not change are the same memory.
    #[test]
    fn many_changes_agree_with_a_map() {
        let mut model = BTreeMap::new();
        let mut routes = Routes::empty();
        let mut state = 1_u64;
        for round in 0..200 {
            let mut edit = routes.edit();
            for _ in 0..20 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let host = format!("h{}.test", (state >> 33) % 500);
                if state >> 63 == 0 {
                    edit.put(&name(&host), route(round));
                    model.insert(host, round);
                } else {
                    edit.remove(&name(&host));
                    model.remove(&host);
                }
            }
            routes = edit.finish();
            assert_eq!(routes.len(), model.len());
        }
        for number in 0..500 {
            let host = format!("h{number}.test");
            assert_eq!(found(&routes, &host).map(|(number, _)| number), model.get(&host).copied(), "{host}");
        }
        let mut edit = routes.edit();
        edit.put(&name("one.more"), route(1));
        let next = edit.finish();
        let shared = |(a, b): (&Arc<[Slot]>, &Arc<[Slot]>)| Arc::ptr_eq(a, b);
        assert_eq!(routes.0.shards.iter().zip(&next.0.shards).filter(|pair| shared(*pair)).count(), SHARDS - 1);
    }
}
