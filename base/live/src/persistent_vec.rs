//! A vector that shares its parts with its earlier versions: one change copies one chunk and the list of chunks.

use std::sync::Arc;

/// Elements in a chunk. With some ten thousand elements the list of chunks is about as long as a chunk, so a change
/// copies few hundred elements.
const CHUNK: usize = 128;

/// Cheap to clone; neither the clone nor the original sees what is done to the other.
#[derive(Debug)]
pub struct PersistentVec<T>(Arc<[Arc<[T]>]>);

impl<T> PersistentVec<T> {
    pub fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index / CHUNK)?.get(index % CHUNK)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * CHUNK + last.len())
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|chunk| chunk.iter())
    }

    /// Whether both are one value. Equal elements may still be two.
    pub fn is_same(&self, other: &PersistentVec<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The elements of both, by their places, that lie in parts which the two do not share. Costs a look at each part that
    /// they do, and at nothing in it.
    pub fn unshared<'v>(
        &'v self,
        other: &'v PersistentVec<T>,
    ) -> impl Iterator<Item = (usize, Option<&'v T>, Option<&'v T>)> {
        let chunk = |vector: &'v PersistentVec<T>, number: usize| vector.0.get(number);
        (0..self.0.len().max(other.0.len()))
            .map(move |number| (number, chunk(self, number), chunk(other, number)))
            .filter(|(_, own, others)| !own.zip(*others).is_some_and(|(own, others)| Arc::ptr_eq(own, others)))
            .flat_map(|(number, own, others)| {
                let element = |chunk: Option<&'v Arc<[T]>>, at: usize| chunk.and_then(|chunk| chunk.get(at));
                let longest = own.into_iter().chain(others).map(|chunk| chunk.len()).max().unwrap_or_default();
                (0..longest).map(move |at| (number * CHUNK + at, element(own, at), element(others, at)))
            })
    }
}

impl<T: Clone> PersistentVec<T> {
    /// Space for changing one element; nothing that others hold changes.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let chunk = Arc::make_mut(&mut self.0).get_mut(index / CHUNK)?;
        Arc::make_mut(chunk).get_mut(index % CHUNK)
    }

    /// Copies to the end whatever `more` gives. As this copies the list of chunks, better many at once.
    pub fn extend(&mut self, more: impl IntoIterator<Item = T>) {
        let mut chunks = self.0.to_vec();
        let mut open = match chunks.pop_if(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.to_vec(),
            None => Vec::new(),
        };
        for element in more {
            open.push(element);
            if open.len() == CHUNK {
                chunks.push(std::mem::take(&mut open).into());
            }
        }
        if !open.is_empty() {
            chunks.push(open.into());
        }
        self.0 = chunks.into();
        debug_assert!(self.0.split_last().is_none_or(|(_, full)| full.iter().all(|chunk| chunk.len() == CHUNK)));
    }
}

impl<T> Default for PersistentVec<T> {
    fn default() -> PersistentVec<T> {
        PersistentVec(Arc::new([]))
    }
}

impl<T: Clone> FromIterator<T> for PersistentVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> PersistentVec<T> {
        let mut vector = PersistentVec::default();
        vector.extend(elements);
        vector
    }
}

impl<T> Clone for PersistentVec<T> {
    fn clone(&self) -> PersistentVec<T> {
        PersistentVec(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_in_the_copy_only() {
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let before: PersistentVec<usize> = (0..len).collect();
            let mut after = before.clone();
            after.extend(len..len + 5);
            assert_eq!((before.len(), after.len()), (len, len + 5));
            *after.get_mut(len).unwrap() = 7_000;
            assert_eq!((before.get(len), after.get(len)), (None, Some(&7_000)));
            assert_eq!(before.iter().copied().collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
            assert_eq!(after.get(len + 5), None);
        }
    }

    #[test]
    fn what_two_do_not_share() {
        let before: PersistentVec<usize> = (0..3 * CHUNK).collect();
        let mut after = before.clone();
        assert_eq!(before.unshared(&after).count(), 0);
        *after.get_mut(CHUNK + 7).unwrap() = 7_000;
        after.extend([1, 2]);
        let unshared: Vec<_> = before.unshared(&after).collect();
        let expect = (CHUNK..2 * CHUNK).map(|at| (at, before.get(at), after.get(at)));
        let behind = (3 * CHUNK..3 * CHUNK + 2).map(|at| (at, None, after.get(at)));
        assert_eq!(unshared, expect.chain(behind).collect::<Vec<_>>());
        assert_eq!(after.unshared(&before).count(), unshared.len());
    }
}
