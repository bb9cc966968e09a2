//! All objects, one after the other, whatever pages between them are damaged.

use rusqlite::{Rows, params};

use super::{Position, Snapshot, entry, rows};
use crate::change::Entry;
use crate::damage::{self, is_damage};
use crate::error::{ReadError, Unreadable};
use crate::key::{Filter, Prefix, Scope};
use crate::kind::Kind;
use crate::listing;

impl Snapshot {
    /// Hands every object that passes `filter` to `f`, one at a time and without holding more: kind after kind in the
    /// order of [`Kind`], inside a kind in no order. Returns what could not be read.
    pub fn for_each(&self, filter: &Filter, f: &mut dyn FnMut(Entry)) -> Result<Vec<Unreadable>, ReadError> {
        let mut unreadable = Vec::new();
        match filter {
            Filter::Everything => {
                Kind::ALL.iter().try_for_each(|kind| self.each_of_kind(*kind, f, &mut unreadable))?;
            }
            Filter::Kinds(kinds) => {
                kinds.iter().try_for_each(|kind| self.each_of_kind(*kind, f, &mut unreadable))?;
            }
            Filter::Scope(scope) => {
                Kind::ALL.iter().try_for_each(|kind| self.each_of_scope(*scope, *kind, f, &mut unreadable))?;
            }
        }
        Ok(unreadable)
    }

    /// Hands up to `limit` objects of all kinds to `f`, those behind `after` in the order in which they were first put;
    /// then how far that is, or none if there are no more. What is put again keeps its place.
    pub fn objects(
        &self,
        after: Position,
        limit: usize,
        f: &mut dyn FnMut(Result<Entry, Unreadable>),
    ) -> Result<Option<Position>, ReadError> {
        let mut last = after;
        self.look(|connection| {
            let sql = "SELECT key, rev, format, json, id FROM object WHERE id > ? ORDER BY id LIMIT ?";
            let mut select = connection.prepare_cached(sql)?;
            let mut found = select.query(params![after.0, rows(limit)])?;
            while let Some(row) = found.next()? {
                f(entry(row));
                last = Position(row.get(4)?);
            }
            Ok(())
        })?;
        Ok((last != after).then_some(last))
    }

    fn each_of_kind(
        &self,
        kind: Kind,
        f: &mut dyn FnMut(Entry),
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), ReadError> {
        let mut last = 0;
        let mut select = self
            .connection()
            .prepare_cached("SELECT key, rev, format, json, id FROM object WHERE kind = ? ORDER BY id")?;
        match hand_on(select.query([kind.code()])?, &mut last, f, unreadable) {
            Err(error) if is_damage(&error) => self.each_behind(last, &|code, _| code == kind.code(), f, unreadable),
            done => Ok(done?),
        }
    }

    fn each_of_scope(
        &self,
        scope: Scope,
        kind: Kind,
        f: &mut dyn FnMut(Entry),
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), ReadError> {
        // The only one of its kind has no slash behind it.
        let prefix = Prefix::of(scope, kind);
        let only = prefix.first().trim_end_matches('/');
        let mut select = self.connection().prepare_cached(
            "SELECT key, rev, format, json, id FROM object WHERE key = ?1 OR (key >= ?2 AND key < ?3) ORDER BY id",
        )?;
        let mut last = 0;
        match hand_on(select.query([only, prefix.first(), &prefix.end()])?, &mut last, f, unreadable) {
            Err(error) if is_damage(&error) => {
                let wanted = |_, key: &str| key == only || key.starts_with(prefix.first());
                self.each_behind(last, &wanted, f, unreadable)
            }
            done => Ok(done?),
        }
    }

    /// The objects behind `last` by their ids, whatever pages between them are damaged: by no index, one at a time.
    fn each_behind(
        &self,
        last: i64,
        wanted: &dyn Fn(i64, &str) -> bool,
        f: &mut dyn FnMut(Entry),
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), ReadError> {
        self.readers.damage.note();
        let mut select =
            self.connection().prepare_cached("SELECT key, rev, format, json, kind FROM object WHERE id = ?")?;
        let mut next = damage::next(self.connection(), last)?;
        loop {
            if let Some(lost) = next.lost {
                let key = format!("objects {} to {} of the file", lost.start(), lost.end());
                let reason = "a page of the file is damaged".to_owned();
                let lost = Unreadable { key, reason };
                // A caller that asks for several kinds is told of it once for each.
                if !unreadable.contains(&lost) {
                    unreadable.push(lost);
                }
            }
            let Some(id) = next.id else { return Ok(()) };
            let found = select.query_row([id], |row| {
                let key = row.get_ref(0)?.as_str().unwrap_or_default();
                Ok(wanted(row.get(4)?, key).then(|| entry(row)))
            });
            match found {
                Ok(None) => {}
                Ok(Some(Ok(entry))) => f(entry),
                Ok(Some(Err(error))) => unreadable.push(error),
                Err(error) if is_damage(&error) => {
                    unreadable.push(Unreadable { key: format!("object {id} of the file"), reason: error.to_string() });
                }
                Err(error) => return Err(error.into()),
            }
            next = damage::next(self.connection(), id)?;
        }
    }

    /// Hands every record to `f`, one owner name after the other, so that who builds names needs to hold one. Returns what
    /// could not be read.
    pub fn for_each_record(&self, f: &mut dyn FnMut(Entry)) -> Result<Vec<Unreadable>, ReadError> {
        let mut unreadable = Vec::new();
        let mut handed = 0;
        let mut select = self.connection().prepare_cached(
            "SELECT object.key, object.rev, object.format, object.json, object.id
             FROM record INDEXED BY record_owner CROSS JOIN object ON object.id = record.id
             ORDER BY record.zone, record.owner, record.record",
        )?;
        let mut count = |entry| {
            handed += 1;
            f(entry);
        };
        match hand_on(select.query(())?, &mut 0, &mut count, &mut unreadable) {
            Err(error) if is_damage(&error) => {
                unreadable.clear();
                self.each_record_unlisted(handed, f, &mut unreadable)?;
            }
            done => done?,
        }
        Ok(unreadable)
    }

    /// The same by the objects alone, when their listing is damaged: in the same order, without the first `handed`.
    fn each_record_unlisted(
        &self,
        handed: usize,
        f: &mut dyn FnMut(Entry),
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), ReadError> {
        let mut records = Vec::new();
        let mut note = |entry: Entry| {
            let Entry { key, value, .. } = entry;
            if let Ok(Some(row)) = listing::Row::of(&key, value.format, &value.json)
                && let (Some(zone), Some(owner)) = (key.zone_id(), row.text("owner"))
            {
                records.push((zone, owner.to_owned(), key));
            }
        };
        self.each_behind(0, &|code, _| code == Kind::Record.code(), &mut note, unreadable)?;
        records.sort_unstable();
        for (.., key) in records.into_iter().skip(handed) {
            match self.get(&key) {
                Ok(entry) => entry.into_iter().for_each(&mut *f),
                Err(ReadError::Unreadable(error)) => unreadable.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Hands the objects of rows with the columns key, rev, format, json, id to `f`, or notes that they are none. `last` is the
/// id of the last one.
fn hand_on(
    mut rows: Rows<'_>,
    last: &mut i64,
    f: &mut dyn FnMut(Entry),
    unreadable: &mut Vec<Unreadable>,
) -> rusqlite::Result<()> {
    while let Some(row) = rows.next()? {
        match entry(row) {
            Ok(entry) => f(entry),
            Err(error) => unreadable.push(error),
        }
        *last = row.get(4)?;
    }
    Ok(())
}
