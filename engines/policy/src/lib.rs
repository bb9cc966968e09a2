//! What holds for all hosts of a zone.
//!
//! ```text
//! publish ── reads it with the zone ──► Arc<Policy> ──► Routes<Policy>::find(zones, host) ──► Site { zone, policy } ──► pipeline
//! ```
//! Engines do not know each other, so none of them could hold what several decide about one zone. This crate can: each
//! field is a value of the engine that decides by it (rules that were compiled, access rules, a pool), and this is the
//! only engine that may use the others. Nothing is decided here.
//!
//! Why one value and not a table for each engine: a request that found its host has found everything that holds for it,
//! by the same look-up and with one shared reference to keep; a zone that goes takes all of it along; and a new policy
//! needs no table, no part of the bundle and no field in the configuration of a plane. A change of one policy makes a
//! new value for that zone, which shares with the old one what fields share by themselves: one that is large belongs in
//! an `Arc`.

use std::sync::Arc;

use bartizan_names::ZoneSettings;

/// One field a policy, with what holds where nobody asked for anything as its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub settings: ZoneSettings,
    /// Whether any host of it asks its clients for a certificate. Whom it believes is found where handshakes find it.
    pub asks_clients: bool,
    /// Authorities that its origins may have their certificates from, beside those that the machine trusts.
    pub origin_roots: Option<Arc<OriginRoots>>,
}

/// Authorities of a zone's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRoots {
    /// PEM. Handshakes with origins use the same text.
    pub certificates: Arc<str>,
    /// Another one of other certificates (SHA-256).
    pub sum: [u8; 32],
}
