//! What may wait until nobody has anything to write.

use std::time::{Duration, Instant};

use bartizan_net::give_back_memory;
use bartizan_quotas::Rarely;
use rusqlite::TransactionBehavior;

use super::Writer;
use crate::condition::Walk;
use crate::damage;
use crate::rebuild::{self, Reading};

/// How long nobody has anything to write before what may wait is done.
const IDLE_AFTER: Duration = Duration::from_millis(200);

/// How long damage that readers met may wait when nobody writes: to look is to read a flag.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Free pages that the file keeps for what comes next, and those that are given back in one step: some milliseconds.
const FREE_PAGES_MAX: i64 = 1024;
const FREE_PAGES_STEP: i64 = 256;

/// What may wait until nobody has anything to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chores {
    /// Something was written since they were done.
    Waiting,
    UnderWay,
    Done,
}

impl Chores {
    /// How long there must be no work before they are gone on with.
    pub(super) const fn after(self) -> Duration {
        match self {
            Chores::Waiting => IDLE_AFTER,
            Chores::UnderWay => Duration::ZERO,
            Chores::Done => LOOK_AGAIN_AFTER,
        }
    }
}

impl Writer {
    /// Lets no more records wait for their letters to be read than searches can look at in passing.
    pub(super) fn catch_up(&mut self) {
        match rebuild::many_unread(&self.connection) {
            Ok(false) => {}
            Ok(true) => drop(self.read_records()),
            Err(error) => self.met(&error),
        }
    }

    /// Does a step of what may wait until nobody has work.
    pub(super) fn use_idle_time(&mut self) -> Chores {
        if self.pauses.is_one_held() {
            return Chores::Waiting;
        }
        if let Some(Reading::Unfinished) = self.read_records() {
            return Chores::UnderWay;
        }
        match self.give_back() {
            Ok(Chores::UnderWay) => return Chores::UnderWay,
            Ok(_) => {}
            Err(error) => self.met(&error),
        }
        if self.trim_audit() == Chores::UnderWay {
            return Chores::UnderWay;
        }
        match self.look_at_keys() {
            Ok(Chores::UnderWay) => return Chores::UnderWay,
            Ok(_) => {}
            Err(error) => self.met(&error),
        }
        if std::mem::take(&mut self.is_filled)
            && let Err(error) = self.forget_pages()
        {
            self.met(&error);
        }
        // Whoever copies the file alone has all of it.
        self.folder.wake();
        self.cut_journal();
        Chores::Done
    }

    /// Gives some of the file's free pages back to the disk, if there are many.
    fn give_back(&self) -> rusqlite::Result<Chores> {
        let free: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        if free <= FREE_PAGES_MAX {
            return Ok(Chores::Done);
        }
        let mut step = self.connection.prepare_cached(&format!("PRAGMA incremental_vacuum({FREE_PAGES_STEP})"))?;
        let mut rows = step.query(())?;
        while rows.next()?.is_some() {}
        drop(rows);
        let left: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        Ok(if left < free { Chores::UnderWay } else { Chores::Done })
    }

    fn read_records(&mut self) -> Option<Reading> {
        let (begun, size) = (Instant::now(), self.letters.size());
        let step = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            let reading = rebuild::read_records(&transaction, size)?;
            transaction.commit()?;
            Ok(reading)
        });
        if matches!(step, Ok(Reading::Unfinished)) {
            self.letters.took(begun.elapsed());
        }
        step.inspect_err(|error| self.met(error)).ok()
    }

    /// Deletes some of the audit, if it takes too much.
    pub(super) fn trim_audit(&mut self) -> Chores {
        let step = match self.trim.is_due(&self.connection) {
            Ok(true) => {
                self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                    self.trim.step(&transaction)?;
                    transaction.commit()?;
                    Ok(Chores::UnderWay)
                })
            }
            Ok(false) => return Chores::Done,
            Err(error) => Err(error),
        };
        step.unwrap_or_else(|error| {
            self.trim.sum_anew();
            self.met(&error);
            Chores::Done
        })
    }

    /// Counts the keys that are none, once.
    fn look_at_keys(&mut self) -> rusqlite::Result<Chores> {
        let Some(survey) = &mut self.survey else { return Ok(Chores::Done) };
        let walk = survey.step(&self.connection)?;
        // What was read for it fills the engine's memory, and nobody asks for it again.
        self.connection.execute_batch("PRAGMA shrink_memory")?;
        if walk == Walk::UnderWay {
            return Ok(Chores::UnderWay);
        }
        let strangers = survey.strangers;
        self.survey = None;
        self.is_filled = true;
        self.damage.change(|known| std::mem::replace(&mut known.strangers, strangers) != strangers);
        Ok(Chores::Done)
    }

    /// Lets go of what an import or a walk over all keys has left in the engine's memory: some tens of megabytes, of which the
    /// next change needs some tens of pages.
    fn forget_pages(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("PRAGMA shrink_memory")?;
        give_back_memory();
        Ok(())
    }

    /// A chore failed.
    fn met(&mut self, error: &rusqlite::Error) {
        if damage::is_damage(error) {
            self.damage.note();
            return;
        }
        // A full disk fails each of them, several times a second.
        static FAILED: Rarely = Rarely::new();
        if let Some(times) = FAILED.turn() {
            tracing::warn!(%error, times, "the store's care for its file failed; see what `bartizan doctor` says of its disk");
        }
    }
}
