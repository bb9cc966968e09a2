//! The end of the change log, inside the writer's transaction: what becomes of the change sets whose turn it is.

use std::collections::BTreeSet;

use bartizan_names::{Timestamp, ZoneId};
use rusqlite::{Transaction, params};

use super::Prepared;
use crate::audit::{self, Dropped, Entries, Shares};
use crate::change::{ChangeSet, Op, Rev};
use crate::envelope::{self, Verdict};
use crate::error::CommitError;
use crate::key::Key;
use crate::log::{self, Retention};
use crate::state_hash::Sums;
use crate::tables::{self, signed};

/// Changes dropped in one step of compaction, and bytes of their operations, so that commits get in between.
const COMPACT_STEP: u64 = 500;
const COMPACT_STEP_BYTES: u64 = 4 << 20;

/// The end of the change log, inside a transaction.
pub(super) struct LogEnd<'t> {
    transaction: &'t Transaction<'t>,
    /// Of the transaction's beginning.
    begin: Rev,
    head: Rev,
    /// Of all operations since the log began.
    bytes: u64,
    /// What the transaction changes of the state's hashes: put down once for all of a group.
    sums: Sums,
    /// And of whose the audit is.
    shares: Shares,
    /// Bytes of the audit that go.
    forgotten: u64,
}

/// What a transaction came to.
pub(super) struct Closed {
    pub(super) head: Rev,
    /// Bytes that the audit gets, and those that go of it.
    pub(super) audit_added: u64,
    pub(super) audit_gone: u64,
}

impl<'t> LogEnd<'t> {
    /// Reads the end from the file and remembers nothing: a transaction that was rolled back leaves no trace here.
    pub(super) fn open(transaction: &'t Transaction<'t>) -> rusqlite::Result<LogEnd<'t>> {
        let head = log::head(transaction)?;
        let bytes = tables::bytes_until(transaction, head)?.unwrap_or(0);
        Ok(LogEnd {
            transaction,
            begin: head,
            head,
            bytes,
            sums: Sums::default(),
            shares: Shares::default(),
            forgotten: 0,
        })
    }

    pub(super) fn append(&mut self, prepared: &Prepared) -> rusqlite::Result<Verdict> {
        let verdict = envelope::decide(self.transaction, self.head, &prepared.envelope)?;
        if let Verdict::Landed(rev) = verdict {
            self.land(prepared, rev)?;
        }
        Ok(verdict)
    }

    /// The outer error is the engine's and spoils the whole transaction; the inner one is about this change.
    pub(super) fn apply(&mut self, prepared: &Prepared, rev: Rev) -> rusqlite::Result<Result<(), CommitError>> {
        if prepared.envelope.epoch != log::epoch(self.transaction)? {
            return Ok(Err(CommitError::Foreign));
        }
        if rev != self.head.next() {
            return Ok(Err(CommitError::Gap { head: self.head }));
        }
        self.land(prepared, rev).map(Ok)
    }

    /// Makes a change set the next revision.
    fn land(&mut self, prepared: &Prepared, rev: Rev) -> rusqlite::Result<()> {
        let ChangeSet { ops, meta, .. } = &prepared.envelope.set;
        let bytes = self.bytes.saturating_add(prepared.encoded.bytes.len() as u64);
        self.transaction
            .prepare_cached("INSERT INTO change (rev, request_id, at, actor, interface, client, bytes, ops) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                signed(rev.0),
                meta.request_id,
                signed(meta.at.unix_micros()),
                meta.actor,
                meta.interface,
                meta.client.map(|client| client.to_string()),
                signed(bytes),
                prepared.encoded.bytes
            ])?;
        let mut entries = Entries::begin(rev, meta, ops);
        for (op, listing) in ops.iter().zip(&prepared.listings) {
            if let Some(entries) = &mut entries {
                entries.note(self.transaction, &mut self.shares, op, ops)?;
            }
            tables::apply(self.transaction, &mut self.sums, rev, op, listing.as_ref())?;
        }
        if let Some(entries) = entries {
            entries.end(self.transaction, &mut self.shares, ops)?;
        }
        let moves = |key: &&Key| key.kind().moves_serial();
        let zones: BTreeSet<ZoneId> = ops.iter().map(Op::key).filter(moves).filter_map(Key::zone_id).collect();
        zones.into_iter().try_for_each(|zone| tables::touch_zone(self.transaction, zone, rev))?;
        (self.head, self.bytes) = (rev, bytes);
        Ok(())
    }

    /// Puts down what the whole transaction came to.
    pub(super) fn close(self) -> rusqlite::Result<Closed> {
        let mut closed = Closed { head: self.head, audit_added: 0, audit_gone: self.forgotten };
        if self.head != self.begin {
            log::put_head(self.transaction, self.head)?;
            self.sums.add_to_file(self.transaction)?;
            closed.audit_added = self.shares.write(self.transaction)?;
        }
        Ok(closed)
    }

    /// The last revision of those at the log's beginning without which the rest has no more than `bytes_max`.
    fn last_too_much(&self, oldest: Rev, bytes_max: u64) -> rusqlite::Result<Rev> {
        let Some(all) = tables::bytes_until(self.transaction, self.head)? else { return Ok(Rev::ZERO) };
        // Revisions are dense and the bytes grow with them: halving finds it.
        let (mut fits, mut too_early) = (self.head.0, oldest.0.saturating_sub(1));
        while fits - too_early > 1 {
            let middle = too_early.midpoint(fits);
            let until = tables::bytes_until(self.transaction, Rev(middle))?.unwrap_or(0);
            if all - until <= bytes_max { fits = middle } else { too_early = middle }
        }
        let before = tables::bytes_before(self.transaction, oldest)?;
        Ok(if all - before <= bytes_max { Rev(oldest.0.saturating_sub(1)) } else { Rev(fits) })
    }

    /// Deletes some of what is old of the audit.
    pub(super) fn forget(&mut self, since: Timestamp, from: i64) -> rusqlite::Result<Dropped> {
        let dropped = audit::drop_older(self.transaction, since, from)?;
        self.forgotten += dropped.bytes;
        Ok(dropped)
    }

    /// Drops some of the changes that need not be kept, oldest first; the oldest revision that is left.
    pub(super) fn compact(&self, keep: Retention) -> rusqlite::Result<Rev> {
        let oldest = tables::oldest(self.transaction)?;
        let by_number = self.head.0.saturating_sub(keep.changes_max.max(1));
        // The order is that of the revisions; the clock may have jumped.
        let old_enough = self.head.0.saturating_sub(keep.changes_min);
        let by_time = tables::last_before(self.transaction, keep.since)?.0.min(old_enough);
        let by_bytes = self.last_too_much(oldest, keep.bytes_max)?.0;
        // The newest one always stays: it is where the log knows its end from.
        let drop_until = by_number.max(by_time).max(by_bytes).min(self.head.0.saturating_sub(1));
        let mut step_until = drop_until.min(oldest.0.saturating_add(COMPACT_STEP));
        let before = tables::bytes_before(self.transaction, oldest)?;
        while step_until > oldest.0
            && tables::bytes_until(self.transaction, Rev(step_until))?
                .is_some_and(|until| until.saturating_sub(before) > COMPACT_STEP_BYTES)
        {
            step_until = oldest.0.midpoint(step_until);
        }
        tables::drop_changes(self.transaction, Rev(step_until))?;
        Ok(tables::oldest(self.transaction)?.min(self.head))
    }
}
