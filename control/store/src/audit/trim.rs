//! What goes of the audit when there is too much of it, or when it is too old.

use std::collections::HashMap;
use std::sync::Arc;

use bartizan_names::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::share::Whose;
use super::{ENTRIES_MIN, Kept};
use crate::tables::signed;

/// Entries looked at in one step: some milliseconds.
const STEP: i64 = 1_000;

/// Once there is too much, this part of it goes as well, so that not every change is followed by a step.
const SLACK: u64 = 64;

/// What goes of the audit, a step at a time, from the oldest to the newest.
#[derive(Default)]
pub(crate) struct Trim {
    /// Where the next step begins: what is in front of it was spared.
    from: i64,
    under_way: bool,
    /// Bytes of all entries, kept up with each transaction: there may be hundreds of thousands of shares. None while it is
    /// not known.
    all: Option<u64>,
    kept: Arc<Kept>,
}

/// What a step took of what is too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// Where the next step begins; none at the end.
    pub(crate) next: Option<i64>,
}

impl Trim {
    pub(crate) fn to(kept: Arc<Kept>) -> Trim {
        Trim { kept, ..Trim::default() }
    }

    /// Whether there is too much.
    pub(crate) fn is_due(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let all = match self.all {
            Some(all) => all,
            None => *self.all.insert(sum(connection)?),
        };
        let max = if self.under_way { self.target() } else { self.kept.bytes() };
        self.under_way = all > max;
        Ok(self.under_way)
    }

    /// A transaction has landed that added so many bytes of entries, and took so many away.
    pub(crate) fn landed(&mut self, added: u64, gone: u64) {
        self.all = self.all.map(|all| all.saturating_add(added).saturating_sub(gone));
    }

    /// Nobody kept up with what there is.
    pub(crate) fn sum_anew(&mut self) {
        self.all = None;
    }

    /// Deletes some of the oldest entries of those who have more than their part.
    pub(crate) fn step(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.step_to(connection, self.target())
    }

    /// How many bytes are left when it is done.
    fn target(&self) -> u64 {
        let most = self.kept.bytes();
        most - most / SLACK
    }

    fn step_to(&mut self, connection: &Connection, max: u64) -> rusqlite::Result<()> {
        let mut parts = Parts::read(connection, max)?;
        let rows: Vec<(i64, Whose, u64)> = connection
            .prepare_cached("SELECT id, owner, writer, bytes FROM audit WHERE id >= ? ORDER BY id LIMIT ?")?
            .query_map((self.from, STEP), |row| {
                Ok((row.get(0)?, (row.get(1)?, row.get(2)?), row.get::<_, i64>(3)?.cast_unsigned()))
            })?
            .collect::<Result<_, _>>()?;
        // At the end it begins anew: who had their part may have more by then.
        self.from = rows.last().map_or(0, |(id, ..)| id + 1);
        for (id, whose, bytes) in rows {
            if parts.all > max && parts.gives(whose, bytes) {
                delete(connection, id)?;
            }
        }
        self.all = Some(parts.all);
        parts.write(connection)
    }
}

fn sum(connection: &Connection) -> rusqlite::Result<u64> {
    let all: Option<i64> =
        connection.prepare_cached("SELECT sum(bytes) FROM audit_share")?.query_row((), |row| row.get(0))?;
    Ok(all.unwrap_or(0).max(0).cast_unsigned())
}

/// Looks at some entries from a place on and deletes those older than `since`, but none of the newest. Times need not be in
/// the order of the places: clocks jump.
pub(crate) fn drop_older(connection: &Connection, since: Timestamp, from: i64) -> rusqlite::Result<Dropped> {
    let newest: Option<i64> = connection
        .prepare_cached("SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?")?
        .query_row([signed(ENTRIES_MIN)], |row| row.get(0))
        .optional()?;
    let Some(end) = newest else { return Ok(Dropped::default()) };
    let rows: Vec<(i64, Whose, u64, i64)> = connection
        .prepare_cached("SELECT id, owner, writer, bytes, at FROM audit WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?")?
        .query_map((from, end, STEP), |row| {
            Ok((row.get(0)?, (row.get(1)?, row.get(2)?), row.get::<_, i64>(3)?.cast_unsigned(), row.get(4)?))
        })?
        .collect::<Result<_, _>>()?;
    let is_last = rows.len() < STEP as usize;
    let next = rows.last().filter(|_| !is_last).map(|(id, ..)| id + 1);
    let mut old = rows.into_iter().filter(|(.., at)| *at < signed(since.unix_micros())).peekable();
    let mut dropped = Dropped { next, ..Dropped::default() };
    if old.peek().is_none() {
        return Ok(dropped);
    }
    let mut parts = Parts::read(connection, u64::MAX)?;
    for (id, whose, bytes, _) in old {
        delete(connection, id)?;
        parts.take(whose, bytes);
        dropped.entries += 1;
        dropped.bytes += bytes;
    }
    parts.write(connection)?;
    Ok(dropped)
}

fn delete(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM audit WHERE id = ?")?.execute([id]).map(drop)
}

/// What each has while entries go.
struct Parts {
    all: u64,
    /// An owner's part.
    part: u64,
    owners: HashMap<[u8; 16], Owner>,
    writers: HashMap<Whose, (u64, u64)>,
    touched: Vec<Whose>,
}

#[derive(Default)]
struct Owner {
    bytes: u64,
    writers: u64,
}

impl Parts {
    fn read(connection: &Connection, max: u64) -> rusqlite::Result<Parts> {
        let mut parts = Parts { all: 0, part: 0, owners: HashMap::new(), writers: HashMap::new(), touched: Vec::new() };
        let mut select = connection.prepare_cached("SELECT owner, writer, entries, bytes FROM audit_share")?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let whose: Whose = (row.get(0)?, row.get(1)?);
            let number = |column| row.get::<_, i64>(column).map(|number| number.max(0).cast_unsigned());
            let (entries, bytes) = (number(2)?, number(3)?);
            let owner = parts.owners.entry(whose.0).or_default();
            owner.bytes += bytes;
            owner.writers += 1;
            parts.all += bytes;
            parts.writers.insert(whose, (entries, bytes));
        }
        parts.part = max / (parts.owners.len() as u64).max(1);
        Ok(parts)
    }

    /// Takes an entry off, if its owner and its writer have more than their part.
    fn gives(&mut self, whose: Whose, bytes: u64) -> bool {
        let part = self.part;
        let Some(owner) = self.owners.get(&whose.0).filter(|owner| owner.bytes > part) else { return false };
        let of_writer = part / owner.writers.max(1);
        let gives = self.writers.get(&whose).is_some_and(|(_, bytes)| *bytes > of_writer);
        if gives {
            self.take(whose, bytes);
        }
        gives
    }

    fn take(&mut self, whose: Whose, bytes: u64) {
        self.all = self.all.saturating_sub(bytes);
        if let Some(owner) = self.owners.get_mut(&whose.0) {
            owner.bytes = owner.bytes.saturating_sub(bytes);
        }
        if let Some((entries, all)) = self.writers.get_mut(&whose) {
            *entries = entries.saturating_sub(1);
            *all = all.saturating_sub(bytes);
        }
        if !self.touched.contains(&whose) {
            self.touched.push(whose);
        }
    }

    fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        for whose @ (owner, writer) in self.touched {
            let (entries, bytes) = self.writers.get(&whose).copied().unwrap_or_default();
            if entries == 0 {
                connection
                    .prepare_cached("DELETE FROM audit_share WHERE owner = ? AND writer = ?")?
                    .execute((owner, writer))?;
                continue;
            }
            connection
                .prepare_cached("UPDATE audit_share SET entries = ?, bytes = ? WHERE owner = ? AND writer = ?")?
                .execute(params![signed(entries), signed(bytes), owner, writer])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AuditRetention, Shares};
    use super::*;
    use crate::schema;

    /// Puts entries of 1,000 bytes, the first place given.
    fn write(connection: &Connection, from: i64, count: i64, whose: (u8, u8), at: i64) {
        let mut shares = Shares::default();
        connection.execute_batch("BEGIN").unwrap();
        for id in from..from + count {
            let (owner, writer) = ([whose.0; 16], [whose.1; 16]);
            connection
                .execute(
                    "INSERT INTO audit (id, at, owner, writer, kind, action, count, bytes, key, request_id, interface)
                     VALUES (?, ?, ?, ?, 7, 0, 1, 1000, '', x'', 'api')",
                    params![id, at, owner, writer],
                )
                .unwrap();
            shares.add(owner, writer, 1_000);
        }
        shares.write(connection).unwrap();
        connection.execute_batch("COMMIT").unwrap();
    }

    fn held(connection: &Connection, whose: (u8, u8)) -> i64 {
        let sql = "SELECT count(*) FROM audit WHERE owner = ? AND writer = ?";
        let count: i64 = connection.query_row(sql, ([whose.0; 16], [whose.1; 16]), |row| row.get(0)).unwrap();
        let sql = "SELECT coalesce(sum(entries), 0) FROM audit_share WHERE owner = ? AND writer = ?";
        let told: i64 = connection.query_row(sql, ([whose.0; 16], [whose.1; 16]), |row| row.get(0)).unwrap();
        assert_eq!(count, told, "{whose:?}");
        count
    }

    fn store() -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(dir.path()).unwrap();
        (dir, connection)
    }

    #[test]
    fn who_has_more_than_their_part_goes_first() {
        let (_dir, connection) = store();
        // Two accounts; one writer of the first account writes more than all others, and after them.
        for (from, count, whose) in [(0, 100, (1, 1)), (100, 100, (2, 1)), (200, 50, (1, 2)), (300, 5_000, (1, 3))] {
            write(&connection, from, count, whose, 0);
        }
        let mut trim = Trim::default();
        connection.execute_batch("BEGIN").unwrap();
        for _ in 0..20 {
            trim.step_to(&connection, 1_200_000).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        let left = [(1, 1), (2, 1), (1, 2), (1, 3)].map(|whose| held(&connection, whose));
        assert_eq!(left, [100, 100, 50, 950], "the whole is kept full, and of the loud one the newest");
        let oldest: i64 =
            connection.query_row("SELECT min(id) FROM audit WHERE writer = ?", [[3_u8; 16]], |row| row.get(0)).unwrap();
        assert_eq!(oldest, 5_300 - 950);
        assert!(!Trim::default().is_due(&connection).unwrap());
    }

    #[test]
    fn what_is_old_goes_but_never_the_newest() {
        let (_dir, connection) = store();
        write(&connection, 0, 2_500, (1, 1), 10);
        write(&connection, 5_000, 9_000, (1, 2), 10);
        write(&connection, 20_000, 500, (1, 1), 30);
        let since = Timestamp::from_unix_micros(20);
        let mut steps = 0;
        connection.execute_batch("BEGIN").unwrap();
        let mut from = Some(0);
        while let Some(place) = from {
            from = drop_older(&connection, since, place).unwrap().next;
            steps += 1;
        }
        assert_eq!((steps, held(&connection, (1, 1)), held(&connection, (1, 2))), (3, 1_000, 9_000));
        // The newest ones are old as well, and stay.
        assert_eq!(drop_older(&connection, Timestamp::from_unix_micros(1_000), 0), Ok(Dropped::default()));
        connection.execute_batch("COMMIT").unwrap();
        assert_eq!(held(&connection, (1, 1)) + held(&connection, (1, 2)), 10_000);
    }

    /// Entries of a clock that was wrong keep none behind them.
    #[test]
    fn what_is_old_goes_from_behind_what_seems_new() {
        let (_dir, connection) = store();
        write(&connection, 0, 1, (1, 1), 1_000_000);
        write(&connection, 1, 100, (1, 2), 10);
        write(&connection, 1_000, 3_000, (1, 1), 1_000_000);
        write(&connection, 5_000, 500, (1, 2), 10);
        write(&connection, 20_000, 10_000, (1, 3), 30);
        let mut from = Some(0);
        while let Some(place) = from {
            from = drop_older(&connection, Timestamp::from_unix_micros(20), place).unwrap().next;
        }
        let left = [(1, 1), (1, 2), (1, 3)].map(|whose| held(&connection, whose));
        assert_eq!(left, [3_001, 0, 10_000]);
    }

    /// The sum that is kept up is the one that the shares have, whatever lands and goes.
    #[test]
    fn the_sum_is_kept_up() {
        let (_dir, connection) = store();
        write(&connection, 0, 12_000, (1, 1), 10);
        let mut trim = Trim::default();
        assert_eq!((trim.is_due(&connection), trim.all), (Ok(false), Some(12_000_000)));
        write(&connection, 20_000, 100, (2, 1), 10);
        trim.landed(100_000, 0);
        let dropped = drop_older(&connection, Timestamp::from_unix_micros(20), 0).unwrap();
        assert_eq!((dropped.entries, dropped.bytes), (1_000, 1_000_000));
        trim.landed(0, dropped.bytes);
        assert_eq!((trim.all, sum(&connection)), (Some(11_100_000), Ok(11_100_000)));
        trim.step_to(&connection, 11_000_000).unwrap();
        assert_eq!((trim.all, sum(&connection)), (Some(11_000_000), Ok(11_000_000)));
        // Nobody looks at the shares meanwhile.
        connection.execute_batch("DROP TABLE audit_share").unwrap();
        assert_eq!(trim.is_due(&connection), Ok(false));
        trim.landed(AuditRetention::USUAL.bytes, 0);
        assert_eq!(trim.is_due(&connection), Ok(true));
    }
}
