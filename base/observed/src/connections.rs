//! Which connector is connected where.

use std::net::IpAddr;
use std::sync::Arc;

use bartizan_names::{ConnectorId, Timestamp, TunnelId};
use uuid::Uuid;

/// Connections that a connector keeps up when all is well.
const CONNECTIONS_WHOLE: usize = 4;

/// The connections of all tunnels at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections(pub Vec<Connection>);

/// One registered connection of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub tunnel: TunnelId,
    pub connector: ConnectorId,
    pub connection: Uuid,
    /// The connector's own number for it, from 0.
    pub index: u8,
    pub version: String,
    pub arch: String,
    pub features: Vec<String>,
    pub origin_ip: IpAddr,
    pub opened_at: Timestamp,
    /// The name of the PoP that it ends at.
    pub location: String,
    /// What a connector that is not told its configuration does, once it has said so.
    pub uploaded: Option<Uploaded>,
}

/// The configuration that a connector brought with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// JSON in the connector's own words; not checked.
    pub json: Arc<str>,
    pub at: Timestamp,
}

/// What connections say about a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// No connection.
    Inactive,
    /// Fewer than a connector keeps.
    Degraded,
    Healthy,
}

impl Health {
    pub const fn as_str(self) -> &'static str {
        match self {
            Health::Inactive => "inactive",
            Health::Degraded => "degraded",
            Health::Healthy => "healthy",
        }
    }
}

impl Connections {
    pub fn of(&self, tunnel: TunnelId) -> impl Iterator<Item = &Connection> {
        self.0.iter().filter(move |connection| connection.tunnel == tunnel)
    }

    pub fn health(&self, tunnel: TunnelId) -> Health {
        match self.of(tunnel).count() {
            0 => Health::Inactive,
            count if count < CONNECTIONS_WHOLE => Health::Degraded,
            _ => Health::Healthy,
        }
    }

    /// The newest configuration that a connector of the tunnel brought.
    pub fn uploaded(&self, tunnel: TunnelId) -> Option<&Uploaded> {
        self.of(tunnel).filter_map(|connection| connection.uploaded.as_ref()).max_by_key(|uploaded| uploaded.at)
    }
}
