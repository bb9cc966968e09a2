//! Reading: one consistent view of the state and the log.

mod each;
mod listed;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use bartizan_names::{Timestamp, ZoneId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::change::{self, Change, Entry, Epoch, Meta, Rev, Value};
use crate::damage::is_damage;
use crate::error::{Blame, ReadError, TailError, Unreadable};
use crate::key::{Key, Prefix, Scope};
use crate::kind::Kind;
use crate::log;
use crate::lost::Lost;
use crate::readers::Readers;
use crate::state_hash::{self, Part, StateHash, Wrong};
use crate::tables::{self, signed};

/// How far a look at all objects, a piece at a time, has come. By default it is in front of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position(i64);

/// A part of all objects, as they follow each other in the file.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    behind: i64,
    until: i64,
    /// What the disk is to read while this is looked at: where in the file, and how much.
    ahead: (u64, u64),
}

impl Stretch {
    fn behind(id: i64) -> Stretch {
        Stretch { behind: id, until: i64::MAX, ahead: (0, 0) }
    }
}

/// A record as it is kept.
#[derive(Clone, Copy, Debug)]
pub struct RecordText<'r> {
    pub key: &'r str,
    /// Its document, in the format of today.
    pub json: &'r str,
}

/// The state as it was when this was taken, whatever is committed meanwhile. For one thread at a time.
pub struct Snapshot {
    /// None only while dropping.
    connection: Option<Connection>,
    readers: Arc<Readers>,
    head: Rev,
}

impl Snapshot {
    pub(crate) fn open(readers: Arc<Readers>) -> Result<Snapshot, ReadError> {
        let connection = readers.take()?;
        // The first read fixes the view, not BEGIN.
        match connection.execute_batch("BEGIN").and_then(|()| log::head(&connection)) {
            Ok(head) => Ok(Snapshot { connection: Some(connection), readers, head }),
            Err(error) => {
                drop(connection);
                readers.forget();
                Err(readers.met(error.into()))
            }
        }
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("taken out in drop only")
    }

    /// Looks, and has the file mended if it meets damage.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        read(self.connection()).map_err(|error| self.readers.met(error))
    }

    /// Another view of the same state, for another thread; none if there is a newer one by now.
    pub fn beside(&self) -> Result<Option<Snapshot>, ReadError> {
        let other = Snapshot::open(Arc::clone(&self.readers))?;
        let is_same = other.head == self.head && other.epoch()? == self.epoch()?;
        Ok(is_same.then_some(other))
    }

    /// The revision of this view.
    pub fn head(&self) -> Rev {
        self.head
    }

    /// Over the objects of a kind, or of a zone: equal in two copies that have the same ones, put by the same revisions.
    pub fn state_hash(&self, part: Part) -> Result<StateHash, ReadError> {
        self.look(|connection| Ok(state_hash::read(connection, part)?))
    }

    /// Reads all objects, and names the kinds and zones whose objects are not those that were committed. Takes seconds
    /// for a million.
    pub fn wrong_parts(&self) -> Result<Vec<Part>, ReadError> {
        self.wrong().map(|wrong| wrong.parts)
    }

    /// The same, with the objects themselves that are there and are not what was committed.
    pub fn wrong(&self) -> Result<Wrong, ReadError> {
        self.look(|connection| Ok(state_hash::wrong(connection)?))
    }

    /// What damage took, as far as it is known. Empty again when a person has dealt with it.
    pub fn lost(&self) -> Lost {
        Lost::of_file(self.connection())
    }

    /// The epoch of the log that this view comes from. If it is not the one seen before, the whole state must be read again.
    pub fn epoch(&self) -> Result<Epoch, ReadError> {
        self.look(|connection| Ok(log::epoch(connection)?))
    }

    pub fn get(&self, key: &Key) -> Result<Option<Entry>, ReadError> {
        let found = self
            .connection()
            .prepare_cached("SELECT key, rev, format, hash, json FROM object WHERE key = ?")?
            .query_row([key.as_str()], |row| Ok(entry(row)))
            .optional();
        match found {
            Ok(found) => Ok(found.transpose()?),
            Err(error) if is_damage(&error) => {
                self.readers.damage.note();
                Err(Unreadable { key: key.to_string(), reason: error.to_string(), blame: Blame::Disk }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Up to `limit` objects in the order of their keys, behind `after` if that is given. One that cannot be read is
    /// passed over and logged.
    pub fn list(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>, ReadError> {
        // A prefix is no key itself, so that "behind" is right for both.
        let behind = after.map_or(prefix.first(), |after| after.as_str().max(prefix.first()));
        let sql = "SELECT key, rev, format, hash, json FROM object WHERE key > ? AND key < ? ORDER BY key LIMIT ?";
        self.look(|connection| {
            let mut select = connection.prepare_cached(sql)?;
            let entries = select.query_map(params![behind, prefix.end(), rows(limit)], |row| Ok(entry(row)))?;
            entries.filter_map(readable).collect()
        })
    }

    /// The revision that put an object last; none if it is not there. Its document need not be readable.
    pub fn rev(&self, key: &Key) -> Result<Option<Rev>, ReadError> {
        self.look(|connection| {
            let rev: Option<i64> = connection
                .prepare_cached("SELECT rev FROM object WHERE key = ?")?
                .query_row([key.as_str()], |row| row.get(0))
                .optional()?;
            Ok(rev.map(|rev| Rev(rev.cast_unsigned())))
        })
    }

    /// Up to `limit` keys in their order, behind `after` if that is given. Their documents need not be readable. What is
    /// no key is passed over and logged.
    pub fn keys(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, ReadError> {
        let behind = after.map_or(prefix.first(), |after| after.as_str().max(prefix.first()));
        self.look(|connection| {
            connection
                .prepare_cached("SELECT key FROM object WHERE key > ? AND key < ? ORDER BY key")?
                .query_map(params![behind, prefix.end()], |row| row.get::<_, String>(0))?
                .filter_map(|text| text.map_err(ReadError::from).map(|text| known(&text)).transpose())
                .take(limit)
                .collect()
        })
    }

    /// Up to `limit` keys in their order, behind the first `skip` of them.
    pub fn keys_page(&self, prefix: &Prefix, skip: u64, limit: usize) -> Result<Vec<Key>, ReadError> {
        let page = params![prefix.first(), prefix.end(), rows(limit), signed(skip)];
        self.look(|connection| {
            connection
                .prepare_cached("SELECT key FROM object WHERE key > ? AND key < ? ORDER BY key LIMIT ? OFFSET ?")?
                .query_map(page, |row| row.get::<_, String>(0))?
                .map(|text| Key::stored(&text?).map_err(|error| ReadError::Corrupt(error.to_string())))
                .collect()
        })
    }

    /// How many objects there are whose keys begin alike.
    pub fn count(&self, prefix: &Prefix) -> Result<u64, ReadError> {
        self.look(|connection| {
            let count: i64 = connection
                .prepare_cached("SELECT count(*) FROM object WHERE key > ? AND key < ?")?
                .query_row([prefix.first(), &prefix.end()], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
    }

    /// How many objects there are, and how many of this kind.
    pub(crate) fn counts(&self, kind: Kind) -> Result<(u64, u64), ReadError> {
        let sql = "SELECT count(*), count(*) FILTER (WHERE kind = ?) FROM object";
        let counted = self.look(|connection| {
            Ok(connection.query_row(sql, [kind.code()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?)
        });
        counted.map(|(all, those)| (all.cast_unsigned(), those.cast_unsigned()))
    }

    /// Up to `limit` zones behind `after` of which there is anything, be it without the zone itself. What is no key is
    /// passed over and logged.
    pub fn zone_scopes(&self, after: Option<ZoneId>, limit: usize) -> Result<Vec<ZoneId>, ReadError> {
        let sql = "SELECT key FROM object WHERE key >= ? AND key < 'zone0' ORDER BY key LIMIT 1";
        let mut behind = after.map_or("zone/".to_owned(), |zone| Prefix::scope(Scope::Zone(zone)).end());
        let mut zones = Vec::new();
        while zones.len() < limit {
            let first = self.look(|connection| {
                let mut select = connection.prepare_cached(sql)?;
                Ok(select.query_row([&behind], |row| row.get::<_, String>(0)).optional()?)
            })?;
            let Some(text) = first else { break };
            let Some(zone) = known(&text).and_then(|key| key.zone_id()) else {
                // The first text behind this one.
                behind = text + "\0";
                continue;
            };
            behind = Prefix::scope(Scope::Zone(zone)).end();
            zones.push(zone);
        }
        Ok(zones)
    }

    /// Up to `limit` objects of a kind, whosever they are, in the order in which they were first put. One that cannot be
    /// read is passed over and logged.
    pub fn list_kind(&self, kind: Kind, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let sql = "SELECT key, rev, format, hash, json FROM object WHERE kind = ? ORDER BY id LIMIT ?";
        self.look(|connection| {
            let mut select = connection.prepare_cached(sql)?;
            let entries = select.query_map(params![kind.code(), rows(limit)], |row| Ok(entry(row)))?;
            entries.filter_map(readable).collect()
        })
    }

    /// When the newest change was made; none if there was none, or it cannot be told.
    pub fn last_change(&self) -> Option<Timestamp> {
        let before = Rev(self.head.0.checked_sub(1)?);
        self.tail(before, 1).ok()?.first().map(|change| change.meta.at)
    }

    /// Up to `limit` changes behind `after`, in order and without a gap; empty when `after` is the newest.
    pub fn tail(&self, after: Rev, limit: usize) -> Result<Vec<Change>, TailError> {
        if after > self.head {
            return Err(TailError::Ahead { head: self.head });
        }
        let oldest = self.look(|connection| Ok(tables::oldest(connection)?))?;
        if after.next() < oldest {
            return Err(TailError::Compacted { oldest });
        }
        let sql =
            "SELECT rev, request_id, at, actor, ops, interface, client FROM change WHERE rev > ? ORDER BY rev LIMIT ?";
        let changes = self.look(|connection| {
            let mut select = connection.prepare_cached(sql)?;
            let changes = select.query_map([signed(after.0), rows(limit)], |row| Ok(change(row)))?;
            changes.map(|row| row?).collect()
        });
        Ok(changes?)
    }

    /// The last revision that changed anything of a zone, what is gone by now included; none if nothing ever did.
    pub fn zone_changed(&self, zone: ZoneId) -> Result<Option<Rev>, ReadError> {
        self.look(|connection| Ok(tables::zone_touched(connection, zone)?))
    }

    /// [`Snapshot::zone_changed`] of all zones at once.
    pub fn zones_changed(&self) -> Result<HashMap<ZoneId, Rev>, ReadError> {
        self.look(|connection| Ok(tables::zones_touched(connection)?))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        match connection.execute_batch("ROLLBACK") {
            Ok(()) => self.readers.put(connection),
            // A connection that cannot end a transaction is of no use to the next one.
            Err(_) => self.readers.forget(),
        }
    }
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The key; none if this version does not know it, which is logged: it is left out of the list.
fn known(text: &str) -> Option<Key> {
    Key::stored(text).inspect_err(|error| tracing::error!(%error, "left out of a list")).ok()
}

/// The entry of a row; none if it cannot be read, which is logged: it is left out of the list.
fn readable(row: rusqlite::Result<Result<Entry, Unreadable>>) -> Option<Result<Entry, ReadError>> {
    match row {
        Ok(Ok(entry)) => Some(Ok(entry)),
        Ok(Err(error)) => {
            tracing::error!(%error, "left out of a list");
            None
        }
        Err(error) => Some(Err(error.into())),
    }
}

/// From the columns key, rev, format, hash, json. The document is in the format of today, whatever it was written in.
pub(crate) fn entry(row: &Row<'_>) -> Result<Entry, Unreadable> {
    let text = row.get_ref(0).ok().and_then(|text| text.as_str().ok()).unwrap_or("(no text)");
    let unreadable = |(reason, blame)| Unreadable { key: text.to_owned(), reason, blame };
    let key = Key::stored(text).map_err(|error| unreadable((error.to_string(), Blame::Version)))?;
    let (rev, json) = document(row, text, key.kind()).map_err(unreadable)?;
    let format = key.kind().declaration().documents.current();
    Ok(Entry { key, rev: Rev(rev.cast_unsigned()), value: Value { format, json: json.into() } })
}

/// The revision and the document of an object, in the format of today, from the columns key, rev, format, hash, json; or why
/// there is none. What the disk or another program made of an object since it was committed is not read, however well it
/// reads: some 0.4 µs for each.
pub(crate) fn document<'r>(row: &'r Row<'_>, key: &str, kind: Kind) -> Result<(i64, Cow<'r, str>), (String, Blame)> {
    let spoilt = |error: &dyn Display| (error.to_string(), Blame::Disk);
    let number = |column| row.get::<_, i64>(column).map_err(|error| spoilt(&error));
    let column = |column| row.get_ref(column).map_err(|error| spoilt(&error));
    let (rev, format, hash) = (number(1)?, number(2)?, column(3)?.as_blob().map_err(|error| spoilt(&error))?);
    let json = column(4)?.as_str().map_err(|error| spoilt(&error))?;
    let is_whole = StateHash::of(key, rev, format, json) == StateHash::read(hash);
    // One that is no number of a format is none of ours.
    let known = u16::try_from(format).unwrap_or(u16::MAX);
    match (kind.declaration().documents.upgrade(known, json), is_whole) {
        (Ok(document), true) => Ok((rev, document)),
        (Ok(_), false) => Err((spoilt_text(kind, json), Blame::Disk)),
        (Err(reason), true) => Err((reason, Blame::Version)),
        (Err(reason), false) => Err((format!("{reason}; {}", spoilt_text(kind, json)), Blame::Disk)),
    }
}

fn spoilt_text(kind: Kind, json: &str) -> String {
    let name = kind.called(json).unwrap_or_else(|| "it".to_owned());
    format!("{name} is not what was committed: the disk, or another program, changed it")
}

/// From the columns rev, request_id, at, actor, ops, interface, client.
pub(crate) fn change(row: &Row<'_>) -> Result<Change, ReadError> {
    let rev = Rev(row.get::<_, i64>(0)?.cast_unsigned());
    let ops = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok(Change {
        rev,
        meta: Meta {
            request_id: row.get(1)?,
            at: Timestamp::from_unix_micros(row.get::<_, i64>(2)?.cast_unsigned()),
            actor: row.get(3)?,
            interface: row.get(5)?,
            // An address that cannot be read says nothing.
            client: row.get::<_, Option<String>>(6)?.and_then(|client| client.parse().ok()),
        },
        ops: change::decode(ops).ok_or_else(|| ReadError::Corrupt(format!("revision {rev} of the log")))?,
    })
}
