//! Host to its zone, and to where its requests go: an origin address or a tunnel. Address and port to application.
//! The tunnels that there are.
//!
//! ```text
//! publish ── Edit ────► Routes (immutable, shared) ──► find("www.example.com") ──► Match { site, route, by }
//! publish ── AppEdit ─► Apps   (immutable, shared) ──► at(tcp, 127.77.0.1:22) ──► App
//! ```
//! No DNS here: whether a name leads to this edge at all is the authority's business. An exact host wins, else the
//! nearest `*.` entry above it, at any depth (the names below a wildcard in DNS, RFC 4592, without its rule that an
//! existing name in between hides it: such a host has a record of its own, and DNS does not send it here). A route knows
//! its zone by number, and what holds for the zone is held once, so that a change of it touches no host. What that is
//! (`P`, in this edge the `Policy` of `engines/policy`) is carried unread.

mod apps;
mod pools;
mod route;
mod site;
mod table;
mod tunnels;

pub use apps::{App, AppAddresses, AppEdit, Apps};
pub use pools::Pools;
pub use route::{Origin, OriginScheme, Route, Scheme, Target};
pub use site::{Site, SiteNumber};
pub use table::{By, Edit, Match, Routes};
pub use tunnels::{Tunnel, TunnelConfiguration, Tunnels};
