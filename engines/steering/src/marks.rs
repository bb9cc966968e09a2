//! What is seen of the nodes of a pool: which are down, and how many requests are under way at each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Beside a pool, and shared by its generations as long as its nodes are the same.
#[derive(Debug)]
pub struct Marks {
    down: AtomicU64,
    /// Those that are behind a tunnel without a connection, whatever was found when it had one.
    lost: AtomicU64,
    open: Box<[AtomicU32]>,
    /// Microseconds that looks at each took of late; 0 where nobody has looked.
    took: Box<[AtomicU32]>,
    all_open: AtomicU32,
}

impl Marks {
    /// Of a pool with so many nodes, all of which are taken to be well.
    pub fn new(nodes: usize) -> Marks {
        Marks {
            down: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            open: (0..nodes).map(|_| AtomicU32::new(0)).collect(),
            took: (0..nodes).map(|_| AtomicU32::new(0)).collect(),
            all_open: AtomicU32::new(0),
        }
    }

    /// Those at which looks failed, one bit a node.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    /// Those that cannot be reached, since nobody is connected for them.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Those that are not to be sent anybody: both of these.
    pub(crate) fn away(&self) -> u64 {
        self.down() | self.lost()
    }

    /// Says what looks at a node found.
    pub fn mark(&self, node: usize, is_down: bool) {
        set(&self.down, node, is_down);
    }

    /// Says whether nobody is connected for a node.
    pub fn mark_lost(&self, node: usize, is_lost: bool) {
        set(&self.lost, node, is_lost);
    }

    /// Says how long a look at a node took that went well. One that is slow once weighs a quarter.
    pub fn note_took(&self, node: usize, took: Duration) {
        let Some(known) = self.took.get(node) else { return };
        let new = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let smooth = match known.load(Ordering::Relaxed) {
            0 => new,
            before => (u64::from(before) * 3 / 4 + u64::from(new) / 4).max(1) as u32, // between both
        };
        known.store(smooth, Ordering::Relaxed);
    }

    /// Microseconds that looks at a node took of late.
    pub fn took(&self, node: usize) -> Option<u32> {
        self.took.get(node).map(|took| took.load(Ordering::Relaxed)).filter(|took| *took > 0)
    }

    /// Knows of a node what `before` knew of one of its own.
    pub(crate) fn take_over(&self, node: usize, before: &Marks, at: usize) {
        self.mark(node, before.down() >> at & 1 == 1);
        self.mark_lost(node, before.lost() >> at & 1 == 1);
        if let (Some(took), Some(known)) = (self.took.get(node), before.took(at)) {
            took.store(known, Ordering::Relaxed);
        }
    }

    /// Requests that are under way at a node.
    pub fn open(&self, node: usize) -> u32 {
        self.open.get(node).map_or(0, |open| open.load(Ordering::Relaxed))
    }

    pub(crate) fn all_open(&self) -> u32 {
        self.all_open.load(Ordering::Relaxed)
    }

    /// A request begins at a node, and ends when this is dropped.
    pub fn begin(self: &Arc<Marks>, node: usize) -> Open {
        if let Some(open) = self.open.get(node) {
            open.fetch_add(1, Ordering::Relaxed);
            self.all_open.fetch_add(1, Ordering::Relaxed);
        }
        Open { marks: Arc::clone(self), node }
    }
}

fn set(marks: &AtomicU64, node: usize, is_set: bool) {
    let bit = 1_u64.checked_shl(node as u32).unwrap_or(0);
    if is_set {
        marks.fetch_or(bit, Ordering::Relaxed);
    } else {
        marks.fetch_and(!bit, Ordering::Relaxed);
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct Open {
    marks: Arc<Marks>,
    node: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(open) = self.marks.open.get(self.node) {
            open.fetch_sub(1, Ordering::Relaxed);
            self.marks.all_open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
