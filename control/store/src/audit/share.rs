//! How much of the audit is whose.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::AuditAction;
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
    large: Option<(u64, Large)>,
}

/// Objects of large change sets that have an entry each, by what was done to them. In the file one number.
#[derive(Clone, Copy, Default)]
struct Large(u64);

impl Large {
    /// More than any allowance.
    const BITS: u32 = 20;

    /// Counts one more, if there may be one.
    fn take(&mut self, action: AuditAction) -> bool {
        let shift = Large::BITS * u32::try_from(action.code()).unwrap_or_default();
        let may = (self.0 >> shift) & ((1 << Large::BITS) - 1) < action.large_per_hour();
        self.0 += u64::from(may) << shift;
        may
    }
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
        action: AuditAction,
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
                large.insert((hour, Large(so_far.cast_unsigned())))
            }
        };
        Ok(large.1.take(action))
    }

    /// Puts them down; how many bytes they are.
    pub(crate) fn write(self, connection: &Connection) -> rusqlite::Result<u64> {
        let all = self.added.values().map(|added| added.bytes).sum();
        for ((owner, writer), Added { entries, bytes, large }) in self.added {
            let (hour, large) = large.map_or((None, None), |(hour, large)| (Some(signed(hour)), Some(signed(large.0))));
            connection
                .prepare_cached(
                    "INSERT INTO audit_share VALUES (?1, ?2, ?3, ?4, coalesce(?5, 0), coalesce(?6, 0))
                     ON CONFLICT DO UPDATE SET entries = entries + ?3, bytes = bytes + ?4,
                         hour = coalesce(?5, hour), large = coalesce(?6, large)",
                )?
                .execute(params![owner, writer, signed(entries), signed(bytes), hour, large])?;
        }
        Ok(all)
    }
}

/// Sums the shares up anew.
pub(crate) fn recount(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DELETE FROM audit_share;
         INSERT INTO audit_share SELECT owner, writer, count(*), sum(bytes), 0, 0 FROM audit GROUP BY owner, writer",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    /// Whoever used up what they may add, or change, still leaves what was before of all that they delete.
    #[test]
    fn one_action_uses_up_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(dir.path()).unwrap();
        // Each in two change sets: what was used up is in the file in between.
        let taken = |hour: u64, action: AuditAction, tries: u64| {
            let mut taken = 0;
            for tries in [tries / 2, tries.div_ceil(2)] {
                let mut shares = Shares::default();
                for _ in 0..tries {
                    taken += u64::from(shares.take_large(&connection, [1; 16], [2; 16], hour, action).unwrap());
                }
                shares.write(&connection).unwrap();
            }
            taken
        };
        for (hour, action, tries, expect) in [
            (1, AuditAction::Add, 30_000, 20_000),
            (1, AuditAction::Change, 120, 120),
            (1, AuditAction::Change, 300_000, 199_880),
            (1, AuditAction::Add, 1, 0),
            (1, AuditAction::Delete, 300_000, 200_000),
            (1, AuditAction::Change, 1, 0),
            (2, AuditAction::Add, 2, 2),
            (2, AuditAction::Delete, 120, 120),
        ] {
            assert_eq!(taken(hour, action, tries), expect, "{hour} {action} {tries}");
        }
    }
}
