//! Fields to header blocks (RFC 7541 §6).

use std::collections::VecDeque;

use super::primitive::{write_integer, write_plain, write_shorter};
use super::static_table::{self, STATIC};
use super::table::{Name, Table};
use super::{TABLE_BYTES, field_bytes};

/// From this length on a string that is said each time is worth Huffman's code: it saves a fifth. Shorter ones are
/// sooner copied.
const HUFFMAN_BYTES_MIN: usize = 32;

/// What begins each representation (RFC 7541 §6).
const INDEXED: u8 = 0x80;
const LITERAL_INDEXED: u8 = 0x40;
const SIZE_UPDATE: u8 = 0x20;
const LITERAL_NEVER: u8 = 0x10;
const LITERAL: u8 = 0;

/// `:status`, of which the values that the static table has follow each other.
const STATUS: usize = 8;

/// One direction of a connection, as its sender knows it.
pub struct Encoder {
    table: Table,
    /// What each entry of the table is searched by, the newest first.
    prints: VecDeque<u32>,
    /// The least size of the table that the peer asked for since the last block, and the last one (RFC 7541 §4.2).
    sizes: Option<(usize, usize)>,
}

/// What the table does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// Its value will come again: it is kept.
    Table,
    /// Its value will hardly come again.
    Literal,
    /// It is a secret, and is in nobody's table on the way: how well others are packed could be used to guess it (RFC 7541 §7.1).
    Never,
}

impl Encoder {
    #[expect(clippy::new_without_default, reason = "a connection begins, which is no default of anything")]
    pub fn new() -> Encoder {
        Encoder { table: Table::new(TABLE_BYTES), prints: VecDeque::new(), sizes: None }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE, each time it comes. Of more than [`TABLE_BYTES`] no use is made.
    pub fn set_table_bytes_max(&mut self, bytes: usize) {
        let last = bytes.min(TABLE_BYTES);
        let least = self.sizes.map_or(last, |(least, _)| least.min(last));
        self.sizes = Some((least, last));
    }

    /// Begins a block, which is what is written from here to the next call. All of it has to reach the peer, in the order in
    /// which blocks were begun.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        let Some((least, last)) = self.sizes.take() else { return };
        for size in [least.min(self.table.size_max()), last] {
            if size != self.table.size_max() {
                write_integer(SIZE_UPDATE, 5, size, out);
                self.table.resize(size);
            }
        }
        self.prints.truncate(self.table.len());
    }

    /// `:status`, the first field of an answer.
    pub fn status(&mut self, code: u16, out: &mut Vec<u8>) {
        let at = match code {
            200 => 0,
            204 => 1,
            206 => 2,
            304 => 3,
            400 => 4,
            404 => 5,
            500 => 6,
            _ => {
                let digits = [code / 100 % 10, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8);
                return self.indexed(Some(STATUS), b":status", &digits, out);
            }
        };
        out.push(INDEXED | (STATUS + at) as u8);
    }

    /// A field. The name has to be in lower case.
    // Hot: some ten times an answer.
    pub fn field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        let known = static_table::find(name);
        let flags = match indexing {
            Indexing::Table => return self.indexed(known, name, value, out),
            Indexing::Literal => LITERAL,
            Indexing::Never => LITERAL_NEVER,
        };
        write_integer(flags, 4, known.unwrap_or(0), out);
        if known.is_none() {
            write_once(name, out);
        }
        write_once(value, out);
    }

    /// By its number if a table has it; else in full, and into the table.
    fn indexed(&mut self, known: Option<usize>, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if let Some(number) = known.and_then(|first| static_table::with_value(first, value)) {
            return write_integer(INDEXED, 7, number, out);
        }
        let print = print(name, value);
        let mut alike = self.prints.iter().enumerate().filter(|(_, known)| **known == print).map(|(at, _)| at);
        if let Some(at) = alike.find(|at| self.table.get(*at) == Some((name, value))) {
            return write_integer(INDEXED, 7, STATIC.len() + 1 + at, out);
        }
        // One large field would put out all others.
        let fits = field_bytes(name, value) <= self.table.size_max() / 2;
        let (flags, prefix) = if fits { (LITERAL_INDEXED, 6) } else { (LITERAL, 4) };
        write_integer(flags, prefix, known.unwrap_or(0), out);
        if known.is_none() {
            write_shorter(name, out);
        }
        write_shorter(value, out);
        if fits {
            self.table.insert(Name::Text(name), value);
            self.prints.push_front(print);
            self.prints.truncate(self.table.len());
        }
    }
}

fn write_once(text: &[u8], out: &mut Vec<u8>) {
    if text.len() < HUFFMAN_BYTES_MIN { write_plain(text, out) } else { write_shorter(text, out) }
}

/// What equal fields have in common, and others seldom: lengths and ends. Those that share it are compared, and a table has no
/// more of them than it has fields.
fn print(name: &[u8], value: &[u8]) -> u32 {
    let lengths = (name.len() as u64) << 32 | value.len() as u64;
    let mixed = [lengths, end(name), end(value)]
        .into_iter()
        .fold(0_u64, |print, word| (print ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
    (mixed ^ mixed >> 32) as u32
}

/// Its last eight octets, which differ sooner than the first.
fn end(text: &[u8]) -> u64 {
    match text.last_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => text.iter().fold(0, |word, octet| word << 8 | u64::from(*octet)),
    }
}
