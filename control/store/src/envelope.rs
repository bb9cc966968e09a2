//! What a log is made of, and how each copy finds out what becomes of it.
//!
//! A log is an order of envelopes, and nothing else is agreed on between those who have a copy. Whether a change set of
//! them lands follows from the envelope and from the copy as it is when its turn comes ([`decide`]): whoever has the same
//! copy comes to the same verdict, whatever the clock says and whoever asked.

use rusqlite::Connection;

use crate::change::{Change, ChangeSet, Epoch, Guard, Rev};
use crate::error::{CommitError, ReadError, TailError};
use crate::key::Filter;
use crate::{log, tables};

/// A change set on its way into a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The format of the change set. Every copy refuses one that it does not know.
    pub format: u16,
    /// The log that it is meant for.
    pub epoch: Epoch,
    pub set: ChangeSet,
}

impl Envelope {
    /// The one format that there is.
    pub const FORMAT: u16 = 1;

    pub fn new(epoch: Epoch, set: ChangeSet) -> Envelope {
        Envelope { format: Envelope::FORMAT, epoch, set }
    }
}

/// What becomes of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It landed as this revision.
    Landed(Rev),
    /// The same request landed before, as this revision.
    Earlier(Rev),
    /// This guard does not hold.
    Broken(Guard),
    /// It is meant for another log, or of a format that nobody knows here.
    Foreign,
}

impl Verdict {
    /// The revision in which the request is in force.
    pub fn rev(self) -> Result<Rev, CommitError> {
        match self {
            Verdict::Landed(rev) | Verdict::Earlier(rev) => Ok(rev),
            Verdict::Broken(guard) => Err(CommitError::Conflict { guard }),
            Verdict::Foreign => Err(CommitError::Foreign),
        }
    }
}

/// What becomes of an envelope in a copy whose newest revision is `head`. The one place that decides.
pub(crate) fn decide(copy: &Connection, head: Rev, envelope: &Envelope) -> rusqlite::Result<Verdict> {
    if envelope.format != Envelope::FORMAT || envelope.epoch != log::epoch(copy)? {
        return Ok(Verdict::Foreign);
    }
    if let Some(rev) = tables::revision_of(copy, &envelope.set.meta.request_id)? {
        return Ok(Verdict::Earlier(rev));
    }
    Ok(match tables::broken(copy, &envelope.set.guards)? {
        Some(guard) => Verdict::Broken(guard.clone()),
        None => Verdict::Landed(head.next()),
    })
}

/// How much of a log is wanted at once. One change is always given, however large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub changes: usize,
    /// Of operations as they are stored.
    pub bytes: usize,
}

/// An ordered log of envelopes, with a copy that shows what became of them.
pub trait Log {
    /// Puts the envelope in its place in the log, and returns what became of it when that is durable.
    fn append(&self, envelope: Envelope) -> Result<Verdict, CommitError>;

    /// The changes behind a revision, in order and without a gap. What of them does not pass the filter is left out; a
    /// change of which nothing is left stays, so that revisions are dense.
    fn tail(&self, after: Rev, filter: &Filter, budget: Budget) -> Result<Vec<Change>, TailError>;

    /// The log, and the newest revision of it.
    fn head(&self) -> Result<(Epoch, Rev), ReadError>;
}
