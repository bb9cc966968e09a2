//! Changes to [`Zones`]: collected in drafts, then sealed into new shards. Only shards with a draft are made anew.
//!
//! A name exists if it has content, or if a name below it exists (RFC 4592 §2.2.2). So every entry counts the names
//! right below it; it goes when it has neither.

use std::sync::Arc;

use bartizan_live::PersistentVec;
use bartizan_names::{Name, Phishing, RecordType, ZoneName};

use crate::drafts::{Draft, Drafts, Fate};
use crate::entry::{self, DIRECTORY, Entry, Flags, Frame};
use crate::facts::{NameContent, Proxied, RecordSet, ZoneFacts};
use crate::hash::hash;
use crate::shard::Shard;
use crate::zone::Zone;
use crate::zones::{Key, Zones, shard_index};

/// Names in a shard after the shards were numbered anew. A change copies so many entries of some sixty bytes:
/// a few microseconds.
pub(crate) const SHARD_TARGET: usize = 128;

/// Of a name with one address.
const ENTRY_BYTES: usize = 64;

/// With more names in a shard than this on average, all names are spread over more shards. The distance to
/// [`SHARD_TARGET`] makes that as rare as every fourth doubling: it takes a moment with a million names.
const SHARD_MAX: usize = 512;

/// With fewer than this on average, all names are spread over fewer shards.
const SHARD_MIN: usize = 16;

/// Shards that a change takes the names of removed zones out of: some thousand names, below a millisecond.
const SWEPT_AT_ONCE: usize = 32;

/// Slots for zones that are added when there is none left.
const ZONES_AT_ONCE: u32 = 128;

/// The root's name on the wire: where the directory ends.
const ROOT_BYTES: usize = 1;

/// Changes under way. Nothing is in force before [`finish`](Edit::finish) and whoever uses its result.
#[derive(Debug)]
pub struct Edit {
    base: Zones,
    drafts: Drafts,
    /// Zones that were removed by this edit.
    removed: Vec<u32>,
    /// The zone that the last call was about: bulk loads come zone by zone.
    last_zone: Option<(ZoneName, u32)>,
}

impl Edit {
    pub(crate) fn of(base: Zones) -> Edit {
        Edit { base, drafts: Drafts::default(), removed: Vec::new(), last_zone: None }
    }

    /// Makes room for so many names at once. Those that come in the order of [`Zones::place_of`] are put fastest.
    pub fn reserve(&mut self, names: usize) {
        self.drafts.reserve(names, names.saturating_mul(ENTRY_BYTES));
    }

    /// Adds a zone, or changes its facts. Its names are not touched.
    pub fn put_zone(&mut self, facts: ZoneFacts) {
        match self.zone_number(&facts.apex) {
            Some(number) => {
                let user_ns = self.base.zone(number).and_then(|zone| zone.user_ns.clone());
                self.set_zone(number, Some(Zone::new(facts, user_ns)));
            }
            None => self.add_zone(facts),
        }
    }

    /// Adds a zone of which nothing is known but its apex, so that no zone around it answers for its names: to every
    /// question about them this server says that it cannot tell (SERVFAIL). All of them count as proxied, for who asks
    /// what else is to be done about them. A zone that is to be served is added when this one was removed.
    pub fn hold_zone(&mut self, apex: &ZoneName) {
        self.put_zone(ZoneFacts::new(apex.clone()));
        let below = apex.as_name().child(b"*").ok();
        for owner in std::iter::once(apex.as_name()).chain(&below) {
            self.put_name(apex, owner, NameContent { sets: Vec::new(), proxied: Proxied::Always });
        }
        if let Some(number) = self.zone_number(apex) {
            self.base.held.set(number, true);
        }
    }

    /// Removes a zone with all its names, of which nothing is found from then on; the memory that they take is given
    /// back by later changes. A zone that is not there is not an error.
    pub fn remove_zone(&mut self, apex: &ZoneName) {
        let Some(number) = self.zone_number(apex) else { return };
        self.last_zone = None;
        self.set_zone(number, None);
        self.base.indirect.set(number, true);
        self.base.turns.set(number, false);
        self.base.aliases.remove(&number);
        self.base.zone_count -= 1;
        self.removed.push(number);
        self.close_in_directory(apex.as_name().as_wire());
    }

    /// Puts `content` at `owner` in place of what is there; empty content removes it.
    ///
    /// Nothing happens if there is no such zone (put it first) or if `owner` lies outside of it.
    pub fn put_name(&mut self, zone: &ZoneName, owner: &Name, mut content: NameContent) {
        let Some(number) = self.zone_number(zone).filter(|_| zone.contains(owner)) else { return };
        if owner == zone.as_name() {
            let user_ns = take_ns(&mut content);
            self.set_user_ns(number, user_ns);
            self.note_alias(number, &content);
        }
        let is_turn = |set: &RecordSet| {
            set.rtype == RecordType::DNAME || (set.rtype == RecordType::NS && owner != zone.as_name())
        };
        if content.sets.iter().any(is_turn) {
            self.base.turns.set(number, true);
        }
        let apex_bytes = zone.as_name().as_wire().len();
        let key = self.key(owner.as_wire());
        match self.open(key, number) {
            Some(draft) => self.replace(draft, &content),
            None if content.is_empty() => return,
            None => {
                self.create(key, number, &content);
                self.link(owner.as_wire(), number, apex_bytes);
            }
        }
        if content.is_empty() {
            self.prune(owner.as_wire(), number, apex_bytes);
        }
    }

    /// The new value. Costs what was changed, not what there is.
    pub fn finish(mut self) -> Zones {
        self.forget_removed();
        self.sweep(SWEPT_AT_ONCE);
        if !self.drafts.is_empty() {
            let shards = self.base.shards.len();
            let average = self.base.entry_count / shards;
            if average > SHARD_MAX || (average < SHARD_MIN && shards > 1) {
                while self.sweep(shards) {} // all are made anew anyway
                self.seal_all((self.base.entry_count / SHARD_TARGET + 1).next_power_of_two());
            } else {
                self.seal_touched();
            }
        }
        self.base
    }

    fn key<'n>(&self, name: &'n [u8]) -> Key<'n> {
        self.base.key(name)
    }

    fn zone_number(&mut self, apex: &ZoneName) -> Option<u32> {
        if let Some((name, number)) = &self.last_zone
            && name == apex
        {
            return Some(*number);
        }
        let number = self.look(self.key(apex.as_name().as_wire()), DIRECTORY)?.apex_of()?;
        self.last_zone = Some((apex.clone(), number));
        Some(number)
    }

    /// An entry as this edit sees it.
    fn look(&self, key: Key<'_>, zone: u32) -> Option<Entry<'_>> {
        match self.drafts.find(key, zone) {
            Some(number) => match self.drafts.get(number) {
                (draft, entry) if draft.fate == Fate::Kept => entry,
                _ => None,
            },
            None => self.base.find(key, zone),
        }
    }

    /// The draft of an entry that exists, made from the shards' if need be.
    fn open(&mut self, key: Key<'_>, zone: u32) -> Option<usize> {
        if let Some(number) = self.drafts.find(key, zone) {
            return (self.drafts.get(number).0.fate == Fate::Kept).then_some(number);
        }
        let entry = self.base.find(key, zone)?;
        let at = self.drafts.arena.len();
        entry.copy_to(&mut self.drafts.arena);
        Some(self.drafts.add(key.hash, at))
    }

    /// Makes the entry at `at` the newest version of a name that did not exist.
    fn insert(&mut self, key: Key<'_>, zone: u32, at: usize) {
        match self.drafts.find(key, zone) {
            Some(number) => {
                let draft = self.drafts.get_mut(number);
                (draft.at, draft.fate) = (at, Fate::Kept);
            }
            None => {
                self.drafts.add(key.hash, at);
            }
        }
        self.base.entry_count += 1;
    }

    fn create(&mut self, key: Key<'_>, zone: u32, content: &NameContent) {
        let frame = Frame { zone, name: key.name, children: 0, flags: Flags::NONE };
        let at = entry::push(&mut self.drafts.arena, frame, content);
        self.insert(key, zone, at);
        self.base.name_count += usize::from(!content.is_empty());
    }

    fn replace(&mut self, number: usize, content: &NameContent) {
        let (draft, Some(old)) = self.drafts.get(number) else { return };
        let had_content = old.has_content();
        // The old version lies in the arena that the new one is appended to, so its name is copied out.
        let name = old.name().to_vec();
        let frame = Frame { name: &name, ..Frame::of(old) };
        debug_assert_eq!(draft.fate, Fate::Kept);
        let at = entry::push(&mut self.drafts.arena, frame, content);
        self.drafts.get_mut(number).at = at;
        self.base.name_count = self.base.name_count + usize::from(!content.is_empty()) - usize::from(had_content);
    }

    /// Tells the names above a new one that it is there; makes those that do not exist yet.
    /// At most one round a label.
    fn link(&mut self, name: &[u8], zone: u32, apex_bytes: usize) {
        let mut child = name;
        while let Some(step) = Step::up(child, apex_bytes) {
            let (number, made) = self.open_or_make(step.parent, zone);
            if let (draft, Some(entry)) = self.drafts.get(number) {
                let children = entry.children() + step.counted;
                let flags = entry.flags().with(step.flag);
                entry::set_surroundings(&mut self.drafts.arena, draft.at, children, flags);
            }
            if !made {
                return;
            }
            child = step.parent;
        }
    }

    /// The draft of a name, and whether it had to be made.
    fn open_or_make(&mut self, name: &[u8], zone: u32) -> (usize, bool) {
        let key = self.key(name);
        if let Some(number) = self.open(key, zone) {
            return (number, false);
        }
        let at = if zone == DIRECTORY {
            entry::push_directory(&mut self.drafts.arena, name, 0, None)
        } else {
            let frame = Frame { zone, name, children: 0, flags: Flags::NONE };
            entry::push(&mut self.drafts.arena, frame, &NameContent::default())
        };
        self.insert(key, zone, at);
        (self.drafts.find(key, zone).unwrap_or_default(), true)
    }

    /// Removes a name that has neither content nor names below, and then the names above it for which that is true.
    /// At most one round a label.
    fn prune(&mut self, name: &[u8], zone: u32, apex_bytes: usize) {
        let mut name = name;
        while name.len() > apex_bytes {
            let Some(number) = self.open(self.key(name), zone) else { return };
            match self.drafts.get(number).1 {
                Some(entry) if !entry.has_content() && entry.children() == 0 => {}
                _ => return,
            }
            self.drafts.get_mut(number).fate = Fate::Removed;
            self.base.entry_count -= 1;
            let Some(step) = Step::up(name, apex_bytes) else { return };
            if let Some(number) = self.open(self.key(step.parent), zone)
                && let (draft, Some(entry)) = self.drafts.get(number)
            {
                let children = entry.children().saturating_sub(step.counted);
                let flags = entry.flags().without(step.flag);
                entry::set_surroundings(&mut self.drafts.arena, draft.at, children, flags);
            }
            name = step.parent;
        }
    }

    fn add_zone(&mut self, facts: ZoneFacts) {
        let apex = facts.apex.clone();
        let name = apex.as_name().as_wire();
        let number = self.free_number();
        self.set_zone(number, Some(Zone::new(facts, None)));
        self.base.zone_count += 1;
        self.open_in_directory(name, number);
        let key = self.key(name);
        let frame = Frame { zone: number, name, children: 0, flags: Flags::APEX };
        let at = entry::push(&mut self.drafts.arena, frame, &NameContent::default());
        self.insert(key, number, at);
        self.last_zone = Some((apex, number));
    }

    fn free_number(&mut self) -> u32 {
        let free = Arc::make_mut(&mut self.base.free);
        if free.is_empty() {
            // Many at once, since the list of all zones is copied for it.
            let first = self.base.zones.len() as u32;
            self.base.zones.extend(std::iter::repeat_n(None, ZONES_AT_ONCE as usize));
            free.extend((first..first + ZONES_AT_ONCE).rev());
        }
        free.pop().unwrap_or_default()
    }

    fn open_in_directory(&mut self, apex: &[u8], number: u32) {
        let key = self.key(apex);
        let children = self.look(key, DIRECTORY).map(Entry::children);
        let at = entry::push_directory(&mut self.drafts.arena, apex, children.unwrap_or(0), Some(number));
        match self.open(key, DIRECTORY) {
            Some(draft) => self.drafts.get_mut(draft).at = at,
            None => {
                self.insert(key, DIRECTORY, at);
                self.link(apex, DIRECTORY, ROOT_BYTES);
            }
        }
        self.base.indirect.set(number, children.unwrap_or(0) > 0);
        self.refresh_nested_above(apex);
    }

    fn close_in_directory(&mut self, apex: &[u8]) {
        let key = self.key(apex);
        let Some(draft) = self.open(key, DIRECTORY) else { return };
        let children = self.drafts.get(draft).1.map_or(0, Entry::children);
        self.drafts.get_mut(draft).at = entry::push_directory(&mut self.drafts.arena, apex, children, None);
        self.prune(apex, DIRECTORY, ROOT_BYTES);
        self.refresh_nested_above(apex);
    }

    /// Notes for all zones around `apex` whether there are zones inside them.
    fn refresh_nested_above(&mut self, apex: &[u8]) {
        let mut name = parent_of(apex);
        while name.len() > ROOT_BYTES {
            if let Some(entry) = self.look(self.key(name), DIRECTORY)
                && let Some(number) = entry.apex_of()
            {
                let nested = entry.children() > 0;
                self.base.indirect.set(number, nested);
            }
            name = parent_of(name);
        }
    }

    /// Notes what the apex stands for, if it has a CNAME.
    fn note_alias(&mut self, number: u32, content: &NameContent) {
        let cname = content.sets.iter().find(|set| set.rtype == RecordType::CNAME);
        match cname.and_then(|set| set.rdata.first()) {
            Some(target) if self.base.aliases.get(&number).is_none_or(|known| **known != **target) => {
                self.base.aliases.insert(number, target.as_slice().into());
            }
            None if self.base.aliases.contains_key(&number) => {
                self.base.aliases.remove(&number);
            }
            _ => {}
        }
    }

    fn set_zone(&mut self, number: u32, zone: Option<Zone>) {
        let facts = zone.as_ref().map(|zone| &zone.facts);
        let phishing = facts.map_or(Phishing::No, |facts| facts.phishing);
        self.base.paused.set(number, facts.is_some_and(|facts| facts.paused));
        self.base.clear_only.set(number, facts.is_some_and(|facts| !facts.speaks.tls));
        self.base.http1_only.set(number, facts.is_some_and(|facts| !facts.speaks.http2));
        self.base.tcp_only.set(number, facts.is_some_and(|facts| !facts.speaks.http3));
        self.base.flagged.set(number, phishing != Phishing::No);
        self.base.without_text.set(number, phishing == Phishing::Strict);
        self.base.held.set(number, false);
        self.base.signed.set(number, facts.is_some_and(|facts| facts.dnssec.is_some()));
        if let Some(place) = self.base.zones.get_mut(number as usize) {
            *place = zone.map(Arc::new);
        }
    }

    fn set_user_ns(&mut self, number: u32, user_ns: Option<RecordSet>) {
        if let Some(zone) = self.base.zone(number)
            && zone.user_ns != user_ns
        {
            let zone = Zone::new(zone.facts.clone(), user_ns);
            self.set_zone(number, Some(zone));
        }
    }

    /// Takes the names of zones that this edit removed out of the drafts, so that none gets into a shard.
    fn forget_removed(&mut self) {
        let mut removed = std::mem::take(&mut self.removed);
        if removed.is_empty() {
            return;
        }
        removed.sort_unstable();
        for number in 0..self.drafts.len() {
            match self.drafts.get(number) {
                (draft, Some(entry)) if draft.fate == Fate::Kept && removed.binary_search(&entry.zone()).is_ok() => {
                    self.forget(number);
                }
                _ => {}
            }
        }
        removed.into_iter().for_each(|zone| self.base.sweep.add(zone));
    }

    /// Marks the names of removed zones in the next `count` shards as removed; tells whether there was anything to do.
    fn sweep(&mut self, count: usize) -> bool {
        let Some(step) = self.base.sweep.step(self.base.shards.len(), count) else { return false };
        let shards = self.base.shards.clone();
        for entry in step.parts.clone().filter_map(|index| shards.get(index)).flat_map(Shard::entries) {
            if step.takes(entry.zone())
                && let Some(number) = self.open(self.key(entry.name()), entry.zone())
            {
                self.forget(number);
            }
        }
        Arc::make_mut(&mut self.base.free).extend_from_slice(&step.free);
        true
    }

    fn forget(&mut self, number: usize) {
        let had_content = self.drafts.get(number).1.is_some_and(Entry::has_content);
        self.drafts.get_mut(number).fate = Fate::Removed;
        self.base.entry_count -= 1;
        self.base.name_count -= usize::from(had_content);
    }

    /// Makes those shards anew that have a draft.
    fn seal_touched(&mut self) {
        let shards = self.base.shards.len();
        let mut drafts: Vec<_> =
            self.drafts.iter().map(|(draft, entry)| (shard_index(draft.hash, shards), draft, entry)).collect();
        drafts.sort_by_key(|(shard, ..)| *shard);
        for group in drafts.chunk_by(|a, b| a.0 == b.0) {
            let Some(place) = self.base.shards.get_mut(group[0].0) else { continue };
            let old = untouched(place.entries(), &self.drafts, self.base.seed);
            let entries: Vec<_> = old.chain(group.iter().filter_map(|(_, draft, entry)| kept(draft, *entry))).collect();
            *place = Shard::seal(&entries);
        }
    }

    /// Spreads everything over `count` shards.
    fn seal_all(&mut self, count: usize) {
        let all = self.base.shards.iter().flat_map(Shard::entries);
        let old = untouched(all, &self.drafts, self.base.seed);
        let mut entries: Vec<_> =
            old.chain(self.drafts.iter().filter_map(|(draft, entry)| kept(draft, entry))).collect();
        entries.sort_unstable_by_key(|(hash, _)| shard_index(*hash, count));
        let mut rest = entries.as_slice();
        let sealed: PersistentVec<Shard> = (0..count)
            .map(|shard| {
                let end = rest.partition_point(|(hash, _)| shard_index(*hash, count) == shard);
                let (mine, others) = rest.split_at(end);
                rest = others;
                Shard::seal(mine)
            })
            .collect();
        self.base.shards = sealed;
    }
}

/// Entries of the shards that no draft replaces or removes, with their hashes.
fn untouched<'e>(
    entries: impl Iterator<Item = Entry<'e>>,
    drafts: &Drafts,
    seed: u64,
) -> impl Iterator<Item = (u64, Entry<'e>)> {
    entries
        .map(move |entry| (hash(entry.name(), seed), entry))
        .filter(|(hash, entry)| drafts.find(Key { name: entry.name(), hash: *hash }, entry.zone()).is_none())
}

/// The entry of a draft, with its hash, unless the name is to go.
fn kept<'e>(draft: &Draft, entry: Entry<'e>) -> Option<(u64, Entry<'e>)> {
    (draft.fate == Fate::Kept).then_some((draft.hash, entry))
}

/// From a name to the one above it, and what the upper one has to know of the lower.
struct Step<'n> {
    parent: &'n [u8],
    /// By how much its number of children changes.
    counted: u32,
    flag: Flags,
}

impl<'n> Step<'n> {
    /// None at the top, and where the parent need not know: an apex exists without children, so they are not counted,
    /// and a change of a name right below it touches no second shard.
    fn up(child: &'n [u8], apex_bytes: usize) -> Option<Step<'n>> {
        let flag = if child.starts_with(b"\x01*") { Flags::WILDCARD_BELOW } else { Flags::NONE };
        let parent = parent_of(child);
        if parent.len() > apex_bytes {
            Some(Step { parent, counted: 1, flag })
        } else if parent.len() == apex_bytes && flag != Flags::NONE {
            Some(Step { parent, counted: 0, flag })
        } else {
            None
        }
    }
}

/// The name without its first label; the root stays the root.
pub(crate) fn parent_of(name: &[u8]) -> &[u8] {
    match name.first() {
        Some(&length @ 1..) => name.get(usize::from(length) + 1..).unwrap_or_default(),
        _ => name,
    }
}

/// Takes the NS records out of an apex's content: they are facts of the zone.
fn take_ns(content: &mut NameContent) -> Option<RecordSet> {
    let (ns, others) = std::mem::take(&mut content.sets).into_iter().partition(|set| set.rtype == RecordType::NS);
    content.sets = others;
    let mut ns: Vec<RecordSet> = ns;
    ns.pop().filter(|set| !set.rdata.is_empty())
}
