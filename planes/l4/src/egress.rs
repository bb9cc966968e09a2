//! Where bytes go out: the origin is found and dialled, a PROXY header says who the client is, TLS is begun.

mod datagram;
mod dead;
mod dial;
mod names;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bartizan_exchange::{Datagrams, DialError, Dialer, Dialled, Flow, OriginAddress};
use bartizan_names::{AppOrigin, DirectOrigin, OriginHost, Protocol, ProxyProtocol, TunnelId};
use bartizan_routes::{App, Pools};
use bartizan_tls::ClientConfig;
use bartizan_wire::proxy::{self, HeaderBytes, Hop};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::NameServers;
use crate::counters::OriginFailure;
use crate::limits::ORIGIN_TIME;
use crate::relay::Origin;
use crate::session::Session;
use crate::worker::Worker;
pub(crate) use datagram::send_datagram;
use dead::Dead;
pub(crate) use dial::failure_of;
use names::Names;
pub(crate) use tls::OriginTls;

/// One worker's way out.
pub(crate) struct Egress {
    dialer: Arc<dyn Dialer>,
    tls: OriginTls,
    names: Names,
    dead: Dead,
}

impl Egress {
    pub(crate) fn new(dialer: Arc<dyn Dialer>, tls: OriginTls, servers: NameServers) -> Egress {
        Egress { dialer, tls, names: Names::new(servers), dead: Dead::default() }
    }

    /// A connection to the session's origin, ready for the client's first byte.
    pub(crate) async fn connect(&self, session: &Session, worker: &Worker) -> Result<Origin, OriginFailure> {
        let config = worker.hold_config();
        let connecting = async {
            let mut link = self.dial(session, &config.value.pools).await?;
            if let Some(header) = header_of(&session.app, &session.hop) {
                link.say(&header).await?;
            }
            match self.tls.towards(session.app.tls)? {
                Some(client) => link.encrypt(client, &session.app).await,
                None => Ok(link.into_origin()),
            }
        };
        tokio::time::timeout(config.value.limits.connect_time, connecting).await.unwrap_or(Err(OriginFailure::TimedOut))
    }

    /// A way to send the session's datagrams to its origin. UDP has no handshake: only a reply shows that it is there.
    pub(crate) async fn open(&self, session: &Session, worker: &Worker) -> Result<Opened, OriginFailure> {
        let config = worker.hold_config();
        let (pools, time) = (&config.value.pools, config.value.limits.connect_time);
        tokio::time::timeout(time, self.open_flow(session, pools)).await.unwrap_or(Err(OriginFailure::TimedOut))
    }

    async fn open_flow(&self, session: &Session, pools: &Pools) -> Result<Opened, OriginFailure> {
        let groups = match self.find(session).await? {
            Way::Tunnel(flow) => {
                return self.dialer.datagrams(flow).await.map(Opened::Tunnel).map_err(refusal_of);
            }
            Way::Dial(groups) => without_loops(groups, pools)?,
        };
        let mut failure = OriginFailure::Unreachable;
        // There is nothing to race for: sending to an origin that is not there succeeds too.
        for address in self.dead.addresses_last(groups.concat()) {
            match datagram::connect(address).await {
                Ok(socket) => return Ok(Opened::Socket(socket, address)),
                Err(error) => failure = failure_of(&error),
            }
        }
        Err(failure)
    }

    /// An origin was not there: for a while the others are tried first.
    pub(crate) fn note_dead(&self, address: SocketAddr) {
        self.dead.mark_dead(address);
    }

    async fn dial(&self, session: &Session, pools: &Pools) -> Result<Link, OriginFailure> {
        match self.find(session).await? {
            Way::Tunnel(flow) => match self.dialer.connect(flow).await.map_err(refusal_of)? {
                Dialled::Socket(stream) => Ok(Link::Socket(stream)),
                Dialled::Stream(stream) => Ok(Link::Stream(stream)),
            },
            Way::Dial(groups) => self.first_of(without_loops(groups, pools)?).await.map(Link::Socket),
        }
    }

    /// Where the session's origin is.
    async fn find(&self, session: &Session) -> Result<Way, OriginFailure> {
        let app = &session.app;
        let port = |port| app.port_at_origin(port, session.local.port());
        Ok(match &app.origin {
            AppOrigin::Direct(origins) => {
                let alone = |origin: &DirectOrigin| vec![SocketAddr::new(origin.address, port(origin.port))];
                Way::Dial(origins.iter().map(alone).collect())
            }
            AppOrigin::Dns { name, kind, port: at, ttl_min } => {
                let found = self.names.find(name, *kind, *ttl_min).await?;
                let groups = found.groups(port(*at), names::chance);
                Way::Dial(groups.into_iter().map(dial::order).collect())
            }
            AppOrigin::Tunnel { tunnel, address, port: at } => {
                Way::Tunnel(flow(session, *tunnel, address.as_ref(), port(*at)))
            }
        })
    }

    /// A connection to the first group in which an address answers. Groups that could not be reached a moment ago are
    /// tried last.
    async fn first_of(&self, groups: Vec<Group>) -> Result<TcpStream, OriginFailure> {
        let groups = self.dead.groups_last(groups);
        let mut failure = OriginFailure::Unreachable;
        let mut left = groups.len();
        for group in groups {
            left -= 1;
            let racing = dial::race(self.dead.addresses_last(group.clone()), &self.dead);
            // The last one may use all the time that is left.
            let result = match left {
                0 => racing.await,
                _ => tokio::time::timeout(ORIGIN_TIME, racing).await.unwrap_or(Err(OriginFailure::TimedOut)),
            };
            match result {
                Ok(stream) => return Ok(stream),
                Err(reason) => {
                    group.iter().for_each(|address| self.dead.mark_dead(*address));
                    failure = reason;
                }
            }
        }
        Err(failure)
    }
}

/// Addresses of equal rank, in the order to try them. Never empty.
type Group = Vec<SocketAddr>;

/// How a session gets to its origin.
enum Way {
    Dial(Vec<Group>),
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

/// The header in front of the client's bytes. Versions 1 and 2 are for connections, the simple header for datagrams.
fn header_of(app: &App, hop: &Hop) -> Option<HeaderBytes> {
    match app.proxy_protocol {
        ProxyProtocol::V1 => Some(proxy::write_v1(hop)),
        ProxyProtocol::V2 => Some(proxy::write_v2(hop, Protocol::Tcp)),
        ProxyProtocol::Off | ProxyProtocol::Simple => None,
    }
}

/// Our own addresses cannot be origins: a connection to them would come back to us, over and over.
fn without_loops(mut groups: Vec<Group>, pools: &Pools) -> Result<Vec<Group>, OriginFailure> {
    let had_some = !groups.is_empty();
    groups.iter_mut().for_each(|group| group.retain(|address| !pools.contains(address.ip())));
    groups.retain(|group| !group.is_empty());
    if groups.is_empty() && had_some { Err(OriginFailure::Loop) } else { Ok(groups) }
}

fn flow(session: &Session, tunnel: TunnelId, host: Option<&OriginHost>, port: u16) -> Flow {
    let origin = match host {
        Some(OriginHost::Address(address)) => OriginAddress::Socket(SocketAddr::new(*address, port)),
        Some(OriginHost::Name(name)) => OriginAddress::Name(name.clone(), port),
        None => OriginAddress::Socket(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
    };
    Flow { tunnel, origin, client: session.hop.client, dialled: session.hop.dialled }
}

fn refusal_of(error: DialError) -> OriginFailure {
    tracing::debug!(%error, "no connection through the tunnel");
    match error {
        DialError::TimedOut => OriginFailure::TimedOut,
        DialError::NotConnected | DialError::OriginUnreachable(_) | DialError::NoDatagrams | DialError::Broken(_) => {
            OriginFailure::Tunnel
        }
    }
}
