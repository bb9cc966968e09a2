//! All owner names at once, at a start.

use std::sync::mpsc;
use std::thread;

use bartizan_model::Record;
use bartizan_store::{Entry, Key, ReadError};

use crate::reading::{Fault, Reading};
use crate::unit::NameUnit;
use crate::unit::name::record;

/// Records that one thread hands to the next, and how many such pieces may wait: some megabytes in all.
const PIECE_RECORDS: usize = 1_024;
const PIECES_MAX: usize = 8;

/// Hands every owner name with records to `put`, in another thread. Reading, parsing and placing take about the same time,
/// so each has a thread. A record that cannot be read is noted and left out, and its key is returned.
pub(crate) fn load_names<P>(reading: &mut Reading<'_>, put: P) -> Result<Vec<Key>, ReadError>
where
    P: FnMut(NameUnit) + Send,
{
    let (loaded, faults) = thread::scope(|scope| {
        let (to_parse, entries) = mpsc::sync_channel::<Vec<Entry>>(PIECES_MAX);
        let (to_place, records) = mpsc::sync_channel::<Vec<Record>>(PIECES_MAX);
        let parsing = scope.spawn(move || parse(entries, &to_place));
        let placing = scope.spawn(move || place(records, put));
        let mut piece = Vec::with_capacity(PIECE_RECORDS);
        // A receiver is gone only after a panic, which is passed on below.
        let loaded = reading.snapshot.for_each_record(&mut |entry: Entry| {
            piece.push(entry);
            if piece.len() == PIECE_RECORDS {
                to_parse.send(std::mem::replace(&mut piece, Vec::with_capacity(PIECE_RECORDS))).ok();
            }
        });
        to_parse.send(piece).ok();
        drop(to_parse);
        let faults = parsing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        placing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (loaded, faults)
    });
    let mut spoilt = Vec::new();
    for (key, fault) in faults {
        reading.fault(&key, &fault.to_string());
        spoilt.push(key);
    }
    for unreadable in loaded? {
        spoilt.extend(Key::parse(&unreadable.key));
        reading.unreadable(unreadable);
    }
    Ok(spoilt)
}

fn parse(entries: mpsc::Receiver<Vec<Entry>>, to_place: &mpsc::SyncSender<Vec<Record>>) -> Vec<(Key, Fault)> {
    let mut faults = Vec::new();
    for piece in entries {
        let mut records = Vec::with_capacity(piece.len());
        for entry in &piece {
            match record(entry) {
                Ok(record) => records.push(record),
                Err(fault) => faults.push((entry.key.clone(), fault)),
            }
        }
        if to_place.send(records).is_err() {
            break;
        }
    }
    faults
}

/// The records of one name come one after the other.
fn place(records: mpsc::Receiver<Vec<Record>>, mut put: impl FnMut(NameUnit)) {
    let mut unit: Vec<Record> = Vec::new();
    for record in records.into_iter().flatten() {
        if unit.first().is_some_and(|first| (first.zone, &first.owner) != (record.zone, &record.owner)) {
            close(&mut unit, &mut put);
        }
        unit.push(record);
    }
    close(&mut unit, &mut put);
}

fn close(unit: &mut Vec<Record>, put: &mut impl FnMut(NameUnit)) {
    if let Some(first) = unit.first() {
        put(NameUnit::new(first.zone, first.owner.clone(), unit));
        unit.clear();
    }
}
