//! What damage took: kept in the file, so that it is told until a person has dealt with it.

use std::fmt;

use rusqlite::{Connection, OptionalExtension};

use crate::key::Key;
use crate::kind::Kind;

/// Objects that are named; nobody reads more, and one damaged page takes some ten.
const NAMED_MAX: usize = 100;

/// Access rules are named beyond that: a start holds each that it knows of, so that nobody comes in whom it kept out.
const RULES_NAMED_MAX: usize = 10_000;

/// Keys that are named in one sentence.
const TOLD_MAX: usize = 5;

/// Objects that were on damaged pages and are nowhere else, or are not what was committed any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Keys of the first of them.
    pub keys: Vec<String>,
    pub count: u64,
}

impl Lost {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn note(&mut self, key: &str) {
        if self.keys.iter().any(|known| known == key) {
            return;
        }
        self.count += 1;
        let is_rule = Key::stored(key).is_ok_and(|key| key.kind() == Kind::AccessRule);
        if self.keys.len() < if is_rule { RULES_NAMED_MAX } else { NAMED_MAX } {
            self.keys.push(key.to_owned());
        }
    }

    /// Adds what earlier damage took.
    pub(crate) fn join(&mut self, earlier: Lost) {
        let (named, count) = (earlier.keys.len() as u64, earlier.count);
        earlier.keys.iter().for_each(|key| self.note(key));
        self.count += count.saturating_sub(named);
    }

    /// In which row of the table `about` it is kept.
    pub(crate) const WHAT: &'static str = "lost";

    /// What earlier damage took. A file that cannot say it is read as if there were nothing: it is told of in other ways.
    pub(crate) fn of_file(connection: &Connection) -> Lost {
        Lost::read(connection).unwrap_or_default()
    }

    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Lost> {
        let mut select = connection.prepare("SELECT text FROM about WHERE what = ?")?;
        let text: Option<String> = select.query_row([Lost::WHAT], |row| row.get(0)).optional()?;
        Ok(text.map_or_else(Lost::default, |text| Lost::parse(&text)))
    }

    pub(crate) fn parse(text: &str) -> Lost {
        let (count, keys) = text.split_once('\n').unwrap_or((text, ""));
        Lost { keys: keys.lines().map(str::to_owned).collect(), count: count.parse().unwrap_or(0) }
    }

    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.is_empty() {
            return connection.execute("DELETE FROM about WHERE what = ?", [Lost::WHAT]).map(drop);
        }
        let text = format!("{}\n{}", self.count, self.keys.join("\n"));
        connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [Lost::WHAT, &text]).map(drop)
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> = self.keys.iter().take(TOLD_MAX).map(String::as_str).collect();
        f.write_str(&named.join(", "))?;
        match self.count.saturating_sub(named.len() as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
