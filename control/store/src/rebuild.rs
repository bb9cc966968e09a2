//! Makes the listings from the objects, when a file has none or those of another version.

use std::collections::HashSet;

use bartizan_seal::sha256;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::key::Key;
use crate::kind::Kind;
use crate::listing::{self, Age};
use crate::writer::Step;

/// What listings have beside their tables and indexes.
const MORE: &str = include_str!("schema/listings.sql");

/// The tables that are not listings, without the engine's own.
const KEPT: &str = "('about', 'object', 'state_hash', 'log', 'change', 'zone_change', 'audit', 'audit_share')";

/// How many records have their letters read in one step at most: others can commit between two steps, which follow the time
/// that they take.
const READ_STEP_MAX: u32 = 2_000;

pub(crate) const fn read_step() -> Step {
    Step::up_to(READ_STEP_MAX)
}

/// Whether the file has the listings of this version.
pub(crate) fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let known: Option<String> = connection
        .query_row("SELECT text FROM about WHERE what = 'listings layout'", (), |row| row.get(0))
        .optional()?;
    Ok(known.as_deref() == Some(&stamp()))
}

/// The listings of this version.
fn layout() -> String {
    let mut made = HashSet::new();
    // Several kinds may be in one.
    let listings = Kind::ALL.iter().filter_map(|kind| kind.declaration().listing).filter(|one| made.insert(one.table));
    listings.map(|listing| listing.layout()).chain([MORE.to_owned()]).collect()
}

/// A short hash by which layouts are told apart.
fn stamp() -> String {
    sha256(layout().as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes all listings anew, inside a transaction. An object that cannot be listed is in none. The letters of records are read
/// later, when nobody waits for a start any more.
pub(crate) fn make(connection: &Connection) -> rusqlite::Result<()> {
    // For a new store this would say nothing.
    if connection.query_row("SELECT EXISTS (SELECT 1 FROM object)", (), |row| row.get(0))? {
        tracing::info!("the listings are made anew from the objects");
    }
    drop_all(connection)?;
    connection.execute_batch(&layout())?;
    connection.execute("INSERT OR REPLACE INTO about VALUES ('listings layout', ?)", [stamp()])?;
    fill(connection)
}

pub(crate) fn drop_all(connection: &Connection) -> rusqlite::Result<()> {
    // The virtual table takes its own tables with it.
    connection.execute_batch("DROP TABLE IF EXISTS record_text")?;
    let mut select = connection.prepare(&format!(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN {KEPT} AND name NOT LIKE 'sqlite_%'"
    ))?;
    let names = select.query_map((), |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    drop(select);
    names.iter().try_for_each(|name| connection.execute_batch(&format!("DROP TABLE \"{name}\"")))
}

fn fill(connection: &Connection) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT key, format, json, id FROM object NOT INDEXED")?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        if let Some(listing) = listing(row) {
            listing.put(connection, row.get(3)?, Age::New)?;
        }
    }
    Ok(())
}

/// None if the object is not listed, or cannot be.
fn listing(row: &Row<'_>) -> Option<listing::Row> {
    let key = Key::stored(row.get_ref(0).ok()?.as_str().ok()?).ok()?;
    let format = row.get(1).ok()?;
    match listing::Row::of(&key, format, row.get_ref(2).ok()?.as_str().ok()?) {
        Ok(listing) => listing,
        Err(reason) => {
            tracing::error!(%key, reason, "this object cannot be listed");
            None
        }
    }
}

/// Whether the letters of all records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Finished,
    Unfinished,
}

/// Reads the letters of so many of the records that wait for it.
///
/// In three statements for all of them: the engine brings what it holds of its index of letters to the file at the beginning
/// of each statement that changes it.
pub(crate) fn read_records(connection: &Connection, step: u32) -> rusqlite::Result<Reading> {
    let (count, last): (u32, Option<i64>) = connection
        .prepare_cached("SELECT count(*), max(id) FROM (SELECT id FROM record_unread ORDER BY id LIMIT ?)")?
        .query_row([step], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some(last) = last else { return Ok(Reading::Finished) };
    for sql in [FORGET_LETTERS, READ_LETTERS, "DELETE FROM record_unread WHERE id <= ?"] {
        connection.prepare_cached(sql)?.execute([last])?;
    }
    Ok(if count < step { Reading::Finished } else { Reading::Unfinished })
}

/// What is read of them is in the engine's own table of sizes.
const FORGET_LETTERS: &str = "DELETE FROM record_text WHERE rowid IN
    (SELECT unread.id FROM record_unread unread CROSS JOIN record_text_docsize known ON known.id = unread.id
     WHERE unread.id <= ?)";

const READ_LETTERS: &str = "INSERT INTO record_text (rowid, text)
    SELECT record.id, owner || char(10) || content || char(10) || coalesce(comment, '')
    FROM record_unread unread CROSS JOIN record ON record.id = unread.id WHERE unread.id <= ?";

/// Whether more records wait than a search can look at one by one.
pub(crate) fn many_unread(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM record_unread LIMIT 1 OFFSET ?)")?
        .query_row([UNREAD_MAX], |row| row.get(0))
}

/// Records that may wait for their letters to be read while there is other work: each is looked at by every search.
const UNREAD_MAX: u32 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    /// Each record that waits is found by its id, and nothing is looked through for it.
    #[test]
    fn what_waits_is_all_that_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(dir.path()).unwrap();
        for sql in [FORGET_LETTERS, READ_LETTERS] {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = explain.query_map([1], |row| row.get::<_, String>(3)).unwrap();
            let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
            let scans: Vec<&str> = plan.split("; ").filter(|step| step.starts_with("SCAN")).collect();
            assert!(scans.iter().all(|step| step.contains("record_text VIRTUAL TABLE INDEX 0:=")), "{plan}");
            assert!(plan.contains("SEARCH unread USING INTEGER PRIMARY KEY (rowid<?)"), "{plan}");
        }
    }
}
