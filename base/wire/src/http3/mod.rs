//! HTTP/3 as a server speaks it (RFC 9114), and its fields (RFC 9204): strict, and without input or output. Of a client's part there
//! is what it takes to ask once ([`answer_head`]).
//!
//! ```text
//! a stream's bytes ─► RequestStream::next ─► Event: Head (lines in a HeadRoom), Data, Trailers
//!                  └► PeerStream::next ────► nothing but faults: SETTINGS, what the other end says of its table
//! head, data ─► put_block, put_data_head ─► bytes, behind what is to be written already
//! ```
//! QUIC has the streams, their ends and all windows; what is here is what lies on one stream. The grammar of a request is
//! that of HTTP/2 ([`HeadRoom`]). Fields are written and read by the static table alone: we say that ours has no room, so a
//! block needs no other, waits for nothing, and a stream that is broken off takes none with it.
//!
//! Frames that ask for nothing (unknown ones, empty DATA …) cost us and not their sender. Each call says how many were
//! taken, for who counts them for the whole connection ([`Step::idle`]).
//!
//! Not here: QUIC, which methods and hosts are served, timeouts, priorities (RFC 9218), and push.

mod answer;
mod frame;
mod peer_stream;
pub mod qpack;
mod request_stream;
mod varint;

pub use answer::answer_head;
pub use frame::{Code, FRAME_HEAD_BYTES_MAX, Fault, Scope, put_block, put_data_head, put_goaway};
pub use peer_stream::{PeerStream, PeerStreams};
pub use request_stream::{Event, Limits, RequestStream, Step};

pub use crate::http2::{HeadRoom, RequestHead};

/// HTTP/3 by its name in ALPN (RFC 9114 §3.1).
pub const ALPN: &[u8] = b"h3";

/// What our control stream begins with (RFC 9114 §6.2.1): its type and our SETTINGS. Of QPACK's table and of streams that
/// wait for it none (RFC 9204 §5), which is what holds where nobody says anything; of fields no more than `list_bytes`;
/// and that a WebSocket may be asked for (RFC 9220 §3).
pub fn put_settings(list_bytes: usize, out: &mut Vec<u8>) {
    let mut settings = Vec::new();
    varint::put(frame::SETTING_LIST_BYTES, &mut settings);
    varint::put(list_bytes as u64, &mut settings);
    varint::put(frame::SETTING_CONNECT_PROTOCOL, &mut settings);
    varint::put(1, &mut settings);
    varint::put(peer_stream::CONTROL, out);
    frame::put_head(frame::SETTINGS, settings.len(), out);
    out.extend_from_slice(&settings);
}
