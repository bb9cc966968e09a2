//! Connections for reading: a few, opened when first needed, lent to one snapshot at a time.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use crate::error::ReadError;
use crate::schema;

/// Connections at once: as many as the engine has marks for states of the journal that are being read. With more of them
/// a newcomer may have to read under an older one's mark, and keeps the journal from being folded past that. Readers are
/// short.
const READERS_MAX: usize = 4;

/// How long a reader waits for one of them.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Readers {
    dir: PathBuf,
    wait_max: Duration,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    pub(crate) fn new(dir: PathBuf, wait_max: Duration) -> Readers {
        Readers { dir, wait_max, state: Mutex::default(), returned: Condvar::new() }
    }

    /// A connection outside of any transaction; give it back with [`Readers::put`].
    pub(crate) fn take(&self) -> Result<Connection, ReadError> {
        let (mut state, wait) = self
            .returned
            .wait_timeout_while(self.lock(), self.wait_max, |state| state.idle.is_empty() && state.open == READERS_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = state.idle.pop() {
            return Ok(connection);
        }
        if wait.timed_out() {
            return Err(ReadError::Busy);
        }
        state.open += 1;
        drop(state);
        schema::open_reader(&self.dir).map_err(|error| {
            self.forget();
            error.into()
        })
    }

    /// Copies a consistent state, without free pages, into the empty file `to`.
    pub(crate) fn vacuum_into(&self, to: &Path) -> Result<(), ReadError> {
        let connection = self.take()?;
        // Not `query_only`, which also forbids to write the other file; nothing is written to ours.
        let copied = connection
            .pragma_update(None, "query_only", false)
            .and_then(|()| connection.execute("VACUUM INTO ?", [to.to_string_lossy()]))
            .and_then(|_| connection.pragma_update(None, "query_only", true));
        match copied {
            Ok(()) => self.put(connection),
            Err(_) => self.forget(),
        }
        Ok(copied?)
    }

    pub(crate) fn put(&self, connection: Connection) {
        self.lock().idle.push(connection);
        self.returned.notify_one();
    }

    /// A connection was taken and will not come back.
    pub(crate) fn forget(&self) {
        self.lock().open -= 1;
        self.returned.notify_one();
    }

    /// A panic elsewhere leaves the counts right: they change in one step each.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_few_and_used_again() {
        let dir = tempfile::tempdir().unwrap();
        drop(schema::open_writer(dir.path()).unwrap());
        let readers = Readers::new(dir.path().to_owned(), Duration::ZERO);
        let mut taken: Vec<Connection> = (0..READERS_MAX).map(|_| readers.take().unwrap()).collect();
        assert!(matches!(readers.take(), Err(ReadError::Busy)));
        readers.put(taken.remove(0));
        taken.push(readers.take().unwrap());
        assert!(matches!(readers.take(), Err(ReadError::Busy)));
        // One that broke makes room for a new one.
        drop(taken.remove(0));
        readers.forget();
        taken.push(readers.take().unwrap());
        assert!(matches!(readers.take(), Err(ReadError::Busy)));
    }

    #[test]
    fn a_connection_that_does_not_open_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let readers = Readers::new(dir.path().join("absent"), Duration::ZERO);
        for _ in 0..=READERS_MAX {
            assert!(matches!(readers.take(), Err(ReadError::Engine(_))));
        }
    }
}
