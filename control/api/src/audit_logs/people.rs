//! Who is behind the actors of changes.

use std::collections::HashMap;

use bartizan_names::{AccountId, TokenId, UserId};
use bartizan_store::{Key, Kind, Scope};
use bartizan_v4::{StoredToken, StoredUser};

use super::sight::Sight;
use crate::error::Error;
use crate::transaction::View;

/// People who are remembered while the log is read.
const REMEMBERED_MAX: usize = 1_000;

/// Looked up once each.
#[derive(Default)]
pub(super) struct People {
    found: HashMap<String, Person>,
    users: Option<Vec<UserId>>,
}

#[derive(Clone, Default)]
pub(super) struct Person {
    pub(super) user: Option<UserId>,
    /// Whoever may see the log may see who belongs to the account.
    pub(super) email: Option<String>,
    pub(super) token: Option<TokenId>,
    /// For those who may read the token.
    pub(super) token_name: Option<String>,
}

impl People {
    /// Who did something: `token:ID user:ID`, `user:ID`, and from older builds `token:ID` alone, whose user is known for
    /// as long as the token is there.
    pub(super) fn find(
        &mut self,
        view: &View,
        sight: &mut Sight<'_>,
        account: AccountId,
        actor: &str,
    ) -> Result<Person, Error> {
        if let Some(person) = self.found.get(actor) {
            return Ok(person.clone());
        }
        let mut person = Person::default();
        for part in actor.split(' ') {
            match part.split_once(':') {
                Some(("token", id)) => person.token = id.parse().ok(),
                Some(("user", id)) => person.user = id.parse().ok(),
                _ => {}
            }
        }
        if let Some(id) = person.token {
            for scope in self.scopes(view, account, person.user)? {
                let key = Key::token(scope, id);
                let Some(token) = view.if_readable::<StoredToken>(&key)? else { continue };
                person.user = person.user.or(Some(token.user));
                person.token_name = sight.covers(&key)?.then_some(token.name);
                break;
            }
        }
        if let Some(user) = person.user {
            person.email = view.if_readable::<StoredUser>(&Key::user(user))?.map(|user| user.email);
        }
        if self.found.len() >= REMEMBERED_MAX {
            self.found.clear();
        }
        self.found.insert(actor.to_owned(), person.clone());
        Ok(person)
    }

    /// Where a token can be: with its user, or with the account.
    fn scopes(&mut self, view: &View, account: AccountId, user: Option<UserId>) -> Result<Vec<Scope>, Error> {
        let users = match (user, &self.users) {
            (Some(user), _) => vec![user],
            (None, Some(users)) => users.clone(),
            (None, None) => {
                let users: Vec<_> = view.all::<StoredUser>(Kind::User)?.into_iter().map(|user| user.id).collect();
                self.users.insert(users).clone()
            }
        };
        Ok(users.into_iter().map(Scope::User).chain([Scope::Account(account)]).collect())
    }
}
