//! The fields of an answer as a block of HTTP/2 (RFC 9113 §8.2), from whatever form they have.

use bartizan_wire::http1::{Decimal, Rewrite};
use bartizan_wire::http2::hpack::{Encoder, Indexing};

use crate::fields::{Fields, Name, Own, Sink};

/// Longer names are rare, and take memory of their own.
const NAME_BYTES: usize = 64;

pub(crate) struct Block<'b> {
    encoder: &'b mut Encoder,
    out: &'b mut Vec<u8>,
}

impl<'b> Block<'b> {
    /// Of an answer with this status.
    pub(super) fn of(status: u16, encoder: &'b mut Encoder, out: &'b mut Vec<u8>) -> Block<'b> {
        encoder.status(status, out);
        Block { encoder, out }
    }

    /// Of trailers.
    pub(crate) fn trailers(encoder: &'b mut Encoder, out: &'b mut Vec<u8>) -> Block<'b> {
        Block { encoder, out }
    }

    /// A field whose name may have capitals, which HTTP/2 has not.
    // Hot: once a field.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
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
        self.encoder.field(name, value, indexing(name), self.out);
    }

    /// How long the body is, or would be.
    pub(super) fn length(&mut self, length: u64) {
        self.encoder.field(b"content-length", Decimal::of(length).as_bytes(), Indexing::Literal, self.out);
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

/// Whether a field is worth a place in the table, which the next answers share: not if its value is another each time. What
/// is a secret has none, so that nobody finds it out by how well guesses are compressed (RFC 7541 §7.1).
fn indexing(name: &[u8]) -> Indexing {
    match name {
        b"set-cookie" | b"authorization" | b"proxy-authorization" | b"www-authenticate" => Indexing::Never,
        b"cf-ray"
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
