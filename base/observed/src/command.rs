//! What is asked of planes.

use bartizan_names::{ConnectorId, TunnelId};

/// Something to be done at once. It changes no configuration, and is lost where nobody takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Close the connections of a tunnel, or of one of its connectors.
    DropConnections { tunnel: TunnelId, connector: Option<ConnectorId> },
}

/// Who carries commands out. What a command is not meant for passes it over.
pub trait Commanded: Send + Sync {
    /// Returns at once.
    fn command(&self, command: Command);
}
