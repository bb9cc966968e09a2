//! The head of a request (RFC 9112 §3).

use bartizan_names::Authority;

use super::body::Body;
use super::head::{Facts, FieldRoom, FieldSpan, Fields, Framing, Span, lines, refusal_of};
use super::{Limits, Persistence, Refusal, Version};

/// Where the parts of a request's head lie, and what they mean. The bytes are the caller's: see [`RequestHead::of`].
#[derive(Debug)]
pub struct RequestHead {
    method: Span,
    target: Span,
    /// Of the target: path and query.
    path: Path,
    host: Span,
    spans: Vec<FieldSpan>,
    pub version: Version,
    pub body: Body,
    pub persistence: Persistence,
    pub upgrade: Upgrade,
    /// The client waits for a 100 before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
}

/// What the connection may turn into (RFC 9110 §7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Stays what it is: other protocols that were offered are declined by not being mentioned.
    None,
    /// RFC 6455 §4.1: a GET of 1.1, with both fields.
    WebSocket,
    /// `CONNECT` (RFC 9110 §9.3.6).
    Tunnel,
}

/// Path and query in one of the four forms of a target (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Origin form, or an absolute form with a path.
    At(Span),
    /// Absolute form without a path, but with a query: `http://a?q`.
    OnlyQuery(Span),
    /// Absolute form with neither.
    Root,
    /// `*`, or an `OPTIONS` in absolute form with neither path nor query (RFC 9112 §3.2.4).
    Asterisk,
    /// Authority form, of `CONNECT`.
    None,
}

impl RequestHead {
    /// Reads a whole head, as [`HeadSearch`](super::HeadSearch) found it.
    // Hot: once a request. No allocation but for the room, if it is too small.
    pub fn parse(head: &[u8], limits: &Limits, room: FieldRoom) -> Result<RequestHead, Refusal> {
        let mut lines = lines();
        let most = limits.fields.min(lines.len());
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(head, &mut lines[..most]) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Refusal::Malformed),
            Err(error) => return Err(refusal_of(error, head)),
        }
        let method = request.method.ok_or(Refusal::Malformed)?;
        let target = request.path.ok_or(Refusal::Malformed)?;
        let version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        let mut spans = room.0;
        let facts = Facts::collect(request.headers, head, &mut spans)?;
        let host = facts.host.ok_or(Refusal::NoHost)?;
        let path = path_of(method, target, host, Span::of(target.as_bytes(), head))?;
        let body = match facts.framing(version)? {
            Framing::Nothing => Body::None,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked,
        };
        let upgrade = match method {
            "CONNECT" => Upgrade::Tunnel,
            "GET" if facts.websocket && facts.wants_upgrade && version == Version::Http11 => Upgrade::WebSocket,
            _ => Upgrade::None,
        };
        if upgrade != Upgrade::None && !matches!(body, Body::None | Body::Length(0)) {
            return Err(Refusal::BodyOnUpgrade);
        }
        Ok(RequestHead {
            method: Span::of(method.as_bytes(), head),
            target: Span::of(target.as_bytes(), head),
            path,
            host: Span::of(host, head),
            version,
            body,
            persistence: facts.persistence(version),
            upgrade,
            // RFC 9110 §10.1.1: from 1.0 it means nothing, and without a body there is nothing to wait with.
            expects_continue: facts.expects_continue && version == Version::Http11 && !body.is_empty(),
            spans,
        })
    }

    /// The head with its bytes: those that it was parsed from.
    pub fn of<'h>(&'h self, bytes: &'h [u8]) -> RequestView<'h> {
        RequestView { head: self, bytes }
    }

    /// The memory, for the next head.
    pub fn into_room(self) -> FieldRoom {
        FieldRoom(self.spans)
    }
}

/// A request's head that can be read.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'h> {
    head: &'h RequestHead,
    bytes: &'h [u8],
}

impl<'h> RequestView<'h> {
    pub fn method(self) -> &'h str {
        self.head.method.text(self.bytes)
    }

    /// As it was written, in any form.
    pub fn target(self) -> &'h str {
        self.head.target.text(self.bytes)
    }

    /// Path and query as they go to an origin, in two pieces that follow each other: `/a?b`, `*`, or empty for `CONNECT`.
    pub fn path(self) -> [&'h str; 2] {
        match self.head.path {
            Path::At(span) => [span.text(self.bytes), ""],
            Path::OnlyQuery(span) => ["/", span.text(self.bytes)],
            Path::Root => ["/", ""],
            Path::Asterisk => ["*", ""],
            Path::None => ["", ""],
        }
    }

    /// The `Host` field as received. Parsed, it is an [`Authority`].
    pub fn host(self) -> &'h str {
        self.head.host.text(self.bytes)
    }

    pub fn fields(self) -> Fields<'h> {
        Fields { spans: &self.head.spans, bytes: self.bytes }
    }
}

/// The target's form fits the method (RFC 9112 §3.2), the host is legal, and the target names no other.
fn path_of(method: &str, target: &str, host: &[u8], span: Span) -> Result<Path, Refusal> {
    let host = std::str::from_utf8(host).ok().and_then(Authority::parse).ok_or(Refusal::BadHost)?;
    if target.contains('#') {
        return Err(Refusal::Target);
    }
    if method == "CONNECT" {
        // No port goes without saying here (RFC 9110 §9.3.6), so one that is missing on either side differs.
        let authority = Authority::parse(target).filter(|authority| authority.port.is_some()).ok_or(Refusal::Target)?;
        return if authority.is_same(&host, 0) { Ok(Path::None) } else { Err(Refusal::HostDiffers) };
    }
    if target.starts_with('/') {
        return Ok(Path::At(span));
    }
    if target == "*" && method == "OPTIONS" {
        return Ok(Path::Asterisk);
    }
    let (skipped, default_port) = match target {
        _ if has_prefix(target, "http://") => ("http://".len(), 80),
        _ if has_prefix(target, "https://") => ("https://".len(), 443),
        _ => return Err(Refusal::Target),
    };
    let path = target[skipped..].find(['/', '?']).map_or(target.len(), |at| skipped + at);
    let authority = Authority::parse(&target[skipped..path]).ok_or(Refusal::Target)?;
    if !authority.is_same(&host, default_port) {
        return Err(Refusal::HostDiffers);
    }
    let rest = span.within(path..target.len());
    Ok(match target.as_bytes().get(path) {
        Some(b'/') => Path::At(rest),
        Some(_) => Path::OnlyQuery(rest),
        None if method == "OPTIONS" => Path::Asterisk,
        None => Path::Root,
    })
}

fn has_prefix(target: &str, scheme: &str) -> bool {
    target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}
