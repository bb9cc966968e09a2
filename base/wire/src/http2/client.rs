//! What is different for who opens streams: a client, towards a server that answers.
//!
//! The rest is the same protocol, and the same code: frames, both windows, tables, and tokens for frames that ask for nothing.
//! A server may end some streams and leave others ([`Event::Leaving`], [`Event::Reset`]): what it says that it has done nothing
//! for may be sent again (RFC 9113 §8.7).

use super::connection::{Connection, Event, Reason, Taken};
use super::frame::{Kind, number, put, put_head};
use super::hpack::Encoder;
use super::request::{AnswerHead, Malformed};
use super::settings;
use super::streams::{Closed, Expects, Stream};
use super::window::{Allowance, Receive};
use super::{Code, EndStream, FRAME_BYTES_MAX, Fault, Limits, PREFACE};
use crate::http1::{Asked, Content};

/// Streams at a time before the server has said how many it takes: as many as RFC 9113 §6.5.2 recommends it to take.
const STREAMS_FIRST: u32 = 100;

/// What of a window is left to others: a frame of data.
const SHARE_LEFT_MAX: usize = FRAME_BYTES_MAX;

/// The highest number of a stream.
const NUMBER_MAX: u32 = 0x7fff_ffff;

/// Which end of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client(Opening),
}

/// What may still be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// The number of the next stream.
    next: u32,
    /// Streams at a time that the server takes.
    pub(super) streams: u32,
    /// It takes no new ones.
    is_left: bool,
}

impl<S: Clone + Default> Connection<S> {
    /// One that asks a server. Of `limits`, those of fields are for its answers.
    pub fn client(limits: Limits, out: &mut Vec<u8>) -> Connection<S> {
        out.extend_from_slice(PREFACE);
        let said = [
            (settings::ENABLE_PUSH, 0),
            (settings::INITIAL_WINDOW_SIZE, limits.stream_window),
            (settings::MAX_HEADER_LIST_SIZE, limits.list_bytes as u32),
        ];
        Connection::begin(Side::Client(Opening { next: 1, streams: STREAMS_FIRST, is_left: false }), limits, &said, out)
    }

    /// Whether a stream more may be opened now.
    pub fn may_open(&self) -> bool {
        self.room() > 0
    }

    /// How many streams more may be opened now.
    pub fn room(&self) -> usize {
        match self.side {
            Side::Client(Opening { next, streams, is_left: false }) if next <= NUMBER_MAX => {
                let numbers = ((NUMBER_MAX - next) / 2 + 1) as usize;
                (streams.min(self.limits.streams) as usize).saturating_sub(self.streams.count()).min(numbers)
            }
            Side::Client(_) | Side::Server => 0,
        }
    }

    /// The server is known now: it may send so much more before it is taken, and heads so long. The windows of streams, and how many
    /// there may be, stay as they are.
    pub fn trust(&mut self, connection_window: u32, list_bytes: usize, fields: usize, out: &mut Vec<u8>) {
        (self.limits.list_bytes, self.limits.fields) = (list_bytes, fields);
        let said = [(settings::MAX_HEADER_LIST_SIZE, list_bytes as u32)];
        put_head(settings::bytes(said.len()), Kind::Settings, 0, 0, out);
        settings::put(&said, out);
        self.widen_all(connection_window, out);
    }

    /// Lets the peer send so much ahead on all streams together, from now on. It never gets less.
    pub fn widen_all(&mut self, most: u32, out: &mut Vec<u8>) {
        if let Some(more) = self.receive.widen_to(most) {
            put(Kind::WindowUpdate, 0, 0, &more.to_be_bytes(), out);
        }
    }

    /// What was sent on each stream and the server has not made room for again: it waits there for who takes it.
    pub fn untaken(&self) -> impl Iterator<Item = (&S, u32)> {
        let first = i64::from(self.send_first);
        self.streams.iter().map(move |stream| (&stream.owner, stream.send.short_of(first)))
    }

    /// The same on one stream.
    pub fn untaken_on(&mut self, stream: u32) -> u32 {
        let first = i64::from(self.send_first);
        self.streams.find(stream).map_or(0, |stream| stream.send.short_of(first))
    }

    /// What may still be sent on all streams together.
    pub fn window(&self) -> usize {
        self.send.bytes()
    }

    /// Whether no stream will be opened any more, however many are closed.
    pub fn is_left(&self) -> bool {
        matches!(self.side, Side::Client(Opening { next, is_left, .. }) if is_left || next > NUMBER_MAX)
    }

    /// Streams at a time that the server takes, and we would open.
    pub fn streams_at_a_time(&self) -> u32 {
        match self.side {
            Side::Server => 0,
            Side::Client(Opening { streams, .. }) => streams.min(self.limits.streams),
        }
    }

    /// What this stream may take of the window of the connection, if others are to go on whatever becomes of it: it leaves as much as
    /// the server has not taken of it yet, or an eighth of the window. So those that the server does not read leave something. It is
    /// never more that is left: servers may tell of room when most of it is used up, and on the connection alone.
    // Hot: once a frame.
    pub fn fair_share(&self, stream: u32) -> usize {
        let Some(at) = self.streams.index(stream) else { return usize::MAX };
        let (window, unread) = (self.send.bytes(), self.streams.get(at).unread as usize);
        let left = (self.send_most / 8).min(SHARE_LEFT_MAX);
        window.saturating_sub(left).max(window.saturating_sub(unread).div_ceil(2))
    }

    /// Lets the peer send so much more ahead on a stream, from now on. False if the stream is over, or its window would be too large.
    pub fn widen(&mut self, stream: u32, by: u32, out: &mut Vec<u8>) -> bool {
        let Some(found) = self.streams.find(stream) else { return false };
        if !found.is_receiving || found.receive.widen(by).is_err() {
            return false;
        }
        put(Kind::WindowUpdate, 0, stream, &by.to_be_bytes(), out);
        true
    }

    /// Sends the head of a request, which `fields` writes, on a new stream. Says its number; none if there may not be one more.
    // Hot: once a request. No allocation but for the stream.
    pub fn open(
        &mut self,
        owner: S,
        asked: Asked,
        end: EndStream,
        out: &mut Vec<u8>,
        fields: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> Option<u32> {
        if !self.may_open() {
            return None;
        }
        let Side::Client(opening) = &mut self.side else { return None };
        let id = opening.next;
        opening.next += 2;
        self.streams.begin(id);
        self.streams.open(Stream {
            id,
            owner,
            expects: Expects::Answer(asked),
            is_receiving: true,
            is_sending: true,
            is_tunnel: false,
            length_left: None,
            receive: Receive::new(self.limits.stream_window),
            held: 0,
            send: Allowance::new(self.send_first),
            unread: 0,
        });
        self.add_tokens(super::connection::TOKENS_A_REQUEST);
        self.send_head(id, end, out, fields);
        Some(id)
    }

    /// So much of what came on a stream is kept by the caller, in memory that is counted there: it takes up the window of the
    /// stream until [`Connection::took_kept`], and not that of the connection. So whoever takes nothing holds up nobody else.
    pub fn keep(&mut self, stream: u32, bytes: usize, out: &mut Vec<u8>) {
        let Some(found) = self.streams.find(stream) else { return };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(found.held);
        found.held -= bytes;
        self.make_room(bytes, out);
    }

    /// So much of what was kept was taken.
    pub fn took_kept(&mut self, stream: u32, bytes: usize, out: &mut Vec<u8>) {
        if let Some(at) = self.streams.index(stream) {
            self.tell_of_room(at, u32::try_from(bytes).unwrap_or(u32::MAX), out);
        }
    }

    /// The head of an answer, or of one that comes before it (RFC 9110 §15.2).
    pub(super) fn take_answer(
        &mut self,
        at: usize,
        asked: Asked,
        ends: bool,
        parsed: Result<AnswerHead, Malformed>,
        out: &mut Vec<u8>,
    ) -> Taken<S> {
        let Ok(head) = parsed else { return self.break_stream(at, Code::Protocol, out) };
        if head.is_interim() {
            // RFC 9113 §8.1: no interim answer ends a stream.
            if ends {
                return self.break_stream(at, Code::Protocol, out);
            }
            self.take_tokens(1)?;
            let owner = self.streams.at(at).owner.clone();
            return Ok(Some(Event::Answer { owner, ends, head }));
        }
        let content = Content::of(asked, head.status);
        let stream = self.streams.at(at);
        stream.length_left = match (content, head.length) {
            (Content::Framed, Some(1..)) if ends => return self.break_stream(at, Code::Protocol, out),
            (Content::Framed, length) => length,
            // Nothing may come but the end.
            (Content::Withheld | Content::Never, _) => Some(0),
        };
        stream.expects = Expects::Trailers;
        stream.is_receiving = !ends;
        let owner = stream.owner.clone();
        self.close_if_over(at, out);
        Ok(Some(Event::Answer { owner, ends, head }))
    }

    /// The server takes no more streams, and has done nothing for those above the one that it names (RFC 9113 §6.8).
    pub(super) fn take_leaving(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Taken<S> {
        let (last, rest) = payload.split_first_chunk::<4>().ok_or(Fault::size("GOAWAY that is too short"))?;
        let code = rest.first_chunk::<4>().ok_or(Fault::size("GOAWAY that is too short"))?;
        let last = number(*last);
        let reason = match Reason::of(*code) {
            Reason::Refused | Reason::Other => Reason::Refused,
            Reason::Http11Required => Reason::Http11Required,
        };
        self.take_tokens(1)?;
        let Side::Client(opening) = &mut self.side else { return Ok(None) };
        opening.is_left = true;
        let mut refused = Vec::new();
        while let Some(at) = self.streams.first_above(last) {
            let stream = self.streams.remove(at, Closed::ByItsEnd);
            self.make_room(stream.held, out);
            refused.push(stream.owner);
        }
        Ok(Some(Event::Leaving { refused, reason }))
    }
}
