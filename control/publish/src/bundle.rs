//! What a PoP puts in force.

use bartizan_authority::Zones;
use bartizan_firewall::Firewall;
use bartizan_live::Generation;
use bartizan_routes::{Apps, Routes, Tunnels};
use bartizan_tls::{Certificates, CertifiedKey};

/// One complete configuration. Equal at every PoP but for the addresses of applications, which come from its own pools;
/// those of proxied names are filled in by its planes.
///
/// Each part has the number of the bundle that changed it last: who uses only parts whose numbers are the same need not
/// be told of a new bundle.
#[derive(Clone)]
pub struct Bundle {
    /// The revision of the newest change in it.
    pub number: u64,
    pub zones: Generation<Zones>,
    pub routes: Generation<Routes>,
    pub apps: Generation<Apps>,
    pub firewall: Generation<Firewall>,
    /// For visitors, by the name they ask for.
    pub certificates: Generation<Certificates>,
    /// For connectors. Of one generation with [`Bundle::certificates`].
    pub tunnel_certificate: Option<CertifiedKey>,
    pub tunnels: Generation<Tunnels>,
}
