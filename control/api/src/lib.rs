//! REST v4: the API by which everything is done. One file a resource.
//!
//! ```text
//! listener (serve) ─ normal path (path) ─ router ─ guard: who, and may they (access) ─ handler
//!                                                                  read a View, or run a Change (objects)
//!                                                                  ─► publish::check ─► one revision ─► reply
//! ```
//! - Replies come after the change is durable. A change that loses a race runs again; clients never see 409 for it.
//! - Which codes clients see is decided in `error` alone; shapes are in `base/v4`, rules in `base/model`.
//! - The document (`/client/v4/openapi.json`) is made from the types and routes that serve.
//! - Beside the dialect: `/healthz`, `/readyz`, `/metrics`, and one page at `/` for the person at this machine.
//!
//! Not here: what is served from a change (`publish`, planes), and who is connected ([`presence`] is brought by `bin`).

mod access;
mod access_rules;
mod accounts;
mod bootstrap;
mod dns_records;
mod edge;
mod error;
mod extract;
mod firewall;
mod hex;
mod ips;
mod objects;
mod openapi;
mod page;
mod path;
mod permission;
mod placement;
pub mod presence;
mod probes;
mod reply;
mod router;
mod serve;
mod settings;
mod spectrum;
mod state;
mod tunnel_routes;
mod tunnels;
mod user;
mod zones;

pub use bootstrap::{Administrator, BootstrapError, DefaultZone, FILE as ADMIN_FILE, Preset, bootstrap};
pub use error::{Error, Fault};
pub use extract::BODY_MAX;
pub use firewall::{FirewallAnswer, FirewallQuestion, Verdict};
pub use permission::Permission;
pub use presence::{Command, Presence};
pub use router::router;
pub use serve::{Peer, serve};
pub use spectrum::AppCounters;
pub use state::{Dependencies, Facts, Ports};

use state::Api;
