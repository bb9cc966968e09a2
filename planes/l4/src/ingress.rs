//! Where clients come in: a connection is accepted, and the client's address becomes known.

mod header;
mod tcp;
mod udp;

use bartizan_routes::App;
use bartizan_tls::ServerStream;
use tokio::net::TcpStream;

pub(crate) use tcp::{At, accept};
pub(crate) use udp::{receive, receive_any};

use crate::counters::EdgeEvent;
use crate::worker::Worker;

/// The TLS handshake. Where a port has `only` one application, a client gets its certificate under the policy of its zone,
/// also without a name (RFC 6066 §3), and is refused with any other name: that may be another tenant's.
pub(crate) async fn shake_hands(
    stream: TcpStream,
    only: Option<&App>,
    worker: &Worker,
) -> Option<ServerStream<TcpStream>> {
    let (hosts, time) = worker.with_config(|config| (config.hosts.clone(), config.limits.handshake_time));
    let shaking = async {
        if !worker.begins(&stream).await {
            return None;
        }
        let shaking = async {
            match only {
                Some(app) => worker.acceptor.accept_for(stream, &hosts, &app.name.to_string()).await,
                None => worker.acceptor.accept(stream, &hosts).await,
            }
        };
        worker.soon(shaking).await
    };
    match tokio::time::timeout(time, shaking).await {
        Ok(None) => None,
        Ok(Some(Ok(stream))) => Some(stream),
        Ok(Some(Err(error))) => {
            worker.counters.event(EdgeEvent::HandshakeFailed);
            tracing::trace!(%error, "handshake failed");
            None
        }
        Err(_) => {
            worker.counters.event(EdgeEvent::HandshakeFailed);
            None
        }
    }
}
