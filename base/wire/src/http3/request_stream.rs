//! The stream of a request: its head, its body, its trailers (RFC 9114 §4.1).

use std::ops::Range;

use super::frame::{
    CANCEL_PUSH, DATA, FrameHead, GOAWAY, HEADERS, HeadBytes, MAX_PUSH_ID, PUSH_PROMISE, RESERVED, SETTINGS,
};
use super::{Code, Fault, Scope, qpack};
use crate::http1::Refusal;
use crate::http2::hpack::List;
use crate::http2::{HeadRoom, RequestHead, Section, Unfit};

/// Octets of a frame that nobody knows that count as one more that asks for nothing.
const BYTES_AN_IDLE: u64 = 1024;

/// What a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of its fields, as SETTINGS_MAX_FIELD_SECTION_SIZE counts them (RFC 9114 §4.2.2).
    pub list_bytes: usize,
    pub fields: usize,
}

/// What came on the stream so far.
#[derive(Debug)]
pub struct RequestStream {
    limits: Limits,
    part: Part,
    head: HeadBytes,
    /// The frame under way, and how much of it is still to come.
    frame: Option<(Kind, u64)>,
    /// What came of a block of fields that is not complete.
    block: Vec<u8>,
    /// What has to come of a body whose length was stated.
    length_left: Option<u64>,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Body,
    /// The bytes of a connection.
    Tunnel,
    /// Nothing but frames that nobody knows.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Block,
    Unknown,
}

/// What bytes of the stream have said.
#[derive(Debug)]
pub struct Step {
    /// So many of them.
    pub used: usize,
    /// So many frames among them asked for nothing.
    pub idle: u32,
    pub event: Event,
}

/// What came.
#[derive(Debug)]
pub enum Event {
    /// All of it was used, and more has to come.
    Hungry,
    /// The head, in the [`HeadRoom`], or why it is not served. It comes once, and first.
    Head(Result<RequestHead, Refusal>),
    /// Here, some of the body.
    Data(Range<usize>),
    /// Their fields are in the [`HeadRoom`]. Nothing of interest follows.
    Trailers,
}

impl RequestStream {
    pub fn new(limits: Limits) -> RequestStream {
        let (head, block) = Default::default();
        RequestStream { limits, part: Part::Head, head, frame: None, block, length_left: None }
    }

    /// Whether the head has come.
    pub fn has_head(&self) -> bool {
        self.part != Part::Head
    }

    /// Looks at what came next. What was not used is to be given again, with what follows.
    // Hot: some times a request.
    pub fn next(&mut self, bytes: &[u8], heads: &mut HeadRoom) -> Result<Step, Fault> {
        let (mut used, mut idle) = (0, 0);
        loop {
            let rest = &bytes[used..];
            let Some((kind, left)) = self.frame else {
                let (taken, head) = self.head.take(rest);
                used += taken;
                let Some(head) = head else { return Ok(Step { used, idle, event: Event::Hungry }) };
                if let Some(event) = self.begin_frame(&head, &mut idle)? {
                    return Ok(Step { used, idle, event });
                }
                continue;
            };
            let here = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - here as u64;
            let (start, is_whole) = (used, left == 0);
            used += here;
            self.frame = Some((kind, left)).filter(|_| !is_whole);
            let event = match kind {
                Kind::Data if here > 0 => Event::Data(start..used),
                Kind::Block => match self.take_block(&bytes[start..used], is_whole, heads)? {
                    Some(event) => event,
                    None => Event::Hungry,
                },
                Kind::Data | Kind::Unknown if is_whole => continue,
                Kind::Data | Kind::Unknown => Event::Hungry,
            };
            return Ok(Step { used, idle, event });
        }
    }

    /// The peer has ended the stream.
    pub fn finish(&self) -> Result<(), Fault> {
        if self.frame.is_some() || !self.head.is_empty() {
            return Err(Fault::connection(Code::Frame, "a stream ends inside a frame"));
        }
        match (self.part, self.length_left) {
            (Part::Head, _) => {
                Err(Fault { code: Code::RequestIncomplete, scope: Scope::Stream, what: "a stream without a request" })
            }
            (_, Some(1..)) => Err(Fault::message("a body is shorter than was stated")),
            _ => Ok(()),
        }
    }

    fn begin_frame(&mut self, head: &FrameHead, idle: &mut u32) -> Result<Option<Event>, Fault> {
        let FrameHead { kind, length } = *head;
        let kind = match (kind, self.part) {
            (DATA, Part::Body | Part::Tunnel) => {
                if let Some(left) = &mut self.length_left {
                    *left = left.checked_sub(length).ok_or(Fault::message("a body is longer than was stated"))?;
                }
                if length == 0 {
                    *idle += 1;
                }
                Kind::Data
            }
            (HEADERS, Part::Head | Part::Body) => {
                // Written down, a list is never longer than it counts.
                if length > self.limits.list_bytes as u64 {
                    // Passed over, if anybody reads on.
                    self.frame = Some((Kind::Unknown, length));
                    return self.too_long().map(Some);
                }
                Kind::Block
            }
            (DATA | HEADERS, _) => return Err(unexpected("a frame where a request has none of its kind")),
            (CANCEL_PUSH | SETTINGS | PUSH_PROMISE | GOAWAY | MAX_PUSH_ID, _) => {
                return Err(unexpected("a frame that is for no request"));
            }
            (reserved, _) if RESERVED.contains(&reserved) => return Err(unexpected("a frame of HTTP/2")),
            _ => {
                let more = u32::try_from(length / BYTES_AN_IDLE).unwrap_or(u32::MAX);
                *idle = idle.saturating_add(1).saturating_add(more);
                Kind::Unknown
            }
        };
        self.frame = Some((kind, length));
        Ok(None)
    }

    fn too_long(&mut self) -> Result<Event, Fault> {
        match self.part {
            Part::Head => {
                self.part = Part::End;
                Ok(Event::Head(Err(Refusal::HeadTooLong)))
            }
            _ => Err(Fault::message("trailers are too long")),
        }
    }

    fn take_block(&mut self, piece: &[u8], is_whole: bool, heads: &mut HeadRoom) -> Result<Option<Event>, Fault> {
        if !is_whole {
            self.block.extend_from_slice(piece);
            return Ok(None);
        }
        // Mostly it comes at once, and is not copied.
        let mut kept = std::mem::take(&mut self.block);
        let block = if kept.is_empty() {
            piece
        } else {
            kept.extend_from_slice(piece);
            &kept
        };
        let section = if self.part == Part::Head { Section::Head } else { Section::Trailers };
        heads.begin(section, self.limits.fields);
        let mut unfolded = heads.unfolding();
        let list = qpack::decode(block, self.limits.list_bytes, &mut unfolded, |name, value| heads.take(name, value));
        heads.give_unfolding(unfolded);
        let list = list.map_err(|_| Fault::connection(Code::Decompression, "a block of fields that cannot be read"))?;
        if list == List::TooLarge {
            return self.too_long().map(Some);
        }
        if section == Section::Trailers {
            self.part = Part::End;
            return match (heads.finish_trailers(), self.length_left) {
                (Ok(()), None | Some(0)) => Ok(Some(Event::Trailers)),
                _ => Err(Fault::message("trailers that are none")),
            };
        }
        self.part = Part::Body;
        match heads.finish_head() {
            Ok(head) => {
                self.length_left = head.length;
                if head.to_websocket {
                    self.part = Part::Tunnel;
                }
                Ok(Some(Event::Head(Ok(head))))
            }
            // Of its body nothing is looked at.
            Err(Unfit::Refused(refusal)) => Ok(Some(Event::Head(Err(refusal)))),
            Err(Unfit::Malformed) => Err(Fault::message("a request that is none")),
        }
    }
}

fn unexpected(what: &'static str) -> Fault {
    Fault::connection(Code::FrameUnexpected, what)
}
