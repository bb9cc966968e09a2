//! Tunnels: what the edge must know of one. It is enough to check a connector, not enough to be one.

use std::fmt;
use std::sync::Arc;

use bartizan_live::PersistentMap;
use bartizan_names::{AccountId, TunnelId};

/// All tunnels that connectors may connect for. Cheap to clone.
pub type Tunnels = PersistentMap<TunnelId, Arc<Tunnel>>;

/// One tunnel.
#[derive(Clone, PartialEq, Eq)]
pub struct Tunnel {
    pub account: AccountId,
    /// The hash alone: only the connector has the secret.
    pub secret_sha256: [u8; 32],
    /// Whether its connectors are told their configuration; if not, they upload their own.
    pub remotely_managed: bool,
    pub configuration: Option<TunnelConfiguration>,
}

/// What connectors are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfiguration {
    /// Grows with each change.
    pub version: i32,
    pub json: Arc<str>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("account", &self.account)
            .field("remotely_managed", &self.remotely_managed)
            .field("configuration", &self.configuration)
            .finish_non_exhaustive()
    }
}
