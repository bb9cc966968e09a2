//! TCP connections and UDP flows of other planes, through connectors.
//!
//! ```text
//! TCP  choose a connection ─► open a stream ─► address ◄─ yes or why not ─► bytes both ways, half-close
//! UDP  choose a connection ─► session ─► address ◄─ yes or why not ─► datagrams both ways (udp.rs)
//! ```
//! A connector of ours (feature `bartizan_1`) also gets the client's address and the one that it dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bartizan_exchange::{Datagrams, DialError, Dialer, Dialled, Flow, LocalBoxFuture};
use bartizan_names::{OriginAddress, OriginFault, OriginHost};
use bartizan_quotas::SourceKey;
use bartizan_rpc::{ConnectKind, ConnectRequest, Metadata, OUR_FEATURE, RpcThread, plain_text, read_response};

use crate::counters::{Counters, count};
use crate::http2;
use crate::limits::LOGGED_BYTES_MAX;
use crate::link::{Lease, Link};
use crate::links::{Links, Repeat};
use crate::stream::{Duplex, Stream};
use crate::udp;
use crate::untaken::write_head;

/// The way to addresses behind tunnels.
#[derive(Debug)]
pub(crate) struct Dial {
    links: Links,
    rpc: RpcThread,
    counters: Arc<Counters>,
}

impl Dial {
    pub(crate) const fn new(links: Links, rpc: RpcThread, counters: Arc<Counters>) -> Dial {
        Dial { links, rpc, counters }
    }
}

impl Dialer for Dial {
    fn connect(&self, flow: Flow) -> LocalBoxFuture<'_, Result<Dialled, DialError>> {
        Box::pin(async move {
            let dialled = self.connect_tcp(&flow).await;
            count(if dialled.is_ok() { &self.counters.tcp_connections } else { &self.counters.tcp_failed });
            dialled.map(|stream| Dialled::Stream(Box::new(stream)))
        })
    }

    fn datagrams(&self, flow: Flow) -> LocalBoxFuture<'_, Result<Box<dyn Datagrams>, DialError>> {
        Box::pin(async move {
            let begun = self.begin_udp(&flow).await;
            count(if begun.is_ok() { &self.counters.udp_flows } else { &self.counters.udp_failed });
            begun.map(|flow| Box::new(flow) as Box<dyn Datagrams>)
        })
    }
}

impl Dial {
    async fn connect_tcp(&self, flow: &Flow) -> Result<Duplex, DialError> {
        // Nothing that the client said is lost with a connection, so another one may be made.
        let connected = |loopback: IpAddr| {
            let whom = (flow.tunnel, SourceKey::widest(flow.client.ip()));
            self.links.carry(whom, Repeat::Allowed, move |stream| connect(flow, loopback, stream))
        };
        match connected(Ipv4Addr::LOCALHOST.into()).await? {
            // A service may listen in one family only. Ours know what the name is, and say what is wrong.
            Err(DialError::Origin(OriginFault::Untold, _)) if is_localhost(&flow.origin) => {
                connected(Ipv6Addr::LOCALHOST.into()).await?
            }
            connected => connected,
        }
    }

    async fn begin_udp(&self, flow: &Flow) -> Result<udp::Flow, DialError> {
        let links = self.links.of_in_time(flow.tunnel).await.ok_or(DialError::NotConnected)?;
        let carries = |link: &Link| link.manner().is_some();
        let Some(link) = self.links.choose(&links, carries, |link| link.sessions.open()) else {
            let connected = links.iter().any(|link| link.is_open());
            return Err(if connected { DialError::NoDatagrams } else { DialError::NotConnected });
        };
        let manner = link.manner().ok_or(DialError::NoDatagrams)?;
        udp::begin(Arc::clone(link), manner, &flow.origin, &self.rpc, Arc::clone(&self.counters)).await
    }
}

/// `loopback` is what `localhost` is for a stock connector.
async fn connect(flow: &Flow, loopback: IpAddr, stream: Stream) -> Result<Duplex, DialError> {
    let mut stream = match stream {
        Stream::Quic(stream) => stream,
        Stream::Http2(slot, lease) => {
            let authority = destination(flow, loopback, &lease);
            return http2::connect((slot, lease), &authority, flow).await;
        }
    };
    let head = request(flow, loopback, &stream.lease).encode();
    let written = write_head(&mut stream.send.stream, head.into(), stream.lease.link()).await;
    written.map_err(|error| DialError::Broken(error.into()))?;
    let answer = read_response(&mut stream.receive).await.map_err(|error| DialError::Broken(error.into()))?;
    if !answer.error.is_empty() {
        let why = plain_text(answer.error.as_bytes(), LOGGED_BYTES_MAX);
        return Err(DialError::Origin(OriginFault::read(answer.text(Metadata::FAULT)), why));
    }
    Ok(Duplex::from(stream))
}

fn request(flow: &Flow, loopback: IpAddr, lease: &Lease) -> ConnectRequest {
    let address = |key, address: SocketAddr| Metadata::new(key, address.to_string());
    let metadata = match lease.link().has_feature(OUR_FEATURE) {
        true => vec![address(Metadata::CLIENT, flow.client), address(Metadata::DIALLED, flow.dialled)],
        false => Vec::new(),
    };
    ConnectRequest { dest: destination(flow, loopback, lease), kind: ConnectKind::Tcp, metadata }
}

fn destination(flow: &Flow, loopback: IpAddr, lease: &Lease) -> String {
    match is_localhost(&flow.origin) && !lease.link().has_feature(OUR_FEATURE) {
        true => SocketAddr::new(loopback, flow.origin.port).to_string(),
        false => flow.origin.to_string(),
    }
}

/// Both loopback addresses. Stock connectors read addresses and no names, so they are told one after the other.
fn is_localhost(origin: &OriginAddress) -> bool {
    matches!(&origin.host, OriginHost::Name(name) if name.to_string().eq_ignore_ascii_case("localhost"))
}
