//! A table in parts, shared between generations but for the part that changed.

use std::sync::Arc;

/// Parts of a level. A change copies two lists of this length and one part; with a million entries a part has 244.
const FAN_OUT: usize = 64;

/// Bits that choose a part, of the 16 that are given.
const PART_BITS: u32 = (FAN_OUT * FAN_OUT).ilog2();

/// 4,096 lists, each for what begins with the same 12 bits. Those bits should look random: the first of a hash with a
/// secret seed, or of an id that we chose. A clone costs little, and neither changes the other.
#[derive(Debug)]
pub struct Shards<T>(Arc<[Group<T>; FAN_OUT]>);

type Group<T> = Arc<[Arc<Vec<T>>; FAN_OUT]>;

impl<T> Shards<T> {
    pub fn empty() -> Shards<T> {
        let none = Arc::new(Vec::new());
        let group: Group<T> = Arc::new(std::array::from_fn(|_| Arc::clone(&none)));
        Shards(Arc::new(std::array::from_fn(|_| Arc::clone(&group))))
    }

    /// The part of what begins so.
    pub fn part(&self, start: u16) -> &[T] {
        let (group, part) = place(start);
        &self.0[group][part]
    }

    /// All of them, part by part.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|group| group.iter()).flat_map(|part| part.iter())
    }

    /// Whether both are one value. Equal contents may still be two.
    pub fn is_same(&self, other: &Shards<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Clone> Shards<T> {
    /// The part of what begins so, to be changed. It is copied if others hold it.
    pub fn part_mut(&mut self, start: u16) -> &mut Vec<T> {
        let (group, part) = place(start);
        let group = &mut Arc::make_mut(&mut self.0)[group];
        Arc::make_mut(&mut Arc::make_mut(group)[part])
    }
}

impl<T> Clone for Shards<T> {
    fn clone(&self) -> Shards<T> {
        Shards(Arc::clone(&self.0))
    }
}

fn place(start: u16) -> (usize, usize) {
    let bits = usize::from(start >> (u16::BITS - PART_BITS));
    (bits / FAN_OUT, bits % FAN_OUT)
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
