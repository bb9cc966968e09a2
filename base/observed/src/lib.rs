//! What is seen and not configured: who is connected, what was counted, what is wrong. Each shape once.
//!
//! ```text
//! planes, publish ──► Observed ──► control/api (status, presence, /metrics, readyz)
//!                     Observed ◄── Command ── control/api
//! ```
//! Soft state: it is lost with the process and made again within seconds, and never in the store. What comes from
//! elsewhere is held for as long as its lease says ([`Leased`]).
//!
//! Not here: sockets, files, a log, a clock. Who reports hands in the time.

mod apps;
mod command;
mod connections;
mod dns;
mod firewall;
mod http;
mod leased;
mod listening;
mod metrics;
mod observed;
mod pools;
mod problem;
mod problems;

pub use apps::{AppCounters, AppCounts};
pub use command::{Command, Commanded};
pub use connections::{
    Configured, Connection, Connections, Health, LastAnswer, Meter, Metered, Traffic, Transport, Uploaded,
};
pub use dns::{DnsQuery, DnsQuestion, DnsStep, DnsTrace};
pub use firewall::{FirewallAnswer, FirewallQuery, FirewallQuestion, Verdict};
pub use http::{
    HttpAnswer, HttpIdentity, HttpMethod, HttpQuery, HttpQuestion, HttpStage, HttpStep, HttpTrace, HttpVersion,
    TracesBusy, Tracing,
};
pub use leased::{Lease, Leased};
pub use listening::{Listening, NotListening, Reason, TierName};
pub use metrics::{Labels, Measured, Metric, MetricKind, Sample, openmetrics};
pub use observed::{Applied, Lag, Observed};
pub use pools::{NodeSeen, NodeTurn, PoolQuery, PoolSeen, PoolTurn};
pub use problem::{NAMED_MAX, Problem, ProblemKind, What};
pub use problems::{Problems, Reporter};
