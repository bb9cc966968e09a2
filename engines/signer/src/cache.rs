//! Signatures that were made, by fingerprint. Bounded; the oldest goes first.
//!
//! ```text
//! index: a power of two of slots, open addressing ──► entries: a ring, one behind the other
//! ```
//! The ring grows as it is filled, so that a worker which signs little takes little. A slot has enough of the fingerprint to tell
//! nearly all others apart: what a search passes by, and what is moved, costs no look at an entry, which is seldom near.

use std::hint::black_box;

use crate::fingerprint::Fingerprint;
use crate::signer::Signature;

/// Searches that are loaded for together. No processor has more than some thirty loads under way at once.
pub const LOADED_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct Cache {
    /// At least twice as many as entries.
    index: Box<[Slot]>,
    entries: Vec<Entry>,
    capacity: usize,
    /// The entry that is replaced next, once the ring is full.
    oldest: usize,
}

/// The number of an entry plus one, and the tag of its fingerprint. Zero is free: of zeros alone the system gives as many as are
/// asked for, and they take memory when they are written.
type Slot = [u32; 2];

const FREE: Slot = [0; 2];

/// The part of a fingerprint that a slot has. Where it is at home follows from it: there are at most 2^31 slots.
fn tag(print: Fingerprint) -> u32 {
    print.0[0] as u32
}

#[derive(Debug)]
struct Entry {
    print: Fingerprint,
    signature: Signature,
}

impl Cache {
    /// For at least one entry and at most 2^30.
    pub(crate) fn new(capacity: usize) -> Cache {
        let capacity = capacity.clamp(1, 1 << 30);
        let slots = (capacity * 2).next_power_of_two();
        Cache { index: vec![FREE; slots].into(), entries: Vec::new(), capacity, oldest: 0 }
    }

    pub(crate) fn find(&self, print: Fingerprint) -> Option<usize> {
        let slot = self.slot_of(print);
        let [number, _] = self.index[slot];
        (number as usize).checked_sub(1)
    }

    pub(crate) fn get(&self, number: usize) -> &Signature {
        &self.entries[number].signature
    }

    /// Loads what searches for these begin with, of [`LOADED_MAX`] at most: the slots of all, then the entries of all, so that
    /// the waits for memory overlap.
    pub(crate) fn load(&self, prints: &[Fingerprint]) {
        let mut numbers = [0_u32; LOADED_MAX];
        for (print, number) in prints.iter().zip(&mut numbers) {
            [*number, _] = self.index[self.home(tag(*print))];
        }
        for number in numbers.into_iter().filter_map(|number| (number as usize).checked_sub(1)) {
            if let Some(Entry { print, signature }) = self.entries.get(number) {
                // It lies in two cache lines or three.
                let [first, .., last] = signature.signature;
                black_box((print.0[0], first, last, signature.expires));
            }
        }
    }

    /// Puts a signature in place of one with the same fingerprint, or of the oldest if there is no room.
    pub(crate) fn put(&mut self, print: Fingerprint, signature: Signature) -> usize {
        let entry = Entry { print, signature };
        if let Some(number) = self.find(print) {
            self.entries[number] = entry;
            return number;
        }
        let number = if self.entries.len() < self.capacity {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let number = self.oldest;
            self.forget(self.entries[number].print);
            self.entries[number] = entry;
            self.oldest = (number + 1) % self.capacity;
            number
        };
        let slot = self.slot_of(print);
        self.index[slot] = [number as u32 + 1, tag(print)];
        number
    }

    /// Where a search for a tag begins.
    fn home(&self, tag: u32) -> usize {
        tag as usize & (self.index.len() - 1)
    }

    /// The slot of a fingerprint, or the free one where it would be. Ends because half of all slots are free.
    fn slot_of(&self, print: Fingerprint) -> usize {
        let (mask, sought) = (self.index.len() - 1, tag(print));
        let mut slot = self.home(sought);
        while let [number @ (1..), tag] = self.index[slot]
            && (tag != sought || self.entries[number as usize - 1].print != print)
        {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// Frees the slot of an entry, and moves those that were put behind it for want of it.
    fn forget(&mut self, print: Fingerprint) {
        let mask = self.index.len() - 1;
        let mut free = self.slot_of(print);
        self.index[free] = FREE;
        let mut slot = free;
        loop {
            slot = (slot + 1) & mask;
            let [(1..), tag] = self.index[slot] else { return };
            // It may move if its home does not lie behind the free slot.
            if (slot.wrapping_sub(self.home(tag)) & mask) >= (slot.wrapping_sub(free) & mask) {
                self.index[free] = self.index[slot];
                self.index[slot] = FREE;
                free = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Beside a plain queue: the same are kept, and each is found.
        #[test]
        fn the_newest_are_kept(capacity in 1..20_usize, puts in prop::collection::vec(0..40_u64, 0..200)) {
            let (mut cache, mut queue) = (Cache::new(capacity), VecDeque::new());
            for (time, put) in puts.into_iter().enumerate() {
                // Few homes, so that most lie behind others.
                let print = Fingerprint([put % 5, put]);
                cache.put(print, Signature::of_time(time as u64));
                if let Some(known) = queue.iter_mut().find(|(known, _)| *known == print) {
                    known.1 = time as u64;
                } else {
                    queue.push_back((print, time as u64));
                }
                if queue.len() > capacity {
                    queue.pop_front();
                }
                for put in 0..40 {
                    let print = Fingerprint([put % 5, put]);
                    let expect = queue.iter().find(|(known, _)| *known == print).map(|(_, time)| *time);
                    prop_assert_eq!(cache.find(print).map(|number| cache.get(number).expires), expect);
                }
            }
        }
    }
}
