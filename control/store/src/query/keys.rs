//! Pieces of tables as the keys of their objects, and those whose time has come.

use bartizan_names::Timestamp;
use rusqlite::{Connection, Row, named_params};

use crate::error::ReadError;
use crate::key::Key;
use crate::tables::signed;

/// Of a statement that selects keys.
pub(super) fn key(row: &Row<'_>) -> rusqlite::Result<String> {
    row.get(0)
}

pub(super) fn keys(rows: impl Iterator<Item = rusqlite::Result<String>>) -> Result<Vec<Key>, ReadError> {
    // Keys that this version does not know are reported elsewhere.
    rows.filter_map(|key| key.map(|key| Key::stored(&key).ok()).transpose()).map(|key| Ok(key?)).collect()
}

/// Up to `limit` whose time is `:at` at the latest, in the order of the statement.
pub(super) fn until(connection: &Connection, sql: &str, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
    let mut select = connection.prepare_cached(sql)?;
    keys(select.query_map(named_params! {":at": signed(at.unix_micros()), ":limit": limit as i64}, key)?)
}

/// The same, behind so many that come before them.
pub(super) fn until_behind(
    connection: &Connection,
    sql: &str,
    at: Timestamp,
    behind: usize,
    limit: usize,
) -> Result<Vec<Key>, ReadError> {
    let mut select = connection.prepare_cached(sql)?;
    let (at, limit, behind) = (signed(at.unix_micros()), limit as i64, behind as i64);
    keys(select.query_map(named_params! {":at": at, ":limit": limit, ":behind": behind}, key)?)
}
