//! Fields behind a chunked body (RFC 9110 §6.5).

use super::field::{Class, class_of, is_or_passes_for};
use super::head::{FieldSpan, Fields};
use super::{Refusal, TRAILER_FIELDS_MAX};

/// What must be known before a body is read means nothing behind it (RFC 9110 §6.5.1). Framing, `Host` and fields of the
/// connection are known by their class; this is the rest: how a request is to be served, who asks, how an answer is to be
/// kept and obeyed, and what is in a body.
const NOT_BEHIND_A_BODY: [&str; 27] = [
    "cache-control",
    "early-data",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "pragma",
    "range",
    "via",
    "authentication-info",
    "authorization",
    "cookie",
    "set-cookie",
    "www-authenticate",
    "age",
    "date",
    "expires",
    "location",
    "retry-after",
    "strict-transport-security",
    "vary",
    "content-encoding",
    "content-range",
    "content-type",
];

/// Trailer fields. Most bodies have none.
#[derive(Debug, Default)]
pub struct Trailers {
    bytes: Vec<u8>,
    spans: Vec<FieldSpan>,
}

impl Trailers {
    /// Reads the lines of a trailer section.
    pub(super) fn parse(mut section: Vec<u8>) -> Result<Trailers, Refusal> {
        if section.is_empty() {
            return Ok(Trailers::default());
        }
        section.extend_from_slice(b"\r\n");
        let mut lines = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
        let spans = match httparse::parse_headers(&section, &mut lines) {
            Ok(httparse::Status::Complete((length, fields))) if length == section.len() => {
                let passed_on = fields.iter().filter(|field| may_follow_a_body(field.name.as_bytes()));
                passed_on.map(|field| FieldSpan::of(field, Class::EndToEnd, &section)).collect()
            }
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TrailersTooLong),
            Ok(_) | Err(_) => return Err(Refusal::BadTrailers),
        };
        Ok(Trailers { bytes: section, spans })
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Those that may be passed on; the others are left out.
    pub fn fields(&self) -> Fields<'_> {
        Fields { spans: &self.spans, bytes: &self.bytes }
    }
}

/// Whether a field may be a trailer, by its name in any spelling.
pub fn may_follow_a_body(name: &[u8]) -> bool {
    class_of(name) == Class::EndToEnd && !NOT_BEHIND_A_BODY.iter().any(|not| is_or_passes_for(name, not))
}
