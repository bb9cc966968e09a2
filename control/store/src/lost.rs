//! What damage took: kept in the file, so that it is told until a person has dealt with it.

use std::collections::BTreeSet;
use std::fmt;

use rusqlite::{Connection, OptionalExtension};

use crate::key::{Key, Scope};
use crate::kind::Kind;

/// Objects that are named; nobody reads more, and one damaged page takes some ten.
const NAMED_MAX: usize = 100;

/// Those of kinds that guard are named beyond that, whatever else is lost: a start holds each of them, so that nothing is
/// open that they kept closed. They are of some 80 bytes each. Where they are more, it holds all that may be among them.
const GUARDS_NAMED_MAX: usize = 100_000;

/// Keys that are named in one sentence.
const TOLD_MAX: usize = 5;

/// Objects that were on damaged pages and are nowhere else, or are not what was committed any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Keys of the first of them.
    pub keys: BTreeSet<String>,
    pub count: u64,
    /// How many of the keys are of kinds that guard.
    guards: usize,
}

impl Lost {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether this object, which is not there, may be among them.
    pub fn may_have(&self, key: &Key) -> bool {
        self.keys.contains(key.as_str()) || (key.kind().guards() && self.has_all_guards())
    }

    /// Those of kinds that guard, as far as they are named. Where they are too many, also a rule that stands for
    /// all others; what a zone has one of is asked for by its key ([`Lost::may_have`]).
    pub fn guards(&self) -> impl Iterator<Item = Key> {
        let named = self.keys.iter().filter_map(|key| Key::parse(key).ok()).filter(|key| key.kind().guards());
        let all = Kind::ALL.iter().filter(|kind| kind.guards() && self.has_all_guards());
        named.chain(all.filter_map(|kind| Key::unnamed(Scope::NOBODY, *kind)))
    }

    /// Whether they are more than can be named: then it may be any.
    fn has_all_guards(&self) -> bool {
        self.guards >= GUARDS_NAMED_MAX
    }

    pub(crate) fn note(&mut self, key: &str) {
        if !self.keys.contains(key) {
            self.count += 1;
            self.name(key);
        }
    }

    fn name(&mut self, key: &str) {
        let guards = Key::stored(key).is_ok_and(|key| key.kind().guards());
        let has_room = if guards { self.guards < GUARDS_NAMED_MAX } else { self.keys.len() - self.guards < NAMED_MAX };
        if has_room && self.keys.insert(key.to_owned()) {
            self.guards += usize::from(guards);
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
        let mut lost = Lost { count: count.parse().unwrap_or(0), ..Lost::default() };
        keys.lines().for_each(|key| lost.name(key));
        lost
    }

    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.is_empty() {
            return connection.execute("DELETE FROM about WHERE what = ?", [Lost::WHAT]).map(drop);
        }
        connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [Lost::WHAT, &self.text()]).map(drop)
    }

    /// As [`Lost::parse`] reads it.
    fn text(&self) -> String {
        let keys = self.keys.iter().map(|key| format!("\n{key}"));
        [self.count.to_string()].into_iter().chain(keys).collect()
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

#[cfg(test)]
mod tests {
    use bartizan_names::{RecordId, RuleId, ZoneId};

    use super::*;

    const ZONE: ZoneId = ZoneId::from_bytes([1; 16]);

    fn id(number: usize) -> [u8; 16] {
        (number as u128).to_be_bytes()
    }

    fn record(number: usize) -> Key {
        Key::record(ZONE, RecordId::from_bytes(id(number)))
    }

    fn rule(number: usize) -> Key {
        Key::access_rule(Scope::Zone(ZONE), RuleId::from_bytes(id(number)))
    }

    fn lost(keys: impl Iterator<Item = Key>) -> Lost {
        let mut lost = Lost::default();
        keys.for_each(|key| lost.note(key.as_str()));
        // As the next process reads it.
        let read = Lost::parse(&lost.text());
        assert_eq!(read, lost);
        read
    }

    /// The keys come in the order of their text: records in front of settings.
    #[test]
    fn what_guards_is_named_however_much_else_is_lost() {
        let records = (0..=NAMED_MAX).map(record);
        let lost = lost(records.chain([Key::settings(ZONE), rule(1), Key::zone(ZONE)]));
        assert_eq!((lost.keys.len(), lost.count), (NAMED_MAX + 3, NAMED_MAX as u64 + 4));
        for key in [Key::settings(ZONE), rule(1), Key::zone(ZONE)] {
            assert!(lost.may_have(&key), "{key}");
        }
        assert_eq!(lost.guards().count(), 3);
        // What is not there and is not named was never there.
        let other = ZoneId::from_bytes([2; 16]);
        for key in [Key::settings(other), rule(2), record(NAMED_MAX)] {
            assert!(!lost.may_have(&key), "{key}");
        }
    }

    #[test]
    fn of_more_than_can_be_named_each_is_held() {
        let mut lost = lost((0..=GUARDS_NAMED_MAX).map(rule).chain([Key::settings(ZONE)]));
        assert_eq!((lost.keys.len(), lost.count), (GUARDS_NAMED_MAX, GUARDS_NAMED_MAX as u64 + 2));
        for key in [Key::settings(ZONE), Key::zone(ZONE), rule(GUARDS_NAMED_MAX)] {
            assert!(lost.may_have(&key), "{key}");
        }
        assert!(!lost.may_have(&Key::meta("a")));
        // All but one of them are named, and it holds everywhere.
        let unnamed: Vec<Key> = lost.guards().filter(|key| !lost.keys.contains(key.as_str())).collect();
        assert!(unnamed.len() == 1 && unnamed[0].zone_id().is_none(), "{unnamed:?}");
        // A record is named all the same, and what was lost before is counted once.
        lost.join(Lost::parse(&format!("3\n{}\n{}", Key::meta("a"), rule(0))));
        assert!(lost.may_have(&Key::meta("a")));
        assert_eq!(lost.count, GUARDS_NAMED_MAX as u64 + 4);
    }
}
