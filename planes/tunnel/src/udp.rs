//! One UDP flow through a connector: registered, and then datagrams both ways.
//!
//! ```text
//! version 2   a call on a stream of its own ◄─ yes or why not ─► datagrams
//! version 3   a datagram that asks, and again ◄─ yes or why not ─► datagrams
//! ```
//! The first payload waits for the answer: stock connectors lose one that comes with the registration.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bartizan_exchange::{Datagrams, DialError};
use bartizan_names::{OriginAddress, OriginFault};
use bartizan_rpc::{
    Answer, DatagramVersion, RpcThread, SessionId, UdpSession, encode_payload, encode_register, plain_text,
    register_session,
};
use bytes::Bytes;
use quinn::SendDatagramError;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::counters::{Counters, count};
use crate::limits::{ASK_AGAIN, IDLE_HINT, LOGGED_BYTES_MAX};
use crate::link::Link;
use crate::sessions::{Incoming, Manner};

/// A flow. Dropped, it leaves the connector's tables too.
pub(crate) struct Flow {
    link: Arc<Link>,
    quic: quinn::Connection,
    manner: Manner,
    session: SessionId,
    incoming: mpsc::Receiver<Incoming>,
    counters: Arc<Counters>,
}

/// Begins a flow on this connection, which carries UDP in this manner.
pub(crate) async fn begin(
    link: Arc<Link>,
    manner: Manner,
    origin: &OriginAddress,
    rpc: &RpcThread,
    counters: Arc<Counters>,
) -> Result<Flow, DialError> {
    let destination = address(origin)?;
    let session = random_id();
    let limit = link.limits.call_time;
    let incoming = link.sessions.add(session).map_err(|error| DialError::Broken(error.into()))?;
    let quic = link.carrier.quic().cloned().ok_or(DialError::NoDatagrams)?;
    let mut flow = Flow { link, quic, manner, session, incoming, counters };
    let wanted = UdpSession { id: session, destination, idle: IDLE_HINT };
    let register = async {
        match manner.version {
            DatagramVersion::V2 => flow.call(wanted, rpc).await,
            DatagramVersion::V3 => flow.ask(&wanted).await,
        }
    };
    timeout(limit, register).await.unwrap_or(Err(DialError::TimedOut))?;
    Ok(flow)
}

/// The protocol has no place for a name.
fn address(origin: &OriginAddress) -> Result<SocketAddr, DialError> {
    origin.socket().ok_or_else(|| {
        let why = "UDP needs an address at the connector, not a name";
        DialError::Origin(OriginFault::Unresolved, why.to_owned())
    })
}

fn random_id() -> SessionId {
    let mut bytes = [0; 16];
    // Without a source of randomness there would be no connection.
    getrandom::fill(&mut bytes).expect("the system has randomness");
    SessionId::from_bytes(bytes)
}

impl Flow {
    async fn call(&self, wanted: UdpSession, rpc: &RpcThread) -> Result<(), DialError> {
        let (send, receive) = self.quic.open_bi().await.map_err(broken)?;
        let answer = rpc.run(move || register_session(receive, send, wanted)).await.map_err(broken)?.map_err(broken)?;
        answer.map_err(|why| DialError::Origin(OriginFault::Untold, why))
    }

    async fn ask(&mut self, wanted: &UdpSession) -> Result<(), DialError> {
        loop {
            self.quic.send_datagram(encode_register(wanted, self.manner.ends)).map_err(broken)?;
            match timeout(ASK_AGAIN, self.incoming.recv()).await {
                Ok(Some(Incoming::Answer(answer))) => return registered(answer),
                // Before its answer nothing can come.
                Ok(Some(Incoming::Payload(_))) | Err(_) => {}
                Ok(None) => return Err(broken(self.why_ended())),
            }
        }
    }

    /// Why nothing comes any more.
    fn why_ended(&self) -> io::Error {
        match self.quic.close_reason() {
            Some(reason) => io::Error::new(io::ErrorKind::ConnectionReset, reason),
            None => io::Error::new(io::ErrorKind::ConnectionReset, "the connector ended the session"),
        }
    }

    fn take(&self, incoming: Option<Incoming>) -> Option<io::Result<Option<Bytes>>> {
        match incoming {
            Some(Incoming::Payload(payload)) => Some(Ok(Some(payload))),
            // A second answer to a registration that was sent again.
            Some(Incoming::Answer(_)) => None,
            None if self.quic.close_reason().is_some() => Some(Err(self.why_ended())),
            None => Some(Ok(None)),
        }
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DialError {
    DialError::Broken(error.into())
}

fn registered(answer: Answer) -> Result<(), DialError> {
    let (fault, why) = match answer {
        Answer::Registered => return Ok(()),
        Answer::Unreachable => (OriginFault::Unreachable, "the address cannot be reached".to_owned()),
        Answer::CannotBind => (OriginFault::Untold, "the connector has no socket left".to_owned()),
        Answer::TooMany => (OriginFault::Untold, "the connector has too many UDP sessions".to_owned()),
        Answer::Failed(why) => (OriginFault::Untold, plain_text(why.as_bytes(), LOGGED_BYTES_MAX)),
    };
    Err(DialError::Origin(fault, why))
}

impl Datagrams for Flow {
    /// Never waits: what the path has no room for is lost, the oldest first.
    fn poll_send(&mut self, _: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<()>> {
        let sent = match datagram.len() <= self.manner.payload_bytes_max {
            true => self.quic.send_datagram(encode_payload(self.manner.version, self.session, datagram)),
            false => Err(SendDatagramError::TooLarge),
        };
        Poll::Ready(match sent {
            Ok(()) => Ok(()),
            Err(SendDatagramError::TooLarge) => {
                count(&self.counters.datagrams_oversize);
                Ok(())
            }
            Err(error) => Err(io::Error::new(io::ErrorKind::ConnectionReset, error)),
        })
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let incoming = std::task::ready!(self.incoming.poll_recv(cx));
            if let Some(received) = self.take(incoming) {
                return Poll::Ready(received);
            }
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.link.sessions.leave(self.session, &self.quic, &self.counters);
    }
}
