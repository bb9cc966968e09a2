//! A value that one thread fills all the time, and another one takes now and then.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;

/// How often a filler that meets the taker looks again: it holds the value for as long as a swap takes.
const TRIES: usize = 64;

/// Trays of all workers, for who takes what is in them. Clones are the same.
pub struct Trays<T>(Arc<Shared<T>>);

struct Shared<T> {
    all: Mutex<Vec<Arc<Mutex<T>>>>,
    make: Box<dyn Fn() -> T + Send + Sync>,
    taker: OnceLock<Thread>,
}

/// One worker's. Nobody else fills it.
pub struct Tray<T> {
    own: Arc<Mutex<T>>,
    shared: Arc<Shared<T>>,
}

/// What a filler says of its tray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// It can wait until it is taken.
    Room,
    /// It should be taken now.
    Full,
}

impl<T> Trays<T> {
    /// `make` is how an empty value is made: one for each worker.
    pub fn new(make: impl Fn() -> T + Send + Sync + 'static) -> Trays<T> {
        Trays(Arc::new(Shared { all: Mutex::default(), make: Box::new(make), taker: OnceLock::new() }))
    }

    /// One for a worker. When it is dropped, it is taken for the last time.
    pub fn tray(&self) -> Tray<T> {
        let own = Arc::new(Mutex::new((self.0.make)()));
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&own));
        Tray { own, shared: Arc::clone(&self.0) }
    }

    /// An empty value, to put in the place of one that is taken.
    pub fn empty(&self) -> T {
        (self.0.make)()
    }

    /// Has this thread woken when a tray is full.
    pub fn taken_by_this_thread(&self) {
        let _ = self.0.taker.set(std::thread::current());
    }

    /// Shows each to `take`, which is to be short: whoever fills it does not wait for it.
    pub fn each(&self, mut take: impl FnMut(&mut T)) {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| {
            // Looked at first: whoever is gone by now has filled it for the last time.
            let is_used = Arc::strong_count(one) > 1;
            take(&mut one.lock().unwrap_or_else(PoisonError::into_inner));
            is_used
        });
    }
}

impl<T> Tray<T> {
    /// Fills it. None if the taker holds it all that time, which is a swap's: the filler never waits.
    ///
    /// Hot: once a batch.
    pub fn fill(&self, fill: impl FnOnce(&mut T) -> Filled) -> Option<()> {
        for _ in 0..TRIES {
            let mut own = match self.own.try_lock() {
                Ok(own) => own,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    std::hint::spin_loop();
                    continue;
                }
            };
            let filled = fill(&mut own);
            drop(own);
            if filled == Filled::Full
                && let Some(taker) = self.shared.taker.get()
            {
                taker.unpark();
            }
            return Some(());
        }
        None
    }
}

impl<T> Clone for Trays<T> {
    fn clone(&self) -> Trays<T> {
        Trays(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Trays<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trays").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Tray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tray").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_tray_is_lost() {
        let trays = Trays::new(|| 0_u64);
        let (one, other) = (trays.tray(), trays.tray());
        let taken = |trays: &Trays<u64>| {
            let mut sum = 0;
            trays.each(|value| sum += std::mem::take(value));
            sum
        };
        let add = |tray: &Tray<u64>, count| {
            tray.fill(|value| {
                *value += count;
                Filled::Room
            })
        };
        assert_eq!((add(&one, 1), add(&other, 2), taken(&trays), taken(&trays)), (Some(()), Some(()), 3, 0));
        add(&one, 4);
        drop(one);
        assert_eq!((taken(&trays), trays.0.all.lock().unwrap().len()), (4, 1), "the last time, and it is gone");
        drop(other);
        assert_eq!((taken(&trays), trays.0.all.lock().unwrap().len()), (0, 0));
    }

    #[test]
    fn a_filler_does_not_wait() {
        let trays = Trays::new(|| 0_u64);
        let tray = trays.tray();
        trays.each(|_| assert_eq!(tray.fill(|_| Filled::Room), None));
        assert_eq!(tray.fill(|_| Filled::Room), Some(()));
    }

    #[test]
    fn a_full_tray_wakes_its_taker() {
        let trays = Trays::new(|| 0_u64);
        let tray = trays.tray();
        trays.taken_by_this_thread();
        tray.fill(|value| {
            *value = 7;
            Filled::Full
        });
        std::thread::park(); // it was woken before it slept
        let mut taken = 0;
        trays.each(|value| taken = *value);
        assert_eq!(taken, 7);
    }
}
