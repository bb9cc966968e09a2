//! Master files: the text in which zones are moved (RFC 1035 §5, RFC 2308 §4, RFC 3597 §5).
//!
//! ```text
//! bytes ─► lexer: words, quotes, parentheses, comments ─► reader: directives, owner, TTL, class, type ─► Entry
//! ```
//! A [`Reader`] takes a file in pieces of any size and holds one record of it at most. A record with a fault is passed
//! over, and the next one is read: whoever imports a file hears of all its faults at once.
//!
//! What the data of a type must be is for whoever knows the type. Here it is text with one space between its words, and
//! [`write_entry`] writes it back. `$INCLUDE` is refused: a file that is sent by one
//! machine would name files of another. `$GENERATE` is of one server alone.
//!
//! What a record has beside its data stands in the comment behind it ([`Attributes`]).

mod attributes;
mod data;
mod error;
mod lexer;
mod reader;
mod write;

pub use self::attributes::Attributes;
pub use self::error::{Place, Reason, SyntaxError};
pub use self::lexer::LINE_MAX;
pub use self::reader::Reader;
pub use self::write::{write_entry, write_name};

use bartizan_names::Name;

/// A record as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its line begins.
    pub place: Place,
    pub owner: Name,
    /// In seconds: its own, else that of `$TTL`, else the last that was stated (RFC 1035 §5.1). None where there is none.
    pub ttl: Option<u32>,
    /// The type's mnemonic in upper case, known or not, or `TYPE` and a number.
    pub kind: String,
    /// What is behind the type: words as they were written, with one space between them.
    pub data: String,
    /// What names in the data are below, unless they end in a dot.
    pub origin: Name,
    /// What stands behind it on its last line, without the semicolon.
    pub comment: Option<String>,
}
