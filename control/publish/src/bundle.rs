//! What a PoP puts in force.

use std::sync::Arc;

use bartizan_authority::{Addresses, Zones};
use bartizan_dns_guard::Secrets;
use bartizan_firewall::Firewall;
use bartizan_live::Generation;
use bartizan_policy::Policy;
use bartizan_routes::{Apps, Challenges, Pools, Routes, Tunnels};
use bartizan_steering::{Balancers, Checks};
use bartizan_tls::{CertifiedKey, Hosts};

/// One complete configuration. It is equal at every PoP, except for what describes the PoP itself and for the addresses of
/// applications, which come from its pools.
///
/// Each part has the number of the bundle that changed it last. A plane whose parts all have the numbers that it knows need
/// not be told of a new bundle.
#[derive(Clone)]
pub struct Bundle {
    /// The revision of the newest change in it.
    pub number: u64,
    /// The PoP that this edge is.
    pub pop: Generation<ServedPop>,
    pub zones: Generation<Zones>,
    pub routes: Generation<Routes<Policy>>,
    pub apps: Generation<Apps>,
    pub balancers: Generation<Balancers>,
    /// What is asked of the servers of pools.
    pub checks: Generation<Checks>,
    pub firewall: Generation<Firewall>,
    /// Certificates and TLS policies for visitors, by the name they ask for.
    pub hosts: Generation<Hosts>,
    /// For connectors.
    pub tunnel_certificate: Generation<Option<CertifiedKey>>,
    pub tunnels: Generation<Tunnels>,
    /// What a public authority is answered over HTTP.
    pub challenges: Generation<Arc<Challenges>>,
    /// What DNS cookies are made with. None as long as the store has none.
    pub cookies: Generation<Option<Secrets>>,
}

/// What describes the PoP that this edge is. Empty as long as the store does not know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedPop {
    /// As visitors see it in `CF-Ray`.
    pub name: String,
    /// The addresses of proxied names.
    pub addresses: Addresses,
    /// The addresses of applications come from these.
    pub pools: Pools,
}
