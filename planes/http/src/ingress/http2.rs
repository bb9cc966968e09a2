//! HTTP/2 from visitors (RFC 9113), on the codec of `base/wire`.
//!
//! ```text
//!              ┌─ frames ─► Connection (base/wire) ─► a task for each stream: Arrived ─► pipeline ─► Reply ─┐
//! session ─────┤                                                                                            ▼
//!              └─ full TLS records ◄──────────────── outlet ◄── heads and data, as windows and room allow ──┘
//! ```
//! While nothing is under way a connection holds no buffer. Streams that have to wait, for room or for a window, are called in
//! their order; priorities are not looked at (RFC 9113 §5.3).

mod reply;
mod session;
mod stream;

use std::future::poll_fn;
use std::rc::Rc;

use bartizan_tls::ServerStream;
use tokio::net::TcpStream;

use super::connection::Connection;
use super::goodbye::say_goodbye;
use super::interest::{end_of_interest, end_of_patience};
use super::wire::Wire;
use crate::worker::Worker;
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
