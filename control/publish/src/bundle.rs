//! What a PoP puts in force.

use bartizan_authority::Zones;
use bartizan_firewall::Firewall;
use bartizan_routes::{Apps, Routes, Tunnels};
use bartizan_tls::{Certificates, CertifiedKey};

/// One complete configuration. Equal at every PoP but for the addresses of applications, which come from its own pools;
/// those of proxied names are filled in by its planes.
#[derive(Clone)]
pub struct Bundle {
    /// The revision of the newest change in it.
    pub number: u64,
    pub zones: Zones,
    pub routes: Routes,
    pub apps: Apps,
    pub firewall: Firewall,
    /// The number of the bundle that changed a certificate last.
    pub certificate_generation: u64,
    /// For visitors, by the name they ask for.
    pub certificates: Certificates,
    /// For connectors.
    pub tunnel_certificate: Option<CertifiedKey>,
    pub tunnels: Tunnels,
}
