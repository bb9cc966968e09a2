//! Bytes both ways between a client and an origin, unaltered, until both have said that they will say no more.
//!
//! Each direction ends on its own ("half-close", RFC 9293 §3.6). Who is slow is waited for: nothing more is read for him
//! than one buffer holds. A reset on one side becomes a reset on the other, so that nobody takes a broken stream for a
//! whole one.

mod copy;
mod plain;

use std::io;
use std::task::Poll;

use bartizan_exchange::Io;
use bartizan_tls::{ClientStream, ServerStream};
use tokio::net::TcpStream;

use crate::session::{End, Session, Traffic};
use crate::worker::Worker;

/// The client's side of a connection.
pub(crate) enum Client {
    Plain(TcpStream),
    Tls(Box<ServerStream<TcpStream>>),
}

/// The origin's side.
pub(crate) enum Origin {
    Plain(TcpStream),
    Tls(Box<ClientStream<TcpStream>>),
    /// What lies behind a tunnel.
    Stream(Box<dyn Io>),
    TlsStream(Box<ClientStream<Box<dyn Io>>>),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Both had said all.
    Finished,
    ClientReset,
    OriginReset,
    Ended(End),
}

impl Client {
    /// Resets the connection: the other side sees an error, not an end.
    pub(crate) fn reset(self) {
        let socket = match &self {
            Client::Plain(socket) => socket,
            Client::Tls(stream) => stream.io(),
        };
        reset_on_close(socket);
    }

    fn io(&mut self) -> &mut dyn Io {
        match self {
            Client::Plain(socket) => socket,
            Client::Tls(stream) => stream,
        }
    }
}

impl Origin {
    fn reset(self) {
        match &self {
            Origin::Plain(socket) => reset_on_close(socket),
            Origin::Tls(stream) => reset_on_close(stream.io()),
            // Dropped without a shutdown, which is how a tunnel learns of a reset.
            Origin::Stream(_) | Origin::TlsStream(_) => {}
        }
    }

    fn io(&mut self) -> &mut dyn Io {
        match self {
            Origin::Plain(socket) => socket,
            Origin::Tls(stream) => stream,
            Origin::Stream(stream) => stream,
            Origin::TlsStream(stream) => stream,
        }
    }
}

/// Closing this socket sends a reset.
pub(crate) fn reset_on_close(socket: &TcpStream) {
    // Fails only on a socket that is gone already.
    let _ = socket.set_zero_linger();
}

/// Carries a connection to its end.
pub(crate) async fn relay(mut client: Client, mut origin: Origin, session: &Session, worker: &Worker) -> Outcome {
    // With none at all nothing would ever move.
    let held_max = worker.limits().held_bytes.max(1);
    let outcome = match (&mut client, &mut origin) {
        (Client::Plain(client), Origin::Plain(origin)) => plain::relay(client, origin, session, worker, held_max).await,
        (client, origin) => copy::relay(client.io(), origin.io(), session, worker, held_max).await,
    };
    match outcome {
        Outcome::Finished | Outcome::Ended(End::Idle) => {}
        Outcome::ClientReset => origin.reset(),
        Outcome::OriginReset => client.reset(),
        Outcome::Ended(End::Blocked | End::Removed | End::Displaced) => {
            client.reset();
            origin.reset();
        }
    }
    outcome
}

/// How far a direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Reading,
    /// There is nothing more to read; what is held goes out, and then the end.
    Ending,
    Done,
}

/// Which end of a direction broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    From,
    To,
}

/// What the states of both directions say of the whole.
fn outcome_of(up: Poll<Result<(), Broken>>, down: Poll<Result<(), Broken>>, traffic: &Traffic) -> Poll<Outcome> {
    match (up, down) {
        (Poll::Ready(Err(Broken::From)), _) | (_, Poll::Ready(Err(Broken::To))) => Poll::Ready(Outcome::ClientReset),
        (Poll::Ready(Err(Broken::To)), _) | (_, Poll::Ready(Err(Broken::From))) => Poll::Ready(Outcome::OriginReset),
        (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Outcome::Finished),
        (Poll::Pending, Poll::Pending) => Poll::Pending,
        _ => {
            traffic.half_close();
            Poll::Pending
        }
    }
}

/// Whether an error is only a way of saying "not now".
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether an error is only a way of saying "no more": TLS without its closing alert, which many clients never send.
/// We may not withhold their end from the origin, and a reset could destroy what they sent before.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}
