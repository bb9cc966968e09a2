//! How a reader goes on behind a damaged page.
//!
//! A damaged page of the table of objects hides a few of them, or some thousand if it is an inner one. The engine stops at
//! it; we ask for the ids behind it one by one until it answers again.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, ErrorCode, OptionalExtension, ffi};
use tokio::sync::watch;

use crate::condition::Condition;
use crate::kind::Kind;

/// What is wrong with the file: readers note what they meet, the writer mends it and says how it stands.
#[derive(Default)]
pub(crate) struct Damage {
    /// Somebody met some that is not mended yet.
    met: AtomicBool,
    is_mending: AtomicBool,
    condition: watch::Sender<Condition>,
}

impl Damage {
    pub(crate) fn new(condition: Condition) -> Damage {
        Damage { condition: watch::Sender::new(condition), ..Damage::default() }
    }

    pub(crate) fn note(&self) {
        self.met.store(true, Ordering::Relaxed);
    }

    /// Whether somebody met some since this was asked last.
    pub(crate) fn take(&self) -> bool {
        self.met.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Says how it stands; `change` tells whether that is news.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Condition) -> bool) {
        self.condition.send_if_modified(change);
    }

    /// Why damage stays. None: it is mended, or will be in a moment.
    pub(crate) fn stays(&self) -> Option<Arc<str>> {
        self.condition.borrow().damaged.clone()
    }

    /// Whether nothing is written because the file is being mended.
    pub(crate) fn is_mending(&self) -> bool {
        self.is_mending.load(Ordering::Relaxed)
    }

    pub(crate) fn while_mending<T>(&self, mend: impl FnOnce() -> T) -> T {
        self.is_mending.store(true, Ordering::Relaxed);
        let done = mend();
        self.is_mending.store(false, Ordering::Relaxed);
        done
    }
}

/// Whether an error comes from what is in the file, or from a part of the disk that cannot be read.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    let Some(error) = error.sqlite_error() else { return false };
    matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        || matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS
        )
}

/// The next object behind an id in the order of the table.
pub(crate) struct Next {
    /// None: there are no more.
    pub(crate) id: Option<i64>,
    /// Ids in front of it of which nobody can say whether there are objects.
    pub(crate) lost: Option<RangeInclusive<i64>>,
}

pub(crate) fn next(connection: &Connection, after: i64) -> rusqlite::Result<Next> {
    let found = connection
        .prepare_cached("SELECT id FROM object WHERE id > ? ORDER BY id LIMIT 1")?
        .query_row([after], |row| row.get(0))
        .optional();
    match found {
        Ok(id) => Ok(Next { id, lost: None }),
        Err(error) if is_damage(&error) => probe(connection, after),
        Err(error) => Err(error),
    }
}

fn probe(connection: &Connection, after: i64) -> rusqlite::Result<Next> {
    let last = last_id(connection)?;
    let mut there = connection.prepare_cached("SELECT 1 FROM object WHERE id = ?")?;
    let mut lost: Option<RangeInclusive<i64>> = None;
    for id in after.max(0) + 1..=last {
        match there.query_row([id], |_| Ok(())).optional() {
            Ok(Some(())) => return Ok(Next { id: Some(id), lost }),
            Ok(None) => {}
            Err(error) if is_damage(&error) => lost = Some(lost.map_or(id, |lost| *lost.start())..=id),
            Err(error) => return Err(error),
        }
    }
    Ok(Next { id: None, lost })
}

/// The last id, from the table or from the index that has all ids too.
pub(crate) fn last_id(connection: &Connection) -> rusqlite::Result<i64> {
    let of_table = connection.query_row("SELECT id FROM object ORDER BY id DESC LIMIT 1", (), |row| row.get(0));
    match of_table {
        Err(error) if is_damage(&error) => {
            let sql = "SELECT id FROM object INDEXED BY object_kind WHERE kind = ? ORDER BY id DESC LIMIT 1";
            let mut select = connection.prepare_cached(sql)?;
            let mut last = 0;
            for kind in Kind::ALL {
                last = last.max(select.query_row([kind.code()], |row| row.get(0)).optional()?.unwrap_or(0));
            }
            Ok(last)
        }
        other => other,
    }
}
