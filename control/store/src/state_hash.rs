//! Hashes of the state, by which two copies are compared.
//!
//! An object's hash is the first 16 bytes of `SHA-256(u32 length ‖ key ‖ revision ‖ format ‖ json)`, with the revision and
//! the format as 64-bit numbers in big-endian. The hash of a kind, and that of a zone, is the sum of those of its objects,
//! modulo 2^128: it does not depend on the order in which they came, a change costs the same however many there are, and
//! a copy that has one zone only has the hash of this zone. It shows faults and no forgery: sums can be made to meet.
//!
//! Each object's hash is kept beside it, and whoever reads the object compares ([`crate::snapshot::document`]). One that is not
//! what was committed and of which mending found nothing better has a hash of zeros, and is no part of any sum.

use std::collections::BTreeMap;
use std::fmt;

use bartizan_names::ZoneId;
use bartizan_seal::sha256;
use rusqlite::{Connection, OptionalExtension};

use crate::change::Rev;
use crate::damage::{self, is_damage};
use crate::key::{Key, Scope};
use crate::kind::Kind;
use crate::lost::Lost;
use crate::tables::signed;

/// What a hash is kept of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    Kind(Kind),
    Zone(ZoneId),
}

impl Part {
    fn of(key: &Key) -> impl Iterator<Item = Part> {
        [Some(Part::Kind(key.kind())), Part::of_scope(key.scope())].into_iter().flatten()
    }

    /// Those of a key as it is stored. A kind of another version is that version's business, and what is of a zone is of it
    /// whatever it is.
    fn of_stored(key: &str) -> impl Iterator<Item = Part> {
        let (kind, scope) = match Key::stored(key) {
            Ok(key) => (Some(Part::Kind(key.kind())), Some(key.scope())),
            Err(_) => (None, Scope::split(key).map(|(scope, _)| scope)),
        };
        [kind, scope.and_then(Part::of_scope)].into_iter().flatten()
    }

    fn of_scope(scope: Scope) -> Option<Part> {
        match scope {
            Scope::Zone(zone) => Some(Part::Zone(zone)),
            Scope::Edge | Scope::User(_) | Scope::Account(_) => None,
        }
    }

    fn parse(text: &str) -> Option<Part> {
        match text.split_once('/')? {
            ("kind", kind) => Kind::parse(kind).map(Part::Kind),
            ("zone", zone) => zone.parse().ok().map(Part::Zone),
            _ => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Kind(kind) => write!(f, "kind/{}", kind.text()),
            Part::Zone(zone) => write!(f, "zone/{zone}"),
        }
    }
}

/// The hash of some objects; by default of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateHash(u128);

impl StateHash {
    /// Of one object as it is stored.
    pub(crate) fn of(key: &str, rev: i64, format: i64, json: &str) -> StateHash {
        let mut bytes = Vec::with_capacity(4 + key.len() + 16 + json.len());
        // Keys are far below 4 GiB.
        bytes.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(&rev.to_be_bytes());
        bytes.extend_from_slice(&format.to_be_bytes());
        bytes.extend_from_slice(json.as_bytes());
        StateHash::read(&sha256(&bytes)[..16])
    }

    /// What is not of the right length was never written by us: it makes the sum wrong, as it should.
    pub(crate) fn read(bytes: &[u8]) -> StateHash {
        StateHash(bytes.try_into().map(u128::from_be_bytes).unwrap_or_default())
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Sums of hashes, or what is to be added to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums(BTreeMap<Part, StateHash>);

impl Sums {
    pub(crate) fn add(&mut self, key: &Key, hash: StateHash) {
        self.add_to(Part::of(key), hash);
    }

    fn add_to(&mut self, parts: impl Iterator<Item = Part>, hash: StateHash) {
        for part in parts {
            let sum = self.0.entry(part).or_default();
            sum.0 = sum.0.wrapping_add(hash.0);
        }
    }

    pub(crate) fn subtract(&mut self, key: &Key, hash: StateHash) {
        self.add(key, StateHash(hash.0.wrapping_neg()));
    }

    /// Takes one as it is kept in a file. A kind that only a newer version knows is its business.
    pub(crate) fn keep(&mut self, part: &str, hash: &[u8]) {
        if let Some(part) = Part::parse(part) {
            self.0.insert(part, StateHash::read(hash));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has_kinds(&self) -> bool {
        self.0.keys().any(|part| matches!(part, Part::Kind(_)))
    }

    pub(crate) fn of(&self, part: Part) -> Option<StateHash> {
        self.0.get(&part).copied()
    }

    pub(crate) fn zones(&self) -> impl Iterator<Item = ZoneId> {
        self.0.keys().filter_map(|part| if let Part::Zone(zone) = part { Some(*zone) } else { None })
    }

    /// Those of the parts that `other` has.
    pub(crate) fn of_parts_in(&self, other: &Sums) -> Sums {
        let these = self.0.iter().filter(|(part, _)| other.0.contains_key(part));
        Sums(these.map(|(part, sum)| (*part, *sum)).collect())
    }

    /// The parts whose sums are not the same.
    pub(crate) fn unlike(&self, other: &Sums) -> Vec<Part> {
        let parts = self.0.keys().chain(other.0.keys().filter(|part| !self.0.contains_key(part)));
        let mut unlike: Vec<Part> = parts.filter(|part| self.0.get(part) != other.0.get(part)).copied().collect();
        unlike.sort_unstable();
        unlike
    }

    /// Adds these to those in the file. Inside the transaction that changed the objects.
    pub(crate) fn add_to_file(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut put = connection.prepare_cached("INSERT OR REPLACE INTO state_hash VALUES (?, ?)")?;
        let mut forget = connection.prepare_cached("DELETE FROM state_hash WHERE part = ?")?;
        for (part, sum) in &self.0 {
            // Of what is gone nothing stays.
            match StateHash(read(connection, *part)?.0.wrapping_add(sum.0)) {
                StateHash(0) => forget.execute([part.to_string()])?,
                sum => put.execute((part.to_string(), sum.to_bytes()))?,
            };
        }
        Ok(())
    }
}

/// Makes the sums anew from the objects.
pub(crate) fn recompute(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM state_hash", ())?;
    found(connection)?.0.add_to_file(connection)
}

/// The hash that is kept of a part.
pub(crate) fn read(connection: &Connection, part: Part) -> rusqlite::Result<StateHash> {
    connection
        .prepare_cached("SELECT hash FROM state_hash WHERE part = ?")?
        .query_row([part.to_string()], |row| Ok(StateHash::read(row.get_ref(0)?.as_blob()?)))
        .optional()
        .map(Option::unwrap_or_default)
}

/// What is not as it was committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrong {
    /// Kinds and zones whose objects do not have the hash that was kept of them.
    pub parts: Vec<Part>,
    /// Objects that are there and do not have theirs.
    pub objects: Lost,
}

pub(crate) fn wrong(connection: &Connection) -> rusqlite::Result<Wrong> {
    let (sums, objects) = found(connection)?;
    Ok(Wrong { parts: kept(connection)?.unlike(&sums), objects })
}

/// The hashes that are kept in a file.
pub(crate) fn kept(connection: &Connection) -> rusqlite::Result<Sums> {
    let mut select = connection.prepare("SELECT part, hash FROM state_hash")?;
    let mut rows = select.query(())?;
    let mut sums = Sums::default();
    while let Some(row) = rows.next()? {
        sums.keep(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
    }
    Ok(sums)
}

/// From the objects that can be read, one after the other; and those of them that do not have their hash.
fn found(connection: &Connection) -> rusqlite::Result<(Sums, Lost)> {
    let (mut sums, mut spoilt) = (Sums::default(), Lost::default());
    let mut select = connection.prepare("SELECT key, rev, format, hash, json FROM object WHERE id = ?")?;
    let mut next = damage::next(connection, 0)?;
    while let Some(id) = next.id {
        let seen = select.query_row([id], |row| {
            let text = row.get_ref(0)?.as_str()?;
            let kept = StateHash::read(row.get_ref(3)?.as_blob()?);
            let (rev, format, json) = (row.get(1)?, row.get(2)?, row.get_ref(4)?.as_str().ok());
            let hash = json.map(|json| StateHash::of(text, rev, format, json));
            if Some(kept) != hash && Key::stored(text).is_ok() {
                spoilt.note(text);
            }
            if let Some(hash) = hash.filter(|_| kept != StateHash::default()) {
                sums.add_to(Part::of_stored(text), hash);
            }
            Ok(())
        });
        match seen {
            Err(error) if !is_damage(&error) && error.sqlite_error_code().is_some() => return Err(error),
            // What cannot be read is missing from the sum.
            _ => {}
        }
        next = damage::next(connection, id)?;
    }
    Ok((sums, spoilt))
}

/// The hash of a value that a revision puts.
pub(crate) fn of_put(key: &Key, rev: Rev, format: u16, json: &str) -> StateHash {
    StateHash::of(key.as_str(), signed(rev.0), format.into(), json)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written out once, so that a change of the algorithm cannot go unseen: copies in the field rely on it.
    #[test]
    fn the_hash_stays_what_it_is() {
        let hash = of_put(&Key::meta("a"), Rev(1), 258, r#"{"ä":1}"#);
        assert_eq!(hash.to_string(), "4b5bb6f349a7c69b1510bdc6794cb865");
        for other in [
            of_put(&Key::meta("b"), Rev(1), 258, r#"{"ä":1}"#),
            of_put(&Key::meta("a"), Rev(2), 258, r#"{"ä":1}"#),
            of_put(&Key::meta("a"), Rev(1), 259, r#"{"ä":1}"#),
            of_put(&Key::meta("a"), Rev(1), 258, r#"{"ä":2}"#),
        ] {
            assert_ne!(other, hash);
        }
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing() {
        let mut sums = Sums::default();
        let keys = [Key::settings(ZoneId::from_bytes([1; 16])), Key::meta("a")];
        let hashes = keys.each_ref().map(|key| of_put(key, Rev(1), 1, "{}"));
        keys.iter().zip(hashes).for_each(|(key, hash)| sums.add(key, hash));
        assert_eq!(sums.0.len(), 3);
        keys.iter().zip(hashes).for_each(|(key, hash)| sums.subtract(key, hash));
        assert!(sums.0.values().all(|sum| *sum == StateHash::default()));
        for part in sums.0.keys() {
            assert_eq!(Part::parse(&part.to_string()), Some(*part));
        }
    }
}
