//! `/bartizan/undo`: puts back what one change did, as a change of its own.
//!
//! ```text
//! the entries of the revision ─ what went with a deleted zone ─► one object each: before, and the revision that it has now
//!       │ may the caller write it? was it changed since?
//!       ▼
//! back: each kind by its own rules ─► one change, guarded by all that was looked at
//! ```
//! An import that took many revisions is taken back whole ([`import`]).
//! Nothing is put back in part, but for tokens and sessions of a user: they stay ended. What neither the audit has nor, of
//! secrets, the log, and objects that were only counted, is said and refused.

mod back;
mod import;

use std::collections::HashMap;

use axum::extract::{FromRequest, Request, State};
use bartizan_names::{AccountId, UserId, ZoneId};
use bartizan_store::{
    AuditAction, AuditEntry, AuditOf, AuditPlace, AuditRange, DELETION, Direction, Key, Kind, Op, Rev, Scope, Value,
};
use bartizan_v4::StoredUser;
use bartizan_v4::audit_log::{self, AuditMetadata, AuditResource, UndoBody, Undone, UndoneChange};

use super::kinds;
use super::sight::Sight;
use crate::caller::Caller;
use crate::dns_records::{Changed, ImportMode};
use crate::error::{Error, Fault};
use crate::extract::{Body, Patience};
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;
use crate::transaction::{Change, View};

/// Objects that one call puts back.
const OBJECTS_MAX: usize = 10_000;

/// The code of the message that says what does not come back.
const ENDED_MESSAGE: u32 = 10_428;

/// Entries of a zone's DNSSEC that are looked through for what somebody did: the edge makes a few with each exchanged key.
const KEEPER_ENTRIES: usize = 64;

/// The code of the message that a zone comes back without its signatures.
const UNSIGNED_MESSAGE: u32 = 10_429;

/// Bytes of documents that an answer shows.
const SHOWN_BYTES: usize = 4 << 20;

/// Undoes a change: a new change that puts back what it changed, all or nothing. Refused where something of it was
/// changed again since, unless `force` says so.
#[utoipa::path(
    post,
    path = "/bartizan/undo",
    tag = "Audit logs",
    request_body = UndoBody,
    responses((status = 200, body = bartizan_v4::Envelope<Undone>))
)]
pub(super) async fn undo(State(api): State<Api>, caller: Caller, request: Request) -> Result<Reply<Undone>, Error> {
    let patience = request.extensions().get::<Patience>().cloned();
    let Body(UndoBody { revision, dry_run, force }) = Body::from_request(request, &api).await?;
    // No change has a number below zero.
    let revision = u64::try_from(revision.0).unwrap_or_default();
    let dry_run = dry_run || caller.only_tries();
    if let Some(tried) = &caller.dry_run {
        tried.is_told_by_the_answer();
    }
    if let Some(import) = api.read(move |view| import::of(view, Rev(revision))).await? {
        let changed = if force { Changed::GoesToo } else { Changed::Refused };
        let mode = if dry_run { ImportMode::Preview } else { ImportMode::Land };
        let taken = import::undo(&api, caller, import, changed, mode, patience).await?;
        let changes: Vec<UndoneChange> = taken.shown.iter().map(import::told).collect();
        let objects = (taken.records > changes.len() as u64).then_some(taken.records);
        return Ok(Reply::of(Undone { revision, done: !dry_run, changes, objects }));
    }
    let (actor, shared) = (caller.clone(), api.clone());
    let (changes, ended, unsigned) = api
        .change(&actor, move |change| {
            let mut objects = Objects::read(change, Rev(revision))?;
            let ended = objects.leave_ended();
            let caller = objects.caller(&caller, shared.facts().account);
            objects.check(&Sight::new(&caller, shared.facts().account), change, force)?;
            let unsigned = back::put(&shared, &caller, change, &objects, force)?;
            let told = told(change, &objects)?;
            if dry_run {
                change.abandon();
            }
            Ok((told, ended, unsigned))
        })
        .await?;
    let reply = Reply::of(Undone { revision, done: !dry_run, changes, objects: None });
    let reply = unsigned
        .into_iter()
        .fold(reply, |reply, zone| reply.with_message(UNSIGNED_MESSAGE, format!("zone {zone} {}", back::UNSIGNED)));
    Ok(match ended {
        0 => reply,
        ended => reply.with_message(ENDED_MESSAGE, format!("{ended} tokens and sessions stay ended; make new ones")),
    })
}

/// What a change did to one object.
struct Object {
    key: Key,
    name: Option<String>,
    /// In the format of today, without secrets. None: it was not there.
    before: Option<Value>,
    /// The entry that says so.
    place: AuditPlace,
    /// The last entry of it.
    last: AuditPlace,
    /// Of the change.
    rev: Rev,
    /// Whether the change left it there.
    is_there: bool,
    /// Whose it was then, if it is no user's.
    account: Option<AccountId>,
    /// Of what was deleted behind a zone: by which request the zone was.
    went: Option<[u8; 16]>,
}

impl Object {
    /// As clients know it: where a scope has one of the kind, the scope's.
    fn id(&self) -> String {
        super::tried::id_of(&self.key)
    }

    /// How people know it.
    fn called(&self) -> String {
        let kind = self.key.kind().text().replace('_', " ");
        match &self.name {
            Some(name) => format!("{kind} {name}"),
            None => format!("{kind} {}", self.id()),
        }
    }
}

/// All that is to be put back.
struct Objects(Vec<Object>);

impl Objects {
    fn read(view: &View, revision: Rev) -> Result<Objects, Error> {
        let entries = |of: &AuditOf, range| view.0.audit(of, range, Direction::Ascending, OBJECTS_MAX + 1);
        let mut all = entries(&AuditOf::All, AuditRange::of(revision))?;
        if all.is_empty() {
            return Err(Fault::UndoUnknown.because(format!(
                "revision {revision} is older than the audit, changed nothing that people change, or is none"
            )));
        }
        let deleted: Vec<(ZoneId, [u8; 16])> = all.iter().filter_map(deleted_zone).collect();
        let comes_alone = deleted.is_empty();
        for (zone, request) in deleted {
            if view.has(&Key::deletion(zone))? {
                return Err(Fault::Busy.because("what was in the zone is still being deleted"));
            }
            let behind = AuditRange { first: AuditPlace::first_of(revision.next()), ..AuditRange::ALL };
            let rest = entries(&AuditOf::Zone(zone), behind)?;
            all.extend(rest.into_iter().filter(|one| one.interface == DELETION && one.request_id == request));
        }
        if let Some(counted) = all.iter().find(|entry| entry.object.is_none()) {
            let what = format!("of {} objects the audit has only the number", counted.count);
            return Err(Fault::UndoRefused.because(what));
        }
        if all.len() > OBJECTS_MAX {
            return Err(Fault::UndoRefused.because(format!("it changed more than {OBJECTS_MAX} objects")));
        }
        let mut objects = Objects(Vec::new());
        let mut known: HashMap<Key, usize> = HashMap::new();
        for entry in all {
            let is_there = entry.action != AuditAction::Delete;
            if let Some(at) = known.get(&entry.key) {
                let object = &mut objects.0[*at];
                (object.last, object.rev, object.is_there) = (entry.place, entry.place.rev(), is_there);
                continue;
            }
            let (before, _) = view.0.audit_documents(entry.place)?;
            if before.is_none() && entry.action != AuditAction::Add {
                let kind = entry.key.kind().text().replace('_', " ");
                let name = entry.name.as_deref().unwrap_or(entry.key.id());
                let what = format!("the audit does not have what {kind} {name} was before");
                return Err(Fault::UndoRefused.because(what));
            }
            known.insert(entry.key.clone(), objects.0.len());
            let went = (comes_alone && entry.interface == DELETION).then_some(entry.request_id);
            let AuditEntry { place, account, key, name, .. } = entry;
            objects.0.push(Object { key, name, before, place, last: place, rev: place.rev(), is_there, account, went });
        }
        Ok(objects)
    }

    /// Takes out what does not come back with a user: tokens and sessions that were ended stay so. How many.
    fn leave_ended(&mut self) -> usize {
        let Some(user) = self.returning() else { return 0 };
        let before = self.0.len();
        let is_ended =
            |key: &Key| key.scope() == Scope::User(user) && matches!(key.kind(), Kind::Token | Kind::Session);
        self.0.retain(|object| !is_ended(&object.key));
        before - self.0.len()
    }

    /// The user that the change deleted.
    fn returning(&self) -> Option<UserId> {
        let deleted = |object: &&Object| object.key.kind() == Kind::User && object.before.is_some() && !object.is_there;
        self.0.iter().find(deleted).and_then(|object| match object.key.scope() {
            Scope::User(user) => Some(user),
            _ => None,
        })
    }

    /// The user that the change made.
    fn made(&self) -> Option<UserId> {
        let made = |object: &&Object| object.key.kind() == Kind::User && object.before.is_none() && object.is_there;
        self.0.iter().find(made).and_then(|object| match object.key.scope() {
            Scope::User(user) => Some(user),
            _ => None,
        })
    }

    /// The caller where the change was made: in that account, if they are in it. Users are the edge's.
    fn caller(&self, caller: &Caller, edge: AccountId) -> Caller {
        let of_user = self.returning().or(self.made()).map(|_| edge);
        let account = of_user.or_else(|| self.0.iter().find_map(|object| object.account));
        match account.filter(|account| caller.accounts.contains(account)) {
            Some(account) => caller.clone().acting_in(account),
            None => caller.clone(),
        }
    }

    /// Whether the caller may do all of it, and nobody did something else since.
    fn check(&self, sight: &Sight<'_>, view: &View, force: bool) -> Result<(), Error> {
        let (me, user) = (sight.caller().user, self.returning().or(self.made()));
        for object in &self.0 {
            let account = match object.key.zone_id() {
                Some(zone) => view.account_of_zone(zone)?.or_else(|| back::account_in(self, zone)).or(object.account),
                None => None,
            };
            if !sight.covers_in(&object.key, account) {
                // That it is there is not told.
                return Err(Fault::UndoUnknown.because("it changed what you may not see"));
            }
            let of_other = match object.key.scope() {
                Scope::User(user) => Some(user).filter(|user| *user != me),
                _ => None,
            };
            if of_other.is_some() && of_other == user {
                if !sight.changes_people() {
                    let what =
                        format!("{} needs the permission {}", object.called(), Permission::EdgeUsersWrite.group());
                    return Err(Fault::NotAllowed.because(what));
                }
                refuse_changed(view, object, force)?;
                continue;
            }
            if let Some(user) = of_other {
                return Err(Fault::UndoRefused.because(of_another(view, user, object)?));
            }
            if let Some((name, revision)) = went_with(view, object)? {
                return Err(Fault::UndoRefused.because(format!("it went with zone {name}: undo {revision}")));
            }
            let permission = kinds::write_permission(object.key.kind(), object.key.scope())
                .ok_or_else(|| Fault::UndoRefused.because(format!("{} is not put back", object.called())))?;
            let comes_back = object.key.kind() == Kind::Zone && !object.is_there;
            if !sight.may(permission, &object.key, account, comes_back) {
                let what = format!("{} needs the permission {}", object.called(), permission.group());
                return Err(Fault::NotAllowed.because(what));
            }
            refuse_changed(view, object, force)?;
        }
        Ok(())
    }
}

/// Why what is another user's is not put back, and what does it where something does.
fn of_another(view: &View, user: UserId, object: &Object) -> Result<String, Error> {
    let email = view.if_readable::<StoredUser>(&Key::user(user))?.map(|user| user.email);
    let what = match (object.key.kind(), email) {
        (Kind::Membership, Some(email)) if object.before.is_none() => {
            format!("it made {email} a member: `bartizan account member remove {email}` takes them out")
        }
        (Kind::Membership, Some(email)) => {
            format!("{email} is another user: `bartizan account member` adds and removes members")
        }
        _ => format!("{} is another user's", object.called()),
    };
    Ok(what)
}

fn refuse_changed(view: &View, object: &Object, force: bool) -> Result<(), Error> {
    match changed_since(view, object)?.filter(|_| !force) {
        Some(since) => Err(Fault::UndoChangedSince.because(format!("{} was {since}", object.called()))),
        None => Ok(()),
    }
}

/// How people know what is there now: its kind, its type if it has one, and its name.
fn called(view: &View, key: &Key) -> Result<String, Error> {
    let kind = key.kind().text().replace('_', " ");
    let document = view.if_readable::<serde_json::Value>(key)?.unwrap_or_default();
    let text = |at: &str| document.pointer(at).and_then(serde_json::Value::as_str);
    let name = text("/name").or_else(|| text("/dns/name")).or_else(|| text("/configuration/value"));
    Ok(match (key.kind(), name) {
        (Kind::Record, Some(name)) => format!("{kind} {name} {}", text("/type").unwrap_or_default()),
        (_, Some(name)) => format!("{kind} {name}"),
        (_, None) => format!("{kind} {}", key.id()),
    })
}

/// The zone that an entry says is deleted, and by which request.
fn deleted_zone(entry: &AuditEntry) -> Option<(ZoneId, [u8; 16])> {
    let is_deleted = entry.key.kind() == Kind::Zone && entry.action == AuditAction::Delete;
    entry.key.zone_id().filter(|_| is_deleted).map(|zone| (zone, entry.request_id))
}

/// The zone with which an object went, and the revision that deleted that.
fn went_with(view: &View, object: &Object) -> Result<Option<(String, Rev)>, Error> {
    let (Some(request), Some(zone)) = (object.went, object.key.zone_id()) else { return Ok(None) };
    let entries = view.0.audit(&AuditOf::Object(zone.to_string()), AuditRange::ALL, Direction::Descending, 8)?;
    let deletion = entries.into_iter().find(|entry| deleted_zone(entry) == Some((zone, request)));
    Ok(deletion.map(|entry| (entry.name.unwrap_or_else(|| zone.to_string()), entry.place.rev())))
}

/// What was done to an object since, with the revision that did it; none if nothing was.
fn changed_since(view: &View, object: &Object) -> Result<Option<String>, Error> {
    Ok(match (object.is_there, view.0.rev(&object.key)?) {
        (true, Some(rev)) if rev == object.rev => None,
        // Deleted tunnels stay as documents.
        (false, Some(rev)) if rev == object.rev => None,
        (false, None) => None,
        (true, Some(_)) if is_left_to_keeper(view, object)? => None,
        (_, Some(rev)) => Some(format!("changed by revision {rev}")),
        (true, None) => {
            let last = view.0.audit(&AuditOf::Object(object.id()), AuditRange::ALL, Direction::Descending, 8)?;
            let last = last.into_iter().find(|entry| entry.key == object.key && entry.action == AuditAction::Delete);
            Some(match last {
                Some(entry) => format!("deleted by revision {}", entry.place.rev()),
                None => "deleted since".to_owned(),
            })
        }
    })
}

/// Whether all that was done since to a zone's DNSSEC is what the edge does by itself: it notes what the parent has, and
/// exchanges keys, and neither is put back.
fn is_left_to_keeper(view: &View, object: &Object) -> Result<bool, Error> {
    if object.key.kind() != Kind::Dnssec {
        return Ok(false);
    }
    let of = AuditOf::Object(object.id());
    let entries = view.0.audit(&of, AuditRange::ALL, Direction::Descending, KEEPER_ENTRIES)?;
    let mut entries = entries.into_iter().filter(|entry| entry.key == object.key);
    Ok(entries
        .find(|entry| entry.interface != bartizan_dnssec::INTERFACE)
        .is_some_and(|entry| entry.place.rev() == object.rev))
}

/// What is done to each object, and with what.
fn told(change: &Change, objects: &Objects) -> Result<Vec<UndoneChange>, Error> {
    let becomes: HashMap<&Key, &Op> = change.ops().iter().map(|op| (op.key(), op)).collect();
    let mut left = SHOWN_BYTES;
    let mut changes = Vec::new();
    for object in &objects.0 {
        let Some(op) = becomes.get(&object.key) else { continue };
        let now = change.0.get(&object.key)?.map(|entry| entry.value);
        let new = if let Op::Put { value, .. } = op { Some(value.clone()) } else { None };
        let kind = match (&now, &new) {
            (None, _) => AuditAction::Add,
            (Some(_), None) => AuditAction::Delete,
            (Some(_), Some(_)) => AuditAction::Change,
        };
        let mut shown = |value: Option<Value>| {
            let value = value?;
            left = left.checked_sub(value.json.len())?;
            kinds::shown(object.key.kind(), &value.json)
        };
        changes.push(UndoneChange {
            action: audit_log::AuditAction { result: true, kind: kind.to_string() },
            resource: AuditResource { id: object.id(), kind: object.key.kind().text().to_owned() },
            metadata: AuditMetadata {
                name: object.name.clone(),
                zone_id: object.key.zone_id().map(|zone| zone.to_string()),
                ..AuditMetadata::default()
            },
            old_value: shown(now),
            new_value: shown(new),
        });
    }
    Ok(changes)
}
