//! Writing: guards checked and operations carried out inside the writer's transaction.

use std::collections::HashMap;

use bartizan_names::{Timestamp, ZoneId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::change::{Guard, Op, Rev, Value};
use crate::key::Key;
use crate::listing::{Age, Row};
use crate::log;
use crate::state_hash::{self, StateHash, Sums};

/// Unsigned in the program, signed in SQLite; bit by bit.
pub(crate) const fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The bytes of all operations up to a revision, since the log began; none if the log does not have it.
pub(crate) fn bytes_until(connection: &Connection, rev: Rev) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT bytes FROM change WHERE rev = ?")?
        .query_row([signed(rev.0)], |row| row.get::<_, i64>(0))
        .optional()
        .map(|bytes| bytes.map(i64::cast_unsigned))
}

/// The same up to where the log begins: of the changes that it does not have any more.
pub(crate) fn bytes_before(connection: &Connection, rev: Rev) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT bytes - length(ops) FROM change WHERE rev = ?")?
        .query_row([signed(rev.0)], |row| row.get::<_, i64>(0))
        .optional()
        .map(|bytes| bytes.unwrap_or(0).cast_unsigned())
}

/// The revision that a request made earlier.
pub(crate) fn revision_of(connection: &Connection, request_id: &[u8; 16]) -> rusqlite::Result<Option<Rev>> {
    connection
        .prepare_cached("SELECT rev FROM change WHERE request_id = ?")?
        .query_row([request_id], |row| row.get::<_, i64>(0))
        .optional()
        .map(|rev| rev.map(|rev| Rev(rev.cast_unsigned())))
}

/// The oldest revision in the log; the next one where it has none.
pub(crate) fn oldest(connection: &Connection) -> rusqlite::Result<Rev> {
    let rev: Option<i64> = connection.prepare_cached("SELECT min(rev) FROM change")?.query_row((), |row| row.get(0))?;
    match rev {
        Some(rev) => Ok(Rev(rev.cast_unsigned())),
        None => Ok(log::head(connection)?.next()),
    }
}

/// The last revision of those at the log's beginning that are all older than `since`.
pub(crate) fn last_before(connection: &Connection, since: Timestamp) -> rusqlite::Result<Rev> {
    // Walks from the oldest: clocks jump, and a prefix of the log is all that may go.
    let first_kept: Option<i64> = connection
        .prepare_cached("SELECT rev FROM change WHERE at >= ? ORDER BY rev LIMIT 1")?
        .query_row([signed(since.unix_micros())], |row| row.get(0))
        .optional()?;
    Ok(match first_kept {
        Some(rev) => Rev(rev.cast_unsigned().saturating_sub(1)),
        None => log::head(connection)?,
    })
}

pub(crate) fn drop_changes(connection: &Connection, until: Rev) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM change WHERE rev <= ?")?.execute([signed(until.0)]).map(drop)
}

/// The first guard that does not hold.
pub(crate) fn broken<'g>(connection: &Connection, guards: &'g [Guard]) -> rusqlite::Result<Option<&'g Guard>> {
    let mut find = connection.prepare_cached("SELECT rev FROM object WHERE key = ?")?;
    for guard in guards {
        let found = find.query_row([guard.key().as_str()], |row| row.get::<_, i64>(0)).optional()?;
        let holds = match guard {
            Guard::Absent(_) => found.is_none(),
            Guard::Exists(_) => found.is_some(),
            Guard::At(_, rev) => found == Some(signed(rev.0)),
        };
        if !holds {
            return Ok(Some(guard));
        }
    }
    Ok(None)
}

/// Carries out one operation; `listing` is the row that goes with it. What it changes of the state's hashes goes to `sums`.
pub(crate) fn apply(
    connection: &Connection,
    sums: &mut Sums,
    rev: Rev,
    op: &Op,
    listing: Option<&Row>,
) -> rusqlite::Result<()> {
    match op {
        Op::Del { key } => delete(connection, sums, key),
        Op::Put { key, value } => {
            let (id, age) = put(connection, sums, rev, key, value)?;
            listing.map_or(Ok(()), |row| row.put(connection, id, age))
        }
    }
}

/// Remembers that a revision changed something of a zone.
pub(crate) fn touch_zone(connection: &Connection, zone: ZoneId, rev: Rev) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO zone_change VALUES (?, ?) ON CONFLICT (zone) DO UPDATE SET rev = excluded.rev")?
        .execute(params![zone.as_bytes(), signed(rev.0)])
        .map(drop)
}

/// The last revision that changed something of a zone.
pub(crate) fn zone_touched(connection: &Connection, zone: ZoneId) -> rusqlite::Result<Option<Rev>> {
    connection
        .prepare_cached("SELECT rev FROM zone_change WHERE zone = ?")?
        .query_row([zone.as_bytes()], |row| row.get::<_, i64>(0))
        .optional()
        .map(|rev| rev.map(|rev| Rev(rev.cast_unsigned())))
}

/// The same for every zone of which anything ever was.
pub(crate) fn zones_touched(connection: &Connection) -> rusqlite::Result<HashMap<ZoneId, Rev>> {
    connection
        .prepare_cached("SELECT zone, rev FROM zone_change")?
        .query_map((), |row| Ok((ZoneId::from_bytes(row.get(0)?), Rev(row.get::<_, i64>(1)?.cast_unsigned()))))?
        .collect()
}

/// Puts an object; its row, and whether it was there before.
pub(crate) fn put(
    connection: &Connection,
    sums: &mut Sums,
    rev: Rev,
    key: &Key,
    value: &Value,
) -> rusqlite::Result<(i64, Age)> {
    let hash = state_hash::of_put(key, rev, value.format, &value.json);
    sums.add(key, hash);
    // Most are new, and the engine finds out on its way.
    let mut insert = connection.prepare_cached(
        "INSERT INTO object (key, kind, rev, format, hash, json) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
    )?;
    let new = params![key.as_str(), key.kind().code(), signed(rev.0), value.format, hash.to_bytes(), &*value.json];
    if insert.execute(new)? > 0 {
        return Ok((connection.last_insert_rowid(), Age::New));
    }
    let Some((id, old)) = find(connection, key)? else { return Err(rusqlite::Error::QueryReturnedNoRows) };
    sums.subtract(key, old);
    connection
        .prepare_cached("UPDATE object SET rev = ?, format = ?, hash = ?, json = ? WHERE id = ?")?
        .execute(params![signed(rev.0), value.format, hash.to_bytes(), &*value.json, id])?;
    Ok((id, Age::Old))
}

/// The row of an object, and the hash that was kept of it.
fn find(connection: &Connection, key: &Key) -> rusqlite::Result<Option<(i64, StateHash)>> {
    connection
        .prepare_cached("SELECT id, hash FROM object WHERE key = ?")?
        .query_row([key.as_str()], |row| Ok((row.get(0)?, StateHash::read(row.get_ref(1)?.as_blob()?))))
        .optional()
}

fn delete(connection: &Connection, sums: &mut Sums, key: &Key) -> rusqlite::Result<()> {
    let Some((id, hash)) = find(connection, key)? else { return Ok(()) };
    sums.subtract(key, hash);
    // The listing first: it refers to the object.
    if let Some(listing) = key.kind().declaration().listing {
        listing.delete(connection, id)?;
    }
    connection.prepare_cached("DELETE FROM object WHERE id = ?")?.execute([id]).map(drop)
}
