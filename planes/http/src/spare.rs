//! Memory that the requests of a worker use one after the other, so that they ask for none. Idle connections hold none of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bartizan_net::Pipes;
use bartizan_wire::http1::FieldRoom;
use bartizan_wire::http2::HeadRoom;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::limits::{
    FLOW_BYTES, PAST_PIPES_MAX, READ_BYTES, SPARE_MAX, SPARE_READ_BYTES, SPARE_TEXT_BYTES, SPARE_TEXT_BYTES_MAX,
};

/// One of so many parts of what was read is a large one.
const LARGE_PART: usize = 4;

/// What is not given back is only lost to others.
pub(crate) struct Spare {
    /// Where bytes of all connections are read to, so that those that wait hold no buffer.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Where heads of HTTP/2 are written to before they are kept.
    pub(crate) heads: RefCell<HeadRoom>,
    rooms: RefCell<Vec<FieldRoom>>,
    texts: RefCell<Vec<Vec<u8>>>,
    /// In the order in which they were given: who still uses what is in the first will soon be done.
    reads: RefCell<VecDeque<BytesMut>>,
    /// Through which bodies go that nobody looks at.
    pub(crate) pipes: Pipes,
}

impl Default for Spare {
    fn default() -> Spare {
        Spare::with_pipes(PAST_PIPES_MAX)
    }
}

impl Spare {
    /// With so many pipes at most.
    pub(crate) fn with_pipes(most: usize) -> Spare {
        Spare {
            scratch: RefCell::new(vec![0; READ_BYTES].into()),
            heads: RefCell::default(),
            rooms: RefCell::default(),
            texts: RefCell::default(),
            reads: RefCell::default(),
            pipes: Pipes::new(most),
        }
    }

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
        self.texts.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SPARE_TEXT_BYTES))
    }

    pub(crate) fn give_text(&self, mut text: Vec<u8>) {
        let mut texts = self.texts.borrow_mut();
        if texts.len() < SPARE_MAX && (SPARE_TEXT_BYTES..=SPARE_TEXT_BYTES_MAX).contains(&text.capacity()) {
            text.clear();
            texts.push(text);
        }
    }

    /// Empty, to keep what was read in: [`SPARE_READ_BYTES`] of it.
    pub(crate) fn read(&self) -> BytesMut {
        let mut reads = self.reads.borrow_mut();
        while let Some(mut read) = reads.pop_front() {
            // Not if a part of it is still in use.
            if read.try_reclaim(SPARE_READ_BYTES) {
                return read;
            }
        }
        BytesMut::with_capacity(SPARE_READ_BYTES)
    }

    /// Copies a head to where it stays for as long as its request: into `heads`, memory for those of one connection.
    // Hot: once a request. No allocation for usual ones.
    pub(crate) fn keep(&self, text: &[u8], heads: &mut Option<BytesMut>) -> Bytes {
        if text.len() > SPARE_READ_BYTES {
            return Bytes::copy_from_slice(text);
        }
        if let Some(full) = heads.take_if(|heads| heads.capacity() < text.len()) {
            self.give_read(full);
        }
        let heads = heads.get_or_insert_with(|| self.read());
        heads.extend_from_slice(text);
        heads.split().freeze()
    }

    /// One of those. What was taken out may still be in use.
    pub(crate) fn give_read(&self, read: BytesMut) {
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
    /// Whether the last read brought so much that the next one is made to memory of its own.
    flows: bool,
    /// How large the memory is that it lies in.
    size: usize,
}

impl Unread {
    /// A piece that was taken out of it, for who may keep it for long: a small one does not keep all else that came with it.
    // Hot: once a piece. No allocation for one that is a large part.
    pub(crate) fn part(&self, piece: BytesMut) -> BytesMut {
        if piece.len().saturating_mul(LARGE_PART) >= self.size { piece } else { BytesMut::from(&piece[..]) }
    }

    /// Reads once, `most` bytes at most, and says how many: none at the end. What waits holds no large buffer.
    // Hot: once a read. No allocation for what is small; while much comes, it is read to where it stays.
    pub(crate) fn poll_read<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        most: usize,
        spare: &Spare,
    ) -> Poll<io::Result<usize>> {
        let polled = if self.flows && self.bytes.is_empty() {
            self.poll_read_directly(io, cx, most)
        } else {
            let mut scratch = spare.scratch.borrow_mut();
            let most = most.min(scratch.len());
            let mut buffer = ReadBuf::new(&mut scratch[..most]);
            let polled = Pin::new(io).poll_read(cx, &mut buffer)?;
            self.append(buffer.filled(), spare);
            polled.map(|()| Ok(buffer.filled().len()))
        };
        if let Poll::Ready(Ok(read)) = polled {
            self.flows = read >= FLOW_BYTES;
        } else if self.bytes.is_empty() && !self.is_spare {
            *self = Unread::default();
        }
        polled
    }

    fn poll_read_directly<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        if !self.bytes.try_reclaim(most) {
            self.bytes = BytesMut::with_capacity(most);
            self.is_spare = false;
        }
        self.size = self.bytes.capacity();
        let mut limited = (&mut self.bytes).limit(most);
        pin!(io.read_buf(&mut limited)).poll(cx)
    }

    fn append(&mut self, bytes: &[u8], spare: &Spare) {
        let room = self.bytes.capacity() - self.bytes.len();
        let has_room = room >= bytes.len() || (self.bytes.is_empty() && self.bytes.try_reclaim(bytes.len()));
        if !has_room {
            self.rest(spare);
            self.is_spare = self.bytes.is_empty() && bytes.len() <= SPARE_READ_BYTES;
            if self.is_spare {
                self.bytes = spare.read();
            }
        }
        self.bytes.extend_from_slice(bytes);
        if !has_room {
            self.size = self.bytes.capacity();
        }
    }

    /// Gives the memory back if nothing is left in it. What was taken out may still be in use.
    pub(crate) fn rest(&mut self, spare: &Spare) {
        if self.bytes.is_empty() {
            let Unread { bytes, is_spare, .. } = std::mem::take(self);
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
    use std::task::Waker;

    use super::*;

    /// Reads all that is there.
    fn read(unread: &mut Unread, mut there: &[u8], spare: &Spare) -> Poll<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        unread.poll_read(&mut there, &mut cx, READ_BYTES, spare).map(Result::unwrap)
    }

    /// Small reads use the same memory again; what is still in use, and what is large, is left to who has it.
    #[test]
    fn memory_is_used_again() {
        let spare = Spare::default();
        let mut unread = Unread::default();
        let mut take = |length: usize| {
            assert_eq!(read(&mut unread, &vec![b'x'; length], &spare), Poll::Ready(length));
            let taken = unread.split().freeze();
            unread.rest(&spare);
            taken
        };
        let first = take(100);
        let place = first.as_ptr();
        let other = take(100);
        assert_ne!(other.as_ptr(), place, "in use");
        drop(first);
        assert_eq!(spare.reads.borrow().len(), 1, "one was dropped, as it was in use");
        drop(other);
        let place = take(100).as_ptr();
        assert_eq!(take(SPARE_READ_BYTES).as_ptr(), place);
        drop(take(SPARE_READ_BYTES + 1));
        assert_eq!(spare.reads.borrow().len(), 1, "large ones are not kept");
    }

    /// What flows is read whole, whatever its pieces, into the same memory while nobody holds it; and what waits for more
    /// holds none.
    #[test]
    fn large_pieces() {
        let (spare, mut cx) = (Spare::default(), Context::from_waker(Waker::noop()));
        for lengths in [[FLOW_BYTES; 4], [READ_BYTES; 4], [FLOW_BYTES, READ_BYTES, 1, FLOW_BYTES - 1]] {
            let mut unread = Unread::default();
            let mut places = Vec::new();
            for (at, length) in lengths.into_iter().enumerate() {
                assert_eq!(read(&mut unread, &vec![at as u8; length], &spare), Poll::Ready(length));
                let piece = unread.split().freeze();
                assert!(piece.len() == length && piece.iter().all(|byte| *byte == at as u8), "{lengths:?}");
                places.push(piece.as_ptr());
            }
            assert!(lengths != [READ_BYTES; 4] || places.windows(2).all(|two| two[0] == two[1]), "{places:?}");
            assert_eq!(read(&mut unread, &vec![b'x'; FLOW_BYTES], &spare), Poll::Ready(FLOW_BYTES));
            drop(unread.split());
            let (mut silent, _other) = tokio::io::duplex(1);
            assert!(unread.poll_read(&mut silent, &mut cx, READ_BYTES, &spare).is_pending());
            assert_eq!(unread.capacity(), 0);
        }
        assert_eq!(spare.reads.borrow().len(), 0);
    }

    /// A piece that waits keeps four times itself at most.
    #[test]
    fn small_parts_are_copied() {
        let spare = Spare::default();
        for (length, part, is_copied) in [
            (100, 100, true),
            (SPARE_READ_BYTES, SPARE_READ_BYTES / 4, false),
            (SPARE_READ_BYTES, SPARE_READ_BYTES / 4 - 1, true),
            (READ_BYTES, READ_BYTES / 4, false),
            (READ_BYTES, 1, true),
            (READ_BYTES, 0, true),
        ] {
            let mut unread = Unread::default();
            for _ in 0..2 {
                assert_eq!(read(&mut unread, &vec![b'x'; length], &spare), Poll::Ready(length));
                let piece = unread.split_to(part);
                let place = piece.as_ptr();
                let kept = unread.part(piece);
                assert_eq!((kept.len(), kept.as_ptr() != place), (part, is_copied), "{part} of {length}");
                unread.clear();
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_one_may() {
        let spare = Spare::default();
        for _ in 0..2 * SPARE_MAX {
            let mut unread = Unread::default();
            assert_eq!(read(&mut unread, b"x", &Spare::default()), Poll::Ready(1));
            unread.clear();
            unread.rest(&spare);
            spare.give_room(FieldRoom::default());
            spare.give_text(vec![0; SPARE_TEXT_BYTES]);
        }
        spare.give_text(Vec::new());
        let kept = (spare.reads.borrow().len(), spare.rooms.borrow().len(), spare.texts.borrow().len());
        assert_eq!(kept, (SPARE_MAX, SPARE_MAX, SPARE_MAX));
        (0..SPARE_MAX).for_each(|_| assert!(spare.text().is_empty()));
        spare.give_text(Vec::with_capacity(SPARE_TEXT_BYTES_MAX + 1));
        assert!(spare.texts.borrow().is_empty());
    }
}
