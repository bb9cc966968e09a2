//! When a damaged file is mended without being asked, and what is told of it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Writer;
use crate::error::CommitError;
use crate::log;
use crate::lost::Lost;
use crate::mend::{self, MendError, Mended, Occasion};

/// How often a file is mended, for as long as a process runs: a disk that damages it time and again is not helped by more.
const MENDS_MAX: u32 = 3;

/// Rests behind an attempt that failed for lack of room or the like. Each costs as much as reading all of the file.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(600);

/// Damage that was met, and what is to come of it.
pub(crate) struct Attempts {
    /// Times that it may still be mended.
    left: u32,
    /// Damage was met, be it mended by now.
    pub(super) met: bool,
    /// It is not mended yet.
    waits: bool,
    rest: Duration,
    not_before: Option<Instant>,
}

impl Attempts {
    pub(crate) const fn new() -> Attempts {
        Attempts { left: MENDS_MAX, met: false, waits: false, rest: REST_MIN, not_before: None }
    }

    pub(super) fn note(&mut self) {
        (self.met, self.waits) = (true, true);
    }

    /// What became of one.
    fn made(&mut self, made: Result<Occasion, &MendError>) {
        match made {
            Ok(Occasion::Request) => *self = Attempts { met: self.met, ..Attempts::new() },
            Ok(Occasion::Need) => {
                *self = Attempts { left: self.left.saturating_sub(1), met: self.met, ..Attempts::new() }
            }
            Err(error) if error.may_pass() => {
                self.not_before = Some(Instant::now() + self.rest);
                self.rest = (self.rest * 2).min(REST_MAX);
            }
            Err(_) => (self.left, self.waits) = (self.left.saturating_sub(1), false),
        }
    }
}

/// Whether an attempt waits for the end of the rest behind the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    InTurn,
    AtOnce,
}

impl Writer {
    /// Mends what was met.
    pub(super) fn settle(&mut self, urgency: Urgency) -> bool {
        if self.damage.take() {
            self.attempts.note();
        }
        self.attempts.waits && self.mend_by_itself(urgency)
    }

    /// Mends the file because damage was met, unless that was done too often or not long ago. True if it is mended.
    pub(super) fn mend_by_itself(&mut self, urgency: Urgency) -> bool {
        if self.attempts.left == 0 {
            self.attempts.waits = false;
            let damaged = format!("damage was met again after {MENDS_MAX} attempts to mend it");
            self.damage.change(|known| {
                let news = known.damaged.is_none();
                known.damaged.get_or_insert(damaged.into());
                news
            });
            return false;
        }
        match urgency {
            Urgency::InTurn if self.attempts.not_before.is_some_and(|then| Instant::now() < then) => return false,
            Urgency::InTurn => {}
            // Somebody waits for it, and may have made room.
            Urgency::AtOnce => self.attempts.rest = REST_MIN,
        }
        tracing::error!("the store's file is damaged: what can be read of it is put into a new one");
        self.mend(Occasion::Need).is_ok()
    }

    pub(super) fn mend(&mut self, occasion: Occasion) -> Result<Mended, CommitError> {
        let done = self.damage.while_mending(|| {
            let done = mend::mend(&mut self.connection, &self.file, &self.dir, occasion)?;
            // What readers met is mended with the rest.
            self.damage.take();
            Ok(done)
        });
        let done = done.and_then(|done| {
            self.look_again()?;
            Ok(done)
        });
        self.attempts.made(done.as_ref().map(|_| occasion));
        let done = done.map_err(|error| self.reason(&error));
        self.damage.change(|known| {
            match &done {
                Ok(done) => {
                    known.damaged = None;
                    known.lost = if occasion == Occasion::Need { done.lost.clone() } else { Lost::default() };
                    if occasion == Occasion::Request {
                        (known.strangers, known.gone) = (0, 0);
                    }
                }
                Err(reason) => known.damaged = Some(reason.as_str().into()),
            }
            true
        });
        match done {
            Ok(done) => {
                done.tell();
                Ok(done)
            }
            Err(reason) => {
                tracing::error!(reason, "the store's file is damaged");
                Err(CommitError::NotMended { reason: reason.into() })
            }
        }
    }

    fn reason(&self, error: &MendError) -> String {
        if !error.may_pass() {
            return format!("it could not be mended: {error}");
        }
        let needed = mend::room(&self.dir).div_ceil(1 << 20);
        format!("it could not be mended: {error}; up to {needed} MiB of room are needed, and it is tried again")
    }

    /// Another log may have begun.
    fn look_again(&mut self) -> rusqlite::Result<()> {
        self.connection.flush_prepared_statement_cache();
        self.trim.sum_anew();
        self.epoch.store(log::epoch(&self.connection)?.0, Ordering::Relaxed);
        let head = log::head(&self.connection)?;
        self.high_water.tell(log::epoch(&self.connection)?, head);
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
        Ok(())
    }
}
