//! Where visitors' bytes come in: TLS, the screen, HTTP/1.1 and HTTP/2.
//!
//! ```text
//! TCP ─► (TLS) ─┬ http1 ─► wire (screen: head, chunks) ─► hyper ─► Arrived ─► pipeline
//!               └ http2 ─► wire ─────────────────────────► hyper ─► Arrived ─► pipeline
//! ```
//! The protocol is chosen by ALPN (RFC 7301), never guessed. No type of hyper's leaves this module.

mod answer;
mod chunks;
mod connection;
mod head;
mod http1;
mod http2;
mod relay;
mod screen;
mod wire;

use std::net::SocketAddr;
use std::rc::Rc;

use bartizan_routes::Visit;
use tokio::net::TcpStream;

pub(crate) use head::Refusal;

use crate::limits::HANDSHAKE_TIME;
use crate::worker::Worker;
use connection::Connection;

/// Serves one visitor's connection to its end.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, visit: Visit, worker: Rc<Worker>) {
    let connection = Rc::new(Connection::new(peer, visit));
    if visit == Visit::Http {
        return http1::serve(stream, connection, worker).await;
    }
    let certificates = worker.certificates();
    // In a box of its own, so that its memory is free again when it is over.
    let handshake = Box::pin(worker.acceptor.accept(stream, &certificates));
    let stream = match tokio::time::timeout(HANDSHAKE_TIME, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            worker.counters.visitors.handshakes_failed.add(1);
            return tracing::trace!(%peer, %error, "handshake failed");
        }
        Err(_) => return worker.counters.visitors.handshakes_failed.add(1),
    };
    drop(certificates);
    match stream.alpn() {
        Some(b"h2") => http2::serve(stream, connection, worker).await,
        _ => http1::serve(stream, connection, worker).await,
    }
}
