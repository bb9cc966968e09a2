//! Header blocks to fields (RFC 7541 §3, §6).

use super::primitive::Reader;
use super::static_table::STATIC;
use super::table::{Name, Table};
use super::{TABLE_BYTES, field_bytes};

/// Memory for what was unfolded from Huffman's code that stays from block to block. Mostly it is one path or one agent's name.
const UNFOLDED_KEPT_BYTES: usize = 512;

/// Changes of the table's size that a block may begin with: the least in between, and the last (RFC 7541 §4.2).
const SIZE_UPDATES_MAX: usize = 2;

/// Octets of names that a block may have copied from one entry of the table to another, and how many more for each octet of
/// it: two octets can ask for the copy of a name that fills the table. Lists of up to so many octets never reach it. What a
/// caller allows has no part in it, for all have to keep the same table.
const COPIED_NAMES_BYTES_MAX: usize = 64 * 1024;
const COPIED_NAMES_BYTES_AN_OCTET: usize = 4;

/// One direction of a connection, as its receiver knows it.
pub struct Decoder {
    table: Table,
    size_limit: usize,
    unfolded: Vec<u8>,
}

/// Why the connection is over: COMPRESSION_ERROR (RFC 9113 §4.3), but for [`HpackError::TooManyCopies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HpackError {
    #[error("the block ends inside a field")]
    CutShort,
    /// RFC 7541 §5.1.
    #[error("an integer is too long")]
    IntegerTooLong,
    /// RFC 7541 §2.3.3.
    #[error("no table has a field of that number")]
    UnknownField,
    /// RFC 7541 §5.2: padding that is longer than seven bits or has a zero, a code that is cut off, or the end of a string
    /// inside it.
    #[error("a string breaks Huffman's code")]
    BadHuffman,
    /// RFC 7541 §4.2: behind a field, or more often than there is something to say.
    #[error("a size of the table where none can be")]
    MisplacedSize,
    /// RFC 7541 §6.3.
    #[error("a size of the table above what our settings allow")]
    SizeTooLarge,
    /// The block is a legal one that costs far more than it is long: ENHANCE_YOUR_CALM (RFC 9113 §10.5).
    #[error("long names of the table are copied too often")]
    TooManyCopies,
}

/// Whether all fields of a block were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Whole,
    /// The fields are more than was allowed; those at its end were not given.
    TooLarge,
}

impl Decoder {
    /// `table_bytes_max` is what our SETTINGS_HEADER_TABLE_SIZE says. Below [`TABLE_BYTES`] it holds once the peer has read
    /// that: until then it fills a table of the default size.
    pub fn new(table_bytes_max: usize) -> Decoder {
        let size_limit = table_bytes_max.max(TABLE_BYTES);
        Decoder { table: Table::new(TABLE_BYTES), size_limit, unfolded: Vec::new() }
    }

    /// Decodes a whole header block and calls `field` with name and value of each field, in order. An error is one of the
    /// connection, and this decoder of no more use.
    ///
    /// `list_bytes_max` bounds the sum of [`field_bytes`] (RFC 9113 §10.5.1). Beyond it decoding goes on, for the table has to
    /// stay in step, but no more fields are given.
    // Hot: once a request. Fields of the tables are not copied.
    pub fn decode(
        &mut self,
        block: &[u8],
        list_bytes_max: usize,
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<List, HpackError> {
        let mut reader = Reader::new(block);
        self.size_updates(&mut reader)?;
        let mut copies_left = COPIED_NAMES_BYTES_MAX + COPIED_NAMES_BYTES_AN_OCTET * block.len();
        let mut room = Some(list_bytes_max);
        let mut give = |name: &[u8], value: &[u8]| {
            room = room.and_then(|room| room.checked_sub(field_bytes(name, value)));
            if room.is_some() {
                field(name, value);
            }
        };
        while let Some(first) = reader.peek() {
            match first >> 4 {
                0b1000.. => {
                    let (name, value) = self.field(reader.integer(7)?)?;
                    give(name, value);
                }
                0b0100.. => self.literal(&mut reader, 6, Keep::Table(&mut copies_left), &mut give)?,
                0b0010.. => return Err(HpackError::MisplacedSize),
                // Never to be indexed (0b0001), or only not this time.
                _ => self.literal(&mut reader, 4, Keep::Nowhere, &mut give)?,
            }
        }
        if self.unfolded.capacity() > UNFOLDED_KEPT_BYTES {
            self.unfolded = Vec::new();
        }
        Ok(if room.is_some() { List::Whole } else { List::TooLarge })
    }

    fn size_updates(&mut self, reader: &mut Reader<'_>) -> Result<(), HpackError> {
        let mut updates = 0;
        while reader.peek().is_some_and(|first| first >> 5 == 0b001) {
            let size = reader.integer(5)?;
            updates += 1;
            if updates > SIZE_UPDATES_MAX {
                return Err(HpackError::MisplacedSize);
            }
            if size > self.size_limit {
                return Err(HpackError::SizeTooLarge);
            }
            self.table.resize(size);
        }
        Ok(())
    }

    /// A field by its number, of both tables (RFC 7541 §2.3.3).
    fn field(&self, number: usize) -> Result<(&[u8], &[u8]), HpackError> {
        let at = number.checked_sub(1).ok_or(HpackError::UnknownField)?;
        match STATIC.get(at) {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => self.table.get(at - STATIC.len()).ok_or(HpackError::UnknownField),
        }
    }

    fn literal(
        &mut self,
        reader: &mut Reader<'_>,
        prefix: u32,
        keep: Keep<'_>,
        give: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), HpackError> {
        self.unfolded.clear();
        let number = reader.integer(prefix)?;
        let name = if number == 0 { Some(reader.string(7, &mut self.unfolded)?) } else { None };
        let value = reader.string(7, &mut self.unfolded)?;
        let value = value.of(&self.unfolded);
        let text = match &name {
            Some(name) => name.of(&self.unfolded),
            None => self.field(number)?.0,
        };
        give(text, value);
        if let Keep::Table(copies_left) = keep {
            let name = match (&name, number.checked_sub(STATIC.len() + 1)) {
                (Some(name), _) => Name::Text(name.of(&self.unfolded)),
                (None, Some(at)) => {
                    *copies_left = copies_left.checked_sub(text.len()).ok_or(HpackError::TooManyCopies)?;
                    Name::Entry(at)
                }
                (None, None) => Name::Text(STATIC[number - 1].0.as_bytes()),
            };
            self.table.insert(name, value);
        }
        Ok(())
    }
}

enum Keep<'c> {
    /// With how many octets of names may still be copied inside the table.
    Table(&'c mut usize),
    Nowhere,
}
