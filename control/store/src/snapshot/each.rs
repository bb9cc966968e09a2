//! All objects, one after the other, whatever pages between them are damaged.

use std::borrow::Cow;
use std::num::NonZeroU32;

use rusqlite::{OptionalExtension, Row, Rows, params};

use super::{Position, RecordText, Snapshot, Stretch, document, entry, rows};
use crate::change::Entry;
use crate::damage::{self, is_damage};
use crate::error::{Blame, ReadError, Unreadable};
use crate::key::{Filter, Key, Prefix, Scope};
use crate::kind::Kind;

/// How far the disk reads ahead of a walk over all objects.
const AHEAD_BYTES: u64 = 64 << 20;

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
            let sql = "SELECT key, rev, format, hash, json, id FROM object WHERE id > ? ORDER BY id LIMIT ?";
            let mut select = connection.prepare_cached(sql)?;
            let mut found = select.query(params![after.0, rows(limit)])?;
            while let Some(row) = found.next()? {
                f(entry(row));
                last = Position(row.get(5)?);
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
            .prepare_cached("SELECT key, rev, format, hash, json, id FROM object WHERE kind = ? ORDER BY id")?;
        match hand_on(select.query([kind.code()])?, &mut last, f, unreadable) {
            Err(error) if is_damage(&error) => {
                self.each_behind(Stretch::behind(last), &|code, _| code == kind.code(), f, unreadable)
            }
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
            "SELECT key, rev, format, hash, json, id FROM object WHERE key = ?1 OR (key >= ?2 AND key < ?3) ORDER BY id",
        )?;
        let mut last = 0;
        match hand_on(select.query([only, prefix.first(), &prefix.end()])?, &mut last, f, unreadable) {
            Err(error) if is_damage(&error) => {
                let wanted = |_, key: &str| key == only || key.starts_with(prefix.first());
                self.each_behind(Stretch::behind(last), &wanted, f, unreadable)
            }
            done => Ok(done?),
        }
    }

    /// The objects of a stretch, whatever pages between them are damaged: by no index, one at a time.
    fn each_behind(
        &self,
        stretch: Stretch,
        wanted: &dyn Fn(i64, &str) -> bool,
        f: &mut dyn FnMut(Entry),
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), ReadError> {
        self.readers.damage.note();
        let mut select =
            self.connection().prepare_cached("SELECT key, rev, format, hash, json, kind FROM object WHERE id = ?")?;
        let mut next = damage::next(self.connection(), stretch.behind)?;
        loop {
            if let Some(lost) = next.lost {
                let key = format!("objects {} to {} of the file", lost.start(), lost.end());
                let reason = "a page of the file is damaged".to_owned();
                let lost = Unreadable { key, reason, blame: Blame::Disk };
                // A caller that asks for several kinds is told of it once for each.
                if !unreadable.contains(&lost) {
                    unreadable.push(lost);
                }
            }
            let Some(id) = next.id.filter(|id| *id <= stretch.until) else { return Ok(()) };
            let found = select.query_row([id], |row| {
                let key = row.get_ref(0)?.as_str().unwrap_or_default();
                Ok(wanted(row.get(5)?, key).then(|| entry(row)))
            });
            match found {
                Ok(None) => {}
                Ok(Some(Ok(entry))) => f(entry),
                Ok(Some(Err(error))) => unreadable.push(error),
                Err(error) if is_damage(&error) => {
                    let (key, reason) = (format!("object {id} of the file"), error.to_string());
                    unreadable.push(Unreadable { key, reason, blame: Blame::Disk });
                }
                Err(error) => return Err(error.into()),
            }
            next = damage::next(self.connection(), id)?;
        }
    }

    /// All objects that there are, in stretches of so many at most.
    pub fn stretches(&self, objects: NonZeroU32) -> Result<Vec<Stretch>, ReadError> {
        let last = self.look(|connection| Ok(damage::last_id(connection).optional()?))?.unwrap_or_default();
        let begins: Vec<i64> = (0..last).step_by(objects.get() as usize).collect();
        let (count, bytes) = (begins.len().max(1) as u64, self.readers.file_bytes().unwrap_or_default());
        // Objects came into the file in the order of their ids, with all that goes with them in between.
        let share = |stretch: u64| if stretch == 0 { 0 } else { AHEAD_BYTES + bytes / count * stretch };
        let stretches = begins.into_iter().zip(0..).map(|(behind, number)| Stretch {
            behind,
            until: behind.saturating_add(objects.get().into()),
            ahead: (share(number), share(number + 1) - share(number)),
        });
        Ok(stretches.collect())
    }

    /// Lets go of the pages of the file that are in memory: after a walk over all of it nobody asks for those again. Of all
    /// connections, since the engine keeps them in one pool; what is needed of them again, the system still has. Where it does
    /// not, nothing is wrong with what was read.
    pub fn forget_pages(&self) {
        if let Err(error) = self.connection().execute_batch("PRAGMA shrink_memory") {
            tracing::warn!(%error, "pages of the store stay in memory");
        }
    }

    /// Hands every record of a stretch to `f`, in the order in which they were first put: that of the file, since in any
    /// other each would be a look-up of its own. Returns what could not be read.
    pub fn for_each_record(
        &self,
        stretch: Stretch,
        f: &mut dyn FnMut(RecordText<'_>),
    ) -> Result<Vec<Unreadable>, ReadError> {
        let mut unreadable = Vec::new();
        let mut last = stretch.behind;
        let (begin, bytes) = stretch.ahead;
        self.readers.read_ahead(begin..begin + bytes);
        match self.hand_on_records(stretch, &mut last, f, &mut unreadable) {
            Err(error) if is_damage(&error) => {
                let mut hand_on = |entry: Entry| f(RecordText { key: entry.key.as_str(), json: &entry.value.json });
                let wanted = |code, _: &str| code == Kind::Record.code();
                self.each_behind(Stretch { behind: last, ..stretch }, &wanted, &mut hand_on, &mut unreadable)?;
            }
            done => done?,
        }
        Ok(unreadable)
    }

    fn hand_on_records(
        &self,
        stretch: Stretch,
        last: &mut i64,
        f: &mut dyn FnMut(RecordText<'_>),
        unreadable: &mut Vec<Unreadable>,
    ) -> rusqlite::Result<()> {
        let mut select = self.connection().prepare_cached(
            "SELECT key, rev, format, hash, json, id FROM object NOT INDEXED WHERE id > ? AND id <= ? AND kind = ? ORDER BY id",
        )?;
        let mut rows = select.query(params![stretch.behind, stretch.until, Kind::Record.code()])?;
        while let Some(row) = rows.next()? {
            let key = row.get_ref(0)?.as_str().unwrap_or("(no text)");
            match record_text(row, key) {
                Ok(json) => f(RecordText { key, json: &json }),
                Err((reason, blame)) => unreadable.push(Unreadable { key: key.to_owned(), reason, blame }),
            }
            *last = row.get(5)?;
        }
        Ok(())
    }
}

/// The document of a record, from the columns key, rev, format, hash, json.
fn record_text<'r>(row: &'r Row<'_>, key: &str) -> Result<Cow<'r, str>, (String, Blame)> {
    if !is_record_key(key) {
        Key::stored(key).map_err(|error| (error.to_string(), Blame::Version))?;
    }
    document(row, key, Kind::Record).map(|(_, json)| json)
}

/// Whether it has the form of a record's key. Reading the key would cost as much as reading the record.
fn is_record_key(key: &str) -> bool {
    let is_id = |bytes: &[u8; 32]| bytes.iter().all(u8::is_ascii_hexdigit);
    key.as_bytes()
        .strip_prefix(b"zone/")
        .and_then(|rest| rest.split_first_chunk())
        .and_then(|(zone, rest)| Some((zone, rest.strip_prefix(b"/record/")?.try_into().ok()?)))
        .is_some_and(|(zone, id)| is_id(zone) && is_id(id))
}

/// Hands the objects of rows with the columns key, rev, format, hash, json, id to `f`, or notes that they are none. `last` is the
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
        *last = row.get(5)?;
    }
    Ok(())
}
