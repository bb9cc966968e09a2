//! What can go wrong, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ErrorCode;

use crate::change::{Guard, Rev};
use crate::damage::is_damage;
use crate::key::Key;
use crate::readers::LISTING_BUDGET;
use crate::state_hash::Part;

/// The database engine failed: a full disk, a damaged file, a lock held by another process.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct EngineError(Arc<rusqlite::Error>);

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> EngineError {
        EngineError(Arc::new(error))
    }
}

impl EngineError {
    /// The disk has no room for what was to be written. What is there can still be read.
    pub fn is_disk_full(&self) -> bool {
        self.code() == Some(ErrorCode::DiskFull)
    }

    /// The file itself is not as it was written, or cannot be read.
    pub fn is_damage(&self) -> bool {
        is_damage(&self.0)
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        self.0.sqlite_error_code()
    }
}

/// The store cannot be opened. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot write {}; let this user write to its directory, or choose another data directory", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error(
        "the store has schema {found} and this version knows {supported} at most; install the newer version that wrote it, or restore a backup made before it (a copy of the older store may be beside it, as store.schema-{supported}.sqlite)"
    )]
    NewerSchema { found: u32, supported: u32 },
    #[error("{} is damaged or not a store ({reason}); restore a backup to a new directory (`bartizan restore FILE --data DIR`), or begin anew in one", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error(
        "{} is damaged or of an older layout, and cannot be written anew ({reason}); let this user write to its directory, and make room there: up to {} MiB are needed", path.display(), needed.div_ceil(1 << 20)
    )]
    NotMended { path: PathBuf, reason: String, needed: u64 },
    #[error("cannot open {}; see that its disk has room and that no other process holds it", path.display())]
    Engine { path: PathBuf, source: EngineError },
}

impl OpenError {
    /// Whether the file may be read all the same.
    pub(crate) fn is_of_writing(&self) -> bool {
        match self {
            OpenError::NotWritable { .. } | OpenError::NotMended { .. } => true,
            OpenError::Engine { source, .. } => {
                matches!(source.code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
            }
            OpenError::NewerSchema { .. } | OpenError::Corrupt { .. } => false,
        }
    }
}

/// A change set did not land.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else changed what the caller looked at.
    #[error("{} is not as expected any more", guard.key())]
    Conflict { guard: Guard },
    #[error("{size} {what} where {max} is the most")]
    TooLarge { what: &'static str, size: usize, max: usize },
    /// The document lacks a field that its listing needs: a mistake of the caller.
    #[error("the document of {key} cannot be listed: {reason}")]
    Malformed { key: Key, reason: String },
    /// A change that does not follow what this copy has: ask for those between, or for the state.
    #[error("the copy has revision {head}, and this is not the next")]
    Gap { head: Rev },
    /// Of another log than this copy is of, or of a format that this version does not know: take the state again.
    #[error("this is of another log")]
    Foreign,
    /// A state that did not come whole.
    #[error("{part} is not what was announced")]
    Differs { part: Part },
    #[error("the state broke off: {0}")]
    BrokeOff(#[source] ReadError),
    #[error("the store is closed")]
    Closed,
    /// It could not be opened for writing, for this reason.
    #[error("the store is open for reading only: {reason}")]
    ReadOnly { reason: Arc<str> },
    /// The file is damaged and stays so.
    #[error("the store is damaged: {reason}")]
    NotMended { reason: Arc<str> },
    /// Its turn did not come in time, and nothing of it is done.
    #[error("the store was busy for {} s{}", waited.as_secs(), if *is_mending { ": its file is being mended" } else { "" })]
    Waited { waited: Duration, is_mending: bool },
    #[error("the store cannot write")]
    Engine(#[from] EngineError),
}

/// The state cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Every connection is taken and none came back in time.
    #[error("too many readers at once")]
    Busy,
    /// A listing that would keep others waiting was given up.
    #[error("this takes longer than {} ms; ask for less of it", budget.as_millis())]
    TooSlow { budget: Duration },
    /// A part of the file is damaged, or the disk does not give it. It is mended, unless it stays so for this reason.
    #[error("the store is damaged")]
    Damaged { stays: Option<Arc<str>>, source: EngineError },
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    #[error("the store cannot read")]
    Engine(#[from] EngineError),
}

impl ReadError {
    /// Whether it is about what was to be read, and not about reading: to try again is in vain, and something else may
    /// well be readable.
    pub fn is_damage(&self) -> bool {
        match self {
            ReadError::Busy | ReadError::TooSlow { .. } => false,
            ReadError::Unreadable(_) | ReadError::Corrupt(_) | ReadError::Damaged { .. } => true,
            ReadError::Engine(error) => error.is_damage(),
        }
    }
}

/// An object that is there and cannot be read. It takes nobody else with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} cannot be read: {reason}")]
pub struct Unreadable {
    /// As far as it can be told.
    pub key: String,
    pub reason: String,
    pub blame: Blame,
}

/// Whose fault it is that an object cannot be read, and so where to look for what mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The disk, or a program that wrote into the file: what is there is not what was committed.
    Disk,
    /// It is not there any more.
    Damage,
    /// Its key or its format is of another version.
    Version,
    /// It is what was committed, and makes no sense.
    Document,
    /// It is sealed by another key than this edge has.
    Seal,
}

/// The change log does not have what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TailError {
    /// Take a full state again.
    #[error("the log begins at revision {oldest}")]
    Compacted { oldest: Rev },
    /// The asker knows more than we do: this store is an older copy.
    #[error("the log ends at revision {head}")]
    Ahead { head: Rev },
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> CommitError {
        CommitError::Engine(error.into())
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> ReadError {
        match error.sqlite_error_code() {
            // Only listings are interrupted.
            Some(ErrorCode::OperationInterrupted) => ReadError::TooSlow { budget: LISTING_BUDGET },
            _ if is_damage(&error) => ReadError::Damaged { stays: None, source: error.into() },
            _ => ReadError::Engine(error.into()),
        }
    }
}

impl From<rusqlite::Error> for TailError {
    fn from(error: rusqlite::Error) -> TailError {
        TailError::Read(error.into())
    }
}
