//! What connections hold in buffers, for whoever sends more than is taken of it, or takes less than is there.
//!
//! It is counted in blocks, which a source gets as connections get a place ([`Gate`]): no more than are left free for all
//! others. What each connection may hold without a block belongs to its place, so that whoever does not wait costs nothing
//! but an addition.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::gate::{Gate, Pass};
use crate::quotas::{Ceiling, Over};

/// A read or two of what flows.
const BLOCK_BYTES: usize = 64 * 1024;

/// What a connection may hold beside its blocks: a usual head, a full TLS record (RFC 8446 §5.1).
const UNCOUNTED_BYTES: usize = 16 * 1024;

const CEILING: Ceiling = Ceiling { open: u32::MAX, per_second: u32::MAX, handshakes: 0 };

/// The memory that connections of a plane share. Clones share it too.
#[derive(Clone)]
pub struct Memory(Arc<Gate>);

/// What one connection has of it. Dropped, it has nothing.
#[derive(Default)]
pub struct Held {
    bytes: Cell<usize>,
    blocks: Cell<Vec<Pass>>,
}

impl Memory {
    /// So many bytes.
    pub fn new(bytes: usize, now: Instant) -> Memory {
        Memory(Arc::new(Gate::single(bytes / BLOCK_BYTES, CEILING, now)))
    }

    /// How many of them are in blocks that somebody has.
    pub fn used(&self) -> usize {
        self.0.inside() * BLOCK_BYTES
    }

    /// Whether half of it is still free with so many bytes more: then they may be used for speed, and are missed by nobody.
    pub fn is_plenty_for(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.0.room() * BLOCK_BYTES / 2
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("used", &self.used()).finish_non_exhaustive()
    }
}

impl Held {
    /// So many bytes more of a connection from there have to wait. If they may not, they are not counted.
    // Hot: once for what waits. A lock and an allocation for another block only.
    pub fn add(&self, bytes: usize, memory: &Memory, from: IpAddr) -> Result<(), Over> {
        let held = self.bytes.get().saturating_add(bytes);
        if held > UNCOUNTED_BYTES {
            let mut blocks = self.blocks.take();
            let got = (blocks.len()..blocks_for(held)).try_for_each(|_| {
                blocks.push(memory.0.enter(from, Instant::now(), |_| false)?);
                Ok(())
            });
            self.blocks.set(blocks);
            got?;
        }
        self.bytes.set(held);
        Ok(())
    }

    /// So many do not wait any more.
    pub fn sub(&self, bytes: usize) {
        debug_assert!(bytes <= self.bytes.get(), "they were added");
        let held = self.bytes.get().saturating_sub(bytes);
        self.bytes.set(held);
        let mut blocks = self.blocks.take();
        // One more than is needed, as what goes comes again; but none for who holds little.
        let kept = if held <= UNCOUNTED_BYTES { 0 } else { blocks_for(held) + 1 };
        blocks.truncate(kept);
        if blocks.is_empty() {
            blocks = Vec::new();
        }
        self.blocks.set(blocks);
    }

    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }
}

fn blocks_for(bytes: usize) -> usize {
    bytes.saturating_sub(UNCOUNTED_BYTES).div_ceil(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn blocks_come_and_go() {
        let memory = Memory::new(100 * BLOCK_BYTES, Instant::now());
        let held = Held::default();
        // Bytes more, or less, and the blocks that are used then.
        for (change, blocks) in [
            (10_000, 0),
            (6_384, 0),
            (1, 1),
            (BLOCK_BYTES as isize - 1, 1),
            (1, 2),
            (-1, 2),
            (3 * BLOCK_BYTES as isize, 4),
            // One is kept as long as any is needed.
            (-2 * BLOCK_BYTES as isize, 3),
            (-2 * BLOCK_BYTES as isize, 0),
            (4 * BLOCK_BYTES as isize, 4),
        ] {
            match usize::try_from(change) {
                Ok(more) => held.add(more, &memory, from(1)).unwrap(),
                Err(_) => held.sub(change.unsigned_abs()),
            }
            assert_eq!(memory.used() / BLOCK_BYTES, blocks, "{change}");
        }
        drop(held);
        assert_eq!(memory.used(), 0);
    }

    /// Whoever takes all it can get, on however many connections, leaves half; what it is refused is not counted.
    #[test]
    fn a_source_leaves_as_much_for_others() {
        let memory = Memory::new(64 * BLOCK_BYTES, Instant::now());
        let greedy: Vec<Held> = (0..50).map(|_| Held::default()).collect();
        let mut refused = Vec::new();
        for held in &greedy {
            refused.extend(held.add(3 * BLOCK_BYTES, &memory, from(1)).err());
        }
        assert!(refused.iter().all(|over| *over == Over::Crowded) && refused.len() > 30, "{refused:?}");
        assert!((28..=32).contains(&(memory.used() / BLOCK_BYTES)), "{}", memory.used());
        let counted: usize = greedy.iter().map(Held::bytes).sum();
        assert!(counted <= 33 * BLOCK_BYTES, "{counted}");
        let other = Held::default();
        other.add(16 * BLOCK_BYTES, &memory, from(2)).unwrap();
        drop(greedy);
        assert_eq!(memory.used(), 16 * BLOCK_BYTES);
    }
}
