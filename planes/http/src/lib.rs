//! The HTTP edge.
//!
//! ```text
//! HTTP  80 ──┐                                                                         ┌── origin address (pool, TLS)
//!            ├─ ingress ─ pipeline: route → firewall → https → loop → forward ─ egress ┤
//! HTTPS 443 ─┘  (h1, h2, h3)                                                           └── tunnel (dyn Upstream)
//! ```
//! Each worker is one thread with its own runtime, listeners, pool of origin connections, buffers and counters; a
//! connection stays on its thread. HTTP/1.1 (RFC 9112), on both sides, and HTTP/2 (RFC 9113) and HTTP/3 (RFC 9114), with
//! visitors, are read and written by the strict codecs of `base/wire`. QUIC has one worker of its own, with all of its sockets.
//!
//! How TLS comes about is a matter of the zone of the name that is asked for (`base/tls`, [`Config::hosts`]). A visitor
//! who comes back may send requests before that is over, where the zone wants it; only those that change nothing go on then.
//!
//! The firewall is asked for every request, since a connection may ask for several zones. When it changes, open
//! connections are judged again ([`recheck`]): a source that is blocked everywhere loses its connections, WebSockets
//! included; one that is blocked in some zones loses its requests to those. A blocked source can connect, and gets a
//! page that says so.
//!
//! Not here: pages for a challenge (it is a refusal), compression, caching. [`Config`] is the only configuration; the only files that are read are the system's root certificates, at
//! the start.

mod access_log;
mod answered;
mod arrived;
mod clients;
mod counters;
mod date;
mod dns_query;
mod egress;
mod fields;
mod forward;
mod ingress;
mod limits;
mod metrics;
mod outlet;
mod page;
mod past;
mod pipeline;
mod plane;
mod ray;
mod recheck;
mod record;
mod spare;
mod tap;
mod trace;
mod websocket;
mod worker;
mod zero_rtt;

use std::sync::Arc;

use bartizan_authority::Zones;
use bartizan_clock::Clock;
use bartizan_firewall::Firewall;
use bartizan_geo::Geo;
use bartizan_policy::Policy;
use bartizan_routes::{Challenges, Routes};
use bartizan_steering::Balancers;
use bartizan_tls::Hosts;

pub use access_log::{AccessLog, LineForm, Lines, Query};
pub use bartizan_quic::ResetKey;
pub use counters::{Ends, OriginFailures, Requests, Totals, Visitors};
pub use ingress::{GreeterError, OpenError};
pub use limits::Limits;
pub use plane::{Neighbours, Offer, Plane, Quic, Sockets, StartError, start};
pub use tap::Taps;

/// The configuration of the plane. A request keeps the one that was in force when it came.
#[derive(Clone)]
pub struct Config {
    /// Which names lead here: what DNS answers from.
    pub zones: Zones,
    pub routes: Routes<Policy>,
    /// Where routes of load balancers lead.
    pub balancers: Balancers,
    pub firewall: Firewall,
    /// Countries and networks of visitors. Looked up once for each connection, which keeps the result.
    pub geo: Geo,
    /// Certificates and TLS policies.
    pub hosts: Hosts,
    /// What a public authority is answered that asks whether a name is ours.
    pub challenges: Arc<Challenges>,
    /// Read once, at the start.
    pub limits: Limits,
    pub server: ServerFacts,
    /// The time that is told, and by which certificates of clients are judged. Read once, at the start.
    pub clock: Clock,
}

/// Ports that visitors are told of, by redirects and `Alt-Svc`. None: that of the listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicPorts {
    pub http: Option<u16>,
    /// Of HTTPS over TCP, and of HTTP/3 over UDP.
    pub https: Option<u16>,
}

/// What the plane says about itself.
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    /// This PoP's short name, the second half of `CF-Ray`. Letters and digits, 15 of them at most; others are left out.
    pub pop: String,
    /// The names of the edge's own name servers, in lower case and without a final dot: DNS over HTTPS is asked there.
    pub name_servers: Vec<String>,
    /// By which ports visitors come, where something in front leads them to those of the listeners. Read once, at the start.
    pub public_ports: PublicPorts,
    /// Root certificates in PEM for origins under `strict`, beside those of the system. Read once, at the start.
    pub origin_roots: Option<String>,
}
