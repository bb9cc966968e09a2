//! A file as it came, read and checked as far as that goes without the zone's records.
//!
//! What its lines ask for lies in a file without a name; in memory there are some 24 bytes of each record, by which those of
//! one name are found together wherever they stand.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;

use bartizan_model::Zone;
use bartizan_names::Name;
use bartizan_v4::RecordBody;
use bartizan_wire::zone_file::{Entry, Reader, SyntaxError};
use tokio::sync::mpsc::Receiver;

use super::form::Piece;
use super::told::Told;
use crate::dns_records::lines::{self, Wanted};
use crate::error::{Error, Fault};
use crate::spools::{Spool, Spools};

/// Records of one file.
const RECORDS_MAX: usize = 2_000_000;

/// Records of one name in a file. Those of one type that fit an answer are fewer than 5,000.
const NAME_RECORDS_MAX: usize = 10_000;

/// Where what a line asks for lies.
#[derive(Clone, Copy)]
struct Held {
    /// While lines are read a hash of the owner, and then where what the first line of it asks for lies. Names that share
    /// one are only put down together.
    owner: u64,
    at: u64,
    length: u32,
    line: u32,
}

/// A file that was read.
pub(super) struct ZoneFile {
    pub(super) spool: Spool,
    /// In the order of the file, but that those of one owner stand with the first of it.
    held: Vec<Held>,
    pub(super) parsed: u64,
    /// Whether its records are proxied where they do not say it themselves.
    pub(super) proxied: bool,
}

impl ZoneFile {
    /// Reads what `pieces` brings to its end. Blocks.
    pub(super) fn read(
        mut pieces: Receiver<Piece>,
        zone: &Zone,
        spools: &Spools,
        told: &mut Told,
    ) -> Result<ZoneFile, Error> {
        let mut lines = Lines {
            zone,
            told,
            spool: spools.open(zone.account)?,
            held: Vec::new(),
            hasher: RandomState::new(),
            parsed: 0,
        };
        let mut reader = Reader::new(zone.name.as_name().clone());
        let proxied = loop {
            let mut failed = None;
            let mut take = |line: Result<Entry, SyntaxError>| {
                failed = failed.take().or_else(|| lines.take(line).err());
            };
            match pieces.blocking_recv() {
                Some(Piece::Of(piece)) => reader.take(&piece, &mut take),
                Some(Piece::End { proxied }) => {
                    reader.end(&mut take);
                    break failed.map_or(Ok(proxied), Err)?;
                }
                // Who sent it says why there is no more; a part of a file is none.
                None => return Err(Fault::SlowBody.into()),
            }
            failed.map_or(Ok(()), Err)?;
        };
        let Lines { mut spool, mut held, parsed, .. } = lines;
        spool.flush()?;
        bring_together(&mut held);
        Ok(ZoneFile { spool, held, parsed, proxied })
    }

    /// The records in pieces of some `size`, those of one owner in one of them.
    pub(super) fn pieces(&self, size: usize) -> Vec<Range<usize>> {
        let (mut pieces, mut start) = (Vec::new(), 0);
        while start < self.held.len() {
            let mut end = (start + size).min(self.held.len());
            while end < self.held.len() && self.held[end].owner == self.held[end - 1].owner {
                end += 1;
            }
            pieces.push(start..end);
            start = end;
        }
        pieces
    }

    /// A line of a name that has too many of them.
    pub(super) fn crowded(&self) -> Option<(u64, Error)> {
        let line = self.held.windows(NAME_RECORDS_MAX + 1).find_map(|held| {
            let (first, last) = (held.first()?, held.last()?);
            (first.owner == last.owner).then(|| last.line.into())
        });
        let detail = format!("a name has more than {NAME_RECORDS_MAX} records");
        line.map(|line| (line, Fault::RecordInvalid.because(detail)))
    }

    /// How many records its lines ask for.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// What these lines ask for, with their numbers.
    pub(super) fn bodies(&self, piece: Range<usize>) -> impl Iterator<Item = Result<(u64, RecordBody), Error>> {
        self.held[piece].iter().map(|held| {
            let json = self.spool.read(held.at, held.length as usize)?;
            let mut body: RecordBody = serde_json::from_slice(&json).map_err(|error| Error::internal(&error))?;
            if self.proxied && body.proxied.value().is_none() && may_be_proxied(&body) {
                body.proxied = bartizan_v4::Patch::Value(true);
            }
            Ok((held.line.into(), body))
        })
    }
}

/// Lets those of one owner stand with the first of it. The order of the file is kept for the rest: files are sorted mostly, by
/// whatever, and what is put down one after the other then lies together in the store's indexes.
fn bring_together(held: &mut [Held]) {
    held.sort_unstable_by_key(|held| (held.owner, held.at));
    for owner in held.chunk_by_mut(|one, next| one.owner == next.owner) {
        let first = owner[0].at;
        owner.iter_mut().for_each(|held| held.owner = first);
    }
    held.sort_unstable_by_key(|held| (held.owner, held.at));
}

/// What is asked of all records of a file is asked of those that can be so.
fn may_be_proxied(body: &RecordBody) -> bool {
    let is_host = body.name.value().and_then(|name| Name::parse(name).ok()).is_some_and(|name| name.is_host());
    is_host && matches!(body.kind.value().map(String::as_str), Some("A" | "AAAA" | "CNAME"))
}

/// Takes lines as they are read.
struct Lines<'l> {
    zone: &'l Zone,
    told: &'l mut Told,
    spool: Spool,
    held: Vec<Held>,
    /// With a key of its own: nobody can choose names that meet.
    hasher: RandomState,
    parsed: u64,
}

impl Lines<'_> {
    /// A fault of the line is told, and the next one is read. An error ends it all.
    fn take(&mut self, line: Result<Entry, SyntaxError>) -> Result<(), Error> {
        let entry = match line {
            Ok(entry) => entry,
            Err(SyntaxError { place, reason }) => {
                self.told.fault(place.line, Fault::ZoneFile.because(format!("{reason} (column {})", place.column)));
                return Ok(());
            }
        };
        self.parsed += 1;
        let line = entry.place.line;
        match lines::wanted(self.zone, &entry) {
            Ok(Wanted::Record(body, note)) => {
                note.into_iter().for_each(|note| self.told.note(line, note));
                self.hold(line, &entry.owner, &body)
            }
            Ok(Wanted::Nothing(reason)) => {
                self.told.note(line, format!("left out: {reason}"));
                Ok(())
            }
            Err(error) => {
                self.told.fault(line, error);
                Ok(())
            }
        }
    }

    fn hold(&mut self, line: u64, owner: &Name, body: &RecordBody) -> Result<(), Error> {
        let too_large = || Fault::LargeBody.because(format!("one import takes {RECORDS_MAX} records; cut the file"));
        if self.held.len() == RECORDS_MAX {
            return Err(too_large());
        }
        let json = serde_json::to_vec(body).map_err(|error| Error::internal(&error))?;
        let length = u32::try_from(json.len()).map_err(|_| too_large())?;
        let line = u32::try_from(line).map_err(|_| too_large())?;
        let at = self.spool.push(&json)?;
        self.held.push(Held { owner: self.hasher.hash_one(owner.as_wire()), at, length, line });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_owner_stand_together_in_the_order_of_the_file() {
        let mut held: Vec<Held> = [(9, 0), (4, 1), (9, 2), (7, 3), (4, 4), (1, 5)]
            .map(|(owner, at)| Held { owner, at, length: 0, line: 0 })
            .to_vec();
        bring_together(&mut held);
        let order: Vec<(u64, u64)> = held.iter().map(|held| (held.owner, held.at)).collect();
        assert_eq!(order, [(0, 0), (0, 2), (1, 1), (1, 4), (3, 3), (5, 5)]);
    }
}
