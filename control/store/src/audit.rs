//! The audit: what was done to each object, by whom, and what it was before and after. It outlives the log of changes.
//!
//! ```text
//! entries    what a change set adds, in the transaction in which it lands
//! whose      whose an object is, and who did it
//! share      how much is whose
//! retention  how long entries stay, and how many
//! trim       what goes when there is too much, or when it is too old
//! times      where entries of a time are
//! read       entries found again: by account, user, zone, object, name or revision, each from an index
//! old        the audit of a file that has only a log
//! ```
//! An entry follows from the change set and from the state before it, so that every control node that applies a log has the
//! same ones. What each keeps of them in the end is its own: they are no part of the state, and whoever only serves has no use
//! for them.
//!
//! Bounds, all of them:
//! - A change set of up to [`SMALL`] objects has an entry for each. Of larger ones each writer has so many such entries of
//!   each action in an hour ([`AuditAction::large_per_hour`]); what is beyond is told by a summary for each zone, kind and
//!   action, which says how many. Additions have an allowance of their own: whoever makes many cannot hide by it what they
//!   change and delete after.
//! - Days and bytes ([`AuditRetention`]). Whoever has more than their part goes first: an account's part is the whole by the
//!   number of accounts, a writer's part that of the account by the number of its writers.
//! - No secret: a kind's declaration says which members of its documents the audit never gets.

mod entries;
mod old;
mod read;
mod retention;
mod share;
mod times;
mod trim;
mod whose;

use std::borrow::Cow;
use std::fmt;

use bartizan_names::{TokenId, UserId};
use serde_json::Value as Json;

pub(crate) use self::entries::Entries;
pub(crate) use self::old::from_log;
pub use self::read::{AuditEntry, AuditExtent, AuditOf, AuditPlace, AuditRange};
pub use self::retention::AuditRetention;
pub(crate) use self::retention::Kept;
pub(crate) use self::share::{Shares, recount};
pub(crate) use self::trim::{Dropped, Trim, drop_older};
use crate::kind::Kind;

/// Objects of a change set that always have an entry each.
const SMALL: usize = 100;

/// Objects that larger change sets add and that have an entry each, for one writer in one hour: a batch of the most records,
/// twice. What was before is nothing, and what came of it is seen.
const LARGE_ADDED_PER_HOUR: u64 = 20_000;

/// The same of those that they change, and of those that they delete: what was before is nowhere else.
const LARGE_LOST_PER_HOUR: u64 = 200_000;

/// However old they are, so many of the newest stay: a clock that is wrong by years must not take them.
const ENTRIES_MIN: u64 = 10_000;

/// What people ask for through the API. A route may stand behind it: `api POST /zones`.
pub const API: &str = "api";

/// What the edge deletes after a zone that somebody deleted: entries that are theirs.
pub const DELETION: &str = "deletion";

/// What the edge takes back of an import that did not come to its end: its records had entries when they came.
pub const IMPORT: &str = "import";

/// New credentials of the administrator, made by a start that found none.
pub const RECOVERY: &str = "recovery";

/// What of the audit goes with an object of a kind.
pub(crate) struct Audited {
    /// Where in a document stands what people call the object (RFC 6901).
    pub(crate) name: &'static str,
    /// Members of a document that no audit gets.
    pub(crate) secrets: &'static [&'static str],
}

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditAction {
    Add,
    Change,
    Delete,
}

impl AuditAction {
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditAction::Add => "add",
            AuditAction::Change => "change",
            AuditAction::Delete => "delete",
        }
    }

    const fn code(self) -> i64 {
        match self {
            AuditAction::Add => 0,
            AuditAction::Change => 1,
            AuditAction::Delete => 2,
        }
    }

    /// Objects of larger change sets that have an entry each, for one writer in one hour.
    const fn large_per_hour(self) -> u64 {
        match self {
            AuditAction::Add => LARGE_ADDED_PER_HOUR,
            AuditAction::Change | AuditAction::Delete => LARGE_LOST_PER_HOUR,
        }
    }

    const fn of_code(code: i64) -> AuditAction {
        match code {
            0 => AuditAction::Add,
            2 => AuditAction::Delete,
            _ => AuditAction::Change,
        }
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who is behind the actor of a change: `token:ID user:ID`, `user:ID`, and from older builds `token:ID` alone.
pub(crate) fn who(actor: &str) -> (Option<UserId>, Option<TokenId>) {
    let mut found = (None, None);
    for part in actor.split(' ') {
        match part.split_once(':') {
            Some(("user", id)) => found.0 = id.parse().ok(),
            Some(("token", id)) => found.1 = id.parse().ok(),
            _ => {}
        }
    }
    found
}

/// What of a document the audit gets; none of one of which it cannot be told what is secret.
fn without_secrets(kind: Kind, json: &str) -> Option<Cow<'_, str>> {
    let secrets = kind.declaration().audited.as_ref()?.secrets;
    if secrets.is_empty() {
        return Some(Cow::Borrowed(json));
    }
    let Json::Object(mut members) = serde_json::from_str(json).ok()? else { return None };
    members.retain(|name, _| !secrets.contains(&name.as_str()));
    Some(Cow::Owned(Json::Object(members).to_string()))
}

/// Where the document behind a change says which of its secrets are others than before; no document has such a member itself.
pub(crate) const REPLACED: &str = "replaced";

/// The secret members of a document that are not what they were before.
pub(crate) fn replaced(kind: Kind, before: &str, after: &str) -> Vec<&'static str> {
    let secrets = kind.declaration().audited.as_ref().map_or(&[][..], |audited| audited.secrets);
    if secrets.is_empty() {
        return Vec::new();
    }
    let read = |json: &str| serde_json::from_str::<Json>(json).unwrap_or_default();
    let (before, after) = (read(before), read(after));
    // Also one that comes or goes: a password is set where there was none.
    secrets.iter().copied().filter(|secret| before[*secret] != after[*secret]).collect()
}

/// What the audit gets of a document in whose place another was, with which of its secrets are others.
fn behind_change<'j>(kind: Kind, before: Option<&str>, after: &'j str) -> Option<Cow<'j, str>> {
    let shown = without_secrets(kind, after)?;
    let replaced = before.map_or(Vec::new(), |before| replaced(kind, before, after));
    if replaced.is_empty() {
        return Some(shown);
    }
    let Json::Object(mut members) = serde_json::from_str(&shown).ok()? else { return None };
    members.insert(REPLACED.to_owned(), replaced.into());
    Some(Cow::Owned(Json::Object(members).to_string()))
}

/// What people call the object of a document.
pub(crate) fn name_in(kind: Kind, json: &str) -> Option<String> {
    let pointer = kind.declaration().audited.as_ref()?.name;
    let json: Json = serde_json::from_str(json).ok()?;
    json.pointer(pointer).and_then(Json::as_str).map(|name| name.chars().take(NAME_MAX).collect())
}

/// Characters of a name that are kept. Names of hosts are shorter; those of tokens and tunnels need not be.
const NAME_MAX: usize = 255;
