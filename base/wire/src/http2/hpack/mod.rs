//! Fields as HTTP/2 writes them (RFC 7541): a field that both sides have in a table is one octet.
//!
//! ```text
//! header block ─► Decoder ─► name, value   borrowed from the block, a table, or what was unfolded from Huffman's code
//! name, value  ─► Encoder ─► header block  at the end of a buffer that the caller owns
//! ```
//! Each direction of a connection has one table of what was sent before, and each header block changes it. So a block is decoded
//! whole or the connection is over: whoever leaves one out reads other fields from then on than the peer wrote.
//!
//! Memory of a connection: what is in the table, at most twice over, and nothing before something is in it. No field takes
//! memory of its own.
//!
//! Not here: which names and values a field may have (RFC 9113 §8.2), and how a block is cut into frames.

mod decoder;
mod encoder;
mod huffman;
mod primitive;
mod static_table;
mod table;

pub use decoder::{Decoder, HpackError, List};
pub use encoder::{Encoder, Indexing};
pub(crate) use primitive::{Reader, write_integer, write_shorter, write_string};

/// What a table may hold unless SETTINGS say otherwise, in octets of [`field_bytes`] (RFC 9113 §6.5.2). Our encoder never uses
/// more, whatever a peer would let it: more would be memory and searching for fields that seldom come back.
pub const TABLE_BYTES: usize = 4_096;

/// The size of a field by which tables and lists are measured, in octets (RFC 7541 §4.1, RFC 9113 §6.5.2).
pub const fn field_bytes(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + 32
}
