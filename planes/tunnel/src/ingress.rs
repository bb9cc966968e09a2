//! Bytes come in and the connector becomes known: admission, handshake, registration.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bartizan_live::Live;
use bartizan_observed::{Connection, LastAnswer, Meter, Transport};
use bartizan_quic::{Inboxes, Unproven};
use bartizan_quotas::{Over, Rarely, Shares, SourcePermit};
use bartizan_rpc::{Call, Refused, Registered, Registration, RpcThread, serve_registration, take_tags};
use bartizan_tls::AcceptError;
use quinn::{Endpoint, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use crate::admission::{Address, Sources, authorize};
use crate::counters::{Counters, count};
use crate::http2::{self, Share};
use crate::limits::{CALLS_MAX, COME_AGAIN, Limits, REGISTERING_MAX, REGISTERING_UNPROVEN};
use crate::link::{Carrier, Link};
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
    /// What streams of HTTP/2 may hold.
    pub(crate) share: Share,
    pub(crate) registry: Registry,
    pub(crate) counters: Arc<Counters>,
    pub(crate) limits: Limits,
    /// How much visitors may leave unread.
    pub(crate) memory: u64,
    open: Arc<Semaphore>,
    /// Connections over TCP: each takes a descriptor.
    over_tcp: Arc<Semaphore>,
    registering: Arc<Semaphore>,
    sources: Arc<Sources>,
}

impl Edge {
    pub(crate) fn new(
        live: Live<Config>,
        (rpc, inboxes, share): (RpcThread, Inboxes, Share),
        registry: Registry,
        counters: Arc<Counters>,
        limits: Limits,
        memory: u64,
    ) -> Edge {
        let open = Arc::new(Semaphore::new(limits.connections));
        let descriptors = Shares::of(bartizan_net::descriptors_max()).tunnels;
        let over_tcp = Arc::new(Semaphore::new(descriptors.min(limits.connections)));
        let registering = Arc::new(Semaphore::new(REGISTERING_MAX));
        let sources = Arc::new(Sources::new(Instant::now()));
        Edge { live, rpc, inboxes, share, registry, counters, limits, memory, open, over_tcp, registering, sources }
    }

    /// Lets a source that receives at its address begin one more connection, if there is a place.
    pub(crate) fn admit(&self, source: IpAddr, address: Address) -> Result<Admitted, Over> {
        let source = self.sources.admit(source, address, self.registering.available_permits())?;
        self.places(source)
    }

    fn places(&self, source: SourcePermit) -> Result<Admitted, Over> {
        let permits = (Arc::clone(&self.open).try_acquire_owned(), Arc::clone(&self.registering).try_acquire_owned());
        let (Ok(open), Ok(registering)) = permits else { return Err(Over::Full) };
        Ok(Admitted { open: (open, None), stranger: (registering, source) })
    }

    /// Tells of a connection that did not register.
    pub(crate) fn note_stranger(&self, from: SocketAddr, error: &ArrivalError) {
        // Not a warning: scans and pre-checks of stock connectors end here too.
        tracing::debug!(source = %from, %error, "a connection did not register");
        if !matches!(error, ArrivalError::Refused(_) | ArrivalError::Probe) {
            count(&self.counters.unregistered);
        }
    }
}

/// A connection that was let in.
pub(crate) struct Admitted {
    /// For its life.
    pub(crate) open: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    /// Until it has registered.
    pub(crate) stranger: (OwnedSemaphorePermit, SourcePermit),
}

impl Admitted {
    /// It takes a descriptor.
    pub(crate) fn over_tcp(mut self, edge: &Edge) -> Result<Admitted, Over> {
        self.open.1 = Some(Arc::clone(&edge.over_tcp).try_acquire_owned().map_err(|_| Over::Full)?);
        Ok(self)
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
    let Ok(Admitted { open, stranger }) = edge.places(source) else {
        count(&edge.counters.full);
        return incoming.refuse();
    };
    let edge = edge.clone();
    tokio::spawn(async move {
        let from = incoming.remote_address();
        match arrive(incoming, &edge).await {
            Ok(arrived) => {
                drop(stranger);
                pipeline::serve(arrived, edge).await;
            }
            Err(error) => edge.note_stranger(from, &error),
        }
        drop(open);
    });
}

/// The connection did not come to a registration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArrivalError {
    #[error("the handshake failed: {0}")]
    Handshake(#[from] quinn::ConnectionError),
    #[error("the handshake failed: {0}")]
    Tls(#[source] Box<AcceptError>),
    #[error("there is no certificate for tunnels yet")]
    NoCertificate,
    #[error("it only tries whether an edge is there")]
    Probe,
    #[error("there is no control stream: {0}")]
    Control(#[source] Box<http2::ControlError>),
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
    match timeout(register_time, call(&quic, edge)).await {
        Ok(Ok((registration, reply, control))) => {
            let from = quic.remote_address().ip();
            register(Carrier::Quic(quic), from, *registration, reply, control, edge).await
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            quic.close(0_u32.into(), b"no registration in time");
            Err(ArrivalError::RegisterTime)
        }
    }
}

pub(crate) type RegisterCall = (Box<Registration>, oneshot::Sender<Result<Registered, Refused>>, ControlStream);

/// Serves the connection's first stream as its control stream, and waits for the call to register.
async fn call(quic: &quinn::Connection, edge: &Edge) -> Result<RegisterCall, ArrivalError> {
    let (send, receive) = quic.accept_bi().await?;
    let (calls, received) = mpsc::channel(CALLS_MAX);
    let rpc = edge.rpc.clone();
    let served: pipeline::Served =
        Box::pin(async move { rpc.run(move || serve_registration(receive, send, calls)).await });
    first_call(served, received, throw_away(quic)).await
}

/// Waits for the call to register on a control stream, while the connection is there.
pub(crate) async fn first_call(
    mut served: pipeline::Served,
    mut received: mpsc::Receiver<Call>,
    gone: impl Future<Output = ()>,
) -> Result<RegisterCall, ArrivalError> {
    tokio::select! {
        _ = &mut served => Err(ArrivalError::Nonsense),
        () = gone => Err(ArrivalError::Nonsense),
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

pub(crate) async fn register(
    carrier: Carrier,
    from: IpAddr,
    registration: Registration,
    reply: oneshot::Sender<Result<Registered, Refused>>,
    control: ControlStream,
    edge: &Edge,
) -> Result<Arrived, ArrivalError> {
    let snapshot = edge.live.snapshot();
    let source = from.to_canonical();
    let tunnel = match authorize(&registration, &snapshot.value.tunnels) {
        Ok(tunnel) => tunnel,
        Err(refused) => {
            count(&edge.counters.unauthorized);
            static REFUSED: Rarely = Rarely::new();
            if let Some(times) = REFUSED.turn() {
                tracing::warn!(%source, tunnel = %registration.tunnel, times, "refused a connector: {refused}");
            }
            return Err(refuse(&carrier, refused, reply, control, edge).await);
        }
    };
    let secret_sha256 = tunnel.secret_sha256;
    let facts = facts(registration, (source, carrier.transport()), &snapshot.value);
    let registered = Registered {
        connection: facts.connection,
        location: facts.location.clone(),
        remotely_managed: tunnel.remotely_managed,
    };
    let (link, ended) = Link::new(carrier, facts, edge.limits, Arc::clone(&edge.counters));
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
        return Err(refuse(&link.carrier, full(edge.limits.tunnel_connections), reply, control, edge).await);
    }
    // Before anything may be asked on it: what is answered is judged by it.
    link.carrier.trust(edge.memory);
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
    // Over HTTP/2 stock connectors stop for good at a text without the first word.
    let cause = format!(
        "Unauthorized: this tunnel has {connections} connections, and may not have more: stop a connector of it"
    );
    Refused { cause, retry_after: Some(COME_AGAIN) }
}

/// Answers that it is refused, and lets the connector close the connection.
async fn refuse(
    carrier: &Carrier,
    refused: Refused,
    reply: oneshot::Sender<Result<Registered, Refused>>,
    control: ControlStream,
    edge: &Edge,
) -> ArrivalError {
    let _ = reply.send(Err(refused.clone()));
    // The control stream is served on, or the answer would not leave.
    let gone = async {
        match carrier {
            Carrier::Quic(quic) => throw_away(quic).await,
            Carrier::Http2(session) => drop(session.closed().await),
        }
    };
    let _ = timeout(edge.limits.refused_time, async { tokio::join!(control.served, gone) }).await;
    carrier.close("refused");
    ArrivalError::Refused(refused)
}

fn facts(registration: Registration, (origin_ip, transport): (IpAddr, Transport), config: &Config) -> Connection {
    let mut connector = registration.connector;
    let tags = take_tags(&mut connector.features);
    Connection {
        tunnel: registration.tunnel,
        connector: connector.id,
        connection: random_uuid(),
        index: registration.index,
        version: connector.version,
        arch: connector.arch,
        features: connector.features,
        tags,
        transport,
        origin_ip,
        opened_at: config.clock.now(),
        location: config.location.clone(),
        uploaded: None,
        configured: None,
        service: LastAnswer::default(),
        meter: Meter::default(),
    }
}

fn random_uuid() -> Uuid {
    let mut bytes = [0; 16];
    // Without a source of randomness no handshake would have come this far.
    getrandom::fill(&mut bytes).expect("the system has randomness");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
