//! The edge's end of tunnels: connectors dial in over QUIC or HTTP/2 and register; requests go out to them.
//!
//! ```text
//! UDP 7844 ─ ingress: admit → handshake → register ─┬► pipeline: one task a connection (push, upload, unregister)
//! TCP 7844 ─ http2: the same ───────────────────────┘
//!                                                        │ registry: who is connected (table; as observed)
//! planes/http ─ dyn Upstream ─ egress: choose → open stream → head, body ⇄ head, body
//! planes/l4 ─── dyn Dialer ─── dial:   choose → open stream → address → bytes both ways
//!                                      choose → begin session → datagrams both ways (udp, sessions)
//! ```
//! QUIC runs on the plane's own threads, because a stall of five seconds ends the connections of all stock connectors;
//! remote calls run on one more thread. Requests are handled on the caller's thread, which is given a stream handle.
//! What visitors do not read is held within a share of memory (readers), and holds up nobody else.
//! Not here: ICMP, DNS.

mod admission;
mod beginning;
mod counters;
mod dial;
mod egress;
mod http2;
mod ingress;
mod limits;
mod link;
mod links;
mod listen;
mod metrics;
mod pipeline;
mod plane;
mod readers;
mod registry;
mod sessions;
mod stream;
mod transport;
mod udp;
mod untaken;

use bartizan_clock::Clock;
use bartizan_routes::Tunnels;
use bartizan_tls::CertifiedKey;

pub use bartizan_quic::ResetKey;
pub use counters::Counts;
pub use limits::Limits;
pub use plane::{Commands, Plane, Sockets, StartError, start};
pub use readers::Readers;

/// What this plane serves.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// All that connectors may connect for. A configuration is pushed to each connection of its tunnel, and again
    /// whenever its version grows.
    pub tunnels: Tunnels,
    /// For the names `quic.cftunnel.com`, `h2.cftunnel.com` and `probe.cftunnel.com`. Without it no connector can connect.
    pub certificate: Option<CertifiedKey>,
    /// Where this edge is, as connectors print it.
    pub location: String,
    /// The time at which connectors came.
    pub clock: Clock,
}
