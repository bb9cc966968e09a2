//! How the servers of pools are, as their monitors found them.

use std::time::Duration;

use bartizan_names::{AccountId, PoolId, Timestamp};

/// Who looks after servers.
pub trait PoolQuery: Send + Sync {
    /// How a pool is; none if it is not served here.
    fn pool(&self, pool: PoolId) -> Option<PoolSeen>;

    /// What servers turned into since this was asked last, the oldest first, and how many more there were than are kept.
    fn take_turns(&self) -> (Vec<PoolTurn>, u64) {
        (Vec::new(), 0)
    }
}

/// How a pool is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolSeen {
    pub healthy: bool,
    pub nodes: Vec<NodeSeen>,
    /// The newest first.
    pub turns: Vec<NodeTurn>,
}

/// How a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSeen {
    /// What its pool calls it, and where it is.
    pub name: String,
    pub address: String,
    /// Also as long as nobody has looked.
    pub healthy: bool,
    /// How long the last look took; none before the first.
    pub took: Option<Duration>,
    /// Why the last look failed; empty if it did not.
    pub reason: String,
    /// The status code of the last answer; 0 if there was none.
    pub code: u16,
}

/// That a server went down, or came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTurn {
    pub at: Timestamp,
    pub node: String,
    pub healthy: bool,
    pub reason: String,
}

/// The same, with its pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTurn {
    pub account: AccountId,
    pub pool: PoolId,
    pub turn: NodeTurn,
    /// How many of the pool's servers are well since then, and how many there are.
    pub well: usize,
    pub nodes: usize,
}
