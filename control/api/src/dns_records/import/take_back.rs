//! An import of many revisions, taken back as one by somebody who asks for it.
//!
//! ```text
//! each of its records is looked at ─► the import is under way again: its names are busy
//!                                     ─► piece after piece, each a revision ─► the import's object goes: it is done
//! ```
//! A process that ends on the way leaves the object, by which the next one takes back the rest ([`super::undo`]).

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use bartizan_model::Zone;
use bartizan_names::{Name, RecordId, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::StoredImport;

use super::OTHERS_MAX;
use super::landing::{Mode, go_on};
use super::undo::{Piece, piece_size, undo};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::owner_names;
use crate::transaction::{Change, View};
use crate::turns::Turns;
use crate::writes::{By, Writes};

/// Records that are looked at in one go.
const LOOKED_AT: usize = 2_000;

/// Records that are shown of those that go.
const SHOWN_MAX: usize = 1_000;

/// What went, or would go.
#[derive(Default)]
pub(crate) struct TakenBack {
    pub(crate) records: u64,
    /// The first ones of them.
    pub(crate) shown: Vec<bartizan_v4::Record>,
}

/// What becomes of records that somebody changed since they came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Refused,
    GoesToo,
}

/// Takes back what of an import is still there. Blocks, for as long as the import took.
pub(crate) fn take_back(
    writes: &Writes,
    turns: &Turns,
    caller: &Caller,
    (zone, ids_from): (ZoneId, RecordId),
    changed: Changed,
    mode: Mode,
) -> Result<TakenBack, Error> {
    let is_over = || turns.is_over();
    let account = writes.view()?.zone_of(caller, zone)?.account;
    let turn = match mode {
        Mode::Preview => None,
        Mode::Land => Some(turns.take(zone, Some(account), OTHERS_MAX).ok_or(Fault::ImportBusy)?),
    };
    if turn.is_some() {
        // What a process before this one left.
        undo(writes, zone, is_over)?;
    }
    let import = StoredImport { ids_from, begun_on: writes.clock().now() };
    let taken = look(writes, caller, zone, &import, changed, is_over)?;
    if mode == Mode::Preview || taken.records == 0 {
        return Ok(taken);
    }
    let by = By::Caller(caller);
    writes.change(by, |change| {
        change.zone_of(caller, zone)?;
        change.require(Key::zone(zone));
        change.put(Key::import(zone), &import)
    })?;
    let mut gone = 0;
    loop {
        // What is left goes with the next start.
        go_on(is_over)?;
        let size = piece_size(writes);
        let landed = writes.change(by, |change| {
            change.require(Key::import(zone));
            let zone = change.zone_of(caller, zone)?;
            piece(change, &zone, &import, size)
        });
        match landed {
            Ok((count, Piece::OneOfMore)) => gone += count,
            Ok((_, Piece::Last)) => return Ok(taken),
            Err(error) => {
                // Meanwhile somebody was refused this, or put beside one of them what cannot be without it.
                writes.change(By::Edge(super::undo::INTERFACE), |change| change.delete(Key::import(zone)))?;
                let detail = format!(
                    "{gone} of {} records are gone, and the rest stays: {}",
                    taken.records,
                    error.problem().message
                );
                return Err(error.fault.because(detail));
            }
        }
    }
}

/// Looks at all that would go, and at what would stay at its names.
fn look(
    writes: &Writes,
    caller: &Caller,
    zone: ZoneId,
    import: &StoredImport,
    changed: Changed,
    is_over: impl Fn() -> bool + Copy,
) -> Result<TakenBack, Error> {
    let mut taken = TakenBack::default();
    let (mut seen, hasher) = (HashSet::new(), RandomState::new());
    let mut after = Key::record(zone, import.ids_from);
    loop {
        go_on(is_over)?;
        let view = writes.view()?;
        let of = view.zone_of(caller, zone)?;
        let keys = keys_of(&view, zone, import, &after, LOOKED_AT)?;
        let Some(last) = keys.last() else { return Ok(taken) };
        after = last.clone();
        for key in keys {
            let Some(record) = view.find::<bartizan_v4::Record>(&key)? else { continue };
            if record.modified_on != record.created_on && changed == Changed::Refused {
                let rev = view.0.rev(&key)?.unwrap_or_default();
                let what = format!("record {} {} was changed by revision {rev}", record.name, record.kind);
                return Err(Fault::UndoChangedSince.because(what));
            }
            let owner = owner_names::owner(&record)?;
            // By a hash: names that share one are checked again when they go.
            if seen.insert(hasher.hash_one(owner.as_wire())) {
                bartizan_publish::check(&of.name, &at(&view, zone, &owner, import)?.1)?;
            }
            taken.records += 1;
            if taken.shown.len() < SHOWN_MAX {
                taken.shown.push(record);
            }
        }
    }
}

/// The next keys of an import's records.
fn keys_of(view: &View, zone: ZoneId, import: &StoredImport, after: &Key, count: usize) -> Result<Vec<Key>, Error> {
    let mut keys = view.keys(&Prefix::of(Scope::Zone(zone), Kind::Record), Some(after), count)?;
    let end = keys.iter().position(|key| !key.id_as().is_some_and(|id: RecordId| import.has(id)));
    keys.truncate(end.unwrap_or(keys.len()));
    Ok(keys)
}

/// What of an import stands at a name, and what else does.
fn at(
    view: &View,
    zone: ZoneId,
    owner: &Name,
    import: &StoredImport,
) -> Result<(Vec<RecordId>, Vec<bartizan_model::Record>), Error> {
    let (mut goes, mut stays) = (Vec::new(), Vec::new());
    for record in view.records_at(zone, owner)? {
        match import.has(record.id) {
            true => goes.push(record.id),
            false => stays.push(owner_names::parse(&record)?),
        }
    }
    Ok((goes, stays))
}

/// Takes away the records of some names; those of one name go together, as they came.
fn piece(change: &mut Change, zone: &Zone, import: &StoredImport, size: usize) -> Result<(u64, Piece), Error> {
    let keys = keys_of(change, zone.id, import, &Key::record(zone.id, import.ids_from), size)?;
    let (mut gone, mut names) = (0, HashSet::new());
    for id in keys.iter().filter_map(Key::id_as::<RecordId>) {
        if gone >= size {
            break;
        }
        let Some(owner) = change.0.record_owner(zone.id, id)? else {
            change.delete(Key::record(zone.id, id))?;
            gone += 1;
            continue;
        };
        if !names.insert(owner.clone()) {
            continue;
        }
        let (goes, stays) = at(change, zone.id, &owner, import)?;
        gone += goes.len();
        for id in goes {
            change.delete(Key::record(zone.id, id))?;
        }
        change.put_imported_records(zone, &owner, &stays)?;
    }
    if keys.is_empty() {
        change.delete(Key::import(zone.id))?;
        return Ok((0, Piece::Last));
    }
    Ok((gone as u64, Piece::OneOfMore))
}
