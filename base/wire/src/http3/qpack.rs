//! Fields as HTTP/3 writes them (RFC 9204), with the static table alone.
//!
//! ```text
//! block ─► decode ─► name, value   borrowed from the block, the table, or what was unfolded from Huffman's code
//! name, value ─► Encoder ─► block  at the end of a buffer that the caller owns
//! ```
//! A block that names the other table is an error: we have said that ours has no room (RFC 9204 §5), and of the peer's no use
//! is made.

use crate::http2::hpack::{HpackError, List, Reader, field_bytes, write_integer, write_shorter, write_string};

mod static_table;

use static_table::{STATIC, find, with_value};

/// What every block of ours begins with: it needs nothing of a table that changes (RFC 9204 §4.5.1).
const PREFIX: [u8; 2] = [0, 0];

/// What begins each representation (RFC 9204 §4.5), and what says that a number is of the static table.
const INDEXED: u8 = 0x80;
const INDEXED_STATIC: u8 = 0xc0;
const LITERAL_NAMED_STATIC: u8 = 0x50;
const LITERAL_NAMED_NEVER: u8 = 0x20;
const LITERAL: u8 = 0x20;
const LITERAL_NEVER: u8 = 0x10;

/// Why a block cannot be read: QPACK_DECOMPRESSION_FAILED (RFC 9204 §6), an error of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum QpackError {
    #[error(transparent)]
    Primitive(#[from] HpackError),
    #[error("a field of a table that there is not")]
    Dynamic,
    #[error("no field of the table has that number")]
    UnknownField,
}

/// Decodes a whole block and calls `field` with name and value of each field, in order, as long as the sum of
/// [`field_bytes`] is no more than `list_bytes_max`. What is behind that is not read.
// Hot: once a request. Fields of the table are not copied.
pub fn decode(
    block: &[u8],
    list_bytes_max: usize,
    unfolded: &mut Vec<u8>,
    mut field: impl FnMut(&[u8], &[u8]),
) -> Result<List, QpackError> {
    let mut reader = Reader::new(block);
    // RFC 9204 §4.5.1: the table as it was after no insertion, and no base below that.
    if reader.integer(8)? != 0 || reader.peek().is_some_and(|first| first & 0x80 != 0) {
        return Err(QpackError::Dynamic);
    }
    reader.integer(7)?;
    let mut room = list_bytes_max;
    while let Some(first) = reader.peek() {
        unfolded.clear();
        let known = |number: usize| STATIC.get(number).ok_or(QpackError::UnknownField);
        let (name, value) = match first {
            INDEXED_STATIC.. => {
                let (name, value) = known(reader.integer(6)?)?;
                (name.as_bytes(), value.as_bytes())
            }
            0x40..INDEXED if first & 0x10 != 0 => {
                let (name, _) = known(reader.integer(4)?)?;
                (name.as_bytes(), reader.string(7, unfolded)?.of(unfolded))
            }
            LITERAL..0x40 => {
                let name = reader.string(3, unfolded)?;
                let value = reader.string(7, unfolded)?;
                (name.of(unfolded), value.of(unfolded))
            }
            _ => return Err(QpackError::Dynamic),
        };
        match room.checked_sub(field_bytes(name, value)) {
            Some(left) => room = left,
            None => return Ok(List::TooLarge),
        }
        field(name, value);
    }
    Ok(List::Whole)
}

/// Writes blocks. It remembers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Encoder;

impl Encoder {
    /// Begins a block, which is what is written from here on.
    pub fn begin(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&PREFIX);
    }

    /// `:status`, the first field of an answer.
    pub fn status(self, code: u16, out: &mut Vec<u8>) {
        let digits = [code / 100 % 10, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8);
        self.field(b":status", &digits, Secrecy::Open, out);
    }

    /// A field. The name has to be in lower case.
    // Hot: some ten times an answer.
    pub fn field(self, name: &[u8], value: &[u8], secrecy: Secrecy, out: &mut Vec<u8>) {
        let known = find(name);
        if secrecy == Secrecy::Open
            && let Some(number) = known.and_then(|first| with_value(first, value))
        {
            return write_integer(INDEXED_STATIC, 6, number, out);
        }
        let is_secret = secrecy == Secrecy::Secret;
        match known {
            Some(number) => {
                let never = if is_secret { LITERAL_NAMED_NEVER } else { 0 };
                write_integer(LITERAL_NAMED_STATIC | never, 4, number, out);
            }
            None => {
                let never = if is_secret { LITERAL_NEVER } else { 0 };
                write_string(LITERAL | never, 3, name, out);
            }
        }
        write_shorter(value, out);
    }
}

/// Whether a field may be in anybody's table on its way (RFC 9204 §7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    Open,
    Secret,
}
