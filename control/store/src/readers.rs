//! Connections for reading: a few, opened when first needed, lent to one snapshot at a time.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bartizan_net::{read_ahead, thread_time};
use rusqlite::Connection;

use crate::damage::Damage;
use crate::error::ReadError;
use crate::gate::Gate;
use crate::query::Anchors;
use crate::schema::{self, Access};

/// Connections at once: as many as the engine has marks for states of the journal that are being read. With more of them
/// a newcomer may have to read under an older one's mark, and keeps the journal from being folded past that. These readers
/// are short, and those for listings, which come on top, have their time limited.
const READERS_MAX: usize = 4;

/// Connections for listings, which may take long, and as many for searches: so few that they leave processors to others.
const LISTING_READERS_MAX: usize = 2;

/// How long a reader waits for one of them.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a listing may take on a processor: several times what a search in a zone of a million records does.
pub(crate) const LISTING_BUDGET: Duration = Duration::from_secs(2);

/// And altogether, where others need the processors more: the journal grows for as long as somebody looks at an old state.
const LISTING_MAX: Duration = Duration::from_secs(10);

/// Instructions of the engine between two looks at the clock: some tens of microseconds.
const BUDGET_STEP: i32 = 10_000;

/// What is read, and so how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Single objects, or all of them at a start: publish, login, writes.
    State,
    /// Pages that people ask for.
    Listing,
    /// Those of them for which many rows are looked at.
    Search,
}

impl Purpose {
    /// Whether it has an end to its time.
    const fn is_limited(self) -> bool {
        !matches!(self, Purpose::State)
    }
}

pub(crate) struct Readers {
    dir: PathBuf,
    access: Access,
    purpose: Purpose,
    wait_max: Duration,
    state: Mutex<State>,
    returned: Condvar,
    pub(crate) damage: Arc<Damage>,
    /// Those who look for long pass it first.
    gate: Arc<Gate>,
    file: Weak<File>,
    /// Where pages of lists ended.
    pub(crate) anchors: Anchors,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    pub(crate) fn new(dir: PathBuf, access: Access, purpose: Purpose, damage: Arc<Damage>) -> Readers {
        let (state, returned, gate, anchors) = (Mutex::default(), Condvar::new(), Arc::default(), Anchors::default());
        Readers { dir, access, purpose, wait_max: WAIT_MAX, state, returned, damage, gate, file: Weak::new(), anchors }
    }

    /// The same behind a gate that the writer closes.
    pub(crate) fn behind(self, gate: Arc<Gate>) -> Readers {
        Readers { gate, ..self }
    }

    /// With the file that they read, which the store holds open: to open and close it here would give up the engine's locks.
    pub(crate) fn of_file(self, file: Option<&Arc<File>>) -> Readers {
        Readers { file: file.map(Arc::downgrade).unwrap_or_default(), ..self }
    }

    /// How long the file is, if that is known.
    pub(crate) fn file_bytes(&self) -> Option<u64> {
        Some(self.file.upgrade()?.metadata().ok()?.len())
    }

    /// Lets the disk read a part of the file ahead. If it does not, all is as it should be, but slower.
    pub(crate) fn read_ahead(&self, part: Range<u64>) {
        if let Some(file) = self.file.upgrade() {
            let _ = read_ahead(&file, part);
        }
    }

    const fn open_max(&self) -> usize {
        match self.purpose {
            Purpose::State => READERS_MAX,
            Purpose::Listing | Purpose::Search => LISTING_READERS_MAX,
        }
    }

    /// A connection outside of any transaction; give it back with [`Readers::put`].
    pub(crate) fn take(&self) -> Result<Connection, ReadError> {
        if self.purpose.is_limited() {
            self.gate.pass();
        }
        let (mut state, wait) = self
            .returned
            .wait_timeout_while(self.lock(), self.wait_max, |state| {
                state.idle.is_empty() && state.open == self.open_max()
            })
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = state.idle.pop() {
            drop(state);
            return self.limit(connection);
        }
        if wait.timed_out() {
            return Err(ReadError::Busy);
        }
        state.open += 1;
        drop(state);
        match schema::open_reader(&self.dir, self.access) {
            Ok(connection) => self.limit(connection),
            Err(error) => {
                self.forget();
                Err(self.met(error.into()))
            }
        }
    }

    /// Opens them all now: where nothing can be written, this process may be about to lose the right to read.
    pub(crate) fn open_all(&self) {
        let opened: Vec<Connection> = (0..self.open_max()).map_while(|_| self.take().ok()).collect();
        for connection in opened {
            // Files beside the first are opened by a first read.
            let read: rusqlite::Result<u32> = connection.pragma_query_value(None, "user_version", |row| row.get(0));
            match read {
                Ok(_) => self.put(connection),
                Err(_) => self.forget(),
            }
        }
    }

    /// Has damage mended that a reader met, and says in its error if that cannot be.
    pub(crate) fn met(&self, error: ReadError) -> ReadError {
        match error {
            ReadError::Damaged { source, .. } => {
                self.damage.note();
                ReadError::Damaged { stays: self.damage.stays(), source }
            }
            error => error,
        }
    }

    /// Begins the time that a listing may take.
    fn limit(&self, connection: Connection) -> Result<Connection, ReadError> {
        if self.purpose.is_limited() {
            let (end, end_of_time) = (thread_time() + LISTING_BUDGET, Instant::now() + LISTING_MAX);
            let is_over = move || thread_time() > end || Instant::now() > end_of_time;
            connection.progress_handler(BUDGET_STEP, Some(is_over))?;
        }
        Ok(connection)
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
    use std::path::Path;

    use super::*;

    fn readers(dir: &Path, purpose: Purpose) -> Readers {
        Readers { wait_max: Duration::ZERO, ..Readers::new(dir.to_owned(), Access::Shared, purpose, Arc::default()) }
    }

    #[test]
    fn connections_are_few_and_used_again() {
        let dir = tempfile::tempdir().unwrap();
        drop(schema::open_writer(dir.path()).unwrap());
        let readers = readers(dir.path(), Purpose::State);
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

    /// A question that has no end, asked as a search would be.
    #[test]
    fn a_listing_that_takes_too_long_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        drop(schema::open_writer(dir.path()).unwrap());
        let readers = readers(dir.path(), Purpose::Listing);
        let connection = readers.take().unwrap();
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let endless = connection.query_row(sql, (), |row| row.get::<_, i64>(0));
        assert!(matches!(ReadError::from(endless.unwrap_err()), ReadError::TooSlow { .. }));
        // The next one has its own time.
        readers.put(connection);
        let connection = readers.take().unwrap();
        assert_eq!(connection.query_row("SELECT 1", (), |row| row.get::<_, i64>(0)), Ok(1));
    }

    #[test]
    fn a_connection_that_does_not_open_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let readers = readers(&dir.path().join("absent"), Purpose::State);
        for _ in 0..=READERS_MAX {
            assert!(matches!(readers.take(), Err(ReadError::Engine(_))));
        }
    }
}
