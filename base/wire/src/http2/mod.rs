//! HTTP/2, as a server and as a client (RFC 9113): strict, and without input or output.
//!
//! ```text
//! bytes ─► Connection::next ─► Event: Request or Answer (lines in a HeadRoom), Data, Trailers, Reset, room to send
//! head, data, reset ─► Connection::send_… ─► bytes, behind what is to be written already
//! ```
//! A [`Connection`] knows its streams and their states, both windows of each, and the tables of HPACK. What the protocol
//! alone decides it does alone: it acknowledges, tells the peer of room, resets streams whose frames break a rule, and ends
//! with a [`Fault`] where nothing that follows could be trusted. How bytes are cut into reads changes nothing.
//!
//! Frames that ask for nothing (PING, SETTINGS, windows that grow by an octet …) cost us and not their sender. There may be
//! some, and more with what is asked for; see [`Connection::refill`].
//!
//! Not here: which methods and hosts are served, timeouts, priorities, which RFC 9113 §5.3 lets a server ignore, and push.

mod blocks;
mod client;
mod connection;
mod error;
mod frame;
pub mod hpack;
mod late;
mod request;
mod send;
mod settings;
mod streams;
mod window;

pub use connection::{Connection, Event, Limits, Reason, Step, Unfinished};
pub use error::{Code, Fault};
pub use frame::{FRAME_BYTES_MAX, FRAME_HEAD_BYTES};
pub use request::{AnswerHead, HeadRoom, RequestHead};
pub(crate) use request::{Section, Unfit};
pub use send::{EndStream, Sent, Whose};

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
