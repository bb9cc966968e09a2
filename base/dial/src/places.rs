//! Room that zones share: none has more of it than is left free for all others. Alone it may have a half, beside many others
//! little; so a newcomer finds room, however greedy one is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bartizan_names::ZoneId;
use bartizan_quotas::{Ceiling, Permit, Quotas};

/// On whose behalf something is done; none where all is one owner's.
pub(crate) type Zone = Option<ZoneId>;

/// Only how many there are at once is bounded.
const UNBOUNDED: Ceiling = Ceiling { open: u32::MAX, per_second: u32::MAX, handshakes: 0 };

/// Of one worker.
pub(crate) struct Places {
    most: usize,
    taken: Arc<AtomicUsize>,
    zones: Quotas<Zone>,
}

/// One of them. Dropping it makes room for another.
pub(crate) struct Place {
    _of_zone: Permit<Zone>,
    taken: Arc<AtomicUsize>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Places {
        // Whoever has a place is counted, and nobody else needs to be.
        Places { most, taken: Arc::default(), zones: Quotas::new(most, Instant::now()) }
    }

    /// None where the zone has as many as are left, or all are taken.
    pub(crate) fn take(&self, zone: Zone) -> Option<Place> {
        let ceiling = match zone {
            Some(_) => UNBOUNDED.lower(self.free()),
            None if self.free() > 0 => UNBOUNDED,
            None => return None,
        };
        let of_zone = self.zones.acquire(zone, &ceiling, Instant::now()).ok()?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(Place { _of_zone: of_zone, taken: Arc::clone(&self.taken) })
    }

    pub(crate) fn free(&self) -> usize {
        self.most.saturating_sub(self.taken.load(Ordering::Relaxed))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_no_more_than_is_left_for_others() {
        let zone = |number: u8| Some(ZoneId::from_bytes([number; 16]));
        for (most, zones, each) in
            [(16, &[zone(1)][..], 8), (16, &[zone(1), zone(2), zone(3)], 4), (2, &[zone(1)], 1), (16, &[None], 16)]
        {
            let places = Places::new(most);
            let mut taken = Vec::new();
            loop {
                let before = taken.len();
                taken.extend(zones.iter().filter_map(|zone| places.take(*zone)));
                if taken.len() == before {
                    break;
                }
            }
            assert!(taken.len().abs_diff(each * zones.len()) <= 1, "{zones:?} of {most}: {}", taken.len());
            let free = most - taken.len();
            assert_eq!(places.free(), free);
            assert_eq!(places.take(zone(9)).is_some(), free > 0);
            drop(taken);
            assert_eq!(places.free(), most);
        }
    }
}
