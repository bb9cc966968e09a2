//! Who listens.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use arc_swap::ArcSwap;
use bartizan_names::{Timestamp, ZoneId};

use crate::seen::Wish;

/// Listeners of an edge at a time, and of one zone: people who look on.
pub const LISTENERS_MAX: usize = 16;
pub const ZONE_LISTENERS_MAX: usize = 4;

/// What a listener is told at most until it takes it. The rest is counted.
pub const ROOM: u32 = 25;

/// How often who tells looks again for a listener that is taking what there is, or is being told by another: that is as long
/// as a swap or a push takes.
const TRIES: usize = 64;

/// Those of one kind of things. Clones are the same.
pub struct Listeners<T>(Arc<Shared<T>>);

struct Shared<T> {
    ears: ArcSwap<Vec<Arc<Ear<T>>>>,
    /// Held while there come to be more or fewer.
    changing: Mutex<()>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

struct Ear<T> {
    wish: Wish,
    room: AtomicU32,
    told: Mutex<Vec<T>>,
    skipped: AtomicU64,
}

/// One of them, for as long as it lives.
pub struct Listener<T> {
    ear: Arc<Ear<T>>,
    shared: Arc<Shared<T>>,
}

/// What a listener was told since it took last.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<T> {
    pub told: Vec<T>,
    /// What it would have been told beside that.
    pub skipped: u64,
}

/// There are as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    Edge,
    Zone,
}

impl<T> Listeners<T> {
    /// `now` is the time that is told.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Listeners<T> {
        Listeners(Arc::new(Shared { ears: ArcSwap::default(), changing: Mutex::default(), now: Box::new(now) }))
    }

    /// Begins to listen.
    pub fn listen(&self, wish: Wish) -> Result<Listener<T>, Crowded> {
        let shared = &self.0;
        let _changing = shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ears = shared.ears.load();
        if ears.iter().filter(|ear| ear.wish.zone == wish.zone).count() >= ZONE_LISTENERS_MAX {
            return Err(Crowded::Zone);
        }
        if ears.len() >= LISTENERS_MAX {
            return Err(Crowded::Edge);
        }
        let ear = Arc::new(Ear { wish, room: ROOM.into(), told: Mutex::default(), skipped: 0.into() });
        let more = ears.iter().chain([&ear]).map(Arc::clone).collect();
        shared.ears.store(Arc::new(more));
        Ok(Listener { ear, shared: Arc::clone(shared) })
    }

    /// Tells all who want to know of this zone, name and code; `make` is asked for what is told, if anybody has room for it.
    ///
    /// Hot: once an event. It does not wait, and where nobody listens it only looks.
    #[inline]
    pub fn tell(&self, zone: ZoneId, name: &[u8], code: u16, make: impl FnMut(Timestamp) -> T) {
        let ears = self.0.ears.load();
        if !ears.is_empty() {
            self.tell_some(&ears, (zone, name, code), make);
        }
    }

    /// Whether anybody listens.
    #[inline]
    pub fn is_heard(&self) -> bool {
        !self.0.ears.load().is_empty()
    }

    #[cold]
    fn tell_some(
        &self,
        ears: &[Arc<Ear<T>>],
        (zone, name, code): (ZoneId, &[u8], u16),
        mut make: impl FnMut(Timestamp) -> T,
    ) {
        for ear in ears.iter().filter(|ear| ear.wish.is_for(zone, name, code)) {
            let is_told = ear.room.fetch_update(Relaxed, Relaxed, |room| room.checked_sub(1)).is_ok()
                && ear.push(|| make((self.0.now)()));
            if !is_told {
                ear.skipped.fetch_add(1, Relaxed);
            }
        }
    }
}

impl<T> Ear<T> {
    /// False if it is busy all that time.
    fn push(&self, make: impl FnOnce() -> T) -> bool {
        let one = make();
        for _ in 0..TRIES {
            let mut told = match self.told.try_lock() {
                Ok(told) => told,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    std::hint::spin_loop();
                    continue;
                }
            };
            told.push(one);
            return true;
        }
        false
    }
}

impl<T> Listener<T> {
    /// What it was told, in about the order in which it happened. From then on there is room again.
    pub fn take(&self) -> Taken<T> {
        let room = Vec::with_capacity(ROOM as usize);
        let told = std::mem::replace(&mut *self.ear.told.lock().unwrap_or_else(PoisonError::into_inner), room);
        let skipped = self.ear.skipped.swap(0, Relaxed);
        self.ear.room.store(ROOM, Relaxed);
        Taken { told, skipped }
    }
}

impl<T> Drop for Listener<T> {
    fn drop(&mut self) {
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ears = self.shared.ears.load();
        let fewer = ears.iter().filter(|ear| !Arc::ptr_eq(ear, &self.ear)).map(Arc::clone).collect();
        self.shared.ears.store(Arc::new(fewer));
    }
}

impl<T> Clone for Listeners<T> {
    fn clone(&self) -> Listeners<T> {
        Listeners(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Listeners<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Listener<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::Code;

    const ZONE: ZoneId = ZoneId::from_bytes([1; 16]);
    const OTHER: ZoneId = ZoneId::from_bytes([2; 16]);

    fn listeners() -> Listeners<&'static str> {
        Listeners::new(|| Timestamp::from_unix_micros(7))
    }

    fn wish(zone: ZoneId, name: Option<&str>, code: Code) -> Wish {
        Wish { zone, name: name.map(|name| name.as_bytes().into()), code }
    }

    #[test]
    fn who_is_told_what() {
        let all = listeners();
        assert!(!all.is_heard());
        all.tell(ZONE, b"a", 200, |_| panic!("nobody listens"));
        for (wanted, expect) in [
            (wish(ZONE, None, Code::Any), vec!["a200", "b404", "a410", "a0"]),
            (wish(ZONE, Some("a"), Code::Any), vec!["a200", "a410", "a0"]),
            (wish(ZONE, None, Code::Is(404)), vec!["b404"]),
            (wish(ZONE, Some("a"), Code::Class(4)), vec!["a410"]),
            (wish(ZONE, None, Code::Is(0)), vec!["a0"]),
            (wish(OTHER, None, Code::Any), vec!["z"]),
        ] {
            let listener = all.listen(wanted.clone()).unwrap();
            assert!(all.is_heard());
            let events = [(ZONE, "a", 200, "a200"), (ZONE, "b", 404, "b404"), (OTHER, "a", 404, "z")];
            for (zone, name, code, text) in events.into_iter().chain([(ZONE, "a", 410, "a410"), (ZONE, "a", 0, "a0")]) {
                all.tell(zone, name.as_bytes(), code, |at| {
                    assert_eq!(at, Timestamp::from_unix_micros(7));
                    text
                });
            }
            assert_eq!(listener.take(), Taken { told: expect, skipped: 0 }, "{wanted:?}");
            drop(listener);
            assert!(!all.is_heard());
        }
    }

    /// What is more than fits is counted, and not made; after a look there is room again.
    #[test]
    fn what_does_not_fit_is_counted() {
        let all = listeners();
        let listener = all.listen(wish(ZONE, None, Code::Any)).unwrap();
        let mut made = 0;
        for _ in 0..ROOM + 7 {
            all.tell(ZONE, b"a", 0, |_| {
                made += 1;
                "x"
            });
        }
        let Taken { told, skipped } = listener.take();
        assert_eq!((told.len(), skipped, made), (ROOM as usize, 7, ROOM));
        all.tell(ZONE, b"a", 0, |_| "y");
        assert_eq!(listener.take(), Taken { told: vec!["y"], skipped: 0 });
    }

    #[test]
    fn listeners_are_few() {
        let all = listeners();
        let listen = |zone: u8| all.listen(wish(ZoneId::from_bytes([zone; 16]), None, Code::Any));
        let mut held: Vec<_> = (0..4).map(|_| listen(0).unwrap()).collect();
        assert_eq!(listen(0).err(), Some(Crowded::Zone));
        held.extend((1..13).map(|zone| listen(zone).unwrap()));
        assert_eq!(listen(99).err(), Some(Crowded::Edge));
        drop(held.pop());
        assert!(listen(99).is_ok());
        drop(held);
        assert!(!all.is_heard());
    }
}
