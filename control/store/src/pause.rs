//! When what may wait has to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// While one is held, the store does nothing that may wait: no letters of records are read for searches, no keys counted,
/// no pages given back. What is asked of it is done as ever.
#[must_use = "dropped, it is over"]
pub struct Pause(Arc<AtomicUsize>);

/// How many are held.
#[derive(Clone, Default)]
pub(crate) struct Pauses(Arc<AtomicUsize>);

impl Pauses {
    pub(crate) fn begin(&self) -> Pause {
        self.0.fetch_add(1, Ordering::Relaxed);
        Pause(Arc::clone(&self.0))
    }

    pub(crate) fn is_one_held(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
