//! Who is connected: soft state of the tunnel plane, brought here by `bin` (design §2.8). Never in the store.

use std::net::IpAddr;

use bartizan_names::{ConnectorId, Timestamp, TunnelId};
use uuid::Uuid;

/// Connections that a connector keeps up when all is well.
const CONNECTIONS_WHOLE: usize = 4;

/// The connections of all tunnels at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence(pub Vec<Connection>);

/// One connection of a connector.
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
}

/// What connections say about a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// No connection.
    Inactive,
    /// Fewer than a connector keeps.
    Degraded,
    Healthy,
}

impl Health {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Health::Inactive => "inactive",
            Health::Degraded => "degraded",
            Health::Healthy => "healthy",
        }
    }
}

impl Presence {
    pub(crate) fn of(&self, tunnel: TunnelId) -> impl Iterator<Item = &Connection> {
        self.0.iter().filter(move |connection| connection.tunnel == tunnel)
    }

    pub(crate) fn health(&self, tunnel: TunnelId) -> Health {
        match self.of(tunnel).count() {
            0 => Health::Inactive,
            count if count < CONNECTIONS_WHOLE => Health::Degraded,
            _ => Health::Healthy,
        }
    }
}

/// What the API asks of the tunnel plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Close the connections of a tunnel, or of one of its connectors.
    DropConnections { tunnel: TunnelId, connector: Option<ConnectorId> },
}
