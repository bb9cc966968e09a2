//! Blocks of fields: heads of requests, and trailers (RFC 9113 §4.3, §6.2, §6.10).

use super::client::Side;
use super::connection::{COST_OF_AN_ERROR, Connection, Event, Leaving, TOKENS_A_REQUEST, Taken};
use super::frame::{END_HEADERS, END_STREAM, FRAME_BYTES_MAX, FrameHead, Kind, PRIORITY, number, put};
use super::hpack::{HpackError, List};
use super::request::{HeadRoom, Malformed, RequestHead, Section, Unfit};
use super::streams::{Expects, Place, Stream};
use super::window::{Allowance, Receive};
use super::{Code, Fault};
use crate::http1::Refusal;

/// A block of fields in several frames. Compressed, it is hardly ever longer than the list that it stands for. Where longer lists are
/// taken, blocks of twice their length are: a longer one ends the connection, and one whose list is too long its stream alone.
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// CONTINUATION frames of one block, where blocks are not longer.
const CONTINUATIONS_MAX: usize = 8;

const fn block_bytes_max(list_bytes: usize) -> usize {
    if list_bytes > BLOCK_BYTES_MAX { 2 * list_bytes } else { BLOCK_BYTES_MAX }
}

const fn continuations_max(list_bytes: usize) -> u32 {
    let frames = block_bytes_max(list_bytes).div_ceil(FRAME_BYTES_MAX);
    (if frames > CONTINUATIONS_MAX { frames } else { CONTINUATIONS_MAX }) as u32
}

/// A block of fields that is not complete.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) head: HeadersHead,
    bytes: Vec<u8>,
    continuations: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct HeadersHead {
    pub(super) stream: u32,
    ends: bool,
    depends_on_itself: bool,
}

impl<S: Clone + Default> Connection<S> {
    pub(super) fn take_headers(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        heads: &mut HeadRoom,
        out: &mut Vec<u8>,
    ) -> Taken<S> {
        if head.stream.is_multiple_of(2) {
            return Err(Fault::protocol("HEADERS on a stream that no client opens"));
        }
        let mut fields = &payload[head.without_padding(payload)?];
        let mut depends_on_itself = false;
        if head.has(PRIORITY) {
            let (priority, rest) = fields.split_first_chunk::<5>().ok_or(Fault::size("half a priority"))?;
            depends_on_itself = parent(priority) == head.stream;
            fields = rest;
        }
        let section = HeadersHead { stream: head.stream, ends: head.has(END_STREAM), depends_on_itself };
        if head.has(END_HEADERS) {
            return self.take_block(section, fields, heads, out);
        }
        self.block = Some(Box::new(Block { head: section, bytes: fields.to_vec(), continuations: 0 }));
        Ok(None)
    }

    pub(super) fn take_continuation(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        heads: &mut HeadRoom,
        out: &mut Vec<u8>,
    ) -> Taken<S> {
        let mut block = self.block.take().ok_or(Fault::protocol("CONTINUATION of nothing"))?;
        block.continuations += 1;
        let list_bytes = self.limits.list_bytes;
        let is_too_long = block.bytes.len() + payload.len() > block_bytes_max(list_bytes);
        if block.continuations > continuations_max(list_bytes) || is_too_long {
            return Err(Fault::new(Code::EnhanceYourCalm, "a block of fields without end"));
        }
        block.bytes.extend_from_slice(payload);
        if head.has(END_HEADERS) {
            return self.take_block(block.head, &block.bytes, heads, out);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// Takes a whole block. It is decoded whatever becomes of it, for the table has to stay in step.
    fn take_block(&mut self, head: HeadersHead, block: &[u8], heads: &mut HeadRoom, out: &mut Vec<u8>) -> Taken<S> {
        let place = self.streams.place(head.stream);
        let section = match place {
            Place::Open(at) => match self.streams.at(at).expects {
                Expects::Answer(_) => Section::Answer,
                Expects::Trailers => Section::Trailers,
            },
            _ => Section::Head,
        };
        heads.begin(section, self.limits.fields);
        let list = self.decoder.decode(block, self.limits.list_bytes, |name, value| heads.take(name, value));
        let list = list.map_err(|error| match error {
            HpackError::TooManyCopies => Fault::new(Code::EnhanceYourCalm, "a block of fields that copies too much"),
            _ => Fault::new(Code::Compression, "a block of fields that cannot be read"),
        })?;
        match place {
            Place::Idle if self.side != Side::Server => Err(Fault::protocol("HEADERS on a stream that was not opened")),
            Place::Idle => {
                let parsed = match list {
                    List::Whole => heads.finish_head(),
                    List::TooLarge => Err(Unfit::Refused(Refusal::HeadTooLong)),
                };
                self.take_request(head, parsed, out)
            }
            Place::Open(at) if let Expects::Answer(asked) = self.streams.at(at).expects => {
                let is_fit = matches!(list, List::Whole) && !head.depends_on_itself;
                let parsed = if is_fit { heads.finish_answer() } else { Err(Malformed) };
                self.take_answer(at, asked, head.ends, parsed, out)
            }
            Place::Open(at) => {
                let trailers = if matches!(list, List::Whole) { heads.finish_trailers() } else { Err(Malformed) };
                self.take_trailers(head, at, trailers, out)
            }
            place if self.is_late(place) && self.late.take_frame() => Ok(None),
            place if self.is_late(place) => self.take_tokens(COST_OF_AN_ERROR).map(|()| None),
            Place::Ended | Place::Reset => Err(Fault::new(Code::StreamClosed, "HEADERS on a closed stream")),
            // RFC 9113 §5.1.1: numbers grow.
            Place::Forgotten => Err(Fault::protocol("HEADERS on a stream that was passed over")),
        }
    }

    fn take_request(&mut self, head: HeadersHead, parsed: Result<RequestHead, Unfit>, out: &mut Vec<u8>) -> Taken<S> {
        let HeadersHead { stream: id, ends, depends_on_itself } = head;
        self.streams.begin(id);
        if matches!(self.leaving, Leaving::From(last) if id > last) {
            // It was told that this will not be served (RFC 9113 §6.8).
            self.streams.remember_reset(id);
            self.late.expect_data(self.limits.stream_window);
            return self.take_tokens(COST_OF_AN_ERROR).map(|()| None);
        }
        if self.streams.count() >= self.limits.streams as usize {
            return self.refuse(id, Code::RefusedStream, out);
        }
        let lacks_its_body = |head: &RequestHead| ends && head.length.is_some_and(|length| length > 0);
        let parsed = match parsed {
            Ok(parsed) if !depends_on_itself && !lacks_its_body(&parsed) => Ok(parsed),
            Err(Unfit::Refused(refusal)) if !depends_on_itself => Err(refusal),
            _ => return self.refuse(id, Code::Protocol, out),
        };
        self.streams.open(Stream {
            id,
            owner: S::default(),
            expects: Expects::Trailers,
            is_receiving: !ends,
            is_sending: true,
            is_tunnel: parsed.is_ok_and(|parsed| parsed.to_websocket),
            // Of the body of a head that is refused nothing is looked at.
            length_left: parsed.ok().and_then(|parsed| parsed.length).filter(|_| !ends),
            receive: Receive::new(self.limits.stream_window),
            held: 0,
            send: Allowance::new(self.send_first),
            unread: 0,
        });
        self.add_tokens(TOKENS_A_REQUEST);
        Ok(Some(Event::Request { stream: id, ends, head: parsed }))
    }

    fn take_trailers(
        &mut self,
        head: HeadersHead,
        at: usize,
        parsed: Result<(), Malformed>,
        out: &mut Vec<u8>,
    ) -> Taken<S> {
        let stream = self.streams.at(at);
        let fault = match stream.length_left {
            _ if !stream.is_receiving => Some(Code::StreamClosed),
            // RFC 9113 §8.5.
            _ if stream.is_tunnel => Some(Code::Protocol),
            _ if parsed.is_err() || !head.ends || head.depends_on_itself => Some(Code::Protocol),
            Some(1..) => Some(Code::Protocol),
            _ => None,
        };
        if let Some(code) = fault {
            return self.break_stream(at, code, out);
        }
        stream.is_receiving = false;
        let owner = stream.owner.clone();
        self.close_if_over(at, out);
        Ok(Some(Event::Trailers { owner }))
    }

    /// An error of a stream that nobody has heard of.
    fn refuse(&mut self, id: u32, code: Code, out: &mut Vec<u8>) -> Taken<S> {
        self.streams.remember_reset(id);
        self.late.expect_data(self.limits.stream_window);
        put(Kind::ResetStream, 0, id, &(code as u32).to_be_bytes(), out);
        let cost = if code == Code::RefusedStream && !self.knows_limits { 1 } else { COST_OF_AN_ERROR };
        self.take_tokens(cost).map(|()| None)
    }
}

/// The stream that a priority makes another depend on (RFC 7540 §6.3): the first four of its octets.
pub(super) fn parent(priority: &[u8; 5]) -> u32 {
    let [a, b, c, d, _] = *priority;
    number([a, b, c, d])
}
