//! Reading: one consistent view of the state and the log.

use std::collections::HashMap;
use std::sync::Arc;

use bartizan_names::{Name, RecordId, Timestamp, ZoneId};
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use crate::change::{self, Change, Entry, Epoch, Meta, Rev, Value};
use crate::damage::{self, is_damage};
use crate::error::{ReadError, TailError, Unreadable};
use crate::key::{Filter, Key, Prefix, Scope};
use crate::kind::Kind;
use crate::listing;
use crate::log;
use crate::lost::Lost;
use crate::query::{self, AccessRuleQuery, Page, RecordQuery, TunnelQuery, ZoneQuery};
use crate::readers::Readers;
use crate::state_hash::{self, Part, StateHash};
use crate::tables::{self, signed};

/// How far a look at all objects, a piece at a time, has come. By default it is in front of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position(i64);

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
    fn look<T>(&self, read: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        read(self.connection()).map_err(|error| self.readers.met(error))
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
            .prepare_cached("SELECT key, rev, format, json FROM object WHERE key = ?")?
            .query_row([key.as_str()], |row| Ok(entry(row)))
            .optional();
        match found {
            Ok(found) => Ok(found.transpose()?),
            Err(error) if is_damage(&error) => {
                self.readers.damage.note();
                Err(Unreadable { key: key.to_string(), reason: error.to_string() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Up to `limit` objects in the order of their keys, behind `after` if that is given. One that cannot be read is
    /// passed over and logged.
    pub fn list(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>, ReadError> {
        // A prefix is no key itself, so that "behind" is right for both.
        let behind = after.map_or(prefix.first(), |after| after.as_str().max(prefix.first()));
        let sql = "SELECT key, rev, format, json FROM object WHERE key > ? AND key < ? ORDER BY key LIMIT ?";
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
        let sql = "SELECT key, rev, format, json FROM object WHERE kind = ? ORDER BY id LIMIT ?";
        self.look(|connection| {
            let mut select = connection.prepare_cached(sql)?;
            let entries = select.query_map(params![kind.code(), rows(limit)], |row| Ok(entry(row)))?;
            entries.filter_map(readable).collect()
        })
    }

    /// Hands every object that passes `filter` to `f`, one at a time and without holding more: kind after kind in the
    /// order of [`Kind`], inside a kind in no order. Returns what could not be read.
    pub fn for_each(&self, filter: &Filter, f: &mut dyn FnMut(Entry)) -> Result<Vec<Unreadable>, ReadError> {
        let mut unreadable = Vec::new();
        match filter {
            Filter::Everything => {
                Kind::ALL.iter().try_for_each(|kind| self.each_of_kind(*kind, f, &mut unreadable))?;
            }
            Filter::Kinds(kinds) => {
                kinds.iter().try_for_each(|kind| self.each_of_kind(*kind, f, &mut unreadable))?;
            }
            Filter::Scope(scope) => {
                Kind::ALL.iter().try_for_each(|kind| self.each_of_scope(*scope, *kind, f, &mut unreadable))?;
            }
        }
        Ok(unreadable)
    }

    /// Hands up to `limit` objects of all kinds to `f`, those behind `after` in the order in which they were first put;
    /// then how far that is, or none if there are no more. What is put again keeps its place.
    pub fn objects(
        &self,
        after: Position,
        limit: usize,
        f: &mut dyn FnMut(Result<Entry, Unreadable>),
    ) -> Result<Option<Position>, ReadError> {
        let mut last = after;
        self.look(|connection| {
            let sql = "SELECT key, rev, format, json, id FROM object WHERE id > ? ORDER BY id LIMIT ?";
            let mut select = connection.prepare_cached(sql)?;
            let mut found = select.query(params![after.0, rows(limit)])?;
            while let Some(row) = found.next()? {
                f(entry(row));
                last = Position(row.get(4)?);
            }
            Ok(())
        })?;
        Ok((last != after).then_some(last))
    }

    fn each_of_kind(
        &self,
        kind: Kind,
        f: &mut dyn FnMut(Entry),
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), ReadError> {
        let mut last = 0;
        let mut select = self
            .connection()
            .prepare_cached("SELECT key, rev, format, json, id FROM object WHERE kind = ? ORDER BY id")?;
        match hand_on(select.query([kind.code()])?, &mut last, f, unreadable) {
            Err(error) if is_damage(&error) => self.each_behind(last, &|code, _| code == kind.code(), f, unreadable),
            done => Ok(done?),
        }
    }

    fn each_of_scope(
        &self,
        scope: Scope,
        kind: Kind,
        f: &mut dyn FnMut(Entry),
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), ReadError> {
        // The only one of its kind has no slash behind it.
        let prefix = Prefix::of(scope, kind);
        let only = prefix.first().trim_end_matches('/');
        let mut select = self.connection().prepare_cached(
            "SELECT key, rev, format, json, id FROM object WHERE key = ?1 OR (key >= ?2 AND key < ?3) ORDER BY id",
        )?;
        let mut last = 0;
        match hand_on(select.query([only, prefix.first(), &prefix.end()])?, &mut last, f, unreadable) {
            Err(error) if is_damage(&error) => {
                let wanted = |_, key: &str| key == only || key.starts_with(prefix.first());
                self.each_behind(last, &wanted, f, unreadable)
            }
            done => Ok(done?),
        }
    }

    /// The objects behind `last` by their ids, whatever pages between them are damaged: by no index, one at a time.
    fn each_behind(
        &self,
        last: i64,
        wanted: &dyn Fn(i64, &str) -> bool,
        f: &mut dyn FnMut(Entry),
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), ReadError> {
        self.readers.damage.note();
        let mut select =
            self.connection().prepare_cached("SELECT key, rev, format, json, kind FROM object WHERE id = ?")?;
        let mut next = damage::next(self.connection(), last)?;
        loop {
            if let Some(lost) = next.lost {
                let key = format!("objects {} to {} of the file", lost.start(), lost.end());
                let reason = "a page of the file is damaged".to_owned();
                let lost = Unreadable { key, reason };
                // A caller that asks for several kinds is told of it once for each.
                if !unreadable.contains(&lost) {
                    unreadable.push(lost);
                }
            }
            let Some(id) = next.id else { return Ok(()) };
            let found = select.query_row([id], |row| {
                let key = row.get_ref(0)?.as_str().unwrap_or_default();
                Ok(wanted(row.get(4)?, key).then(|| entry(row)))
            });
            match found {
                Ok(None) => {}
                Ok(Some(Ok(entry))) => f(entry),
                Ok(Some(Err(error))) => unreadable.push(error),
                Err(error) if is_damage(&error) => {
                    unreadable.push(Unreadable { key: format!("object {id} of the file"), reason: error.to_string() });
                }
                Err(error) => return Err(error.into()),
            }
            next = damage::next(self.connection(), id)?;
        }
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

    /// A page of the records of a zone.
    pub fn records(&self, query: &RecordQuery) -> Result<Page<Entry>, ReadError> {
        self.look(|connection| query::records(connection, query))
    }

    /// All records of one owner name, in the order of their ids.
    pub fn records_at(&self, zone: ZoneId, owner: &Name) -> Result<Vec<Entry>, ReadError> {
        self.look(|connection| query::records_at(connection, zone, owner))
    }

    /// The owner name of a record, also of one whose document cannot be read; none if it is not listed.
    pub fn record_owner(&self, zone: ZoneId, id: RecordId) -> Result<Option<Name>, ReadError> {
        let owner = self.look(|connection| query::owner_of(connection, &Key::record(zone, id)))?;
        Ok(owner.and_then(|owner| Name::parse(&owner).ok()))
    }

    /// Hands every record to `f`, one owner name after the other, so that who builds names needs to hold one. Returns what
    /// could not be read.
    pub fn for_each_record(&self, f: &mut dyn FnMut(Entry)) -> Result<Vec<Unreadable>, ReadError> {
        let mut unreadable = Vec::new();
        let mut handed = 0;
        let mut select = self.connection().prepare_cached(
            "SELECT object.key, object.rev, object.format, object.json, object.id
             FROM record INDEXED BY record_owner CROSS JOIN object ON object.id = record.id
             ORDER BY record.zone, record.owner, record.record",
        )?;
        let mut count = |entry| {
            handed += 1;
            f(entry);
        };
        match hand_on(select.query(())?, &mut 0, &mut count, &mut unreadable) {
            Err(error) if is_damage(&error) => {
                unreadable.clear();
                self.each_record_unlisted(handed, f, &mut unreadable)?;
            }
            done => done?,
        }
        Ok(unreadable)
    }

    /// The same by the objects alone, when their listing is damaged: in the same order, without the first `handed`.
    fn each_record_unlisted(
        &self,
        handed: usize,
        f: &mut dyn FnMut(Entry),
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), ReadError> {
        let mut records = Vec::new();
        let mut note = |entry: Entry| {
            let Entry { key, value, .. } = entry;
            if let Ok(Some(row)) = listing::Row::of(&key, value.format, &value.json)
                && let (Some(zone), Some(owner)) = (key.zone_id(), row.text("owner"))
            {
                records.push((zone, owner.to_owned(), key));
            }
        };
        self.each_behind(0, &|code, _| code == Kind::Record.code(), &mut note, unreadable)?;
        records.sort_unstable();
        for (.., key) in records.into_iter().skip(handed) {
            match self.get(&key) {
                Ok(entry) => entry.into_iter().for_each(&mut *f),
                Err(ReadError::Unreadable(error)) => unreadable.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The last revision that changed anything of a zone, what is gone by now included; none if nothing ever did.
    pub fn zone_changed(&self, zone: ZoneId) -> Result<Option<Rev>, ReadError> {
        self.look(|connection| Ok(tables::zone_touched(connection, zone)?))
    }

    /// [`Snapshot::zone_changed`] of all zones at once.
    pub fn zones_changed(&self) -> Result<HashMap<ZoneId, Rev>, ReadError> {
        self.look(|connection| Ok(tables::zones_touched(connection)?))
    }

    /// A page of zones.
    pub fn zones(&self, query: &ZoneQuery) -> Result<Page<Entry>, ReadError> {
        self.look(|connection| query::zones(connection, query))
    }

    /// A page of tunnels.
    pub fn tunnels(&self, query: &TunnelQuery) -> Result<Page<Entry>, ReadError> {
        self.look(|connection| query::tunnels(connection, query))
    }

    /// The keys of certificates that `issuer` did not issue, or that are to be renewed before `at`.
    pub fn certificates_due(&self, issuer: &str, at: Timestamp) -> Result<Vec<Key>, ReadError> {
        self.look(|connection| query::due(connection, issuer, at))
    }

    /// A page of the access rules of a scope.
    pub fn access_rules(&self, query: &AccessRuleQuery) -> Result<Page<Entry>, ReadError> {
        self.look(|connection| query::access_rules(connection, query))
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

/// Hands the objects of rows with the columns key, rev, format, json, id to `f`, or notes that they are none. `last` is the
/// id of the last one.
fn hand_on(
    mut rows: Rows<'_>,
    last: &mut i64,
    f: &mut dyn FnMut(Entry),
    unreadable: &mut Vec<Unreadable>,
) -> rusqlite::Result<()> {
    while let Some(row) = rows.next()? {
        match entry(row) {
            Ok(entry) => f(entry),
            Err(error) => unreadable.push(error),
        }
        *last = row.get(4)?;
    }
    Ok(())
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

/// From the columns key, rev, format, json. The document is in the format of today, whatever it was written in.
pub(crate) fn entry(row: &Row<'_>) -> Result<Entry, Unreadable> {
    let text = row.get_ref(0).ok().and_then(|text| text.as_str().ok()).unwrap_or("(no text)");
    let unreadable = |reason: String| Unreadable { key: text.to_owned(), reason };
    let engine = |error: rusqlite::Error| unreadable(error.to_string());
    let key = Key::stored(text).map_err(|error| unreadable(error.to_string()))?;
    let json = row.get_ref(3).map_err(engine)?.as_str().map_err(|error| unreadable(error.to_string()))?;
    let documents = &key.kind().declaration().documents;
    let json = documents.upgrade(row.get(2).map_err(engine)?, json).map_err(unreadable)?.into();
    let rev = Rev(row.get::<_, i64>(1).map_err(engine)?.cast_unsigned());
    Ok(Entry { key, rev, value: Value { format: documents.current(), json } })
}

/// From the columns rev, request_id, at, actor, ops, interface, client.
fn change(row: &Row<'_>) -> Result<Change, ReadError> {
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
