//! What connectors sent over HTTP/2 and nobody has taken: counted as it is, whoever holds most of it last.

use std::sync::Arc;
use std::time::Instant;

use bartizan_quotas::{Held, Memory, Over, SourceKey};

use crate::counters::{Counters, count};

/// Of each stream this is counted before anything came, so that what it holds without a block is small
/// ([`Held::add`]): 4 KB as over QUIC, and a head.
const COUNTED_FIRST: usize = 11 * 1024;

/// The part of the plane's memory that streams of HTTP/2 may have.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    memory: Memory,
    counters: Arc<Counters>,
}

impl Share {
    /// Half of it: those over QUIC have what is left ([`crate::readers`]).
    pub(crate) fn of(memory: u64, counters: Arc<Counters>) -> Share {
        let bytes = usize::try_from(memory / 2).unwrap_or(usize::MAX);
        Share { memory: Memory::new(bytes, Instant::now()), counters }
    }

    /// Bytes that somebody holds.
    pub(crate) fn used(&self) -> u64 {
        self.memory.used() as u64
    }

    /// One stream more.
    pub(crate) fn holding(&self, source: SourceKey) -> Holding {
        let held = Held::default();
        // It needs no block.
        let _ = held.add(COUNTED_FIRST, &self.memory, source.address());
        Holding { held, share: self.clone(), source }
    }
}

/// What one stream holds.
pub(crate) struct Holding {
    held: Held,
    share: Share,
    source: SourceKey,
}

impl Holding {
    /// So many bytes more; not if there is no memory for them.
    pub(crate) fn add(&self, bytes: usize) -> Result<(), Over> {
        let added = self.held.add(bytes, &self.share.memory, self.source.address());
        if added.is_err() {
            count(&self.share.counters.shed);
        }
        added
    }

    pub(crate) fn sub(&self, bytes: usize) {
        self.held.sub(bytes);
    }

    pub(crate) fn source(&self) -> SourceKey {
        self.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_leaves_as_much_as_it_has() {
        let counters = Arc::new(Counters::default());
        let share = Share::of(2 * 64 * 65_536, Arc::clone(&counters));
        let of = |number| share.holding(SourceKey::V4(number));
        let small: Vec<_> = (0..1_000).map(|_| of(1)).collect();
        assert!(small.iter().all(|holding| holding.add(4 * 1024).is_ok()));
        assert_eq!(share.used(), 0, "small answers are not counted");
        let greedy: Vec<_> = (0..64).map(|_| of(2)).collect();
        let got = greedy.iter().filter(|holding| holding.add(65_536).is_ok()).count();
        assert!((28..=32).contains(&got), "{got}");
        assert_eq!(counters.read().shed as usize, 64 - got);
        assert!(of(3).add(8 * 65_536).is_ok());
        drop(greedy);
        assert_eq!(share.used(), 0);
    }
}
