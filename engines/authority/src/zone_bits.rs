//! One bit a zone, so that looking costs nothing on the path.

use std::sync::Arc;

/// For which zones something is true. A clone shares the bits until one of both is changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ZoneBits(Arc<Vec<u64>>);

impl ZoneBits {
    pub(crate) fn has(&self, zone: u32) -> bool {
        self.0.get(zone as usize / 64).is_some_and(|word| word >> (zone % 64) & 1 != 0)
    }

    pub(crate) fn set(&mut self, zone: u32, value: bool) {
        if self.has(zone) == value {
            return;
        }
        let words = Arc::make_mut(&mut self.0);
        let index = zone as usize / 64;
        if index >= words.len() {
            words.resize(index + 1, 0);
        }
        words[index] ^= 1 << (zone % 64);
    }
}
