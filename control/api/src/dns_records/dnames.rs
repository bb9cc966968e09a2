//! What a DNAME leaves room for: nothing below it, since all names there stand for names elsewhere (RFC 6672 §2.4).
//!
//! Names are guarded one by one, so two calls at the same moment may put in both: what is below a DNAME is then not
//! answered with, and stays.

use std::collections::BTreeSet;

use bartizan_model::{Record, Zone};
use bartizan_names::{Name, RecordType, ZoneId};
use bartizan_publish::Refused;
use bartizan_store::{Key, Op, RecordOrder, RecordQuery, Text};

use crate::error::Error;
use crate::transaction::{Change, View};

/// DNAME records of one zone that are looked at.
const DNAMES_MAX: u32 = 1_000;

/// Records below a new DNAME of which one may be no part of the same change.
const BELOW_MAX: u32 = 100;

/// The names of a zone that have a DNAME.
pub(super) struct Dnames(BTreeSet<Name>);

impl Dnames {
    /// Those in the store that `ops` leave alone, and those that come.
    pub(super) fn of<'r>(
        view: &View,
        zone: ZoneId,
        ops: &[Op],
        new: impl Iterator<Item = &'r Record>,
    ) -> Result<Dnames, Error> {
        let stored = view.0.records_of_type(zone, RecordType::DNAME, DNAMES_MAX)?;
        let left_alone = |id| {
            let key = Key::record(zone, id);
            ops.iter().all(|op| *op.key() != key)
        };
        let mut dnames = Dnames::new(new);
        dnames.0.extend(stored.into_iter().filter(|(id, _)| left_alone(*id)).map(|(_, owner)| owner));
        Ok(dnames)
    }

    /// Those that come into a zone where there is nothing.
    pub(super) fn new<'r>(new: impl Iterator<Item = &'r Record>) -> Dnames {
        let dnames = new.filter(|record| record.data.rtype() == RecordType::DNAME);
        Dnames(dnames.map(|record| record.owner.clone()).collect())
    }

    /// Whether there may be something at `owner`.
    pub(super) fn check(&self, owner: &Name) -> Result<(), Refused> {
        let mut above = if self.0.is_empty() { None } else { owner.parent() };
        while let Some(name) = above {
            if self.0.contains(&name) {
                return Err(Refused::BelowDname { owner: owner.clone(), dname: name });
            }
            above = name.parent();
        }
        Ok(())
    }
}

impl View {
    /// Whether any name of the zone has a DNAME.
    pub(super) fn has_dnames(&self, zone: ZoneId) -> Result<bool, Error> {
        Ok(!self.0.records_of_type(zone, RecordType::DNAME, 1)?.is_empty())
    }
}

impl Change {
    /// Refuses new records that a DNAME leaves no room for, and a new DNAME above records that stay. The change must have
    /// all of its records by now.
    pub(crate) fn refuse_by_dnames(&self, zone: &Zone, new: &[&Record]) -> Result<(), Error> {
        if new.is_empty() {
            return Ok(());
        }
        let dnames = Dnames::of(self, zone.id, self.ops(), new.iter().copied())?;
        new.iter().try_for_each(|record| dnames.check(&record.owner))?;
        for record in new.iter().filter(|record| record.data.rtype() == RecordType::DNAME) {
            if let Some(below) = self.record_below(zone.id, &record.owner)? {
                return Err(Refused::AboveNames { owner: record.owner.clone(), below }.into());
            }
        }
        Ok(())
    }

    /// The name of a record below `owner` that this change leaves alone.
    fn record_below(&self, zone: ZoneId, owner: &Name) -> Result<Option<String>, Error> {
        let query = RecordQuery {
            name: vec![Text::EndsWith(format!(".{owner}"))],
            order: RecordOrder::Name,
            per_page: BELOW_MAX,
            ..RecordQuery::all(zone)
        };
        let listed = self.records(&query)?;
        let stays = |record: &bartizan_v4::Record| {
            let key = Key::record(zone, record.id);
            self.ops().iter().all(|op| *op.key() != key)
        };
        Ok(listed.documents.into_iter().find(stays).map(|record| record.name))
    }
}
