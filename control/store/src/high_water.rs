//! How far the log had come, told beside the file and its journal.
//!
//! A journal ends where a frame of it cannot be read: what stands behind is taken for something that was never committed,
//! though it was acknowledged. The engine cannot tell the two apart; a number in another file can. It is written after each
//! commit without a sync, so that no commit waits for it: it may be behind after the power was cut, and is never ahead of
//! what was durable. A file that is put back from a copy is told of in the same way, and it is the same to those who follow:
//! what they saw is gone, and another epoch begins in which no revision is given twice.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::change::{Epoch, Rev};
use crate::log;
use crate::tables::signed;

/// In the store's directory.
pub(crate) const FILE: &str = "store.head";

/// The epoch and the newest revision, big-endian.
const BYTES: usize = 16;

/// In which row of the table `about` it is kept how many changes are gone.
const WHAT: &str = "changes gone";

/// The file beside the store. None of it if it cannot be opened: then nothing is noticed.
pub(crate) struct HighWater(Option<File>);

impl HighWater {
    pub(crate) fn open(dir: &Path) -> HighWater {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(FILE));
        HighWater(file.inspect_err(|error| tracing::warn!(%error, "{FILE} cannot be written")).ok())
    }

    /// What was told last. An empty file, or a torn one, tells nothing.
    fn read(&self) -> Option<(Epoch, Rev)> {
        let mut bytes = [0; BYTES];
        self.0.as_ref()?.read_exact_at(&mut bytes, 0).ok()?;
        let (epoch, rev) = bytes.split_first_chunk::<8>()?;
        Some((Epoch(u64::from_be_bytes(*epoch)), Rev(u64::from_be_bytes(rev.try_into().ok()?))))
    }

    pub(crate) fn tell(&self, epoch: Epoch, head: Rev) {
        let Some(file) = &self.0 else { return };
        let mut bytes = [0; BYTES];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&epoch.0.to_be_bytes());
        second.copy_from_slice(&head.0.to_be_bytes());
        let written: io::Result<()> = file.write_all_at(&bytes, 0);
        if let Err(error) = written {
            tracing::debug!(%error, "{FILE} is not written");
        }
    }

    /// Compares the log of a store that was just opened with what was told, and begins another epoch behind both if its end
    /// is gone.
    pub(crate) fn compare(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let (epoch, head) = (log::epoch(connection)?, log::head(connection)?);
        let gone = match self.read() {
            Some((told_epoch, told)) if told_epoch == epoch => told.0.saturating_sub(head.0),
            _ => 0,
        };
        if gone > 0 {
            tracing::error!(
                gone,
                head = head.0,
                "changes that were acknowledged are not in the store's file any more: the end of its journal is gone, or an \
                 older file was put in its place"
            );
            let next = Rev(head.0.saturating_add(gone)).next();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            log::put_head(&transaction, next)?;
            log::begin_epoch(&transaction)?;
            let before = self::gone(&transaction)?;
            transaction.execute(
                "INSERT OR REPLACE INTO about VALUES (?, ?)",
                params![WHAT, before.saturating_add(gone).to_string()],
            )?;
            transaction.commit()?;
        }
        self.tell(log::epoch(connection)?, log::head(connection)?);
        Ok(())
    }
}

/// Changes that were acknowledged and are gone, since the file was made anew.
pub(crate) fn gone(connection: &Connection) -> rusqlite::Result<u64> {
    let text: Option<String> =
        connection.query_row("SELECT text FROM about WHERE what = ?", [WHAT], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Keeps in the new file what the old one knew of it.
pub(crate) fn keep_gone(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    // An old file that cannot say it is read as if there were nothing.
    match gone(old).unwrap_or(0) {
        0 => Ok(()),
        gone => {
            new.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", params![WHAT, signed(gone).to_string()]).map(drop)
        }
    }
}
