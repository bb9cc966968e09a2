//! A whole copy of a store, in a file of its own, and a store that begins with such a copy.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use crate::change::{Epoch, Rev};
use crate::error::{EngineError, OpenError, ReadError};
use crate::kind::Kind;
use crate::log;
use crate::readers::{Purpose, Readers};
use crate::schema::{self, Access};
use crate::snapshot::Snapshot;
use crate::state_hash::Part;
use crate::store::Store;

/// What is in a store, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub epoch: Epoch,
    pub head: Rev,
    pub objects: u64,
    pub zones: u64,
    /// Kinds and zones whose objects are not those that were committed.
    pub wrong: Vec<Part>,
}

impl Store {
    /// Writes a whole copy of now to the new file `to`, readable by this user only. A store opens it as `store.sqlite`.
    pub fn backup(&self, to: &Path) -> Result<(), BackupError> {
        backup(to, || self.reader())
    }

    /// The same of the store in `dir`, be it in use or not. Changes go on; the journal grows meanwhile.
    pub fn backup_of(dir: &Path, to: &Path) -> Result<(), BackupError> {
        let access = schema::readable(dir).ok_or_else(|| BackupError::None { path: dir.join(schema::FILE) })?;
        if access == Access::Frozen && bytes(&dir.join(JOURNAL)) > 0 {
            return Err(BackupError::Unreadable { path: dir.join(JOURNAL) });
        }
        backup(to, || schema::open_reader(dir, access))
    }

    /// Room that a copy of the store in `dir` takes, at most, in bytes.
    pub fn room_to_copy(dir: &Path) -> u64 {
        // What is in the journal may be more pages than the file has.
        bytes(&dir.join(schema::FILE)) + bytes(&dir.join(JOURNAL))
    }

    /// Reads all objects of the store in `dir`, which nobody uses, and says what is in it. None if there is no store of
    /// this version.
    pub fn contents(dir: &Path) -> Result<Option<Contents>, ReadError> {
        let Some(access) = schema::readable(dir) else { return Ok(None) };
        let readers = Readers::new(dir.to_owned(), access, Purpose::State, Arc::default());
        let snapshot = Snapshot::open(Arc::new(readers))?;
        let (objects, zones) = snapshot.counts(Kind::Zone)?;
        let (epoch, head) = (snapshot.epoch()?, snapshot.head());
        Ok(Some(Contents { epoch, head, objects, zones, wrong: snapshot.wrong_parts()? }))
    }

    /// Makes the copy in `dir` a store of its own, that of a machine which comes in place of another: its log is another one
    /// from here on, so that whoever followed the old one reads everything anew. Brings an older layout to that of today.
    pub fn begin_epoch(dir: &Path) -> Result<Rev, OpenError> {
        let connection = schema::open_writer(dir)?;
        let engine =
            |source: rusqlite::Error| OpenError::Engine { path: dir.join(schema::FILE), source: source.into() };
        log::begin_epoch(&connection).map_err(engine)?;
        let head = log::head(&connection).map_err(engine)?;
        // Closing folds the journal into the file and removes it.
        connection.close().map_err(|(_, error)| engine(error))?;
        Ok(head)
    }
}

/// Beside the file, as the engine calls it.
const JOURNAL: &str = "store.sqlite-wal";

fn bytes(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |file| file.len())
}

/// Makes the new file `to` of what a reader of the store reads.
fn backup(to: &Path, reader: impl FnOnce() -> rusqlite::Result<Connection>) -> Result<(), BackupError> {
    if to.exists() {
        return Err(BackupError::Exists { path: to.to_owned() });
    }
    let failed = |source: io::Error| BackupError::NotWritable { path: to.to_owned(), source };
    // SQLite takes names as UTF-8.
    let name = to.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    let partial = PathBuf::from(format!("{name}.partial"));
    let copied = copy(reader, &partial, &failed).and_then(|()| place(&partial, to).map_err(failed));
    if copied.is_err() {
        // The reason is already known; a file that cannot be removed adds nothing to it.
        let _ = fs::remove_file(&partial);
    }
    copied
}

/// Makes the file `partial` a copy, in place of what an earlier attempt may have left there.
fn copy(
    reader: impl FnOnce() -> rusqlite::Result<Connection>,
    partial: &Path,
    failed: &dyn Fn(io::Error) -> BackupError,
) -> Result<(), BackupError> {
    if partial.exists() {
        fs::remove_file(partial).map_err(failed)?;
    }
    // SQLite fills an empty file; one that we made has the right mode from its first byte.
    schema::create_private(partial).map_err(failed)?;
    vacuum_into(reader, partial).map_err(|error| BackupError::Read(error.into()))?;
    File::open(partial).and_then(|file| file.sync_all()).map_err(failed)
}

/// Copies a consistent state, without free pages, into the empty file `to`. On a connection of its own: it takes long.
fn vacuum_into(reader: impl FnOnce() -> rusqlite::Result<Connection>, to: &Path) -> Result<(), EngineError> {
    let connection = reader()?;
    // `query_only` also forbids to write the other file; nothing is written to ours.
    connection.pragma_update(None, "query_only", false)?;
    connection.execute("VACUUM INTO ?", [to.to_string_lossy()])?;
    Ok(())
}

/// Gives the whole copy its name, durably.
fn place(partial: &Path, to: &Path) -> io::Result<()> {
    fs::rename(partial, to)?;
    // The parent of a bare name is empty, which `open` does not take for the current directory.
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// No copy was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{} is already there; name a new file", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}; choose a place that this user may write to and that has room", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("there is no store of this version in {}; start the edge once, which brings an older one to its layout", path.display())]
    None { path: PathBuf },
    #[error("{} cannot be read by this user, and the newest changes are there; run this as the user of the edge", path.display())]
    Unreadable { path: PathBuf },
    #[error(transparent)]
    Read(ReadError),
}
