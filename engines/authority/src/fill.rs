//! Many new names at once, as a start has them: shards are made whole, by several threads, each those of a part.
//!
//! ```text
//! names in the order of their places ─► entries of one shard ─► sealed ─┐
//!                                                                       ├─► Zones
//! names in the order of their places ─► entries of one shard ─► sealed ─┘
//! ```
//! What concerns other names than itself is put by an [`Edit`](crate::Edit) behind it: an apex, what lies deeper than one
//! label below one or is a wildcard, and what leads elsewhere. Most names are none of these.

use std::ops::RangeInclusive;

use bartizan_live::PersistentVec;
use bartizan_names::{Name, RecordType, ZoneName};

use crate::edit::{SHARD_TARGET, parent_of};
use crate::entry::{self, DIRECTORY, Entry, Flags, Frame};
use crate::facts::NameContent;
use crate::hash::hash;
use crate::shard::Shard;
use crate::zones::{Zones, shard_index};

/// An entry and its hash.
type Hashed<'e> = (u64, Entry<'e>);

/// Shards to come, with room for many new names.
#[derive(Debug)]
pub struct Fill<'z> {
    base: &'z Zones,
    /// How many there will be.
    shards: usize,
    /// Entries that there are already, by the shards that they will be in.
    old: Vec<Hashed<'z>>,
}

/// The shards of a range, under way. Names come in the order of [`Zones::place_of`].
#[derive(Debug)]
pub struct Part<'f> {
    fill: &'f Fill<'f>,
    /// The shard under way.
    now: usize,
    end: usize,
    /// The entries of the base that belong to it, and to those behind it.
    old: &'f [Hashed<'f>],
    old_behind: &'f [Hashed<'f>],
    /// Its new entries, one behind the other, and where they begin.
    arena: Vec<u8>,
    new: Vec<(u64, usize)>,
    /// The zone that the last name was in.
    last_zone: Option<(ZoneName, u32)>,
    done: Filled,
}

/// The shards of a range, sealed.
#[derive(Debug, Default)]
pub struct Filled {
    shards: Vec<Shard>,
    names: usize,
}

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is left over is not there yet"]
pub enum Taken {
    Whole,
    /// To be put by an edit when all parts are done.
    LeftOver,
}

impl Zones {
    /// Begins to put so many names that are not there yet.
    pub fn fill(&self, names: usize) -> Fill<'_> {
        let shards = ((self.entry_count + names) / SHARD_TARGET + 1).next_power_of_two().max(self.shards.len());
        let entries = self.shards.iter().flat_map(Shard::entries);
        let mut old: Vec<_> = entries.map(|entry| (hash(entry.name(), self.seed), entry)).collect();
        old.sort_unstable_by_key(|(hash, _)| shard_index(*hash, shards));
        Fill { base: self, shards, old }
    }
}

impl<'z> Fill<'z> {
    /// One of so many parts that are about equal. Each of them must be made.
    pub fn part(&self, number: usize, of: usize) -> Part<'_> {
        let (now, end) = (self.first_shard(number, of), self.first_shard(number + 1, of));
        let behind = self.old.partition_point(|(hash, _)| shard_index(*hash, self.shards) < now);
        let (old, old_behind) = self.split(&self.old[behind..], now);
        let (arena, new, done) = Default::default();
        Part { fill: self, now, end, old, old_behind, arena, new, last_zone: None, done }
    }

    /// Where the names of a part go; none do where there are fewer shards than parts.
    pub fn places(&self, number: usize, of: usize) -> RangeInclusive<u64> {
        let first = |shard: usize| (((shard as u64) << 32).div_ceil(self.shards as u64)) << 32;
        match (self.first_shard(number, of), self.first_shard(number + 1, of)) {
            (begin, end) if begin == end => RangeInclusive::new(1, 0),
            (begin, end) if end == self.shards => first(begin)..=u64::MAX,
            (begin, end) => first(begin)..=first(end) - 1,
        }
    }

    /// The new value, of all parts in their order.
    pub fn finish(self, parts: impl IntoIterator<Item = Filled>) -> Zones {
        let mut zones = self.base.clone();
        let mut names = 0;
        let shards: PersistentVec<Shard> = parts
            .into_iter()
            .flat_map(|part| {
                names += part.names;
                part.shards
            })
            .collect();
        assert_eq!(shards.len(), self.shards, "each part is made, and once");
        zones.shards = shards;
        zones.entry_count += names;
        zones.name_count += names;
        zones
    }

    fn first_shard(&self, part: usize, of: usize) -> usize {
        self.shards * part / of
    }

    /// Parts entries of a shard and those behind it.
    fn split<'e>(&self, old: &'e [Hashed<'z>], shard: usize) -> (&'e [Hashed<'z>], &'e [Hashed<'z>]) {
        old.split_at(old.partition_point(|(hash, _)| shard_index(*hash, self.shards) <= shard))
    }
}

impl Part<'_> {
    /// Puts `content` at `owner`, where nothing is. Nothing happens if there is no such zone or if `owner` lies outside of it.
    pub fn put(&mut self, zone: &ZoneName, owner: &Name, content: &NameContent) -> Taken {
        if !is_plain(zone, owner, content) {
            return Taken::LeftOver;
        }
        let Some(number) = self.zone_number(zone).filter(|_| !content.is_empty()) else { return Taken::Whole };
        let key = self.fill.base.key(owner.as_wire());
        let shard = shard_index(key.hash, self.fill.shards);
        let is_there =
            |(hash, entry): &Hashed<'_>| *hash == key.hash && entry.zone() == number && entry.name() == key.name;
        if shard < self.now || shard >= self.end {
            return Taken::LeftOver;
        }
        while self.now < shard {
            self.seal();
        }
        if self.old.iter().any(is_there) {
            return Taken::LeftOver;
        }
        let frame = Frame { zone: number, name: key.name, children: 0, flags: Flags::NONE };
        let at = entry::push(&mut self.arena, frame, content);
        self.new.push((key.hash, at));
        self.done.names += 1;
        Taken::Whole
    }

    /// All shards of the part.
    pub fn end(mut self) -> Filled {
        while self.now < self.end {
            self.seal();
        }
        self.done
    }

    /// Makes the shard under way, and begins with the next one.
    fn seal(&mut self) {
        let new = self.new.iter().filter_map(|(hash, at)| Some((*hash, Entry::at(&self.arena, *at)?)));
        let entries: Vec<_> = self.old.iter().copied().chain(new).collect();
        let sealed = Shard::seal(&entries);
        self.done.shards.push(sealed);
        self.arena.clear();
        self.new.clear();
        self.now += 1;
        (self.old, self.old_behind) = self.fill.split(self.old_behind, self.now);
    }

    fn zone_number(&mut self, apex: &ZoneName) -> Option<u32> {
        if let Some((name, number)) = &self.last_zone
            && name == apex
        {
            return Some(*number);
        }
        let base = self.fill.base;
        let number = base.find(base.key(apex.as_name().as_wire()), DIRECTORY)?.apex_of()?;
        self.last_zone = Some((apex.clone(), number));
        Some(number)
    }
}

/// Whether a name concerns no other: it lies right below the apex, where children are not counted, and all that it has is
/// its own.
fn is_plain(zone: &ZoneName, owner: &Name, content: &NameContent) -> bool {
    let (apex, name) = (zone.as_name().as_wire(), owner.as_wire());
    let turns = |rtype| matches!(rtype, RecordType::NS | RecordType::DNAME);
    name.len() > apex.len()
        && parent_of(name) == apex
        && !owner.is_wildcard()
        && !content.sets.iter().any(|set| turns(set.rtype))
}
