//! All owner names at once, at a start.
//!
//! ```text
//! a block of the copy, or a stretch of documents ─► read, pack ─┐
//!                                                               ├─► sort by where names go ─► a name with all its records
//! a block of the copy, or a stretch of documents ─► read, pack ─┘
//! ```
//! A file is read as it lies on the disk, by a thread for each processor. What belongs to one name lies apart in it, so it
//! is brought together here, in some sixty bytes a record.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::num::{NonZero, NonZeroU32};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};

use bartizan_authority::NameContent;
use bartizan_names::{Name, ZoneId};
use bartizan_routes::Target;
use bartizan_store::{Key, ReadError, RecordText, Rev, Snapshot, Stretch, Unreadable};

use crate::reading::{Fault, Reading};
use crate::unit::copy::{Behind, RecordCopy, Useless};
use crate::unit::name::{packed_content, packed_target, parse};
use crate::unit::packed::{Packed, PackedRecord, each_name};

/// Threads that read documents. Each has a connection of the store, which has few.
const READERS_MAX: usize = 3;

/// Threads that do what is in memory: with more of them each has little to do.
const THREADS_MAX: usize = 16;

/// For fewer records than these no thread is begun.
const THREAD_RECORDS: usize = 8_192;

/// Objects that a thread takes at once: some hundredths of a second, so that all are done at about the same time. Of a small
/// store one thread takes all.
const STRETCH_OBJECTS: NonZeroU32 = NonZeroU32::new(16_384).expect("not zero");

/// All records that can be read.
#[derive(Default)]
pub(crate) struct Loaded {
    piles: Vec<Packed>,
    /// Keys of those that cannot.
    pub(crate) spoilt: Vec<Key>,
    /// Of a copy: the state that it was begun from, and names that are to be read from the store.
    since: Rev,
    pub(crate) changed: Option<BTreeSet<(ZoneId, Name)>>,
    /// Where those go.
    changed_places: HashSet<u64>,
}

/// A name that has a record.
#[derive(Clone, Copy)]
pub(crate) struct LoadedName<'l> {
    pub(crate) zone: ZoneId,
    records: &'l [PackedRecord<'l>],
    /// Where it goes.
    pub(crate) place: u64,
}

impl LoadedName<'_> {
    /// None only of what is no name.
    pub(crate) fn owner(&self) -> Option<Name> {
        Name::from_wire(self.records.first()?.owner).ok()
    }

    /// What DNS answers, in the memory of what it answered at another name.
    pub(crate) fn content(&self, room: NameContent) -> NameContent {
        packed_content(self.records, room)
    }

    /// Whether the HTTP edge may carry requests for it.
    pub(crate) fn is_proxied(&self) -> bool {
        self.records.iter().any(|record| record.proxied)
    }

    /// Where the HTTP edge carries requests.
    pub(crate) fn target(&self) -> Option<Target> {
        packed_target(self.records)
    }
}

/// What one thread has read.
#[derive(Default)]
struct Pile {
    records: Packed,
    faults: Vec<(String, Fault)>,
    unreadable: Vec<Unreadable>,
}

impl Loaded {
    /// Reads all records, from the copy in the folder if it can be used. `place` says where the name with these wire bytes
    /// goes: names are handed on in that order.
    pub(crate) fn read(
        reading: &mut Reading<'_>,
        folder: &Path,
        place: impl Fn(&[u8]) -> u64 + Sync,
        is_served: impl Fn(ZoneId) -> bool,
    ) -> Result<Loaded, ReadError> {
        let copied =
            RecordCopy::open(folder, reading.snapshot, is_served).and_then(|copy| Loaded::of_copy(copy, &place));
        match copied {
            Ok(loaded) => return Ok(loaded),
            Err(Useless::Disk(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(reason) => {
                tracing::info!(%reason, "the copy of the records is not used, and all of their documents are read");
            }
        }
        Loaded::of_documents(reading, place)
    }

    fn of_copy(copy: RecordCopy, place: &(impl Fn(&[u8]) -> u64 + Sync)) -> Result<Loaded, Useless> {
        let piles = on_all_processors(copy.len(), |part, of| copy.read(part, of, place))
            .into_iter()
            .collect::<Result<_, _>>()?;
        let changed_places = copy.changed.iter().map(|(_, owner)| place(owner.as_wire())).collect();
        Ok(Loaded { piles, since: copy.since, changed: Some(copy.changed), changed_places, ..Loaded::default() })
    }

    /// One that cannot be read is noted and left out.
    fn of_documents(reading: &mut Reading<'_>, place: impl Fn(&[u8]) -> u64 + Sync) -> Result<Loaded, ReadError> {
        let (snapshot, stretches) = (reading.snapshot, reading.snapshot.stretches(STRETCH_OBJECTS)?);
        let (next, threads) = (AtomicUsize::new(0), processors().min(READERS_MAX).min(stretches.len()));
        // None where somebody commits just now, or others read as well: then the work is done by fewer.
        let beside = (1..threads).map_while(|_| snapshot.beside().ok().flatten());
        let beside: Vec<Snapshot> = beside.collect();
        let (stretches, next, place) = (&stretches, &next, &place);
        let read = move |snapshot: &Snapshot| Pile::read(snapshot, stretches, next, place);
        let piles = thread::scope(|scope| {
            // Where the system has no more threads, the work is done by fewer too.
            let others: Vec<_> = beside
                .into_iter()
                .map_while(|snapshot| Builder::new().spawn_scoped(scope, move || read(&snapshot)).ok())
                .collect();
            let own = read(snapshot);
            let joined =
                others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            std::iter::once(own).chain(joined).collect::<Result<Vec<Pile>, ReadError>>()
        })?;
        let mut loaded = Loaded::default();
        for Pile { records, faults, unreadable } in piles {
            loaded.piles.push(records);
            for (key, fault) in faults {
                if let Ok(key) = Key::parse(&key) {
                    reading.refuse(&key, "", &fault);
                    loaded.spoilt.push(key);
                }
            }
            for one in unreadable {
                loaded.spoilt.extend(Key::parse(&one.key));
                reading.unreadable(one);
            }
        }
        Ok(loaded)
    }

    /// How far the copy is behind, if it was read.
    pub(crate) fn behind(&self) -> Option<Behind> {
        self.changed.as_ref().map(|changed| Behind { since: self.since, names: changed.len() })
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.piles.iter().map(Packed::len).sum()
    }

    /// Hands on every name that has a record and goes to these places.
    pub(crate) fn each_name(&self, places: &RangeInclusive<u64>, mut f: impl FnMut(LoadedName<'_>)) {
        each_name(&self.piles, places, |place, records| {
            let Some(zone) = records.first().map(|first| first.zone) else { return };
            let name = LoadedName { zone, records, place };
            if !self.is_changed(&name) {
                f(name);
            }
        });
    }

    /// The same for these places, ascending.
    pub(crate) fn each_name_at(&self, mut places: Vec<u64>, mut f: impl FnMut(LoadedName<'_>)) {
        // Seldom two names go to the same.
        places.dedup();
        places.into_iter().for_each(|place| self.each_name(&(place..=place), &mut f));
    }

    fn is_changed(&self, name: &LoadedName<'_>) -> bool {
        let (Some(changed), true) = (&self.changed, self.changed_places.contains(&name.place)) else { return false };
        name.owner().is_some_and(|owner| changed.contains(&(name.zone, owner)))
    }
}

impl Pile {
    /// Reads stretches while there are some that nobody has read.
    fn read(
        snapshot: &Snapshot,
        stretches: &[Stretch],
        next: &AtomicUsize,
        place: &(impl Fn(&[u8]) -> u64 + Sync),
    ) -> Result<Pile, ReadError> {
        let mut pile = Pile::default();
        while let Some(stretch) = stretches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let unreadable = snapshot.for_each_record(*stretch, &mut |RecordText { key, json }| match parse(json) {
                Ok(record) => pile.records.push(&record, place(record.owner.as_wire())),
                Err(fault) => pile.faults.push((key.to_owned(), fault)),
            })?;
            pile.unreadable.extend(unreadable);
        }
        snapshot.forget_pages();
        pile.records.sort();
        Ok(pile)
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does the parts of a work on so many records, each on a thread of its own; the results are in their order. It is told which
/// one and of how many.
pub(crate) fn on_all_processors<T: Send>(records: usize, work: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
    let (count, work) = (processors().min(THREADS_MAX).min(records / THREAD_RECORDS + 1), &work);
    thread::scope(|scope| {
        let others: Vec<_> =
            (1..count).map_while(|part| Builder::new().spawn_scoped(scope, move || work(part, count)).ok()).collect();
        // With those for which the system has no thread.
        let (own, left): (T, Vec<T>) =
            (work(0, count), (others.len() + 1..count).map(|part| work(part, count)).collect());
        let joined =
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(own).chain(joined).chain(left).collect()
    })
}
