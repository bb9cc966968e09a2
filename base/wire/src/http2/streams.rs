//! The streams of a connection and their states (RFC 9113 §5.1).
//!
//! ```text
//!              HEADERS                 END_STREAM of either side          of the other
//! idle ───────────────────► open ───────────────────────────► half-closed ────────────► closed
//!                             └─────────────── RST_STREAM ──────────┴──────────────────────▲
//! ```
//! Only the client opens streams. Those that are open or half-closed are in the table; of closed ones the last are
//! remembered, since frames of them may still be under way.

use std::collections::VecDeque;

use super::window::{Allowance, Receive};
use crate::http1::Asked;

/// Streams that came to their end, and of which no frames can follow.
const ENDED_KEPT: usize = 16;

/// So many streams keep their memory when none is left.
const ROOM_KEPT: usize = 4;

/// What a block of fields would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expects {
    /// The answer to such a request.
    Answer(Asked),
    Trailers,
}

/// One that is open or half-closed.
#[derive(Debug)]
pub(super) struct Stream<S> {
    pub(super) id: u32,
    /// Whatever the caller keeps with it.
    pub(super) owner: S,
    /// What the peer's next block of fields on it is.
    pub(super) expects: Expects,
    /// Whether the peer may still send.
    pub(super) is_receiving: bool,
    /// Whether we may.
    pub(super) is_sending: bool,
    /// Whether what comes on it is no message but the bytes of a connection: nothing but data may follow.
    pub(super) is_tunnel: bool,
    /// What is left of the length that the head stated.
    pub(super) length_left: Option<u64>,
    pub(super) receive: Receive,
    /// Octets that came and were not taken.
    pub(super) held: u32,
    pub(super) send: Allowance,
    /// Octets that were sent, and that the peer has not said on this stream to have taken.
    pub(super) unread: u32,
}

#[derive(Debug)]
pub(super) struct Streams<S> {
    /// By their numbers, which grow.
    open: Vec<Stream<S>>,
    /// The highest that was opened.
    highest: u32,
    /// The last that we reset, whose late frames are passed over: as many as there may be streams at a time. A frame of an
    /// older one ends the connection (RFC 9113 §5.1 lets us choose).
    reset: VecDeque<u32>,
    reset_kept: usize,
    ended: [u32; ENDED_KEPT],
    next_ended: usize,
}

/// Where a stream is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Idle,
    /// In the table.
    Open(usize),
    /// We have reset it, and the peer need not know yet.
    Reset,
    /// It came to its end on both sides, or the peer has reset it.
    Ended,
    /// It was passed over, or has ended long ago.
    Forgotten,
}

impl<S> Streams<S> {
    /// For as many at a time.
    pub(super) fn new(most: u32) -> Streams<S> {
        let (open, reset, reset_kept) = (Vec::new(), VecDeque::new(), most as usize);
        Streams { open, highest: 0, reset, reset_kept, ended: [0; ENDED_KEPT], next_ended: 0 }
    }

    pub(super) fn place(&self, id: u32) -> Place {
        if id > self.highest {
            return Place::Idle;
        }
        match self.index(id) {
            Some(at) => Place::Open(at),
            None if self.reset.contains(&id) => Place::Reset,
            None if self.ended.contains(&id) => Place::Ended,
            None => Place::Forgotten,
        }
    }

    pub(super) fn at(&mut self, at: usize) -> &mut Stream<S> {
        &mut self.open[at]
    }

    pub(super) fn get(&self, at: usize) -> &Stream<S> {
        &self.open[at]
    }

    pub(super) fn index(&self, id: u32) -> Option<usize> {
        self.open.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    pub(super) fn find(&mut self, id: u32) -> Option<&mut Stream<S>> {
        let at = self.index(id)?;
        Some(&mut self.open[at])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream<S>> {
        self.open.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream<S>> {
        self.open.iter_mut()
    }

    /// The first whose number is higher.
    pub(super) fn first_above(&self, id: u32) -> Option<usize> {
        let at = self.open.partition_point(|stream| stream.id <= id);
        (at < self.open.len()).then_some(at)
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    pub(super) fn highest(&self) -> u32 {
        self.highest
    }

    /// Its number was idle, and is not any more.
    pub(super) fn begin(&mut self, id: u32) {
        self.highest = self.highest.max(id);
    }

    /// Of a number that has just begun.
    pub(super) fn open(&mut self, stream: Stream<S>) {
        self.open.push(stream);
    }

    /// Takes it out of the table.
    pub(super) fn remove(&mut self, at: usize, how: Closed) -> Stream<S> {
        let stream = self.open.remove(at);
        if self.open.is_empty() && self.open.capacity() > ROOM_KEPT {
            self.open = Vec::new();
        }
        match how {
            Closed::ByUs => self.remember_reset(stream.id),
            Closed::ByItsEnd => {
                self.ended[self.next_ended] = stream.id;
                self.next_ended = (self.next_ended + 1) % ENDED_KEPT;
            }
        }
        stream
    }

    /// We have reset it, whether or not it ever was in the table.
    pub(super) fn remember_reset(&mut self, id: u32) {
        if self.reset.len() >= self.reset_kept {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
    }
}

/// What closed a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// A reset of ours: more of it may come.
    ByUs,
    /// Its end, or a reset of the peer: nothing may.
    ByItsEnd,
}
