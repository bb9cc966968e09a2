//! Every TCP and UDP port behind the edge.
//!
//! ```text
//! TCP ──┐                                                                          ┌── origin address (v4, v6, TLS)
//!       ├─ ingress ─ pipeline: endpoint → verdict → limits → (TLS) → name ─ egress ┤
//! UDP ──┘                                                                          └── tunnel (dyn Dialer)
//! ```
//! Each worker is one thread with its own runtime and listeners; a connection stays on its thread. Nothing is read from
//! a client before its verdict, and the bytes that are forwarded are never changed.
//!
//! Clients arrive in one of several ways ([`Tier`]): at a listener for each configured port, which this crate opens and
//! closes as the configuration changes, or at sockets from outside that receive for every port.
//!
//! PROXY protocol versions 1 and 2 and the simple header for datagrams (`bartizan_wire::proxy`), in both directions.
//! An application may lead to a pool (`engines/steering`): another of its servers is dialled where the first cannot be, and a flow
//! stays with its server.
//!
//! Not here: pages for a challenge (it is a refusal here), protocols above TCP and UDP, health checks.

mod asked;
mod counters;
mod egress;
mod flows;
mod ingress;
mod limits;
mod listeners;
mod metrics;
mod pipeline;
mod plane;
mod relay;
mod room;
mod session;
mod sweep;
mod tap;
mod unproven;
mod worker;

use std::net::SocketAddr;

use bartizan_clock::Clock;
use bartizan_firewall::Firewall;
use bartizan_geo::Geo;
use bartizan_names::{Prefix, Protocol};
use bartizan_routes::{Apps, Pools};
use bartizan_steering::Checks;
use bartizan_tls::Hosts;

pub use asked::InForce;
pub use bartizan_quotas::Ceiling;
pub use counters::{AppTotals, EdgeEvent, Limit, OriginFailure, Totals};
pub use limits::{Ceilings, LISTENERS_MAX, Limits};
pub use plane::{AnyPort, AnyPortSockets, Plane, StartError, Tier, start};

/// The configuration of the plane. A new one applies to the next connection, and open ones are judged by it again.
#[derive(Clone)]
pub struct Config {
    pub apps: Apps,
    /// The addresses of this PoP for applications.
    pub pools: Pools,
    /// Servers that applications lead to, and how they are.
    pub checks: Checks,
    pub firewall: Firewall,
    pub geo: Geo,
    pub hosts: Hosts,
    /// Peers that must begin each connection with a PROXY header, which is believed.
    pub trusted: Vec<Prefix>,
    pub limits: Limits,
    /// Root certificates in PEM for origins under `strict`, beside those of the system. Read once, at the start.
    pub origin_roots: Option<String>,
    /// The time by which certificates of clients are judged.
    pub clock: Clock,
}

impl Config {
    /// Whether the applications have an address and port: as one that they are reached at, or of a pool that is theirs as a
    /// whole.
    pub fn serves(&self, protocol: Protocol, address: SocketAddr) -> bool {
        self.pools.contains(address.ip()) || self.apps.at(&self.pools, protocol, address).next().is_some()
    }
}
