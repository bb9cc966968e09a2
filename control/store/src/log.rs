//! The log in the file: how far it reaches.
//!
//! The state does not depend on the log: objects, their hashes and the newest revision have pages of their own. So a log
//! with a damaged page is given up whole and another one begins, in an epoch of its own ([`crate::salvage`]). That is
//! safe: no revision is given twice, and a follower sees from the epoch that it must read the whole state again. What
//! is lost is the history, and that a request of before is known again when it is repeated; its guards still stop it.
//! A store that could only be read would be the greater loss.

use bartizan_names::Timestamp;
use rusqlite::Connection;

use crate::change::{Epoch, Rev};
use crate::tables::signed;

/// How much of the change log stays. Only whole beginnings of the log go, and never the newest change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At most so many changes stay.
    pub changes_max: u64,
    /// And so many at least, however old they are: a clock that is wrong by years must not take the history.
    pub changes_min: u64,
    /// What is older may go.
    pub since: Timestamp,
    /// At most so many bytes of operations stay.
    pub bytes_max: u64,
}

impl Retention {
    /// A PoP that was away for longer than this takes a full state, which is the faster way by then anyway.
    const DAYS: u64 = 7;
    const CHANGES_MAX: u64 = 1_000_000;

    /// A change every 12 s for seven days: some tens of megabytes.
    const CHANGES_MIN: u64 = 50_000;

    /// As much as a million records of usual size.
    const BYTES_MAX: u64 = 512 << 20;

    /// Seven days and the newest 50,000 changes, and no more than a million or half a gigabyte.
    pub fn usual(now: Timestamp) -> Retention {
        let since = now.unix_micros().saturating_sub(Self::DAYS * 86_400 * 1_000_000);
        Retention {
            changes_max: Self::CHANGES_MAX,
            changes_min: Self::CHANGES_MIN,
            since: Timestamp::from_unix_micros(since),
            bytes_max: Self::BYTES_MAX,
        }
    }
}

/// The newest revision.
pub(crate) fn head(connection: &Connection) -> rusqlite::Result<Rev> {
    connection
        .prepare_cached("SELECT head FROM log")?
        .query_row((), |row| row.get::<_, i64>(0))
        .map(|rev| Rev(rev.cast_unsigned()))
}

pub(crate) fn put_head(connection: &Connection, head: Rev) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE log SET head = ?")?.execute([signed(head.0)]).map(drop)
}

pub(crate) fn epoch(connection: &Connection) -> rusqlite::Result<Epoch> {
    connection
        .prepare_cached("SELECT epoch FROM log")?
        .query_row((), |row| row.get::<_, i64>(0))
        .map(|epoch| Epoch(epoch.cast_unsigned()))
}

/// The log is another one from here on: who follows reads the state again.
pub(crate) fn begin_epoch(connection: &Connection) -> rusqlite::Result<()> {
    let old = epoch(connection)?;
    let new = u64::from_be_bytes(bartizan_seal::random());
    // Random as it is, it is not the same.
    let new = if new == old.0 { new ^ 1 } else { new };
    connection.execute("UPDATE log SET epoch = ?", [signed(new)]).map(drop)
}

/// Looks at the two ends of the log: what a start needs, and what it can look at in a moment.
pub(crate) fn look_at_ends(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT min(rev), (SELECT bytes FROM change ORDER BY rev DESC LIMIT 1) FROM change";
    connection.query_row(sql, (), |_| Ok(()))
}
