//! The change log of a damaged file: whether it is whole, what it restores, and how the new one begins.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Found, Salvage};
use crate::change::{self, Op, Rev};
use crate::log;
use crate::mend::MendError;
use crate::pages::Tree;
use crate::state_hash::Sums;
use crate::tables::{self, signed};

impl Salvage<'_> {
    /// Whether every change that the log should have is there and can be read.
    pub(super) fn log(&self) -> Found {
        let read = || {
            let head = log::head(&self.old)?;
            let mut last = None;
            let mut whole = true;
            self.each_change(Rev::ZERO, &mut |rev, ops| {
                whole &= last.is_none_or(|last: Rev| rev == last.next()) && ops.is_some();
                last = Some(rev);
                Ok(())
            })?;
            Ok::<bool, rusqlite::Error>(whole && last.is_none_or(|last| last == head))
        };
        if self.layout.goes_on && read().unwrap_or(false) { Found::Whole } else { Found::Torn }
    }

    /// The revision from which on every change up to the newest can be read; none if the newest cannot.
    pub(super) fn whole_end(&self) -> Option<Rev> {
        let mut select = self.old.prepare("SELECT rev, ops FROM change NOT INDEXED ORDER BY rev DESC").ok()?;
        let (mut rows, mut next, mut end) = (select.query(()).ok()?, log::head(&self.old).ok()?, None);
        while let Ok(Some(row)) = rows.next() {
            let read = |row: &rusqlite::Row<'_>| {
                Some((row.get::<_, i64>(0).ok()?, row.get_ref(1).ok()?.as_blob().ok()?.to_vec()))
            };
            let Some((rev, ops)) = read(row) else { break };
            if rev != signed(next.0) || change::decode(&ops).is_none() {
                break;
            }
            end = Some(next);
            next = Rev(next.0.saturating_sub(1));
        }
        end
    }

    fn each_change(
        &self,
        from: Rev,
        f: &mut dyn FnMut(Rev, Option<Vec<Op>>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut select = self.old.prepare("SELECT rev, ops FROM change NOT INDEXED WHERE rev >= ? ORDER BY rev")?;
        let mut rows = select.query([signed(from.0)])?;
        while let Some(row) = rows.next()? {
            f(Rev(row.get::<_, i64>(0)?.cast_unsigned()), change::decode(row.get_ref(1)?.as_blob()?))?;
        }
        Ok(())
    }

    /// Carries out the log once more from a revision on, over what is not newer than it.
    pub(super) fn replay(&self, from: Rev) -> rusqlite::Result<()> {
        let mut known = self.new.prepare("SELECT rev FROM object WHERE key = ?")?;
        let mut delete = self.new.prepare("DELETE FROM object WHERE key = ? AND rev <= ?")?;
        self.each_change(from, &mut |rev, ops| {
            for op in ops.into_iter().flatten() {
                let key = op.key().as_str();
                let before: Option<i64> = known.query_row([key], |row| row.get(0)).optional()?;
                match &op {
                    Op::Put { key, value } if before.is_none_or(|before| before <= signed(rev.0)) => {
                        // The hashes are summed up at the end.
                        tables::put(self.new, &mut Sums::default(), rev, key, value).map(drop)?;
                    }
                    Op::Put { .. } => {}
                    Op::Del { key } => drop(delete.execute(params![key.as_str(), signed(rev.0)])?),
                }
            }
            Ok(())
        })
    }

    /// Whoever read while the file was damaged may not have all of it: the epoch is another one, in which there is one
    /// revision more. The changes stay if they are whole; the next damage may need them. Returns the newest revision.
    pub(super) fn take_log(&self, log: Found) -> Result<Rev, MendError> {
        let mut head = match log::head(&self.old) {
            Ok(head) => head,
            Err(_) => self.newest()?,
        };
        if self.layout.goes_on {
            head = head.next();
        }
        if log == Found::Whole {
            let columns = "rev, request_id, at, actor, interface, client, bytes, ops";
            self.copy_rows(
                &format!("SELECT {columns} FROM change NOT INDEXED ORDER BY rev"),
                &format!("INSERT INTO change ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
            )?;
            let ops = change::encode(&[]).bytes;
            self.new.execute(
                "INSERT INTO change (rev, request_id, at, actor, interface, bytes, ops)
                 SELECT ?1, ?2, coalesce(max(at), 0), 'edge', 'mend', coalesce(max(bytes), 0) + length(?3), ?3 FROM change",
                params![signed(head.0), bartizan_seal::random::<16>(), ops],
            )?;
        } else if self.layout.goes_on {
            tracing::error!("the store's change log is damaged: another one begins");
        }
        log::put_head(self.new, head)?;
        Ok(head)
    }

    /// The newest revision that anything was put by, where the file cannot say how far its log went.
    fn newest(&self) -> Result<Rev, MendError> {
        let number = |connection: &Connection, sql| connection.query_row(sql, (), |row| row.get::<_, Option<i64>>(0));
        let mut newest = number(self.new, "SELECT max(rev) FROM object")?;
        newest = newest.max(number(&self.old, "SELECT max(rev) FROM zone_change").ok().flatten());
        match number(&self.old, "SELECT max(rev) FROM change") {
            Ok(rev) => newest = newest.max(rev),
            Err(_) => self.pages.for_each_row(Tree::Table, self.layout.changes, &mut |rev, _| {
                newest = newest.max(Some(rev));
                Ok(())
            })?,
        }
        Ok(Rev(newest.unwrap_or(0).cast_unsigned()))
    }
}
