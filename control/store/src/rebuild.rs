//! Makes the listings from the objects, when a file has none or those of another version.

use bartizan_seal::sha256;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::key::Key;
use crate::kind::Kind;
use crate::listing;

/// What listings have beside their tables and indexes.
const MORE: &str = include_str!("schema/listings.sql");

/// The tables that are not listings, without the engine's own.
const KEPT: &str = "('about', 'object', 'state_hash', 'log', 'change', 'zone_change', 'audit', 'audit_share')";

/// How many records have their letters read in one step: others can commit between two steps.
const READ_STEP: u32 = 2_000;

/// Whether the file has the listings of this version.
pub(crate) fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let known: Option<String> = connection
        .query_row("SELECT text FROM about WHERE what = 'listings layout'", (), |row| row.get(0))
        .optional()?;
    Ok(known.as_deref() == Some(&stamp()))
}

/// The listings of this version.
fn layout() -> String {
    let listings = Kind::ALL.iter().filter_map(|kind| kind.declaration().listing);
    listings.map(|listing| listing.layout()).chain([MORE.to_owned()]).collect()
}

/// A short hash by which layouts are told apart.
fn stamp() -> String {
    sha256(layout().as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes all listings anew, inside a transaction. An object that cannot be listed is in none.
pub(crate) fn make(connection: &Connection) -> rusqlite::Result<()> {
    // For a new store this would say nothing.
    if connection.query_row("SELECT EXISTS (SELECT 1 FROM object)", (), |row| row.get(0))? {
        tracing::info!("the listings are made anew from the objects");
    }
    drop_all(connection)?;
    connection.execute_batch(&layout())?;
    connection.execute("INSERT OR REPLACE INTO about VALUES ('listings layout', ?)", [stamp()])?;
    fill(connection)?;
    while read_records(connection)? == Reading::Unfinished {}
    Ok(())
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
            listing.put(connection, row.get(3)?)?;
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

/// Reads the letters of some records that wait for it.
pub(crate) fn read_records(connection: &Connection) -> rusqlite::Result<Reading> {
    let mut waiting = connection.prepare_cached("SELECT id FROM record_unread ORDER BY id LIMIT ?")?;
    let ids = waiting.query_map([READ_STEP], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let mut forget = connection.prepare_cached("DELETE FROM record_text WHERE rowid = ?")?;
    let mut read = connection.prepare_cached(
        "INSERT INTO record_text (rowid, text)
         SELECT id, owner || char(10) || content || char(10) || coalesce(comment, '') FROM record WHERE id = ?",
    )?;
    let mut done = connection.prepare_cached("DELETE FROM record_unread WHERE id = ?")?;
    for id in &ids {
        forget.execute([id])?;
        read.execute([id])?;
        done.execute([id])?;
    }
    Ok(if ids.len() < READ_STEP as usize { Reading::Finished } else { Reading::Unfinished })
}

/// Whether more records wait than a search can look at one by one.
pub(crate) fn many_unread(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM record_unread LIMIT 1 OFFSET ?)")?
        .query_row([UNREAD_MAX], |row| row.get(0))
}

/// Records that may wait for their letters to be read while there is other work: each is looked at by every search.
const UNREAD_MAX: u32 = 20_000;
