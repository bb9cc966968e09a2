//! How much is written in one turn of those who write much: what this disk and these processors take in a moment.
//!
//! A number of operations would be right for one machine, one kind of object and one size of a store. So it is measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a turn takes. Whoever changes something meanwhile waits for the turn that is under way, and for no other.
const TURN: Duration = Duration::from_millis(5);

/// Where a disk takes longer than that to make anything durable, a turn takes as long as the disk: half of the time would be
/// no work else. But no longer than this.
const TURN_MAX: Duration = Duration::from_millis(20);

/// Operations of a turn at least: on processors that are busy with other things each is taken for dearer than it is, and who has
/// very many would get nowhere beside those who change little all the time.
const OPERATIONS_MIN: usize = 200;

/// What an operation is taken to cost until some were measured, and what it is believed to cost at least and at most.
const OPERATION_USUAL: u64 = 20_000; // nanoseconds
const OPERATION_MIN: u64 = 1_000;
const OPERATION_MAX: u64 = 1_000_000;

/// Operations of a transaction that says what one costs: in smaller ones other things count for more.
const MEASURED_MIN: usize = 40;

/// A new measurement counts for one part of so many: one that was held up by something else says little.
const PARTS: u64 = 4;

/// The last transactions that were large enough to be measured.
pub(crate) struct Pace {
    /// Nanoseconds of an operation, and of making a transaction durable.
    operation: AtomicU64,
    commit: AtomicU64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { operation: AtomicU64::new(OPERATION_USUAL), commit: AtomicU64::new(0) }
    }
}

impl Pace {
    /// A transaction of so many operations took so long, and then so long to be durable. Told by one thread.
    pub(super) fn note(&self, operations: usize, working: Duration, committing: Duration) {
        if operations < MEASURED_MIN {
            return;
        }
        let operation = nanos(working) / operations as u64;
        mix(&self.operation, operation.clamp(OPERATION_MIN, OPERATION_MAX));
        mix(&self.commit, nanos(committing).min(nanos(TURN_MAX)));
    }

    /// Operations that fill a turn.
    pub(crate) fn operations(&self) -> usize {
        let turn = self.commit.load(Ordering::Relaxed).clamp(nanos(TURN), nanos(TURN_MAX));
        usize::try_from(turn / self.operation.load(Ordering::Relaxed)).unwrap_or(usize::MAX).max(OPERATIONS_MIN)
    }
}

fn mix(known: &AtomicU64, seen: u64) {
    let before = known.load(Ordering::Relaxed);
    known.store((before * (PARTS - 1) + seen) / PARTS, Ordering::Relaxed);
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How much of what the writer does by itself, a step at a time, fits a turn.
pub(crate) struct Step {
    size: u32,
    max: u32,
}

impl Step {
    /// No step is smaller than a `SMALLEST`th of the largest: where a disk takes longer than a turn to make it durable, more of
    /// them would only wait for it more often.
    const SMALLEST: u32 = 8;

    pub(crate) const fn up_to(max: u32) -> Step {
        Step { size: max / 8, max }
    }

    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    /// A step took so long: the next one is smaller if that was too long, and a little larger otherwise.
    pub(super) fn took(&mut self, time: Duration) {
        let next = if time > TURN { self.size / 2 } else { self.size + self.size / 8 };
        self.size = next.clamp(self.max / Step::SMALLEST, self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_as_much_as_fits_its_time() {
        let micros = Duration::from_micros;
        for (operations, working, committing, expect) in [
            // 20 µs each until something else was seen, and a few say nothing.
            (10, micros(100_000), micros(100_000), 250..=250),
            (500, micros(10_000), micros(1_000), 245..=255),
            (500, micros(12_000), micros(1_000), 205..=212),
            (500, micros(50_000), micros(1_000), 200..=200),
            (500, micros(2_500), micros(1_000), 950..=1_050),
            // A slow disk: as much as it takes for one sync, within bounds.
            (500, micros(10_000), micros(12_000), 580..=620),
            (500, micros(10_000), micros(900_000), 980..=1_020),
            // What stands still for a while is no reason to write one by one.
            (100, micros(60_000_000), micros(1_000), 200..=200),
        ] {
            let pace = Pace::default();
            (0..40).for_each(|_| pace.note(operations, working, committing));
            assert!(
                expect.contains(&pace.operations()),
                "{operations} {working:?} {committing:?}: {}",
                pace.operations()
            );
        }
        let pace = Pace::default();
        pace.note(500, Duration::MAX, Duration::MAX);
        (0..40).for_each(|_| pace.note(500, micros(10_000), micros(1_000)));
        assert!((245..=255).contains(&pace.operations()), "{}", pace.operations());
    }

    #[test]
    fn steps_find_their_size_and_keep_within_bounds() {
        let mut step = Step::up_to(2_000);
        // 20 µs each.
        for _ in 0..50 {
            step.took(Duration::from_micros(20) * step.size());
        }
        assert!((120..=290).contains(&step.size()), "{}", step.size());
        (0..50).for_each(|_| step.took(Duration::from_secs(1)));
        assert_eq!(step.size(), 250);
        (0..50).for_each(|_| step.took(Duration::ZERO));
        assert_eq!(step.size(), 2_000);
    }
}
