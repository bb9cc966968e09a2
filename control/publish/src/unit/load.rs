//! All owner names at once, at a start.
//!
//! ```text
//! a stretch of the file ─► read, parse, pack ─┐
//!                                             ├─► sort by where names go ─► a name with all its records
//! a stretch of the file ─► read, parse, pack ─┘
//! ```
//! The file is read as it lies on the disk, by a thread for each processor. What belongs to one name lies apart in it, so it
//! is brought together here, in some sixty bytes a record.

use std::num::{NonZero, NonZeroU32};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bartizan_store::{Key, ReadError, RecordText, Snapshot, Stretch, Unreadable};

use crate::reading::{Fault, Reading};
use crate::unit::NameUnit;
use crate::unit::name::parse;
use crate::unit::packed::{Packed, each_name};

/// Threads that read. Each has a connection of the store, which has few.
const THREADS_MAX: usize = 3;

/// Objects that a thread takes at once: some hundredths of a second, so that all are done at about the same time. Of a small
/// store one thread takes all.
const STRETCH_OBJECTS: NonZeroU32 = NonZeroU32::new(16_384).expect("not zero");

/// All records that can be read.
pub(crate) struct Loaded {
    piles: Vec<Packed>,
    /// Keys of those that cannot.
    pub(crate) spoilt: Vec<Key>,
}

/// What one thread has read.
#[derive(Default)]
struct Pile {
    records: Packed,
    faults: Vec<(String, Fault)>,
    unreadable: Vec<Unreadable>,
}

impl Loaded {
    /// Reads all records. One that cannot be read is noted and left out. `place` says where the name with these wire bytes
    /// goes: names are handed on in that order.
    pub(crate) fn read(reading: &mut Reading<'_>, place: impl Fn(&[u8]) -> u64 + Sync) -> Result<Loaded, ReadError> {
        let (snapshot, stretches) = (reading.snapshot, reading.snapshot.stretches(STRETCH_OBJECTS)?);
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let (next, threads) = (AtomicUsize::new(0), processors.min(THREADS_MAX).min(stretches.len()));
        // None where somebody commits just now, or others read as well: then the work is done by fewer.
        let beside = (1..threads).map_while(|_| snapshot.beside().ok().flatten());
        let beside: Vec<Snapshot> = beside.collect();
        let (stretches, next, place) = (&stretches, &next, &place);
        let read = move |snapshot: &Snapshot| Pile::read(snapshot, stretches, next, place);
        let piles = thread::scope(|scope| {
            let others: Vec<_> = beside.into_iter().map(|snapshot| scope.spawn(move || read(&snapshot))).collect();
            let own = read(snapshot);
            let joined =
                others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            std::iter::once(own).chain(joined).collect::<Result<Vec<Pile>, ReadError>>()
        })?;
        let mut loaded = Loaded { piles: Vec::new(), spoilt: Vec::new() };
        for Pile { records, faults, unreadable } in piles {
            loaded.piles.push(records);
            for (key, fault) in faults {
                if let Ok(key) = Key::parse(&key) {
                    reading.fault(&key, &fault.to_string());
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

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.piles.iter().map(Packed::len).sum()
    }

    /// Hands on every name that has a record.
    pub(crate) fn each_name(&self, mut f: impl FnMut(NameUnit)) {
        each_name(&self.piles, |records| NameUnit::of_packed(records).into_iter().for_each(&mut f));
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
        snapshot.forget_pages()?;
        pile.records.sort();
        Ok(pile)
    }
}
