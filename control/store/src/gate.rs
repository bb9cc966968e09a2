//! Holds back those who look at the store for long, while the journal is to be folded.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long it stays closed at most: whoever was in before has ended by then, unless the processors are busy with other things,
/// and nobody waits for longer.
const CLOSED_MAX: Duration = Duration::from_millis(2_500);
const _: () = assert!(CLOSED_MAX.as_millis() > crate::readers::LISTING_BUDGET.as_millis());

/// Open by default, and again by itself.
#[derive(Default)]
pub(crate) struct Gate {
    closed_until: Mutex<Option<Instant>>,
    opened: Condvar,
}

impl Gate {
    /// Closes it, if it is open. False if it was closed for as long as it may be: then it is open again.
    pub(crate) fn close(&self, now: Instant) -> bool {
        let mut closed = self.lock();
        match *closed {
            None => *closed = Some(now + CLOSED_MAX),
            Some(until) if now < until => {}
            Some(_) => {
                *closed = None;
                self.opened.notify_all();
                return false;
            }
        }
        true
    }

    pub(crate) fn open(&self) {
        if self.lock().take().is_some() {
            self.opened.notify_all();
        }
    }

    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let mut closed = self.lock();
        while let Some(left) = closed.and_then(|until| until.checked_duration_since(Instant::now())) {
            closed = self.opened.wait_timeout(closed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.closed_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_by_itself() {
        let (gate, now) = (Gate::default(), Instant::now());
        gate.pass();
        for (after, is_closed) in [
            (Duration::ZERO, true),
            (CLOSED_MAX / 2, true),
            (CLOSED_MAX, false),
            // And it may be closed again.
            (CLOSED_MAX, true),
        ] {
            assert_eq!(gate.close(now + after), is_closed, "{after:?}");
        }
        gate.open();
        gate.pass();
        // Nobody opens it, and its time is over.
        gate.close(now.checked_sub(CLOSED_MAX).unwrap_or(now));
        gate.pass();
    }
}
