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
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use bartizan_quotas::Rarely;
use rusqlite::Connection;

use crate::damage::{self, Damage};
use crate::schema;

/// Pages of 4 KiB in the journal from which on it is copied: less often for pages that change time and again, and still read
/// through in a moment when the process comes back after a kill.
const COPIED_AT_PAGES: c_int = 8192;

/// And pages that it has more than were copied, before that is done again: a copy is a sync of the file, for which the disk
/// lets commits wait. What is folded by force has less than this left to copy.
const COPIED_AGAIN_AT_PAGES: c_int = 1024;

/// Looks in a row. What is committed during one is copied by the next, which has less to do.
const LOOKS: usize = 3;

/// The thread that copies.
pub(crate) struct Folder {
    /// None only while dropping.
    wake: Option<SyncSender<()>>,
    /// Pages of the journal that were copied, when that was done last.
    copied: Arc<AtomicI32>,
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
        let (dir, copied) = (dir.to_owned(), Arc::<AtomicI32>::default());
        let told = Arc::clone(&copied);
        let thread = thread::Builder::new().name("store-folder".to_owned()).spawn(move || {
            work(&dir, &woken, &told, &damage);
            drop(file);
        })?;
        Ok(Folder { wake: Some(wake), copied, thread: Some(thread) })
    }

    /// Lets commits of this thread by `connection` tell how large the journal is, instead of copying it.
    pub(super) fn watch(connection: &Connection) {
        connection.wal_hook(Some(|_, pages| {
            PAGES.set(pages);
            Ok(())
        }));
    }

    /// Has the journal copied if it is large, and has much that was not.
    pub(super) fn wake_if_large(&self) {
        let pages = PAGES.get();
        // What was copied of a journal that began anew since says nothing.
        let copied = Some(self.copied.load(Ordering::Relaxed)).filter(|copied| *copied <= pages).unwrap_or(0);
        if pages >= COPIED_AT_PAGES && pages - copied >= COPIED_AGAIN_AT_PAGES {
            self.wake();
        }
    }

    /// Pages of the journal that the commits of this thread wrote since it began anew.
    pub(super) fn journal_pages() -> u64 {
        PAGES.get().max(0).cast_unsigned().into()
    }

    /// It begins anew with the next commit.
    pub(super) fn journal_begins_anew() {
        PAGES.set(0);
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
fn work(dir: &Path, woken: &Receiver<()>, copied: &AtomicI32, damage: &Damage) {
    let mut connection = None;
    while woken.recv().is_ok() {
        let pages = copy(dir, &mut connection);
        copied.store(*pages.as_ref().unwrap_or(&0), Ordering::Relaxed);
        if let Err(error) = pages {
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

/// How many pages of the journal are in the file by then.
fn copy(dir: &Path, kept: &mut Option<Connection>) -> rusqlite::Result<i32> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(schema::open_folder(dir)?),
    };
    let mut in_file = 0;
    for _ in 0..LOOKS {
        let (pages, copied): (i32, i32) =
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| Ok((row.get(1)?, row.get(2)?)))?;
        in_file = copied;
        if copied >= pages {
            break;
        }
    }
    Ok(in_file)
}
