//! The file: how a connection is opened, and how an older file becomes a newer one.

mod from_1;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::{EngineError, OpenError};
use crate::rebuild::{self, Old};

pub(crate) const FILE: &str = "store.sqlite";

/// The number of the layout, the file's `user_version`. Published layouts never change.
const VERSION: u32 = 2;

/// The layout of a new file. The next one needs a step from this one, as `from_1` is.
const LAYOUT: &str = include_str!("schema/2.sql");

/// "Brtz": marks the file as ours (`application_id`, bytes 68–71 of the file).
const APPLICATION: i32 = 0x4272_747a;

/// How long a connection waits for a lock: only a backup by a foreign tool or a second process holds one.
pub(crate) const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// Pages that a reading connection keeps, in KiB: the upper levels of the indexes of a million records.
const READER_CACHE_KIB: i64 = 8 * 1024;

/// And the writing one: ids are random, so that a bulk load touches pages all over its indexes.
const WRITER_CACHE_KIB: i64 = 64 * 1024;

/// Pages of 4 KiB in the journal after which it is folded into the file: fewer folds of pages that change time and again,
/// and still read through in a moment when the process comes back after a kill.
const CHECKPOINT_PAGES: i64 = 8192;

/// Free pages can be given back to the disk. Holds for a file that is empty, or from the next VACUUM on.
const GIVE_BACK: &str = "PRAGMA auto_vacuum = INCREMENTAL";

/// Statements kept compiled by each connection: more than there are different ones outside of listings.
const STATEMENTS_MAX: usize = 64;

/// Makes the directory and the file if they are not there, and brings the file to the newest schema.
pub(crate) fn open_writer(dir: &Path) -> Result<Connection, OpenError> {
    let path = dir.join(FILE);
    create(dir, &path).map_err(|source| OpenError::NotWritable { path: path.clone(), source })?;
    let failed = |error: rusqlite::Error| classify(&path, error.into());
    let mut connection = connect(&path).map_err(failed)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(failed)?;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).map_err(failed)?;
    if pages == 0 {
        connection.execute_batch(GIVE_BACK).map_err(failed)?;
    }
    // FULL: in WAL mode each commit is synced before it returns. NORMAL would lose the last ones with the power.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(failed)?;
    // A bulk load must not leave a file of its size behind.
    connection.pragma_update(None, "journal_size_limit", 64 << 20).map_err(failed)?;
    keep_copy(&connection, &path)?;
    if migrate(&mut connection, &path)? == Migrated::Rewritten {
        // The old layout's pages are free now. That they stay is no reason not to start.
        if let Err(error) = connection.execute_batch(GIVE_BACK).and_then(|()| connection.execute_batch("VACUUM")) {
            tracing::warn!(%error, "the store's file keeps its size");
        }
    }
    // What the journal has goes into the file, so that a copy of the file alone is a store from its first moment on.
    let folded = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
    if let Err(error) = folded {
        tracing::warn!(%error, "the store's journal is not folded");
    }
    // The directory's entry of a new file is not durable by the file's own sync.
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| OpenError::NotWritable { path, source })?;
    Ok(connection)
}

/// How the file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Beside a writer.
    Shared,
    /// Without touching the disk, where nobody can write. What is in the journal alone is not seen.
    Frozen,
}

pub(crate) fn open_reader(dir: &Path, access: Access) -> Result<Connection, EngineError> {
    let path = dir.join(FILE);
    let connection = match access {
        Access::Shared => connect(&path)?,
        Access::Frozen => {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
            connection
        }
    };
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// How a file can be read that cannot be opened for writing; none if it cannot be read either, or is no store of today.
pub(crate) fn readable(dir: &Path) -> Option<Access> {
    [Access::Shared, Access::Frozen].into_iter().find(|access| {
        open_reader(dir, *access).is_ok_and(|connection| {
            let version: rusqlite::Result<u32> = connection.pragma_query_value(None, "user_version", |row| row.get(0));
            version.is_ok_and(|version| version == VERSION) && rebuild::is_current(&connection).unwrap_or(false)
        })
    })
}

fn create(dir: &Path, file: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    create_private(file)
}

/// An empty file for us alone, if there is none: documents hold sealed secrets and hashes. SQLite gives its journal the
/// same mode.
pub(crate) fn create_private(file: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file).map(drop)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(LOCK_WAIT_MAX)?;
    // A build of SQLite may have either default.
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// What a migration did to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Migrated {
    /// Nothing, or it had little to do.
    Kept,
    /// All of it was written anew.
    Rewritten,
}

/// Puts a copy of a file of an older layout beside it: the version that wrote it does not read what becomes of it.
fn keep_copy(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| classify(path, error.into());
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0)).map_err(failed);
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application != APPLICATION.unsigned_abs() || version == 0 || version >= VERSION {
        return Ok(());
    }
    let copy = path.with_extension(format!("schema-{version}.sqlite"));
    // One that is there was made by a start that did not come to its end, or before a way back.
    if copy.exists() {
        return Ok(());
    }
    let refused = |source| OpenError::NotWritable { path: copy.clone(), source };
    let half = copy.with_extension("new");
    match fs::remove_file(&half) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
        _ => {}
    }
    create_private(&half).map_err(refused)?;
    connection.execute("VACUUM INTO ?", [half.to_string_lossy()]).map_err(failed)?;
    File::open(&half).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&half, &copy)).map_err(refused)?;
    tracing::info!(copy = %copy.display(), "the store as it was is kept: put it back to return to the older version");
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<Migrated, OpenError> {
    let failed = |error: rusqlite::Error| classify(path, error.into());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let number = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(failed);
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(failed)?;
    let found = match (application, tables) {
        (APPLICATION, _) => version.unsigned_abs(),
        (0, 0) => 0,
        _ => return Err(OpenError::Corrupt { path: path.to_owned(), reason: "another program's database".to_owned() }),
    };
    match found {
        0 => transaction.execute_batch(LAYOUT).map_err(failed)?,
        1 => from_1::migrate(&transaction, LAYOUT).map_err(failed)?,
        VERSION if rebuild::is_current(&transaction).map_err(failed)? => return Ok(Migrated::Kept),
        VERSION => {}
        _ => return Err(OpenError::NewerSchema { found, supported: VERSION }),
    }
    rebuild::rebuild_within(&transaction, Old::Dropped).map_err(failed)?;
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
    transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(if found == 1 { Migrated::Rewritten } else { Migrated::Kept })
}

fn classify(path: &Path, source: EngineError) -> OpenError {
    let path = path.to_owned();
    match source.code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Corrupt { path, reason: source.to_string() }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            OpenError::NotWritable { path, source: io::Error::other(source) }
        }
        _ => OpenError::Engine { path, source },
    }
}
