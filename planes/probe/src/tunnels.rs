//! Servers behind tunnels: one for whose tunnel nobody is connected gets nobody from that moment on, whatever its monitor says and
//! also without one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bartizan_names::{PoolId, TunnelId};
use bartizan_observed::Connections;
use bartizan_steering::{Check, NodeTarget};

/// Which pools have a server behind which tunnel.
#[derive(Default)]
pub(crate) struct Tunnels {
    connected: HashSet<TunnelId>,
    behind: HashMap<TunnelId, Behind>,
}

#[derive(Default)]
struct Behind {
    pools: Vec<PoolId>,
    /// Whether anybody was ever connected for it. After a start all come one after the other, which is no turn.
    was_connected: bool,
}

/// That a server of a pool has been lost, or is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) pool: PoolId,
    pub(crate) tunnel: TunnelId,
    pub(crate) is_lost: bool,
    /// Whether somebody should be told.
    pub(crate) is_turn: bool,
}

impl Tunnels {
    /// A pool is not in force any more.
    pub(crate) fn forget(&mut self, check: &Check) {
        for tunnel in tunnels(check) {
            if let Some(behind) = self.behind.get_mut(&tunnel) {
                behind.pools.retain(|pool| *pool != check.pool.id);
                if behind.pools.is_empty() {
                    self.behind.remove(&tunnel);
                }
            }
        }
    }

    /// A pool is in force: marks which of its servers are lost.
    pub(crate) fn know(&mut self, check: &Check) {
        for tunnel in tunnels(check) {
            let behind = self.behind.entry(tunnel).or_default();
            behind.was_connected |= self.connected.contains(&tunnel);
            if !behind.pools.contains(&check.pool.id) {
                behind.pools.push(check.pool.id);
            }
        }
        for (index, node) in check.pool.nodes().iter().enumerate() {
            let is_lost = matches!(&node.target, NodeTarget::Tunnel(tunnel) if !self.connected.contains(tunnel));
            check.pool.marks.mark_lost(index, is_lost);
        }
    }

    /// Takes who is connected now; gives what became of servers.
    pub(crate) fn take(&mut self, connections: &Connections) -> Vec<Moved> {
        let now: HashSet<TunnelId> = connections.0.iter().map(|connection| connection.tunnel).collect();
        let before = std::mem::replace(&mut self.connected, now);
        let mut moved = Vec::new();
        for tunnel in before.symmetric_difference(&self.connected) {
            let Some(behind) = self.behind.get_mut(tunnel) else { continue };
            let is_lost = before.contains(tunnel);
            let is_turn = is_lost || behind.was_connected;
            behind.was_connected = true;
            moved.extend(behind.pools.iter().map(|pool| Moved { pool: *pool, tunnel: *tunnel, is_lost, is_turn }));
        }
        moved
    }
}

fn tunnels(check: &Check) -> impl Iterator<Item = TunnelId> {
    check.pool.nodes().iter().filter_map(|node| match &node.target {
        NodeTarget::Tunnel(tunnel) => Some(*tunnel),
        NodeTarget::Host(_) => None,
    })
}

/// The servers of a pool that are behind a tunnel.
pub(crate) fn servers(check: &Arc<Check>, tunnel: TunnelId) -> impl Iterator<Item = usize> {
    let nodes = check.pool.nodes().iter().enumerate();
    nodes.filter(move |(_, node)| node.target == NodeTarget::Tunnel(tunnel)).map(|(index, _)| index)
}
