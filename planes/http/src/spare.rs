//! Memory that the requests of a worker use one after the other, so that they ask for none. Idle connections hold none of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use bartizan_wire::http1::FieldRoom;
use bytes::BytesMut;

use crate::limits::{READ_BYTES, SPARE_MAX, SPARE_READ_BYTES, SPARE_TEXT_BYTES_MAX};

/// What is not given back is only lost to others.
pub(crate) struct Spare {
    /// Where bytes of all connections are read to, so that those that wait hold no buffer.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    rooms: RefCell<Vec<FieldRoom>>,
    texts: RefCell<Vec<Vec<u8>>>,
    /// In the order in which they were given: who still uses what is in the first will soon be done.
    reads: RefCell<VecDeque<BytesMut>>,
}

impl Default for Spare {
    fn default() -> Spare {
        Spare {
            scratch: RefCell::new(vec![0; READ_BYTES].into()),
            rooms: RefCell::default(),
            texts: RefCell::default(),
            reads: RefCell::default(),
        }
    }
}

impl Spare {
    /// To parse a head with.
    pub(crate) fn room(&self) -> FieldRoom {
        self.rooms.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_room(&self, room: FieldRoom) {
        let mut rooms = self.rooms.borrow_mut();
        if rooms.len() < SPARE_MAX {
            rooms.push(room);
        }
    }

    /// Empty, to write a head to.
    pub(crate) fn text(&self) -> Vec<u8> {
        self.texts.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_text(&self, mut text: Vec<u8>) {
        let mut texts = self.texts.borrow_mut();
        if texts.len() < SPARE_MAX && (1..=SPARE_TEXT_BYTES_MAX).contains(&text.capacity()) {
            text.clear();
            texts.push(text);
        }
    }

    fn read(&self) -> BytesMut {
        let mut reads = self.reads.borrow_mut();
        while let Some(mut read) = reads.pop_front() {
            // Not if a part of it is still in use.
            if read.try_reclaim(SPARE_READ_BYTES) {
                return read;
            }
        }
        BytesMut::with_capacity(SPARE_READ_BYTES)
    }

    fn give_read(&self, read: BytesMut) {
        let mut reads = self.reads.borrow_mut();
        if reads.len() < SPARE_MAX {
            reads.push_back(read);
        }
    }
}

/// Bytes that were read from a connection and not used yet.
#[derive(Default)]
pub(crate) struct Unread {
    bytes: BytesMut,
    /// Whether it is one of [`Spare`]'s.
    is_spare: bool,
}

impl Unread {
    // Hot: once a read. No allocation for what is small.
    pub(crate) fn append(&mut self, bytes: &[u8], spare: &Spare) {
        let room = self.bytes.capacity() - self.bytes.len();
        if room < bytes.len() {
            self.rest(spare);
            let begins_small = self.bytes.is_empty() && bytes.len() <= SPARE_READ_BYTES;
            self.is_spare = begins_small;
            if begins_small {
                self.bytes = spare.read();
            }
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Gives the memory back if nothing is left in it. What was taken out may still be in use.
    pub(crate) fn rest(&mut self, spare: &Spare) {
        if self.bytes.is_empty() {
            let Unread { bytes, is_spare } = std::mem::take(self);
            if is_spare {
                spare.give_read(bytes);
            }
        }
    }
}

impl Deref for Unread {
    type Target = BytesMut;

    fn deref(&self) -> &BytesMut {
        &self.bytes
    }
}

impl DerefMut for Unread {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small reads use the same memory again; what is still in use, and what is large, is left to who has it.
    #[test]
    fn memory_is_used_again() {
        let spare = Spare::default();
        let mut unread = Unread::default();
        let mut read = |length: usize| {
            unread.append(&vec![b'x'; length], &spare);
            let taken = unread.split().freeze();
            unread.rest(&spare);
            taken
        };
        let first = read(100);
        let place = first.as_ptr();
        let other = read(100);
        assert_ne!(other.as_ptr(), place, "in use");
        drop(first);
        let kept = spare.reads.borrow().len();
        assert_eq!(kept, 1, "one was dropped, as it was in use");
        drop(other);
        let place = read(100).as_ptr();
        assert_eq!(read(SPARE_READ_BYTES).as_ptr(), place);
        drop(read(SPARE_READ_BYTES + 1));
        assert_eq!(spare.reads.borrow().len(), 1, "large ones are not kept");
    }

    #[test]
    fn no_more_is_kept_than_one_may() {
        let spare = Spare::default();
        for _ in 0..2 * SPARE_MAX {
            let mut unread = Unread::default();
            unread.append(b"x", &Spare::default());
            unread.clear();
            unread.rest(&spare);
            spare.give_room(FieldRoom::default());
            spare.give_text(vec![0; 100]);
        }
        spare.give_text(Vec::new());
        let kept = (spare.reads.borrow().len(), spare.rooms.borrow().len(), spare.texts.borrow().len());
        assert_eq!(kept, (SPARE_MAX, SPARE_MAX, SPARE_MAX));
        (0..SPARE_MAX).for_each(|_| assert!(spare.text().is_empty()));
        spare.give_text(Vec::with_capacity(SPARE_TEXT_BYTES_MAX + 1));
        assert!(spare.texts.borrow().is_empty());
    }
}
