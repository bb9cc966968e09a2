//! The fields that were sent before (RFC 7541 §2.3.2, §4).

use std::collections::VecDeque;

use super::field_bytes;

/// Names and values lie behind each other in one buffer, the oldest first, each field in one piece. What is dropped at the front
/// is only counted; once it is more than what is in use, the rest moves to the front.
pub(super) struct Table {
    bytes: Vec<u8>,
    /// The newest first.
    entries: VecDeque<Entry>,
    /// Octets that were ever moved out of the front of `bytes`, wrapping.
    gone: u32,
    size: usize,
    size_max: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Octets that were in the buffer before this one, since the table was made, wrapping.
    start: u32,
    name: u32,
    value: u32,
}

/// The name of a new field.
#[derive(Clone, Copy)]
pub(super) enum Name<'n> {
    Text(&'n [u8]),
    /// That of an entry of the same table, which may be dropped for the new one.
    Entry(usize),
}

impl Table {
    /// Up to `size_max` octets, measured as [`field_bytes`]. Takes no memory yet.
    pub(super) fn new(size_max: usize) -> Table {
        Table { bytes: Vec::new(), entries: VecDeque::new(), gone: 0, size: 0, size_max }
    }

    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Name and value of an entry; the newest is 0.
    pub(super) fn get(&self, at: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(at)?;
        let field = &self.bytes[entry.start.wrapping_sub(self.gone) as usize..];
        let (name, rest) = field.split_at(entry.name as usize);
        Some((name, &rest[..entry.value as usize]))
    }

    /// RFC 7541 §4.3.
    pub(super) fn resize(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.drop_to(size_max);
    }

    /// RFC 7541 §4.4: what is larger than the table empties it, and is not an error.
    pub(super) fn insert(&mut self, name: Name<'_>, value: &[u8]) {
        let named = match name {
            Name::Text(text) => text,
            Name::Entry(at) => self.get(at).map_or(&[][..], |(name, _)| name),
        };
        let size = field_bytes(named, value);
        if size > self.size_max {
            return self.drop_to(0);
        }
        let (name_bytes, live) = (named.len(), self.size - 32 * self.entries.len());
        if self.bytes.len() > 2 * live {
            let dropped = self.bytes.len() - live;
            self.bytes.drain(..dropped);
            self.gone = self.gone.wrapping_add(dropped as u32);
        }
        let start = self.bytes.len();
        match name {
            Name::Text(text) => self.bytes.extend_from_slice(text),
            Name::Entry(at) => {
                let from = self.entries[at].start.wrapping_sub(self.gone) as usize;
                self.bytes.extend_from_within(from..from + name_bytes);
            }
        }
        self.bytes.extend_from_slice(value);
        self.drop_to(self.size_max - size);
        let start = self.gone.wrapping_add(start as u32);
        self.entries.push_front(Entry { start, name: name_bytes as u32, value: value.len() as u32 });
        self.size += size;
    }

    fn drop_to(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.name as usize + oldest.value as usize + 32;
        }
    }
}
