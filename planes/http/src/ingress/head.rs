//! One request head of HTTP/1.1, as bytes: whether it can mean only one thing to everybody (RFC 9112).
//!
//! If two servers disagree about where a request ends, one can be made to see two requests where the other sees one
//! (request smuggling, RFC 9112 §11.2). So a head that could be read in two ways is refused, never repaired.

use bartizan_wire::http1::Authority;

use crate::limits::{FIELDS_MAX, HEAD_BYTES_MAX};

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// The next head.
    Nothing,
    /// So many bytes, at least one.
    Length(u64),
    Chunks,
    /// Another protocol, if the answer agrees; else the next head.
    WebSocket,
}

/// Why a request is refused before anybody else sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    BareLineFeed,
    HeadTooLong,
    TooManyFields,
    Method,
    Target,
    NoHost,
    SeveralHosts,
    BadHost,
    HostDiffers,
    SeveralLengths,
    BadLength,
    LengthAndChunks,
    BadTransferEncoding,
    ChunksInOldVersion,
    BodyOnUpgrade,
}

impl Refusal {
    pub(crate) fn status(self) -> u16 {
        match self {
            Refusal::Method => 405,
            Refusal::HeadTooLong | Refusal::TooManyFields => 431,
            _ => 400,
        }
    }

    /// For programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed_request",
            Refusal::BareLineFeed => "bare_line_feed",
            Refusal::HeadTooLong => "head_too_long",
            Refusal::TooManyFields => "too_many_fields",
            Refusal::Method => "method_not_allowed",
            Refusal::Target => "bad_target",
            Refusal::NoHost => "no_host",
            Refusal::SeveralHosts => "several_hosts",
            Refusal::BadHost => "bad_host",
            Refusal::HostDiffers => "host_differs",
            Refusal::SeveralLengths => "several_lengths",
            Refusal::BadLength => "bad_length",
            Refusal::LengthAndChunks => "length_and_chunks",
            Refusal::BadTransferEncoding => "bad_transfer_encoding",
            Refusal::ChunksInOldVersion => "chunks_in_old_version",
            Refusal::BodyOnUpgrade => "body_on_upgrade",
        }
    }

    /// For people.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Refusal::Malformed => "The request is not HTTP as this edge speaks it.",
            Refusal::BareLineFeed => "A line of the request ends in a line feed alone.",
            Refusal::HeadTooLong => "The request's fields (cookies, mostly) take more than 32 KB.",
            Refusal::TooManyFields => "The request has more than 128 fields.",
            Refusal::Method => "This method is not served: the edge is neither a proxy to elsewhere nor a mirror.",
            Refusal::Target => "The request's target is no path.",
            Refusal::NoHost => "The request names no host.",
            Refusal::SeveralHosts => "The request names more than one host.",
            Refusal::BadHost => "The host that the request names is not a host name.",
            Refusal::HostDiffers => "The request names one host in its target and another in its fields.",
            Refusal::SeveralLengths => "The request states its length more than once.",
            Refusal::BadLength => "The request's length is not a number.",
            Refusal::LengthAndChunks => "The request has a length and comes in chunks as well.",
            Refusal::BadTransferEncoding => "The request has a transfer coding other than one \"chunked\".",
            Refusal::ChunksInOldVersion => "The request comes in chunks, which its version of HTTP does not have.",
            Refusal::BodyOnUpgrade => "A request for WebSocket has a body.",
        }
    }
}

/// Where a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Behind so many bytes.
    At(usize),
    NotYet,
    BareLineFeed,
}

/// Looks for the empty line. `scanned` bytes from the front were looked at before.
pub(crate) fn find_end(bytes: &[u8], scanned: usize) -> End {
    for (at, _) in bytes.iter().enumerate().skip(scanned).filter(|(_, byte)| **byte == b'\n') {
        match &bytes[..at] {
            [.., b'\r', b'\n', b'\r'] => return End::At(at + 1),
            [.., b'\r'] => {}
            _ => return End::BareLineFeed,
        }
    }
    End::NotYet
}

/// Checks a whole head, its empty line included, and says what follows it.
pub(crate) fn check(head: &[u8]) -> Result<Follows, Refusal> {
    if head.len() > HEAD_BYTES_MAX {
        return Err(Refusal::HeadTooLong);
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooManyFields),
        Ok(_) | Err(_) => return Err(Refusal::Malformed),
    }
    let method = request.method.ok_or(Refusal::Malformed)?;
    let target = request.path.ok_or(Refusal::Malformed)?;
    let facts = Facts::collect(request.headers)?;
    check_method(method)?;
    check_host(method, target, facts.host)?;
    facts.follows(method, Version::of(&request))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

impl Version {
    /// The parser knows no other.
    fn of(request: &httparse::Request<'_, '_>) -> Version {
        if request.version == Some(0) { Version::Http10 } else { Version::Http11 }
    }
}

/// The fields that decide where a request goes and where it ends.
#[derive(Default)]
struct Facts<'h> {
    host: Option<&'h [u8]>,
    length: Option<u64>,
    coding: Option<&'h [u8]>,
    upgrade_websocket: bool,
    connection_upgrade: bool,
}

impl<'h> Facts<'h> {
    fn collect(fields: &[httparse::Header<'h>]) -> Result<Facts<'h>, Refusal> {
        let mut facts = Facts::default();
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("host") {
                if facts.host.replace(field.value).is_some() {
                    return Err(Refusal::SeveralHosts);
                }
            } else if is("content-length") {
                if facts.length.replace(parse_length(field.value)?).is_some() {
                    return Err(Refusal::SeveralLengths);
                }
            } else if is("transfer-encoding") {
                if facts.coding.replace(field.value).is_some() {
                    return Err(Refusal::BadTransferEncoding);
                }
            } else if is("upgrade") {
                facts.upgrade_websocket |= has_token(field.value, "websocket");
            } else if is("connection") {
                facts.connection_upgrade |= has_token(field.value, "upgrade");
            }
        }
        Ok(facts)
    }

    fn follows(&self, method: &str, version: Version) -> Result<Follows, Refusal> {
        if let Some(coding) = self.coding {
            if version == Version::Http10 {
                return Err(Refusal::ChunksInOldVersion);
            }
            if self.length.is_some() {
                return Err(Refusal::LengthAndChunks);
            }
            if !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::BadTransferEncoding);
            }
        }
        let body = self.coding.is_some() || self.length.is_some_and(|length| length > 0);
        let upgrade =
            self.upgrade_websocket && self.connection_upgrade && version == Version::Http11 && method == "GET";
        match (upgrade, self.coding, self.length) {
            (true, ..) if body => Err(Refusal::BodyOnUpgrade),
            (true, ..) => Ok(Follows::WebSocket),
            (false, Some(_), _) => Ok(Follows::Chunks),
            (false, None, None | Some(0)) => Ok(Follows::Nothing),
            (false, None, Some(length)) => Ok(Follows::Length(length)),
        }
    }
}

/// `CONNECT` would make a proxy of us; `TRACE` would show a visitor's scripts what the edge adds for the origin.
pub(crate) fn check_method(method: &str) -> Result<(), Refusal> {
    match method {
        "CONNECT" | "TRACE" => Err(Refusal::Method),
        _ => Ok(()),
    }
}

/// Checks that the target's form fits the method (RFC 9112 §3.2) and that target and `Host` name one legal host.
fn check_host(method: &str, target: &str, host: Option<&[u8]>) -> Result<(), Refusal> {
    let host = host.ok_or(Refusal::NoHost)?;
    let host = std::str::from_utf8(host).ok().and_then(Authority::parse).ok_or(Refusal::BadHost)?;
    if target.contains('#') {
        return Err(Refusal::Target);
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(());
    }
    let (rest, default_port) = if let Some(rest) = strip_scheme(target, "http://") {
        (rest, 80)
    } else {
        (strip_scheme(target, "https://").ok_or(Refusal::Target)?, 443)
    };
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let authority = Authority::parse(authority).ok_or(Refusal::Target)?;
    if authority.is_same(&host, default_port) { Ok(()) } else { Err(Refusal::HostDiffers) }
}

fn strip_scheme<'t>(target: &'t str, scheme: &str) -> Option<&'t str> {
    let start = target.get(..scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
}

/// Digits only: no sign, no space, and no list of equal values, which RFC 9110 §8.6 allows us to refuse.
fn parse_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::BadLength);
    }
    std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).ok_or(Refusal::BadLength)
}

/// Whether a comma-separated list has a token, in any case.
pub(crate) fn has_token(value: &[u8], token: &str) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}
