//! One connection to the edge: dial, register, serve, unregister.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bartizan_live::Silence;
use bartizan_quic::{connection_window, stream_window};
use bartizan_rpc::over_http2::Answer;
use bartizan_rpc::{
    ConnectorInfo, DATAGRAM_V2_FEATURE, DATAGRAM_V3_FEATURE, DatagramVersion, OUR_FEATURE, Refused, Registered,
    Registration, RegistrationClient, RpcError, RpcStopped, RpcThread, Tag,
};
use bartizan_tls::{ClientConfig, Now, Roots, TlsError};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{AckFrequencyConfig, Endpoint, IdleTimeout, RecvStream, SendStream, TransportConfig, VarInt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::ingress::{self, Shared};
use crate::limits::{
    ACKNOWLEDGED_EVERY, GOODBYE_MAX, KEEP_ALIVE, LAST_REQUESTS, Limits, SEND_WINDOW_BYTES, STREAMS_MAX, UNREGISTER_MAX,
};
use crate::over_http2::{Arrived, Asked, Http2};
use crate::run::{Options, Transport};
use crate::udp;
use crate::untaken::{Carried, memory_of};

/// The names that the edge's certificate has, wherever the edge is.
const SERVER_NAME: &str = "quic.cftunnel.com";
const HTTP2_SERVER_NAME: &str = "h2.cftunnel.com";
/// The protocol that we offer (RFC 7301).
const ALPN: &[u8] = b"argotunnel";
/// The features that we announce: configuration from the edge, half-closed streams, and our own extension.
const FEATURES: [&str; 3] = ["allow_remote_config", "support_quic_eof", OUR_FEATURE];

/// How every connection is made.
#[derive(Clone)]
pub(crate) struct Dialer {
    quic: quinn::ClientConfig,
    tls: Arc<ClientConfig>,
    idle: Duration,
    registration: Arc<Registration>,
    grace: Duration,
    datagrams: DatagramVersion,
    limits: Limits,
}

/// The dialer cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DialerError {
    #[error("the edge's certificate authority cannot be used: {0}")]
    Tls(#[from] TlsError),
    #[error("QUIC cannot be set up: {0}")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    #[error("the idle time is too long")]
    Idle(#[from] quinn::VarIntBoundsExceeded),
}

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UplinkError {
    #[error("no socket: {0}")]
    Socket(#[source] std::io::Error),
    #[error("cannot dial: {0}")]
    Dial(#[from] quinn::ConnectError),
    #[error("no answer within {0:?}")]
    HandshakeTime(Duration),
    #[error("the edge did not answer the registration within {0:?}")]
    RegisterTime(Duration),
    #[error("{0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("{0}")]
    Tcp(#[source] std::io::Error),
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] std::io::Error),
    #[error("{0}")]
    Http2(String),
    #[error("the edge began without asking who is there")]
    NoControl,
    #[error("over QUIC: {quic}; over HTTP/2: {http2}")]
    Both { quic: Box<UplinkError>, http2: Box<UplinkError> },
    #[error("the registration failed: {0}")]
    Call(#[from] RpcError),
    #[error(transparent)]
    Stopped(#[from] RpcStopped),
    #[error("refused: {0}")]
    Refused(Refused),
}

impl UplinkError {
    /// Nothing came back, or nothing could be sent: UDP may not pass here.
    pub(crate) fn is_of_udp(&self) -> bool {
        match self {
            UplinkError::Socket(_) | UplinkError::HandshakeTime(_) => true,
            UplinkError::Connection(error) => matches!(error, quinn::ConnectionError::TimedOut),
            _ => false,
        }
    }
}

/// A registered connection.
pub(crate) struct Uplink {
    carrier: Carrier,
    control: RegistrationClient,
    pub(crate) registered: Registered,
    silence: Mutex<Silence>,
}

/// What carries it.
enum Carrier {
    Quic(Endpoint, quinn::Connection),
    Http2(Http2),
}

/// How a connection ended.
pub(crate) enum Ended {
    /// With the reason.
    Lost(String),
    /// Because we were asked to.
    Left,
}

impl Dialer {
    pub(crate) fn new(options: &Options) -> Result<Dialer, DialerError> {
        let tls = client_config(options.now.as_ref(), &options.roots, &[ALPN])?;
        let mut quic = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        quic.transport_config(Arc::new(transport(options.idle, memory_of(options.limits.memory))?));
        let registration = Registration {
            account: options.credentials.account.to_string(),
            secret: options.credentials.secret.clone(),
            tunnel: options.credentials.tunnel,
            index: 0,
            connector: ConnectorInfo {
                id: options.connector,
                version: options.version.clone(),
                arch: architecture(),
                features: FEATURES
                    .into_iter()
                    .map(str::to_owned)
                    .chain(options.tags.iter().map(Tag::feature))
                    .collect(),
            },
            local_ip: None,
            attempts: 0,
        };
        // As stock connectors do, we offer no protocol in the handshake over TCP.
        let tls = client_config(options.now.as_ref(), &options.roots, &[])?;
        let Options { grace, datagrams, limits, idle, .. } = *options;
        Ok(Dialer { quic, tls, idle, registration: Arc::new(registration), grace, datagrams, limits })
    }

    /// Dials `edge` and registers connection `index`.
    pub(crate) async fn connect(
        &self,
        rpc: &RpcThread,
        (edge, transport): (SocketAddr, Transport),
        index: u8,
        attempts: u8,
    ) -> Result<Uplink, UplinkError> {
        match transport {
            Transport::Quic => self.connect_quic(rpc, edge, index, attempts).await,
            Transport::Http2 => self.connect_http2(rpc, edge, index, attempts).await,
        }
    }

    async fn connect_quic(
        &self,
        rpc: &RpcThread,
        edge: SocketAddr,
        index: u8,
        attempts: u8,
    ) -> Result<Uplink, UplinkError> {
        let any = match edge {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let endpoint = Endpoint::client(SocketAddr::new(any, 0)).map_err(UplinkError::Socket)?;
        let dialling = endpoint.connect_with(self.quic.clone(), edge, SERVER_NAME)?;
        let Limits { handshake_time, register_time, .. } = self.limits;
        let quic =
            timeout(handshake_time, dialling).await.map_err(|_| UplinkError::HandshakeTime(handshake_time))??;
        let registering = async {
            let (send, receive) = quic.open_bi().await?;
            let control = bartizan_rpc::connect_registration(rpc, receive, send).await?;
            let mut registration = self.registration(index, attempts, quic.local_ip());
            registration.connector.features.extend(datagram_features(self.datagrams));
            let registered = control.register(registration).await?.map_err(UplinkError::Refused)?;
            Ok::<_, UplinkError>((control, registered))
        };
        let (control, registered) =
            timeout(register_time, registering).await.map_err(|_| UplinkError::RegisterTime(register_time))??;
        Ok(Uplink { carrier: Carrier::Quic(endpoint, quic), control, registered, silence: Mutex::default() })
    }

    async fn connect_http2(
        &self,
        rpc: &RpcThread,
        edge: SocketAddr,
        index: u8,
        attempts: u8,
    ) -> Result<Uplink, UplinkError> {
        let Limits { handshake_time, register_time, memory, .. } = self.limits;
        let dialling = async {
            let tcp = TcpStream::connect(edge).await.map_err(UplinkError::Tcp)?;
            let _ = tcp.set_nodelay(true);
            let local = tcp.local_addr().ok().map(|local| local.ip());
            let io = bartizan_tls::connect(&self.tls, HTTP2_SERVER_NAME, tcp).await.map_err(UplinkError::Tls)?;
            Ok::<_, UplinkError>((io, local))
        };
        let (io, local) =
            timeout(handshake_time, dialling).await.map_err(|_| UplinkError::HandshakeTime(handshake_time))??;
        let http2 = Http2::begin(io, memory_of(memory), self.idle);
        let registering = async {
            let Arrived { asked: Asked::Control, reader, writer } = http2.next().await.map_err(UplinkError::Http2)?
            else {
                return Err(UplinkError::NoControl);
            };
            writer.answer(&Answer::of("", std::iter::empty));
            let control = bartizan_rpc::connect_registration(rpc, reader, writer).await?;
            let registration = self.registration(index, attempts, local);
            let registered = control.register(registration).await?.map_err(UplinkError::Refused)?;
            Ok::<_, UplinkError>((control, registered))
        };
        let (control, registered) =
            timeout(register_time, registering).await.map_err(|_| UplinkError::RegisterTime(register_time))??;
        Ok(Uplink { carrier: Carrier::Http2(http2), control, registered, silence: Mutex::default() })
    }

    fn registration(&self, index: u8, attempts: u8, local_ip: Option<IpAddr>) -> Registration {
        let mut registration = Registration::clone(&self.registration);
        (registration.index, registration.attempts, registration.local_ip) = (index, attempts, local_ip);
        registration
    }

    /// Serves what comes until the connection is lost, or `shutdown` turns true: then says goodbye, and ends what is in
    /// flight, for as long as the grace lasts.
    pub(crate) async fn serve(&self, uplink: &Uplink, shared: &Shared, mut shutdown: watch::Receiver<bool>) -> Ended {
        // Ends when this function does.
        let mut datagrams = JoinSet::new();
        let from = match &uplink.carrier {
            Carrier::Quic(_, quic) => {
                let (owner, sessions) = udp::sessions(quic.clone(), self.datagrams, shared);
                datagrams.spawn(owner.run());
                Source::Quic(quic, shared.untaken.carry(quic.clone()), sessions)
            }
            Carrier::Http2(http2) => Source::Http2(http2),
        };
        let mut streams = Streams { running: JoinSet::new(), shared, from };
        tokio::select! {
            why = streams.accept() => {
                tokio::spawn(end_by_themselves(streams.running, self.grace));
                return Ended::Lost(why);
            }
            // If the sender is gone, that means the same.
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
        self.leave(uplink, streams).await;
        match &uplink.carrier {
            Carrier::Quic(endpoint, quic) => {
                quic.close(0_u32.into(), b"the connector stops");
                let _ = timeout(GOODBYE_MAX, endpoint.wait_idle()).await;
            }
            Carrier::Http2(http2) => http2.close().await,
        }
        Ended::Left
    }

    async fn leave(&self, uplink: &Uplink, mut streams: Streams<'_>) {
        // Until the edge took note it may send more.
        tokio::select! {
            _ = streams.accept() => return end_by_themselves(streams.running, self.grace).await,
            _ = timeout(UNREGISTER_MAX, uplink.control.unregister()) => {}
        }
        let _ = timeout(self.grace, streams.accept_last()).await;
    }
}

/// Leaves streams what arrived before their connection ended: an edge that stops has seen it acknowledged, and closes.
/// Each ends when it wants more than that.
async fn end_by_themselves(mut running: JoinSet<()>, grace: Duration) {
    let _ = timeout(grace, async { while running.join_next().await.is_some() {} }).await;
}

/// The streams of one connection.
struct Streams<'s> {
    running: JoinSet<()>,
    shared: &'s Shared,
    from: Source<'s>,
}

/// What they come on.
enum Source<'s> {
    Quic(&'s quinn::Connection, Arc<Carried>, udp::Calls),
    Http2(&'s Http2),
}

/// A stream that came.
enum Came {
    Quic(SendStream, RecvStream),
    Http2(Arrived),
}

impl Source<'_> {
    /// The next one, or why there is none any more.
    async fn next(&self) -> Result<Came, String> {
        match self {
            Source::Quic(quic, ..) => {
                let (send, receive) = quic.accept_bi().await.map_err(|error| error.to_string())?;
                Ok(Came::Quic(send, receive))
            }
            Source::Http2(http2) => Ok(Came::Http2(http2.next().await?)),
        }
    }
}

impl Streams<'_> {
    /// A task for each stream, until the connection ends.
    async fn accept(&mut self) -> String {
        loop {
            tokio::select! {
                came = self.from.next() => match came {
                    Ok(came) => self.serve(came),
                    Err(why) => return why,
                },
                Some(_) = self.running.join_next() => {}
            }
        }
    }

    /// The same, but only until all that came has ended and no more comes. An edge of ours closes the connection when it has
    /// all that was said; origins may not.
    async fn accept_last(&mut self) {
        loop {
            tokio::select! {
                came = self.from.next() => match came {
                    Ok(came) => self.serve(came),
                    Err(_) => break,
                },
                Some(_) = self.running.join_next() => {}
                () = sleep(LAST_REQUESTS), if self.running.is_empty() => return,
            }
        }
        while self.running.join_next().await.is_some() {}
    }

    fn serve(&mut self, came: Came) {
        let shared = self.shared.clone();
        match (came, &self.from) {
            (Came::Quic(send, receive), Source::Quic(_, on, sessions)) => {
                let (on, sessions) = (Arc::clone(on), sessions.clone());
                self.running.spawn(ingress::serve((send, receive), on, shared, sessions));
            }
            (Came::Http2(arrived), Source::Http2(_)) => {
                self.running.spawn(ingress::serve_over_http2(arrived, shared));
            }
            // Neither brings what comes on the other.
            (Came::Quic(..), Source::Http2(_)) | (Came::Http2(_), Source::Quic(..)) => {}
        }
    }
}

impl Uplink {
    pub(crate) fn transport(&self) -> Transport {
        match self.carrier {
            Carrier::Quic(..) => Transport::Quic,
            Carrier::Http2(_) => Transport::Http2,
        }
    }

    /// Waits until nothing has arrived for a while.
    pub(crate) async fn until_silent(&self) {
        while !self.listen() {
            sleep(Silence::LOOK).await;
        }
    }

    /// Waits until something arrives again.
    pub(crate) async fn until_heard(&self) {
        while self.listen() {
            sleep(Silence::LOOK).await;
        }
    }

    fn listen(&self) -> bool {
        let arrived = match &self.carrier {
            Carrier::Quic(_, quic) => quic.stats().udp_rx.datagrams,
            Carrier::Http2(http2) => http2.arrived(),
        };
        self.silence.lock().unwrap_or_else(PoisonError::into_inner).look(arrived)
    }

    /// Tells the edge what we serve, where it does not tell us.
    pub(crate) async fn upload(&self, json: &str, call_time: Duration) {
        let upload = self.control.upload(bytes::Bytes::copy_from_slice(json.as_bytes()));
        // It is shown to people; nothing depends on it.
        let _ = timeout(call_time, upload).await;
    }
}

/// A client that judges certificates by this time, or by the machine's clock.
pub(crate) fn client_config(now: Option<&Now>, roots: &Roots, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    match now {
        Some(now) => bartizan_tls::client_config_by(now, roots, alpn),
        None => bartizan_tls::client_config(roots, alpn),
    }
}

/// Where origins may leave so much untaken.
fn transport(idle: Duration, memory: u64) -> Result<TransportConfig, quinn::VarIntBoundsExceeded> {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(ACKNOWLEDGED_EVERY));
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::try_from(idle)?))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .ack_frequency_config(Some(acknowledgements))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(stream_window(memory))
        .receive_window(connection_window(memory))
        .send_window(SEND_WINDOW_BYTES);
    Ok(transport)
}

/// What the edge is told that we can beside, over QUIC: UDP.
fn datagram_features(datagrams: DatagramVersion) -> impl Iterator<Item = String> {
    let newer = (datagrams == DatagramVersion::V3).then_some(DATAGRAM_V3_FEATURE);
    [DATAGRAM_V2_FEATURE].into_iter().chain(newer).map(str::to_owned)
}

/// This machine, in the words of the protocol.
fn architecture() -> String {
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{}_{processor}", std::env::consts::OS)
}
