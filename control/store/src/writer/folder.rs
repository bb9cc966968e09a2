//! Copies what the journal has into the file, beside those who commit: none of them waits for it.
//!
//! The engine would do it inside of a commit, and whoever made that would wait for some ten megabytes to reach the disk. When
//! all of the journal is in the file and nobody reads from it, the next change begins it anew ([`super::journal`] sees to
//! it that this moment comes).

use std::cell::Cell;
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use bartizan_quotas::Rarely;
use rusqlite::Connection;

use crate::damage::{self, Damage};
use crate::schema;

/// Pages of 4 KiB in the journal from which on it is copied: less often for pages that change time and again, and still read
/// through in a moment when the process comes back after a kill.
const COPIED_AT_PAGES: c_int = 8192;

/// Looks in a row. What is committed during one is copied by the next, which has less to do.
const LOOKS: usize = 3;

/// The thread that copies.
pub(crate) struct Folder {
    /// None only while dropping.
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

thread_local! {
    /// Pages in the journal after the last commit of this thread.
    static PAGES: Cell<c_int> = const { Cell::new(0) };
}

impl Folder {
    /// `file` is the store's, to be open for as long as a connection of this process is.
    pub(crate) fn start(dir: &Path, file: Arc<File>, damage: Arc<Damage>) -> io::Result<Folder> {
        let (wake, woken) = mpsc::sync_channel(1);
        let dir = dir.to_owned();
        let thread = thread::Builder::new().name("store-folder".to_owned()).spawn(move || {
            work(&dir, &woken, &damage);
            drop(file);
        })?;
        Ok(Folder { wake: Some(wake), thread: Some(thread) })
    }

    /// Lets commits of this thread by `connection` tell how large the journal is, instead of copying it.
    pub(super) fn watch(connection: &Connection) {
        connection.wal_hook(Some(|_, pages| {
            PAGES.set(pages);
            Ok(())
        }));
    }

    /// Has the journal copied if it is large.
    pub(super) fn wake_if_large(&self) {
        if PAGES.get() >= COPIED_AT_PAGES {
            self.wake();
        }
    }

    /// Has it copied, and does not wait for it.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Where it is asked for already, it is done once.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Until nobody can ask any more.
fn work(dir: &Path, woken: &Receiver<()>, damage: &Damage) {
    let mut connection = None;
    while woken.recv().is_ok() {
        if let Err(error) = copy(dir, &mut connection) {
            if damage::is_damage(&error) {
                damage.note();
                continue;
            }
            static FAILED: Rarely = Rarely::new();
            if let Some(times) = FAILED.turn() {
                let remedy = "see what `bartizan doctor` says of its disk";
                tracing::warn!(%error, times, remedy, "the store's journal cannot be copied into its file");
            }
        }
    }
}

fn copy(dir: &Path, kept: &mut Option<Connection>) -> rusqlite::Result<()> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(schema::open_folder(dir)?),
    };
    for _ in 0..LOOKS {
        let (pages, copied): (i64, i64) =
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| Ok((row.get(1)?, row.get(2)?)))?;
        if copied >= pages {
            break;
        }
    }
    Ok(())
}
