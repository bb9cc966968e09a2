//! UDP through the tunnel: a connected socket for each session that the edge asks for.
//!
//! ```text
//! edge ─ datagrams, calls ─► owner: the sessions of one connection ─┬─ a task a session ─ UDP socket ─► origin
//!                            (registers, hands payloads over)       └─ …
//! ```
//! A session ends when the edge says so, when it is idle, when the origin's port is closed, and with the connection to
//! the edge. Datagrams that are too large or come too fast are dropped, as on any network. The edge decides which
//! addresses may be reached, as for TCP. ICMP is not carried.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bartizan_dial::OriginDialer;
use bartizan_quotas::Rarely;
use bartizan_rpc::{
    Answer, Datagram, DatagramVersion, Ends, RpcThread, SessionCall, SessionId, UdpSession, encode_answer, encode_end,
    encode_payload, unregister_session,
};
use bytes::Bytes;
use quinn::SendDatagramError;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::ingress::Shared;
use crate::limits::{CALLS_MAX, IDLE_DEFAULT, IDLE_MAX, PAYLOAD_BYTES_MAX, SESSIONS_MAX, WAITING_MAX};

/// Hands calls about sessions to the owner.
pub(crate) type Calls = mpsc::Sender<SessionCall>;

/// The sessions of one connection, and how to call.
pub(crate) fn sessions(quic: quinn::Connection, version: DatagramVersion, shared: &Shared) -> (Owner, Calls) {
    let (calls, received) = mpsc::channel(CALLS_MAX);
    let Shared { rpc, origins, limits, .. } = shared.clone();
    let edge = Edge { quic, version, rpc, call_time: limits.call_time };
    (Owner { edge, origins, calls: received, open: HashMap::new(), running: JoinSet::new() }, calls)
}

/// The way back.
#[derive(Clone)]
struct Edge {
    quic: quinn::Connection,
    version: DatagramVersion,
    rpc: RpcThread,
    /// For telling it of an end.
    call_time: Duration,
}

/// Owns all sessions of one connection.
pub(crate) struct Owner {
    edge: Edge,
    origins: Arc<OriginDialer>,
    calls: mpsc::Receiver<SessionCall>,
    open: HashMap<SessionId, mpsc::Sender<Outgoing>>,
    running: JoinSet<SessionId>,
}

/// What a session's task is told.
enum Outgoing {
    Payload(Bytes),
    /// The edge asked for the session again: it is not idle.
    Again,
}

impl Owner {
    /// Works until the connection ends, and all sessions with it.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                datagram = self.edge.quic.read_datagram() => match datagram {
                    Ok(datagram) => self.take(datagram),
                    Err(_) => return,
                },
                Some(call) = self.calls.recv() => self.answer(call),
                Some(ended) = self.running.join_next() => self.forget(ended.ok()),
            }
        }
    }

    /// Hot: once a datagram.
    fn take(&mut self, datagram: Bytes) {
        match Datagram::decode(self.edge.version, datagram) {
            Ok(Datagram::Payload(id, payload)) => self.hand_over(id, Outgoing::Payload(payload)),
            Ok(Datagram::Register(session, ends, payload)) => {
                let id = session.id;
                let answer = self.register(session, ends).map_or_else(|refused| refused, |()| Answer::Registered);
                // A lost answer is asked for again.
                let _ = self.edge.quic.send_datagram(encode_answer(id, &answer));
                if let Some(payload) = payload {
                    self.hand_over(id, Outgoing::Payload(payload));
                }
            }
            Ok(Datagram::End(id)) => drop(self.open.remove(&id)),
            Ok(Datagram::Answer(..) | Datagram::Other) => {}
            Err(error) => tracing::trace!(%error, "a datagram from the edge"),
        }
    }

    fn hand_over(&self, id: SessionId, what: Outgoing) {
        if let Some(session) = self.open.get(&id) {
            // A full queue loses it.
            let _ = session.try_send(what);
        }
    }

    fn answer(&mut self, call: SessionCall) {
        match call {
            SessionCall::Register(session, reply) => {
                let answer = match self.edge.version {
                    DatagramVersion::V2 => self.register(session, Ends::Silent).map_err(|refused| text(&refused)),
                    DatagramVersion::V3 => Err("sessions are registered by datagrams here".to_owned()),
                };
                let _ = reply.send(answer);
            }
            SessionCall::Unregister(id, _, reply) => {
                self.open.remove(&id);
                let _ = reply.send(());
            }
        }
    }

    fn register(&mut self, session: UdpSession, ends: Ends) -> Result<(), Answer> {
        if self.open.get(&session.id).is_some_and(|open| !open.is_closed()) {
            self.hand_over(session.id, Outgoing::Again);
            return Ok(());
        }
        if self.running.len() >= SESSIONS_MAX {
            static REFUSED: Rarely = Rarely::new();
            if let Some(times) = REFUSED.turn() {
                tracing::warn!(times, "a UDP session was refused: {SESSIONS_MAX} are open on this connection");
            }
            return Err(Answer::TooMany);
        }
        // Inside of an edge not every address may be reached.
        self.origins.for_datagrams(vec![vec![session.destination]]).map_err(|_| Answer::Unreachable)?;
        let socket = connect(session.destination)?;
        let (outgoing, received) = mpsc::channel(WAITING_MAX);
        self.open.insert(session.id, outgoing);
        self.running.spawn(serve(session, ends, socket, received, self.edge.clone()));
        Ok(())
    }

    /// Drops the entry of a session whose task has ended, if the id was not taken again.
    fn forget(&mut self, ended: Option<SessionId>) {
        match ended {
            Some(id) => {
                if self.open.get(&id).is_some_and(mpsc::Sender::is_closed) {
                    self.open.remove(&id);
                }
            }
            // It panicked, and the id is lost with it.
            None => self.open.retain(|_, session| !session.is_closed()),
        }
    }
}

/// A socket that talks to this address only.
fn connect(destination: SocketAddr) -> Result<UdpSocket, Answer> {
    let any = match destination {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let bound = std::net::UdpSocket::bind((any, 0)).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    let socket = bound.map_err(|_| Answer::CannotBind)?;
    socket.connect(destination).map_err(|_| Answer::Unreachable)?;
    UdpSocket::from_std(socket).map_err(|_| Answer::CannotBind)
}

/// Why there is no session, in words.
fn text(refused: &Answer) -> String {
    match refused {
        Answer::Registered => String::new(),
        Answer::Unreachable => "the address cannot be reached".to_owned(),
        Answer::CannotBind => "no socket is left".to_owned(),
        Answer::TooMany => "too many sessions".to_owned(),
        Answer::Failed(why) => why.clone(),
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the edge ended it")]
    Edge,
    #[error("session idle for {0:?}")]
    Idle(Duration),
    #[error("the origin cannot be reached: {0}")]
    Origin(io::Error),
    #[error("the connection to the edge ended")]
    Connection,
}

async fn serve(
    session: UdpSession,
    ends: Ends,
    socket: UdpSocket,
    received: mpsc::Receiver<Outgoing>,
    edge: Edge,
) -> SessionId {
    let idle = if session.idle.is_zero() { IDLE_DEFAULT } else { session.idle.min(IDLE_MAX) };
    let end = carry(session.id, idle, &socket, received, &edge).await;
    tracing::debug!(destination = %session.destination, "a UDP session ended: {end}");
    if let End::Idle(_) | End::Origin(_) = end {
        // Its port may be taken by the next one while the edge is told.
        drop(socket);
        tell(session.id, ends, &end.to_string(), &edge).await;
    }
    session.id
}

/// Carries payloads both ways until the session ends.
async fn carry(
    id: SessionId,
    idle: Duration,
    socket: &UdpSocket,
    mut received: mpsc::Receiver<Outgoing>,
    edge: &Edge,
) -> End {
    let mut payload = [0; PAYLOAD_BYTES_MAX + 1];
    let silence = sleep_until(Instant::now() + idle);
    tokio::pin!(silence);
    loop {
        let step = tokio::select! {
            outgoing = received.recv() => match outgoing {
                None => return End::Edge,
                Some(Outgoing::Again) => Ok(()),
                Some(Outgoing::Payload(payload)) => send_out(socket, &payload).await,
            },
            incoming = socket.recv(&mut payload) => match incoming {
                Ok(count) => send_back(id, &payload[..count], edge),
                Err(error) => Err(End::Origin(error)),
            },
            () = &mut silence => return End::Idle(idle),
        };
        if let Err(end) = step {
            return end;
        }
        silence.as_mut().reset(Instant::now() + idle);
    }
}

async fn send_out(socket: &UdpSocket, payload: &[u8]) -> Result<(), End> {
    match socket.send(payload).await {
        Ok(_) => Ok(()),
        // An answer to an earlier datagram: nobody listens there.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(End::Origin(error)),
        // This one is lost, such as one too large for the network; the next may not be.
        Err(error) => {
            tracing::trace!(%error, "a datagram to an origin");
            Ok(())
        }
    }
}

fn send_back(id: SessionId, payload: &[u8], edge: &Edge) -> Result<(), End> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    match edge.quic.send_datagram(encode_payload(edge.version, id, payload)) {
        // The path takes less than the origin sends.
        Ok(()) | Err(SendDatagramError::TooLarge) => Ok(()),
        Err(_) => Err(End::Connection),
    }
}

/// Tells the edge that a session has ended. If the message is lost, the edge's own idle timeout ends the flow.
async fn tell(id: SessionId, ends: Ends, why: &str, edge: &Edge) {
    match (edge.version, ends) {
        (DatagramVersion::V3, Ends::Told) => {
            let _ = edge.quic.send_datagram(encode_end(id));
        }
        (DatagramVersion::V3, Ends::Silent) => {}
        (DatagramVersion::V2, _) => {
            let why = why.to_owned();
            let call = async {
                let (send, receive) = edge.quic.open_bi().await.ok()?;
                edge.rpc.run(move || async move { unregister_session(receive, send, id, &why).await }).await.ok()
            };
            let _ = timeout(edge.call_time, call).await;
        }
    }
}
