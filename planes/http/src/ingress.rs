//! Where the bytes of visitors come in: TLS, HTTP/1.1, HTTP/2 and HTTP/3.
//!
//! ```text
//! TCP ─► (TLS) ─┬ http1 (codec of base/wire) ─► Arrived ─► pipeline
//!               └ http2 (codec of base/wire) ─► Arrived ─► pipeline
//! UDP ─► QUIC ─── http3 (codec of base/wire) ─► Arrived ─► pipeline
//! ```
//! A connection and each of its requests can be told to end from outside ([`Connections::judge`]).
//! The protocol is chosen by ALPN (RFC 7301), never guessed; a name whose zone has HTTP/2 off is not offered
//! it.

mod arrive;
mod block;
mod cancel;
mod connection;
mod deadline;
mod goodbye;
mod http1;
mod http2;
mod http3;
mod interest;
mod interim;
mod lanes;
mod refusal;
mod relay;
mod requests;
mod stream_relay;
mod stream_reply;
mod turn;
mod wire;

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bartizan_quotas::Place;
use bartizan_routes::Scheme;
use bartizan_tls::ServerStream;
use tokio::net::TcpStream;

pub(crate) use block::Block;
pub(crate) use connection::{Connection, Connections, Judged, RequestGuard};
pub(crate) use deadline::Awaited;
pub(crate) use http3::{Endpoints, open};
pub use http3::{GreeterError, OpenError};
pub(crate) use lanes::{Lanes, ferry};
pub(crate) use refusal::Refusal;
pub(crate) use requests::UnderWay;
pub(crate) use turn::{FrameTurn, Turn, looked};

use crate::worker::Worker;

/// The protocols of a TLS connection by their names in ALPN (RFC 7301), best first.
pub(crate) const ALPN: &[&[u8]] = &[ALPN_HTTP2, b"http/1.1"];
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";

/// That of QUIC.
pub(crate) const ALPN_QUIC: &[&[u8]] = &[bartizan_wire::http3::ALPN];

/// Serves one visitor's connection to its end, or until it is told to end.
pub(crate) async fn serve(stream: TcpStream, from: (SocketAddr, Place), scheme: Scheme, worker: Rc<Worker>) {
    let source = worker.source_of(from.0);
    let turn = worker.lanes.turn_of(source.0.address);
    let entry = worker.connections.add(Connection::new(from, source, scheme, Rc::clone(&turn)));
    let speaking = pin!(speak(stream, Rc::clone(&entry.connection), Rc::clone(&worker)));
    // To end takes no turn: others may wait for the place.
    tokio::select! {
        biased;
        () = entry.connection.cut() => worker.counters.visitors.blocked.add(1),
        () = entry.connection.displaced() => worker.counters.visitors.displaced.add(1),
        () = turn.take(speaking) => {}
    }
}

// What is in a box here is freed when it is over, and makes no room in each connection of another kind.
async fn speak(stream: TcpStream, connection: Rc<Connection>, worker: Rc<Worker>) {
    if connection.scheme == Scheme::Http {
        return http1::serve(stream, connection, worker).await;
    }
    let Some(stream) = Box::pin(shake_hands(stream, &connection, &worker)).await else { return };
    connection.note_tls(&stream, worker.limits.handshake_time);
    match stream.alpn() {
        Some(ALPN_HTTP2) => Box::pin(http2::serve(stream, connection, worker)).await,
        _ => http1::serve(stream, connection, worker).await,
    }
}

/// TLS with a visitor; none if it does not come about.
async fn shake_hands(stream: TcpStream, connection: &Connection, worker: &Worker) -> Option<ServerStream<TcpStream>> {
    let _permit = match worker.door.shake_hands(connection.peer.ip(), Instant::now()) {
        Ok(permit) => permit,
        Err(over) => {
            worker.counters.visitors.refused(over);
            // Fails only on a socket that is gone already.
            let _ = stream.set_zero_linger();
            return None;
        }
    };
    let shaken = async {
        tokio::select! {
            biased;
            ready = stream.readable() => ready.ok()?,
            () = worker.ends_for(connection) => return None,
        }
        let hosts = worker.hosts();
        tokio::select! {
            biased;
            shaken = worker.acceptor.accept_in_turn(stream, &hosts, connection.turn.next()) => Some(shaken),
            // Whoever is there is done by then.
            () = drained_for(worker, worker.limits.linger_time) => None,
        }
    };
    match tokio::time::timeout(worker.limits.handshake_time, shaken).await {
        Ok(None) => return None,
        Ok(Some(Ok(stream))) => {
            worker.counters.visitors.shook_hands(&stream);
            return Some(stream);
        }
        Ok(Some(Err(error))) => tracing::trace!(peer = %connection.peer, %error, "handshake failed"),
        Err(_) => {}
    }
    worker.counters.visitors.handshakes_failed.add(1);
    None
}

/// Returns when draining began so long ago.
async fn drained_for(worker: &Worker, time: Duration) {
    worker.drain.wait().await;
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each connection holds beside its socket, TLS and what its last request left in its slot.
    #[test]
    fn an_idle_connection_is_small() {
        fn size_of_future<A, B, C, D, F: Future>(_: fn(A, B, C, D) -> F) -> usize {
            size_of::<F>()
        }
        let (task, state) = (size_of_future(serve), size_of::<Connection>());
        assert!(task + state <= 1296, "{task} + {state}");
    }
}
