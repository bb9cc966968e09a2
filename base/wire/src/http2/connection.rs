//! What the peer sends, frame by frame.

use std::ops::Range;

use super::blocks::{Block, parent};
use super::client::Side;
use super::frame::{ACK, END_STREAM, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FrameHead, Kind, number, put, put_head};
use super::hpack::{Decoder, Encoder, TABLE_BYTES};
use super::late::Late;
use super::send::GOODBYE;
use super::settings::{self, Settings};
use super::streams::{Closed, Expects, Place, Streams};
use super::window::{Allowance, Receive, WINDOW_FIRST};
use super::{AnswerHead, Code, Fault, HeadRoom, PREFACE, RequestHead};
use crate::http1::Refusal;

/// Each frame that asks for nothing takes a token, or some: so many there are at most.
const TOKENS_MAX: u32 = 1_000;

/// How many more there are for each second, each request, and each frame of data that we could send. Who reads through
/// a small buffer gives room back in as small pieces, on the stream and on the connection (Go: 4 KB, and a PING to measure
/// the way for every message of gRPC), so that octets count too.
const TOKENS_A_SECOND: u32 = 20;
pub(super) const TOKENS_A_REQUEST: u32 = 10;
pub(super) const TOKENS_A_FRAME: u32 = 4;
pub(super) const BYTES_A_TOKEN: usize = 256;

/// A frame of data that the peer's windows made smaller than this is what a game with windows brings.
pub(super) const SMALL_FRAME_BYTES: usize = 256;

/// What others take: each SETTINGS may change all windows, and each error costs a frame of ours.
const COST_OF_SETTINGS: u32 = 5;
pub(super) const COST_OF_AN_ERROR: u32 = 8;

/// Frames that are no event, after which [`Connection::next`] lets others do something.
const QUIET_FRAMES_MAX: u32 = 32;

/// What one peer may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams at a time.
    pub streams: u32,
    /// Octets that may be sent ahead on a stream, and on all of them.
    pub stream_window: u32,
    pub connection_window: u32,
    /// Of the fields of a head, as RFC 9113 §6.5.2 counts them.
    pub list_bytes: usize,
    pub fields: usize,
}

/// One connection. `S`: what the caller keeps with a stream.
pub struct Connection<S> {
    pub(super) side: Side,
    pub(super) limits: Limits,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) streams: Streams<S>,
    pub(super) receive: Receive,
    pub(super) send: Allowance,
    /// The most that it ever was.
    pub(super) send_most: usize,
    /// What a new stream may send at first.
    pub(super) send_first: u32,
    begun: Begun,
    pub(super) block: Option<Box<Block>>,
    /// For frames that ask for nothing.
    tokens: u32,
    /// What may still come on streams that we have reset.
    pub(super) late: Late,
    /// Whether it has read our SETTINGS. Before, no limit holds that it could know (RFC 9113 §6.5.3).
    pub(super) knows_limits: bool,
    pub(super) leaving: Leaving,
    /// Whether a PING of ours is not answered.
    pub(super) is_pinging: bool,
}

/// What has come of the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// So many octets of the preface.
    Preface(usize),
    /// All of it; the first frame has to be SETTINGS.
    Settings,
    Whole,
}

/// How far we are with a goodbye (RFC 9113 §6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// The peer knows, as soon as it has read so far. What it sent before is served.
    Announced,
    /// Streams above this one are not served.
    From(u32),
}

/// What a piece of input did.
#[derive(Debug)]
pub struct Step<S> {
    /// Bytes from the front, not to be shown again.
    pub used: usize,
    pub event: Event<S>,
}

#[derive(Debug)]
pub enum Event<S> {
    /// More bytes are needed.
    Hungry,
    /// Some frames that mean nothing to the caller: more may follow, but it may be the turn of others.
    Nothing,
    /// A head, in the text of the `HeadRoom`, or why it is not to be served. `ends`: there is no body. The stream has no
    /// owner yet.
    Request { stream: u32, ends: bool, head: Result<RequestHead, Refusal> },
    /// Of a body: these of the bytes shown. They take up a window until [`Connection::took`].
    Data { owner: S, at: Range<usize>, ends: bool },
    /// They lie in the `HeadRoom`, and end the body.
    Trailers { owner: S },
    /// The head of an answer, or of one that comes before it. Its fields lie in the `HeadRoom`. `ends`: there is no body.
    Answer { owner: S, ends: bool, head: AnswerHead },
    /// The stream is closed before its end: the peer has reset it, or we have since it broke a rule.
    Reset { owner: S, reason: Reason },
    /// The server takes no new streams, and has done nothing for these, which are closed.
    Leaving { refused: Vec<S>, reason: Reason },
    /// This stream may send more.
    Room { owner: S },
    /// The connection may.
    RoomForAll,
    /// Each stream may, or less.
    RoomForEach,
}

/// What the peer says of why something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was done for it (RFC 9113 §8.7).
    Refused,
    /// It is to be asked for in HTTP/1.1 (RFC 9113 §7).
    Http11Required,
    Other,
}

impl Reason {
    pub(super) fn of(code: [u8; 4]) -> Reason {
        match u32::from_be_bytes(code) {
            code if code == Code::RefusedStream as u32 => Reason::Refused,
            code if code == Code::Http11Required as u32 => Reason::Http11Required,
            _ => Reason::Other,
        }
    }
}

/// What has begun to come and is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// The preface with its SETTINGS, a block of fields, or a frame that is no data.
    Head,
    /// A frame of data.
    Data,
}

pub(super) type Taken<S> = Result<Option<Event<S>>, Fault>;

impl<S: Clone + Default> Connection<S> {
    /// One that answers a client.
    pub fn new(limits: Limits, out: &mut Vec<u8>) -> Connection<S> {
        let said = [
            (settings::MAX_CONCURRENT_STREAMS, limits.streams),
            (settings::INITIAL_WINDOW_SIZE, limits.stream_window),
            (settings::MAX_HEADER_LIST_SIZE, limits.list_bytes as u32),
            (settings::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        Connection::begin(Side::Server, limits, &said, out)
    }

    /// Says first what the peer may do.
    pub(super) fn begin(side: Side, limits: Limits, said: &[(u16, u32)], out: &mut Vec<u8>) -> Connection<S> {
        put_head(settings::bytes(said.len()), Kind::Settings, 0, 0, out);
        settings::put(said, out);
        // No setting says it (RFC 9113 §6.9.2).
        if let Some(more @ 1..) = limits.connection_window.checked_sub(WINDOW_FIRST) {
            put(Kind::WindowUpdate, 0, 0, &more.to_be_bytes(), out);
        }
        Connection {
            side,
            limits,
            decoder: Decoder::new(TABLE_BYTES),
            encoder: Encoder::new(),
            streams: Streams::new(limits.streams),
            receive: Receive::new(limits.connection_window.max(WINDOW_FIRST)),
            send: Allowance::new(WINDOW_FIRST),
            send_most: WINDOW_FIRST as usize,
            send_first: WINDOW_FIRST,
            begun: if side == Side::Server { Begun::Preface(0) } else { Begun::Settings },
            block: None,
            tokens: TOKENS_MAX,
            late: Late::default(),
            knows_limits: false,
            leaving: Leaving::No,
            is_pinging: false,
        }
    }

    /// Looks at the next bytes: some frames at a time. To be called until it is hungry. A fault is an error of the connection, to be told by
    /// [`Connection::fail`].
    // Hot: once a frame. No allocation but for a stream and for blocks in several frames.
    pub fn next(&mut self, input: &[u8], heads: &mut HeadRoom, out: &mut Vec<u8>) -> Result<Step<S>, Fault> {
        let mut used = self.take_preface(input)?;
        for _ in 0..QUIET_FRAMES_MAX {
            let hungry = Step { used, event: Event::Hungry };
            let Some(head) = FrameHead::read(&input[used..]) else { return Ok(hungry) };
            if head.length > FRAME_BYTES_MAX {
                return Err(Fault::size("a frame that is too large"));
            }
            let start = used + FRAME_HEAD_BYTES;
            let Some(payload) = input.get(start..start + head.length) else { return Ok(hungry) };
            used = start + head.length;
            if let Some(event) = self.take(&head, (payload, start), heads, out)? {
                return Ok(Step { used, event });
            }
        }
        Ok(Step { used, event: Event::Nothing })
    }

    /// So many seconds have passed: there are more tokens for frames that ask for nothing.
    pub fn refill(&mut self, seconds: u32) {
        self.add_tokens(seconds.saturating_mul(TOKENS_A_SECOND));
    }

    /// Whether the preface has come, SETTINGS included (RFC 9113 §3.4).
    pub fn has_begun(&self) -> bool {
        self.begun == Begun::Whole
    }

    /// What is not complete, where nothing follows `rest`: the bytes that the last step did not use.
    pub fn unfinished(&self, rest: &[u8]) -> Option<Unfinished> {
        if !self.has_begun() || self.is_in_block() {
            return Some(Unfinished::Head);
        }
        let is_data = FrameHead::read(rest).is_some_and(|head| head.kind == Kind::Data);
        (!rest.is_empty()).then_some(if is_data { Unfinished::Data } else { Unfinished::Head })
    }

    /// Whether a block of fields has begun, and more frames of it have to follow.
    pub fn is_in_block(&self) -> bool {
        self.block.is_some()
    }

    fn take_preface(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let Begun::Preface(seen) = self.begun else { return Ok(0) };
        let left = &PREFACE[seen..];
        let here = left.len().min(input.len());
        if input[..here] != left[..here] {
            return Err(Fault::protocol("no preface"));
        }
        self.begun = if here == left.len() { Begun::Settings } else { Begun::Preface(seen + here) };
        Ok(here)
    }

    /// Takes a frame whose payload begins at `start` of the input.
    fn take(
        &mut self,
        head: &FrameHead,
        (payload, start): (&[u8], usize),
        heads: &mut HeadRoom,
        out: &mut Vec<u8>,
    ) -> Taken<S> {
        if self.block.as_ref().is_some_and(|block| head.kind != Kind::Continuation || head.stream != block.head.stream)
        {
            return Err(Fault::protocol("a block of fields is not complete"));
        }
        if self.begun == Begun::Settings && (head.kind != Kind::Settings || head.has(ACK)) {
            return Err(Fault::protocol("the first frame is not SETTINGS"));
        }
        match head.kind {
            Kind::Data => self.take_data(head, (payload, start), out),
            Kind::Headers => self.take_headers(head, payload, heads, out),
            Kind::Continuation => self.take_continuation(head, payload, heads, out),
            Kind::Priority => self.take_priority(head, payload, out),
            Kind::ResetStream => self.take_reset(head, payload, out),
            Kind::Settings => self.take_settings(head, payload, out),
            // We have said to a server that we take nothing pushed.
            Kind::PushPromise => Err(Fault::protocol("nothing may be pushed")),
            Kind::Ping => self.take_ping(head, payload, out),
            Kind::GoAway if head.stream != 0 => Err(Fault::protocol("GOAWAY on a stream")),
            Kind::GoAway if payload.len() < 8 => Err(Fault::size("GOAWAY that is too short")),
            Kind::GoAway if self.side != Side::Server => self.take_leaving(payload, out),
            // A client ends by itself when what it asked for is answered.
            Kind::GoAway | Kind::Unknown => self.take_tokens(1).map(|()| None),
            Kind::WindowUpdate => self.take_window(head, payload, out),
        }
    }

    fn take_data(&mut self, head: &FrameHead, (payload, start): (&[u8], usize), out: &mut Vec<u8>) -> Taken<S> {
        if head.stream == 0 {
            return Err(Fault::protocol("DATA without a stream"));
        }
        let data = head.without_padding(payload)?;
        let whole = payload.len() as u32;
        self.receive
            .came(whole)
            .map_err(|_| Fault::new(Code::FlowControl, "more than the window of the connection"))?;
        let at = match self.streams.place(head.stream) {
            Place::Open(at) => at,
            place if self.is_late(place) => {
                self.make_room(whole, out);
                let is_free = if data.is_empty() { self.late.take_frame() } else { self.late.take_data(whole) };
                return self.take_tokens(u32::from(!is_free)).map(|()| None);
            }
            Place::Idle => return Err(Fault::protocol("DATA on an idle stream")),
            Place::Reset | Place::Ended | Place::Forgotten => {
                return Err(Fault::new(Code::StreamClosed, "DATA on a closed stream"));
            }
        };
        let ends = head.has(END_STREAM);
        if data.is_empty() && !ends {
            self.take_tokens(1)?;
        }
        let (bytes, padding) = (data.len() as u32, whole - data.len() as u32);
        let stream = self.streams.at(at);
        let fault = if !stream.is_receiving {
            Some(Code::StreamClosed)
        } else if stream.receive.came(whole).is_err() {
            Some(Code::FlowControl)
        } else if stream.expects != Expects::Trailers {
            // RFC 9113 §8.1: a head comes first.
            Some(Code::Protocol)
        } else {
            // RFC 9113 §8.1.1.
            let left = stream.length_left.map(|left| left.checked_sub(u64::from(bytes)));
            let is_wrong = left.is_some_and(|left| left.is_none_or(|left| ends && left > 0));
            stream.length_left = left.flatten();
            is_wrong.then_some(Code::Protocol)
        };
        stream.held += bytes;
        self.make_room(padding, out);
        if let Some(code) = fault {
            return self.break_stream(at, code, out);
        }
        let stream = self.streams.at(at);
        stream.is_receiving = !ends;
        let owner = stream.owner.clone();
        self.tell_of_room(at, padding, out);
        self.close_if_over(at, out);
        Ok(Some(Event::Data { owner, at: start + data.start..start + data.end, ends }))
    }

    fn take_priority(&mut self, head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Taken<S> {
        if head.stream == 0 {
            return Err(Fault::protocol("PRIORITY without a stream"));
        }
        self.take_tokens(1)?;
        let code = match payload.first_chunk::<5>() {
            Some(priority) if payload.len() == 5 && parent(priority) != head.stream => return Ok(None),
            Some(_) if payload.len() == 5 => Code::Protocol,
            _ => Code::FrameSize,
        };
        match self.streams.place(head.stream) {
            Place::Open(at) => self.break_stream(at, code, out),
            _ => Err(Fault::new(code, "PRIORITY that is none")),
        }
    }

    fn take_reset(&mut self, head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Taken<S> {
        let Ok(code) = <[u8; 4]>::try_from(payload) else {
            return Err(Fault::size("RST_STREAM of another size"));
        };
        match self.streams.place(head.stream) {
            _ if head.stream == 0 => Err(Fault::protocol("RST_STREAM without a stream")),
            Place::Idle => Err(Fault::protocol("RST_STREAM of an idle stream")),
            Place::Open(at) => {
                let stream = self.streams.remove(at, Closed::ByItsEnd);
                self.make_room(stream.held, out);
                Ok(Some(Event::Reset { owner: stream.owner, reason: Reason::of(code) }))
            }
            place if self.is_late(place) && self.late.take_frame() => Ok(None),
            Place::Reset | Place::Ended | Place::Forgotten => self.take_tokens(1).map(|()| None),
        }
    }

    fn take_settings(&mut self, head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Taken<S> {
        if head.stream != 0 {
            return Err(Fault::protocol("SETTINGS on a stream"));
        }
        if head.has(ACK) {
            return if payload.is_empty() {
                self.knows_limits = true;
                self.take_tokens(1).map(|()| None)
            } else {
                Err(Fault::size("SETTINGS with an ACK"))
            };
        }
        if self.begun == Begun::Settings {
            self.begun = Begun::Whole;
        } else {
            self.take_tokens(COST_OF_SETTINGS)?;
        }
        let said = Settings::read(payload)?;
        put(Kind::Settings, ACK, 0, &[], out);
        if let Side::Client(opening) = &mut self.side {
            if said.takes_pushed {
                return Err(Fault::protocol("a server that would be pushed to"));
            }
            opening.streams = said.streams.unwrap_or(opening.streams);
        }
        if let Some((least, last)) = said.table_bytes_max {
            self.encoder.set_table_bytes_max(least as usize);
            self.encoder.set_table_bytes_max(last as usize);
        }
        let Some((greatest, last)) = said.initial_window else { return Ok(None) };
        if greatest != last {
            self.change_first_windows(greatest)?;
        }
        self.change_first_windows(last)?;
        Ok(Some(Event::RoomForEach))
    }

    /// What a stream may send at first, those that are open included (RFC 9113 §6.9.2).
    fn change_first_windows(&mut self, first: u32) -> Result<(), Fault> {
        let by = i64::from(first) - i64::from(std::mem::replace(&mut self.send_first, first));
        for stream in self.streams.iter_mut() {
            let changed = stream.send.change(by);
            changed.map_err(|_| Fault::new(Code::FlowControl, "a first window that makes others too large"))?;
        }
        Ok(())
    }

    fn take_ping(&mut self, head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Taken<S> {
        if head.stream != 0 {
            return Err(Fault::protocol("PING on a stream"));
        }
        if payload.len() != 8 {
            return Err(Fault::size("PING of another size"));
        }
        self.take_tokens(1)?;
        if !head.has(ACK) {
            put(Kind::Ping, ACK, 0, payload, out);
            return Ok(None);
        }
        self.is_pinging = false;
        if payload == GOODBYE {
            self.leave_from_here(out);
        }
        Ok(None)
    }

    fn take_window(&mut self, head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Taken<S> {
        let more = <[u8; 4]>::try_from(payload).map_err(|_| Fault::size("WINDOW_UPDATE of another size"))?;
        let more = number(more);
        let place = self.streams.place(head.stream);
        let is_late = head.stream != 0 && self.is_late(place);
        if !(is_late && self.late.take_frame()) {
            self.take_tokens(1)?;
        }
        if head.stream == 0 {
            if more == 0 {
                return Err(Fault::protocol("a window that grows by nothing"));
            }
            self.send.change(more.into()).map_err(|_| Fault::new(Code::FlowControl, "a window that is too large"))?;
            self.send_most = self.send_most.max(self.send.bytes());
            return Ok(Some(Event::RoomForAll));
        }
        match place {
            Place::Idle => Err(Fault::protocol("WINDOW_UPDATE of an idle stream")),
            Place::Open(at) if more == 0 => self.break_stream(at, Code::Protocol, out),
            Place::Open(at) => {
                let stream = self.streams.at(at);
                stream.unread = stream.unread.saturating_sub(more);
                match stream.send.change(more.into()) {
                    Ok(()) => Ok(Some(Event::Room { owner: stream.owner.clone() })),
                    Err(_) => self.break_stream(at, Code::FlowControl, out),
                }
            }
            Place::Reset | Place::Ended | Place::Forgotten => Ok(None),
        }
    }

    /// An error of a stream in the table (RFC 9113 §5.4.2).
    pub(super) fn break_stream(&mut self, at: usize, code: Code, out: &mut Vec<u8>) -> Taken<S> {
        let stream = self.streams.remove(at, Closed::ByUs);
        self.late.expect(&stream);
        self.make_room(stream.held, out);
        put(Kind::ResetStream, 0, stream.id, &(code as u32).to_be_bytes(), out);
        self.take_tokens(COST_OF_AN_ERROR)?;
        Ok(Some(Event::Reset { owner: stream.owner, reason: Reason::Other }))
    }

    /// Whether what comes on a stream that is not in the table may have been sent before the peer knew. A client remembers only the
    /// last that it has reset, and who answers is not to blame for how many there were.
    pub(super) fn is_late(&self, place: Place) -> bool {
        place == Place::Reset || (place == Place::Forgotten && self.side != Side::Server)
    }

    /// Closes what both sides have ended.
    pub(super) fn close_if_over(&mut self, at: usize, out: &mut Vec<u8>) {
        let stream = self.streams.at(at);
        if !stream.is_receiving && !stream.is_sending {
            let held = self.streams.remove(at, Closed::ByItsEnd).held;
            // Nobody says of these that they were taken.
            self.make_room(held, out);
        }
    }

    /// So much of what came makes room again on the connection.
    pub(super) fn make_room(&mut self, bytes: u32, out: &mut Vec<u8>) {
        if let Some(more) = self.receive.make_room(bytes) {
            put(Kind::WindowUpdate, 0, 0, &more.to_be_bytes(), out);
        }
    }

    /// The same on a stream.
    pub(super) fn tell_of_room(&mut self, at: usize, bytes: u32, out: &mut Vec<u8>) {
        let stream = self.streams.at(at);
        if stream.is_receiving
            && let Some(more) = stream.receive.make_room(bytes)
        {
            put(Kind::WindowUpdate, 0, stream.id, &more.to_be_bytes(), out);
        }
    }

    /// A frame came that asks for nothing.
    pub(super) fn take_tokens(&mut self, count: u32) -> Result<(), Fault> {
        let left = self.tokens.checked_sub(count);
        self.tokens = left.ok_or(Fault::new(Code::EnhanceYourCalm, "too many frames that ask for nothing"))?;
        Ok(())
    }

    pub(super) fn add_tokens(&mut self, count: u32) {
        self.tokens = self.tokens.saturating_add(count).min(TOKENS_MAX);
    }
}
