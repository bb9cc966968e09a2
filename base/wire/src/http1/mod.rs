//! HTTP/1.1 messages, both directions (RFC 9112; words of RFC 9110): strict, and without input or output.
//!
//! ```text
//!            ┌─ HeadSearch ─► RequestHead  ─┐ borrowed fields, each with its Class
//! bytes ─────┤                ResponseHead ─┴─► HeadWriter ─► bytes: fields copied, dropped or replaced
//!            └─ BodyReader ─► data, Trailers ─► chunk_line, write_last_chunk
//! ```
//! Two readers that disagree about where a message ends see two requests where the other sees one. So what anybody might
//! read differently is refused ([`Refusal`]), never mended: that is the whole idea of this module, and why it has no
//! lenient mode. How bytes are cut into reads changes nothing.
//!
//! A head is parsed in place: the parsed form holds offsets, not copies, and its memory can be used again
//! ([`FieldRoom`]). The lines of a head are read by `httparse`; which of them may be, what they mean together, and where
//! the body ends is decided here.
//!
//! Not here: which methods and hosts are served, what an edge adds to a message, timeouts, HTTP/2.

mod body;
mod chunks;
mod field;
mod head;
mod refusal;
mod request;
mod response;
mod trailers;
mod write;

pub use bartizan_names::Authority;
pub use body::{Body, BodyReader, Event, Step};
pub(crate) use field::Known;
pub use field::{Class, has_token, is_end_to_end, is_or_passes_for, tokens};
pub use head::{Field, FieldRoom, Fields, HeadSearch, Leading};
pub(crate) use head::{Span, parse_length};
pub use refusal::Refusal;
pub use request::{RequestHead, RequestView, Upgrade};
pub use response::{Asked, Content, ResponseHead, ResponseView};
pub use trailers::{Trailers, may_follow_a_body};
pub use write::{ChunkLine, Decimal, HeadWriter, Illegal, Rewrite, write_last_chunk};
pub(crate) use write::{is_token, is_value};

/// The line in front of a chunk: at most 16 digits, and extensions that nobody uses.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

/// All trailer fields of a body together. gRPC's status and a checksum or two take some hundred bytes.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Trailer fields of a body.
pub const TRAILER_FIELDS_MAX: usize = 32;

/// Fields that `Connection` may name. Each is looked for among all others; nobody real names more than three.
pub const CONNECTION_OPTIONS_MAX: usize = 32;

/// Interim answers (1xx) in front of a final one. Origins send one or two (RFC 9110 §15.2); a stream of them is no
/// answer.
pub const INTERIM_MAX: usize = 8;

/// The most fields that any caller may allow: how much of the stack a parse takes, at 32 bytes each.
pub const FIELDS_MOST: usize = 256;

/// What a peer may send as a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// First line, fields and the empty line.
    pub head_bytes: usize,
    /// At most [`FIELDS_MOST`] are ever taken.
    pub fields: usize,
}

impl Limits {
    /// Browsers with many cookies stay below 16 KB, and 128 fields are enough for anything that browsers and proxies send.
    pub const REQUEST: Limits = Limits { head_bytes: 32 * 1024, fields: 128 };

    /// Origins are allowed more than visitors: some set many cookies.
    pub const RESPONSE: Limits = Limits { head_bytes: 64 * 1024, fields: FIELDS_MOST };
}

/// The version that a message says to have (RFC 9112 §2.3). There is no other with this grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
}

/// Whether the connection can carry another message after this one (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    KeepAlive,
    Close,
}
