//! How many looks there are at one server.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Looks at one server by one account that are under way, and that begin in a second, whatever the ports: a thousand monitors of
/// one server, dead or alive, are no flood.
pub(crate) const OPEN_MAX: u32 = 64;
pub(crate) const RATE_MAX: u32 = 64;

/// Servers that are counted before those are let go at which nothing happens.
const COUNTED_MIN: usize = 4_096;

/// Looks by what a server is known by.
pub(crate) struct Servers<K> {
    counted: HashMap<K, Server>,
    /// So many are counted when it is tidied next.
    tidy_at: usize,
}

#[derive(Clone, Copy)]
struct Server {
    open: u32,
    since: Instant,
    /// That began in the second from `since` on.
    begun: u32,
}

impl<K> Default for Servers<K> {
    fn default() -> Servers<K> {
        Servers { counted: HashMap::new(), tidy_at: COUNTED_MIN }
    }
}

impl<K: Eq + Hash> Servers<K> {
    /// Takes a place for a look, if there is one.
    pub(crate) fn enter(&mut self, key: K, now: Instant) -> bool {
        self.tidy(now);
        let new = Server { open: 0, since: now, begun: 0 };
        let server = self.counted.entry(key).or_insert(new);
        if now.saturating_duration_since(server.since) >= Duration::from_secs(1) {
            (server.since, server.begun) = (now, 0);
        }
        if server.open >= OPEN_MAX || server.begun >= RATE_MAX {
            return false;
        }
        (server.open, server.begun) = (server.open + 1, server.begun + 1);
        true
    }

    pub(crate) fn leave(&mut self, key: &K) {
        if let Some(server) = self.counted.get_mut(key) {
            server.open = server.open.saturating_sub(1);
        }
    }

    /// Lets go of servers at which nothing happens: their table is no larger than twice what there is to count.
    fn tidy(&mut self, now: Instant) {
        if self.counted.len() < self.tidy_at {
            return;
        }
        let is_used =
            |server: &Server| server.open > 0 || now.saturating_duration_since(server.since) < Duration::from_secs(1);
        self.counted.retain(|_, server| is_used(server));
        self.tidy_at = COUNTED_MIN.max(2 * self.counted.len());
    }
}
