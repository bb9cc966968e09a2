//! Where bytes go out: the origin is found and dialled, a PROXY header says who the client is, TLS is begun.

mod datagram;
mod pool;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bartizan_dial::{Failure, Group, OriginDialer, OriginTls, OwnTls, Question, Reach, Trusts};
use bartizan_exchange::{Datagrams, DialError, Dialer, Dialled, Flow};
use bartizan_names::{
    AppOrigin, AppTls, DirectOrigin, Encryption, Name, OriginAddress, OriginFault, OriginHost, OriginPort, Protocol,
    ProxyProtocol, TunnelId,
};
use bartizan_routes::App;
use bartizan_steering::Pool;
use bartizan_tls::{ClientConfig, Hosts};
use bartizan_wire::proxy::{self, HeaderBytes, Hop};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::Config;
use crate::counters::OriginFailure;
use crate::limits::SWEEPS_MAX;
use crate::pipeline;
use crate::relay::Origin;
use crate::session::Session;
use crate::worker::Worker;
pub(crate) use datagram::send_datagram;

/// One worker's way out.
pub(crate) struct Egress {
    dialer: Arc<dyn Dialer>,
    tls: Trusts<OriginTls>,
    origins: OriginDialer,
}

impl Egress {
    pub(crate) fn new(dialer: Arc<dyn Dialer>, tls: OriginTls, reach: Reach) -> Egress {
        Egress { dialer, tls: Trusts::new(tls, std::convert::identity), origins: OriginDialer::new(reach) }
    }

    /// A connection to the session's origin, ready for the client's first byte.
    pub(crate) async fn connect(&self, session: &Session, worker: &Worker) -> Result<Origin, OriginFailure> {
        let config = worker.hold_config();
        let connecting = async {
            let mut link = self.dial(session, &config.value).await?;
            let of_client = (session.app.proxy_protocol == ProxyProtocol::V2)
                .then(|| pipeline::tell(&config.value, session, |shown| proxy::write_v2_of_client(&session.hop, shown)))
                .flatten();
            match of_client {
                Some(header) => link.say(&header).await?,
                None => {
                    if let Some(header) = header_of(&session.app, &session.hop) {
                        link.say(&header).await?;
                    }
                }
            }
            match encryption(session.app.tls) {
                Encryption::None => Ok(link.into_origin()),
                encryption => {
                    let client = self.client(&config.value.hosts, &session.app, encryption)?;
                    link.encrypt(&client, &session.app).await
                }
            }
        };
        tokio::time::timeout(config.value.limits.connect_time, connecting).await.unwrap_or(Err(OriginFailure::TimedOut))
    }

    /// How its origin is judged, and what that is shown: by what the zone of an application has of its own.
    fn client(&self, hosts: &Hosts, app: &App, encryption: Encryption) -> Result<Arc<ClientConfig>, OriginFailure> {
        let (zone, name) = (hosts.to_origins(app.zone), app.name.to_string());
        let own = zone.map_or_else(OwnTls::default, |own| OwnTls {
            roots: own.roots().map(|roots| (&*roots.certificates, roots.sum)),
            identity: own.identity(&name),
        });
        let tls = self.tls.of(own).map_err(|error| {
            tracing::debug!(app = %app.id, %error, "what its zone has of its own for its origins cannot be used");
            OriginFailure::Tls
        })?;
        let client = tls.client(encryption).map_err(|_| OriginFailure::Tls)?;
        client.cloned().ok_or(OriginFailure::Tls)
    }

    /// Forgets what was not used for a while. To be called now and then.
    pub(crate) fn sweep(&self) {
        self.tls.sweep(SWEEPS_MAX);
    }

    /// A way to send the session's datagrams to its origin. UDP has no handshake: only a reply shows that it is there.
    pub(crate) async fn open(&self, session: &Session, worker: &Worker) -> Result<Opened, OriginFailure> {
        let config = worker.hold_config();
        let opening = self.open_flow(session, &config.value);
        tokio::time::timeout(config.value.limits.connect_time, opening).await.unwrap_or(Err(OriginFailure::TimedOut))
    }

    async fn open_flow(&self, session: &Session, config: &Config) -> Result<Opened, OriginFailure> {
        let groups = match self.find(session, config).await? {
            Way::Tunnel(flow) => {
                return self.dialer.datagrams(flow).await.map(Opened::Tunnel).map_err(refusal_of);
            }
            Way::Pool(pool, port) => return self.open_at_pool(session, &pool, port).await,
            Way::Dial(groups) => groups,
        };
        self.open_to(groups).await
    }

    async fn open_to(&self, groups: Vec<Group>) -> Result<Opened, OriginFailure> {
        let mut failure = OriginFailure::Unreachable;
        for address in self.origins.for_datagrams(groups)? {
            match datagram::connect(address).await {
                Ok(socket) => return Ok(Opened::Socket(socket, address)),
                Err(error) => failure = failure_of(&error),
            }
        }
        Err(failure)
    }

    /// Whether this process listens at an address and port, beside those of applications.
    pub(crate) fn is_listener(&self, protocol: Protocol, address: SocketAddr) -> bool {
        self.origins.destinations().is_listener(protocol, address)
    }

    /// An origin was not there: for a while the others are tried first.
    pub(crate) fn note_dead(&self, address: SocketAddr) {
        self.origins.note_dead(address);
    }

    async fn dial(&self, session: &Session, config: &Config) -> Result<Link, OriginFailure> {
        match self.find(session, config).await? {
            Way::Tunnel(flow) => self.dial_through(flow).await,
            Way::Pool(pool, port) => self.dial_pool(session, &pool, port).await,
            Way::Dial(groups) => Ok(Link::Socket(self.origins.connect(groups).await?)),
        }
    }

    async fn dial_through(&self, flow: Flow) -> Result<Link, OriginFailure> {
        match self.dialer.connect(flow).await.map_err(refusal_of)? {
            Dialled::Socket(stream) => Ok(Link::Socket(stream)),
            Dialled::Stream(stream) => Ok(Link::Stream(stream)),
        }
    }

    /// Where the session's origin is.
    async fn find(&self, session: &Session, config: &Config) -> Result<Way, OriginFailure> {
        let app = &session.app;
        let port = |port| app.port_at_origin(port, session.local.port());
        Ok(match &app.origin {
            AppOrigin::Direct(origins) => {
                let alone = |origin: &DirectOrigin| vec![SocketAddr::new(origin.address, port(origin.port))];
                Way::Dial(origins.iter().map(alone).collect())
            }
            AppOrigin::Dns { name, kind, port: at, ttl_min } => {
                let question = Question { name, kind: *kind, ttl_min: *ttl_min, zone: Some(app.zone) };
                Way::Dial(self.origins.find(question, port(*at)).await?)
            }
            AppOrigin::Tunnel { tunnel, address, port: at } => {
                Way::Tunnel(flow(session, *tunnel, address.as_ref(), port(*at)))
            }
            AppOrigin::Pool { pool, port } => {
                // One that is gone has nobody.
                let check = config.checks.get(pool).ok_or(OriginFailure::Unreachable)?;
                Way::Pool(Arc::clone(&check.pool), *port)
            }
        })
    }
}

/// How a session gets to its origin.
enum Way {
    Dial(Vec<Group>),
    /// To one of its servers; the port is that of those which have none.
    Pool(Arc<Pool>, Option<OriginPort>),
    Tunnel(Flow),
}

/// A flow to an origin.
pub(crate) enum Opened {
    Socket(UdpSocket, SocketAddr),
    Tunnel(Box<dyn Datagrams>),
}

/// A connection to an origin on which nothing was sent yet.
enum Link {
    Socket(TcpStream),
    Stream(Box<dyn bartizan_exchange::Io>),
}

impl Link {
    async fn say(&mut self, header: &[u8]) -> Result<(), OriginFailure> {
        let io: &mut (dyn AsyncWrite + Unpin) = match self {
            Link::Socket(stream) => stream,
            Link::Stream(stream) => stream,
        };
        io.write_all(header).await.map_err(|_| OriginFailure::Reset)
    }

    async fn encrypt(self, client: &Arc<ClientConfig>, app: &App) -> Result<Origin, OriginFailure> {
        let name = app.name.to_string();
        let origin = match self {
            Link::Socket(stream) => {
                bartizan_tls::connect(client, &name, stream).await.map(|stream| Origin::Tls(Box::new(stream)))
            }
            Link::Stream(stream) => {
                bartizan_tls::connect(client, &name, stream).await.map(|stream| Origin::TlsStream(Box::new(stream)))
            }
        };
        origin.map_err(|error| {
            tracing::debug!(app = %app.id, %error, "no TLS with the origin");
            OriginFailure::Tls
        })
    }

    fn into_origin(self) -> Origin {
        match self {
            Link::Socket(stream) => Origin::Plain(stream),
            Link::Stream(stream) => Origin::Stream(stream),
        }
    }
}

/// How the origin is spoken to.
fn encryption(tls: AppTls) -> Encryption {
    match tls {
        AppTls::Off | AppTls::Flexible => Encryption::None,
        AppTls::Full => Encryption::Unverified,
        AppTls::Strict => Encryption::Verified,
    }
}

/// The header in front of the client's bytes. Those of datagrams are put there by their flow.
fn header_of(app: &App, hop: &Hop) -> Option<HeaderBytes> {
    match app.proxy_protocol {
        ProxyProtocol::V1 => Some(proxy::write_v1(hop)),
        ProxyProtocol::V2 => Some(proxy::write_v2(hop, Protocol::Tcp)),
        ProxyProtocol::Off | ProxyProtocol::Simple => None,
    }
}

fn flow(session: &Session, tunnel: TunnelId, host: Option<&OriginHost>, port: u16) -> Flow {
    let host = match host {
        Some(host) => host.clone(),
        // The service may listen in one family only, and a name stands for both. UDP has no place for a name.
        None if session.app.protocol == Protocol::Tcp => OriginHost::Name(localhost()),
        None => OriginHost::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    Flow { tunnel, origin: OriginAddress { host, port }, client: session.hop.client, dialled: session.hop.dialled }
}

fn localhost() -> Name {
    Name::root().child(b"localhost").expect("nine octets are a label")
}

pub(crate) fn failure_of(error: &std::io::Error) -> OriginFailure {
    Failure::from(error).into()
}

impl From<Failure> for OriginFailure {
    fn from(failure: Failure) -> OriginFailure {
        OriginFault::from(failure).into()
    }
}

impl From<OriginFault> for OriginFailure {
    fn from(fault: OriginFault) -> OriginFailure {
        match fault {
            OriginFault::Refused => OriginFailure::Refused,
            OriginFault::Unreachable => OriginFailure::Unreachable,
            OriginFault::Unresolved => OriginFailure::Unresolved,
            OriginFault::NotAllowed => OriginFailure::NotAllowed,
            OriginFault::ConnectTimedOut => OriginFailure::TimedOut,
            OriginFault::Tls => OriginFailure::Tls,
            OriginFault::Broken => OriginFailure::Reset,
            OriginFault::Untold => OriginFailure::Tunnel,
        }
    }
}

fn refusal_of(error: DialError) -> OriginFailure {
    tracing::debug!(%error, "no connection through the tunnel");
    match error {
        DialError::TimedOut => OriginFailure::TimedOut,
        DialError::Origin(fault, _) => fault.into(),
        DialError::NotConnected | DialError::NoDatagrams | DialError::Broken(_) => OriginFailure::Tunnel,
    }
}
