//! The audit of a file that has a log and none: what the log tells is not lost with the layout of before.
//!
//! What an object was before its first change in the log nobody knows any more.

use rusqlite::Connection;

use super::entries::{Before, Entries, is_audited};
use super::share::Shares;
use crate::snapshot;

/// Makes the entries of all changes in the log, inside a transaction. Those that cannot be read have none.
pub(crate) fn from_log(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT rev, request_id, at, actor, ops, interface, client FROM change ORDER BY rev";
    let mut select = connection.prepare(sql)?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        if !is_audited(&row.get::<_, String>(5)?) {
            continue;
        }
        let Ok(change) = snapshot::change(row) else { continue };
        let mut shares = Shares::default();
        if let Some(mut entries) = Entries::begin_from(change.rev, &change.meta, &change.ops, Before::Audit) {
            for op in &change.ops {
                entries.note(connection, &mut shares, op, &change.ops)?;
            }
            entries.end(connection, &mut shares, &change.ops)?;
        }
        shares.write(connection)?;
    }
    Ok(())
}
