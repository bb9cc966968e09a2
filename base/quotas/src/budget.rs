//! So much of something for many who take from it: bytes that are buffered, sockets to origins.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Clones take from the same. Relaxed: nothing else depends on the value.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Total>);

#[derive(Debug)]
struct Total {
    most: usize,
    used: AtomicUsize,
}

/// What somebody took. Dropping it gives it back.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    amount: usize,
}

impl Budget {
    pub fn new(most: usize) -> Budget {
        Budget(Arc::new(Total { most, used: AtomicUsize::new(0) }))
    }

    /// Takes so much; none if it is not there.
    pub fn take(&self, amount: usize) -> Option<Held> {
        self.reserve(amount).then(|| Held { budget: self.clone(), amount })
    }

    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    fn reserve(&self, amount: usize) -> bool {
        let fits = |used: usize| used.checked_add(amount).filter(|sum| *sum <= self.0.most);
        self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

impl Held {
    /// Takes more; says whether it was there.
    pub fn grow(&mut self, more: usize) -> bool {
        let there = self.budget.reserve(more);
        self.amount += if there { more } else { 0 };
        there
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.budget.0.used.fetch_sub(self.amount, Ordering::Relaxed);
        debug_assert!(before >= self.amount, "what is given back was taken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let budget = Budget::new(10);
        let mut one = budget.take(4).unwrap();
        assert!(budget.take(7).is_none() && budget.take(usize::MAX).is_none());
        assert!(one.grow(6) && !one.grow(1));
        assert_eq!(budget.used(), 10);
        drop(one);
        assert_eq!(budget.used(), 0);
        assert!(budget.take(10).is_some());
    }
}
