//! The walk through the log, from the newest change that is asked for to older ones, within a budget.
//!
//! One change is in memory at a time. When the budget is spent the walk ends, and says at which revision to go on.

use bartizan_names::{AccountId, Timestamp};
use bartizan_store::{Change as Revision, Op, ReadError, Rev, TailError};
use bartizan_v4::audit_log::{AuditAction, AuditActor, AuditExtension, AuditLog, AuditOwner, AuditResource};
use serde_json::Value;

use super::Wanted;
use super::people::{People, Person};
use super::shown;
use super::sight::{Sight, is_told};
use crate::caller::Caller;
use crate::error::Error;
use crate::reply::Page;
use crate::transaction::View;

/// How much of the log is looked at for one page.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    pub(super) revisions: u64,
    /// Of keys and documents that are read.
    pub(super) read_bytes: usize,
    /// Of documents that are shown: of several of the longest, or a thousand of usual ones.
    pub(super) shown_bytes: usize,
}

pub(super) const BUDGET: Budget = Budget { revisions: 50_000, read_bytes: 64 << 20, shown_bytes: 4 << 20 };

/// Changes that are made beside each other may land in another order than that of their times, by a few revisions.
const OUT_OF_ORDER_MAX: u64 = 100;

/// A page, and what is not in it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) entries: Vec<AuditLog>,
    /// How many there are as far as it was looked: one more if there may be others.
    pub(super) total: u64,
    /// Changes that cannot be read.
    pub(super) unreadable: u64,
    /// Entries whose documents did not fit.
    pub(super) without_document: u64,
    /// What is older than this revision was not looked at any more.
    pub(super) stopped_at: Option<Rev>,
}

pub(super) fn walk(
    view: &View,
    caller: &Caller,
    wanted: &Wanted,
    page: Page,
    mut left: Budget,
) -> Result<Found, Error> {
    let (first, end) = (page.before(), page.before() + u64::from(page.size));
    let (mut sight, mut people, mut found) = (Sight::new(view, caller), People::default(), Found::default());
    let (oldest, newest) = bounds(view, wanted)?;
    for rev in (oldest..=newest).rev() {
        if left.revisions == 0 || left.read_bytes == 0 {
            found.stopped_at = Some(Rev(rev + 1));
            found.total += 1;
            break;
        }
        let change = match read(view, Rev(rev))? {
            One::Change(change) => change,
            One::Gone => break,
            One::Unreadable => {
                found.unreadable += 1;
                continue;
            }
        };
        left.revisions -= 1;
        left.read_bytes = left.read_bytes.saturating_sub(change.ops.iter().map(length).sum());
        if change.meta.interface != "api" || !wanted.takes_change(&change) {
            continue;
        }
        for (index, op) in change.ops.iter().filter(|op| is_told(op.key())).enumerate() {
            if !wanted.takes_object(op, &change, index) || !sight.covers(op.key())? {
                continue;
            }
            let person = people.find(view, &mut sight, caller.account, &change.meta.actor)?;
            if !wanted.takes_person(&person) {
                continue;
            }
            found.total += 1;
            if found.total > end {
                return Ok(found);
            }
            if found.total > first {
                let document = match op {
                    Op::Put { key, value } if value.json.len() <= left.shown_bytes => {
                        left.shown_bytes -= value.json.len();
                        shown::document(key.kind(), &value.json)
                    }
                    Op::Put { .. } => {
                        found.without_document += 1;
                        None
                    }
                    Op::Del { .. } => None,
                };
                found.entries.push(entry(caller.account, &change, op, index, person, document));
            }
        }
    }
    Ok(found)
}

fn length(op: &Op) -> usize {
    let document = match op {
        Op::Put { value, .. } => value.json.len(),
        Op::Del { .. } => 0,
    };
    op.key().as_str().len() + document
}

/// The oldest and the newest revision that may be wanted.
fn bounds(view: &View, wanted: &Wanted) -> Result<(u64, u64), Error> {
    let oldest = match view.0.tail(Rev::ZERO, 1) {
        Err(TailError::Compacted { oldest }) => oldest.0,
        // The first change is there, readable or not.
        _ => 1,
    };
    let mut bounds = (oldest, view.0.head().0);
    if let Some(since) = wanted.since {
        let first = first_since(view, bounds, since)?.unwrap_or(oldest);
        bounds.0 = first.saturating_sub(OUT_OF_ORDER_MAX).max(oldest);
    }
    if let Some(behind) = wanted.before.map(|before| first_since(view, bounds, before)).transpose()?.flatten() {
        bounds.1 = bounds.1.min(behind.saturating_add(OUT_OF_ORDER_MAX));
    }
    if let Some(before) = wanted.before_revision {
        bounds.1 = bounds.1.min(before.saturating_sub(1));
    }
    Ok(bounds)
}

/// The first revision at this time or later, found by halving; none if one on the way cannot be read.
fn first_since(view: &View, (oldest, newest): (u64, u64), at: Timestamp) -> Result<Option<u64>, Error> {
    let (mut low, mut high) = (oldest, newest.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        match read(view, Rev(middle))? {
            One::Change(change) if change.meta.at < at => low = middle + 1,
            One::Change(_) => high = middle,
            One::Gone | One::Unreadable => return Ok(None),
        }
    }
    Ok(Some(low))
}

enum One {
    Change(Revision),
    /// The log begins behind it.
    Gone,
    Unreadable,
}

fn read(view: &View, rev: Rev) -> Result<One, Error> {
    match view.0.tail(Rev(rev.0.saturating_sub(1)), 1) {
        Ok(changes) => Ok(changes.into_iter().next().map_or(One::Gone, One::Change)),
        Err(TailError::Compacted { .. }) => Ok(One::Gone),
        Err(TailError::Read(ReadError::Corrupt(_))) => Ok(One::Unreadable),
        Err(TailError::Read(error)) => Err(error.into()),
        Err(error) => Err(Error::internal(&error)),
    }
}

fn entry(
    account: AccountId,
    change: &Revision,
    op: &Op,
    index: usize,
    person: Person,
    new_value: Option<Value>,
) -> AuditLog {
    let key = op.key();
    let of_scope = key.scope().to_string();
    // Where a scope has one object of the kind, its id is the scope's.
    let id = if key.id().is_empty() { of_scope.rsplit('/').next().unwrap_or_default() } else { key.id() };
    AuditLog {
        id: id_of(&change.meta.request_id, index),
        when: change.meta.at,
        action: AuditAction { result: true, kind: shown::action(op, change.meta.at).to_owned() },
        actor: AuditActor {
            id: person.user.map(|user| user.to_string()),
            email: person.email,
            ip: change.meta.client,
            kind: "user".to_owned(),
        },
        resource: AuditResource { id: id.to_owned(), kind: key.kind().text().to_owned() },
        interface: change.meta.interface.clone(),
        new_value,
        owner: AuditOwner { id: account.to_string() },
        bartizan: AuditExtension {
            revision: change.rev.0,
            key: key.to_string(),
            token: person.token.map(|token| token.to_string()),
            token_name: person.token_name,
        },
    }
}

/// The first object of a request has the request's id, further ones of their own.
pub(super) fn id_of(request: &[u8; 16], index: usize) -> String {
    match index {
        0 => hex::encode(request),
        _ => hex::encode(&bartizan_seal::sha256(&[&request[..], &index.to_be_bytes()].concat())[..16]),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::{TunnelId, UserId};
    use bartizan_store::{ChangeSet, Key, Kind, Meta, Store, Value};

    use super::*;

    const ALL: Page = Page { number: 1, size: 1_000 };

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    /// A store with so many changes, one a second.
    fn store(directory: &std::path::Path, changes: u64, account: AccountId) -> Store {
        let store = Store::open(directory).unwrap();
        for second in 1..=changes {
            let key = Key::tunnel_config(account, TunnelId::from_bytes([1; 16]));
            let meta = Meta {
                at: at(second),
                actor: "test".to_owned(),
                interface: "api".to_owned(),
                client: None,
                request_id: bartizan_seal::random(),
            };
            let ops = vec![Op::Put { key, value: Value::of(Kind::TunnelConfig, "{}") }];
            store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
        }
        store
    }

    fn caller(account: AccountId) -> Caller {
        Caller::with_all(UserId::from_bytes([2; 16]), account)
    }

    fn everything() -> Wanted {
        Wanted {
            by: None,
            id: None,
            action: None,
            ip: None,
            email: None,
            zone: None,
            since: None,
            before: None,
            before_revision: None,
        }
    }

    fn revisions(found: &Found) -> Vec<u64> {
        found.entries.iter().map(|entry| entry.bartizan.revision).collect()
    }

    #[test]
    fn a_walk_that_stops_goes_on_where_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let account = AccountId::from_bytes([3; 16]);
        let view = View(store(directory.path(), 30, account).read().unwrap());
        for budget in [Budget { revisions: 12, ..BUDGET }, Budget { read_bytes: 200, ..BUDGET }] {
            let (mut seen, mut wanted, mut walks) = (Vec::new(), everything(), 0);
            loop {
                let found = walk(&view, &caller(account), &wanted, ALL, budget).unwrap();
                seen.extend(revisions(&found));
                walks += 1;
                let more = u64::from(found.stopped_at.is_some());
                assert_eq!(found.total, found.entries.len() as u64 + more);
                let Some(rev) = found.stopped_at else { break };
                wanted.before_revision = Some(rev.0);
            }
            assert_eq!(seen, (1..=30).rev().collect::<Vec<_>>());
            assert!(walks > 2, "{walks}");
        }
    }

    /// What is newer than what is wanted costs nothing of the budget, nor does what is older.
    #[test]
    fn a_time_says_where_the_walk_begins_and_ends() {
        let directory = tempfile::tempdir().unwrap();
        let account = AccountId::from_bytes([3; 16]);
        let view = View(store(directory.path(), 400, account).read().unwrap());
        let budget = Budget { revisions: 230, ..BUDGET };
        for (since, before, expect, stops) in [
            (None, Some(150), 21..150, true),
            (Some(140), Some(150), 140..150, false),
            (Some(390), None, 390..401, false),
            (None, Some(20), 1..20, false),
            (Some(500), None, 0..0, false),
            (None, Some(0), 0..0, false),
        ] {
            let wanted = Wanted { since: since.map(at), before: before.map(at), ..everything() };
            let found = walk(&view, &caller(account), &wanted, ALL, budget).unwrap();
            assert_eq!(revisions(&found), expect.rev().collect::<Vec<_>>(), "{since:?} {before:?}");
            assert_eq!(found.stopped_at.is_some(), stops, "{since:?} {before:?}");
        }
    }
}
