//! A table in parts by the first bits of an id, shared between generations but for the part that changed.

use std::sync::Arc;

/// Parts of a level. A change copies two lists of this length and one part; with a million entries a part has 244.
const FAN_OUT: usize = 64;

/// Ids are random, so their first bits spread them.
#[derive(Debug)]
pub(crate) struct Shards<T>(Arc<[Group<T>; FAN_OUT]>);

type Group<T> = Arc<[Arc<Vec<T>>; FAN_OUT]>;

impl<T> Clone for Shards<T> {
    fn clone(&self) -> Shards<T> {
        Shards(Arc::clone(&self.0))
    }
}

impl<T: Clone> Shards<T> {
    pub(crate) fn empty() -> Shards<T> {
        let none = Arc::new(Vec::new());
        let group: Group<T> = Arc::new(std::array::from_fn(|_| Arc::clone(&none)));
        Shards(Arc::new(std::array::from_fn(|_| Arc::clone(&group))))
    }

    /// The part of ids that begin so.
    pub(crate) fn part(&self, start: [u8; 2]) -> &[T] {
        let (group, part) = place(start);
        &self.0[group][part]
    }

    /// The same, to be changed.
    pub(crate) fn part_mut(&mut self, start: [u8; 2]) -> &mut Vec<T> {
        let (group, part) = place(start);
        let group = &mut Arc::make_mut(&mut self.0)[group];
        Arc::make_mut(&mut Arc::make_mut(group)[part])
    }
}

fn place([first, second]: [u8; 2]) -> (usize, usize) {
    let bits = usize::from(u16::from_be_bytes([first, second])) / (1 << 4);
    (bits / FAN_OUT, bits % FAN_OUT)
}
