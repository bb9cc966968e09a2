//! How much of the audit is whose.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::tables::signed;

/// An owner, and who writes there.
pub(super) type Whose = ([u8; 16], [u8; 16]);

/// What a transaction adds to the shares, put down once for all of it.
#[derive(Default)]
pub(crate) struct Shares {
    added: HashMap<Whose, Added>,
}

#[derive(Default)]
struct Added {
    entries: u64,
    bytes: u64,
    /// The hour, and the objects of large change sets in it that have an entry each.
    large: Option<(u64, u64)>,
}

impl Shares {
    pub(super) fn add(&mut self, owner: [u8; 16], writer: [u8; 16], bytes: u64) {
        let added = self.added.entry((owner, writer)).or_default();
        added.entries += 1;
        added.bytes += bytes;
    }

    /// Whether one more object of a large change set gets an entry of its own.
    pub(super) fn take_large(
        &mut self,
        connection: &Connection,
        owner: [u8; 16],
        writer: [u8; 16],
        hour: u64,
        max: u64,
    ) -> rusqlite::Result<bool> {
        let added = self.added.entry((owner, writer)).or_default();
        let large = match &mut added.large {
            Some(large) if large.0 == hour => large,
            large => {
                let known: Option<(i64, i64)> = connection
                    .prepare_cached("SELECT hour, large FROM audit_share WHERE owner = ? AND writer = ?")?
                    .query_row((owner, writer), |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?;
                let so_far = known.filter(|(known, _)| *known == signed(hour)).map_or(0, |(_, large)| large);
                large.insert((hour, so_far.cast_unsigned()))
            }
        };
        let may = large.1 < max;
        large.1 += u64::from(may);
        Ok(may)
    }

    pub(crate) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        for ((owner, writer), Added { entries, bytes, large }) in self.added {
            let (hour, large) = large.map_or((None, None), |(hour, large)| (Some(signed(hour)), Some(signed(large))));
            connection
                .prepare_cached(
                    "INSERT INTO audit_share VALUES (?1, ?2, ?3, ?4, coalesce(?5, 0), coalesce(?6, 0))
                     ON CONFLICT DO UPDATE SET entries = entries + ?3, bytes = bytes + ?4,
                         hour = coalesce(?5, hour), large = coalesce(?6, large)",
                )?
                .execute(params![owner, writer, signed(entries), signed(bytes), hour, large])?;
        }
        Ok(())
    }
}

/// Sums the shares up anew.
pub(crate) fn recount(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DELETE FROM audit_share;
         INSERT INTO audit_share SELECT owner, writer, count(*), sum(bytes), 0, 0 FROM audit GROUP BY owner, writer",
    )
}
