//! The edge's end of tunnels: connectors dial in over QUIC and register; requests go out to them.
//!
//! ```text
//! UDP 7844 ─ ingress: admit → handshake → register ─► pipeline: one task a connection (push, upload, unregister)
//!                                                        │ registry: who is connected (table, presence)
//! planes/http ─ dyn Upstream ─ egress: choose → open stream → head, body ⇄ head, body
//! planes/l4 ─── dyn Dialer ─── dial:   choose → open stream → address → bytes both ways
//!                                      choose → begin session → datagrams both ways (udp, sessions)
//! ```
//! QUIC runs on the plane's own threads, because a stall of five seconds ends the connections of all stock connectors;
//! remote calls run on one more thread. Requests are handled on the caller's thread, which is given a stream handle.
//! Not here: HTTP/2 as transport, ICMP, DNS.

mod admission;
mod counters;
mod dial;
mod egress;
mod ingress;
mod pipeline;
mod plane;
mod registry;
mod sessions;
mod stream;
mod transport;
mod udp;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bartizan_names::{AccountId, ConnectorId, TunnelId};
use bartizan_tls::CertifiedKey;
use uuid::Uuid;

pub use counters::Counts;
pub use plane::{Commands, Plane, StartError, start};
pub use transport::ResetKey;

/// What this plane serves.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub tunnels: Tunnels,
    /// For the names `quic.cftunnel.com` and `probe.cftunnel.com`. Without it no connector can connect.
    pub certificate: Option<CertifiedKey>,
    /// Where this edge is, as connectors print it.
    pub location: String,
}

/// All tunnels that connectors may connect for. Immutable and cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tunnels(Arc<HashMap<TunnelId, TunnelFacts>>);

impl Tunnels {
    pub fn get(&self, tunnel: &TunnelId) -> Option<&TunnelFacts> {
        self.0.get(tunnel)
    }
}

impl FromIterator<(TunnelId, TunnelFacts)> for Tunnels {
    fn from_iter<I: IntoIterator<Item = (TunnelId, TunnelFacts)>>(tunnels: I) -> Tunnels {
        Tunnels(Arc::new(tunnels.into_iter().collect()))
    }
}

/// One tunnel.
#[derive(Clone, PartialEq, Eq)]
pub struct TunnelFacts {
    pub account: AccountId,
    /// The hash alone: only the connector has the secret.
    pub secret_sha256: [u8; 32],
    /// Whether its connectors are told their configuration; if not, they upload their own.
    pub remotely_managed: bool,
    pub configuration: Option<Configuration>,
}

impl std::fmt::Debug for TunnelFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunnelFacts")
            .field("account", &self.account)
            .field("remotely_managed", &self.remotely_managed)
            .field("configuration", &self.configuration.as_ref().map(|configuration| configuration.version))
            .finish_non_exhaustive()
    }
}

/// What a tunnel's connectors are to do. Pushed to each connection, and again whenever the version grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// From 0.
    pub version: i32,
    pub json: Arc<str>,
}

/// Who is connected now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence(pub Vec<Connection>);

/// One registered connection of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub tunnel: TunnelId,
    pub connector: ConnectorId,
    pub connection: Uuid,
    /// Which of its connector's connections this is.
    pub index: u8,
    pub version: String,
    pub arch: String,
    pub features: Vec<String>,
    pub origin_ip: IpAddr,
    pub opened_at: SystemTime,
    pub location: String,
    /// The configuration that a locally managed connector has uploaded, as its JSON.
    pub uploaded_configuration: Option<Arc<str>>,
}
