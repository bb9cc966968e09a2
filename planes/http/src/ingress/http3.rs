//! HTTP/3 from visitors (RFC 9114), on the codec of `base/wire` and the library's QUIC (RFC 9000).
//!
//! ```text
//! UDP ─► endpoint ─► who may come in ─► handshake, by the host that is asked for ─► session ─► a task for each stream:
//!                                                    RequestStream (base/wire) ─► Arrived ─► pipeline ─► Reply
//! ```
//! A stream of QUIC has windows of its own, so there is no outlet as over HTTP/2, and nobody waits for another's bytes.
//! Addresses of visitors stay what they were when they came: who moves makes a new connection, and is judged anew.

mod driving;
mod endpoint;
mod greeter;
mod reply;
mod session;
mod stream;
mod windows;

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use bartizan_quotas::Place;
use bartizan_routes::Scheme;
use bartizan_tls::HandshakeEnd;
use quinn::Incoming;

use super::connection::Connection;
use super::drained_for;
use super::interest::{end_of_interest, end_of_patience};
use crate::worker::Worker;
#[cfg(test)]
pub(super) use driving::{Driving, in_turns};
pub use endpoint::OpenError;
pub(crate) use endpoint::{Endpoints, open};
pub use greeter::GreeterError;
use greeter::Greeting;
use session::Session;

/// Serves one visitor's connection to its end, or until it is told to end.
pub(crate) async fn serve(incoming: Incoming, from: (SocketAddr, Place), worker: Rc<Worker>) {
    let source = worker.source_of(from.0);
    let turn = worker.lanes.turn_of(source.0.address);
    let entry = worker.connections.add(Connection::new(from, source, Scheme::Https, Rc::clone(&turn)));
    let speaking = pin!(speak(incoming, Rc::clone(&entry.connection), Rc::clone(&worker)));
    // To end takes no turn: others may wait for the place.
    tokio::select! {
        biased;
        () = entry.connection.cut() => worker.counters.visitors.blocked.add(1),
        () = entry.connection.displaced() => worker.counters.visitors.displaced.add(1),
        () = turn.take(speaking) => {}
    }
}

/// A connection whose streams end with it, however that ends.
struct Open(Rc<Session>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn speak(incoming: Incoming, connection: Rc<Connection>, worker: Rc<Worker>) {
    let Some(quic) = Box::pin(shake_hands(incoming, &connection, &worker)).await else { return };
    connection.carry_many();
    let session = Open(Session::new(quic, Rc::clone(&connection), Rc::clone(&worker)));
    tokio::task::spawn_local(Rc::clone(&session.0).begin());
    let mut running = pin!(session.0.run());
    tokio::select! {
        biased;
        () = &mut running => return,
        () = end_of_interest(&connection, &worker) => {}
    }
    session.0.leave().await;
    tokio::select! {
        biased;
        () = running => {}
        () = end_of_patience(&connection, &worker) => worker.counters.visitors.too_slow.add(1),
    }
}

/// QUIC with a visitor; none if it does not come about.
async fn shake_hands(incoming: Incoming, connection: &Connection, worker: &Worker) -> Option<quinn::Connection> {
    let _permit = match worker.door.shake_hands(connection.peer.ip(), Instant::now()) {
        Ok(permit) => permit,
        Err(over) => {
            worker.counters.visitors.refused(over);
            incoming.refuse();
            return None;
        }
    };
    worker.quic_handshakes.set(worker.quic_handshakes.get() + 1);
    let _under_way = UnderWay(worker);
    let shaken = async {
        tokio::select! {
            biased;
            shaken = shake(incoming, connection, worker) => shaken,
            () = drained_for(worker, worker.limits.linger_time) => None,
        }
    };
    let shaken = tokio::time::timeout(worker.limits.handshake_time, shaken).await.ok().flatten();
    match &shaken {
        Some(_) => worker.counters.visitors.handshakes_quic.add(1),
        None => worker.counters.visitors.handshakes_failed.add(1),
    }
    shaken
}

/// Counts a handshake for as long as it is not over.
struct UnderWay<'w>(&'w Worker);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.quic_handshakes.set(self.0.quic_handshakes.get() - 1);
    }
}

async fn shake(incoming: Incoming, connection: &Connection, worker: &Worker) -> Option<quinn::Connection> {
    let is_proven = incoming.remote_address_validated();
    let (from, first) = (incoming.remote_address(), incoming.orig_dst_cid());
    let accept = || driving::in_turns(&connection.turn, || incoming.accept());
    let mut connecting = worker.inboxes.accept(from, first, accept).ok()?;
    let greeting = connecting.handshake_data().await.ok()?.downcast::<Greeting>().ok()?;
    let time = worker.limits.handshake_time;
    // What came in the first flight may be from an address that is not its sender's (RFC 9000 §8.1), by which it would be
    // judged: it waits where it is until the handshake has shown whose it is.
    if !greeting.is_early || !is_proven {
        let quic = connecting.await.ok()?;
        // What it has shown came with the end of the handshake.
        let greeting = quic.handshake_data()?.downcast::<Greeting>().ok()?;
        connection.note_quic(greeting.client, None, time);
        return Some(quic);
    }
    let (quic, accepted) = connecting.into_0rtt().ok()?;
    let end = HandshakeEnd::default();
    connection.note_quic(greeting.client, Some(end.clone()), time);
    let shaking = quic.clone();
    tokio::task::spawn_local(async move {
        // Whether early data was taken is known; what is waited for is the end.
        let _ = accepted.await;
        if shaking.close_reason().is_none() {
            end.reach();
        }
    });
    Some(quic)
}
