//! What is asked of the nodes of a pool, and what their answers make of them.

use std::sync::Arc;
use std::time::Duration;

use bartizan_live::PersistentMap;
use bartizan_names::{AccountId, PoolId};

use crate::pool::Pool;

/// All pools that are looked after, or only shown. Cheap to clone.
pub type Checks = PersistentMap<PoolId, Arc<Check>>;

/// A pool and its monitor.
#[derive(Clone, Debug)]
pub struct Check {
    /// Whose it is.
    pub account: AccountId,
    pub pool: Arc<Pool>,
    /// None: its nodes are taken to be well.
    pub monitor: Option<Arc<Monitor>>,
    /// It has a monitor that cannot be read: nobody looks, and nobody knows how its nodes are.
    pub is_unread: bool,
}

/// How it is told whether a node is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    pub kind: MonitorKind,
    /// In place of the node's own.
    pub port: Option<u16>,
    pub timeout: Duration,
    pub interval: Duration,
    /// How often a try that failed is made again at once.
    pub retries: u32,
    /// So many looks one after the other.
    pub down_after: u32,
    pub up_after: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitorKind {
    /// A connection.
    Tcp,
    Http(Request),
}

/// What is asked over HTTP, and which answer is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub tls: bool,
    /// Whether the certificate need not be a good one.
    pub insecure: bool,
    pub head: bool,
    pub path: String,
    /// Without `Host`.
    pub fields: Vec<(String, String)>,
    pub host: Option<String>,
    /// Ranges of codes, both ends within.
    pub codes: Vec<(u16, u16)>,
    /// A part of the body; empty: any.
    pub body: String,
    pub redirects: bool,
}

impl Request {
    pub fn expects(&self, code: u16) -> bool {
        self.codes.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }
}

/// What is known of one node by the looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    is_down: bool,
    has_looked: bool,
    /// Looks one after the other that say otherwise.
    against: u32,
}

impl Known {
    /// What was known of the node before.
    pub const fn being(is_down: bool) -> Known {
        Known { is_down, has_looked: false, against: 0 }
    }

    pub const fn is_down(self) -> bool {
        self.is_down
    }

    /// Takes the outcome of a look; says whether the node has turned by it. The first one of all decides at once.
    pub fn observe(&mut self, monitor: &Monitor, went_well: bool) -> bool {
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        if went_well != self.is_down {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        let enough = if went_well { monitor.up_after } else { monitor.down_after };
        if !is_first && self.against < enough {
            return false;
        }
        self.is_down = !went_well;
        self.against = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_after_so_many() {
        let second = Duration::from_secs(1);
        let monitor = |down_after, up_after| Monitor {
            kind: MonitorKind::Tcp,
            port: None,
            timeout: second,
            interval: second * 5,
            retries: 0,
            down_after,
            up_after,
        };
        // Looks (+ went well), and after each whether the node is up (u) or down (d).
        for (down_after, up_after, looks, expect) in
            [(1, 1, "+-+-", "udud"), (3, 1, "+--+---+", "uuuuuudu"), (1, 2, "+-+-++", "uddddu"), (3, 3, "-+++", "dddu")]
        {
            let (monitor, mut known) = (monitor(down_after, up_after), Known::default());
            let mut states = String::new();
            for look in looks.chars() {
                known.observe(&monitor, look == '+');
                states.push(if known.is_down() { 'd' } else { 'u' });
            }
            assert_eq!(states, expect, "{down_after} {up_after} {looks}");
        }
    }
}
