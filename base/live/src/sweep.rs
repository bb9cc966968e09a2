//! Numbers whose owners went while parts of a large table still have them.
//!
//! A table that refers to something by number would have to be searched whole when that goes. Instead readers pass over
//! what refers to a number without an owner, each later change takes it out of some parts of the table, and a number is
//! given to a new owner only when no part has it any more.

use std::ops::Range;
use std::sync::Arc;

/// Which numbers are being taken out, and how far that is.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Those that are taken out in this round, ascending; parts in front of `next_part` do not have them any more.
    now: Arc<Vec<u32>>,
    next_part: usize,
    /// Those whose owners went after the round began.
    later: Arc<Vec<u32>>,
}

/// One step: take `numbers` out of `parts`.
pub struct Step {
    numbers: Arc<Vec<u32>>,
    pub parts: Range<usize>,
    /// Numbers that nothing has after this step.
    pub free: Arc<Vec<u32>>,
}

impl Sweep {
    /// The owner of `number` went.
    pub fn add(&mut self, number: u32) {
        Arc::make_mut(&mut self.later).push(number);
    }

    /// Takes the next step through a table of `parts`, over at most `parts_max` of them; none if there is nothing to do.
    pub fn step(&mut self, parts: usize, parts_max: usize) -> Option<Step> {
        if self.now.is_empty() {
            self.now = std::mem::take(&mut self.later);
            Arc::make_mut(&mut self.now).sort_unstable();
            self.next_part = 0;
        }
        if self.now.is_empty() {
            return None;
        }
        let numbers = Arc::clone(&self.now);
        let end = self.next_part.saturating_add(parts_max).min(parts);
        let first = std::mem::replace(&mut self.next_part, end);
        let free = if end == parts { std::mem::take(&mut self.now) } else { Arc::default() };
        Some(Step { numbers, parts: first..end, free })
    }
}

impl Step {
    pub fn takes(&self, number: u32) -> bool {
        self.numbers.binary_search(&number).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_free_after_all_parts_were_swept_since_it_went() {
        let mut sweep = Sweep::default();
        assert!(sweep.step(10, 4).is_none());
        sweep.add(7);
        sweep.add(3);
        for (parts, takes_nine, free) in [
            (0..4, false, &[][..]),
            (4..8, false, &[]), // nine goes now, when some parts were swept already
            (8..10, false, &[3, 7]),
            (0..4, true, &[]),
            (4..8, true, &[]),
            (8..10, true, &[9]),
        ] {
            let step = sweep.step(10, 4).unwrap();
            assert_eq!((step.parts.clone(), step.takes(9), step.free.as_slice()), (parts.clone(), takes_nine, free));
            assert_eq!(step.takes(3), !takes_nine);
            if parts.start == 4 && !takes_nine {
                sweep.add(9);
            }
        }
        assert!(sweep.step(10, 4).is_none());
    }
}
