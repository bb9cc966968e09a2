//! What is asked for, what became of it, and the bytes in which the log keeps it.
//!
//! # Encoding of a change's operations (numbers in big-endian)
//! ```text
//! u8 format = 1, operations
//! u8 format = 2, u32 length of the operations, operations as a block of LZ4
//!
//! operations: u32 count, then count times:
//!   u8 0, u32 length, key                                   deleted
//!   u8 1, u32 length, key, u16 format, u32 length, json     put
//! ```

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bartizan_names::Timestamp;

use crate::key::{Filter, Key};
use crate::kind::Kind;

/// A revision: the number of a committed change set. Dense; 0 is the empty store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rev(pub u64);

impl Rev {
    /// Before the first change.
    pub const ZERO: Rev = Rev(0);

    pub const fn next(self) -> Rev {
        // At the end where somebody asks for what no revision can be.
        Rev(self.0.saturating_add(1))
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which log a revision is of: another one for each that begins. They have no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// A document: normalised JSON and the number of its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub format: u16,
    pub json: Arc<str>,
}

impl Value {
    /// A document as this version writes those of a kind. Its format is known to the kind alone: a writer that named it
    /// would have to be changed with every step.
    pub fn of(kind: Kind, json: impl Into<Arc<str>>) -> Value {
        Value { format: kind.declaration().documents.current(), json: json.into() }
    }

    /// Whether it is in the format in which this version writes documents of a kind.
    pub fn is_of_today(&self, kind: Kind) -> bool {
        self.format == kind.declaration().documents.current()
    }
}

/// One step of a change set. Later steps on the same key win; deleting what is not there does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put { key: Key, value: Value },
    Del { key: Key },
}

impl Op {
    pub fn key(&self) -> &Key {
        match self {
            Op::Put { key, .. } | Op::Del { key } => key,
        }
    }

    /// Roughly how many bytes it takes in the log.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Op::Put { key, value } => key.as_str().len() + value.json.len(),
            Op::Del { key } => key.as_str().len(),
        }
    }
}

/// What must be true, before the first operation, for a change set to land.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    Absent(Key),
    /// The key is there, and this revision put it.
    At(Key, Rev),
    Exists(Key),
}

impl Guard {
    pub fn key(&self) -> &Key {
        match self {
            Guard::Absent(key) | Guard::At(key, _) | Guard::Exists(key) => key,
        }
    }
}

/// Who asked, how, from where, when, and by which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub at: Timestamp,
    pub actor: String,
    /// What it was asked through: `api`, or the part of the edge that acts by itself.
    pub interface: String,
    /// From where, if it came by the network.
    pub client: Option<IpAddr>,
    /// Two change sets with the same id are one request, and the second does nothing.
    pub request_id: [u8; 16],
}

/// What somebody asks for: it lands whole as one revision, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    pub guards: Vec<Guard>,
    pub ops: Vec<Op>,
    pub meta: Meta,
}

/// An object in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    /// The revision that put it last.
    pub rev: Rev,
    pub value: Value,
}

/// A change set that landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub rev: Rev,
    pub meta: Meta,
    pub ops: Vec<Op>,
}

impl Change {
    /// The part of it that a copy of this part of the state gets. The revision stays even if nothing of it is left.
    pub fn filtered(mut self, filter: &Filter) -> Change {
        self.ops.retain(|op| filter.passes(op.key()));
        self
    }
}

const PLAIN: u8 = 1;
const PACKED: u8 = 2;
const DEL: u8 = 0;
const PUT: u8 = 1;

/// Bytes from which on operations are compressed: an import's records are alike, and become a tenth. Of a single one little
/// could be left out.
const PACKED_FROM: usize = 4 << 10;

/// The most that operations come to, so that no damaged length makes anybody ask for more memory. A change set is limited to
/// half of it.
const OPERATIONS_MAX: usize = 64 << 20;
const _: () = assert!(crate::writer::CHANGE_BYTES_MAX * 2 <= OPERATIONS_MAX);

/// Operations as the log keeps them, and how many bytes they are before they are compressed.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) whole: usize,
}

pub(crate) fn encode(ops: &[Op]) -> Encoded {
    let operations = operations(ops);
    let whole = operations.len();
    let mut bytes = if whole < PACKED_FROM { vec![PLAIN] } else { vec![PACKED] };
    if whole < PACKED_FROM {
        bytes.extend_from_slice(&operations);
    } else {
        bytes.extend_from_slice(&length(whole).to_be_bytes());
        bytes.extend_from_slice(&lz4_flex::block::compress(&operations));
    }
    Encoded { bytes, whole }
}

fn operations(ops: &[Op]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ops.iter().map(Op::bytes).sum::<usize>() + ops.len() * 16);
    bytes.extend_from_slice(&length(ops.len()).to_be_bytes());
    for op in ops {
        match op {
            Op::Del { key } => {
                bytes.push(DEL);
                put_text(&mut bytes, key.as_str());
            }
            Op::Put { key, value } => {
                bytes.push(PUT);
                put_text(&mut bytes, key.as_str());
                bytes.extend_from_slice(&value.format.to_be_bytes());
                put_text(&mut bytes, &value.json);
            }
        }
    }
    bytes
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&length(text.len()).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Change sets are limited far below 4 GiB; one that is not is refused by its size before its encoding is used.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// None for bytes that [`encode`] cannot have written.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Op>> {
    let (format, rest) = bytes.split_first()?;
    match *format {
        PLAIN => read(rest),
        PACKED => {
            let (whole, packed) = rest.split_first_chunk()?;
            let whole = usize::try_from(u32::from_be_bytes(*whole)).ok().filter(|whole| *whole <= OPERATIONS_MAX)?;
            let operations = lz4_flex::block::decompress(packed, whole).ok()?;
            if operations.len() == whole { read(&operations) } else { None }
        }
        _ => None,
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Op>> {
    let mut bytes = Cursor(bytes);
    let count = u32::from_be_bytes(bytes.take()?);
    let ops = (0..count).map(|_| bytes.op()).collect::<Option<Vec<Op>>>()?;
    bytes.0.is_empty().then_some(ops)
}

/// What is left to decode.
struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn op(&mut self) -> Option<Op> {
        let [tag] = self.take()?;
        let key = Key::stored(self.text()?).ok()?;
        match tag {
            DEL => Some(Op::Del { key }),
            PUT => {
                let format = u16::from_be_bytes(self.take()?);
                Some(Op::Put { key, value: Value { format, json: self.text()?.into() } })
            }
            _ => None,
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = usize::try_from(u32::from_be_bytes(self.take()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops() -> Vec<Op> {
        vec![
            Op::Put { key: Key::meta("a"), value: Value { format: 258, json: r#"{"ä":1}"#.into() } },
            Op::Del { key: Key::meta("b") },
        ]
    }

    #[test]
    fn operations_read_what_they_write() {
        let many: Vec<Op> = (0..1_000).flat_map(|_| ops()).collect();
        for (ops, format) in [(ops(), PLAIN), (vec![], PLAIN), (many, PACKED)] {
            let Encoded { bytes, whole } = encode(&ops);
            assert_eq!((bytes[0], decode(&bytes)), (format, Some(ops)));
            assert_eq!(bytes.len() < whole, format == PACKED, "{} {whole}", bytes.len());
        }
    }

    /// A length that is not that of what follows, however large, and a block that is none.
    #[test]
    fn packed_bytes_that_are_cut_or_changed_are_refused() {
        let many: Vec<Op> = (0..300).flat_map(|_| ops()).collect();
        let bytes = encode(&many).bytes;
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "{end}");
        }
        for at in 0..5 {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                assert!(changed == bytes || decode(&changed).is_none(), "{at} {byte}");
            }
        }
        // Whatever it says, it is no panic.
        for at in 5..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            drop(decode(&changed));
        }
    }

    #[test]
    fn cut_or_changed_bytes_are_refused() {
        let bytes = encode(&ops()).bytes;
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "{end}");
        }
        for (at, byte) in [(0, 2), (0, 3), (4, 1), (4, 3), (5, 9)] {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            assert_eq!(decode(&bytes), None, "{at}");
        }
    }
}
