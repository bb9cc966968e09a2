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

/// The TLS handshake. A client that sends no name (RFC 6066 §3) gets the certificate of `only`, the one application of
/// the port.
pub(crate) async fn shake_hands(
    stream: TcpStream,
    only: Option<&App>,
    worker: &Worker,
) -> Option<ServerStream<TcpStream>> {
    let (hosts, time) = worker.with_config(|config| {
        let mut hosts = config.hosts.clone();
        if let Some(app) = only {
            hosts.set_default(&app.name.to_string());
        }
        (hosts, config.limits.handshake_time)
    });
    match tokio::time::timeout(time, worker.acceptor.accept(stream, &hosts)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
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
