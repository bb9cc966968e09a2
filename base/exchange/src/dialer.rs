//! A connection or a flow of datagrams to an origin behind a tunnel, and the trait of what makes one.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bartizan_names::{OriginAddress, OriginFault, TunnelId};
use bytes::Bytes;
use tokio::net::TcpStream;

use crate::{Io, LocalBoxFuture};

/// What a client dialled, and where it is to be carried. The data itself is never looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub tunnel: TunnelId,
    /// As the connector sees it: loopback is the connector's own.
    pub origin: OriginAddress,
    pub client: SocketAddr,
    /// The address and port of the edge that the client chose.
    pub dialled: SocketAddr,
}

/// A connection that came about.
pub enum Dialled {
    /// A plain socket of the caller's runtime: bytes may pass through the kernel alone.
    Socket(TcpStream),
    /// Anything else. Shutting down its writing half says that the client has sent its end.
    Stream(Box<dyn Io>),
}

/// Whole datagrams both ways. Dropped, the flow ends on both sides.
pub trait Datagrams {
    /// Hands one datagram over. It may still be lost, as datagrams may; an error ends the flow.
    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<()>>;

    /// The next datagram from the origin; none when the other side ended the flow.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>>;
}

/// Carries TCP connections and UDP flows to what lies behind a tunnel.
///
/// Futures, streams and flows stay on the calling thread.
pub trait Dialer: Send + Sync {
    /// Connects to `flow.origin` over TCP. The caller sets the deadline.
    fn connect(&self, flow: Flow) -> LocalBoxFuture<'_, Result<Dialled, DialError>>;

    /// Begins a UDP flow to `flow.origin`. The caller sets the deadline, and ends flows that are idle.
    fn datagrams(&self, flow: Flow) -> LocalBoxFuture<'_, Result<Box<dyn Datagrams>, DialError>>;
}

/// Why there is no connection, or no flow.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("no connector is connected for this tunnel")]
    NotConnected,
    /// And what the connector says about it, for logs.
    #[error("the connector could not reach the origin: {1}")]
    Origin(OriginFault, String),
    #[error("the connector did not answer in time")]
    TimedOut,
    /// Not every transport of every connector carries datagrams.
    #[error("none of the tunnel's connectors carries datagrams")]
    NoDatagrams,
    #[error("the tunnel connection broke: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}
