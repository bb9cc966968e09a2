//! Bytes in both directions between a client and an origin, unchanged, until both have sent their end.
//!
//! Each direction ends on its own ("half-close", RFC 9293 §3.6). A slow reader is waited for: no more is read for it
//! than one buffer holds. A reset on one side becomes a reset on the other, so that a broken stream is never taken for
//! a complete one. But not before the other side has what the first had said to its end: a server may answer, end and be
//! gone while its client still sends.

mod copy;
mod plain;

use std::io;
use std::task::Poll;

use bartizan_exchange::Io;
use bartizan_net::LeastRate;
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
    /// Both directions have ended in order.
    Finished,
    ClientReset,
    OriginReset,
    /// The client was gone after all that it had to say, which may still be under way to the origin.
    ClientLeft,
    /// The same of the origin.
    OriginLeft,
    Ended(End),
}

impl Client {
    /// Resets the connection: the other side sees an error, not an end.
    pub(crate) fn reset(self) {
        reset_on_close(self.socket());
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Client::Plain(socket) => socket,
            Client::Tls(stream) => stream.io(),
        }
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
        // What is behind a tunnel is dropped without a shutdown: that is how a tunnel learns of a reset.
        self.socket().into_iter().for_each(reset_on_close);
    }

    /// None behind a tunnel.
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Origin::Plain(socket) => Some(socket),
            Origin::Tls(stream) => Some(stream.io()),
            Origin::Stream(_) | Origin::TlsStream(_) => None,
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

/// Closing this socket will send a reset (`SO_LINGER` of 0).
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
        // The kernel delivers what is under way, as long as there is one: in a container it ends with us.
        Outcome::Finished if worker.is_draining() => {
            delivered(client.socket(), session, worker).await;
            if let Some(origin) = origin.socket() {
                delivered(origin, session, worker).await;
            }
        }
        Outcome::Finished | Outcome::Ended(End::Idle) => {}
        Outcome::ClientLeft => {
            if let Some(socket) = origin.socket() {
                delivered(socket, session, worker).await;
            }
            origin.reset();
        }
        Outcome::OriginLeft => {
            delivered(client.socket(), session, worker).await;
            client.reset();
        }
        Outcome::ClientReset => origin.reset(),
        Outcome::OriginReset => client.reset(),
        Outcome::Ended(End::Blocked | End::Removed | End::Displaced | End::Memory | End::Stopped) => {
            client.reset();
            origin.reset();
        }
    }
    outcome
}

/// Waits until the peer has all that was written to it, for as long as that goes on: not longer than a connection may be half
/// closed, unless what it takes buys that time back, nor after the session was told to end.
async fn delivered(socket: &TcpStream, session: &Session, worker: &Worker) {
    // Told to end: it is reset by who called, or closed.
    let all = bartizan_net::delivered(socket, LeastRate::with_stall(worker.limits().half_closed_time));
    let _ = session.cancel.unless_triggered(all).await;
}

/// The state of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Reading,
    /// The reader has ended; what is buffered still goes out, and then the end.
    Ending,
    Done,
}

/// Which end of a direction broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    From,
    To,
}

/// The state of the whole connection, from those of both directions.
fn outcome_of(up: Poll<Result<(), Broken>>, down: Poll<Result<(), Broken>>, traffic: &Traffic) -> Poll<Outcome> {
    match (up, down) {
        (Poll::Ready(Ok(())), Poll::Ready(Err(Broken::To))) => Poll::Ready(Outcome::ClientLeft),
        (Poll::Ready(Err(Broken::To)), Poll::Ready(Ok(()))) => Poll::Ready(Outcome::OriginLeft),
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

/// Whether an error only means that nothing can be done now.
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether an error only means the end: TLS without a `close_notify` alert (RFC 8446 §6.1), which many clients never
/// send. The origin must still see the end, and a reset could destroy bytes that were sent before it.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}
