//! Writes heads and chunks, so that nobody can read them in two ways.

use std::ops::Deref;

use super::body::Body;
use super::field::Class;
use super::head::{Field, Fields};
use super::trailers::may_follow_a_body;

/// Something that was to be written is no name, value, method, target or status: it would be read as something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the head has characters that it cannot have")]
pub struct Illegal;

/// Writes one head at the end of a buffer: first line, fields, empty line. Nothing is written if any of it is illegal.
#[derive(Debug)]
pub struct HeadWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    legal: Result<(), Illegal>,
}

/// What becomes of a field that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite<'v> {
    Keep,
    Drop,
    /// Its line stays where it is, with this value.
    Replace(&'v [u8]),
}

impl<'o> HeadWriter<'o> {
    /// The target in pieces that follow each other.
    pub fn request(out: &'o mut Vec<u8>, method: &str, target: [&str; 2]) -> HeadWriter<'o> {
        let [first, second] = target;
        let visible = |text: &str| text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        let legal = is_token(method.as_bytes())
            && !(first.is_empty() && second.is_empty())
            && visible(first)
            && visible(second);
        HeadWriter::begin(out, legal, &[method, " ", first, second, " HTTP/1.1\r\n"])
    }

    pub fn response(out: &'o mut Vec<u8>, status: u16, reason: &str) -> HeadWriter<'o> {
        let digits = [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        let digits = std::str::from_utf8(&digits).unwrap_or_default();
        let legal = (100..1000).contains(&status) && is_value(reason.as_bytes());
        HeadWriter::begin(out, legal, &["HTTP/1.1 ", digits, " ", reason, "\r\n"])
    }

    fn begin(out: &'o mut Vec<u8>, legal: bool, line: &[&str]) -> HeadWriter<'o> {
        let start = out.len();
        line.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        HeadWriter { out, start, legal: if legal { Ok(()) } else { Err(Illegal) } }
    }

    pub fn field(mut self, name: &[u8], value: &[u8]) -> Self {
        if !is_token(name) || !is_value(value) {
            self.legal = Err(Illegal);
        }
        self.line(name, value);
        self
    }

    /// A field whose value is these parts, one behind the other.
    pub fn parts(mut self, name: &[u8], value: &[&[u8]]) -> Self {
        if !is_token(name) || !value.iter().all(|part| is_value(part)) {
            self.legal = Err(Illegal);
        }
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        value.iter().for_each(|part| self.out.extend_from_slice(part));
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Whole lines that were made before, of what is legal: the first of each pair. Behind each comes a value, which is part of
    /// its last line, and behind the last value the end of that.
    pub fn lines_with(mut self, lines: &[(&[u8], &[u8])]) -> Self {
        for (made, value) in lines {
            if !is_value(value) {
                self.legal = Err(Illegal);
            }
            self.out.extend_from_slice(made);
            self.out.extend_from_slice(value);
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// A field whose name is in lower case, as HTTP/2 and header maps have it, with the capitals that old readers look for.
    pub fn titled(mut self, name: &str, value: &[u8]) -> Self {
        let start = self.out.len();
        self = self.field(name.as_bytes(), value);
        let mut first = true;
        for byte in &mut self.out[start..start + name.len()] {
            if first {
                byte.make_ascii_uppercase();
            }
            first = *byte == b'-';
        }
        self
    }

    /// One line of several values, for fields that HTTP/2 may split and HTTP/1.1 may not: `Cookie`, whose parts are
    /// joined by `; ` (RFC 9113 §8.2.3). No line if there are none.
    pub fn joined<'v>(mut self, name: &[u8], separator: &str, values: impl Iterator<Item = &'v [u8]>) -> Self {
        let line = self.out.len();
        for value in values {
            if !is_token(name) || !is_value(value) {
                self.legal = Err(Illegal);
            }
            if self.out.len() == line {
                self.out.extend_from_slice(name);
                self.out.extend_from_slice(b": ");
            } else {
                self.out.extend_from_slice(separator.as_bytes());
            }
            self.out.extend_from_slice(value);
        }
        if self.out.len() > line {
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Copies fields as they were received, for which `rewrite` is asked of each that is the message's own. `Host` is not
    /// copied, nor framing, nor what belongs to a connection or misleads.
    // Hot: once a field. No allocation but for a larger buffer.
    pub fn copy<'f, 'v>(mut self, fields: Fields<'f>, mut rewrite: impl FnMut(&Field<'f>) -> Rewrite<'v>) -> Self {
        let Fields { spans, bytes } = fields;
        // Lines that follow each other and are written as ours, to be copied at once.
        let mut run = 0..0;
        for span in spans.iter().filter(|span| span.class == Class::EndToEnd) {
            let field = span.field(bytes);
            let rewritten = rewrite(&field);
            if let (Rewrite::Keep, Some(line)) = (rewritten, span.line(bytes)) {
                if line.start != run.end {
                    self.lines(bytes.get(run));
                    run = line.start..line.start;
                }
                run.end = line.end;
                continue;
            }
            self.lines(bytes.get(std::mem::take(&mut run)));
            match rewritten {
                // It was read, so it is legal.
                Rewrite::Keep => self.line(field.name, field.value),
                Rewrite::Drop => {}
                Rewrite::Replace(value) => self = self.field(field.name, value),
            }
        }
        self.lines(bytes.get(run));
        self
    }

    /// Says how the body is framed.
    pub fn body(mut self, body: Body) -> Self {
        match body {
            Body::None | Body::Switched | Body::UntilClose => {}
            Body::Length(length) => self.line(b"Content-Length", Decimal::of(length).as_bytes()),
            Body::Chunked => self.line(b"Transfer-Encoding", b"chunked"),
        }
        self
    }

    /// Ends the head.
    pub fn end(self) -> Result<(), Illegal> {
        match self.legal {
            Ok(()) => self.out.extend_from_slice(b"\r\n"),
            Err(Illegal) => self.out.truncate(self.start),
        }
        self.legal
    }

    fn lines(&mut self, lines: Option<&[u8]>) {
        self.out.extend_from_slice(lines.unwrap_or_default());
    }

    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// RFC 9110 §5.6.2.
// Hot: once a field.
pub(crate) fn is_token(text: &[u8]) -> bool {
    const LEGAL: [bool; 256] = {
        let mut legal = [false; 256];
        let mut at = 0;
        while at < TOKEN.len() {
            legal[TOKEN[at] as usize] = true;
            at += 1;
        }
        legal
    };
    !text.is_empty() && text.iter().all(|byte| LEGAL[usize::from(*byte)])
}

const TOKEN: &[u8] = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// RFC 9110 §5.5, with space around it, which no reader sees.
// Hot: once a field. Looks at all of it, which goes faster than to stop somewhere: many bytes are compared at once.
pub(crate) fn is_value(text: &[u8]) -> bool {
    text.iter().fold(true, |legal, byte| legal & matches!(byte, b'\t' | 0x20..=0x7e | 0x80..))
}

/// A number as text, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub fn of(mut number: u64) -> Decimal {
        let mut decimal = Decimal { digits: [b'0'; 20], start: 20 };
        loop {
            decimal.start -= 1;
            decimal.digits[decimal.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return decimal;
            }
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// The line in front of a chunk: its octets, by `Deref`. Behind the chunk comes [`ChunkLine::END`].
#[derive(Clone, Copy, Debug)]
pub struct ChunkLine {
    text: [u8; 18],
    start: usize,
}

impl ChunkLine {
    pub const END: &[u8] = b"\r\n";

    /// None for a chunk without data, which would end the body.
    pub fn of(length: usize) -> Option<ChunkLine> {
        let mut line = ChunkLine { text: *b"0000000000000000\r\n", start: 16 };
        let mut left = length;
        while left > 0 {
            line.start -= 1;
            line.text[line.start] = b"0123456789abcdef"[left % 16];
            left /= 16;
        }
        (length > 0).then_some(line)
    }
}

impl Deref for ChunkLine {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

/// Ends a chunked body, with trailer fields or without. What may not be there, or is no field, is left out.
pub fn write_last_chunk<'t>(trailers: impl IntoIterator<Item = (&'t [u8], &'t [u8])>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    let fields =
        trailers.into_iter().filter(|(name, value)| is_token(name) && is_value(value) && may_follow_a_body(name));
    for (name, value) in fields {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
