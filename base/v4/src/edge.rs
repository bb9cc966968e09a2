//! `/bartizan/edge`: what a connector or a command-line client must know about this edge. Ours, not the dialect's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Facts about this edge that never change while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Edge {
    pub version: String,
    pub account_id: String,
    /// The default zone.
    pub domain: String,
    /// What proxied names answer with.
    pub addresses: Vec<String>,
    pub name_servers: Vec<String>,
    /// Where connectors dial, `ADDRESS:PORT`.
    pub tunnel: Vec<String>,
    pub dns: Vec<String>,
    /// DNS over TLS.
    #[serde(default)]
    pub dns_tls: Vec<String>,
    pub http: Vec<String>,
    pub https: Vec<String>,
    /// HTTP/3, over UDP.
    #[serde(default)]
    pub http3: Vec<String>,
    /// The port by which visitors come for HTTP, where something in front leads them to those of `http`; null if that is one
    /// of these.
    #[serde(default)]
    pub public_http: Option<u16>,
    /// The same for HTTPS and HTTP/3.
    #[serde(default)]
    pub public_https: Option<u16>,
    /// How clients reach applications.
    pub ports: EdgePorts,
    /// Whether records and applications may lead to loopback and private addresses.
    #[serde(default)]
    pub private_origins: bool,
    /// The local authority's certificate, PEM.
    pub ca: String,
    /// What the process that serves may do; null where the kernel does not tell.
    #[serde(default)]
    pub process: Option<EdgeProcess>,
}

/// What the process that serves may do on its machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EdgeProcess {
    pub uid: u32,
    /// Names as in capabilities(7).
    pub capabilities: Vec<String>,
    /// Whether no program that it starts can get more.
    pub no_new_privileges: bool,
}

/// How clients reach applications on TCP and UDP ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EdgePorts {
    /// The prefixes that applications get their addresses from.
    pub pools: Vec<String>,
    /// `sk_lookup` and `tproxy`: every port of the pools. `listeners`: one listener for each configured port.
    pub tier: String,
    /// How many listeners there may be; null if every port can be had.
    pub max: Option<u64>,
    /// Why it is not a better tier.
    pub reason: Option<String>,
}
