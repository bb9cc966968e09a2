//! Reading what can be read of a damaged file, or of one of an older layout, into a new one.
//!
//! - **Objects** come from their table; where that cannot be read to its end, from its leaves one by one ([`crate::pages`]).
//!   An object that only the index of keys still names, or whose hash shows that it is not what was committed, is taken from
//!   the log; from a log that is damaged too, only if its last change stands behind the damage: what changed in between
//!   nobody knows. What is missing after that is named in [`Lost`].
//! - **The log** is taken over if it is whole, else another one begins. In either case it has another epoch, so that those
//!   who follow take the state again: they may have seen the gap. No revision is given twice.
//! - **The last change of a zone** that is not known any more is the newest revision: serials must not go back.
//! - **Everything else** derives from the objects.

mod changes;
mod unnamed;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, Type, Value as Column};
use rusqlite::{Connection, params, params_from_iter};

use crate::change::Rev;
use crate::key::Key;
use crate::layout::{Layout, Object, Row};
use crate::lost::Lost;
use crate::mend::{MendError, Mended};
use crate::pages::{Pages, Tree};
use crate::state_hash::{self, StateHash};
use crate::tables::signed;
use crate::{audit, rebuild};

pub(crate) struct Salvage<'n> {
    old: Connection,
    pages: Pages,
    layout: &'static Layout,
    /// Has the layout of today and nothing in it.
    new: &'n Connection,
    objects: Found,
    /// The index of keys.
    names: Found,
}

/// Columns of the audit.
const AUDIT_COLUMNS: usize = 21;

/// Whether something is as it was put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Whole,
    Torn,
}

impl<'n> Salvage<'n> {
    pub(crate) fn new(
        old: Connection,
        pages: Pages,
        layout: &'static Layout,
        new: &'n Connection,
    ) -> rusqlite::Result<Salvage<'n>> {
        // `spoilt` has the objects that are not what was committed, `named` what the index of keys has.
        new.execute_batch(
            "CREATE TEMP TABLE spoilt (id INTEGER PRIMARY KEY, key UNIQUE, kind, rev, format, hash, json);
             CREATE TEMP TABLE named (key PRIMARY KEY, id) WITHOUT ROWID;",
        )?;
        Ok(Salvage { old, pages, layout, new, objects: Found::Whole, names: Found::Whole })
    }

    /// Objects without a key of this version go to the file `aside`, if one is given.
    pub(crate) fn run(mut self, aside: Option<&Path>) -> Result<Mended, MendError> {
        let mut done = Mended::default();
        self.take_objects()?;
        self.take_names()?;
        if self.objects == Found::Torn && self.names == Found::Whole && self.layout.goes_on {
            // From leaves that are not in use any more and not known to be free.
            self.new.execute_batch("DELETE FROM object WHERE key NOT IN (SELECT key FROM named)")?;
        }
        let missing = self.missing()?;
        if !missing.is_empty() {
            self.objects = Found::Torn;
        }
        let log = self.log();
        if self.objects == Found::Torn && self.layout.goes_on {
            match log {
                Found::Whole => self.replay(Rev::ZERO)?,
                Found::Torn => self.whole_end().map_or(Ok(()), |from| self.replay(from))?,
            }
        }
        let restored = missing.difference(&self.missing()?).count();
        let spoilt = self.take_spoilt()?;
        if self.objects == Found::Torn && !self.has_objects()? {
            return Err(MendError::Nothing);
        }
        done.restored = restored as u64;
        self.missing()?.iter().chain(&spoilt).for_each(|key| done.lost.note(key));
        if let Some(path) = aside {
            done.set_aside = self.set_aside(path)?;
            done.beside.extend((done.set_aside > 0).then(|| path.to_owned()));
        }
        let head = self.take_log(log)?;
        self.take_zone_changes(head)?;
        state_hash::recompute(self.new)?;
        if self.layout.goes_on {
            self.note_unnamed(&mut done.lost)?;
        }
        rebuild::make(self.new)?;
        self.take_audit()?;
        self.new.execute_batch("DROP TABLE temp.spoilt; DROP TABLE temp.named")?;
        Ok(done)
    }

    /// What earlier damage took.
    pub(crate) fn lost_before(&self) -> Result<Lost, MendError> {
        if let Ok(lost) = Lost::read(&self.old) {
            return Ok(lost);
        }
        let mut lost = Lost::default();
        self.pages.for_each_row(Tree::Index, &[Some(Type::Text), Some(Type::Text)], &mut |_, row| {
            if let [Column::Text(what), Column::Text(text)] = &*row
                && what == Lost::WHAT
            {
                lost = Lost::parse(text);
            }
            Ok(())
        })?;
        Ok(lost)
    }

    fn has_objects(&self) -> rusqlite::Result<bool> {
        self.new.query_row("SELECT EXISTS (SELECT 1 FROM object)", (), |row| row.get(0))
    }

    fn take_objects(&mut self) -> Result<(), MendError> {
        if self.each_row_of_table().is_ok() {
            return Ok(());
        }
        self.objects = Found::Torn;
        Ok(self.layout.each_object(&self.pages, &mut |row| self.take(&row).map(drop))?)
    }

    /// By the engine, up to the first row that it cannot read.
    fn each_row_of_table(&mut self) -> rusqlite::Result<()> {
        let mut select = self.old.prepare(&self.layout.select_objects())?;
        let columns = select.column_count();
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let row = (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            let taken = Row::of(row).map_or(Ok(Found::Torn), |row| self.take(&row))?;
            if taken == Found::Torn {
                self.objects = Found::Torn;
            }
        }
        Ok(())
    }

    /// Puts an object into the new file, or among the spoilt ones.
    fn take(&self, row: &Row) -> rusqlite::Result<Found> {
        let Object { key, hash, is_whole, .. } = self.layout.read(row);
        let known = Key::stored(&key).ok();
        if known.is_none() && !self.layout.goes_on {
            tracing::error!(key, "it cannot be said whose this object is: left out");
        }
        let kind = known.map_or(row.kind, |key| key.kind().code());
        // The file ended inside its key. Nobody could ask for it, and what is missing is found without it.
        if !is_whole && key.contains('\0') {
            return Ok(Found::Torn);
        }
        let (table, found) = if is_whole { ("object", Found::Whole) } else { ("temp.spoilt", Found::Torn) };
        // One that is not what was committed stays so for all who read it.
        let hash = if is_whole { hash } else { StateHash::default() };
        let row = Row { key, kind, hash: Some(hash.to_bytes().to_vec()), ..row.clone() };
        insert(&row, self.new, table).map(|()| found)
    }

    /// By the engine, or page by page: no other index of ours is of one text.
    fn take_names(&mut self) -> Result<(), MendError> {
        let select = "SELECT key, id FROM object INDEXED BY sqlite_autoindex_object_1 ORDER BY key";
        if self.copy_rows(select, "INSERT OR IGNORE INTO named VALUES (?, ?)").is_ok() {
            return Ok(());
        }
        self.names = Found::Torn;
        let mut put = self.new.prepare("INSERT OR IGNORE INTO named VALUES (?, ?)")?;
        self.pages.for_each_row(Tree::Index, &[Some(Type::Text), Some(Type::Integer)], &mut |_, row| {
            // A table of the engine's has a text and a number too, and no slash in it.
            let is_key = matches!(row.first(), Some(Column::Text(text)) if text.contains('/'));
            if is_key { put.execute(params_from_iter(row)).map(drop) } else { Ok(()) }
        })?;
        Ok(())
    }

    /// Keys that are known and whose objects were not found.
    fn missing(&self) -> rusqlite::Result<BTreeSet<String>> {
        let column = self.layout.named_by;
        let sql = format!("SELECT key FROM named WHERE {column} NOT IN (SELECT {column} FROM object)");
        self.new.prepare(&sql)?.query_map((), |row| row.get(0))?.collect()
    }

    /// Objects whose hash is not theirs and of which there is nothing better, as they are: nobody reads them, but they keep
    /// their place until they are written anew or deleted.
    fn take_spoilt(&self) -> rusqlite::Result<BTreeSet<String>> {
        let mut select = self.new.prepare(
            "SELECT id, key, kind, rev, format, hash, json FROM spoilt
             WHERE key NOT IN (SELECT key FROM object) AND (?1 OR key IN (SELECT key FROM named))",
        )?;
        let mut rows = select.query([self.names == Found::Torn])?;
        let mut keys = BTreeSet::new();
        let mut spoilt = Vec::new();
        while let Some(row) = rows.next()? {
            let columns = (0..7).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            spoilt.extend(Row::of(columns));
        }
        for row in spoilt {
            insert(&row, self.new, "object")?;
            keys.insert(row.key);
        }
        Ok(keys)
    }

    /// Writes the objects whose keys are none of this version to a file, a line each, and takes them out.
    fn set_aside(&self, path: &Path) -> Result<u64, MendError> {
        let mut select = self.new.prepare("SELECT id, key, kind, rev, format, json FROM object")?;
        let mut rows = select.query(())?;
        let (mut ids, mut lines) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let key: String = row.get(1)?;
            if Key::stored(&key).is_ok() {
                continue;
            }
            let (kind, rev, format): (i64, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
            let document: String = row.get(5)?;
            let line = serde_json::json!({
                "key": key, "kind": kind, "rev": rev, "format": format, "document": document
            });
            lines.push(line.to_string());
            ids.push(row.get::<_, i64>(0)?);
        }
        if ids.is_empty() {
            return Ok(0);
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.write_all((lines.join("\n") + "\n").as_bytes())?;
        file.sync_all()?;
        let mut delete = self.new.prepare("DELETE FROM object WHERE id = ?")?;
        for id in &ids {
            delete.execute([id])?;
        }
        Ok(ids.len() as u64)
    }

    /// As much of it as can be read from both ends; of a file that has none, what the log tells.
    fn take_audit(&self) -> rusqlite::Result<()> {
        if self.old.prepare("SELECT id FROM audit").is_err() {
            return audit::from_log(self.new);
        }
        let copy = |order| {
            let select = format!("SELECT * FROM audit NOT INDEXED ORDER BY id {order}");
            let places = ["?"; AUDIT_COLUMNS].join(", ");
            self.copy_rows(&select, &format!("INSERT OR IGNORE INTO audit VALUES ({places})"))
        };
        if copy("ASC").is_err() && copy("DESC").is_err() {
            tracing::error!("a part of the audit cannot be read: it is lost");
        }
        audit::recount(self.new)
    }

    fn take_zone_changes(&self, head: Rev) -> rusqlite::Result<()> {
        let copy = |order| {
            self.copy_rows(
                &format!("SELECT zone, rev FROM zone_change ORDER BY zone {order}"),
                "INSERT OR IGNORE INTO zone_change VALUES (?, ?)",
            )
        };
        if copy("ASC").is_ok() || copy("DESC").is_ok() {
            return Ok(());
        }
        let mut select = self.new.prepare("SELECT key FROM object WHERE key > 'zone/' AND key < 'zone0'")?;
        let mut put = self.new.prepare("INSERT OR IGNORE INTO zone_change VALUES (?, ?)")?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let zone = Key::stored(row.get_ref(0)?.as_str()?).ok().and_then(|key| key.zone_id());
            if let Some(zone) = zone {
                put.execute(params![zone.as_bytes(), signed(head.0)])?;
            }
        }
        Ok(())
    }

    fn copy_rows(&self, select: &str, insert: &str) -> rusqlite::Result<()> {
        let mut select = self.old.prepare(select)?;
        let mut insert = self.new.prepare(insert)?;
        let columns = select.column_count();
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                insert.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(row.get_ref(column)?))?;
            }
            insert.raw_execute()?;
        }
        Ok(())
    }
}

/// Unless a newer one is there: on a page that is not in use any more, an object may be in an older state. An id that
/// another object has by now is replaced.
fn insert(row: &Row, into: &Connection, table: &str) -> rusqlite::Result<()> {
    let columns = "id, key, kind, rev, format, hash, json";
    let Row { id, key, kind, rev, format, hash, json } = row;
    let put = into
        .prepare_cached(&format!(
            "INSERT INTO {table} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, rev = excluded.rev, format = excluded.format,
                 hash = excluded.hash, json = excluded.json WHERE excluded.rev > rev
             ON CONFLICT (id) DO NOTHING"
        ))?
        .execute(params![id, key, kind, rev, format, hash, json])?;
    if put == 0 {
        into.prepare_cached(&format!(
            "INSERT INTO {table} ({columns}) VALUES (NULL, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
        ))?
        .execute(params![key, kind, rev, format, hash, json])?;
    }
    Ok(())
}
