//! HTTP/2 from visitors (RFC 9113), on the codec of `base/wire`.
//!
//! ```text
//!              ┌─ frames ─► Connection (base/wire) ─► a task for each stream: Arrived ─► pipeline ─► Reply ─┐
//! session ─────┤                                                                                            ▼
//!              └─ full TLS records ◄──────────────── outlet ◄── heads and data, as windows and room allow ──┘
//! ```
//! While nothing is under way a connection holds no buffer. Streams that have to wait, for room or for a window, are called in
//! their order; priorities are not looked at (RFC 9113 §5.3).

mod arrive;
mod block;
mod outlet;
mod reply;
mod session;
mod stream;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bartizan_tls::ServerStream;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::Connection;
use super::goodbye::say_goodbye;
use super::wire::Wire;
use crate::Limits;
use crate::limits::STREAMS_MAX;
use crate::worker::Worker;
#[cfg(test)]
pub(crate) use block::Block;
use session::Session;

/// Serves a connection to its end.
pub(crate) async fn serve(io: ServerStream<TcpStream>, connection: Rc<Connection>, worker: Rc<Worker>) {
    connection.carry_many();
    let wire = Wire::new(io, Rc::clone(&connection), Rc::clone(&worker));
    let session = Open(Session::new(wire, Rc::clone(&connection), Rc::clone(&worker)));
    let speak = || poll_fn(|cx| session.0.poll(cx));
    let result = tokio::select! {
        biased;
        result = speak() => result,
        () = end_of_interest(&connection, &worker) => {
            // Nothing is asked, and nobody can say that it knows: there is no preface, or no end of the handshake.
            if !session.0.has_begun() || connection.is_overdue() && !connection.is_busy() {
                Ok(())
            } else {
                session.0.leave();
                tokio::select! {
                    biased;
                    result = speak() => result,
                    () = end_of_patience(&connection, &worker) => return worker.counters.visitors.too_slow.add(1),
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::trace!(peer = %connection.peer, %error, "connection broke");
    }
    // In boxes, so that a connection that goes on has no room for it.
    if let Some(io) = Box::pin(session.0.finish()).await {
        Box::pin(say_goodbye(io.into_inner(), &connection.turn, &worker.limits)).await;
    }
}

/// A connection whose streams end with it, however that ends.
struct Open(Rc<Session>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Returns when the connection should take no more requests: the plane drains, nothing was asked for long, or so much was
/// asked that its visitor should make a new one.
async fn end_of_interest(connection: &Connection, worker: &Worker) {
    tokio::select! {
        () = quiet(connection, worker.limits.idle_time) => {}
        () = worker.ends_for(connection) => {}
        () = connection.worn() => worker.counters.visitors.worn.add(1),
        () = connection.overdue() => worker.counters.visitors.handshakes_failed.add(1),
    }
}

/// Returns when a visitor that was told to leave does not: what it has left to take it does not take, or it asks for more
/// than it can have asked for before it knew.
async fn end_of_patience(connection: &Connection, worker: &Worker) {
    let Limits { stall_time, linger_time, .. } = worker.limits;
    // Whose handshake is not over cannot say that it knows.
    let patience = if connection.is_overdue() { linger_time } else { stall_time };
    let asked = connection.begun();
    let asks_on = poll_fn(|_| match connection.begun() - asked > STREAMS_MAX {
        true => Poll::Ready(()),
        // This task runs whenever a request comes.
        false => Poll::Pending,
    });
    tokio::select! {
        () = quiet(connection, patience) => {}
        () = asks_on => {}
    }
}

/// Returns when no request was under way for so long.
async fn quiet(connection: &Connection, time: Duration) {
    let mut due = Instant::now() + time;
    loop {
        tokio::time::sleep_until(due).await;
        due = match connection.is_busy() {
            true => Instant::now() + time,
            false if connection.quiet_since() + time <= Instant::now() => return,
            false => connection.quiet_since() + time,
        };
    }
}
