//! Entries that are being changed: a table that grows, in front of the immutable shards.

use crate::entry::Entry;
use crate::zones::{Key, shard_index};

/// The first number of slots, a power of two.
const SLOTS_MIN: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Drafts {
    /// Numbers of drafts plus one; zero is free. A power of two, at least twice as many as drafts.
    slots: Vec<u32>,
    drafts: Vec<Draft>,
    /// Entries one behind the other. What a later version replaced stays until the edit ends.
    pub(crate) arena: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub(crate) hash: u64,
    /// Where in the arena the newest version is.
    pub(crate) at: usize,
    pub(crate) fate: Fate,
}

/// What happens to a name at the end of the edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Removed,
}

impl Drafts {
    pub(crate) fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.drafts.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Draft, Entry<'_>)> {
        self.drafts.iter().filter_map(|draft| Some((draft, self.entry(*draft)?)))
    }

    /// Makes room for so many more at once, with that many bytes.
    pub(crate) fn reserve(&mut self, count: usize, bytes: usize) {
        self.drafts.reserve(count);
        self.arena.reserve(bytes);
        let slots = ((self.drafts.len() + count) * 2).next_power_of_two();
        if slots > self.slots.len() {
            self.spread(slots);
        }
    }

    /// The number of the draft of a name in one zone.
    pub(crate) fn find(&self, key: Key<'_>, zone: u32) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = self.home(key.hash);
        while let Some(number) = self.slots[at].checked_sub(1) {
            let draft = self.drafts[number as usize];
            if draft.hash == key.hash
                && self.entry(draft).is_some_and(|entry| entry.zone() == zone && entry.name() == key.name)
            {
                return Some(number as usize);
            }
            at = (at + 1) & mask;
        }
        None
    }

    pub(crate) fn get(&self, number: usize) -> (Draft, Option<Entry<'_>>) {
        let draft = self.drafts[number];
        (draft, self.entry(draft))
    }

    pub(crate) fn get_mut(&mut self, number: usize) -> &mut Draft {
        &mut self.drafts[number]
    }

    /// Adds a draft of the entry at `at` in the arena, which must not have one yet.
    pub(crate) fn add(&mut self, hash: u64, at: usize) -> usize {
        if (self.drafts.len() + 1) * 2 > self.slots.len() {
            self.spread((self.slots.len() * 2).max(SLOTS_MIN));
        }
        let number = self.drafts.len();
        self.drafts.push(Draft { hash, at, fate: Fate::Kept });
        self.occupy(hash, number);
        number
    }

    fn entry(&self, draft: Draft) -> Option<Entry<'_>> {
        Entry::at(&self.arena, draft.at)
    }

    fn spread(&mut self, slots: usize) {
        self.slots.clear();
        self.slots.resize(slots, 0);
        for number in 0..self.drafts.len() {
            self.occupy(self.drafts[number].hash, number);
        }
    }

    /// The slot of a hash: by its upper half, as shards are chosen. Names that come in that order fill slots that lie side by
    /// side.
    fn home(&self, hash: u64) -> usize {
        shard_index(hash, self.slots.len())
    }

    fn occupy(&mut self, hash: u64, number: usize) {
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = number as u32 + 1; // four thousand million names do not fit a machine of ours
    }
}
