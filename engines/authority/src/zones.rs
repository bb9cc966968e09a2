//! All zones of a PoP as one immutable value, and how a name is found in it.
//!
//! There is one table for the names of all zones. Beside them it holds a *directory*: apexes and what lies above
//! them, as names of a zone of their own, so that the zone of a name is found by the same means.

use std::sync::Arc;

use bartizan_live::{PersistentMap, PersistentVec, Sweep};
use bartizan_names::{Name, RecordType, ZoneId, ZoneName};

use crate::edit::Edit;
use crate::entry::{DIRECTORY, Entry, Flags, Set};
use crate::facts::{NameContent, RecordSet};
use crate::hash::hash;
use crate::mail::Mail;
use crate::shard::{Shard, Slot};
use crate::zone::Zone;
use crate::zone_bits::ZoneBits;

/// Labels that a name can have: 127 of one octet each (RFC 1035 §2.3.4).
const LABELS_MAX: usize = 127;

/// Every zone that this server answers for. A clone costs little, and neither changes the other.
#[derive(Clone, Debug)]
pub struct Zones {
    pub(crate) shards: PersistentVec<Shard>,
    pub(crate) zones: PersistentVec<Option<Arc<Zone>>>,
    /// Zones of which a name that is found by its hash alone may be the wrong answer: another zone of ours lies inside,
    /// or the zone was removed and its names are not swept yet. Their names are found from the directory down.
    pub(crate) indirect: ZoneBits,
    pub(crate) paused: ZoneBits,
    /// Zones of which nothing is known but where they are.
    pub(crate) held: ZoneBits,
    /// Zones that have keys.
    pub(crate) signed: ZoneBits,
    /// Zones that had a delegation or a DNAME since they are here: only in these a [`Turn`] may lie above a name.
    pub(crate) turns: ZoneBits,
    /// Zones whose proxied names are not visited by HTTPS.
    pub(crate) clear_only: ZoneBits,
    /// Zones whose proxied names are not visited by HTTP/2.
    pub(crate) http1_only: ZoneBits,
    /// Zones whose proxied names are not visited by HTTP/3.
    pub(crate) tcp_only: ZoneBits,
    /// Zones that send phishing mail.
    pub(crate) flagged: ZoneBits,
    /// Those of them whose apex has no text.
    pub(crate) without_text: ZoneBits,
    /// What apexes with a CNAME stand for, by the number of their zone.
    pub(crate) aliases: PersistentMap<u32, Box<[u8]>>,
    /// Removed zones whose names are still in the shards.
    pub(crate) sweep: Sweep,
    /// Numbers of zones that are gone, for the next new ones.
    pub(crate) free: Arc<Vec<u32>>,
    pub(crate) seed: u64,
    pub(crate) entry_count: usize,
    pub(crate) name_count: usize,
    pub(crate) zone_count: usize,
}

/// A name that answers with the PoP's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxiedName<'z> {
    /// The deepest zone that it lies in.
    pub apex: &'z ZoneName,
    /// Wire bytes. May begin with a `*` label.
    pub owner: &'z [u8],
}

/// A name in the form in which it is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'n> {
    /// Wire bytes in lower case (RFC 4343 §3).
    pub(crate) name: &'n [u8],
    pub(crate) hash: u64,
}

/// What is known of a name before anything is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum First<'z> {
    Unknown,
    /// No entry has its hash, so it exists in no zone.
    Absent,
    Likely(Entry<'z>),
}

/// Where a name lies in our zones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location<'z> {
    /// The number of the zone.
    pub(crate) zone: u32,
    pub(crate) node: Node<'z>,
    pub(crate) mail: Mail,
}

impl<'z> Location<'z> {
    fn new(zone: u32, node: Node<'z>) -> Location<'z> {
        Location { zone, node, mail: Mail::AsIs }
    }
}

/// What is at a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node<'z> {
    /// The name itself exists, perhaps without records.
    Exact(Entry<'z>),
    /// It does not, and a wildcard answers for it (RFC 4592 §3.3).
    Wildcard(Entry<'z>),
    /// No record makes it exist, but the edge says something there by itself.
    Implied,
    Missing,
}

impl<'z> Node<'z> {
    pub(crate) fn entry(self) -> Option<Entry<'z>> {
        match self {
            Node::Exact(entry) | Node::Wildcard(entry) => Some(entry),
            Node::Implied | Node::Missing => None,
        }
    }
}

/// What leads away from a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn<'z> {
    /// A delegation: the name below the apex that has NS records.
    Cut(Entry<'z>),
    /// The name that has a DNAME, and that.
    Dname(Entry<'z>, Set<'z>),
}

impl Zones {
    /// No zone at all: everything is refused.
    pub fn empty() -> Zones {
        Zones::with_seed(0)
    }

    /// As [`Zones::empty`], with a secret number that keeps users from making up names which all meet in one shard.
    pub fn with_seed(seed: u64) -> Zones {
        Zones {
            shards: PersistentVec::from_iter([Shard::empty()]),
            zones: PersistentVec::default(),
            indirect: ZoneBits::default(),
            paused: ZoneBits::default(),
            held: ZoneBits::default(),
            signed: ZoneBits::default(),
            turns: ZoneBits::default(),
            clear_only: ZoneBits::default(),
            http1_only: ZoneBits::default(),
            tcp_only: ZoneBits::default(),
            flagged: ZoneBits::default(),
            without_text: ZoneBits::default(),
            aliases: PersistentMap::default(),
            sweep: Sweep::default(),
            free: Arc::default(),
            seed,
            entry_count: 0,
            name_count: 0,
            zone_count: 0,
        }
    }

    /// Begins a set of changes that become a new value; this one stays as it is.
    pub fn edit(&self) -> Edit {
        Edit::of(self.clone())
    }

    pub fn zone_count(&self) -> usize {
        self.zone_count
    }

    /// Names with records, or proxied. Empty non-terminals do not count, nor do an apex's own SOA and NS.
    /// Those of a removed zone count until they are swept, by later changes.
    pub fn name_count(&self) -> usize {
        self.name_count
    }

    /// What was put at a name, as it was put; empty if nothing is there. For who changes a part of it.
    pub fn content(&self, zone: &ZoneName, owner: &Name) -> NameContent {
        let directory = self.find(self.key(zone.as_name().as_wire()), DIRECTORY);
        let Some(number) = directory.and_then(Entry::apex_of) else { return NameContent::default() };
        let Some(entry) = self.find(self.key(owner.as_wire()), number) else { return NameContent::default() };
        let mut sets: Vec<RecordSet> = entry.sets().map(Set::to_record_set).collect();
        if owner == zone.as_name() {
            sets.extend(self.zone(number).and_then(|zone| zone.user_ns.clone()));
        }
        NameContent { sets, proxied: entry.flags().proxied() }
    }

    /// The name whose content answers for `name` (lower-case wire bytes) with the PoP's addresses: itself, or the wildcard
    /// that covers it. None if DNS does not lead to this PoP.
    // Hot: once an HTTP request. No allocation.
    pub fn proxied(&self, name: &[u8]) -> Option<ProxiedName<'_>> {
        let key = self.key(name);
        let Location { zone, node, .. } = self.locate(key, self.first(key.hash))?;
        // What is delegated or redirected is not answered here, so nothing is served there either.
        if self.turn(zone, name).is_some() {
            return None;
        }
        let owner = node.entry().filter(|entry| self.is_proxied(zone, *entry))?;
        Some(ProxiedName { apex: &self.zone(zone)?.facts.apex, owner: owner.name() })
    }

    /// Where a name (lower-case wire bytes) lies among all names. Who puts many puts them in this order.
    pub fn place_of(&self, name: &[u8]) -> u64 {
        hash(name, self.seed)
    }

    pub(crate) fn key<'n>(&self, name: &'n [u8]) -> Key<'n> {
        Key { name, hash: hash(name, self.seed) }
    }

    pub(crate) fn shard(&self, hash: u64) -> Option<&Shard> {
        self.shards.get(shard_index(hash, self.shards.len()))
    }

    /// What is known of a name by its hash.
    pub(crate) fn first(&self, hash: u64) -> First<'_> {
        self.first_slot(hash).map_or(First::Unknown, |slot| self.first_entry(hash, slot))
    }

    /// The slot that a search for `hash` begins with.
    pub(crate) fn first_slot(&self, hash: u64) -> Option<Slot> {
        self.shard(hash).map(|shard| shard.first_slot(hash))
    }

    /// The entry that a search for `hash` meets first, its name not yet compared; `slot` is its first slot.
    pub(crate) fn first_entry(&self, hash: u64, slot: Slot) -> First<'_> {
        self.shard(hash).and_then(|shard| shard.first_entry(hash, slot)).map_or(First::Absent, First::Likely)
    }

    /// The entry of a name in one zone.
    pub(crate) fn find(&self, key: Key<'_>, zone: u32) -> Option<Entry<'_>> {
        self.shard(key.hash)?.find(key.hash, |entry| entry.zone() == zone && entry.name() == key.name)
    }

    /// By which what happens in the zone with this number is counted.
    pub fn id_of(&self, number: u32) -> Option<ZoneId> {
        self.zone(number)?.facts.id
    }

    /// Whether a zone of ours begins at a name.
    pub(crate) fn has_apex(&self, key: Key<'_>) -> bool {
        self.find(key, DIRECTORY).and_then(Entry::apex_of).is_some()
    }

    pub(crate) fn zone(&self, number: u32) -> Option<&Arc<Zone>> {
        self.zones.get(number as usize)?.as_ref()
    }

    /// Whether an entry of a zone answers with the PoP's addresses.
    pub(crate) fn is_proxied(&self, zone: u32, entry: Entry<'_>) -> bool {
        let flags = entry.flags();
        flags.has(Flags::PROXIED) && (flags.has(Flags::PROXIED_ALWAYS) || !self.paused.has(zone))
    }

    /// What leads away from `name` on the way down to it from the apex, if anything does: the first delegation at or above
    /// it (RFC 1034 §4.3.2, step 3b), or the first DNAME above it (RFC 6672 §3.2). At most one look-up a label, and none
    /// where there never was either.
    pub(crate) fn turn(&self, zone: u32, name: &[u8]) -> Option<Turn<'_>> {
        if !self.turns.has(zone) {
            return None;
        }
        let apex_bytes = self.zone(zone)?.apex().as_wire().len();
        let starts = LabelStarts::of(name);
        (1..=starts.count())
            .filter_map(|depth| name.get(starts.at(depth)?..))
            .skip_while(|owner| owner.len() < apex_bytes)
            // What does not exist has nothing below it.
            .map_while(|owner| self.find(self.key(owner), zone))
            .find_map(|entry| {
                let is_apex = entry.flags().has(Flags::APEX);
                // A name of this edge itself stays here: name servers would be lost with it.
                let may_be_cut = !is_apex && !entry.flags().has(Flags::PROXIED_ALWAYS);
                if may_be_cut && entry.set(RecordType::NS).is_some() {
                    return Some(Turn::Cut(entry));
                }
                let dname = || entry.set(RecordType::DNAME).map(|set| Turn::Dname(entry, set));
                (entry.name().len() < name.len()).then(dname).flatten()
            })
    }

    /// Whether an apex stands for another name.
    pub fn has_aliases(&self) -> bool {
        !self.aliases.is_empty()
    }

    /// Whether another zone of ours begins at `name`, inside of `zone`.
    pub(crate) fn begins_inside(&self, zone: u32, name: &[u8]) -> bool {
        let number = self.find(self.key(name), DIRECTORY).and_then(Entry::apex_of);
        number.is_some_and(|number| number != zone)
    }

    /// If the apex of a zone of ours lies at `location`: where that name is in the zone around it, if that is one of ours too.
    /// No wildcard of it answers there.
    pub(crate) fn locate_above(&self, name: &[u8], location: Option<Location<'_>>) -> Option<Location<'_>> {
        let Node::Exact(entry) = location?.node else { return None };
        if !entry.flags().has(Flags::APEX) {
            return None;
        }
        let above = name.get(usize::from(*name.first()?) + 1..)?;
        let (zone, apex_depth) = self.zone_of(above, &LabelStarts::of(above))?;
        let found = self.walk_in(zone, apex_depth, name, First::Unknown)?;
        let node = if matches!(found.node, Node::Exact(_)) { found.node } else { Node::Missing };
        Some(Location { node, ..found })
    }

    /// Where `key` lies. None if it is in no zone of ours.
    pub(crate) fn locate<'z>(&'z self, key: Key<'_>, first: First<'z>) -> Option<Location<'z>> {
        if let First::Likely(entry) = first
            && entry.name() == key.name
            && entry.zone() != DIRECTORY
            && !self.indirect.has(entry.zone())
        {
            return Some(Location::new(entry.zone(), Node::Exact(entry)));
        }
        self.walk(key.name, first)
    }

    /// Finds the zone from the top down, and in it the name or the deepest name above it that exists (RFC 1034 §4.3.2,
    /// step 3; RFC 4592 §3.3.1). Stops at the first label that does not exist, so a long name costs no more than a short
    /// one.
    fn walk(&self, name: &[u8], first: First<'_>) -> Option<Location<'_>> {
        let (zone, apex_depth) = self.zone_of(name, &LabelStarts::of(name))?;
        self.walk_in(zone, apex_depth, name, first)
    }

    /// The same in one zone, whose apex has so many labels.
    fn walk_in(&self, zone: u32, apex_depth: usize, name: &[u8], first: First<'_>) -> Option<Location<'_>> {
        let starts = LabelStarts::of(name);
        let mut encloser = self.find(self.key(name.get(starts.at(apex_depth)?..)?), zone)?;
        for depth in apex_depth + 1..=starts.count() {
            let next = if depth == starts.count() && matches!(first, First::Absent) {
                None
            } else {
                self.find(self.key(name.get(starts.at(depth)?..)?), zone)
            };
            match next {
                Some(entry) => encloser = entry,
                None => return Some(Location::new(zone, self.wildcard_below(encloser, zone))),
            }
        }
        Some(Location::new(zone, Node::Exact(encloser)))
    }

    /// The deepest zone that `name` lies in (RFC 1034 §4.3.2, step 2), and how many labels its apex has.
    fn zone_of(&self, name: &[u8], starts: &LabelStarts) -> Option<(u32, usize)> {
        let mut deepest = None;
        for depth in 1..=starts.count() {
            let Some(entry) = self.find(self.key(name.get(starts.at(depth)?..)?), DIRECTORY) else { break };
            if let Some(number) = entry.apex_of() {
                deepest = Some((number, depth));
            }
            if entry.children() == 0 {
                break;
            }
        }
        deepest
    }

    /// The wildcard right below the closest encloser, and no other (RFC 4592 §3.3.1).
    fn wildcard_below(&self, encloser: Entry<'_>, zone: u32) -> Node<'_> {
        if !encloser.flags().has(Flags::WILDCARD_BELOW) {
            return Node::Missing;
        }
        let mut name = [0; 2 + u8::MAX as usize];
        let end = 2 + encloser.name().len();
        name[..2].copy_from_slice(b"\x01*");
        name[2..end].copy_from_slice(encloser.name());
        self.find(self.key(&name[..end]), zone).map_or(Node::Missing, Node::Wildcard)
    }
}

/// Which of `shards` a hash belongs to: by its upper half, since slots are chosen by the lower one.
pub(crate) fn shard_index(hash: u64, shards: usize) -> usize {
    (((hash >> 32) * shards as u64) >> 32) as usize
}

/// Where the labels of a name begin.
struct LabelStarts {
    starts: [u8; LABELS_MAX],
    count: usize,
}

impl LabelStarts {
    fn of(name: &[u8]) -> LabelStarts {
        let mut labels = LabelStarts { starts: [0; LABELS_MAX], count: 0 };
        let mut at = 0;
        while let Some(&length @ 1..) = name.get(at)
            && labels.count < LABELS_MAX
        {
            labels.starts[labels.count] = at as u8; // names have at most 255 bytes
            labels.count += 1;
            at += usize::from(length) + 1;
        }
        labels
    }

    fn count(&self) -> usize {
        self.count
    }

    /// Where the last `depth` labels begin, for a depth of 1 and more.
    fn at(&self, depth: usize) -> Option<usize> {
        self.starts.get(self.count.checked_sub(depth)?).map(|start| usize::from(*start))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bartizan_names::RecordType;

    use super::*;
    use crate::facts::{Proxied, ZoneFacts};

    /// Two names below `example` whose slots look the same: among so many names there are some.
    fn twins() -> (Name, Name) {
        let mut seen = HashMap::new();
        (0..1_000_000_u32)
            .find_map(|number| {
                let name = Name::parse(&format!("n{number}.example")).unwrap();
                let twin = seen.insert(hash(name.as_wire(), 0) as u32, name.clone())?;
                Some((name, twin))
            })
            .unwrap()
    }

    #[test]
    fn names_whose_slots_look_the_same_are_told_apart() {
        let (one, other) = twins();
        let apex = ZoneName::new(Name::parse("example").unwrap()).unwrap();
        let mut edit = Zones::empty().edit();
        edit.put_zone(ZoneFacts::new(apex.clone()));
        let content = |address: u8| NameContent {
            sets: vec![RecordSet { rtype: RecordType::A, ttl: 1, rdata: vec![vec![address; 4]] }],
            proxied: Proxied::Never,
        };
        edit.put_name(&apex, &one, content(1));
        let alone = edit.finish();
        let mut edit = alone.edit();
        edit.put_name(&apex, &other, content(2));
        let both = edit.finish();
        for (zones, name, expect) in [
            (&alone, &one, Some([1; 4])),
            (&alone, &other, None),
            (&both, &one, Some([1; 4])),
            (&both, &other, Some([2; 4])),
        ] {
            let key = zones.key(name.as_wire());
            let first = zones.first_entry(key.hash, zones.first_slot(key.hash).unwrap());
            let set = zones.locate(key, first).unwrap().node.entry().and_then(|entry| entry.set(RecordType::A));
            let address = set.and_then(|set| set.rdata().next());
            assert_eq!(address, expect.as_ref().map(<[u8; 4]>::as_slice), "{name}");
        }
    }
}
