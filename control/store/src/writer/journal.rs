//! Folding the journal into the file before it becomes too large. Most of the time there is little left to fold
//! ([`super::folder`]).

use std::time::{Duration, Instant};

use bartizan_quotas::Rarely;

use super::{Folder, Writer};
use crate::schema;

/// When the journal is folded by force, and at what price.
#[derive(Clone, Copy)]
pub(crate) struct Folding {
    /// The journal's size above which the writer waits for readers to let go of it.
    pub(crate) bytes: u64,
    /// How long it waits at once, and with it everybody who commits.
    pub(crate) wait_max: Duration,
    /// How long its file may stay when nobody, or hardly anybody, has anything to write.
    pub(crate) kept: u64,
}

impl Folding {
    /// Several times what the engine folds at by itself, and several times what a reader of single objects takes. Whoever
    /// takes longer is not waited for: it is tried again after each change, while no other such reader begins.
    pub(crate) const USUAL: Folding = Folding { bytes: 128 << 20, wait_max: Duration::from_millis(20), kept: 64 << 20 };
}

/// A page in the journal, and what says which one it is.
const FRAME_BYTES: u64 = 4096 + 24;

/// So many times the size at which it is folded its file is cut off, not written from its beginning again.
const CUT_FROM: u64 = 2;

/// Folds it and cuts its file off.
const CUT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// One try to fold the journal. A waiting try holds locks that a new reader needs, and the wait may be for that very
/// reader: several short tries get through where a long one does not.
const FOLD_TRY_MAX: Duration = Duration::from_millis(20);

impl Writer {
    /// Folds the journal into the file once more than `at` of it is in use, and says when to look again.
    ///
    /// What is in it is copied all the time, but it is begun anew only when nobody reads from it as a change is written.
    /// Under constant reads somebody always does. Here nothing is written while those who read the journal are waited
    /// for; a reader that begins when all of it is in the file reads only the file, and does not hold up the next fold.
    /// Its own file keeps its length and is written from its beginning again: to cut off a hundred megabytes takes longer
    /// than all else of it, and what is written where there was something before is sooner on the disk. Only what a long
    /// read has made of it is cut off, since nobody may ever have nothing to write ([`CUT_FROM`]).
    ///
    /// Readers of lists are held back meanwhile, until it is folded or those who are at it should have ended. One that
    /// outlasts that keeps its state and the journal grows on; so a journal has at most [`Folding::bytes`], what is written
    /// during the longest read, and one such step more.
    pub(super) fn fold_journal(&self, at: u64) -> u64 {
        let size = Folder::journal_pages() * FRAME_BYTES;
        if size < self.folding.bytes {
            // It may have begun anew by itself, when whoever was in the way had left.
            self.gate.open();
            return self.folding.bytes;
        }
        if size < at {
            return at;
        }
        let is_long = self.journal_bytes() > CUT_FROM * self.folding.bytes;
        match self.checkpoint(if is_long { CUT } else { "PRAGMA wal_checkpoint(RESTART)" }) {
            Ok(true) => {
                Folder::journal_begins_anew();
                self.gate.open();
                self.folding.bytes
            }
            Ok(false) if self.gate.close(Instant::now()) => at,
            Ok(false) => {
                tracing::warn!(size, "the store's journal grows: somebody has looked at an old state for long");
                size + self.folding.bytes
            }
            Err(error) => {
                self.gate.open();
                static FAILED: Rarely = Rarely::new();
                if let Some(times) = FAILED.turn() {
                    let remedy = "see what `bartizan doctor` says of its disk";
                    tracing::warn!(size, %error, times, remedy, "the store's journal cannot be folded");
                }
                size + self.folding.bytes
            }
        }
    }

    fn journal_bytes(&self) -> u64 {
        let journal = self.connection.path().map(|path| format!("{path}-wal"));
        journal.and_then(|journal| std::fs::metadata(journal).ok()).map_or(0, |file| file.len())
    }

    /// Gives back to the disk what a bulk load left of the journal, when nobody has anything to write just now.
    /// False if it is to be tried again.
    pub(super) fn cut_journal(&self) -> bool {
        if self.journal_bytes() <= self.folding.kept {
            return true;
        }
        match self.checkpoint(CUT) {
            Ok(true) => {
                Folder::journal_begins_anew();
                true
            }
            // Somebody reads; there will be another moment.
            Ok(false) => false,
            Err(error) => {
                tracing::debug!(%error, "the store's journal keeps its length");
                false
            }
        }
    }

    /// False if readers were in the way for all of the wait.
    fn checkpoint(&self, how: &str) -> rusqlite::Result<bool> {
        let begun = Instant::now();
        self.connection.busy_timeout(FOLD_TRY_MAX)?;
        let folded = loop {
            let busy: rusqlite::Result<i64> = self.connection.query_row(how, (), |row| row.get(0));
            match busy {
                Ok(0) => break Ok(true),
                Ok(_) if begun.elapsed() < self.folding.wait_max => {}
                other => break other.map(|_| false),
            }
        };
        self.connection.busy_timeout(schema::LOCK_WAIT_MAX)?;
        folded
    }
}
