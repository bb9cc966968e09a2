//! Imports that did not come to their end: what of them has landed goes again, at once or by whoever starts next.

use std::ops::RangeInclusive;
use std::time::Duration;

use bartizan_names::{RecordId, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::StoredImport;

use crate::background::Stop;
use crate::error::Error;
use crate::transaction::Change;
use crate::turns::Turns;
use crate::writes::{By, Writes};

/// For the change log. Who asked for the import stands at its own revisions.
pub(super) const INTERFACE: &str = bartizan_store::IMPORT;

/// Records that are deleted in one revision, at least and at most.
const PIECE: RangeInclusive<usize> = 25..=2_000;

/// Operations of a record that comes or goes: of itself, and of its name.
pub(super) const OPERATIONS: usize = 2;

/// Records that are deleted in one revision now: as many as fit a turn.
pub(super) fn piece_size(writes: &Writes) -> usize {
    (writes.operations_in_a_turn() / OPERATIONS).clamp(*PIECE.start(), *PIECE.end())
}

/// Imports that are looked for at once.
const IMPORTS_MAX: usize = 1_000;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Nothing is left behind while a process runs, but by what fails twice. Until then its names are busy.
const REST: Duration = Duration::from_secs(30);

/// Undoes what nobody is at work on; how long there is then nothing to do.
pub(crate) fn undo_all(writes: &Writes, turns: &Turns, stop: &Stop) -> Duration {
    let undone = || -> Result<(), Error> {
        let begun = writes.view()?.0.list_kind(Kind::Import, IMPORTS_MAX)?;
        for zone in begun.iter().filter_map(|entry| entry.key.zone_id()) {
            if stop.is_set() {
                break;
            }
            if let Some(_turn) = turns.take(zone, None, usize::MAX) {
                tracing::warn!(%zone, "an import did not come to its end; its records are deleted");
                undo(writes, zone, || stop.is_set())?;
            }
        }
        Ok(())
    };
    match undone() {
        Ok(()) => REST,
        Err(error) => {
            tracing::warn!(%error, "what is left of an import stays for now");
            RETRY
        }
    }
}

/// Deletes what an import has put into a zone; nobody changed it since, as its names are busy. What is left when it is to end is for the next start.
pub(super) fn undo(writes: &Writes, zone: ZoneId, is_over: impl Fn() -> bool) -> Result<(), Error> {
    while !is_over() {
        let size = piece_size(writes);
        if writes.change(By::Edge(INTERFACE), |change| undo_piece(change, zone, size))? == Piece::Last {
            break;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    OneOfMore,
    Last,
}

fn undo_piece(change: &mut Change, zone: ZoneId, size: usize) -> Result<Piece, Error> {
    let key = Key::import(zone);
    let Some(import) = change.find::<StoredImport>(&key)? else { return Ok(Piece::Last) };
    let records = Prefix::of(Scope::Zone(zone), Kind::Record);
    let ids = change.keys(&records, Some(&Key::record(zone, import.ids_from)), size)?;
    let ids: Vec<RecordId> = ids.iter().filter_map(Key::id_as).take_while(|id: &RecordId| import.has(*id)).collect();
    change.delete_unread_records(zone, &ids)?;
    if ids.len() < size {
        change.delete(key)?;
        return Ok(Piece::Last);
    }
    Ok(Piece::OneOfMore)
}
