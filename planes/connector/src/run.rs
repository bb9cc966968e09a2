//! The whole connector: several connections, each of which is made again when it is lost.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bartizan_dial::{OriginDialer, Reach};
use bartizan_live::{Backoff, Live};
use bartizan_names::{AccountId, ConnectorId, TunnelId};
pub use bartizan_rpc::DatagramVersion;
use bartizan_rpc::{RpcThread, Tag};
use bartizan_tls::{Now, Roots};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Ingress;
use crate::ingress::Shared;
use crate::limits::{BESIDE_MAX, CONNECTIONS_MAX, Limits, SWEEP};
use crate::untaken::Untaken;
pub use crate::uplink::DialerError;
use crate::uplink::{Dialer, Ended, Uplink, UplinkError};

/// What a connector needs to know.
pub struct Options {
    /// Used in turn; one may be listed several times. Not empty.
    pub edges: Vec<SocketAddr>,
    /// The authorities that may have issued the edge's certificate.
    pub roots: Roots,
    pub credentials: Credentials,
    pub protocol: Protocol,
    /// How long a connection that is over HTTP/2, since UDP did not pass, waits before it tries QUIC again.
    pub return_after: Duration,
    /// Until the edge sends other rules.
    pub ingress: Ingress,
    /// Connections to the edge, at least 1.
    pub connections: usize,
    pub connector: ConnectorId,
    /// How long requests in flight may take when the connector is asked to stop.
    pub grace: Duration,
    pub version: String,
    /// Labels, of which the edge keeps [`TAGS_MAX`](bartizan_rpc::TAGS_MAX).
    pub tags: Vec<Tag>,
    /// The silence after which a connection counts as lost, if the edge does not offer less.
    pub idle: Duration,
    /// Between tries.
    pub backoff: Backoff,
    /// The newest version for UDP that the edge is offered. Version 3 begins flows faster.
    pub datagrams: DatagramVersion,
    /// Whom it asks for names, and where it may go: everywhere, unless it runs inside of an edge.
    pub reach: Reach,
    /// By which certificates are judged: the machine's clock, unless it runs inside of an edge, which believes one time.
    pub now: Option<Now>,
    pub limits: Limits,
}

/// Over what the edge is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Over QUIC, and over HTTP/2 for as long as UDP does not pass.
    Auto,
    Only(Transport),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// On UDP.
    Quic,
    /// On TLS and TCP.
    Http2,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Transport::Quic => "QUIC",
            Transport::Http2 => "HTTP/2",
        })
    }
}

/// What proves that a connector belongs to a tunnel.
#[derive(Clone)]
pub struct Credentials {
    pub account: AccountId,
    pub tunnel: TunnelId,
    pub secret: Vec<u8>,
}

/// Never prints the secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("tunnel", &self.tunnel).finish_non_exhaustive()
    }
}

impl Options {
    /// With four connections and the usual times.
    pub fn new(
        edges: Vec<SocketAddr>,
        roots: Roots,
        credentials: Credentials,
        ingress: Ingress,
        connector: ConnectorId,
    ) -> Options {
        Options {
            edges,
            roots,
            credentials,
            protocol: Protocol::Auto,
            return_after: Duration::from_secs(60),
            ingress,
            connections: 4,
            connector,
            grace: Duration::from_secs(30),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tags: Vec::new(),
            idle: Duration::from_secs(15),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            datagrams: DatagramVersion::V3,
            reach: Reach::default(),
            now: None,
            limits: Limits::default(),
        }
    }
}

/// What happened, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Connected {
        index: u8,
        edge: SocketAddr,
        location: String,
        transport: Transport,
    },
    /// Nothing came back over QUIC, so it is over HTTP/2 now. QUIC is tried again now and then.
    FellBack {
        index: u8,
        why: String,
    },
    /// A connection was lost, or could not be made.
    Lost {
        index: u8,
        why: String,
        retry_in: Duration,
    },
    /// Nothing comes on a connection any more. It may come back; another one is made beside it.
    Silent {
        index: u8,
    },
    /// Something came on it, before there was another one.
    Heard {
        index: u8,
    },
    /// The edge refused us. We ask again: it may not know a tunnel yet that was made a moment ago.
    Refused {
        index: u8,
        cause: String,
    },
    ConfigurationApplied {
        version: i32,
        /// Which rules of it are not served here, and why.
        unserved: Option<String>,
    },
    /// The configuration before it stays in force.
    ConfigurationRejected {
        why: String,
    },
    RequestFailed {
        origin: String,
        why: String,
    },
    /// The edge began a stream and did not go on.
    StreamGivenUp {
        why: &'static str,
    },
    /// The last one.
    Stopped,
}

/// The connector cannot run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("there is no edge to connect to")]
    NoEdge,
    #[error("the number of connections has to be between 1 and {CONNECTIONS_MAX}")]
    Connections,
    #[error(transparent)]
    Dialer(#[from] DialerError),
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// Runs until `shutdown` turns true, or its sender is dropped, and what was in flight has ended.
///
/// Events never wait: those that find the channel full are dropped, so that a slow terminal stops no request.
pub async fn run(
    options: Options,
    events: mpsc::Sender<Event>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), RunError> {
    if options.edges.is_empty() {
        return Err(RunError::NoEdge);
    }
    if !(1..=CONNECTIONS_MAX).contains(&options.connections) {
        return Err(RunError::Connections);
    }
    let connections = options.connections as u8;
    let line = Line::new(options, events, shutdown.clone())?;
    let shared = line.shared.clone();
    let (first, mut first_up) = watch::channel(false);
    let mut lines = JoinSet::new();
    lines.spawn(line.clone().keep(0, first));
    // The first one alone: so a wrong secret or address is reported once and not four times.
    tokio::select! {
        _ = first_up.wait_for(|up| *up) => {
            for index in 1..connections {
                lines.spawn(line.clone().keep(index, watch::Sender::new(false)));
            }
        }
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    tokio::select! {
        () = async { while lines.join_next().await.is_some() {} } => {}
        never = sweep(&shared) => match never {},
        never = shared.untaken.watch() => match never {},
    }
    shared.mention(Event::Stopped);
    Ok(())
}

/// Closes idle connections to origins, whether or not anybody asks for one.
async fn sweep(shared: &Shared) -> Infallible {
    loop {
        sleep(SWEEP).await;
        shared.rules.snapshot().value.sweep();
    }
}

/// What keeps one connection up.
#[derive(Clone)]
struct Line {
    dialer: Dialer,
    shared: Shared,
    edges: Arc<[SocketAddr]>,
    backoff: Backoff,
    protocol: Protocol,
    return_after: Duration,
    /// UDP did not pass when it was tried last, by whichever connection.
    is_udp_blocked: Arc<AtomicBool>,
    /// What a connector with rules of its own tells the edge.
    own_rules: Arc<str>,
    shutdown: watch::Receiver<bool>,
}

impl Line {
    fn new(options: Options, events: mpsc::Sender<Event>, shutdown: watch::Receiver<bool>) -> Result<Line, RunError> {
        let rpc = RpcThread::start("connector-rpc").map_err(RunError::Thread)?;
        Ok(Line {
            dialer: Dialer::new(&options)?,
            own_rules: Arc::clone(options.ingress.json()),
            shared: Shared {
                rules: Live::new(options.ingress),
                origins: Arc::new(OriginDialer::new(options.reach)),
                now: options.now,
                rpc,
                events,
                untaken: Untaken::new(options.limits.memory),
                limits: options.limits,
            },
            edges: options.edges.into(),
            backoff: options.backoff,
            protocol: options.protocol,
            return_after: options.return_after,
            is_udp_blocked: Arc::default(),
            shutdown,
        })
    }

    /// Connects, and again whenever the connection is lost or silent, until asked to stop. Tells `up` of the first
    /// success.
    async fn keep(mut self, index: u8, up: watch::Sender<bool>) {
        let mut shutdown = self.shutdown.clone();
        let mut failures: u8 = 0;
        let mut serving = Serving::default();
        loop {
            let edge = self.edges[usize::from(index).wrapping_add(usize::from(failures)) % self.edges.len()];
            let tried = tokio::select! {
                tried = self.connect(edge, index, failures) => Some(tried),
                () = serving.until_heard() => None,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            let why = match tried {
                None => {
                    self.shared.mention(Event::Heard { index });
                    Some(self.attend(&mut serving, index).await)
                }
                Some(Ok(uplink)) => {
                    failures = 0;
                    self.backoff.reset();
                    up.send_replace(true);
                    self.begin(&mut serving, index, edge, uplink);
                    Some(self.attend(&mut serving, index).await)
                }
                Some(Err(UplinkError::Refused(refused))) => {
                    failures = failures.saturating_add(1);
                    self.shared.mention(Event::Refused { index, cause: refused.cause });
                    None
                }
                Some(Err(error)) => {
                    failures = failures.saturating_add(1);
                    Some(Watched::Lost(error.to_string()))
                }
            };
            let retry_in = match why {
                Some(Watched::Left) => break,
                Some(Watched::Silent) => {
                    self.shared.mention(Event::Silent { index });
                    continue;
                }
                Some(Watched::Lost(why)) => {
                    let retry_in = self.backoff.next(draw());
                    self.shared.mention(Event::Lost { index, why, retry_in });
                    retry_in
                }
                None => self.backoff.next(draw()),
            };
            tokio::select! {
                () = sleep(retry_in) => {}
                () = serving.until_heard() => {}
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
        }
        serving.end().await;
    }

    /// Connects over what passes here.
    async fn connect(&self, edge: SocketAddr, index: u8, failures: u8) -> Result<Uplink, UplinkError> {
        let over = |transport| self.dialer.connect(&self.shared.rpc, (edge, transport), index, failures);
        let quic = match self.protocol {
            Protocol::Only(transport) => return over(transport).await,
            Protocol::Auto if self.is_udp_blocked.load(Ordering::Relaxed) => {
                let connected = over(Transport::Http2).await;
                // What was so is asked anew once this does not pass either.
                self.is_udp_blocked.store(passes(&connected), Ordering::Relaxed);
                return connected;
            }
            Protocol::Auto => match over(Transport::Quic).await {
                Err(error) if error.is_of_udp() => error,
                connected => return connected,
            },
        };
        let connected = over(Transport::Http2).await;
        if passes(&connected) {
            self.is_udp_blocked.store(true, Ordering::Relaxed);
            self.shared.mention(Event::FellBack { index, why: quic.to_string() });
            return connected;
        }
        connected.map_err(|http2| UplinkError::Both { quic: quic.into(), http2: http2.into() })
    }

    /// Serves a new connection.
    fn begin(&self, serving: &mut Serving, index: u8, edge: SocketAddr, uplink: Uplink) {
        let (location, transport) = (uplink.registered.location.clone(), uplink.transport());
        self.shared.mention(Event::Connected { index, edge, location, transport });
        let uplink = Arc::new(uplink);
        serving.add(Arc::clone(&uplink), self.clone().serve(index, uplink));
    }

    /// Waits until the newest connection ends or falls silent. One that is over HTTP/2 for want of UDP gives its place to one
    /// over QUIC as soon as that can be had; the edge lets what is in flight on it end.
    async fn attend(&self, serving: &mut Serving, index: u8) -> Watched {
        for turn in 0_usize.. {
            if self.protocol != Protocol::Auto || serving.transport() != Some(Transport::Http2) {
                break;
            }
            tokio::select! {
                watched = serving.watch() => return watched,
                () = sleep(self.return_after) => {}
            }
            let edge = self.edges[usize::from(index).wrapping_add(turn) % self.edges.len()];
            let trying = self.dialer.connect(&self.shared.rpc, (edge, Transport::Quic), index, 0);
            tokio::pin!(trying);
            let (tried, ended) = tokio::select! {
                biased;
                tried = &mut trying => (Some(tried), None),
                watched = serving.watch() => match watched {
                    Watched::Left => return Watched::Left,
                    // The edge ends the old one as soon as it has the new one in its place, which may be heard first.
                    watched => (timeout(self.shared.limits.register_time, trying).await.ok(), Some(watched)),
                },
            };
            match (tried, ended) {
                (Some(Ok(uplink)), _) => {
                    self.is_udp_blocked.store(false, Ordering::Relaxed);
                    self.begin(serving, index, edge, uplink);
                }
                (_, Some(ended)) => return ended,
                (_, None) => {}
            }
        }
        serving.watch().await
    }

    async fn serve(self, index: u8, uplink: Arc<Uplink>) -> Ended {
        let upload = async {
            if index == 0 && !uplink.registered.remotely_managed {
                uplink.upload(&self.own_rules, self.shared.limits.call_time).await;
            }
        };
        let serve = self.dialer.serve(&uplink, &self.shared, self.shutdown.clone());
        tokio::join!(serve, upload).0
    }
}

/// Whether an edge has answered: with a refusal too.
fn passes(connected: &Result<Uplink, UplinkError>) -> bool {
    matches!(connected, Ok(_) | Err(UplinkError::Refused(_)))
}

/// One connection, and the silent one whose place it took, until that one ends.
#[derive(Default)]
struct Serving {
    tasks: JoinSet<Ended>,
    newest: Option<(tokio::task::Id, Arc<Uplink>)>,
}

/// What became of a connection.
enum Watched {
    Lost(String),
    Silent,
    /// Because we were asked to.
    Left,
}

impl Serving {
    fn add(&mut self, uplink: Arc<Uplink>, serve: impl Future<Output = Ended> + Send + 'static) {
        if self.tasks.len() >= BESIDE_MAX {
            self.tasks.abort_all();
        }
        self.newest = Some((self.tasks.spawn(serve).id(), uplink));
    }

    /// Over what the newest one is.
    fn transport(&self) -> Option<Transport> {
        self.newest.as_ref().map(|(_, uplink)| uplink.transport())
    }

    /// Waits until the newest one ends or falls silent.
    async fn watch(&mut self) -> Watched {
        let Some((newest, uplink)) = &self.newest else { return Watched::Lost("it has ended".to_owned()) };
        loop {
            let ended = tokio::select! {
                ended = self.tasks.join_next_with_id() => ended,
                () = uplink.until_silent() => return Watched::Silent,
            };
            let watched = match ended {
                Some(Ok((task, ended))) if task == *newest => match ended {
                    Ended::Lost(why) => Watched::Lost(why),
                    Ended::Left => Watched::Left,
                },
                // Another one, that was given up before.
                Some(Ok(_)) => continue,
                Some(Err(error)) if error.id() != *newest => continue,
                Some(Err(_)) | None => Watched::Lost("it has ended".to_owned()),
            };
            self.newest = None;
            return watched;
        }
    }

    /// Waits until the newest one is silent no more; for ever, if it was lost.
    async fn until_heard(&self) {
        match &self.newest {
            Some((_, uplink)) => uplink.until_heard().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended.
    async fn end(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A number in `0.0..1.0`.
fn draw() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the longest wait is the safe one.
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 1.0,
    }
}
