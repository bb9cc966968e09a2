//! Bytes come in and the connector becomes known: admission, handshake, registration.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bartizan_live::Live;
use bartizan_observed::{Connection, LastAnswer};
use bartizan_quic::{Inboxes, Unproven, first_window};
use bartizan_quotas::{Over, Rarely};
use bartizan_rpc::{Call, Refused, Registered, Registration, RpcThread, serve_registration};
use quinn::{Endpoint, Incoming};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use crate::admission::{Address, Sources, authorize};
use crate::counters::{Counters, count};
use crate::limits::{CALLS_MAX, COME_AGAIN, Limits, REGISTERING_MAX, REGISTERING_UNPROVEN};
use crate::link::Link;
use crate::pipeline::{self, Arrived, ControlStream};
use crate::registry::{Place, Registry};
use crate::{Config, transport};

/// What every connection of the plane needs.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) live: Live<Config>,
    pub(crate) rpc: RpcThread,
    /// For what waits for connections.
    inboxes: Inboxes,
    pub(crate) registry: Registry,
    pub(crate) counters: Arc<Counters>,
    pub(crate) limits: Limits,
    /// How much visitors may leave unread.
    memory: u64,
    open: Arc<Semaphore>,
    registering: Arc<Semaphore>,
    sources: Arc<Sources>,
}

impl Edge {
    pub(crate) fn new(
        live: Live<Config>,
        (rpc, inboxes): (RpcThread, Inboxes),
        registry: Registry,
        counters: Arc<Counters>,
        limits: Limits,
        memory: u64,
    ) -> Edge {
        let open = Arc::new(Semaphore::new(limits.connections));
        let registering = Arc::new(Semaphore::new(REGISTERING_MAX));
        let sources = Arc::new(Sources::new(Instant::now()));
        Edge { live, rpc, inboxes, registry, counters, limits, memory, open, registering, sources }
    }
}

/// Accepts connections until the endpoint closes, with the certificate that is in force.
pub(crate) async fn accept(endpoint: Endpoint, edge: Edge) {
    let mut changes = edge.live.changes();
    let mut presented = None;
    let mut unproven = Unproven::new(Instant::now());
    loop {
        follow_certificate(&endpoint, &edge, &mut presented);
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => admit(incoming, &mut unproven, &edge),
                None => return,
            },
            Ok(()) = changes.changed() => {}
        }
    }
}

/// Presents another certificate from now on. Connections that are open keep theirs.
fn follow_certificate(endpoint: &Endpoint, edge: &Edge, presented: &mut Option<Vec<u8>>) {
    let snapshot = edge.live.snapshot();
    let leaf = snapshot.value.certificate.as_ref().map(|certificate| certificate.leaf());
    if leaf == presented.as_deref() {
        return;
    }
    *presented = leaf.map(<[u8]>::to_vec);
    let config = |certificate| transport::server_config(certificate, edge.memory);
    match snapshot.value.certificate.as_ref().map(config).transpose() {
        Ok(config) => endpoint.set_server_config(config),
        Err(error) => tracing::error!(%error, "the certificate for tunnels cannot be used; the old one stays"),
    }
}

fn admit(incoming: Incoming, unproven: &mut Unproven, edge: &Edge) {
    let proven = incoming.remote_address_validated();
    let address = if proven { Address::Proven } else { Address::Unproven };
    let free = edge.registering.available_permits();
    let busy = free < REGISTERING_MAX - REGISTERING_UNPROVEN;
    let source = edge.sources.admit(incoming.remote_address().ip(), address, free);
    if !proven && (busy || source.is_err() || !unproven.begin(Instant::now())) {
        // The client comes back with a token (RFC 9000 §8.1.2). If this packet is lost, it tries again.
        count(&edge.counters.retried);
        let _ = incoming.retry();
        return;
    }
    let source = match source {
        Ok(source) => source,
        Err(over) => {
            count(if over == Over::Full { &edge.counters.full } else { &edge.counters.source_limited });
            return incoming.refuse();
        }
    };
    let permits = (Arc::clone(&edge.open).try_acquire_owned(), Arc::clone(&edge.registering).try_acquire_owned());
    let (Ok(open), Ok(registering)) = permits else {
        count(&edge.counters.full);
        return incoming.refuse();
    };
    let edge = edge.clone();
    tokio::spawn(async move {
        let from = incoming.remote_address();
        match arrive(incoming, &edge).await {
            Ok(arrived) => {
                drop((registering, source));
                pipeline::serve(arrived, edge).await;
            }
            Err(error) => {
                // Not a warning: scans and pre-checks of stock connectors end here too.
                tracing::debug!(source = %from, %error, "a connection did not register");
                if !matches!(error, ArrivalError::Refused(_)) {
                    count(&edge.counters.unregistered);
                }
            }
        }
        drop(open);
    });
}

/// The connection did not come to a registration.
#[derive(Debug, thiserror::Error)]
enum ArrivalError {
    #[error("the handshake failed: {0}")]
    Handshake(#[from] quinn::ConnectionError),
    #[error("no handshake in time")]
    HandshakeTime,
    #[error("no registration in time")]
    RegisterTime,
    #[error("the control stream is not one")]
    Nonsense,
    #[error("refused: {0}")]
    Refused(Refused),
}

async fn arrive(incoming: Incoming, edge: &Edge) -> Result<Arrived, ArrivalError> {
    let Limits { handshake_time, register_time, .. } = edge.limits;
    let (from, first) = (incoming.remote_address(), incoming.orig_dst_cid());
    let connecting = edge.inboxes.accept(from, first, || incoming.accept())?;
    let quic = timeout(handshake_time, connecting).await.map_err(|_| ArrivalError::HandshakeTime)??;
    match timeout(register_time, first_call(&quic, edge)).await {
        Ok(Ok((registration, reply, control))) => register(quic, *registration, reply, control, edge).await,
        Ok(Err(error)) => Err(error),
        Err(_) => {
            quic.close(0_u32.into(), b"no registration in time");
            Err(ArrivalError::RegisterTime)
        }
    }
}

type RegisterCall = (Box<Registration>, oneshot::Sender<Result<Registered, Refused>>, ControlStream);

/// Serves the connection's first stream as its control stream, and waits for the call to register.
async fn first_call(quic: &quinn::Connection, edge: &Edge) -> Result<RegisterCall, ArrivalError> {
    let (send, receive) = quic.accept_bi().await?;
    let (calls, mut received) = mpsc::channel(CALLS_MAX);
    let rpc = edge.rpc.clone();
    let mut served: pipeline::Served =
        Box::pin(async move { rpc.run(move || serve_registration(receive, send, calls)).await });
    tokio::select! {
        _ = &mut served => Err(ArrivalError::Nonsense),
        () = throw_away(quic) => Err(ArrivalError::Nonsense),
        call = received.recv() => match call {
            Some(Call::Register(registration, reply)) => {
                Ok((registration, reply, ControlStream { calls: received, served }))
            }
            _ => Err(ArrivalError::Nonsense),
        },
    }
}

/// Takes the datagrams of who is not known, or they would hold more than they count for. Returns when the connection is over.
async fn throw_away(quic: &quinn::Connection) {
    while quic.read_datagram().await.is_ok() {}
}

async fn register(
    quic: quinn::Connection,
    registration: Registration,
    reply: oneshot::Sender<Result<Registered, Refused>>,
    control: ControlStream,
    edge: &Edge,
) -> Result<Arrived, ArrivalError> {
    let snapshot = edge.live.snapshot();
    let source = quic.remote_address().ip().to_canonical();
    let tunnel = match authorize(&registration, &snapshot.value.tunnels) {
        Ok(tunnel) => tunnel,
        Err(refused) => {
            count(&edge.counters.unauthorized);
            static REFUSED: Rarely = Rarely::new();
            if let Some(times) = REFUSED.turn() {
                tracing::warn!(%source, tunnel = %registration.tunnel, times, "refused a connector: {refused}");
            }
            return Err(refuse(&quic, refused, reply, control, edge).await);
        }
    };
    let secret_sha256 = tunnel.secret_sha256;
    let facts = facts(registration, source, &snapshot.value);
    let registered = Registered {
        connection: facts.connection,
        location: facts.location.clone(),
        remotely_managed: tunnel.remotely_managed,
    };
    let (link, ended) = Link::new(quic, facts, edge.limits, Arc::clone(&edge.counters));
    let facts = &link.facts;
    if edge.registry.add(Arc::clone(&link)).await == Place::Full {
        count(&edge.counters.tunnel_limited);
        static FULL: Rarely = Rarely::new();
        if let Some(times) = FULL.turn() {
            tracing::warn!(
                %source, tunnel = %facts.tunnel, connector = %facts.connector, times,
                "refused a connector: its tunnel has all the connections that it may have"
            );
        }
        return Err(refuse(&link.quic, full(edge.limits.tunnel_connections), reply, control, edge).await);
    }
    // Until the next look.
    link.quic.set_receive_window(first_window(edge.memory));
    tracing::info!(
        tunnel = %facts.tunnel, connector = %facts.connector, index = facts.index, %source, version = facts.version,
        "a connector registered"
    );
    if pipeline::has_its_rules(&link, tunnel) {
        // Before the answer: a connector that knows that it is connected can be reached.
        edge.registry.serve(Arc::clone(&link)).await;
    }
    count(&edge.counters.registered);
    let _ = reply.send(Ok(registered));
    Ok(Arrived { link, control, ended, secret_sha256 })
}

/// Of a tunnel with so many connections. Stock connectors come again if they are told when, and else stop for good.
fn full(connections: usize) -> Refused {
    let cause = format!("this tunnel has {connections} connections, and may not have more: stop a connector of it");
    Refused { cause, retry_after: Some(COME_AGAIN) }
}

/// Answers that it is refused, and lets the connector close the connection.
async fn refuse(
    quic: &quinn::Connection,
    refused: Refused,
    reply: oneshot::Sender<Result<Registered, Refused>>,
    control: ControlStream,
    edge: &Edge,
) -> ArrivalError {
    let _ = reply.send(Err(refused.clone()));
    // The control stream is served on, or the answer would not leave.
    let _ = timeout(edge.limits.refused_time, async { tokio::join!(control.served, throw_away(quic)) }).await;
    quic.close(0_u32.into(), b"refused");
    ArrivalError::Refused(refused)
}

fn facts(registration: Registration, origin_ip: IpAddr, config: &Config) -> Connection {
    let connector = registration.connector;
    Connection {
        tunnel: registration.tunnel,
        connector: connector.id,
        connection: random_uuid(),
        index: registration.index,
        version: connector.version,
        arch: connector.arch,
        features: connector.features,
        origin_ip,
        opened_at: config.clock.now(),
        location: config.location.clone(),
        uploaded: None,
        service: LastAnswer::default(),
    }
}

fn random_uuid() -> Uuid {
    let mut bytes = [0; 16];
    // Without a source of randomness no handshake would have come this far.
    getrandom::fill(&mut bytes).expect("the system has randomness");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
