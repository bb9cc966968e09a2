//! HTTP/2 towards origins (RFC 9113), on the codec of `base/wire`: one connection for the requests of many visitors.
//!
//! ```text
//! Sessions ── by origin and TLS name ──► Session ── a stream for each request ──► Exchange: head, body, trailers
//!                                           └─ its task: frames in, gathered frames out
//! ```
//! What comes for a visitor is kept in memory that is counted as that visitor's, and makes room on the connection at once: who
//! takes nothing holds up nobody else. Its stream's window bounds it. What an origin says that it has done nothing for, by
//! `REFUSED_STREAM` or `GOAWAY`, is sent once more where that is possible (RFC 9113 §8.7).

mod exchange;
mod session;
mod sessions;
mod stream;

pub(super) use exchange::{Answer, Asking, Exchange};
pub(super) use session::Session;
pub(super) use sessions::{Opening, Sessions};

/// Its name in ALPN (RFC 7301).
pub(super) const ALPN: &[u8] = b"h2";
