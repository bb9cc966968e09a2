//! HTTP/2 towards origins (RFC 9113), on the codec of `base/wire`: one connection for the requests of many visitors.
//!
//! ```text
//! Sessions ── by origin and TLS name ──► Session ── a stream for each request ──► Exchange: head, body, trailers
//!                                           └─ its task: frames in, gathered frames out
//! ```
//! What comes for a visitor is kept in memory that is counted as that visitor's, and makes room on the connection at once: who
//! takes nothing holds up nobody else. Its stream's window bounds it, which is small at first and grows for who takes all of it as fast
//! as it comes, while there is memory. What an origin says that it has done nothing for, by `REFUSED_STREAM` or `GOAWAY`, is sent
//! again where that is possible (RFC 9113 §8.7): with the body, of which a beginning is kept.
//!
//! Bodies do not wait for each other's windows. A small one goes where there is room for all of it; a large one has a connection for
//! itself until it has left; what comes piece by piece in gRPC shares a connection, and leaves something of its window to others.

mod exchange;
mod session;
mod sessions;
mod stream;

pub(super) use exchange::{Answer, Asking, Exchange, Lost};
pub(super) use session::Session;
pub(super) use sessions::{Making, Opening, Sessions};
pub(super) use stream::{Closed, Need};

/// Its name in ALPN (RFC 7301).
pub(super) const ALPN: &[u8] = b"h2";
