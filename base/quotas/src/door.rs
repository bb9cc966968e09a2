//! The way in to a plane: who gets a place, and whose place it is when there is none left.
//!
//! ```text
//! accept ─► Door::enter ─┬─► Place: held by the connection; it says when it works and when it rests
//!                        │     ▲ displaced: it rests longest, and somebody else needs the place
//!                        └─► Over: refused at once, with a reset
//! ```
//! Which of many rests longest is found without a cost while they work: a queue has them in the order of what it noted of
//! each, which is never later than since when it rests. Whoever worked since is noted anew when it is looked at; the first
//! that did not is the one. So each look beyond the first pays for work that was done. Each source has a queue too, for
//! when it has to give up a place of its own.

use std::cmp::Ordering as Order;
use std::collections::{BinaryHeap, HashMap};
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::clock::since_start;
use crate::gate::{Gate, Pass, Whose};
use crate::quotas::{Ceiling, Over, SourcePermit};
use crate::source::SourceKey;

/// Places of all sources that are looked at for one. If all of them work, so does nearly everybody.
const LOOKED_AT_MAX: usize = 64;

/// Of those of one source more, as it has to give one up itself: with all of them at work, 30 µs for each connection that is
/// refused to it. The next look goes on with the others.
const OWN_LOOKED_AT_MAX: usize = 256;

/// In place of the moment since when it rests.
const WORKS: u64 = u64::MAX;

/// Of one worker. The doors of a plane share the counts of sources.
pub struct Door {
    gate: Gate,
    queues: Mutex<Queues>,
}

/// A place of one connection, free again when it is dropped.
pub struct Place(Arc<Inside>);

struct Inside {
    source: SourceKey,
    /// In nanoseconds.
    rests_since: AtomicU64,
    stays: Mutex<Stays>,
}

#[derive(Default)]
struct Stays {
    /// None once it has to go.
    pass: Option<Pass>,
    /// Wakes its task to tell it so.
    waker: Option<Waker>,
}

/// A place is in the queue of all and in that of its source.
#[derive(Default)]
struct Queues {
    all: BinaryHeap<Entry>,
    own: HashMap<SourceKey, BinaryHeap<Entry>>,
    /// Entries since those of places that have gone were taken out.
    added: usize,
    /// The number of the next entry.
    next: u64,
}

struct Entry {
    place: Weak<Inside>,
    /// What was noted: it rests since then, or since later, or works.
    rests_since: u64,
    /// Grows in the order in which they came.
    number: u64,
}

/// The greatest is the one that rests longest.
impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Order {
        (other.rests_since, other.number).cmp(&(self.rests_since, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl Door {
    /// Doors for so many workers, which divide a share of connections; no worker has more than `worker_max`.
    pub fn divided(share: usize, workers: usize, worker_max: usize, ceiling: Ceiling, now: Instant) -> Vec<Door> {
        Gate::divided(share, workers, worker_max, ceiling, now).into_iter().map(Door::of).collect()
    }

    /// One for a share that is not divided.
    pub fn single(share: usize, ceiling: Ceiling, now: Instant) -> Door {
        Door::of(Gate::single(share, ceiling, now))
    }

    fn of(gate: Gate) -> Door {
        Door { gate, queues: Mutex::default() }
    }

    /// A place for a connection, if need be that of one that rests. It counts as resting until it says otherwise.
    // Hot: once a connection.
    pub fn enter(&self, from: IpAddr, now: Instant) -> Result<Place, Over> {
        let pass = self.gate.enter(from, now, |whose| self.displace(whose, now))?;
        let rests_since = nanoseconds(now);
        let place = Arc::new(Inside {
            source: SourceKey::widest(from),
            rests_since: AtomicU64::new(rests_since),
            stays: Mutex::new(Stays { pass: Some(pass), waker: None }),
        });
        let mut queues = self.queues();
        // It costs no more than the entries since the last time did, so that tidying is cheap on average.
        if queues.added > self.gate.inside() + LOOKED_AT_MAX {
            queues.tidy();
        }
        queues.add(&place);
        drop(queues);
        Ok(Place(place))
    }

    /// A permit for the handshake of a connection that has a place.
    pub fn shake_hands(&self, from: IpAddr, now: Instant) -> Result<SourcePermit, Over> {
        self.gate.shake_hands(from, now)
    }

    /// Connections that have a place.
    pub fn inside(&self) -> usize {
        self.gate.inside()
    }

    /// Whether places are scarce, so that patience should be.
    pub fn is_crowded(&self) -> bool {
        self.gate.inside() >= self.gate.room() * 7 / 8
    }

    /// Whether the next one needs the place of another.
    pub fn is_full(&self) -> bool {
        self.gate.inside() >= self.gate.room()
    }

    /// Makes one go that rests; says whether there was one.
    fn displace(&self, whose: Whose, now: Instant) -> bool {
        let (mut queues, now) = (self.queues(), nanoseconds(now));
        let found = match whose {
            Whose::Own(source) => {
                let own = queues.own.get_mut(&source);
                own.and_then(|queue| longest(queue, OWN_LOOKED_AT_MAX, now))
            }
            Whose::Anyones => longest(&mut queues.all, LOOKED_AT_MAX, now),
        };
        drop(queues);
        let Some(place) = found else { return false };
        let Stays { pass, waker } = std::mem::take(&mut *place.stays());
        drop(pass);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn add(&mut self, place: &Arc<Inside>) {
        let rests_since = place.rests_since.load(Ordering::Relaxed);
        let number = self.next;
        let entry = || Entry { place: Arc::downgrade(place), rests_since, number };
        self.all.push(entry());
        self.own.entry(place.source).or_default().push(entry());
        self.added += 1;
        self.next += 1;
    }

    /// Takes out the places that have gone.
    fn tidy(&mut self) {
        let is_there = |entry: &Entry| entry.place.strong_count() > 0;
        self.all.retain(is_there);
        self.own.retain(|_, queue| {
            queue.retain(is_there);
            !queue.is_empty()
        });
        self.added = 0;
    }
}

impl Place {
    /// From now on it is not to be displaced.
    pub fn work(&self) {
        self.0.rests_since.store(WORKS, Ordering::Relaxed);
    }

    /// From now on it is, if it does so longer than others.
    pub fn rest(&self, now: Instant) {
        self.0.rests_since.store(nanoseconds(now), Ordering::Relaxed);
    }

    /// Returns when the connection has to end, to make room for another. One task at a time may wait for it.
    pub async fn displaced(&self) {
        poll_fn(|cx| {
            let mut stays = self.0.stays();
            if stays.pass.is_none() {
                return Poll::Ready(());
            }
            if !stays.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                stays.waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Inside {
    fn has_gone(&self) -> bool {
        self.stays().pass.is_none()
    }

    fn stays(&self) -> MutexGuard<'_, Stays> {
        self.stays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes out the one that rests longest, if it is among so many that are looked at.
fn longest(queue: &mut BinaryHeap<Entry>, looked_at_max: usize, now: u64) -> Option<Arc<Inside>> {
    // In the second round they are in their places.
    let mut left = looked_at_max.min(2 * queue.len());
    while left > 0 {
        let mut entry = queue.pop()?;
        let Some(place) = entry.place.upgrade().filter(|place| !place.has_gone()) else { continue };
        entry.rests_since = match place.rests_since.load(Ordering::Relaxed) {
            // When it rests again, then since later.
            WORKS => now,
            since if since > entry.rests_since => since,
            _ => return Some(place),
        };
        queue.push(entry);
        left -= 1;
    }
    None
}

fn nanoseconds(now: Instant) -> u64 {
    u64::try_from(since_start(now).as_nanos()).unwrap_or(WORKS - 1)
}

#[cfg(test)]
mod tests {
    use std::task::Context;
    use std::time::Duration;

    use super::*;

    const CEILING: Ceiling = Ceiling { open: 1_000, per_second: 100_000, handshakes: 100 };

    fn from(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn is_displaced(place: &Place) -> bool {
        std::pin::pin!(place.displaced()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// A full door with a place for each of the sources 1 to 6, and whom the newcomers 11 and 12 … displace in turn.
    #[test]
    fn whoever_rests_longest_goes_first() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // Said of a source after all came: it works, or rests since.
        for (said, expect) in [
            (&[][..], &[1, 2, 3][..]),
            (&[(1, None)], &[2, 3, 4]),
            (&[(1, Some(50)), (2, Some(40))], &[3, 4, 5]),
            (&[(1, Some(50)), (2, Some(40)), (3, None), (4, None), (5, None)], &[6, 2, 1]),
            (&[(1, None), (2, None), (3, None), (4, None), (5, None), (6, Some(9))], &[6]),
        ] {
            let door = Door::single(6, CEILING, start);
            let places: Vec<Place> =
                (1..=6).map(|source| door.enter(from(source), at(source.into())).unwrap()).collect();
            assert!(door.is_full() && door.is_crowded());
            for (source, rests) in said {
                let place: &Place = &places[*source - 1];
                rests.map_or_else(|| place.work(), |since| place.rest(at(since)));
            }
            let mut displaced = Vec::new();
            let mut newcomers = Vec::new();
            for newcomer in 11..14 {
                let Ok(place) = door.enter(from(newcomer), at(100)) else { break };
                place.work();
                newcomers.push(place);
                let gone = (1..=6).filter(|source| is_displaced(&places[source - 1]));
                let new: Vec<usize> = gone.filter(|source| !displaced.contains(source)).collect();
                displaced.extend(new);
                assert_eq!(door.inside(), 6);
            }
            assert_eq!(displaced, expect, "{said:?}");
            drop((places, newcomers));
            assert_eq!(door.inside(), 0);
        }
    }

    /// Whoever has many pays for one more itself, as long as one of them rests.
    #[test]
    fn a_source_displaces_its_own() {
        let now = Instant::now();
        let door = Door::single(6, CEILING, now);
        let other = door.enter(from(9), now).unwrap();
        let mut own = Vec::new();
        // Three are let in, as then two places are left; each later one displaces the first.
        for last in [None, None, None, Some(0), Some(1)] {
            own.push(door.enter(from(1), now).unwrap());
            let gone: Vec<usize> = (0..own.len()).filter(|at| is_displaced(&own[*at])).collect();
            assert_eq!(gone.last().copied(), last);
        }
        own.iter().for_each(Place::work);
        assert_eq!(door.enter(from(1), now).err(), Some(Over::Crowded));
        assert!(!is_displaced(&other));
    }

    /// However many of its first ones work: if they are too many for one look, the next goes on.
    #[test]
    fn a_source_displaces_the_one_that_rests() {
        let start = Instant::now();
        for (count, tries) in [(200, 1), (2 * OWN_LOOKED_AT_MAX, 2)] {
            let door = Door::single(2 * count, CEILING, start);
            let own: Vec<Place> = (0..count).map_while(|_| door.enter(from(1), start).ok()).collect();
            let (resting, working) = own.split_last().unwrap();
            working.iter().for_each(Place::work);
            assert_eq!(own.len(), count);
            let mut new = Vec::new();
            for number in 1..=tries {
                new.extend(door.enter(from(1), start + Duration::from_millis(number)));
                assert_eq!((new.len() == 1, is_displaced(resting)), (number == tries, number == tries), "{count}");
            }
            new.iter().for_each(Place::work);
            assert_eq!(door.enter(from(1), start + Duration::from_secs(1)).err(), Some(Over::Crowded));
            assert!(!working.iter().any(is_displaced));
        }
    }

    /// Who comes again and again to a full door costs no more than those of its places that worked since.
    #[test]
    fn a_look_is_short() {
        let now = Instant::now();
        let door = Door::single(2 * OWN_LOOKED_AT_MAX, CEILING, now);
        let _own: Vec<Place> = (0..OWN_LOOKED_AT_MAX).map_while(|_| door.enter(from(1), now).ok()).collect();
        let mut queues = door.queues();
        let own = queues.own.get_mut(&SourceKey::from(from(1))).unwrap();
        for left in (0..OWN_LOOKED_AT_MAX).rev() {
            assert!(longest(own, 1, nanoseconds(now)).is_some());
            assert_eq!(own.len(), left);
        }
    }

    #[test]
    fn the_queue_is_as_long_as_what_is_inside() {
        let now = Instant::now();
        let door = Door::single(10, CEILING, now);
        for _ in 0..1_000 {
            drop(door.enter(from(1), now).unwrap());
            let queues = door.queues();
            let own: usize = queues.own.values().map(BinaryHeap::len).sum();
            assert!(queues.all.len().max(own) <= LOOKED_AT_MAX + 3);
        }
    }
}
