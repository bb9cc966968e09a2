//! Where the ways of all apexes with a CNAME lead out of our zones, kept as zones change.
//!
//! ```text
//! zones before ─┐                        ┌─ names that changed ─► ways that pass them ─┐
//!               ├─ shards that are other ┤                                             ├─► followed anew
//! zones now ────┘                        └─ apexes that changed ─► their own ways ─────┘
//! ```
//! A change costs what it changed, whatever there is: what both have in common is told by its place in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bartizan_names::RecordType;

use crate::edit::parent_of;
use crate::entry::{DIRECTORY, Entry, Flags};
use crate::hash::hash;
use crate::resolve::flat;
use crate::shard::Shard;
use crate::zones::Zones;

/// Ways that are followed anew in the time in which the names of one shard are compared: with no more of them for each shard
/// that changed, all are followed.
const WAYS_A_SHARD: usize = 64;

/// A name in wire form with its labels from the last to the first: what lies below it begins with it.
type Reversed = Box<[u8]>;

/// The ways from apexes. Those that follow zones have to see each value in the order in which they came, but not all of them.
#[derive(Debug, Default)]
pub struct Ways {
    /// What they were followed in.
    zones: Option<Zones>,
    /// The zones whose ways pass a name.
    passing: BTreeMap<Reversed, BTreeSet<u32>>,
    /// Names outside our zones at which ways end, and how many do.
    outside: HashMap<Box<[u8]>, usize>,
}

/// What became other from one value to the next.
#[derive(Default)]
struct Changes<'z> {
    /// Names whose own content did.
    names: BTreeSet<&'z [u8]>,
    /// Names at and below which anything may be answered otherwise.
    trees: BTreeSet<&'z [u8]>,
    /// Zones whose own way may be another.
    zones: BTreeSet<u32>,
}

impl Ways {
    /// Follows them in `zones`. Whether other names outside are needed than before.
    pub fn follow(&mut self, zones: &Zones) -> bool {
        let before = self.zones.replace(zones.clone());
        let Some(before) = before.filter(|before| before.seed == zones.seed) else { return self.follow_all(zones) };
        if self.passing.is_empty() && !zones.has_aliases() {
            return false;
        }
        let is_spread_anew = before.shards.len() != zones.shards.len();
        if is_spread_anew || zones.aliases.len() <= unshared(&before, zones).count() * WAYS_A_SHARD {
            return self.follow_all(zones);
        }
        self.follow_changes(&before, zones)
    }

    /// The names outside our zones (lower-case wire bytes) that apexes stand for, so that their addresses are needed.
    pub fn outside_names(&self) -> impl Iterator<Item = &[u8]> {
        self.outside.keys().map(|name| &**name)
    }

    fn follow_all(&mut self, zones: &Zones) -> bool {
        let before = std::mem::take(&mut self.outside);
        self.passing.clear();
        for zone in zones.aliases.iter().map(|(zone, _)| *zone) {
            self.put(zone, zones);
        }
        before.len() != self.outside.len() || before.keys().any(|name| !self.outside.contains_key(name))
    }

    fn follow_changes(&mut self, before: &Zones, zones: &Zones) -> bool {
        let mut changes = Changes::default();
        for (old, new) in unshared(before, zones) {
            changes.note_shard(old, new, zones.seed);
        }
        changes.note_zones(before, zones);
        let mut is_other = false;
        for zone in self.concerned(&changes) {
            let gone = self.take(zone, before);
            let come = self.put(zone, zones);
            is_other |= gone != come;
        }
        is_other
    }

    /// The zones whose ways may lead elsewhere now.
    fn concerned(&self, changes: &Changes<'_>) -> BTreeSet<u32> {
        let mut concerned = changes.zones.clone();
        for name in &changes.names {
            concerned.extend(self.passing.get(&reversed(name)).into_iter().flatten());
        }
        for top in &changes.trees {
            let top = reversed(top);
            let below = self.passing.range(top.clone()..).take_while(|(name, _)| name.starts_with(&top));
            concerned.extend(below.flat_map(|(_, zones)| zones));
        }
        concerned
    }

    /// Takes the way of a zone in, if it has one. The name at which it ends outside.
    fn put<'z>(&mut self, zone: u32, zones: &'z Zones) -> Option<&'z [u8]> {
        let end = way(zone, zones, |name| {
            self.passing.entry(reversed(name)).or_default().insert(zone);
        })?;
        *self.outside.entry(end.into()).or_default() += 1;
        Some(end)
    }

    /// Takes out what [`Ways::put`] took in.
    fn take<'z>(&mut self, zone: u32, zones: &'z Zones) -> Option<&'z [u8]> {
        let end = way(zone, zones, |name| {
            let name = reversed(name);
            if let Some(passing) = self.passing.get_mut(&name) {
                passing.remove(&zone);
                if passing.is_empty() {
                    self.passing.remove(&name);
                }
            }
        })?;
        if let Some(count) = self.outside.get_mut(end) {
            *count -= 1;
            if *count == 0 {
                self.outside.remove(end);
            }
        }
        Some(end)
    }
}

/// The name at which the way of the apex of a zone ends, if that lies outside our zones. `pass` is given each name on it, and
/// that.
fn way<'z>(zone: u32, zones: &'z Zones, pass: impl FnMut(&'z [u8])) -> Option<&'z [u8]> {
    let target = zones.aliases.get(&zone)?;
    let apex = zones.zone(zone)?.apex().as_wire();
    let entry = zones.find(zones.key(apex), zone)?;
    // What answers with the PoP's addresses needs no others.
    if zones.is_proxied(zone, entry) {
        return None;
    }
    flat::outside(zones, target, pass)
}

/// The shards that two values do not share.
fn unshared<'z>(before: &'z Zones, zones: &'z Zones) -> impl Iterator<Item = (Option<&'z Shard>, Option<&'z Shard>)> {
    let both = before.shards.unshared(&zones.shards).map(|(_, old, new)| (old, new));
    both.filter(|(old, new)| !old.zip(*new).is_some_and(|(old, new)| old.is_same(new)))
}

/// The labels of a name (wire bytes) from the last to the first.
fn reversed(name: &[u8]) -> Reversed {
    let mut labels = Vec::new();
    let mut rest = name;
    while let Some(length @ 1..) = rest.first().map(|length| usize::from(*length)) {
        let (label, behind) = rest.split_at(rest.len().min(length + 1));
        labels.push(label);
        rest = behind;
    }
    labels.reverse();
    labels.concat().into()
}

impl<'z> Changes<'z> {
    fn note_shard(&mut self, old: Option<&'z Shard>, new: Option<&'z Shard>, seed: u64) {
        let twin = |entry: Entry<'z>, other: Option<&'z Shard>| {
            other?.find(hash(entry.name(), seed), |other| other.zone() == entry.zone() && other.name() == entry.name())
        };
        for entry in old.into_iter().flat_map(Shard::entries) {
            self.note(entry, twin(entry, new));
        }
        for entry in new.into_iter().flat_map(Shard::entries) {
            if twin(entry, old).is_none() {
                self.note(entry, None);
            }
        }
    }

    /// An entry of one value, and what it is in the other one.
    fn note(&mut self, entry: Entry<'z>, other: Option<Entry<'z>>) {
        if other.is_some_and(|other| other.says_as(entry)) {
            return;
        }
        let name = entry.name();
        if entry.zone() == DIRECTORY {
            let (was, is) = (entry.apex_of(), other.and_then(Entry::apex_of));
            if was != is {
                self.trees.insert(name);
                self.zones.extend(was.into_iter().chain(is));
            }
            return;
        }
        if entry.flags().has(Flags::APEX) {
            self.zones.insert(entry.zone());
        }
        // What does not exist hides what is below it, and no more does how many there are.
        let turns = |entry: Entry<'_>| entry.set(RecordType::NS).is_some() || entry.set(RecordType::DNAME).is_some();
        if other.is_none_or(|other| turns(entry) || turns(other)) {
            self.trees.insert(name);
        } else {
            self.names.insert(name);
        }
        if name.starts_with(b"\x01*") {
            self.trees.insert(parent_of(name));
        }
    }

    /// What is true of whole zones.
    fn note_zones(&mut self, before: &'z Zones, zones: &'z Zones) {
        for (number, old, new) in before.zones.unshared(&zones.zones) {
            let number = number as u32;
            let facts = |zones: &Zones| (zones.paused.has(number), zones.held.has(number));
            if facts(before) != facts(zones) {
                self.zones.insert(number);
                let both = [old, new].into_iter().flatten().flatten();
                self.trees.extend(both.map(|zone| zone.apex().as_wire()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bartizan_names::{Name, RecordType, ZoneName};
    use proptest::prelude::*;

    use super::*;
    use crate::edit::Edit;
    use crate::facts::{NameContent, Proxied, RecordSet, ZoneFacts};

    const ZONES: [&str; 6] = ["a.test", "b.test", "c.test", "sub.b.test", "deep.sub.b.test", "d.example"];
    /// Below each of them; the last of them is the apex itself.
    const LABELS: [&str; 8] = ["x.", "y.", "*.", "sub.", "x.sub.", "*.sub.", "y.x.sub.", ""];
    const OUTSIDE: [&str; 3] = ["cdn.example", "x.e.test", "other.net"];

    /// What is done to the zones.
    #[derive(Clone, Debug)]
    enum Step {
        Zone { zone: usize, paused: bool },
        Hold(usize),
        Remove(usize),
        Name { zone: usize, label: usize, what: What, proxied: u8 },
    }

    #[derive(Clone, Debug)]
    enum What {
        Nothing,
        Address,
        Alias(usize),
        Cut,
        Dname,
    }

    /// Names of our zones, and others.
    fn target(number: usize) -> Name {
        let inside = ZONES.len() * LABELS.len();
        let number = number % (inside + OUTSIDE.len());
        let text = match number.checked_sub(inside) {
            Some(outside) => OUTSIDE[outside].to_owned(),
            None => owner(number / LABELS.len(), number % LABELS.len()).replace("*.", "w."),
        };
        Name::parse(&text).unwrap()
    }

    fn owner(zone: usize, label: usize) -> String {
        format!("{}{}", LABELS[label], ZONES[zone])
    }

    fn apex(zone: usize) -> ZoneName {
        ZoneName::new(Name::parse(ZONES[zone]).unwrap()).unwrap()
    }

    fn what() -> impl Strategy<Value = What> {
        prop_oneof![
            2 => Just(What::Nothing),
            2 => Just(What::Address),
            6 => any::<usize>().prop_map(What::Alias),
            1 => Just(What::Cut),
            1 => Just(What::Dname),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let zone = 0..ZONES.len();
        // Many at an apex: only these have a way.
        let label = prop_oneof![Just(LABELS.len() - 1), 0..LABELS.len()];
        prop_oneof![
            2 => (zone.clone(), any::<bool>()).prop_map(|(zone, paused)| Step::Zone { zone, paused }),
            1 => zone.clone().prop_map(Step::Hold),
            1 => zone.clone().prop_map(Step::Remove),
            12 => (zone, label, what(), 0..6_u8)
                .prop_map(|(zone, label, what, proxied)| Step::Name { zone, label, what, proxied }),
        ]
    }

    fn content(what: &What, proxied: u8) -> NameContent {
        let (rtype, rdata) = match what {
            What::Nothing => return NameContent::default(),
            What::Address => (RecordType::A, vec![192, 0, 2, 1]),
            What::Alias(to) => (RecordType::CNAME, target(*to).as_wire().to_vec()),
            What::Cut => (RecordType::NS, target(0).as_wire().to_vec()),
            What::Dname => (RecordType::DNAME, target(1).as_wire().to_vec()),
        };
        let proxied = match proxied {
            0 => Proxied::UnlessPaused,
            1 => Proxied::Always,
            _ => Proxied::Never,
        };
        NameContent { sets: vec![RecordSet { rtype, ttl: 1, rdata: vec![rdata] }], proxied }
    }

    fn apply(step: &Step, edit: &mut Edit) {
        match step {
            Step::Zone { zone, paused } => {
                edit.put_zone(ZoneFacts { paused: *paused, ..ZoneFacts::new(apex(*zone)) });
            }
            Step::Hold(zone) => {
                edit.remove_zone(&apex(*zone));
                edit.hold_zone(&apex(*zone));
            }
            Step::Remove(zone) => edit.remove_zone(&apex(*zone)),
            Step::Name { zone, label, what, proxied } => {
                let owner = Name::parse(&owner(*zone, *label)).unwrap();
                edit.put_name(&apex(*zone), &owner, content(what, *proxied));
            }
        }
    }

    fn all(zones: &Zones) -> Ways {
        let mut ways = Ways::default();
        ways.follow(zones);
        ways
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Whatever is changed, and however much at a time: what is followed by its changes is what is followed anew, no name
        /// that is passed is forgotten and none kept, and whoever is told of nothing has missed nothing.
        #[test]
        fn changes_are_followed(edits in prop::collection::vec(prop::collection::vec(step(), 1..6), 1..20)) {
            let mut zones = Zones::empty();
            for zone in 0..ZONES.len() {
                let mut edit = zones.edit();
                edit.put_zone(ZoneFacts::new(apex(zone)));
                zones = edit.finish();
            }
            let mut ways = all(&zones);
            for steps in edits {
                let mut edit = zones.edit();
                steps.iter().for_each(|step| apply(step, &mut edit));
                let next = edit.finish();
                let names = |ways: &Ways| ways.outside_names().map(<[u8]>::to_vec).collect::<BTreeSet<_>>();
                let before = names(&ways);
                let is_other = ways.follow_changes(&zones, &next);
                let expect = all(&next);
                prop_assert_eq!(&ways.outside, &expect.outside, "{:?}", steps);
                prop_assert_eq!(&ways.passing, &expect.passing, "{:?}", steps);
                prop_assert!(is_other || names(&ways) == before);
                zones = next;
            }
        }
    }

    /// With many apexes, a change that concerns none of them follows none, and one that concerns one follows that.
    #[test]
    fn a_change_costs_what_it_changed() {
        let many = 2 * WAYS_A_SHARD;
        let apex = |number: usize| ZoneName::new(Name::parse(&format!("z{number}.test")).unwrap()).unwrap();
        let alias = |to: &str| NameContent {
            sets: vec![RecordSet {
                rtype: RecordType::CNAME,
                ttl: 1,
                rdata: vec![Name::parse(to).unwrap().as_wire().to_vec()],
            }],
            proxied: Proxied::Never,
        };
        let mut edit = Zones::empty().edit();
        for number in 0..many {
            edit.put_zone(ZoneFacts::new(apex(number)));
            edit.put_name(&apex(number), apex(number).as_name(), alias(&format!("n{number}.cdn.example")));
        }
        let zones = edit.finish();
        let mut ways = all(&zones);
        assert_eq!(ways.outside_names().count(), many);
        let changed = |change: &dyn Fn(&mut Edit)| {
            let mut edit = zones.edit();
            change(&mut edit);
            edit.finish()
        };
        let within = Name::parse("www.z1.test").unwrap();
        let other = changed(&|edit| edit.put_name(&apex(1), &within, alias("www.example")));
        assert!(unshared(&zones, &other).count() < many / WAYS_A_SHARD, "only what changed is looked at");
        assert!(!ways.follow(&other));
        let moved = changed(&|edit| edit.put_name(&apex(1), apex(1).as_name(), alias("moved.example")));
        assert!(ways.follow(&moved) && !ways.follow(&moved));
        let names: Vec<_> = ways.outside_names().collect();
        assert!(names.len() == many && names.contains(&Name::parse("moved.example").unwrap().as_wire()));
    }
}
