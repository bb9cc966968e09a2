//! REST v4: the API by which everything is done. One file a resource.
//!
//! ```text
//! listener (serve) ─ normal path (path) ─ router ─ guard: who, and may they (auth) ─ handler (a resource)
//!                                                    read a View, or run a Change (transaction) again and again (writes)
//!                                                    ─► publish::check ─► one revision ─► reply
//! ```
//! - Replies come after the change is durable. A change that loses a race runs again; clients never see 409 for it.
//! - Which codes clients see is decided in `error` alone; shapes are in `base/v4`, rules in `base/model`.
//! - The document (`/client/v4/openapi.json`) is made from the types and routes that serve.
//! - Beside the dialect: `/healthz`, `/readyz`, `/metrics` (with a token from elsewhere), and at `/` the dashboard for browsers, and
//!   one page without a script for the person at this machine.
//!
//! # Layers
//! A file uses files of lower lines, and of its own line only those to its left; never anything above.
//! ```text
//! whole       bootstrap · page · router · serve
//! background  deletions · renewals · acme_worker · crl_bounds · crl_worker
//! resources   accounts · certificates · certificate_packs · acme · zones · phishing · resource · custom_certificates · origin_roots · origin_clients · client_hosts · client_roots · client_certificates · tokens · sessions · users ·
//!             members · user · organizations · invites · settings · zone_facts · dnssec · registries · tunnels · apps · owner_names · dns_records · dns_trace · http_trace · analytics · live · delegation · page_rules · tunnel_routes · pops · app_addresses ·
//!             spectrum · pools · load_balancers · monitors · previews · access_rules · firewall · audit_logs · edge · clock · status · ips · probes
//! guard       here · state (Api) · auth
//! store       transaction (View, Change) · memberships · caller · writes · cookie_secrets · passwords · login_codes · calls
//! calls       path · origin · cookie · permission · roles · reply · error · rights · tag · query · extract · here · front ·
//!             openapi · numbers · idempotency · background (Worker) · turns · spools · admin_file ·
//!             last_used · lists · shares · tracings · looks · dry_run
//! ```
//! What a resource keeps, and by which rules, is in its own file: as methods of View and Change that other resources may
//! call. What is about everything of a zone, whatever its kind, is in `deletions`.
//!
//! Not here: what is served from a change (`publish`, planes), and what is seen of it (`base/observed`, written by planes).

mod access_rules;
mod accounts;
mod acme;
mod acme_worker;
mod admin_file;
mod analytics;
mod app_addresses;
mod apps;
mod audit_logs;
mod auth;
mod background;
mod bootstrap;
mod caller;
mod calls;
mod certificate_packs;
mod certificates;
mod client_certificates;
mod client_hosts;
mod client_roots;
mod clock;
mod cookie;
mod cookie_secrets;
mod crl_bounds;
mod crl_worker;
mod custom_certificates;
mod delegation;
mod deletions;
mod dns_records;
mod dns_trace;
mod dnssec;
mod dry_run;
mod edge;
mod error;
mod extract;
mod firewall;
mod front;
mod here;
mod http_trace;
mod idempotency;
mod invites;
mod ips;
mod last_used;
mod lists;
mod live;
mod load_balancers;
mod login_codes;
mod looks;
mod members;
mod memberships;
mod monitors;
mod numbers;
mod openapi;
mod organizations;
mod origin;
mod origin_clients;
mod origin_roots;
mod owner_names;
mod page;
mod page_rules;
mod passwords;
mod path;
mod permission;
mod phishing;
mod pools;
mod pops;
mod previews;
mod probes;
mod query;
mod registries;
mod renewals;
mod reply;
mod resource;
mod rights;
mod roles;
mod router;
mod serve;
mod sessions;
mod settings;
mod shares;
mod spectrum;
mod spools;
mod state;
mod status;
mod tag;
mod tokens;
mod transaction;
mod tunnel_routes;
mod tunnels;
mod turns;
mod user;
mod users;
mod writes;
mod zone_facts;
mod zones;

pub use acme::{DeclareAcmeError, declare_acme};
pub use admin_file::{
    AdminFileError, Administrator, DefaultZone, FILE as ADMIN_FILE, FILE_BACK as ADMIN_FILE_BACK, NEW_CREDENTIALS,
};
pub use bootstrap::{BootstrapError, Entry, Preset, SetUp, bootstrap};
pub use caller::read_token;
pub use calls::CALLS_USUAL;
pub use cookie_secrets::declare_cookie_secrets;
pub use dns_records::{foretold, write_line};
pub use error::{Error, Fault};
pub use extract::{BODY_MAX, Peer};
pub use last_used::FILE as TOKEN_USES_FILE;
pub use looks::{Done, Looks};
pub use permission::Permission;
pub use pops::{DeclareError, declare_pop, declared_pop};
pub use router::router;
pub use serve::serve;
pub use state::{Dependencies, Facts, Ports, Process};
