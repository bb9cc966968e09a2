//! The log in the file: how far it reaches, and how it begins anew when it is damaged.
//!
//! The state does not depend on the log: objects, their hashes and the newest revision have pages of their own. So a log
//! with a damaged page is given up whole and another one begins behind the same revision, in an epoch of its own. That is
//! safe: no revision is given twice, and who follows the log sees from the epoch that it must take the state again. What
//! is lost is the history, and that a request of before is known again when it is repeated; its guards still stop it.
//! A store that could only be read would be the greater loss.

use rusqlite::{Connection, TransactionBehavior};

use crate::change::{Epoch, Rev};
use crate::damage::is_damage;
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

/// Whether the two ends of the log can be read: what a start needs, and what it can look at in a moment.
pub(crate) fn has_damaged_ends(connection: &Connection) -> rusqlite::Result<bool> {
    damaged(connection, "SELECT min(rev), (SELECT bytes FROM change ORDER BY rev DESC LIMIT 1) FROM change")
}

/// Reads all of it but the operations; takes a moment for a long one.
pub(crate) fn is_damaged(connection: &Connection) -> rusqlite::Result<bool> {
    damaged(connection, "SELECT sum(bytes), (SELECT count(request_id) FROM change) FROM change NOT INDEXED")
}

fn damaged(connection: &Connection, sql: &str) -> rusqlite::Result<bool> {
    match connection.query_row(sql, (), |_| Ok(())) {
        Ok(()) => Ok(false),
        Err(error) if is_damage(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Gives up the changes that are there.
pub(crate) fn begin_anew(connection: &mut Connection) -> rusqlite::Result<()> {
    tracing::error!("the store's change log is damaged: another one begins, and who follows it takes the state again");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let layout: String =
        transaction.query_row("SELECT sql FROM sqlite_schema WHERE name = 'change'", (), |row| row.get(0))?;
    // A table with a damaged page cannot be dropped. Its pages are lost to the file until the next VACUUM.
    transaction.execute_batch(
        "PRAGMA writable_schema = ON;
         DELETE FROM sqlite_schema WHERE tbl_name = 'change';
         PRAGMA writable_schema = RESET;",
    )?;
    transaction.execute_batch(&layout)?;
    transaction.execute("UPDATE log SET epoch = random()", ())?;
    transaction.commit()
}
