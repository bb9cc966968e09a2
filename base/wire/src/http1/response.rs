//! The head of an answer (RFC 9112 §4).

use super::body::Body;
use super::head::{Facts, FieldRoom, FieldSpan, Fields, Framing, Span, lines, refusal_of};
use super::{Limits, Persistence, Refusal, Version};

/// What the answer is for: where its body ends depends on it (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `HEAD`: a length, and no body.
    Head,
    /// `CONNECT`: a tunnel, if it is granted.
    Connect,
    /// Any other method.
    Other,
}

impl Asked {
    pub fn by(method: &str) -> Asked {
        match method {
            "HEAD" => Asked::Head,
            "CONNECT" => Asked::Connect,
            _ => Asked::Other,
        }
    }
}

/// Whether an answer has content, whatever its fields say (RFC 9110 §6.4.1, §8.6): in any version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// As much as its framing says.
    Framed,
    /// None: a length that is stated is that of what `GET` would bring.
    Withheld,
    /// None, and no length is stated.
    Never,
}

impl Content {
    pub fn of(asked: Asked, status: u16) -> Content {
        match (status, asked) {
            (100..=199 | 204, _) | (200..=299, Asked::Connect) => Content::Never,
            (304, _) | (_, Asked::Head) => Content::Withheld,
            (_, Asked::Connect | Asked::Other) => Content::Framed,
        }
    }
}

/// Where the parts of an answer's head lie, and what they mean. The bytes are the caller's: see [`ResponseHead::of`].
#[derive(Debug)]
pub struct ResponseHead {
    reason: Span,
    spans: Vec<FieldSpan>,
    /// From 100 to 999.
    pub status: u16,
    pub version: Version,
    pub body: Body,
    /// The length that is stated. It is not the body's for answers to `HEAD`, and for a 304.
    pub stated_length: Option<u64>,
    pub persistence: Persistence,
    /// A 101 that names WebSocket and nothing else could be meant.
    pub to_websocket: bool,
}

impl ResponseHead {
    /// Reads a whole head, as [`HeadSearch`](super::HeadSearch) found it.
    // Hot: once an answer. No allocation but for the room, if it is too small.
    pub fn parse(head: &[u8], asked: Asked, limits: &Limits, room: FieldRoom) -> Result<ResponseHead, Refusal> {
        let mut lines = lines();
        let most = limits.fields.min(lines.len());
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut response, head, &mut lines[..most]) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Refusal::Malformed),
            Err(error) => return Err(refusal_of(error, head)),
        }
        let status = response.code.filter(|code| *code >= 100).ok_or(Refusal::Status)?;
        let version = if response.version == Some(0) { Version::Http10 } else { Version::Http11 };
        let mut spans = room.0;
        let facts = Facts::collect(response.headers, head, &mut spans)?;
        let framing = facts.framing(version)?;
        let content = Content::of(asked, status);
        let body = body_of(status, asked, content, framing);
        let persistence = match (body, content, framing) {
            // The end of the body is the end of the connection.
            (Body::UntilClose, ..) => Persistence::Close,
            // What has no body but frames one (RFC 9110 §8.6, RFC 9112 §6.1): who knows what follows.
            (Body::None, Content::Never, Framing::Length(1..) | Framing::Chunked) => Persistence::Close,
            _ => facts.persistence(version),
        };
        Ok(ResponseHead {
            reason: Span::of(response.reason.unwrap_or_default().as_bytes(), head),
            status,
            version,
            body,
            stated_length: facts.length,
            persistence,
            to_websocket: status == 101 && facts.websocket && facts.wants_upgrade,
            spans,
        })
    }

    /// Whether another answer to the same request follows (RFC 9110 §15.2). At most
    /// [`INTERIM_MAX`](super::INTERIM_MAX) should be let pass.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// The head with its bytes: those that it was parsed from.
    pub fn of<'h>(&'h self, bytes: &'h [u8]) -> ResponseView<'h> {
        ResponseView { head: self, bytes }
    }

    /// The memory, for the next head.
    pub fn into_room(self) -> FieldRoom {
        FieldRoom(self.spans)
    }
}

/// RFC 9112 §6.3, in its order.
fn body_of(status: u16, asked: Asked, content: Content, framing: Framing) -> Body {
    match (status, asked, content, framing) {
        (101, ..) | (200..=299, Asked::Connect, ..) => Body::Switched,
        (.., Content::Never | Content::Withheld, _) => Body::None,
        (.., Content::Framed, Framing::Chunked) => Body::Chunked,
        (.., Content::Framed, Framing::Length(length)) => Body::Length(length),
        (.., Content::Framed, Framing::Nothing) => Body::UntilClose,
    }
}

/// An answer's head that can be read.
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'h> {
    head: &'h ResponseHead,
    bytes: &'h [u8],
}

impl<'h> ResponseView<'h> {
    /// Empty if there is none, or none in ASCII.
    pub fn reason(self) -> &'h str {
        self.head.reason.text(self.bytes)
    }

    pub fn fields(self) -> Fields<'h> {
        Fields { spans: &self.head.spans, bytes: self.bytes }
    }
}
