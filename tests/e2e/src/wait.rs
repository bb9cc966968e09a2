//! Waiting for something that takes time, without guessing how long.

use std::time::{Duration, Instant};

/// How long anything may take on a machine with two cores and twenty processes that want them. Passing tests wait
/// milliseconds; one that fails says what it waited for before the runner ends it, after three minutes.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks. Not a time to hope that something is done: only how often we ask.
const BETWEEN: Duration = Duration::from_millis(20);

/// Asks again and again until the answer is there.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_by(what, PATIENCE, look)
}

/// The same with a bound of the caller's.
#[track_caller]
pub fn until_by<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain: {what}", patience.as_secs());
        std::thread::sleep(BETWEEN);
    }
}

/// Asks again and again until the two are equal; the failure shows how they differ.
#[track_caller]
pub fn until_eq<T: PartialEq + std::fmt::Debug>(what: &str, expect: &T, mut look: impl FnMut() -> T) {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found == *expect {
            return;
        }
        assert!(
            Instant::now() < end,
            "waited {} s in vain: {what}\n found {found:?}\nwanted {expect:?}",
            PATIENCE.as_secs()
        );
        std::thread::sleep(BETWEEN);
    }
}
