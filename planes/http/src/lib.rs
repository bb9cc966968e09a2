//! The HTTP edge.
//!
//! ```text
//! HTTP  80 ──┐                                                                         ┌── origin address (pool, TLS)
//!            ├─ ingress ─ pipeline: route → firewall → https → loop → forward ─ egress ┤
//! HTTPS 443 ─┘  (h1, h2)                                                               └── tunnel (dyn Upstream)
//! ```
//! One current-thread runtime a worker, each with its own listeners, pool of origin connections and counters; a
//! connection stays on its thread. HTTP/1.1 (RFC 9112) and HTTP/2 (RFC 9113) from visitors, HTTP/1.1 to origins.
//! Requests are screened byte by byte before an HTTP library sees them ([`ingress`]); that library is known to
//! [`ingress`] and [`egress`] only.
//!
//! The firewall is asked for every request, for a connection may ask for several zones. When it changes, what is open is
//! judged again: a source that no rule lets in any more loses its connections, WebSockets included, and one that is
//! kept out of some zones the exchanges with those ([`recheck`]). A blocked source gets its connection and a page on it.
//!
//! Not here: what a challenge would show (it is a refusal), trailers, HTTP/3, WebSocket over HTTP/2, compression,
//! caching. No configuration is read but [`Config`], no file and no environment but the system's root certificates,
//! once, at start.

mod arrived;
mod counters;
mod egress;
mod forward;
mod hyper_body;
mod ingress;
mod limits;
mod page;
mod pipeline;
mod plane;
mod ray;
mod recheck;
mod worker;

use bartizan_firewall::Firewall;
use bartizan_geo::Geo;
use bartizan_routes::Routes;
use bartizan_tls::Certificates;

pub use counters::{OriginFailures, Requests, Totals, Visitors};
pub use plane::{Plane, Sockets, StartError, start};

/// All that the plane is told. A new one is put in force between two requests.
#[derive(Clone)]
pub struct Config {
    pub routes: Routes,
    pub firewall: Firewall,
    /// Where visitors come from. Asked once a connection: one that is open keeps what was said when it came.
    pub geo: Geo,
    pub certificates: Certificates,
    pub server: ServerFacts,
}

/// What the plane says about itself.
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    /// This PoP's short name, the second half of `CF-Ray`. Letters and digits; others are left out.
    pub pop: String,
    /// Roots in PEM that origins under `strict` may be certified by, beside those of the system. Read once, at start.
    pub origin_roots: Option<String>,
}
