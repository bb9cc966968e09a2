//! The log in the file: how far it reaches.
//!
//! The state does not depend on the log: objects, their hashes and the newest revision have pages of their own. So a log
//! with a damaged page is given up whole and another one begins, in an epoch of its own ([`crate::salvage`]). That is
//! safe: no revision is given twice, and a follower sees from the epoch that it must read the whole state again. What
//! is lost is the history, and that a request of before is known again when it is repeated; its guards still stop it.
//! A store that could only be read would be the greater loss.

use rusqlite::Connection;

use crate::change::{Epoch, Rev};
use crate::tables::signed;

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

/// Looks at the two ends of the log: what a start needs, and what it can look at in a moment.
pub(crate) fn look_at_ends(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT min(rev), (SELECT bytes FROM change ORDER BY rev DESC LIMIT 1) FROM change";
    connection.query_row(sql, (), |_| Ok(()))
}
