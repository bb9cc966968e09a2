//! Entries found again, each from an index, in the order in which they landed.

use std::net::IpAddr;

use bartizan_names::{AccountId, Timestamp, TokenId, UserId, ZoneId};
use rusqlite::types::Value as Column;
use rusqlite::{OptionalExtension, Row};

use super::entries::PLACES;
use super::whose::EDGE;
use super::{AuditAction, times, without_secrets};
use crate::change::{Op, Rev, Value};
use crate::error::{ReadError, TailError};
use crate::key::{Key, Scope};
use crate::kind::Kind;
use crate::query::Direction;
use crate::snapshot::Snapshot;
use crate::tables::signed;

/// Where an entry is among all: they are in the order in which things landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AuditPlace(pub u64);

impl AuditPlace {
    /// Behind all entries that can be.
    const END: AuditPlace = AuditPlace(i64::MAX as u64);

    /// The first of a revision; of a number that no revision can have, the end.
    pub const fn first_of(rev: Rev) -> AuditPlace {
        if rev.0 > AuditPlace::END.rev().0 { AuditPlace::END } else { AuditPlace(rev.0 << PLACES) }
    }

    pub const fn rev(self) -> Rev {
        Rev(self.0 >> PLACES)
    }
}

/// Which entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditOf {
    /// What is in an account.
    Account(AccountId),
    /// What is in an account and in none of its zones.
    Apart(AccountId),
    /// What belongs to a user.
    User(UserId),
    /// What is the edge's own.
    Edge,
    /// What a user did.
    By(UserId),
    Zone(ZoneId),
    /// An object by its id: that of its key, or where a scope has one object of the kind, the scope's.
    Object(String),
    /// Objects of a kind by what people call them.
    Named(String, Kind),
    /// All there are.
    All,
}

/// Between which places: from the first one on, up to the end and without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRange {
    pub first: AuditPlace,
    pub end: AuditPlace,
}

impl AuditRange {
    pub const ALL: AuditRange = AuditRange { first: AuditPlace(0), end: AuditPlace::END };

    /// What one revision did.
    pub const fn of(rev: Rev) -> AuditRange {
        AuditRange { first: AuditPlace::first_of(rev), end: AuditPlace::first_of(rev.next()) }
    }
}

/// What was done to an object, without the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub place: AuditPlace,
    pub at: Timestamp,
    /// Whose the object is, if it is no user's and not the edge's own. A membership is the account's.
    pub account: Option<AccountId>,
    pub user: Option<UserId>,
    pub token: Option<TokenId>,
    pub client: Option<IpAddr>,
    pub interface: String,
    pub request_id: [u8; 16],
    /// Of a summary without an id: whose objects, and of which kind.
    pub key: Key,
    /// None of a summary.
    pub object: Option<String>,
    pub name: Option<String>,
    pub action: AuditAction,
    /// 1, or of a summary how many objects it is about.
    pub count: u64,
}

/// How far the audit reaches back, and how much it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditExtent {
    pub entries: u64,
    /// Roughly.
    pub bytes: u64,
    /// The time of the oldest entry.
    pub since: Option<Timestamp>,
}

/// Entries of other objects that share an id with one, among which its own is looked for: a tunnel has that of its
/// configuration.
const NAMESAKES_MAX: usize = 64;

const COLUMNS: &str = "id, at, user, token, client, interface, request_id, key, object, name, action, count, owner";

impl Snapshot {
    /// Up to `limit` entries in `range`. One whose key this version does not know is left out.
    pub fn audit(
        &self,
        of: &AuditOf,
        range: AuditRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, ReadError> {
        let (condition, mut values) = match of {
            AuditOf::Account(account) => ("owner = ?", vec![Column::from(account.as_bytes().to_vec())]),
            AuditOf::Apart(account) => ("zone IS NULL AND owner = ?", vec![account.as_bytes().to_vec().into()]),
            AuditOf::User(user) => ("zone IS NULL AND owner = ?", vec![user.as_bytes().to_vec().into()]),
            AuditOf::Edge => ("zone IS NULL AND owner = ?", vec![EDGE.to_vec().into()]),
            AuditOf::By(user) => ("user = ?", vec![user.as_bytes().to_vec().into()]),
            AuditOf::Zone(zone) => ("zone = ?", vec![zone.as_bytes().to_vec().into()]),
            AuditOf::Object(id) => ("object = ?", vec![id.clone().into()]),
            AuditOf::Named(name, kind) => ("name = ? AND kind = ?", vec![name.clone().into(), kind.code().into()]),
            AuditOf::All => ("TRUE", vec![]),
        };
        let sql = select(condition, direction);
        values.extend([range.first.0, range.end.0].map(|place| Column::from(signed(place))));
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        self.look(|connection| {
            let mut select = connection.prepare_cached(&sql)?;
            let rows = select.query_map(rusqlite::params_from_iter(values), entry)?;
            rows.filter_map(|row| row.map_err(ReadError::from).transpose()).collect()
        })
    }

    /// What the object of an entry was before and after, in the formats of today. None of what is not known, or cannot be
    /// read by this version.
    pub fn audit_documents(&self, place: AuditPlace) -> Result<(Option<Value>, Option<Value>), ReadError> {
        let sql = "SELECT kind, before_format, before, after_format, after FROM audit WHERE id = ?";
        self.look(|connection| {
            let documents = connection
                .prepare_cached(sql)?
                .query_row([signed(place.0)], |row| {
                    let kind: i64 = row.get(0)?;
                    let kind = Kind::ALL.iter().copied().find(|known| known.code() == kind);
                    Ok((of_today(kind, row.get(1)?, row.get(2)?), of_today(kind, row.get(3)?, row.get(4)?)))
                })
                .optional()?;
            Ok(documents.unwrap_or_default())
        })
    }

    /// What the object of an entry was before, with what no audit gets, if the log still has the change that made it so. None
    /// also where that does not say the same as the audit.
    pub fn audit_before_whole(&self, place: AuditPlace) -> Result<Option<Value>, ReadError> {
        let one = AuditRange { first: place, end: AuditPlace(place.0.saturating_add(1)) };
        let Some(entry) = self.audit(&AuditOf::All, one, Direction::Ascending, 1)?.pop() else { return Ok(None) };
        let (Some(object), Some(before)) = (entry.object, self.audit_documents(place)?.0) else { return Ok(None) };
        let earlier = AuditRange { first: AuditPlace(0), end: place };
        let earlier = self.audit(&AuditOf::Object(object), earlier, Direction::Descending, NAMESAKES_MAX)?;
        let made = earlier.into_iter().find(|one| one.key == entry.key);
        let Some(rev) = made.map(|made| made.place.rev()).filter(|rev| *rev > Rev::ZERO) else { return Ok(None) };
        let changes = match self.tail(Rev(rev.0 - 1), 1) {
            Ok(changes) => changes,
            Err(TailError::Read(error)) => return Err(error),
            Err(TailError::Ahead { .. } | TailError::Compacted { .. }) => return Ok(None),
        };
        let ops = changes.into_iter().filter(|change| change.rev == rev).flat_map(|change| change.ops);
        let put = ops.into_iter().find_map(|op| match op {
            Op::Put { key, value } if key == entry.key => Some(value),
            Op::Put { .. } | Op::Del { .. } => None,
        });
        let kind = entry.key.kind();
        let Some(whole) = put.and_then(|put| of_today(Some(kind), Some(put.format), Some(put.json.to_string()))) else {
            return Ok(None);
        };
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).ok();
        let is_it = without_secrets(kind, &whole.json).and_then(|json| read(&json)) == read(&before.json);
        Ok(is_it.then_some(whole))
    }

    /// A place in front of which nothing is of this time or later.
    pub fn audit_since(&self, at: Timestamp) -> Result<AuditPlace, ReadError> {
        self.look(|connection| times::first(connection, at)).map(AuditPlace)
    }

    /// A place from which on nothing is of before this time.
    pub fn audit_before(&self, at: Timestamp) -> Result<AuditPlace, ReadError> {
        self.look(|connection| times::end(connection, at)).map(AuditPlace)
    }

    /// How far it reaches back, and how much it takes.
    pub fn audit_extent(&self) -> Result<AuditExtent, ReadError> {
        self.look(|connection| {
            let (entries, bytes): (Option<i64>, Option<i64>) = connection
                .prepare_cached("SELECT sum(entries), sum(bytes) FROM audit_share")?
                .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
            let since: Option<i64> = connection
                .prepare_cached("SELECT at FROM audit ORDER BY id LIMIT 1")?
                .query_row((), |row| row.get(0))
                .optional()?;
            Ok(AuditExtent {
                entries: entries.unwrap_or(0).cast_unsigned(),
                bytes: bytes.unwrap_or(0).cast_unsigned(),
                since: since.map(|at| Timestamp::from_unix_micros(at.cast_unsigned())),
            })
        })
    }
}

fn select(condition: &str, direction: Direction) -> String {
    let order = direction.sql();
    format!("SELECT {COLUMNS} FROM audit WHERE {condition} AND id >= ? AND id < ? ORDER BY id {order} LIMIT ?")
}

fn of_today(kind: Option<Kind>, format: Option<u16>, json: Option<String>) -> Option<Value> {
    let (documents, json) = (&kind?.declaration().documents, json?);
    let json = documents.upgrade(format?, &json).ok()?.into();
    Some(Value { format: documents.current(), json })
}

/// From the columns [`COLUMNS`].
fn entry(row: &Row<'_>) -> rusqlite::Result<Option<AuditEntry>> {
    let Ok(key) = Key::stored(row.get_ref(7)?.as_str()?) else { return Ok(None) };
    Ok(Some(AuditEntry {
        place: AuditPlace(row.get::<_, i64>(0)?.cast_unsigned()),
        at: Timestamp::from_unix_micros(row.get::<_, i64>(1)?.cast_unsigned()),
        account: match key.scope() {
            Scope::Edge => None,
            // A membership is the account's, but in entries of before.
            Scope::User(user) => {
                let owner: [u8; 16] = row.get(12)?;
                (owner != *user.as_bytes()).then(|| AccountId::from_bytes(owner))
            }
            Scope::Account(_) | Scope::Zone(_) => Some(AccountId::from_bytes(row.get(12)?)),
        },
        user: row.get::<_, Option<[u8; 16]>>(2)?.map(UserId::from_bytes),
        token: row.get::<_, Option<[u8; 16]>>(3)?.map(TokenId::from_bytes),
        client: row.get::<_, Option<String>>(4)?.and_then(|client| client.parse().ok()),
        interface: row.get(5)?,
        request_id: row.get(6)?,
        key,
        object: row.get(8)?,
        name: row.get(9)?,
        action: AuditAction::of_code(row.get(10)?),
        count: row.get::<_, i64>(11)?.cast_unsigned(),
    }))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::schema;

    /// How SQLite would answer a look for entries of whom `condition` says.
    fn plan(connection: &Connection, condition: &str) -> String {
        let sql = format!("EXPLAIN QUERY PLAN {}", select(condition, Direction::Descending));
        let mut explain = connection.prepare(&sql).unwrap();
        let nothing = vec![Column::Null; explain.parameter_count()];
        let steps = explain.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    }

    #[test]
    fn a_number_that_is_no_revision_has_no_entries() {
        let last = AuditPlace::END.rev();
        for (rev, is_empty) in [(0, false), (17, false), (last.0, false), (last.0 + 1, true), (u64::MAX, true)] {
            let AuditRange { first, end } = AuditRange::of(Rev(rev));
            assert_eq!((first >= end, is_empty || first.rev() == Rev(rev)), (is_empty, true), "{rev}");
        }
        // More bits than there are: it was taken for 17.
        assert_ne!(AuditPlace::first_of(Rev((1 << 46) + 17)), AuditPlace::first_of(Rev(17)));
    }

    #[test]
    fn every_look_is_served_by_an_index_in_the_order_of_landing() {
        let dir = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(dir.path()).unwrap();
        for (condition, index) in [
            ("owner = ?", "audit_owner (owner=? AND rowid>? AND rowid<?)"),
            ("zone IS NULL AND owner = ?", "audit_apart (owner=? AND rowid>? AND rowid<?)"),
            ("user = ?", "audit_user (user=? AND rowid>? AND rowid<?)"),
            ("zone = ?", "audit_zone (zone=? AND rowid>? AND rowid<?)"),
            ("object = ?", "audit_object (object=? AND rowid>? AND rowid<?)"),
            ("name = ? AND kind = ?", "audit_name (name=? AND kind=? AND rowid>? AND rowid<?)"),
        ] {
            let plan = plan(&connection, condition);
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{condition}: {plan}");
        }
    }
}
