//! The fields of an answer, or of a request to an origin, as a block of HTTP/2 (RFC 9113 §8.2) or HTTP/3 (RFC 9114 §4.2), from whatever form they have.

use bartizan_wire::http1::{Decimal, Rewrite};
use bartizan_wire::http2::hpack::{Encoder, Indexing};
use bartizan_wire::http3::qpack::{self, Secrecy};

use http::HeaderMap;

use crate::fields::{Fields, Name, Own, Sink};

/// Longer names are rare, and take memory of their own.
const NAME_BYTES: usize = 64;

pub(crate) struct Block<'b> {
    coder: Coder<'b>,
    out: &'b mut Vec<u8>,
}

/// How the version writes them.
enum Coder<'b> {
    Hpack(&'b mut Encoder),
    Qpack(qpack::Encoder),
}

impl<'b> Block<'b> {
    /// One of HTTP/2, which its encoder has begun.
    pub(crate) fn of_http2(encoder: &'b mut Encoder, out: &'b mut Vec<u8>) -> Block<'b> {
        Block { coder: Coder::Hpack(encoder), out }
    }

    /// One of HTTP/3.
    pub(crate) fn of_http3(out: &'b mut Vec<u8>) -> Block<'b> {
        qpack::Encoder.begin(out);
        Block { coder: Coder::Qpack(qpack::Encoder), out }
    }

    /// The status of an answer, which comes first; trailers have none.
    pub(crate) fn status(&mut self, status: u16) {
        match &mut self.coder {
            Coder::Hpack(encoder) => encoder.status(status, self.out),
            Coder::Qpack(encoder) => encoder.status(status, self.out),
        }
    }

    /// What a request is for, which comes first (RFC 9113 §8.3.1).
    pub(crate) fn request(&mut self, [method, scheme, authority, path]: [&str; 4]) {
        self.put(b":method", method.as_bytes(), Indexing::Table);
        self.put(b":scheme", scheme.as_bytes(), Indexing::Table);
        self.put(b":authority", authority.as_bytes(), Indexing::Table);
        self.put(b":path", path.as_bytes(), Indexing::Literal);
    }

    /// The fields of a map.
    pub(crate) fn all(&mut self, fields: &HeaderMap) {
        fields.iter().for_each(|(name, value)| self.field(name.as_str().as_bytes(), value.as_bytes()));
    }

    /// A field whose name may have capitals, which these versions have not.
    // Hot: once a field.
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8]) {
        let mut short = [0; NAME_BYTES];
        let long;
        let name = match short.get_mut(..name.len()) {
            Some(lower) => {
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                &*lower
            }
            None => {
                long = name.to_ascii_lowercase();
                long.as_slice()
            }
        };
        self.put(name, value, indexing(name));
    }

    fn put(&mut self, name: &[u8], value: &[u8], indexing: Indexing) {
        match &mut self.coder {
            Coder::Hpack(encoder) => encoder.field(name, value, indexing, self.out),
            Coder::Qpack(encoder) => {
                let secrecy = if indexing == Indexing::Never { Secrecy::Secret } else { Secrecy::Open };
                encoder.field(name, value, secrecy, self.out);
            }
        }
    }

    /// How long the body is, or would be.
    pub(crate) fn length(&mut self, length: u64) {
        self.put(b"content-length", Decimal::of(length).as_bytes(), Indexing::Literal);
    }
}

impl Sink for Block<'_> {
    fn pass<'f, 'v>(mut self, fields: &'f Fields, mut fate: impl FnMut(&'f [u8], &'f [u8]) -> Rewrite<'v>) -> Self {
        fields.each_end_to_end(|name, value| match fate(name, value) {
            Rewrite::Keep => self.field(name, value),
            Rewrite::Drop => {}
            Rewrite::Replace(value) => self.field(name, value),
        });
        self
    }

    fn add(mut self, name: Name, value: Own<'_>) -> Self {
        match value {
            Own::Word(word) => self.field(name.lower.as_bytes(), word.as_bytes()),
            Own::Parts([one]) => self.field(name.lower.as_bytes(), one),
            Own::Parts(parts) => self.field(name.lower.as_bytes(), &parts.concat()),
        }
        self
    }

    fn tell(mut self, name: &str, value: &[u8]) -> Self {
        self.field(name.as_bytes(), value);
        self
    }
}

/// Whether a field is worth a place in the table, which the next messages share: not if its value is another each time. What
/// is a secret has none, so that nobody finds it out by how well guesses are compressed (RFC 7541 §7.1).
fn indexing(name: &[u8]) -> Indexing {
    match name {
        b"cookie" | b"set-cookie" | b"authorization" | b"proxy-authorization" | b"www-authenticate" => Indexing::Never,
        b"cf-ray"
        | b"cf-connecting-ip"
        | b"x-forwarded-for"
        | b"forwarded"
        | b"content-length"
        | b"content-range"
        | b"etag"
        | b"last-modified"
        | b"location"
        | b"age"
        | b"expires"
        | b"content-disposition"
        | b"link"
        | b"x-request-id"
        | b"traceparent" => Indexing::Literal,
        _ => Indexing::Table,
    }
}
