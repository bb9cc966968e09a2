//! Where entries of a time are. Places are in the order of landing, and times nearly are: a clock may be wrong for a while.
//!
//! A place is found by halving, and then it is looked whether entries near it say otherwise; if so, by halving again beyond
//! them. So a clock that was wrong misleads only where it made more than [`NEAR`] entries in a row, and where it was wrong
//! time and again nothing is left out: then the place is the very first or the very last.

use bartizan_names::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use crate::error::ReadError;
use crate::tables::signed;

/// Entries that are looked at around a place: some milliseconds.
const NEAR: i64 = 4_096;

/// How often a place may turn out to be misled.
const TRIES_MAX: usize = 16;

/// In front of it nothing is of this time or later.
pub(super) fn first(connection: &Connection, at: Timestamp) -> Result<u64, ReadError> {
    let at = signed(at.unix_micros());
    let mut look = connection.prepare_cached(
        "SELECT min(id) FROM (SELECT id, at FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?) WHERE at >= ?",
    )?;
    let mut high = end_of_all(connection)?;
    for _ in 0..TRIES_MAX {
        let place = halve(connection, 0, high, at)?;
        match look.query_row((place, NEAR, at), |row| row.get::<_, Option<i64>>(0))? {
            Some(earlier) => high = earlier,
            None => return Ok(place.cast_unsigned()),
        }
    }
    Ok(0)
}

/// From it on nothing is of before this time.
pub(super) fn end(connection: &Connection, at: Timestamp) -> Result<u64, ReadError> {
    let at = signed(at.unix_micros());
    let mut look = connection.prepare_cached(
        "SELECT max(id) FROM (SELECT id, at FROM audit WHERE id >= ? ORDER BY id LIMIT ?) WHERE at < ?",
    )?;
    let (mut low, high) = (0, end_of_all(connection)?);
    for _ in 0..TRIES_MAX {
        let place = halve(connection, low, high, at)?;
        match look.query_row((place, NEAR, at), |row| row.get::<_, Option<i64>>(0))? {
            Some(later) => low = later + 1,
            None => return Ok(place.cast_unsigned()),
        }
    }
    Ok(high.cast_unsigned())
}

fn end_of_all(connection: &Connection) -> rusqlite::Result<i64> {
    let last: Option<i64> = connection.prepare_cached("SELECT max(id) FROM audit")?.query_row((), |row| row.get(0))?;
    Ok(last.map_or(0, |last| last + 1))
}

/// The first place of this time or later, if times are in order.
fn halve(connection: &Connection, mut low: i64, mut high: i64, at: i64) -> rusqlite::Result<i64> {
    let mut select = connection.prepare_cached("SELECT id, at FROM audit WHERE id >= ? ORDER BY id LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = select.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((id, when)) if when < at => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    /// Of wrong times at any place nothing is left out, and in order both places are the same one.
    #[test]
    fn a_wrong_clock_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(dir.path()).unwrap();
        let put = |id: i64, at: i64| {
            let sql = "INSERT OR REPLACE INTO audit (id, at, owner, writer, kind, action, count, bytes, key, request_id, interface)
                       VALUES (?, ?, x'', x'', 7, 0, 1, 1000, '', x'', 'api')";
            connection.execute(sql, [id << 18, at]).unwrap();
        };
        connection.execute_batch("BEGIN").unwrap();
        (1..=1_000).for_each(|id| put(id, 10 * id));
        let places = |at: u64| {
            let at = Timestamp::from_unix_micros(at);
            (first(&connection, at).unwrap(), end(&connection, at).unwrap())
        };
        for (at, expect) in [(0, 0), (10, 0), (15, 1), (5_000, 499), (10_000, 999), (10_001, 1_000)] {
            // The place behind an entry is the next number.
            let (first, end) = places(at);
            assert_eq!((first >> 18, end >> 18), (expect, expect), "{at}");
        }
        for (wrong, from, to) in [(1_000_000, 500, 500), (1_000_000, 120, 380), (0, 500, 500), (0, 620, 880)] {
            (from..=to).for_each(|id| put(id, wrong));
            for at in [15, 1_995, 4_995, 5_005, 7_495, 9_995] {
                let (first, end) = places(at);
                let of = |condition: &str| {
                    let sql = format!("SELECT count(*) FROM audit WHERE {condition}");
                    connection.query_row(&sql, (), |row| row.get::<_, i64>(0)).unwrap()
                };
                assert_eq!(of(&format!("id < {first} AND at >= {at}")), 0, "since {at}: {wrong} {from}");
                assert_eq!(of(&format!("id >= {end} AND at < {at}")), 0, "before {at}: {wrong} {from}");
            }
            (from..=to).for_each(|id| put(id, 10 * id));
        }
    }
}
