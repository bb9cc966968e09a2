//! How the file is: what a person should know of it and do about it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};

use crate::error::EngineError;
use crate::high_water;
use crate::key::Key;
use crate::lost::Lost;
use crate::schema::{self, Access};

/// What is wrong with the file of a running store. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Why a damaged file stays so.
    pub damaged: Option<Arc<str>>,
    /// What damage took.
    pub lost: Lost,
    /// Changes that were acknowledged and are not there any more: the end of the journal was lost.
    pub gone: u64,
    /// Objects whose keys this version does not know: nobody sees them. Counted some time after the start.
    pub strangers: u64,
}

/// Keys that are looked at in one step, which takes a millisecond.
const STEP: usize = 1_000;

/// A walk over all keys that looks for those which this version does not know.
#[derive(Default)]
pub(crate) struct Survey {
    last: String,
    pub(crate) strangers: u64,
}

/// Whether there is more to walk over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    UnderWay,
    Done,
}

impl Survey {
    pub(crate) fn step(&mut self, connection: &Connection) -> rusqlite::Result<Walk> {
        let mut select = connection.prepare_cached("SELECT key FROM object WHERE key > ? ORDER BY key LIMIT ?")?;
        let mut rows = select.query((&self.last, i64::try_from(STEP).unwrap_or(i64::MAX)))?;
        let (mut seen, mut last, mut strangers) = (0, None, 0);
        while let Some(row) = rows.next()? {
            let key: String = row.get(0)?;
            strangers += u64::from(Key::stored(&key).is_err());
            seen += 1;
            last = Some(key);
        }
        self.strangers += strangers;
        self.last = last.unwrap_or_default();
        Ok(if seen < STEP { Walk::Done } else { Walk::UnderWay })
    }
}

/// What was found in a file, which may be in use, or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The number of its layout, and the one of this version.
    pub schema: u32,
    pub schema_of_today: u32,
    /// Why it could not be looked at: then all else of this is as if it were sound.
    pub unseen: Option<Unseen>,
    /// What is wrong with its pages, in the engine's words; the first few things.
    pub pages: Vec<String>,
    pub lost: Lost,
    /// Changes that were acknowledged and are not there any more.
    pub gone: u64,
    pub strangers: u64,
}

/// Why a file could not be looked at. That is no damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// The system does not give this file.
    Closed { path: PathBuf, why: io::ErrorKind },
    /// Another process holds it.
    Held,
    /// The engine, for another reason.
    Engine(String),
}

/// Things that are named: a damaged disk has more, and says enough with these.
const NAMED_MAX: usize = 5;

/// None if there is no file. Reads all of it.
pub(crate) fn examine(dir: &Path) -> Option<Examined> {
    if !dir.join(schema::FILE).exists() {
        return None;
    }
    let mut examined = Examined {
        schema: 0,
        schema_of_today: schema::VERSION,
        unseen: closed(dir),
        pages: Vec::new(),
        lost: Lost::default(),
        gone: 0,
        strangers: 0,
    };
    if examined.unseen.is_some() {
        return Some(examined);
    }
    match look(dir, &mut examined) {
        Ok(()) => {}
        // A file whose rows of ours are not there is none of ours any more.
        Err(error) if error.is_damage() || matches!(error.code(), None | Some(ErrorCode::Unknown)) => {
            examined.pages.push(error.to_string());
        }
        Err(error) if is_held(error.code()) => examined.unseen = Some(Unseen::Held),
        Err(error) => examined.unseen = Some(Unseen::Engine(error.to_string())),
    }
    Some(examined)
}

fn is_held(code: Option<ErrorCode>) -> bool {
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What this user may not even open. Without the journal the file is a part of the store, and looks damaged while it is
/// written to.
fn closed(dir: &Path) -> Option<Unseen> {
    [schema::FILE, JOURNAL].map(|name| dir.join(name)).into_iter().find_map(|path| match File::open(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Some(Unseen::Closed { path, why: error.kind() }),
        _ => None,
    })
}

/// Beside the file, as the engine calls it.
const JOURNAL: &str = "store.sqlite-wal";

fn look(dir: &Path, examined: &mut Examined) -> Result<(), EngineError> {
    // In use or not; one in a directory that cannot be written to is read as it is. Not so what another process holds, and may
    // be writing.
    let connection = match schema::open_reader(dir, Access::Visiting) {
        Err(error) if is_held(error.sqlite_error_code()) => return Err(error.into()),
        opened => opened.or_else(|_| schema::open_reader(dir, Access::Frozen))?,
    };
    examined.schema = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut check = connection.prepare(&format!("PRAGMA quick_check({NAMED_MAX})"))?;
    let found = check.query_map((), |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    examined.pages = found.into_iter().flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    examined.pages.retain(|line| line != "ok");
    examined.pages.truncate(NAMED_MAX);
    if examined.schema == schema::VERSION {
        examined.lost = Lost::of_file(&connection);
        examined.gone = high_water::gone(&connection)?;
        let mut survey = Survey::default();
        while survey.step(&connection)? == Walk::UnderWay {}
        examined.strangers = survey.strangers;
    }
    Ok(())
}
