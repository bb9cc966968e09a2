//! Integers and strings (RFC 7541 §5).

use super::decoder::HpackError;
use super::huffman;

/// Octets of an integer behind its first: values up to 2^28, more than any table or block has. RFC 7541 §5.1 wants a limit.
const INTEGER_OCTETS_MAX: usize = 4;

/// What is left of a block.
pub(crate) struct Reader<'b>(&'b [u8]);

/// A string of a block.
pub(crate) enum Text<'b> {
    Plain(&'b [u8]),
    /// From here to there in what was unfolded.
    Unfolded(usize, usize),
}

impl<'b> Text<'b> {
    pub(crate) fn of<'t>(&self, unfolded: &'t [u8]) -> &'t [u8]
    where
        'b: 't,
    {
        match *self {
            Text::Plain(text) => text,
            Text::Unfolded(start, end) => &unfolded[start..end],
        }
    }
}

impl<'b> Reader<'b> {
    pub(crate) fn new(block: &'b [u8]) -> Reader<'b> {
        Reader(block)
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn octet(&mut self) -> Result<u8, HpackError> {
        let (first, rest) = self.0.split_first().ok_or(HpackError::CutShort)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer of which the first octet has `prefix` bits.
    pub(crate) fn integer(&mut self, prefix: u32) -> Result<usize, HpackError> {
        let full = (1 << prefix) - 1;
        let first = usize::from(self.octet()?) & full;
        if first < full {
            return Ok(first);
        }
        let mut value = full;
        for place in 0..INTEGER_OCTETS_MAX {
            let octet = self.octet()?;
            value += usize::from(octet & 0x7f) << (7 * place);
            if octet & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(HpackError::IntegerTooLong)
    }

    /// A string, of whose length the first octet has `prefix` bits, below the flag of Huffman's code. What is in that is put at
    /// the end of `unfolded`.
    pub(crate) fn string(&mut self, prefix: u32, unfolded: &mut Vec<u8>) -> Result<Text<'b>, HpackError> {
        let coded = self.peek().is_some_and(|first| first >> prefix & 1 != 0);
        let length = self.integer(prefix)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(HpackError::CutShort)?;
        self.0 = rest;
        if !coded {
            return Ok(Text::Plain(text));
        }
        let start = unfolded.len();
        huffman::decode(text, unfolded)?;
        Ok(Text::Unfolded(start, unfolded.len()))
    }
}

/// Writes an integer whose first octet has `prefix` bits beside `flags`.
#[inline]
pub(crate) fn write_integer(flags: u8, prefix: u32, value: usize, out: &mut Vec<u8>) {
    let full = (1 << prefix) - 1;
    if value < full {
        return out.push(flags | value as u8);
    }
    out.push(flags | full as u8);
    write_rest(value - full, out);
}

fn write_rest(mut left: usize, out: &mut Vec<u8>) {
    while left >= 0x80 {
        out.push(0x80 | left as u8);
        left >>= 7;
    }
    out.push(left as u8);
}

pub(super) fn write_plain(text: &[u8], out: &mut Vec<u8>) {
    write_integer(0, 7, text.len(), out);
    out.extend_from_slice(text);
}

/// Writes a string in Huffman's code if that makes it shorter.
pub(crate) fn write_shorter(text: &[u8], out: &mut Vec<u8>) {
    write_string(0, 7, text, out);
}

/// The same behind `flags`, with `prefix` bits of its length in the first octet (RFC 9204 §4.1.2).
pub(crate) fn write_string(flags: u8, prefix: u32, text: &[u8], out: &mut Vec<u8>) {
    let length = huffman::encoded_len(text);
    if length >= text.len() {
        write_integer(flags, prefix, text.len(), out);
        return out.extend_from_slice(text);
    }
    write_integer(flags | 1 << prefix, prefix, length, out);
    huffman::encode(text, out);
}
