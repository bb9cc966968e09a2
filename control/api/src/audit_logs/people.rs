//! Who is behind entries, and what zones in them are called.

use std::collections::HashMap;

use bartizan_names::{TokenId, UserId, ZoneId};
use bartizan_store::{AuditEntry, AuditOf, AuditRange, Direction, Key, Kind, Scope};
use bartizan_v4::{StoredToken, StoredUser};

use super::sight::Sight;
use crate::error::Error;
use crate::transaction::View;

/// People and zones that are remembered while the audit is read.
const REMEMBERED_MAX: usize = 1_000;

/// Looked up once each.
#[derive(Default)]
pub(super) struct People {
    found: HashMap<(Option<UserId>, Option<TokenId>), Person>,
    zones: HashMap<ZoneId, Option<String>>,
}

#[derive(Clone, Default)]
pub(super) struct Person {
    /// Whoever may see the entry may see who belongs to the account.
    pub(super) email: Option<String>,
    /// For those who may read the token.
    pub(super) token_name: Option<String>,
}

impl People {
    pub(super) fn find(&mut self, view: &View, sight: &Sight<'_>, entry: &AuditEntry) -> Result<Person, Error> {
        let who = (entry.user, entry.token);
        if let Some(person) = self.found.get(&who) {
            return Ok(person.clone());
        }
        let mut person = Person::default();
        if let Some(token) = entry.token {
            let scopes = [entry.user.map(Scope::User), Some(Scope::Account(sight.account()))];
            for key in scopes.into_iter().flatten().map(|scope| Key::token(scope, token)) {
                let Some(token) = view.if_readable::<StoredToken>(&key)? else { continue };
                person.token_name = sight.covers_key(&key).then_some(token.name);
                break;
            }
        }
        if let Some(user) = entry.user {
            let stored = view.if_readable::<StoredUser>(&Key::user(user))?.map(|user| user.email);
            person.email = match stored {
                Some(email) => Some(email),
                None => last_name(view, &user.to_string(), Kind::User)?,
            };
        }
        if self.found.len() >= REMEMBERED_MAX {
            self.found.clear();
        }
        self.found.insert(who, person.clone());
        Ok(person)
    }

    /// What a zone is called, or was.
    pub(super) fn zone(&mut self, view: &View, zone: ZoneId) -> Result<Option<String>, Error> {
        if let Some(name) = self.zones.get(&zone) {
            return Ok(name.clone());
        }
        let name = match view.if_readable::<Called>(&Key::zone(zone))? {
            Some(Called { name }) => Some(name),
            None => last_name(view, &zone.to_string(), Kind::Zone)?,
        };
        if self.zones.len() >= REMEMBERED_MAX {
            self.zones.clear();
        }
        self.zones.insert(zone, name.clone());
        Ok(name)
    }
}

/// What of a zone is looked at.
#[derive(serde::Deserialize)]
struct Called {
    name: String,
}

/// What something was called that is gone. An id of another kind may be in front of it.
fn last_name(view: &View, id: &str, kind: Kind) -> Result<Option<String>, Error> {
    const LOOKED_AT: usize = 8;
    let entries = view.0.audit(&AuditOf::Object(id.to_owned()), AuditRange::ALL, Direction::Descending, LOOKED_AT)?;
    Ok(entries.into_iter().find(|entry| entry.key.kind() == kind).and_then(|entry| entry.name))
}
