//! A whole copy of a store, in a file of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{EngineError, ReadError};
use crate::schema;
use crate::store::Store;

impl Store {
    /// Writes a whole copy of now to the new file `to`, readable by this user only. A store opens it as `store.sqlite`.
    pub fn backup(&self, to: &Path) -> Result<(), BackupError> {
        if to.exists() {
            return Err(BackupError::Exists { path: to.to_owned() });
        }
        let failed = |source: io::Error| BackupError::NotWritable { path: to.to_owned(), source };
        // SQLite takes names as UTF-8.
        let name = to.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        let partial = PathBuf::from(format!("{name}.partial"));
        let copied = self.copy(&partial, &failed).and_then(|()| place(&partial, to).map_err(failed));
        if copied.is_err() {
            // The reason is already known; a file that cannot be removed adds nothing to it.
            let _ = fs::remove_file(&partial);
        }
        copied
    }

    /// Makes the file `partial` a copy, in place of what an earlier attempt may have left there.
    fn copy(&self, partial: &Path, failed: &dyn Fn(io::Error) -> BackupError) -> Result<(), BackupError> {
        if partial.exists() {
            fs::remove_file(partial).map_err(failed)?;
        }
        // SQLite fills an empty file; one that we made has the right mode from its first byte.
        schema::create_private(partial).map_err(failed)?;
        self.vacuum_into(partial).map_err(|error| BackupError::Read(error.into()))?;
        File::open(partial).and_then(|file| file.sync_all()).map_err(failed)
    }

    /// Copies a consistent state, without free pages, into the empty file `to`. On a connection of its own: it takes long.
    fn vacuum_into(&self, to: &Path) -> Result<(), EngineError> {
        let connection = self.reader()?;
        // `query_only` also forbids to write the other file; nothing is written to ours.
        connection.pragma_update(None, "query_only", false)?;
        connection.execute("VACUUM INTO ?", [to.to_string_lossy()])?;
        Ok(())
    }
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
    #[error(transparent)]
    Read(ReadError),
}
