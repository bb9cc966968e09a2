//! How much a visitor may send ahead, and how much of what we send it may leave untaken: QUIC keeps both in our memory, so it
//! is counted there before it is allowed.
//!
//! What is allowed cannot be taken back. So a connection that had a large window once has to find the memory again when it is
//! used again, or it ends; one that never had goes on with a small one.

use std::cell::Cell;

use quinn::VarInt;

use crate::ingress::connection::Connection;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, QUIC_CARRIED_MAX, QUIC_CARRIED_STEP, QUIC_HEADS_BYTES, QUIC_REST_BYTES,
    STREAM_WINDOW_BYTES, UNSENT_BYTES,
};
use crate::worker::Worker;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing.
    #[default]
    Rest,
    /// Requests are answered.
    Busy,
    /// Bodies of requests come.
    Body,
}

impl Level {
    fn receive(self) -> u32 {
        match self {
            Level::Rest => QUIC_REST_BYTES,
            Level::Busy => QUIC_HEADS_BYTES,
            Level::Body => STREAM_WINDOW_BYTES.max(CONNECTION_WINDOW_BYTES / 2),
        }
    }

    fn send(self) -> u32 {
        match self {
            Level::Rest => QUIC_REST_BYTES,
            Level::Busy | Level::Body => UNSENT_BYTES,
        }
    }

    /// What it counts. Those of rest are those of the connection's place.
    fn bytes(self) -> usize {
        match self {
            Level::Rest => 0,
            Level::Busy | Level::Body => (self.receive() + self.send()) as usize,
        }
    }
}

/// Those of one connection.
#[derive(Default)]
pub(super) struct Windows {
    level: Cell<Level>,
    /// The largest that there ever was.
    allowed: Cell<Level>,
    /// What may be sent ahead beyond what the level says: what the path carries at a time.
    carried: Cell<u32>,
}

impl Windows {
    /// Changes them to those of `level`, if there is memory for that. False if there is none for what was allowed before.
    pub(super) fn adapt(
        &self,
        level: Level,
        quic: &quinn::Connection,
        connection: &Connection,
        worker: &Worker,
    ) -> bool {
        let before = self.level.get();
        if level == before {
            return true;
        }
        if level == Level::Rest {
            connection.let_go(self.carried.take() as usize);
        }
        if level < before {
            connection.let_go(before.bytes() - level.bytes());
        } else if !connection.try_to_hold(level.bytes() - before.bytes(), worker) {
            return self.allowed.get() < level;
        }
        self.level.set(level);
        self.allowed.set(self.allowed.get().max(level));
        quic.set_receive_window(VarInt::from_u32(level.receive()));
        quic.set_send_window(u64::from(level.send() + self.carried.get()));
        true
    }

    /// All that may be sent ahead is under way: lets it be as much more as the path carries, or a far visitor would get one
    /// window a round trip. Says whether it is more now.
    pub(super) fn carry_more(&self, quic: &quinn::Connection, connection: &Connection, worker: &Worker) -> bool {
        let (level, before) = (self.level.get(), self.carried.get());
        if level == Level::Rest {
            return false;
        }
        // What the visitor has confirmed at a time (RFC 9002 §7), which doubles in a round trip while it may.
        let path = u32::try_from(quic.stats().path.cwnd).unwrap_or(u32::MAX).min(QUIC_CARRIED_MAX);
        let more = path.saturating_sub(before);
        let bytes = more as usize;
        if more < QUIC_CARRIED_STEP || !worker.memory.is_plenty_for(bytes) || !connection.try_to_hold(bytes, worker) {
            return false;
        }
        self.carried.set(path);
        quic.set_send_window(u64::from(level.send() + path));
        true
    }

    /// The connection is over.
    pub(super) fn let_go(&self, connection: &Connection) {
        connection.let_go(self.level.replace(Level::Rest).bytes() + self.carried.take() as usize);
    }
}
