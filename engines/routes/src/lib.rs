//! Host to its zone, and to where its requests go: an origin address or a tunnel. Address and port to application.
//! The tunnels that there are. What a public authority is answered that asks over HTTP whether a name is ours.
//!
//! ```text
//! publish ── Edit ────► Routes (immutable, shared) ──► find(zones, "www.example.com") ──► Match { site, route }
//! publish ── AppEdit ─► Apps   (immutable, shared) ──► at(tcp, 127.77.0.1:22) ──► App
//! ```
//! Whether a name leads to this edge, and by which entry of which zone, is the authority's business, and it is asked:
//! zones inside others, wildcards and the names that hide others from them (RFC 4592 §3.3.1), a pause. So HTTP serves a
//! name if and only if DNS sends visitors here for it, and nothing about names is kept twice. A route knows
//! its zone by number, and what holds for the zone is held once, so that a change of it touches no host. What that is
//! (`P`, in this edge the `Policy` of `engines/policy`) is carried unread.

mod apps;
mod challenges;
mod pools;
mod route;
mod site;
mod table;
mod tunnels;

pub use apps::{App, AppAddresses, AppEdit, Apps};
pub use challenges::Challenges;
pub use pools::Pools;
pub use route::{Route, Scheme, Server, Target};
pub use site::{Site, SiteNumber};
pub use table::{Edit, Match, Routes};
pub use tunnels::{Tunnel, TunnelConfiguration, Tunnels};
