//! Configuration is a snapshot, not a lock: a complete value, put in force by one pointer swap.
//!
//! ```text
//! publish ──► Live<T> ──► Reader<T> (one a worker) ──► take(): &Generation<T> for one batch or request
//! ```
//! Who sits on a socket instead of asking per request is told by [`Live::changes`].
//!
//! What is large in a configuration is *persistent*: [`PersistentMap`], [`PersistentVec`] and [`Shards`] share with the
//! last value all but the part that changed, so that making the next one costs microseconds however large it is.
//! What workers have counted goes the other way, by a [`Tray`] of each. No clock, no randomness, no I/O.

mod backoff;
mod persistent_map;
mod persistent_vec;
mod shards;
mod silence;
mod sweep;
mod tray;

use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use tokio::sync::watch;

pub use backoff::Backoff;
pub use persistent_map::PersistentMap;
pub use persistent_vec::PersistentVec;
pub use shards::Shards;
pub use silence::Silence;
pub use sweep::{Step, Sweep};
pub use tray::{Filled, Tray, Trays};

/// A configuration and the number of the change that made it (grows by at least one a change).
#[derive(Clone, Debug)]
pub struct Generation<T> {
    pub number: u64,
    pub value: T,
}

/// The configuration in force. There is nothing to lock.
#[derive(Debug)]
pub struct Live<T> {
    current: Arc<ArcSwap<Generation<T>>>,
    changes: watch::Sender<u64>,
}

/// One worker's view: it looks at the shared pointer and touches the shared reference count only after a change,
/// so that many workers do not write to one cache line for every query.
#[derive(Clone)]
pub struct Reader<T>(Cache<Arc<ArcSwap<Generation<T>>>, Arc<Generation<T>>>);

impl<T> Live<T> {
    /// `value` in force as generation 0, until something newer comes.
    pub fn new(value: T) -> Live<T> {
        Live::beginning(Generation { number: 0, value })
    }

    /// `first` in force, until something newer comes.
    pub fn beginning(first: Generation<T>) -> Live<T> {
        let changes = watch::Sender::new(first.number);
        Live { current: Arc::new(ArcSwap::from_pointee(first)), changes }
    }

    pub fn reader(&self) -> Reader<T> {
        Reader(Cache::new(Arc::clone(&self.current)))
    }

    /// The snapshot in force now, for rare use. Workers keep a [`Reader`].
    pub fn snapshot(&self) -> Arc<Generation<T>> {
        self.current.load_full()
    }

    /// Wakes the tasks that wait for a change. The number is the one of the newest generation.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Puts `next` in force unless something newer already is.
    pub fn publish(&self, next: Generation<T>) {
        let next = Arc::new(next);
        self.current.rcu(|current| if next.number > current.number { Arc::clone(&next) } else { Arc::clone(current) });
        // After the swap, so that a task that wakes up finds the new value.
        self.changes.send_if_modified(|newest| {
            let newer = next.number > *newest;
            *newest = next.number.max(*newest);
            newer
        });
    }
}

impl<T: PartialEq> Live<T> {
    /// For the one who alone writes and has no number to give: the next one, if `value` is another one than before.
    pub fn replace(&self, value: T) {
        let current = self.snapshot();
        if current.value != value {
            self.publish(Generation { number: current.number + 1, value });
        }
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Live<T> {
        Live { current: Arc::clone(&self.current), changes: self.changes.clone() }
    }
}

impl<T> Reader<T> {
    /// The snapshot for one batch or one request. Call it in `ingress`, pass the reference on.
    pub fn take(&mut self) -> &Generation<T> {
        self.0.load()
    }

    /// A snapshot that outlives the call, for what is held across an `.await`.
    pub fn hold(&mut self) -> Arc<Generation<T>> {
        Arc::clone(self.0.load())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_generation_wins() {
        let live = Live::new("zero");
        let mut reader = live.reader();
        assert_eq!(reader.take().value, "zero");
        live.publish(Generation { number: 2, value: "two" });
        live.publish(Generation { number: 1, value: "one" });
        assert_eq!((reader.take().number, reader.take().value), (2, "two"));
        let held = reader.hold();
        live.publish(Generation { number: 3, value: "three" });
        assert_eq!((held.value, reader.take().value), ("two", "three"));
    }

    #[test]
    fn a_change_is_announced_once() {
        let live = Live::new("zero");
        let mut changes = live.changes();
        assert!(!changes.has_changed().unwrap());
        live.publish(Generation { number: 2, value: "two" });
        assert_eq!(*changes.borrow_and_update(), 2);
        live.clone().publish(Generation { number: 1, value: "one" });
        assert!(!changes.has_changed().unwrap());
        live.replace("two");
        assert!(!changes.has_changed().unwrap());
        live.replace("three");
        assert_eq!((*changes.borrow_and_update(), live.snapshot().value), (3, "three"));
    }
}
