//! The file: how a connection is opened, and how an older file becomes a newer one.

pub(crate) mod from_1;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::{EngineError, OpenError};
use crate::mend::{self, MendError};
use crate::{audit, log, rebuild};

pub(crate) const FILE: &str = "store.sqlite";

/// The number of the layout, the file's `user_version`. Published layouts never change.
pub(crate) const VERSION: u32 = 4;

/// The layout of a new file. The next one needs a step from this one, as `from_1` is, and
/// a description of its rows in [`crate::layout`].
const LAYOUT: &str = concat!(include_str!("schema/2.sql"), include_str!("schema/3.sql"), include_str!("schema/4.sql"));

/// What schemas 3 and 4 add to those before them.
const FROM_2: &str = include_str!("schema/3.sql");
const FROM_3: &str = include_str!("schema/4.sql");

/// "Brtz": marks the file as ours (`application_id`, bytes 68–71 of the file).
pub(crate) const APPLICATION: i32 = 0x4272_747a;

/// How long a connection waits for a lock: only a backup by a foreign tool or a second process holds one.
pub(crate) const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// Pages that a reading connection keeps, in KiB: the upper levels of the indexes of a million records.
const READER_CACHE_KIB: i64 = 8 * 1024;

/// And the writing one: ids are random, so that a bulk load touches pages all over its indexes.
const WRITER_CACHE_KIB: i64 = 64 * 1024;

/// Free pages can be given back to the disk. Holds for a file that is empty, or from the next VACUUM on.
pub(crate) const GIVE_BACK: &str = "PRAGMA auto_vacuum = INCREMENTAL";

/// Statements kept compiled by each connection: more than there are different ones outside of listings.
const STATEMENTS_MAX: usize = 64;

/// Makes the directory and the file if they are not there, brings the file to the newest schema, and mends it if damage
/// keeps it from being opened.
pub(crate) fn open_writer(dir: &Path) -> Result<Connection, OpenError> {
    let path = dir.join(FILE);
    let not_writable = |source| OpenError::NotWritable { path: path.clone(), source };
    mend::take_place(dir).and_then(|()| create(dir, &path)).map_err(not_writable)?;
    let opened = if mend::is_emptied(dir) {
        Err(OpenError::Corrupt { path: path.clone(), reason: "it is empty, and its journal is not".to_owned() })
    } else {
        open_sound(dir, &path)
    };
    match &opened {
        Ok(Found::OfToday(_)) => {}
        Ok(Found::Older) => tracing::info!("the store is brought to its new layout; a large one takes some seconds"),
        Err(OpenError::Corrupt { reason, .. }) => {
            tracing::error!(reason, "the store's file is damaged: what can be read of it is put into a new one");
        }
        Err(_) => {}
    }
    match opened {
        Ok(Found::OfToday(connection)) => return Ok(connection),
        Err(error) if !matches!(error, OpenError::Corrupt { .. }) => return Err(error),
        Ok(Found::Older) | Err(_) => mend::mend_closed(dir).map_err(|error| refused(&path, error))?.tell(),
    }
    match open_sound(dir, &path)? {
        Found::OfToday(connection) => Ok(connection),
        Found::Older => unreachable!("a file that was just made has the layout of today"),
    }
}

/// A file that opens.
enum Found {
    OfToday(Connection),
    /// Sound or not, it is to be written anew.
    Older,
}

fn open_sound(dir: &Path, path: &Path) -> Result<Found, OpenError> {
    let failed = |error: rusqlite::Error| classify(path, error.into());
    let mut connection = connect(path).map_err(failed)?;
    let found = schema_of(&connection, path)?;
    if found == 1 {
        return Ok(Found::Older);
    }
    set_up(&connection).map_err(failed)?;
    if (2..VERSION).contains(&found) {
        keep_copy(&connection, dir, found);
    }
    bring_up_to_date(&mut connection, found).map_err(failed)?;
    log::head(&connection).and_then(|_| log::epoch(&connection)).map_err(failed)?;
    log::look_at_ends(&connection).map_err(failed)?;
    // What the journal has goes into the file, so that a copy of the file alone is a store from its first moment on.
    let folded = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
    if let Err(error) = folded {
        tracing::warn!(%error, "the store's journal is not folded");
    }
    // The directory's entry of a new file is not durable by the file's own sync.
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| OpenError::NotWritable { path: path.to_owned(), source })?;
    Ok(Found::OfToday(connection))
}

/// Puts a copy of a file of an older layout beside it, which the version that wrote it reads; none if there is no room.
fn keep_copy(connection: &Connection, dir: &Path, found: u32) {
    let folded = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
    let kept = folded.map_err(io::Error::other).and_then(|()| mend::keep_older(dir, found, &dir.join(FILE)));
    if let Err(error) = kept {
        tracing::warn!(%error, "no copy of the store as it was is kept: a way back to the older version needs a backup");
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        connection.execute_batch(GIVE_BACK)?;
    }
    // FULL: in WAL mode each commit is synced before it returns. NORMAL would lose the last ones with the power.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // It would make whoever commits wait: there is a thread for it (`writer/folder.rs`).
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Cut by the writer when nobody waits for it (`writer/journal.rs`), and not by whoever commits next.
    connection.pragma_update(None, "journal_size_limit", -1)
}

/// Makes the tables of today that derive from nothing, in an empty file.
pub(crate) fn lay_out(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(LAYOUT)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// How the file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Beside a writer of the same process.
    Shared,
    /// Beside whoever may write it. What it does not need to change it leaves: the engine would fold and delete the journal
    /// by its name, and another file may have that name by then.
    Visiting,
    /// Without touching the disk, where nobody can write. What is in the journal alone is not seen.
    Frozen,
}

pub(crate) fn open_reader(dir: &Path, access: Access) -> rusqlite::Result<Connection> {
    let path = dir.join(FILE);
    let connection = match access {
        Access::Shared => connect(&path)?,
        Access::Visiting => {
            let connection = connect(&path)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection
        }
        Access::Frozen => {
            let connection = open_frozen(&path)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
            connection
        }
    };
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// For copying the journal into the file, beside the writer.
pub(crate) fn open_folder(dir: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(&dir.join(FILE))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Reads a file that nobody writes, as it is.
pub(crate) fn open_frozen(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}

/// How a file can be read that cannot be opened for writing; none if it cannot be read either, or is no store of today.
pub(crate) fn readable(dir: &Path) -> Option<Access> {
    [Access::Visiting, Access::Frozen].into_iter().find(|access| {
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

/// The number of the layout, 0 of an empty file. What is not ours, or newer, is refused before anything of it is touched.
fn schema_of(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let failed = |error: rusqlite::Error| classify(path, error.into());
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(failed);
    let (application, version) = (number("application_id")?, number("user_version")?.unsigned_abs());
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(failed)?;
    match (application, tables) {
        (APPLICATION, _) if version > VERSION => Err(refused(path, MendError::Newer(version))),
        (APPLICATION, _) => Ok(version),
        (0, 0) => Ok(0),
        _ => Err(refused(path, MendError::Foreign)),
    }
}

fn bring_up_to_date(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match found {
        0 => lay_out(&transaction)?,
        2 | 3 => {
            if found == 2 {
                transaction.execute_batch(FROM_2)?;
            }
            transaction.execute_batch(FROM_3)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        _ => {}
    }
    if !rebuild::is_current(&transaction)? {
        rebuild::make(&transaction)?;
    }
    // With the listings: they say whose the zones are.
    if found == 2 {
        tracing::info!("the audit is made of the store's log");
        audit::from_log(&transaction)?;
    }
    transaction.commit()
}

fn refused(path: &Path, error: MendError) -> OpenError {
    match error {
        MendError::Newer(found) => OpenError::NewerSchema { found, supported: VERSION },
        error if error.may_pass() => {
            let needed = mend::room(path.parent().unwrap_or(path));
            OpenError::NotMended { path: path.to_owned(), reason: error.to_string(), needed }
        }
        error => OpenError::Corrupt { path: path.to_owned(), reason: error.to_string() },
    }
}

fn classify(path: &Path, source: EngineError) -> OpenError {
    let path = path.to_owned();
    match source.code() {
        _ if source.is_damage() => OpenError::Corrupt { path, reason: source.to_string() },
        // What is read when a file is opened is there in every store.
        None | Some(ErrorCode::Unknown) => OpenError::Corrupt { path, reason: source.to_string() },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            OpenError::NotWritable { path, source: io::Error::other(source) }
        }
        _ => OpenError::Engine { path, source },
    }
}
