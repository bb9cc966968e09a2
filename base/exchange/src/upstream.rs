//! The exchange itself, and who carries it on.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use bartizan_names::{Host, OriginFault, TunnelId};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Body;

/// A future that stays on its thread.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Whether a request asks to turn its connection into something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    None,
    /// RFC 6455. The `Sec-WebSocket-*` fields are among the headers; `Connection` and `Upgrade` are not.
    WebSocket,
}

/// A request that was checked. As it goes to an origin, its hop-by-hop fields are gone and the edge's own fields (design
/// §2.5) are set.
#[derive(Debug)]
pub struct Request {
    /// Whom it is from: what waits for this visitor is counted by it.
    pub visitor: IpAddr,
    pub method: Method,
    /// A name or an address, and a port where the client named one. An origin is told it as it was received; whoever
    /// compares it takes the form for that.
    pub host: Host,
    pub path: PathAndQuery,
    /// Without `Host`, `Content-Length`, `Transfer-Encoding` and the hop-by-hop fields: the body knows its length.
    pub headers: HeaderMap,
    pub body: Body,
    pub upgrade: Upgrade,
}

/// The origin's answer, its hop-by-hop and framing fields gone.
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// The connection behind a 101, when the request asked for an upgrade and got it.
    pub upgraded: Option<Box<dyn Io>>,
}

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Carries requests to what lies behind a tunnel.
pub trait Upstream: Send + Sync {
    /// Sends `request` through one of the tunnel's connections and waits for the head of the answer.
    /// The future and the bodies stay on the calling thread.
    fn send(&self, tunnel: TunnelId, request: Request) -> LocalBoxFuture<'_, Result<Response, UpstreamError>>;

    /// A connection to the service that answers for `host`, made for `visitor`, whose bytes the caller speaks with it: HTTP/2.
    /// It stays on the calling thread. The caller sets the deadline.
    fn open<'a>(
        &'a self,
        tunnel: TunnelId,
        host: &'a Host,
        visitor: IpAddr,
    ) -> LocalBoxFuture<'a, Result<Box<dyn Io>, UpstreamError>>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("no connector is connected for this tunnel")]
    NotConnected,
    /// And what the connector says about it, for logs.
    #[error("the connector got no answer from the origin: {1}")]
    Origin(OriginFault, String),
    #[error("the connector did not answer in time")]
    TimedOut,
    #[error("all connections of this tunnel are at their limit of requests")]
    Full,
    #[error("the tunnel connection broke: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}
