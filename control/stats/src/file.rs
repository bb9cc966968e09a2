//! The file: stretches of zones by time. It is apart from the store's, so that neither keeps the other waiting, and a backup
//! of what is wished is small.
//!
//! What is in it can be lost: a file that is damaged is set aside, and a new one begun.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan_analytics::Segment;
use bartizan_names::ZoneId;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, params};

use crate::tier::Tier;

/// The file, in the data directory.
pub const FILE: &str = "stats.db";

/// Where a damaged one goes, in place of one that did so before.
pub const ASIDE: &str = "stats.db.damaged";

/// Where a version before put one that was of a time that had not come. It is left where it is.
pub const AHEAD: &str = "stats.db.ahead";

/// Whose file it is, and in which layout.
const APPLICATION: i32 = 0x6261_7274; // "bart"
const LAYOUT: i32 = 2;

/// Of which the tables are the same, and segments without a head: they are read as they are. Who writes them does not read ours.
const LAYOUT_BEFORE: i32 = 1;

const TABLES: &str = "
    CREATE TABLE segments (
        kind INTEGER NOT NULL,
        zone BLOB NOT NULL,
        tier INTEGER NOT NULL,
        start INTEGER NOT NULL,
        totals BLOB NOT NULL,
        detail BLOB NOT NULL,
        PRIMARY KEY (kind, zone, tier, start)
    );
    CREATE INDEX segments_by_time ON segments (kind, tier, start, zone);
    CREATE TABLE merged (
        kind INTEGER NOT NULL,
        tier INTEGER NOT NULL,
        start INTEGER NOT NULL,
        zone BLOB NOT NULL,
        PRIMARY KEY (kind, tier)
    );
";

/// How long a call waits for another one of this process.
const BUSY: Duration = Duration::from_secs(5);

/// What is kept as it is: it would not get shorter.
const SHORT: usize = 128;

/// What a stretch has that is large, in octets: some hundred names. Those of a zone that few ask for are far below it.
const LARGE: usize = 4 << 10;

/// What a segment has at most before it is packed. Damage must not ask for more.
const SEGMENT_BYTES_MAX: usize = 16 << 20;

const PLAIN: u8 = 0;
const PACKED: u8 = 1;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{0}")]
    Engine(#[from] rusqlite::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Or one of a newer version.
    #[error("{0} is no file of these statistics, or one of a newer version")]
    Foreign(PathBuf),
}

impl FileError {
    /// Whether the file is to be set aside.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            FileError::Foreign(_) => true,
            FileError::Io(_) => false,
            FileError::Engine(error) => {
                matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
        }
    }
}

/// What keeps the file from being written, as far as somebody has to do something else about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritable {
    Full,
    Forbidden,
    /// The folder is not there.
    Missing,
    /// There is something else in its place.
    NoFile,
    Otherwise,
}

impl FileError {
    pub(crate) fn unwritable(&self) -> Unwritable {
        match self {
            FileError::Foreign(_) => Unwritable::Otherwise,
            FileError::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Unwritable::Full,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Unwritable::Forbidden,
                io::ErrorKind::NotFound => Unwritable::Missing,
                io::ErrorKind::IsADirectory => Unwritable::NoFile,
                _ => Unwritable::Otherwise,
            },
            FileError::Engine(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Unwritable::Full,
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                    Unwritable::Forbidden
                }
                _ => Unwritable::Otherwise,
            },
        }
    }
}

/// The file, for the one who writes it.
pub(crate) struct File {
    connection: Connection,
}

/// A row: a stretch of a zone.
pub(crate) struct Row {
    pub(crate) zone: ZoneId,
    pub(crate) start: u64,
    /// None if it cannot be read.
    pub(crate) segment: Option<Segment>,
}

/// Until where stretches of a tier are merged into longer ones: up to this zone in this stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) start: u64,
    pub(crate) zone: ZoneId,
}

impl Cursor {
    pub(crate) const BEGIN: Cursor = Cursor { start: 0, zone: ZoneId::from_bytes([0; 16]) };

    /// Behind all that begins before that time.
    const fn before(at: u64) -> Cursor {
        Cursor { start: at.saturating_sub(1), zone: ZoneId::from_bytes([0xff; 16]) }
    }

    /// Whether the stretch of a zone is merged.
    pub(crate) fn is_past(&self, start: u64, zone: ZoneId) -> bool {
        (start, zone.as_bytes()) <= (self.start, self.zone.as_bytes())
    }

    fn min(self, other: Cursor) -> Cursor {
        if other.is_past(self.start, self.zone) { self } else { other }
    }
}

impl File {
    pub(crate) fn open(dir: &Path) -> Result<File, FileError> {
        let path = dir.join(FILE);
        // What was asked is nobody else's business. The engine makes the files beside it alike.
        fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let connection = Connection::open(&path)?;
        connection.busy_timeout(BUSY)?;
        // Before a file that is no one of ours is written to.
        let version: i32 = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
        let application: i32 = connection.query_row("PRAGMA application_id", (), |row| row.get(0))?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
        match (application, version, tables) {
            (APPLICATION, LAYOUT, _) => {}
            (APPLICATION, LAYOUT_BEFORE, _) => connection.pragma_update(None, "user_version", LAYOUT)?,
            (0, 0, 0) => {
                connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
                connection.pragma_update(None, "journal_mode", "WAL")?;
                let make = format!(
                    "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {LAYOUT}; COMMIT;"
                );
                connection.execute_batch(&make)?;
            }
            _ => return Err(FileError::Foreign(path)),
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // The last second may go with the power; the file stays whole.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -8_192)?;
        Ok(File { connection })
    }

    pub(crate) fn begin(&mut self) -> Result<Writing<'_>, FileError> {
        Ok(Writing(self.connection.transaction()?))
    }

    /// Rows of a tier behind the cursor, of stretches that begin before `until`.
    pub(crate) fn behind(
        &self,
        kind: u8,
        tier: Tier,
        cursor: Cursor,
        until: u64,
        max: usize,
    ) -> Result<Vec<Row>, FileError> {
        let mut query = self.connection.prepare_cached(
            "SELECT zone, start, detail FROM segments INDEXED BY segments_by_time
             WHERE kind = ?1 AND tier = ?2 AND (start, zone) > (?3, ?4) AND start < ?5 ORDER BY start, zone LIMIT ?6",
        )?;
        let given = params![kind, tier as u8, sql(cursor.start), cursor.zone.as_bytes(), sql(until), sql(max as u64)];
        let rows = query.query_map(given, |row| {
            let detail: Vec<u8> = row.get(2)?;
            let segment = unpacked(&detail).and_then(|bytes| Segment::decode(&bytes).ok());
            Ok(Row { zone: ZoneId::from_bytes(row.get(0)?), start: number(row, 1)?, segment })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether there is any stretch of that time.
    pub(crate) fn has(&self, kind: u8, tier: Tier, start: u64) -> Result<bool, FileError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT 1 FROM segments WHERE kind = ?1 AND tier = ?2 AND start = ?3 LIMIT 1")?;
        Ok(query.exists(params![kind, tier as u8, sql(start)])?)
    }

    pub(crate) fn cursor(&self, kind: u8, tier: Tier) -> Result<Cursor, FileError> {
        let mut query =
            self.connection.prepare_cached("SELECT start, zone FROM merged WHERE kind = ?1 AND tier = ?2")?;
        let found = query.query_row(params![kind, tier as u8], |row| {
            Ok(Cursor { start: number(row, 0)?, zone: ZoneId::from_bytes(row.get(1)?) })
        });
        Ok(found.optional()?.unwrap_or(Cursor::BEGIN))
    }

    /// Octets that are used.
    pub(crate) fn bytes(&self) -> Result<u64, FileError> {
        let of = |pragma: &str| self.connection.query_row(pragma, (), |row| number(row, 0));
        let pages = of("PRAGMA page_count")?.saturating_sub(of("PRAGMA freelist_count")?);
        Ok(pages * of("PRAGMA page_size")?)
    }

    /// Gives free pages back to the disk, a few at a time.
    pub(crate) fn give_back(&self) -> Result<(), FileError> {
        let mut query = self.connection.prepare("PRAGMA incremental_vacuum(256)")?;
        let mut rows = query.query(())?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    /// Deletes stretches that began before `before`, the oldest first, so many at most. Gives how many.
    pub(crate) fn forget(&self, kind: u8, tier: Tier, before: u64, max: usize) -> Result<usize, FileError> {
        let mut delete = self.connection.prepare_cached(
            "DELETE FROM segments WHERE rowid IN (SELECT rowid FROM segments INDEXED BY segments_by_time
             WHERE kind = ?1 AND tier = ?2 AND start < ?3 ORDER BY start LIMIT ?4)",
        )?;
        Ok(delete.execute(params![kind, tier as u8, sql(before), sql(max as u64)])?)
    }

    /// Takes the names out of large stretches that begin in that time, the oldest first, of so many at most. Gives of how many.
    pub(crate) fn thin(
        &self,
        kind: u8,
        tier: Tier,
        (since, before): (u64, u64),
        max: usize,
    ) -> Result<usize, FileError> {
        let mut thin = self.connection.prepare_cached(
            "UPDATE segments SET detail = totals WHERE rowid IN (SELECT rowid FROM segments INDEXED BY segments_by_time
             WHERE kind = ?1 AND tier = ?2 AND start >= ?3 AND start < ?4
             AND length(detail) > ?5 AND length(detail) > 2 * length(totals) ORDER BY start LIMIT ?6)",
        )?;
        Ok(thin.execute(params![kind, tier as u8, sql(since), sql(before), LARGE as i64, sql(max as u64)])?)
    }

    /// Goes back behind what was merged of times that have not come; `minute` is the one that it is. Stretches of those times
    /// stay for when they come, and are merged then. What they were merged into is made anew from what is shorter.
    pub(crate) fn turn_back(&mut self, kind: u8, minute: u64) -> Result<(), FileError> {
        let [minutes, hours] = [self.cursor(kind, Tier::Minute)?, self.cursor(kind, Tier::Hour)?];
        let (hour, day) = (Tier::Hour.begin(minute), Tier::Day.begin(minute));
        let is_merged = self.has(kind, Tier::Minute, minute)?;
        let first_hour = self.first(kind, Tier::Minute, minute, minutes.start)?.map(|start| Tier::Hour.begin(start));
        let first_day = match self.first(kind, Tier::Hour, hour, hours.start)? {
            _ if first_hour == Some(hour) && hours.start >= hour => Some(day),
            first => first.map(|start| Tier::Day.begin(start)),
        };
        let minutes = minutes.min(match first_hour {
            Some(first) if first == hour => Cursor::before(hour),
            // What is in its hour does not change any more.
            _ => Cursor::before(minute + u64::from(is_merged)),
        });
        let hours = hours.min(Cursor::before(if first_day == Some(day) { day } else { hour + 1 }));
        let writing = self.begin()?;
        for (tier, first) in [(Tier::Hour, first_hour), (Tier::Day, first_day)] {
            let Some(first) = first else { continue };
            let delete = "DELETE FROM segments WHERE kind = ?1 AND tier = ?2 AND start >= ?3";
            writing.0.execute(delete, params![kind, tier as u8, sql(first)])?;
        }
        writing.set_cursor(kind, Tier::Minute, minutes)?;
        writing.set_cursor(kind, Tier::Hour, hours)?;
        writing.commit()
    }

    /// The first stretch after that time, up to another one.
    fn first(&self, kind: u8, tier: Tier, after: u64, until: u64) -> Result<Option<u64>, FileError> {
        let mut query = self.connection.prepare(
            "SELECT start FROM segments INDEXED BY segments_by_time
             WHERE kind = ?1 AND tier = ?2 AND start > ?3 AND start <= ?4 ORDER BY start LIMIT 1",
        )?;
        let found = query.query_row(params![kind, tier as u8, sql(after), sql(until)], |row| number(row, 0));
        Ok(found.optional()?)
    }
}

/// Changes that are made together.
pub(crate) struct Writing<'f>(Transaction<'f>);

impl Writing<'_> {
    pub(crate) fn put(
        &self,
        kind: u8,
        zone: ZoneId,
        tier: Tier,
        start: u64,
        segment: &Segment,
    ) -> Result<(), FileError> {
        let mut put = self.0.prepare_cached(
            "INSERT OR REPLACE INTO segments (kind, zone, tier, start, totals, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let (totals, detail) = (packed(&segment.totals().encode()), packed(&segment.encode()));
        put.execute(params![kind, zone.as_bytes(), tier as u8, sql(start), totals, detail])?;
        Ok(())
    }

    /// The stretch of a zone, if it is there and can be read.
    pub(crate) fn segment(&self, kind: u8, zone: ZoneId, tier: Tier, start: u64) -> Result<Option<Segment>, FileError> {
        segment(&self.0, kind, zone, tier, start)
    }

    pub(crate) fn set_cursor(&self, kind: u8, tier: Tier, cursor: Cursor) -> Result<(), FileError> {
        let mut put =
            self.0.prepare_cached("INSERT OR REPLACE INTO merged (kind, tier, start, zone) VALUES (?1, ?2, ?3, ?4)")?;
        put.execute(params![kind, tier as u8, sql(cursor.start), cursor.zone.as_bytes()])?;
        Ok(())
    }

    pub(crate) fn commit(self) -> Result<(), FileError> {
        Ok(self.0.commit()?)
    }
}

/// The file, for one question.
pub(crate) struct Reading(Connection);

impl Reading {
    pub(crate) fn open(dir: &Path) -> Result<Reading, FileError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(dir.join(FILE), flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(Reading(connection))
    }

    /// Tells each stretch of a zone, with or without names, until `each` says that it is enough.
    pub(crate) fn each(
        &self,
        (kind, zone, tier): (u8, ZoneId, Tier),
        (since, until): (u64, u64),
        names: bool,
        mut each: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), FileError> {
        let column = if names { "detail" } else { "totals" };
        let mut query = self.0.prepare(&format!(
            "SELECT start, {column} FROM segments
             WHERE kind = ?1 AND zone = ?2 AND tier = ?3 AND start >= ?4 AND start < ?5 ORDER BY start"
        ))?;
        let mut rows = query.query(params![kind, zone.as_bytes(), tier as u8, sql(since), sql(until)])?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            // One that cannot be read is left out.
            if let Some(bytes) = unpacked(bytes)
                && !each(number(row, 0)?, &bytes)
            {
                break;
            }
        }
        Ok(())
    }
}

pub(crate) fn set_aside(dir: &Path) -> io::Result<()> {
    rename(dir, ASIDE)
}

/// Renames the file, and deletes what belongs to it alone.
fn rename(dir: &Path, to: &str) -> io::Result<()> {
    for beside in ["-wal", "-shm"] {
        match fs::remove_file(dir.join(format!("{FILE}{beside}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(dir.join(FILE), dir.join(to))
}

fn segment(
    connection: &Connection,
    kind: u8,
    zone: ZoneId,
    tier: Tier,
    start: u64,
) -> Result<Option<Segment>, FileError> {
    let mut query = connection
        .prepare_cached("SELECT detail FROM segments WHERE kind = ?1 AND zone = ?2 AND tier = ?3 AND start = ?4")?;
    let found: Option<Vec<u8>> =
        query.query_row(params![kind, zone.as_bytes(), tier as u8, sql(start)], |row| row.get(0)).optional()?;
    Ok(found.and_then(|bytes| Segment::decode(&unpacked(&bytes)?).ok()))
}

/// As the engine has numbers.
fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// None of ours is less than nothing.
fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default())
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() < SHORT {
        return [&[PLAIN], bytes].concat();
    }
    [&[PACKED][..], &lz4_flex::compress_prepend_size(bytes)].concat()
}

/// None if it cannot be read.
fn unpacked(bytes: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    match bytes.split_first()? {
        (&PLAIN, plain) => Some(plain.into()),
        (&PACKED, packed) => {
            let len = u32::from_le_bytes(*packed.first_chunk()?);
            if len as usize > SEGMENT_BYTES_MAX {
                return None;
            }
            lz4_flex::decompress_size_prepended(packed).ok().map(Into::into)
        }
        _ => None,
    }
}
