//! Mending a damaged file: all that can be read of it goes into a new one, which takes its place.
//!
//! ```text
//! store.sqlite, its journal ── page by page ──► store.damaged.sqlite ── salvage ──► store.mended.sqlite ─┐
//!      ▲                                        (stays if something is lost)        (sound)              │
//!      └───────── page by page, in one transaction; or as a whole, while nobody has it open ────────────┘
//! ```
//! One way for every page, whether it is of objects, of an index, of the schema or of what the engine keeps for itself, and
//! for all that can befall it: wrong bytes, a sector that cannot be read, an end that was cut off. Who reads meanwhile
//! keeps what they see, and a crash on the way leaves the file as it was. It takes as long as copying the file and making
//! the listings anew, and the room that [`room`] says.
//!
//! What is taken over, and from where, is told in [`crate::salvage`].

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::high_water;
use crate::layout::{Layout, Owner};
use crate::lost::Lost;
use crate::pages::{Pages, PagesError};
use crate::raw::{Gap, Raw};
use crate::salvage::Salvage;
use crate::schema;

/// Beside the store's own file.
const DAMAGED: &str = "store.damaged.sqlite";
const MENDED: &str = "store.mended.sqlite";
const SET_ASIDE: &str = "store.set-aside.jsonl";

/// A whole new file that is to take the place of the old one. Once it has this name there is no way back.
const READY: &str = "store.ready.sqlite";

/// What the engine puts behind a file's name for its journal, and for the journal's index.
const JOURNAL: &str = "-wal";
const JOURNAL_INDEX: &str = "-shm";

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
    #[error("another program's database")]
    Foreign,
    #[error("it has schema {0}, of a newer version")]
    Newer(u32),
    #[error(transparent)]
    Engine(#[from] rusqlite::Error),
    #[error(transparent)]
    File(#[from] io::Error),
}

impl MendError {
    /// The disk has no room or is in trouble, or another process is in the way: the next attempt may do.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            MendError::Engine(_) | MendError::File(_) => true,
            MendError::Nothing | MendError::Foreign | MendError::Newer(_) => false,
        }
    }
}

impl From<PagesError> for MendError {
    fn from(error: PagesError) -> MendError {
        match error {
            PagesError::File(error) => MendError::File(error),
            PagesError::Taker(error) => MendError::Engine(error),
        }
    }
}

/// Mends the file of `connection`, which lies in `dir`; `file` is the same one. The connection sees the new state at once,
/// others from their next transaction on.
pub(crate) fn mend(
    connection: &mut Connection,
    file: &File,
    dir: &Path,
    occasion: Occasion,
) -> Result<Mended, MendError> {
    swept(dir, || {
        let raw = Raw::open(file, &journal(dir))?;
        let gaps = copy(&raw, dir)?;
        let (pages, layout) = ours(dir)?;
        let new = scratch(dir)?;
        // As it was: connections that are open know no other.
        for pragma in ["page_size", "auto_vacuum"] {
            let number: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
            new.pragma_update(None, pragma, number)?;
        }
        let aside = Some(dir.join(SET_ASIDE)).filter(|_| occasion == Occasion::Request);
        let done = salvage(dir, pages, layout, &new, aside.as_deref())?;
        raw.fill(&gaps)?;
        put_pages(&new, connection)?;
        Ok(done)
    })
}

/// Mends the file in `dir` while nobody has it open, or brings one of an older layout to that of today. In the latter case
/// a copy stays beside it: the version that wrote it does not read what becomes of it.
pub(crate) fn mend_closed(dir: &Path) -> Result<Mended, MendError> {
    swept(dir, || {
        copy(&Raw::open(&File::open(dir.join(schema::FILE))?, &journal(dir))?, dir)?;
        let (pages, layout) = ours(dir)?;
        keep_older(dir, layout.number, &dir.join(DAMAGED))?;
        let new = scratch(dir)?;
        new.execute_batch(schema::GIVE_BACK)?;
        let done = salvage(dir, pages, layout, &new, None)?;
        new.close().map_err(|(_, error)| error)?;
        let mended = dir.join(MENDED);
        File::open(&mended)?.sync_all()?;
        fs::rename(mended, dir.join(READY))?;
        take_place(dir)?;
        Ok(done)
    })
}

/// Sweeps up what is made on the way, in front of it and behind it.
fn swept(dir: &Path, mend: impl FnOnce() -> Result<Mended, MendError>) -> Result<Mended, MendError> {
    let damaged = dir.join(DAMAGED);
    let remove_damaged = || remove(&damaged).and_then(|()| remove(&beside(&damaged, JOURNAL)));
    remove_damaged()?;
    let done = mend();
    let keeps_damaged = match &done {
        Ok(done) => done.beside.contains(&damaged),
        // It may be the store as it was by now.
        Err(_) => dir.join(READY).exists(),
    };
    // What stays is made anew by the next attempt.
    let _ = remove(&dir.join(MENDED));
    if !keeps_damaged {
        let _ = remove_damaged();
    }
    done
}

/// Whose file was copied.
fn ours(dir: &Path) -> Result<(Pages, &'static Layout), MendError> {
    match Layout::of(&dir.join(DAMAGED))? {
        Owner::Us(pages, layout) => Ok((pages, layout)),
        Owner::Newer(found) => Err(MendError::Newer(found)),
        Owner::Others => Err(MendError::Foreign),
        Owner::Nobody => Err(MendError::Nothing),
    }
}

/// Puts all that can be read of the copy into the file `new`.
fn salvage(
    dir: &Path,
    pages: Pages,
    layout: &'static Layout,
    new: &Connection,
    aside: Option<&Path>,
) -> Result<Mended, MendError> {
    let damaged = dir.join(DAMAGED);
    new.execute_batch("BEGIN")?;
    schema::lay_out(new)?;
    let salvage = Salvage::new(schema::open_frozen(&damaged)?, pages, layout, new)?;
    let before = salvage.lost_before()?;
    let mut done = salvage.run(aside)?;
    if !done.lost.is_empty() {
        done.beside.push(damaged.clone());
    }
    done.lost.join(before);
    if aside.is_none() {
        done.lost.write(new)?;
        high_water::keep_gone(&schema::open_frozen(&damaged)?, new)?;
    }
    new.execute_batch("COMMIT")?;
    Ok(done)
}

/// Puts a new file in place of the old one, if there is one that is ready. A start that was cut off may have done a part of
/// it. The old one is kept as it was: what could not be read of it may be readable on another day.
pub(crate) fn take_place(dir: &Path) -> io::Result<()> {
    let (file, ready) = (dir.join(schema::FILE), dir.join(READY));
    if !ready.exists() {
        return Ok(());
    }
    let sync = || File::open(dir).and_then(|dir| dir.sync_all());
    sync()?;
    for ending in ["", JOURNAL] {
        let (from, to) = (beside(&file, ending), beside(&dir.join(DAMAGED), ending));
        if from.exists() {
            fs::rename(from, to)?;
        }
    }
    remove(&beside(&file, JOURNAL_INDEX))?;
    // A journal that came back would be taken for that of the new file.
    sync()?;
    fs::rename(ready, file)?;
    sync()
}

/// Whether nothing is left of the file but what its journal has. The engine would take it for a new one and delete that.
pub(crate) fn is_emptied(dir: &Path) -> bool {
    let file = dir.join(schema::FILE);
    bytes(&file) == 0 && bytes(&beside(&file, JOURNAL)) > 0
}

/// Room that mending a store in this directory takes on the disk, at most, in bytes: the copy that is read, the new file,
/// and its pages in the journal.
pub(crate) fn room(dir: &Path) -> u64 {
    let file = dir.join(schema::FILE);
    (bytes(&file) + bytes(&beside(&file, JOURNAL))).saturating_mul(COPIES)
}

fn bytes(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |file| file.len())
}

const COPIES: u64 = 3;

/// Puts a copy of a file of an older layout beside it.
pub(crate) fn keep_older(dir: &Path, number: u32, from: &Path) -> io::Result<()> {
    let older = dir.join(schema::FILE).with_extension(format!("schema-{number}.sqlite"));
    // One that is there was made by a start that did not come to its end, or before a way back.
    if number == schema::VERSION || older.exists() {
        return Ok(());
    }
    let half = older.with_extension("new");
    schema::create_private(&half)?;
    let copied = fs::copy(from, &half).and_then(|_| File::open(&half)).and_then(|file| file.sync_all());
    if let Err(error) = copied.and_then(|()| fs::rename(&half, &older)) {
        let _ = remove(&half);
        return Err(error);
    }
    tracing::info!(copy = %older.display(), "the store as it was is kept: put it back to return to the older version");
    Ok(())
}

/// Copies the pages that are to be read. What the disk does not give is gone if it takes the new file: a disk that is away
/// for a moment takes nothing, and the mending fails.
fn copy(raw: &Raw<'_>, dir: &Path) -> io::Result<Vec<Gap>> {
    let to = dir.join(DAMAGED);
    schema::create_private(&to)?;
    let gaps = raw.copy(&mut File::options().write(true).open(&to)?)?;
    if let Some(Gap { error, .. }) = gaps.first() {
        tracing::error!(%error, pages = gaps.len(), "parts of the store's file cannot be read");
    }
    Ok(gaps)
}

fn journal(dir: &Path) -> PathBuf {
    beside(&dir.join(schema::FILE), JOURNAL)
}

fn put_pages(from: &Connection, to: &mut Connection) -> Result<(), MendError> {
    match Backup::new(from, to)?.step(-1)? {
        StepResult::Done => Ok(()),
        // Somebody else writes.
        _ => Err(MendError::File(io::ErrorKind::ResourceBusy.into())),
    }
}

/// The new file, empty; it need not outlive a crash yet.
fn scratch(dir: &Path) -> Result<Connection, MendError> {
    let path = dir.join(MENDED);
    remove(&path)?;
    schema::create_private(&path)?;
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    Ok(connection)
}

/// A file of the engine's that goes with another one.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
