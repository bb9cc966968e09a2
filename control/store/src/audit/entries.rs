//! What a change set adds to the audit, in the transaction in which it lands.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use bartizan_names::{AccountId, ZoneId};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;

use super::share::Shares;
use super::whose::{By, EDGE, Place, account_of, deletion_of};
use super::{
    API, AuditAction, DELETION, IMPORT, RECOVERY, REPLACED, SMALL, behind_change, name_in, who, without_secrets,
};
use crate::change::{Meta, Op, Rev};
use crate::key::{Key, Prefix, Scope};
use crate::kind::Kind;
use crate::tables::signed;

/// Entries of one revision: more than a change set has steps.
pub(super) const PLACES: u32 = 18;

/// What an entry takes beside its texts: the row, and its places in the indexes.
const ROW_BYTES: usize = 300;

/// Whether what was asked for through `interface` has entries. What the edge does by itself has none but three: the rest
/// of a deletion, the removal of an import, and new credentials in the place of the administrator's.
pub(crate) fn is_audited(interface: &str) -> bool {
    [DELETION, IMPORT, RECOVERY].contains(&interface) || interface.split(' ').next() == Some(API)
}

/// Where it is read what an object was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// From the object itself: the operation is about to be carried out.
    Object,
    /// From its last entry: it was carried out long ago.
    Audit,
}

/// The entries of one change set.
pub(crate) struct Entries<'m> {
    rev: Rev,
    meta: &'m Meta,
    by: By,
    before: Before,
    /// None of a small change set.
    large: Option<u64>,
    next: u32,
    zones: HashMap<ZoneId, Option<Place>>,
    left_over: BTreeMap<(String, AuditAction), (Key, u64)>,
}

/// An object before or after.
struct Document<'d> {
    format: u16,
    json: Cow<'d, str>,
}

impl<'m> Entries<'m> {
    /// None for a change set that has no entries.
    pub(crate) fn begin(rev: Rev, meta: &'m Meta, ops: &[Op]) -> Option<Entries<'m>> {
        Entries::begin_from(rev, meta, ops, Before::Object)
    }

    pub(super) fn begin_from(rev: Rev, meta: &'m Meta, ops: &[Op], before: Before) -> Option<Entries<'m>> {
        let told = ops.iter().filter(|op| op.key().kind().declaration().audited.is_some()).count();
        if told == 0 || !is_audited(&meta.interface) {
            return None;
        }
        let (user, token) = who(&meta.actor);
        let (user, token) = (user.map(|user| *user.as_bytes()), token.map(|token| *token.as_bytes()));
        let by = By {
            writer: token.or(user).unwrap_or_default(),
            user,
            token,
            client: meta.client.map(|client| client.to_string()),
            request_id: meta.request_id,
        };
        let large = (told > SMALL).then(|| meta.at.unix_micros() / 3_600_000_000);
        Some(Entries { rev, meta, by, before, large, next: 0, zones: HashMap::new(), left_over: BTreeMap::new() })
    }

    /// Notes what an operation is about to do. All operations of the change set are given, in their order.
    pub(crate) fn note(
        &mut self,
        connection: &Connection,
        shares: &mut Shares,
        op: &Op,
        ops: &[Op],
    ) -> rusqlite::Result<()> {
        let key = op.key();
        if key.kind().declaration().audited.is_none() {
            return Ok(());
        }
        let whole = self.before(connection, key)?;
        let hidden =
            |whole: &Document<'_>| Document { format: whole.format, json: self.without_secrets(key, &whole.json) };
        let before = whole.as_ref().map(hidden);
        let Some(action) = action(op, before.as_ref(), self.before, self.meta) else { return Ok(()) };
        let Some(place) = self.place(connection, key, ops)? else { return Ok(()) };
        if let Some(hour) = self.large
            && !shares.take_large(connection, place.owner, place.by.writer, hour, action)?
        {
            let of = Prefix::of(key.scope(), key.kind());
            let many = self.left_over.entry((of.first().to_owned(), action)).or_insert_with(|| (key.clone(), 0));
            many.1 += 1;
            return Ok(());
        }
        let after = match op {
            Op::Put { key, value } => {
                // Of what was carried out long ago nobody knows which secrets were others.
                let known = whole.as_ref().filter(|_| self.before == Before::Object);
                let json = behind_change(key.kind(), known.map(|whole| &*whole.json), &value.json);
                json.map(|json| Document { format: value.format, json })
            }
            Op::Del { .. } => None,
        };
        let named = after.as_ref().or(before.as_ref());
        let name = named.and_then(|document| name_in(key.kind(), &document.json));
        let entry = Entry { place: &place, key, object: Some(object(key)), name, action, count: 1, before, after };
        self.put(connection, shares, &entry)
    }

    /// Tells what has no entry of its own.
    pub(crate) fn end(mut self, connection: &Connection, shares: &mut Shares, ops: &[Op]) -> rusqlite::Result<()> {
        for ((_, action), (key, count)) in std::mem::take(&mut self.left_over) {
            let Some(place) = self.place(connection, &key, ops)? else { continue };
            let entry =
                Entry { place: &place, key: &key, object: None, name: None, action, count, before: None, after: None };
            self.put(connection, shares, &entry)?;
        }
        Ok(())
    }

    fn before(&self, connection: &Connection, key: &Key) -> rusqlite::Result<Option<Document<'static>>> {
        let (sql, object) = match self.before {
            Before::Object => ("SELECT format, json FROM object WHERE key = ?1 AND ?2 = ?2", String::new()),
            Before::Audit => (
                "SELECT after_format, after FROM audit WHERE key = ?1 AND object = ?2 ORDER BY id DESC LIMIT 1",
                object(key),
            ),
        };
        let found = connection
            .prepare_cached(sql)?
            .query_row([key.as_str(), &object], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((Some(format), Some(json))): Option<(Option<u16>, Option<String>)> = found else { return Ok(None) };
        Ok(Some(Document { format, json: json.into() }))
    }

    /// What the audit gets of a document that was there, whatever it was.
    fn without_secrets(&self, key: &Key, json: &str) -> Cow<'static, str> {
        match self.before {
            Before::Object => without_secrets(key.kind(), json).map(Cow::into_owned).unwrap_or_default().into(),
            Before::Audit => without_replaced(json).into(),
        }
    }

    /// Whose an object is. None where nobody can tell: then nobody could be shown the entry either.
    fn place(&mut self, connection: &Connection, key: &Key, ops: &[Op]) -> rusqlite::Result<Option<Place>> {
        let of = |owner: [u8; 16]| Some(Place { owner, by: self.by.clone() });
        let zone = match key.scope() {
            Scope::Edge => return Ok(of(EDGE)),
            // Who belongs to an account is the account's matter.
            Scope::User(_) if key.kind() == Kind::Membership => {
                return Ok(key.id_as::<AccountId>().and_then(|account| of(*account.as_bytes())));
            }
            Scope::User(user) => return Ok(of(*user.as_bytes())),
            Scope::Account(account) => return Ok(of(*account.as_bytes())),
            Scope::Zone(zone) => zone,
        };
        if let Some(known) = self.zones.get(&zone) {
            return Ok(known.clone());
        }
        let place = match account_of(connection, zone, ops)? {
            Some(account) if self.meta.interface != DELETION => of(*account.as_bytes()),
            Some(_) => None,
            // What the edge does for somebody is theirs.
            None => deletion_of(connection, zone)?,
        };
        self.zones.insert(zone, place.clone());
        Ok(place)
    }

    fn put(&mut self, connection: &Connection, shares: &mut Shares, entry: &Entry<'_>) -> rusqlite::Result<()> {
        let Entry { place: Place { owner, by }, key, object, name, action, count, before, after } = entry;
        // Of a summary, what it is about and no more.
        let of = Prefix::of(key.scope(), key.kind());
        let key_text = if object.is_some() { key.as_str() } else { of.first().trim_end_matches('/') };
        let length = |document: &Option<Document<'_>>| document.as_ref().map_or(0, |document| document.json.len());
        let texts = length(before) + length(after) + key_text.len() + name.as_ref().map_or(0, String::len);
        let bytes = (ROW_BYTES + texts) as u64;
        let zone = key.zone_id().map(|zone| *zone.as_bytes());
        let (before, after) = (before.as_ref(), after.as_ref());
        connection
            .prepare_cached(
                "INSERT INTO audit (id, at, owner, writer, user, token, zone, kind, object, name, action, count, bytes, key,
                    request_id, interface, client, before_format, after_format, before, after)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                signed(self.rev.0 << PLACES) + i64::from(self.next),
                signed(self.meta.at.unix_micros()),
                owner,
                by.writer,
                by.user,
                by.token,
                zone,
                key.kind().code(),
                object,
                name,
                action.code(),
                signed(*count),
                signed(bytes),
                key_text,
                by.request_id,
                self.meta.interface,
                by.client,
                before.map(|document| document.format),
                after.map(|document| document.format),
                before.map(|document| &*document.json),
                after.map(|document| &*document.json),
            ])?;
        self.next += 1;
        shares.add(*owner, by.writer, bytes);
        Ok(())
    }
}

struct Entry<'e> {
    place: &'e Place,
    key: &'e Key,
    object: Option<String>,
    name: Option<String>,
    action: AuditAction,
    count: u64,
    before: Option<Document<'e>>,
    after: Option<Document<'e>>,
}

/// A document behind one change as it is in front of the next.
fn without_replaced(json: &str) -> String {
    let Ok(serde_json::Value::Object(mut members)) = serde_json::from_str(json) else { return json.to_owned() };
    match members.remove(REPLACED) {
        Some(_) => serde_json::Value::Object(members).to_string(),
        None => json.to_owned(),
    }
}

/// The id of an object as clients know it: where a scope has one of the kind, the scope's.
fn object(key: &Key) -> String {
    if !key.id().is_empty() {
        return key.id().to_owned();
    }
    key.scope().to_string().rsplit('/').next().unwrap_or_default().to_owned()
}

/// What was done; none if nothing was.
fn action(op: &Op, before: Option<&Document<'_>>, source: Before, meta: &Meta) -> Option<AuditAction> {
    let Op::Put { key, value } = op else {
        // What a log tells of was there when it was deleted.
        return (before.is_some() || source == Before::Audit).then_some(AuditAction::Delete);
    };
    let said = || serde_json::from_str::<Said>(&value.json).unwrap_or_default();
    // Deleted tunnels stay as documents.
    if key.kind() == Kind::Tunnel && said().deleted_at.is_some() {
        return Some(AuditAction::Delete);
    }
    let Some(before) = before else {
        let made_now = || said().created_on.and_then(|made| made.as_str()?.parse().ok()) == Some(meta.at);
        let is_new = source == Before::Object || made_now();
        return Some(if is_new { AuditAction::Add } else { AuditAction::Change });
    };
    // A new secret is a change that nobody is shown.
    let shows_all = key.kind().declaration().audited.as_ref()?.secrets.is_empty();
    let is_same = shows_all && before.format == value.format && before.json == *value.json;
    (!is_same).then_some(AuditAction::Change)
}

/// What a document says of itself.
#[derive(Default, Deserialize)]
struct Said {
    #[serde(alias = "created_at", alias = "issued_on")]
    created_on: Option<serde_json::Value>,
    deleted_at: Option<serde_json::Value>,
}
