//! What a PoP puts in force.

use std::collections::HashMap;
use std::sync::Arc;

use bartizan_authority::Zones;
use bartizan_firewall::Firewall;
use bartizan_names::{AccountId, TunnelId};
use bartizan_routes::{Apps, Routes};
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
    pub tunnels: Arc<HashMap<TunnelId, TunnelPart>>,
}

/// What the edge must know of a tunnel: enough to check a connector, not enough to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelPart {
    pub account: AccountId,
    pub secret_sha256: [u8; 32],
    pub remotely_managed: bool,
    /// Version and document of the configuration that is kept here.
    pub configuration: Option<(i32, Arc<str>)>,
}
