//! Every TCP and UDP port behind the edge.
//!
//! ```text
//! TCP ──┐                                                                          ┌── origin address (IPv4, IPv6, TLS)
//!       ├─ ingress ─ pipeline: endpoint → verdict → limits → (TLS) → name ─ egress ┤
//! UDP ──┘                                                                          └── tunnel (dyn Dialer)
//! ```
//! One current-thread runtime a worker, each with its own listeners; a connection stays on its thread. Nothing is read
//! from a client before its verdict, and nothing that is carried is altered.
//!
//! Clients arrive in one of several ways ([`Tier`]): by a listener for each configured port, which this crate opens and
//! closes as the configuration changes, or by sockets given from outside that receive for every port.
//!
//! PROXY protocol versions 1 and 2 and the simple header for datagrams (`bartizan_wire::proxy`), in both directions.
//! Not here: what a challenge would show (it is a refusal), protocols above TCP and UDP, health checks.

mod counters;
mod egress;
mod flows;
mod ingress;
mod limits;
mod listeners;
mod pipeline;
mod plane;
mod quotas;
mod relay;
mod room;
mod session;
mod sweep;
mod worker;

use std::net::SocketAddr;

use bartizan_firewall::Firewall;
use bartizan_geo::Geo;
use bartizan_names::Prefix;
use bartizan_routes::{Apps, Pools};
use bartizan_tls::Certificates;

pub use counters::{AppTotals, EdgeEvent, Limit, OriginFailure, Totals};
pub use limits::{Ceiling, Ceilings, LISTENERS_MAX, Limits};
pub use listeners::{Listening, Reason, TierName, Unheard};
pub use plane::{AnyPort, AnyPortSockets, Plane, StartError, Tier, start, start_asking};

/// All that the plane is told. A new one is in force for the next connection, and looked up for those that are open.
#[derive(Clone)]
pub struct Config {
    pub apps: Apps,
    /// The addresses of this PoP for applications.
    pub pools: Pools,
    pub firewall: Firewall,
    pub geo: Geo,
    pub certificates: Certificates,
    /// Peers that say whom they speak for, in a PROXY header, and must.
    pub trusted: Vec<Prefix>,
    pub limits: Limits,
    /// Roots in PEM that origins under `strict` may be certified by, beside those of the system. Read once, at start.
    pub origin_roots: Option<String>,
}

/// Who is asked for the addresses of origins that have a name. The system's file of hosts comes first in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NameServers {
    /// Those that the system asks; and for what they do not know, the system's own resolver.
    #[default]
    System,
    /// These recursive resolvers, in their order; of more than three the first three.
    These(Vec<SocketAddr>),
}
