//! Requests that visitors send before their handshake is over (RFC 8470). Whoever saw one on its way may send it again, to
//! this edge once and to others as often (RFC 8446 §8).
//!
//! What changes nothing is sent on at once, with `Early-Data` for the origin, which may refuse it (425) and is asked again
//! then by the visitor; where the zone wants that. What is left waits: a handshake is over only for who holds its keys.

use bartizan_exchange::Upgrade;
use bartizan_tls::HandshakeEnd;
use tokio::time::{Instant, timeout_at};

use crate::arrived::Arrived;
use crate::ingress::RequestGuard;
use crate::page::Problem;

/// Returns when it does not matter whether the request is a copy, or when it is known to be none.
pub(crate) async fn wait(arrived: &Arrived, guard: &RequestGuard) -> Result<(), Problem> {
    match guard.connection.handshake_end() {
        Some((end, due)) if !(changes_nothing(arrived) && guard.worker.takes_early_data(&arrived.host)) => {
            // In a box, since few requests have to wait for it.
            Box::pin(wait_for(end.clone(), due)).await
        }
        _ => Ok(()),
    }
}

async fn wait_for(end: HandshakeEnd, due: Instant) -> Result<(), Problem> {
    timeout_at(due, end.reached()).await.map_err(|_| Problem::TooEarly)
}

/// Whether nobody minds it twice (RFC 9110 §9.2.1). A body is more than is asked for by a safe method, and a WebSocket is
/// whatever its two ends make of it.
fn changes_nothing(arrived: &Arrived) -> bool {
    arrived.method.is_safe() && arrived.body.length().is_nothing() && arrived.upgrade == Upgrade::None
}
