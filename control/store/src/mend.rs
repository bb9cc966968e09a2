//! Mending a file with damaged pages: all that can be read of it goes into a new file, whose pages then take the place of
//! the old ones in one transaction.
//!
//! ```text
//! store.sqlite ── page by page ──► store.damaged.sqlite ── salvage ──► store.mended.sqlite ─┐
//!      ▲                           (stays if something is lost)        (sound)              │
//!      └────────────────────── page by page, in one transaction ◄──────────────────────────┘
//! ```
//! One way for every page but the first, without which the engine opens nothing, and for wrong bytes only: a sector that
//! cannot be read, or a file that was cut off, ends it. Whether a page is of objects, of an index, of the schema or of what
//! the engine keeps for itself makes no difference. Who reads meanwhile keeps what they see, and a crash on the way leaves
//! the file as it was. It takes as long as copying the file and making the listings anew, and the room of two more copies.
//!
//! What is taken over, and from where, is told in [`crate::salvage`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::lost::Lost;
use crate::pages::{Pages, PagesError};
use crate::salvage::Salvage;
use crate::schema;

/// Beside the store's own file.
const DAMAGED: &str = "store.damaged.sqlite";
const MENDED: &str = "store.mended.sqlite";
const SET_ASIDE: &str = "store.set-aside.jsonl";

/// Why a file is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Damage was met, or the layout is an older one. What is lost is remembered in the file.
    Need,
    /// A person asked for it, and is told the outcome: what is lost, now or since earlier, need not be remembered any more.
    /// Objects whose keys are none of this version leave the store for a file beside it; a newer version would know them.
    Request,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// What is gone, now or since earlier damage.
    pub lost: Lost,
    /// Objects that were taken from the log.
    pub restored: u64,
    /// Objects without a key of this version that left the store.
    pub set_aside: u64,
    /// Files that are beside the store for a person to look at: the store as it was, if something of it is lost, and what
    /// was set aside.
    pub beside: Vec<PathBuf>,
}

impl Mended {
    /// Says it in the log.
    pub(crate) fn tell(&self) {
        let Mended { lost, restored, .. } = self;
        if lost.is_empty() {
            tracing::info!(restored, "the store's file is mended: nothing is lost");
        } else {
            tracing::error!(%lost, restored, "the store's file is mended, and objects are lost");
        }
    }
}

/// The file could not be mended; it is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MendError {
    #[error("nothing of it can be read")]
    Nothing,
    #[error(transparent)]
    Engine(#[from] rusqlite::Error),
    #[error(transparent)]
    File(#[from] io::Error),
}

impl From<PagesError> for MendError {
    fn from(error: PagesError) -> MendError {
        match error {
            PagesError::File(error) => MendError::File(error),
            PagesError::Taker(error) => MendError::Engine(error),
        }
    }
}

/// Mends the file of `connection`, which lies in `dir`. The connection sees the new state at once, others from their next
/// transaction on.
pub(crate) fn mend(connection: &mut Connection, dir: &Path, occasion: Occasion) -> Result<Mended, MendError> {
    let (damaged, mended) = (dir.join(DAMAGED), dir.join(MENDED));
    let aside = match occasion {
        Occasion::Need => None,
        Occasion::Request => Some(dir.join(SET_ASIDE)),
    };
    let done = by_way_of(connection, &damaged, &mended, aside.as_deref());
    let keeps_damaged = done.as_ref().is_ok_and(|done| done.beside.contains(&damaged));
    for file in [Some(&mended), Some(&damaged).filter(|_| !keeps_damaged)].into_iter().flatten() {
        // What stays is made anew by the next attempt.
        let _ = fs::remove_file(file);
    }
    done
}

fn by_way_of(
    connection: &mut Connection,
    damaged: &Path,
    mended: &Path,
    aside: Option<&Path>,
) -> Result<Mended, MendError> {
    copy_pages(connection, damaged)?;
    let pages = Pages::open(damaged)?.filter(|pages| pages.application_id() == schema::APPLICATION.unsigned_abs());
    let pages = pages.ok_or(MendError::Nothing)?;
    let new = scratch(mended)?;
    new.pragma_update(None, "page_size", pages.page_bytes())?;
    // As it was: connections that are open know no other.
    new.pragma_update(None, "auto_vacuum", pages.auto_vacuum())?;
    new.execute_batch("BEGIN")?;
    schema::lay_out(&new)?;
    let old = schema::open_frozen(damaged)?;
    let before = Lost::of_file(&old);
    let mut done = Salvage::new(old, pages, &new)?.run(aside)?;
    if !done.lost.is_empty() {
        done.beside.push(damaged.to_owned());
    }
    done.lost.join(before);
    if aside.is_none() {
        done.lost.write(&new)?;
    }
    new.execute_batch("COMMIT")?;
    put_pages(&new, connection)?;
    Ok(done)
}

/// Copies the pages of a file, damaged or not, into the new file `to`.
pub(crate) fn copy_pages(from: &Connection, to: &Path) -> Result<(), MendError> {
    put_pages(from, &mut scratch(to)?)
}

fn put_pages(from: &Connection, to: &mut Connection) -> Result<(), MendError> {
    match Backup::new(from, to)?.step(-1)? {
        StepResult::Done => Ok(()),
        // Somebody else writes.
        _ => Err(MendError::File(io::ErrorKind::ResourceBusy.into())),
    }
}

/// A new file that need not outlive a crash.
fn scratch(path: &Path) -> Result<Connection, MendError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    schema::create_private(path)?;
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    Ok(connection)
}
