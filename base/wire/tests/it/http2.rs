//! HTTP/2 as it is read and written: every frame in every state of a stream (RFC 9113 §5.1), what a frame may look
//! like (§6), windows, the limits, and what is sent. Outcomes are words, so that a table can be read.

mod client;
mod requests;
mod sending;
mod states;

use bartizan_wire::http2::{Code, Connection, Event, Fault, HeadRoom, Limits, PREFACE, Reason, Unfinished};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

pub(super) const LIMITS: Limits =
    Limits { streams: 4, stream_window: 100_000, connection_window: 200_000, list_bytes: 32 * 1024, fields: 128 };

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as a block that refers to no table (RFC 7541 §6.2.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let mut length = vec![text.len().min(127) as u8];
        let mut rest = text.len().checked_sub(127);
        while let Some(more) = rest {
            length.push((more % 128) as u8 | if more < 128 { 0 } else { 128 });
            rest = (more >= 128).then_some(more / 128);
        }
        [&length, text.as_bytes()].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

pub(super) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];

pub(super) fn get(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(&GET))
}

/// A connection, and what its client sees.
pub(super) struct Edge {
    pub(super) connection: Connection<Option<u32>>,
    pub(super) heads: HeadRoom,
    pub(super) out: Vec<u8>,
    unread: Vec<u8>,
}

impl Edge {
    /// With nothing said by the client.
    pub(super) fn new() -> Edge {
        let mut out = Vec::new();
        let connection = Connection::new(LIMITS, &mut out);
        Edge { connection, heads: HeadRoom::default(), out, unread: Vec::new() }
    }

    /// With the preface and SETTINGS behind it.
    pub(super) fn begun() -> Edge {
        let mut edge = Edge::new();
        assert_eq!(edge.feed(&[&PREFACE[..], &frame(SETTINGS, 0, 0, &[])].concat()), "");
        edge.out.clear();
        edge
    }

    /// What came of these bytes: events, then what was sent of it that is an error.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> String {
        let before = self.out.len();
        let fault = self.events(bytes);
        let (events, fault) = match fault {
            (events, Ok(())) => (events, None),
            (events, Err(fault)) => (events, Some(format!("connection {:?}", fault.code))),
        };
        let resets = frames(&self.out[before..]).into_iter().filter(|frame| frame.kind == RST_STREAM);
        let resets = resets.map(|frame| format!("reset {} {}", frame.stream, name_of(&frame.payload)));
        events.into_iter().chain(resets).chain(fault).collect::<Vec<_>>().join(", ")
    }

    fn events(&mut self, bytes: &[u8]) -> (Vec<String>, Result<(), Fault>) {
        self.unread.extend_from_slice(bytes);
        let mut events = Vec::new();
        loop {
            let step = match self.connection.next(&self.unread, &mut self.heads, &mut self.out) {
                Ok(step) => step,
                Err(fault) => return (events, Err(fault)),
            };
            let number = |owner: Option<u32>| owner.unwrap_or(0);
            let event = match step.event {
                Event::Hungry => {
                    self.unread.drain(..step.used);
                    return (events, Ok(()));
                }
                Event::Nothing => {
                    self.unread.drain(..step.used);
                    continue;
                }
                Event::Request { stream, ends, head } => {
                    *self.connection.owner_of(stream).unwrap() = Some(stream);
                    let refusal = head.err().map(|refusal| format!(" {refusal:?}"));
                    let end = if ends { "" } else { " and a body" };
                    format!("request {stream}{}{end}", refusal.unwrap_or_default())
                }
                Event::Data { owner, at, ends } => {
                    let data = String::from_utf8_lossy(&self.unread[at]).into_owned();
                    let data = if data.len() > 20 { data.len().to_string() } else { data };
                    format!("data {} {data}{}", number(owner), if ends { "." } else { "" })
                }
                Event::Trailers { owner } => format!("trailers {}", number(owner)),
                Event::Answer { owner, ends, head } => {
                    let length = head.length.map(|length| format!(" of {length}")).unwrap_or_default();
                    let fields =
                        self.heads.fields().iter().map(|field| String::from_utf8_lossy(field.name).into_owned());
                    let fields: String = fields.map(|name| format!(" {name}")).collect();
                    format!("answer {} {}{length}{fields}{}", number(owner), head.status, if ends { "." } else { "" })
                }
                Event::Reset { owner, reason: Reason::Refused } => format!("refused {}", number(owner)),
                Event::Reset { owner, reason: Reason::Http11Required } => format!("http/1.1 {}", number(owner)),
                Event::Reset { owner, reason: Reason::Other } => format!("gone {}", number(owner)),
                Event::Leaving { refused, reason } => {
                    let refused = refused.into_iter().map(|owner| format!(" {}", number(owner)));
                    let why = if reason == Reason::Http11Required { " http/1.1" } else { "" };
                    format!("leaving{why}{}", refused.collect::<String>())
                }
                Event::Room { owner } => format!("room {}", number(owner)),
                Event::RoomForAll => "room".to_owned(),
                Event::RoomForEach => "rooms".to_owned(),
            };
            events.push(event);
            self.unread.drain(..step.used);
        }
    }

    /// What is not complete of what was fed.
    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        self.connection.unfinished(&self.unread)
    }

    /// The frames that were sent since the last look.
    pub(super) fn take_frames(&mut self) -> Vec<Frame> {
        frames(&std::mem::take(&mut self.out))
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

pub(super) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(([a, b, c, kind, flags, stream @ ..], rest)) = bytes.split_first_chunk::<9>() {
        let (payload, rest) = rest.split_at(u32::from_be_bytes([0, *a, *b, *c]) as usize);
        let stream = u32::from_be_bytes(*stream);
        frames.push(Frame { kind: *kind, flags: *flags, stream, payload: payload.to_vec() });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame");
    frames
}

/// The code of a reset.
fn name_of(payload: &[u8]) -> String {
    const CODES: [Code; 10] = [
        Code::NoError,
        Code::Protocol,
        Code::Internal,
        Code::FlowControl,
        Code::StreamClosed,
        Code::FrameSize,
        Code::RefusedStream,
        Code::Cancel,
        Code::Compression,
        Code::EnhanceYourCalm,
    ];
    let code = u32::from_be_bytes(payload.try_into().unwrap());
    let known = CODES.iter().find(|known| **known as u32 == code).unwrap();
    format!("{known:?}")
}
