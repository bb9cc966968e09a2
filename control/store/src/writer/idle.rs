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

/// After so long what may wait is done in any pause: somebody who writes a little all the time, such as a health check that
/// keeps a record up to date, would keep it waiting for ever.
const OVERDUE_AFTER: Duration = Duration::from_secs(10);

/// A pause between those who write little: those who write much leave none.
const PAUSE: Duration = Duration::from_millis(5);

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
    /// Not all could be done just now: the disk is full, or a reader is in the way.
    Again,
    Done,
}

/// How far they are.
pub(super) struct Progress {
    chores: Chores,
    waiting_since: Instant,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Progress {
        Progress { chores: Chores::Waiting, waiting_since: now }
    }

    /// How long there must be no work before they are gone on with.
    pub(super) fn after(&self, now: Instant) -> Duration {
        match self.chores {
            Chores::Waiting if now.duration_since(self.waiting_since) >= OVERDUE_AFTER => PAUSE,
            Chores::Waiting => IDLE_AFTER,
            Chores::UnderWay => Duration::ZERO,
            Chores::Again | Chores::Done => LOOK_AGAIN_AFTER,
        }
    }

    pub(super) fn are_done(&self) -> bool {
        self.chores == Chores::Done
    }

    /// Something was written: there is more to do.
    pub(super) fn wait(&mut self, now: Instant) {
        if self.chores == Chores::Done {
            self.waiting_since = now;
        }
        self.chores = Chores::Waiting;
    }

    /// A step was done; where they may not be done now they wait as if for the first time.
    pub(super) fn went(&mut self, chores: Chores, now: Instant) {
        if chores == Chores::Waiting {
            self.waiting_since = now;
        }
        self.chores = chores;
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
        let mut end = Chores::Done;
        match self.read_records() {
            Some(Reading::Unfinished) => return Chores::UnderWay,
            Some(_) => {}
            None => end = Chores::Again,
        }
        for chore in [Writer::give_back, Writer::trim, Writer::look_at_keys] {
            match chore(self) {
                Ok(Chores::UnderWay) => return Chores::UnderWay,
                Ok(_) => {}
                Err(error) => {
                    self.met(&error);
                    end = Chores::Again;
                }
            }
        }
        if std::mem::take(&mut self.is_filled)
            && let Err(error) = self.forget_pages()
        {
            self.met(&error);
        }
        // Whoever copies the file alone has all of it.
        self.folder.wake();
        if self.cut_journal() { end } else { Chores::Again }
    }

    /// Gives some of the file's free pages back to the disk, if there are many.
    fn give_back(&mut self) -> rusqlite::Result<Chores> {
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
    pub(super) fn trim_audit(&mut self) {
        if let Err(error) = self.trim() {
            self.met(&error);
        }
    }

    fn trim(&mut self) -> rusqlite::Result<Chores> {
        if !self.trim.is_due(&self.connection)? {
            return Ok(Chores::Done);
        }
        let step = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            self.trim.step(&transaction)?;
            transaction.commit()?;
            Ok(Chores::UnderWay)
        });
        step.inspect_err(|_| self.trim.sum_anew())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chores_wait_for_a_pause_and_not_for_ever() {
        let begun = Instant::now();
        let mut progress = Progress::new(begun);
        let later = begun + OVERDUE_AFTER;
        // Something is written all the time.
        progress.wait(begun + OVERDUE_AFTER / 2);
        assert_eq!(progress.after(begun + OVERDUE_AFTER / 2), IDLE_AFTER);
        progress.wait(later);
        assert_eq!(progress.after(later), PAUSE);
        // A step is done, and something written before the next one.
        progress.went(Chores::UnderWay, later);
        assert_eq!(progress.after(later), Duration::ZERO);
        progress.wait(later);
        assert_eq!(progress.after(later), PAUSE);
        progress.went(Chores::Done, later);
        assert_eq!(progress.after(later), LOOK_AGAIN_AFTER);
        progress.wait(later);
        assert_eq!(progress.after(later), IDLE_AFTER);
        // While they may not be done, nobody looks all the time whether they may.
        progress.went(Chores::Waiting, later + OVERDUE_AFTER);
        assert_eq!(progress.after(later + OVERDUE_AFTER), IDLE_AFTER);
    }
}
