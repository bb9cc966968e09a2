//! The end of a handshake whose client has sent data ahead of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Tells when the handshake is over. Until then what the client says may be the copy of something that it said before
/// (RFC 8446 §8), by whoever has seen that.
#[derive(Clone, Debug, Default)]
pub struct HandshakeEnd(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_reached: AtomicBool,
    bell: Notify,
}

impl HandshakeEnd {
    pub fn is_reached(&self) -> bool {
        self.0.is_reached.load(Ordering::Acquire)
    }

    /// Returns then. Somebody else has to read from the stream, or it never comes.
    pub async fn reached(&self) {
        let bell = self.0.bell.notified();
        if !self.is_reached() {
            bell.await;
        }
    }

    /// It is over: for who drives a handshake of QUIC.
    pub fn reach(&self) {
        self.0.is_reached.store(true, Ordering::Release);
        self.0.bell.notify_waiters();
    }
}
