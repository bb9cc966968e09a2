//! In the first seconds after a start connectors are on their way back: what is for a tunnel that has no connection waits for
//! one, so that a restart is no error of a visitor.
//!
//! What waits is held by the plane that it came in by, and counted there as any request without an answer.

use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant, sleep};

use crate::limits::{BEGINNING_LOOK, BEGINNING_WAIT_MAX, BEGINNING_WAITING_BYTES, BEGINNING_WAITING_MAX};

/// The first seconds of a plane.
#[derive(Debug)]
pub(crate) struct Beginning {
    end: Instant,
    places: Semaphore,
}

impl Beginning {
    /// From now on for so long, with places for what this memory has room for.
    pub(crate) fn new(time: Duration, memory: u64) -> Beginning {
        let places = usize::try_from(memory / BEGINNING_WAITING_BYTES)
            .map_or(BEGINNING_WAITING_MAX, |places| places.min(BEGINNING_WAITING_MAX));
        Beginning { end: Instant::now() + time, places: Semaphore::new(places) }
    }

    /// Waits until that is there, if it is still the beginning and there is a place. Says whether it is.
    ///
    /// It looks from time to time: a table is made anew for each few connections, and all come back at once.
    pub(crate) async fn wait_for(&self, is_there: impl Fn() -> bool) -> bool {
        let begun = Instant::now();
        if begun >= self.end {
            return false;
        }
        let Ok(_place) = self.places.try_acquire() else { return false };
        let end = self.end.min(begun + BEGINNING_WAIT_MAX);
        loop {
            if is_there() {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(BEGINNING_LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Longer than any test.
    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn who_waits_does_so_for_a_while() {
        let beginning = Beginning::new(LONG, u64::MAX);
        let looks = Cell::new(0);
        assert!(beginning.wait_for(|| looks.replace(looks.get() + 1) == 3).await);
        // Nobody waits as long as the beginning may be.
        assert!(!beginning.wait_for(|| false).await);
        let short = Beginning::new(Duration::from_millis(50), u64::MAX);
        assert!(!short.wait_for(|| false).await);
        assert!(Instant::now() >= short.end);
        assert!(!short.wait_for(|| panic!("nobody looks after it")).await);
    }

    #[tokio::test]
    async fn so_many_wait_and_no_more() {
        let beginning = Beginning::new(LONG, 2 * BEGINNING_WAITING_BYTES);
        tokio::select! {
            biased;
            _ = beginning.wait_for(|| false) => panic!("the first waits"),
            _ = beginning.wait_for(|| false) => panic!("the second waits"),
            waited = beginning.wait_for(|| panic!("the third does not look")) => assert!(!waited),
        }
        // Who has gone has left a place.
        assert!(beginning.wait_for(|| true).await);
        assert_eq!(Beginning::new(LONG, u64::MAX).places.available_permits(), BEGINNING_WAITING_MAX);
    }
}
