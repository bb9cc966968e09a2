//! A part of all names: an immutable open-addressing table, slots and entries in one allocation.
//!
//! ```text
//! ┌──────────────────────────────┬───────┬───────┬─────┐
//! │ slots: tag u32, offset u32   │ entry │ entry │ …   │      offset 0: the slot is free
//! └──────────────────────────────┴───────┴───────┴─────┘
//! ```

use std::sync::Arc;

use crate::entry::Entry;

const SLOT: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Shard {
    bytes: Arc<[u8]>,
    /// The number of slots, a power of two, less one.
    mask: u32,
}

/// A slot as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    tag: u32,
    offset: u32,
}

impl Shard {
    pub(crate) fn empty() -> Shard {
        Shard { bytes: Arc::new([0; SLOT]), mask: 0 }
    }

    /// A shard of these entries with their hashes.
    pub(crate) fn seal(entries: &[(u64, Entry<'_>)]) -> Shard {
        // At least a third of the slots stay free: short searches that always end.
        let slots = (entries.len() * 3 / 2 + 1).next_power_of_two();
        let mask = (slots - 1) as u32;
        let size = slots * SLOT + entries.iter().map(|(_, entry)| entry.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(size);
        bytes.resize(slots * SLOT, 0);
        for (hash, entry) in entries {
            let offset = bytes.len() as u32;
            entry.copy_to(&mut bytes);
            let mut at = tag(*hash) & mask;
            while slot_at(&bytes, at).offset != 0 {
                at = (at + 1) & mask;
            }
            let place = &mut bytes[at as usize * SLOT..][..SLOT];
            place[..4].copy_from_slice(&tag(*hash).to_le_bytes());
            place[4..].copy_from_slice(&offset.to_le_bytes());
        }
        Shard { bytes: bytes.into(), mask }
    }

    /// Whether both are one piece of memory. Equal entries may still be in two.
    pub(crate) fn is_same(&self, other: &Shard) -> bool {
        Arc::ptr_eq(&self.bytes, &other.bytes)
    }

    /// The first slot to look at for `hash`.
    pub(crate) fn first_slot(&self, hash: u64) -> Slot {
        slot_at(&self.bytes, tag(hash) & self.mask)
    }

    /// The first entry with this hash, as far as slots tell: beginning with `slot`, which is the first one.
    pub(crate) fn first_entry(&self, hash: u64, slot: Slot) -> Option<Entry<'_>> {
        let (mut at, mut slot) = (tag(hash) & self.mask, slot);
        while slot.offset != 0 {
            if slot.tag == tag(hash) {
                return Entry::at(&self.bytes, slot.offset as usize);
            }
            at = (at + 1) & self.mask;
            slot = slot_at(&self.bytes, at);
        }
        None
    }

    /// The first entry with this hash that `matches`.
    pub(crate) fn find<'s>(&'s self, hash: u64, matches: impl Fn(Entry<'s>) -> bool) -> Option<Entry<'s>> {
        let mut at = tag(hash) & self.mask;
        loop {
            let slot = slot_at(&self.bytes, at);
            if slot.offset == 0 {
                return None;
            }
            if slot.tag == tag(hash)
                && let Some(entry) = Entry::at(&self.bytes, slot.offset as usize)
                && matches(entry)
            {
                return Some(entry);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// All entries, in the order in which they lie in memory.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut at = (self.mask as usize + 1) * SLOT;
        std::iter::from_fn(move || {
            let entry = Entry::at(&self.bytes, at)?;
            at += entry.len();
            Some(entry)
        })
    }
}

/// The half of a hash that a slot holds. The other half chooses the shard.
fn tag(hash: u64) -> u32 {
    hash as u32
}

fn slot_at(bytes: &[u8], index: u32) -> Slot {
    let at = index as usize * SLOT;
    let [a, b, c, d, e, f, g, h] = bytes[at..].first_chunk::<SLOT>().copied().unwrap_or_default();
    Slot { tag: u32::from_le_bytes([a, b, c, d]), offset: u32::from_le_bytes([e, f, g, h]) }
}
