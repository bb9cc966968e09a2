//! How the records of a file come into a zone: whole, or not at all.
//!
//! ```text
//! up to 5,000 records ─► one revision
//! more ─► each name is looked at, a draft of each piece ─► the import begins: an object with the beginning of its records' ids
//!                                   ─► pieces as fit a turn, a revision ─► the import's object goes: it is done
//! ```
//! What fails between the last two is undone: the records whose ids begin so are deleted. A process that ends there leaves
//! the object, by which the next one finds what to undo ([`super::undo`]). Until it is done, or undone, what has landed is
//! served and listed; nobody was told that it is there to stay, and its names are busy.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::iter::Peekable;
use std::ops::Range;

use bartizan_model::{Record, RecordData, Stamp, Zone};
use bartizan_names::{Name, RecordId, RecordType, Timestamp, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Rev, Scope};
use bartizan_v4::{RecordBody, StoredImport};

use super::drafts::{self, Draft};
use super::file::ZoneFile;
use super::told::Told;
use super::undo::{OPERATIONS, undo};
use crate::caller::Caller;
use crate::dns_records::dnames::Dnames;
use crate::dns_records::lines;
use crate::dns_records::rules::conflict;
use crate::error::{Error, Fault};
use crate::owner_names;
use crate::transaction::{Change, View};
use crate::writes::{By, Writes};

/// Records that land in one revision if there are no more.
const ONE_REVISION_MAX: usize = 5_000;

/// Records of a piece, a draft each. A revision that is one of many has as many of them as fit a turn.
pub(super) const PIECE_MAX: usize = 50;

/// Pieces that are looked at in one state.
const LOOKED_AT: usize = 5;

/// Lines of a preview.
const CHANGES_MAX: usize = 1_000;

/// What a file comes to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) added: u64,
    /// Of a preview.
    pub(super) changes: Vec<String>,
}

/// Whether anything is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Land,
    Preview,
}

/// Puts the records of a file into a zone, unless there is a fault in it, which `told` has then.
pub(super) fn land(
    writes: &Writes,
    caller: &Caller,
    zone: ZoneId,
    is_over: impl Fn() -> bool + Copy,
    file: &mut ZoneFile,
    mode: Mode,
    told: &mut Told,
) -> Result<Outcome, Error> {
    if let Some((line, fault)) = file.crowded() {
        told.fault(line, fault);
        return Ok(Outcome::default());
    }
    let pieces = file.pieces(if file.len() > ONE_REVISION_MAX { PIECE_MAX } else { ONE_REVISION_MAX });
    let ids = Ids::new();
    let mut looked_at = Vec::new();
    if mode == Mode::Preview || pieces.len() > 1 {
        let (mut outcome, at) = (Outcome::default(), writes.clock().now());
        for some in pieces.chunks(LOOKED_AT) {
            go_on(is_over)?;
            let view = writes.view()?;
            let zone = view.zone_of(caller, zone)?;
            let look = |piece: &Range<usize>| {
                let mut said = Told::default();
                let fitting = fitting(Some(&view), &zone, file.bodies(piece.clone()), &ids, at, &mut said)?;
                Ok::<_, Error>((piece.clone(), fitting, said))
            };
            let looks = some.iter().map(look).collect::<Result<Vec<_>, _>>()?;
            // Writing drafts takes a while, and the journal waits for who looks.
            drop(view);
            for (piece, fitting, said) in looks {
                outcome.note(&fitting.new);
                let draft = match mode == Mode::Land && !said.is_faulty() {
                    true => Draft::of(&fitting, &mut file.spool)?,
                    false => None,
                };
                looked_at.push(LookedAt { piece, draft, said });
            }
        }
        if mode == Mode::Preview || looked_at.iter().any(|one| one.said.is_faulty()) {
            looked_at.into_iter().for_each(|one| told.take(one.said));
            return Ok(outcome);
        }
    }
    let file = &*file;
    let by = By::Caller(caller);
    let piece = |change: &mut Change, piece: &Range<usize>| {
        let zone = change.zone_of(caller, zone)?;
        let mut seen = Told::default();
        let (now, bodies) = (change.now(), file.bodies(piece.clone()));
        let fitting = fitting(Some(change), &zone, bodies, &ids, now, &mut seen)?;
        if !seen.is_faulty() {
            fitting.put(change, &zone)?;
        }
        Ok((fitting.new.len() as u64, seen))
    };
    if let [one] = pieces.as_slice() {
        let (added, seen) = writes.change(by, |change| piece(change, one))?;
        told.take(seen);
        return Ok(Outcome { added, changes: Vec::new() });
    }
    if pieces.is_empty() {
        return Ok(Outcome::default());
    }
    let caller = &caller.saying(&super::said(ids.first()));
    let by = By::Caller(caller);
    begin(writes, by, zone, &ids)?;
    let mut added = 0;
    let mut rest = looked_at.into_iter().peekable();
    while let Some(first) = rest.next() {
        // What has landed is undone by the next start.
        go_on(is_over)?;
        let turn = turn(first, &mut rest, writes.operations_in_a_turn() / OPERATIONS);
        let lines = turn[0].piece.start..turn[turn.len() - 1].piece.end;
        let drafts = Cell::new(turn.into_iter().map(LookedAt::drafted).collect::<Option<Vec<_>>>());
        let landed = writes.change(by, |change| {
            change.require(Key::import(zone));
            match drafts.take() {
                // What somebody else put at one of its names, or above, meanwhile is met by looking again.
                Some(drafts) if !change.has_dnames(zone)? => {
                    let zone = change.zone_of(caller, zone)?;
                    let (mut count, mut seen) = (0, Told::default());
                    for (draft, said) in drafts {
                        draft.put(change, &zone, &file.spool)?;
                        count += draft.records;
                        seen.take(said);
                    }
                    Ok((count, seen))
                }
                _ => piece(change, &lines),
            }
        });
        match landed {
            Ok((count, seen)) if !seen.is_faulty() => {
                added += count;
                told.take(seen);
            }
            // Somebody made something meanwhile that does not go together with it.
            Ok((_, seen)) => {
                told.take(seen);
                undo(writes, zone, is_over)?;
                return Ok(Outcome::default());
            }
            Err(error) => {
                undo(writes, zone, is_over)
                    .inspect_err(|error| tracing::warn!(%zone, %error, "an import is undone later"))?;
                return Err(error);
            }
        }
    }
    let ended = writes.change(by, |change| change.delete(Key::import(zone)));
    if let Err(error) = ended
        && writes.view()?.find::<StoredImport>(&Key::import(zone))?.is_some()
    {
        undo(writes, zone, is_over).inspect_err(|error| tracing::warn!(%zone, %error, "an import is undone later"))?;
        return Err(error);
    }
    Ok(Outcome { added, changes: Vec::new() })
}

/// A piece that was looked at.
struct LookedAt {
    piece: Range<usize>,
    draft: Option<Draft>,
    said: Told,
}

impl LookedAt {
    fn drafted(self) -> Option<(Draft, Told)> {
        self.draft.map(|draft| (draft, self.said))
    }
}

/// A piece and those behind it that land in one revision with it: so many records, but for what one piece has more. What
/// comes behind a DNAME is looked at when that is there.
fn turn(first: LookedAt, rest: &mut Peekable<impl Iterator<Item = LookedAt>>, records_max: usize) -> Vec<LookedAt> {
    let mut turn = vec![first];
    let mut records = turn[0].piece.len();
    while turn.last().is_some_and(|last| last.draft.as_ref().is_some_and(|draft| !draft.has_dname))
        && let Some(next) = rest.next_if(|next| records + next.piece.len() <= records_max)
    {
        records += next.piece.len();
        turn.push(next);
    }
    turn
}

/// An error if the process is to end: nobody waits for the answer.
pub(super) fn go_on(is_over: impl Fn() -> bool) -> Result<(), Error> {
    if is_over() { Err(Fault::Busy.into()) } else { Ok(()) }
}

/// From here on it is known which records are to be deleted again if it is not finished.
fn begin(writes: &Writes, by: By<'_>, zone: ZoneId, ids: &Ids) -> Result<(), Error> {
    writes.change(by, |change| {
        change.require(Key::zone(zone));
        change.put(Key::import(zone), &StoredImport { ids_from: ids.first(), begun_on: change.now() })
    })
}

/// The ids of the records of one import. They begin alike, and so lie together; and each is behind those before it, so that
/// what lands goes to one place of an index and not to pages all over it.
pub(super) struct Ids {
    begin: [u8; 8],
    used: Cell<u64>,
}

impl Ids {
    pub(super) fn new() -> Ids {
        Ids { begin: bartizan_seal::random(), used: Cell::new(0) }
    }

    /// In front of all of them.
    fn first(&self) -> RecordId {
        self.number(0)
    }

    fn next(&self) -> RecordId {
        self.used.set(self.used.get() + 1);
        self.number(self.used.get())
    }

    fn number(&self, number: u64) -> RecordId {
        RecordId::from_bytes([self.begin, number.to_be_bytes()].concat().try_into().expect("twice eight"))
    }
}

impl View {
    /// Whether nothing stands at any name of a zone: no records, and no applications.
    fn has_no_names(&self, zone: ZoneId) -> Result<bool, Error> {
        for kind in [Kind::Name, Kind::Record] {
            if !self.keys(&Prefix::of(Scope::Zone(zone), kind), None, 1)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Outcome {
    pub(super) fn note(&mut self, new: &[(Record, bartizan_v4::Record)]) {
        self.added += new.len() as u64;
        for (record, document) in new.iter().take(CHANGES_MAX.saturating_sub(self.changes.len())) {
            let mut line = String::from("+ ");
            lines::write(&mut line, record, document);
            self.changes.push(line.trim_end().to_owned());
        }
    }
}

/// Of what lines ask for, all that is not there yet; nothing is there in a zone that is not. What cannot stand in the zone is told as a fault of its line.
pub(super) fn fitting(
    store: Option<&View>,
    zone: &Zone,
    bodies: impl Iterator<Item = Result<(u64, RecordBody), Error>>,
    ids: &Ids,
    now: Timestamp,
    told: &mut Told,
) -> Result<Fitting, Error> {
    // Where there is nothing, nothing is looked for.
    let there = match store {
        Some(view) if !view.has_no_names(zone.id)? => Some(view),
        _ => None,
    };
    let mut owners: BTreeMap<Name, Standing> = BTreeMap::new();
    let mut new = Vec::new();
    for body in bodies {
        let (line, body) = body?;
        let stamp = Stamp { id: ids.next(), created_on: now, modified_on: now };
        let (record, document) = match Record::parse_body(zone, stamp, &body) {
            Ok(parsed) => parsed,
            Err(error) => {
                told.fault(line, error);
                continue;
            }
        };
        let standing = match owners.entry(record.owner.clone()) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(unknown) => {
                let standing = Standing::read(there, zone, unknown.key(), line)?;
                unknown.insert(standing)
            }
        };
        match standing.add(&record, zone) {
            Ok(()) => new.push((record, document)),
            Err(Fault::RecordIdentical) => told.note(line, "left out: an identical record is there"),
            Err(fault) => told.fault(line, fault),
        }
    }
    let dnames = match there {
        Some(view) => Dnames::of(view, zone.id, &[], new.iter().map(|(record, _)| record))?,
        None => Dnames::new(new.iter().map(|(record, _)| record)),
    };
    for (owner, Standing { records, first_line, leads_to_app, .. }) in &owners {
        let first_line = *first_line;
        if let Err(refused) = dnames.check(owner) {
            told.fault(first_line, refused);
        }
        if *leads_to_app {
            told.fault(first_line, Fault::HostTaken.because("an application has this name"));
        } else if let Err(refused) = bartizan_publish::check(&zone.name, records) {
            told.fault(first_line, refused);
        } else if let Some(view) = store {
            match view.refuse_tunnels_of_others(zone, records) {
                Err(refused) if refused.fault == Fault::RecordInvalid => told.fault(first_line, refused),
                looked => looked?,
            }
        }
    }
    Ok(Fitting { new, owners })
}

/// What of a piece comes into the zone, and the names at which it does.
pub(super) struct Fitting {
    pub(super) new: Vec<(Record, bartizan_v4::Record)>,
    owners: BTreeMap<Name, Standing>,
}

impl Fitting {
    fn put(&self, change: &mut Change, zone: &Zone) -> Result<(), Error> {
        for (_, document) in &self.new {
            change.put_new(Key::record(zone.id, document.id), document)?;
        }
        for (owner, seen, records) in self.names() {
            drafts::put_name(change, zone.id, owner, seen, records)?;
        }
        let proxied = self.new.iter().filter(|(record, _)| record.proxied);
        proxied.map(|(record, _)| &record.owner).try_for_each(|owner| change.put_certificate(zone, owner))
    }

    /// The names to which something comes: by which revision each was when it was looked at, none if it was not there,
    /// and how many records it has from now on.
    pub(super) fn names(&self) -> impl Iterator<Item = (&Name, Option<Rev>, usize)> {
        let owners: BTreeSet<&Name> = self.new.iter().map(|(record, _)| &record.owner).collect();
        let names = owners.into_iter().filter_map(|owner| self.owners.get_key_value(owner));
        names.map(|(owner, standing)| (owner, standing.seen, standing.records.len()))
    }
}

/// What stands at a name, with what comes to it.
#[derive(Default)]
struct Standing {
    records: Vec<Record>,
    data: HashSet<RecordData>,
    /// One record of each type, as far as it counts for others whether there is one.
    kinds: BTreeMap<(RecordType, bool), usize>,
    first_line: u64,
    leads_to_app: bool,
    /// The revision that put the name's object last.
    seen: Option<Rev>,
}

impl Standing {
    fn read(view: Option<&View>, zone: &Zone, owner: &Name, first_line: u64) -> Result<Standing, Error> {
        let mut standing = Standing { first_line, ..Standing::default() };
        let Some(view) = view else { return Ok(standing) };
        standing.seen = view.0.rev(&Key::name(zone.id, owner))?;
        standing.leads_to_app = standing.seen.is_some() && !view.app_ids_at(zone.id, owner)?.is_empty();
        for document in view.records_at(zone.id, owner)? {
            standing.put(owner_names::parse(&document)?);
        }
        Ok(standing)
    }

    fn put(&mut self, record: Record) {
        self.data.insert(record.data.clone());
        self.kinds.entry((record.data.rtype(), record.proxied)).or_insert(self.records.len());
        self.records.push(record);
    }

    fn add(&mut self, record: &Record, zone: &Zone) -> Result<(), Fault> {
        if self.data.contains(&record.data) {
            return Err(Fault::RecordIdentical);
        }
        let mut others = self.kinds.values().map(|&at| &self.records[at]);
        match others.find_map(|other| conflict(record, other, zone)) {
            Some(fault) => Err(fault),
            None => {
                self.put(record.clone());
                Ok(())
            }
        }
    }
}
