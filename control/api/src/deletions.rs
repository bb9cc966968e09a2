//! Deletion of a zone's contents, in the background.
//!
//! ```text
//! DELETE zone ─► one revision: zone and its name gone, tombstone there (zones) ─► 200
//!                       │ from here on nothing is made in the zone: whoever makes something requires it
//!                       ▼
//! here: everything whose key lies in the zone, piece after piece, each from a newer state; with the last piece the tombstone
//! ```
//! No kind of object is named but one: applications hold slots and addresses outside their zone. A process that ends on
//! the way leaves the tombstone, and the next one goes on. At a start it also looks for zones that are not there and of
//! which something is, and for slots and addresses that nobody holds: builds before this one could leave that behind, and
//! so does an application that could not be read when it was deleted.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{AppId, ZoneId};
use bartizan_store::{Key, Kind, Op, Prefix, Scope};

use crate::app_addresses;
use crate::background::{Due, Stop};
use crate::error::Error;
use crate::numbers::Numbers;
use crate::transaction::Change;
use crate::writes::{By, Writes};

/// For the change log. Who asked for it stands at the tombstone's revision.
const INTERFACE: &str = bartizan_store::DELETION;

/// Objects that are deleted in one revision, at least and at most; within that as many as fit a turn, so that others get
/// theirs between.
const PIECE: RangeInclusive<usize> = 50..=5_000;

/// Of which so many may be applications: what they hold is guarded one by one.
const APPS_PIECE_MAX: usize = 500;

/// Zones and holders that are looked at in one go.
const PAGE: usize = 1_000;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// How long it rests when nobody deletes a zone.
const REST: Duration = Duration::from_secs(3_600);

/// The work of the thread.
pub(crate) struct Deletions {
    writes: Writes,
    /// Whether to look for what was left behind: at the start, because older builds could do that, and when an object was
    /// deleted that did not tell what it holds.
    sweep: Due,
    numbers: Arc<Numbers>,
}

impl Deletions {
    pub(crate) fn new(writes: Writes, sweep: Due, numbers: Arc<Numbers>) -> Deletions {
        sweep.set();
        Deletions { writes, sweep, numbers }
    }

    /// Finishes all that is begun; how long there is then nothing to do.
    pub(crate) fn run(&mut self, stop: &Stop) -> Duration {
        match self.work(stop) {
            Ok(()) => {
                self.numbers.deletion_works();
                REST
            }
            Err(error) => {
                self.numbers.deletion_fails(error);
                RETRY
            }
        }
    }

    /// What fails does not hold up the rest: one zone not the next, and no zone the sweep. The error is for people.
    fn work(&mut self, stop: &Stop) -> Result<(), String> {
        let told =
            |result: Result<(), Error>| result.map_err(|error| format!("what is left of a deletion stays: {error}"));
        if !self.sweep.take() {
            return finish_all(&self.writes, stop);
        }
        let marked = mark_orphans(&self.writes, stop);
        let finished = finish_all(&self.writes, stop);
        let swept = marked.and(free_what_is_left(&self.writes, stop));
        if swept.is_err() {
            self.sweep.set();
        }
        finished.and(told(swept))
    }
}

/// Deletes what is in every zone that has a tombstone; or says of how many it could not.
fn finish_all(writes: &Writes, stop: &Stop) -> Result<(), String> {
    let unread = |error: Error| format!("it cannot be told which zones are to be deleted: {error}");
    let (mut after, mut failed, mut reason) = (None, 0, None);
    loop {
        let view = writes.view().map_err(unread)?;
        let begun = view.keys(&Prefix::of(Scope::Edge, Kind::Deletion), after.as_ref(), PAGE).map_err(unread)?;
        drop(view);
        for zone in begun.iter().filter_map(Key::id_as) {
            if stop.is_set() {
                return Ok(());
            }
            if let Err(error) = finish(writes, zone, stop) {
                failed += 1;
                reason.get_or_insert_with(|| format!("of zone {zone}: {error}"));
            }
        }
        after = match begun.into_iter().last() {
            Some(last) => Some(last),
            None => break,
        };
    }
    match reason {
        None => Ok(()),
        Some(reason) => Err(format!("the contents of {failed} zones are not all deleted; {reason}")),
    }
}

fn finish(writes: &Writes, zone: ZoneId, stop: &Stop) -> Result<(), Error> {
    loop {
        let size = writes.operations_in_a_turn().clamp(*PIECE.start(), *PIECE.end());
        let piece = writes.change(By::Edge(INTERFACE), |change| delete_piece(change, zone, size))?;
        if piece == Piece::Last || stop.is_set() {
            return Ok(());
        }
    }
}

/// Whether there is more of a zone than one revision takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    OneOfMore,
    Last,
}

fn delete_piece(change: &mut Change, zone: ZoneId, size: usize) -> Result<Piece, Error> {
    let tombstone = Op::Del { key: Key::deletion(zone) };
    if change.has(&Key::zone(zone))? {
        tracing::error!(%zone, "a zone that is there has a tombstone; it stays");
        change.unguarded([tombstone]);
        return Ok(Piece::Last);
    }
    let mut keys = change.keys(&Prefix::scope(Scope::Zone(zone)), None, size)?;
    let mut piece = if keys.len() < size { Piece::Last } else { Piece::OneOfMore };
    let apps = keys.iter().enumerate().filter(|(_, key)| key.kind() == Kind::App);
    if let Some((end, _)) = apps.clone().nth(APPS_PIECE_MAX) {
        keys.truncate(end);
        piece = Piece::OneOfMore;
    }
    let apps: Vec<AppId> = keys.iter().filter(|key| key.kind() == Kind::App).filter_map(Key::id_as).collect();
    app_addresses::release(change, zone, &apps)?;
    // Nobody else writes there any more, so what is there may go as it is.
    change.unguarded(keys.into_iter().map(|key| Op::Del { key }));
    if piece == Piece::Last {
        change.unguarded([tombstone]);
    }
    Ok(piece)
}

/// Gives a tombstone to every zone of which there is something, but neither the zone nor its name: a deletion takes both
/// at once, so a zone that still has its name was lost by damage, and what is in it waits for a backup, or for a person
/// who deletes it. While damage is told of it may have taken the name as well, and nothing is an orphan for certain.
fn mark_orphans(writes: &Writes, stop: &Stop) -> Result<(), Error> {
    let (mut after, mut names) = (None, None);
    while !stop.is_set() {
        let view = writes.view()?;
        if !view.0.lost().is_empty() {
            return Ok(());
        }
        let zones = view.0.zone_scopes(after, PAGE)?;
        let mut orphans = Vec::new();
        for zone in &zones {
            if !view.has(&Key::zone(*zone))? && !view.has(&Key::deletion(*zone))? {
                orphans.push(*zone);
            }
        }
        if !orphans.is_empty() {
            if names.is_none() {
                names = Some(view.0.zone_names(|_| true)?);
            }
            orphans.retain(|zone| names.as_ref().is_some_and(|names| !names.may_have_one(*zone)));
        }
        drop(view);
        if !orphans.is_empty() {
            tracing::warn!(zones = orphans.len(), "objects of zones that are not there; deleting them");
            // A zone comes into being whole, so one that was not there a moment ago never will be.
            let tombstone = |change: &mut Change, zone| change.put(Key::deletion(zone), &serde_json::json!({}));
            writes
                .change(By::Edge(INTERFACE), |change| orphans.iter().try_for_each(|zone| tombstone(change, *zone)))?;
        }
        after = match zones.last() {
            Some(last) => Some(*last),
            None => break,
        };
    }
    Ok(())
}

/// Frees slots and addresses whose holders are not there.
fn free_what_is_left(writes: &Writes, stop: &Stop) -> Result<(), Error> {
    for held in app_addresses::held() {
        let mut after: Option<Key> = None;
        while !stop.is_set() {
            let keys = writes.view()?.keys(&held, after.as_ref(), PAGE)?;
            writes.change(By::Edge(INTERFACE), |change| {
                keys.iter().try_for_each(|key| app_addresses::free_if_left(change, key))
            })?;
            after = keys.into_iter().last();
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}
