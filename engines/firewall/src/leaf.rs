//! Some dozens of entries in one allocation, in columns, so that a search reads few cache lines.
//!
//! ```text
//! │ keys │ length, step, marks of each │ ids │
//! ```
//! Entries ascend by key, then length. Prefixes nest: the last entry whose key is not greater than an address covers
//! it, or an entry that encloses this one does. So each entry has a *step*: how many entries back its nearest encloser
//! is, 0 if there is none.
//!
//! Ids, most of the memory, come last: only those of rules that match are fetched.

use std::marker::PhantomData;
use std::sync::Arc;

use bartizan_names::{AccessMode, RuleId};

use crate::bits::Bits;
use crate::rule::Level;

/// What a processor fetches from memory at once.
const CACHE_LINE: usize = 64;

/// Octets of an entry between key and id: length, step, marks.
const TAIL: usize = 3;

const ID: usize = 16;

/// A step that is longer ends here, on a sibling inside the same encloser, from where the walk goes on.
const STEP_MAX: usize = u8::MAX as usize;

/// What a rule says, in one octet: mode, level, and whether its target was written as an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks(u8);

const LEVELS: [Level; 3] = [Level::User, Level::Account, Level::Zone];

/// How a target was written, where two ways mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Address,
    Prefix,
}

impl Marks {
    pub(crate) fn new(mode: AccessMode, level: Level, written: Written) -> Marks {
        // Numbers of variants in their order, as both lists have it.
        Marks(mode as u8 | (level as u8) << 3 | (written as u8) << 5)
    }

    pub(crate) fn mode(self) -> AccessMode {
        AccessMode::ALL.get(usize::from(self.0 & 7)).copied().unwrap_or(AccessMode::Block)
    }

    pub(crate) fn level(self) -> Level {
        LEVELS.get(usize::from(self.0 >> 3 & 3)).copied().unwrap_or(Level::User)
    }

    pub(crate) fn written(self) -> Written {
        if self.0 >> 5 == Written::Address as u8 { Written::Address } else { Written::Prefix }
    }
}

/// One rule in a tree: the first `length` bits of `key`, the rest of which are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<K> {
    pub(crate) key: K,
    pub(crate) length: u8,
    pub(crate) marks: Marks,
    pub(crate) id: RuleId,
}

impl<K: Bits> Entry<K> {
    fn order(&self) -> (K, u8, RuleId) {
        (self.key, self.length, self.id)
    }

    /// The greatest key that it covers.
    pub(crate) fn last(&self) -> K {
        self.key.last(self.length)
    }

    pub(crate) fn covers(&self, key: K) -> bool {
        self.key.covers(self.length, key)
    }
}

/// An entry that covers what was looked for. Its id is fetched from memory when asked for.
#[derive(Clone, Copy)]
pub(crate) struct Hit<'l> {
    pub(crate) length: u8,
    pub(crate) marks: Marks,
    id: &'l [u8; ID],
}

impl Hit<'_> {
    pub(crate) fn id(&self) -> RuleId {
        RuleId::from_bytes(*self.id)
    }
}

#[derive(Debug)]
pub(crate) struct Leaf<K> {
    bytes: Arc<[u8]>,
    key: PhantomData<K>,
}

impl<K> Clone for Leaf<K> {
    fn clone(&self) -> Leaf<K> {
        Leaf { bytes: Arc::clone(&self.bytes), key: PhantomData }
    }
}

impl<K: Bits> Leaf<K> {
    pub(crate) fn empty() -> Leaf<K> {
        Leaf { bytes: Arc::default(), key: PhantomData }
    }

    pub(crate) fn of(mut entries: Vec<Entry<K>>) -> Leaf<K> {
        entries.sort_unstable_by_key(Entry::order);
        Leaf::ascending(&entries)
    }

    fn ascending(entries: &[Entry<K>]) -> Leaf<K> {
        debug_assert!(entries.is_sorted_by_key(Entry::order), "entries are ascending");
        if entries.is_empty() {
            return Leaf::empty();
        }
        let mut bytes = Vec::with_capacity(entries.len() * (K::BYTES + TAIL + ID));
        entries.iter().for_each(|entry| entry.key.write(&mut bytes));
        let tails = entries.iter().zip(steps(entries)).map(|(entry, step)| [entry.length, step, entry.marks.0]);
        bytes.extend(tails.flatten());
        entries.iter().for_each(|entry| bytes.extend_from_slice(entry.id.as_bytes()));
        Leaf { bytes: bytes.into(), key: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / (K::BYTES + TAIL + ID)
    }

    /// Every entry that covers `key`, the longest first.
    // Hot: once a connection. No allocation.
    pub(crate) fn visit<'l>(&'l self, key: K, mut found: impl FnMut(Hit<'l>)) {
        // Most spanning leaves are empty.
        if self.bytes.is_empty() {
            return;
        }
        let Columns { searched, keys, tails, ids } = self.columns();
        fetch(searched);
        let Some(mut at) = K::count_up_to(keys, key).checked_sub(1) else { return };
        while let (Some(of), Some([length, step, marks])) = (K::read(keys, at), tails.get(at)) {
            if of.covers(*length, key)
                && let Some(id) = ids.get(at)
            {
                found(Hit { length: *length, marks: Marks(*marks), id });
            }
            if *step == 0 {
                return;
            }
            at -= usize::from(*step).min(at);
        }
    }

    /// Ascending.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<K>> {
        let Columns { keys, tails, ids, .. } = self.columns();
        K::each(keys).zip(tails).zip(ids).map(|((key, [length, _, marks]), id)| Entry {
            key,
            length: *length,
            marks: Marks(*marks),
            id: RuleId::from_bytes(*id),
        })
    }

    pub(crate) fn put(&mut self, entry: Entry<K>) {
        let mut entries = Vec::with_capacity(self.len() + 1);
        entries.extend(self.entries());
        let at = entries.partition_point(|other| other.order() <= entry.order());
        entries.insert(at, entry);
        *self = Leaf::ascending(&entries);
    }

    /// Takes the entry out, if it is there.
    pub(crate) fn remove(&mut self, key: K, length: u8, id: RuleId) -> Option<Marks> {
        let at = self.entries().position(|entry| entry.order() == (key, length, id))?;
        let mut entries: Vec<Entry<K>> = self.entries().collect();
        let marks = entries.remove(at).marks;
        *self = Leaf::ascending(&entries);
        Some(marks)
    }

    fn columns(&self) -> Columns<'_> {
        let (searched, ids) = self.bytes.split_at(self.len() * (K::BYTES + TAIL));
        let (keys, tails) = searched.split_at(self.len() * K::BYTES);
        Columns { searched, keys, tails: tails.as_chunks().0, ids: ids.as_chunks().0 }
    }
}

struct Columns<'l> {
    /// Keys and tails.
    searched: &'l [u8],
    keys: &'l [u8],
    tails: &'l [[u8; TAIL]],
    ids: &'l [[u8; ID]],
}

/// Looks at every cache line of what will be searched. A search by halves waits for one line before it knows the next;
/// these loads do not depend on each other, so the processor waits for all of them together.
fn fetch(searched: &[u8]) {
    std::hint::black_box(searched.iter().step_by(CACHE_LINE).fold(0, |all, octet| all ^ octet));
}

/// How many entries before each entry its nearest encloser lies; 0 if none encloses it.
fn steps<K: Bits>(entries: &[Entry<K>]) -> impl Iterator<Item = u8> {
    let mut open: Vec<usize> = Vec::new();
    entries.iter().enumerate().map(move |(at, entry)| {
        while open.pop_if(|last| !entries[*last].covers(entry.key)).is_some() {}
        let step = open.last().map_or(0, |last| (at - last).min(STEP_MAX));
        open.push(at);
        step as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_keep_what_they_are_given() {
        for &mode in AccessMode::ALL {
            for level in LEVELS {
                for written in [Written::Address, Written::Prefix] {
                    let marks = Marks::new(mode, level, written);
                    assert_eq!((marks.mode(), marks.level(), marks.written()), (mode, level, written));
                }
            }
        }
    }

    /// More siblings between an entry and its encloser than a step can say.
    #[test]
    fn far_enclosers_are_found() {
        let entry = |key: u32, length, id: u16| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&id.to_be_bytes());
            let marks = Marks::new(AccessMode::Block, Level::User, Written::Prefix);
            Entry { key, length, marks, id: RuleId::from_bytes(bytes) }
        };
        let mut entries: Vec<_> = (0..1_000).map(|number: u16| entry(u32::from(number) << 8, 24, number)).collect();
        entries.push(entry(0, 0, 1_000));
        entries.push(entry(0, 8, 1_001));
        let leaf = Leaf::of(entries.clone());
        assert_eq!(leaf.len(), 1_002);
        for key in [0, 7, 256 * 255, 256 * 999 + 3, 256 * 1_000, 1 << 24, u32::MAX] {
            let mut found = Vec::new();
            leaf.visit(key, |hit| found.push(hit.id()));
            let mut expect: Vec<_> = entries.iter().filter(|entry| entry.covers(key)).collect();
            expect.sort_by_key(|entry| std::cmp::Reverse(entry.length));
            assert_eq!(found, expect.into_iter().map(|entry| entry.id).collect::<Vec<_>>(), "{key}");
        }
    }
}
