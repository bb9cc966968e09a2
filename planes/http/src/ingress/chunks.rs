//! The framing of a chunked body (RFC 9112 §7.1), followed byte by byte, without tolerance.

use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// Where in a chunked body we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    at: At,
    /// Of the chunk under way.
    size: u64,
    /// Bytes of the current line, or of all trailers.
    line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Digits of a size; none read yet.
    FirstDigit,
    Digits,
    Extension,
    /// The line feed of a size's line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The start of a trailer line, or of the last, empty one.
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
}

/// The framing breaks the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// What a piece of bytes did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All of it belongs to the body, and the body goes on.
    All,
    /// The body ended behind so many bytes.
    Ended(usize),
}

impl Chunks {
    pub(crate) const START: Chunks = Chunks { at: At::FirstDigit, size: 0, line: 0 };

    /// Follows the body through `bytes`. Data is skipped, not looked at.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Result<Progress, BadChunk> {
        let mut position = 0;
        while position < bytes.len() {
            if self.at == At::Data {
                let here = self.size.min((bytes.len() - position) as u64);
                self.size -= here;
                position += here as usize;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            let byte = bytes[position];
            position += 1;
            if self.at == At::LastLf {
                return if byte == b'\n' { Ok(Progress::Ended(position)) } else { Err(BadChunk) };
            }
            self.step(byte)?;
        }
        Ok(Progress::All)
    }

    fn step(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.line += 1;
        let limit = match self.at {
            At::TrailerStart | At::Trailer | At::TrailerLf => TRAILER_BYTES_MAX,
            _ => CHUNK_LINE_BYTES_MAX,
        };
        if self.line > limit {
            return Err(BadChunk);
        }
        self.at = match (self.at, byte) {
            (At::FirstDigit | At::Digits, _) if byte.is_ascii_hexdigit() => self.digit(byte)?,
            (At::Digits, b';') => At::Extension,
            (At::Digits | At::Extension, b'\r') => At::SizeLf,
            (At::Extension, _) if is_text(byte) => At::Extension,
            (At::SizeLf, b'\n') => self.line_done(if self.size > 0 { At::Data } else { At::TrailerStart }),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => self.line_done(At::FirstDigit),
            (At::TrailerStart, b'\r') => At::LastLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            // A line that begins with a space continues the last one (obs-fold, RFC 9112 §5.2): servers differ.
            (At::TrailerStart, b' ' | b'\t') => return Err(BadChunk),
            (At::TrailerStart | At::Trailer, _) if is_text(byte) => At::Trailer,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            _ => return Err(BadChunk),
        };
        Ok(())
    }

    /// One more digit. Sizes are below 2^60: no body is longer, and no origin's arithmetic overflows (RFC 9112 §7.1).
    fn digit(&mut self, byte: u8) -> Result<At, BadChunk> {
        let value = char::from(byte).to_digit(16).ok_or(BadChunk)?;
        if self.size >> 56 != 0 {
            return Err(BadChunk);
        }
        self.size = self.size << 4 | u64::from(value);
        Ok(At::Digits)
    }

    /// A line or a chunk has ended: counting starts anew.
    fn line_done(&mut self, next: At) -> At {
        self.line = 0;
        next
    }
}

/// What an extension or a trailer may consist of.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows `text` in pieces of `piece` bytes; gives the bytes used, or none while it is not over.
    fn follow(text: &[u8], piece: usize) -> Result<Option<usize>, BadChunk> {
        let mut chunks = Chunks::START;
        let mut before = 0;
        for bytes in text.chunks(piece) {
            match chunks.follow(bytes)? {
                Progress::All => before += bytes.len(),
                Progress::Ended(used) => return Ok(Some(before + used)),
            }
        }
        Ok(None)
    }

    #[test]
    fn framing_is_followed_to_the_letter() {
        let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX));
        let long_trailer = format!("0\r\nx: {}\r\n\r\n", "x".repeat(TRAILER_BYTES_MAX));
        for (text, expect) in [
            ("0\r\n\r\n", Ok(Some(5))),
            ("0\r\n\r\nGET /", Ok(Some(5))),
            ("5\r\nhello\r\n0\r\n\r\n", Ok(Some(15))),
            ("00A\r\n0123456789\r\nb;x=\"y\"\r\n\r\n\r\n\r\n\r\n\r\n.\r\n0\r\nx: y\r\n\r\n", Ok(Some(50))),
            ("a\r\n0123456789\r\n0\r\nx: y\r\nz:\r\n\r\n!", Ok(Some(30))),
            ("1;a=b\r\n\n\r\n0;\r\n\r\n", Ok(Some(16))),
            ("5\r\nhel", Ok(None)),
            ("", Ok(None)),
            ("\r\n", Err(BadChunk)),
            (" 5\r\n", Err(BadChunk)),
            ("5 \r\n", Err(BadChunk)),
            ("-1\r\n", Err(BadChunk)),
            ("0x5\r\n", Err(BadChunk)),
            ("5\nhello\n0\n\n", Err(BadChunk)),
            ("5\r\nhello\n0\r\n\r\n", Err(BadChunk)),
            ("5\r\nhello!\r\n", Err(BadChunk)),
            ("5;a\nb\r\n", Err(BadChunk)),
            ("5;a\rb\r\n", Err(BadChunk)),
            ("5;\0\r\n", Err(BadChunk)),
            ("0\r\n\n", Err(BadChunk)),
            ("0\r\n\r\r\n", Err(BadChunk)),
            ("0\r\nx: y\n\r\n", Err(BadChunk)),
            ("0\r\n folded\r\n\r\n", Err(BadChunk)),
            ("0fffffffffffffff\r\n", Ok(None)),
            ("1000000000000000\r\n", Err(BadChunk)),
            ("10000000000000000\r\n", Err(BadChunk)),
            (long_extension.as_str(), Err(BadChunk)),
            (long_trailer.as_str(), Err(BadChunk)),
        ] {
            for piece in [1, 2, 3, 7, 100_000] {
                assert_eq!(follow(text.as_bytes(), piece), expect, "{text:?} by {piece}");
            }
        }
    }
}
