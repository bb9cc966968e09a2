//! How long a connection with streams is of interest, and how long one that was told to leave may stay.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use crate::Limits;
use crate::limits::STREAMS_MAX;
use crate::worker::Worker;

/// Returns when the connection should take no more requests: the plane drains, nothing was asked for long, or so much was
/// asked that its visitor should make a new one.
pub(super) async fn end_of_interest(connection: &Connection, worker: &Worker) {
    tokio::select! {
        () = quiet(connection, worker.limits.idle_time) => {}
        () = worker.ends_for(connection) => {}
        () = connection.worn() => worker.counters.visitors.worn.add(1),
        () = connection.overdue() => worker.counters.visitors.handshakes_failed.add(1),
    }
}

/// Returns when a visitor that was told to leave does not: what it has left to take it does not take, or it asks for more
/// than it can have asked for before it knew.
pub(super) async fn end_of_patience(connection: &Connection, worker: &Worker) {
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
