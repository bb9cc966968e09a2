//! Bytes come in and the connector becomes known: admission, handshake, registration.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bartizan_live::Live;
use bartizan_observed::Connection;
use bartizan_quotas::{Over, Rarely};
use bartizan_rpc::{Call, Refused, Registered, Registration, RpcThread, serve_registration};
use quinn::{Endpoint, Incoming};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use crate::admission::{Address, Sources, authorize};
use crate::counters::{Counters, count};
use crate::link::Link;
use crate::pipeline::{self, Arrived, ControlStream};
use crate::registry::Registry;
use crate::{Config, transport};

/// Open connections: ten thousand connectors with four each, and some.
const CONNECTIONS_MAX: usize = 1 << 16;
/// Connections that shake hands or have not registered yet.
const REGISTERING_MAX: usize = 512;
/// From so many on, a source must first prove its address (RFC 9000 §8.1.2).
const REGISTERING_UNPROVEN: usize = 64;
/// For the handshake. The stock connector gives up as early.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// From the handshake to the registration call. A connector calls at once.
const REGISTER_MAX: Duration = Duration::from_secs(5);
/// How long a refused connector may take to read why.
const REFUSED_LINGER: Duration = Duration::from_secs(2);
/// Calls of one connector that wait for their answer.
const CALLS_MAX: usize = 4;

/// What every connection of the plane needs.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) live: Live<Config>,
    pub(crate) rpc: RpcThread,
    pub(crate) registry: Registry,
    pub(crate) counters: Arc<Counters>,
    open: Arc<Semaphore>,
    registering: Arc<Semaphore>,
    sources: Arc<Sources>,
}

impl Edge {
    pub(crate) fn new(live: Live<Config>, rpc: RpcThread, registry: Registry, counters: Arc<Counters>) -> Edge {
        let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let registering = Arc::new(Semaphore::new(REGISTERING_MAX));
        let sources = Arc::new(Sources::new(Instant::now()));
        Edge { live, rpc, registry, counters, open, registering, sources }
    }
}

/// Accepts connections until the endpoint closes, with the certificate that is in force.
pub(crate) async fn accept(endpoint: Endpoint, edge: Edge) {
    let mut changes = edge.live.changes();
    let mut presented = None;
    loop {
        follow_certificate(&endpoint, &edge, &mut presented);
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => admit(incoming, &edge),
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
    match snapshot.value.certificate.as_ref().map(transport::server_config).transpose() {
        Ok(config) => endpoint.set_server_config(config),
        Err(error) => tracing::error!(%error, "the certificate for tunnels cannot be used; the old one stays"),
    }
}

fn admit(incoming: Incoming, edge: &Edge) {
    let proven = incoming.remote_address_validated();
    let address = if proven { Address::Proven } else { Address::Unproven };
    let free = edge.registering.available_permits();
    let busy = free < REGISTERING_MAX - REGISTERING_UNPROVEN;
    let source = edge.sources.admit(incoming.remote_address().ip(), address, free);
    if !proven && (busy || source.is_err()) {
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
                count(&edge.counters.unregistered);
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
    #[error("no handshake within {HANDSHAKE_MAX:?}")]
    HandshakeTime,
    #[error("no registration within {REGISTER_MAX:?}")]
    RegisterTime,
    #[error("the control stream is not one")]
    Nonsense,
    #[error("refused: {0}")]
    Refused(Refused),
}

async fn arrive(incoming: Incoming, edge: &Edge) -> Result<Arrived, ArrivalError> {
    let quic = timeout(HANDSHAKE_MAX, incoming.accept()?).await.map_err(|_| ArrivalError::HandshakeTime)??;
    match timeout(REGISTER_MAX, first_call(&quic, edge)).await {
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
        Box::pin(async move { rpc.run(move || serve_registration(receive, send, calls)).await.map(drop) });
    tokio::select! {
        _ = &mut served => Err(ArrivalError::Nonsense),
        call = received.recv() => match call {
            Some(Call::Register(registration, reply)) => {
                Ok((registration, reply, ControlStream { calls: received, served }))
            }
            _ => Err(ArrivalError::Nonsense),
        },
    }
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
            refuse(quic, refused.clone(), reply, control).await;
            return Err(ArrivalError::Refused(refused));
        }
    };
    let secret_sha256 = tunnel.secret_sha256;
    let facts = facts(registration, source, &snapshot.value.location);
    let registered = Registered {
        connection: facts.connection,
        location: facts.location.clone(),
        remotely_managed: tunnel.remotely_managed,
    };
    tracing::info!(
        tunnel = %facts.tunnel, connector = %facts.connector, index = facts.index, %source, version = facts.version,
        "a connector registered"
    );
    let (link, ended) = Link::new(quic, facts);
    edge.registry.add(Arc::clone(&link)).await;
    if pipeline::has_its_rules(&link, tunnel) {
        // Before the answer: a connector that knows that it is connected can be reached.
        edge.registry.serve(Arc::clone(&link)).await;
    }
    count(&edge.counters.registered);
    let _ = reply.send(Ok(registered));
    Ok(Arrived { link, control, ended, secret_sha256 })
}

/// Answers that it is refused, and lets the connector close the connection.
async fn refuse(
    quic: quinn::Connection,
    refused: Refused,
    reply: oneshot::Sender<Result<Registered, Refused>>,
    control: ControlStream,
) {
    let _ = reply.send(Err(refused));
    // The control stream is served on, or the answer would not leave.
    let _ = timeout(REFUSED_LINGER, async { tokio::join!(control.served, quic.closed()) }).await;
    quic.close(0_u32.into(), b"Unauthorized");
}

fn facts(registration: Registration, origin_ip: IpAddr, location: &str) -> Connection {
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
        opened_at: SystemTime::now().into(),
        location: location.to_owned(),
        uploaded: None,
    }
}

fn random_uuid() -> Uuid {
    let mut bytes = [0; 16];
    // Without a source of randomness no handshake would have come this far.
    getrandom::fill(&mut bytes).expect("the system has randomness");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
