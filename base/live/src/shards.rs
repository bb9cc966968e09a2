//! A table in parts, shared between generations but for the part that changed.

use std::sync::Arc;

use crate::PersistentVec;

/// A change copies one part and what leads to it; with a million entries a part has 244.
const PARTS: usize = 4_096;

/// 4,096 lists, each for what begins with the same 12 bits. Those bits should look random: the first of a hash with a
/// secret seed, or of an id that we chose. A clone costs little, and neither changes the other.
#[derive(Clone, Debug)]
pub struct Shards<T>(PersistentVec<Arc<Vec<T>>>);

impl<T> Shards<T> {
    pub fn empty() -> Shards<T> {
        Shards(std::iter::repeat_n(Arc::default(), PARTS).collect())
    }

    /// The part of what begins so.
    pub fn part(&self, start: u16) -> &[T] {
        self.0.get(number(start)).map_or(&[], |part| part)
    }

    /// All of them, part by part.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|part| part.iter())
    }

    /// Whether both are one value. Equal contents may still be two.
    pub fn is_same(&self, other: &Shards<T>) -> bool {
        self.0.is_same(&other.0)
    }
}

impl<T: Clone> Shards<T> {
    /// The part of what begins so, to be changed. It is copied if others hold it.
    pub fn part_mut(&mut self, start: u16) -> &mut Vec<T> {
        Arc::make_mut(self.0.get_mut(number(start)).expect("12 bits are the number of a part"))
    }
}

fn number(start: u16) -> usize {
    (usize::from(start) * PARTS) >> u16::BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_copies_one_part() {
        let mut before = Shards::empty();
        for start in (0..=u16::MAX).step_by(16) {
            before.part_mut(start).push(start);
        }
        let mut after = before.clone();
        assert!(after.is_same(&before));
        after.part_mut(0x1230).push(7);
        assert!(!after.is_same(&before));
        for start in (0..=u16::MAX).step_by(16) {
            assert_eq!(before.part(start), [start]);
            assert_eq!(before.part(start + 15), [start]);
            let shared = std::ptr::eq(before.part(start), after.part(start));
            assert_eq!(shared, start != 0x1230, "{start:x}");
        }
        assert_eq!(after.part(0x1230), [0x1230, 7]);
        assert_eq!((before.iter().count(), after.iter().count()), (4_096, 4_097));
    }
}
