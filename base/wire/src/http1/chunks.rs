//! The framing of a chunked body (RFC 9112 §7.1), taken literally.

use super::body::{Event, Step};
use super::{CHUNK_LINE_BYTES_MAX, Refusal, TRAILER_BYTES_MAX};

/// Where in a chunked body we are.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// Of the chunk under way, what is left of it.
    size: u64,
    /// Bytes of the current line.
    line: usize,
    /// The trailer section, while it arrives; without memory as long as there is none.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Digits of a size; none read yet.
    #[default]
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
    Over,
}

impl Chunks {
    /// The next piece of data, or the end.
    pub(super) fn next(&mut self, input: &[u8]) -> Result<Step, Refusal> {
        let mut used = 0;
        while self.at != At::Over {
            let Some(byte) = input.get(used) else { return Ok(Step { used, event: Event::Hungry }) };
            if self.at == At::Data {
                let here = input.len() - used;
                let data = usize::try_from(self.size).map_or(here, |size| size.min(here));
                self.size -= data as u64;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                return Ok(Step { used: used + data, event: Event::Data(used..used + data) });
            }
            used += 1;
            self.step(*byte)?;
        }
        Ok(Step { used, event: Event::End })
    }

    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Its lines, each with its end, without the empty one.
    pub(super) fn into_trailer_section(self) -> Vec<u8> {
        self.trailers
    }

    fn step(&mut self, byte: u8) -> Result<(), Refusal> {
        self.at = match self.at {
            At::TrailerStart | At::Trailer | At::TrailerLf | At::LastLf => self.step_trailer(byte)?,
            _ => self.step_chunk(byte)?,
        };
        Ok(())
    }

    fn step_chunk(&mut self, byte: u8) -> Result<At, Refusal> {
        self.line += 1;
        if self.line > CHUNK_LINE_BYTES_MAX {
            return Err(Refusal::ChunkLineTooLong);
        }
        match (self.at, byte) {
            (At::FirstDigit | At::Digits, _) if byte.is_ascii_hexdigit() => self.digit(byte),
            (At::Digits, b';') => Ok(At::Extension),
            (At::Digits | At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Extension, _) if is_text(byte) => Ok(At::Extension),
            (At::SizeLf, b'\n') if self.size > 0 => Ok(At::Data),
            (At::SizeLf, b'\n') => Ok(At::TrailerStart),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => {
                self.line = 0;
                Ok(At::FirstDigit)
            }
            _ => Err(Refusal::BadChunk),
        }
    }

    fn step_trailer(&mut self, byte: u8) -> Result<At, Refusal> {
        let next = match (self.at, byte) {
            (At::TrailerStart, b'\r') => return Ok(At::LastLf),
            (At::LastLf, b'\n') => return Ok(At::Over),
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            // A line that begins with a space continues the one before: obsolete, and read differently.
            (At::TrailerStart, b' ' | b'\t') => return Err(Refusal::BadTrailers),
            (At::TrailerStart | At::Trailer, _) if is_text(byte) => At::Trailer,
            _ => return Err(Refusal::BadTrailers),
        };
        if self.trailers.len() >= TRAILER_BYTES_MAX {
            return Err(Refusal::TrailersTooLong);
        }
        self.trailers.push(byte);
        Ok(next)
    }

    /// One more digit. Sizes end at 2^60: no body is longer, and no reader's arithmetic overflows.
    fn digit(&mut self, byte: u8) -> Result<At, Refusal> {
        let value = char::from(byte).to_digit(16).ok_or(Refusal::BadChunk)?;
        if self.size >> 56 != 0 {
            return Err(Refusal::BadChunk);
        }
        self.size = self.size << 4 | u64::from(value);
        Ok(At::Digits)
    }
}

/// What an extension or a trailer may consist of.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)
}
