//! Whose a resource is: the part of the path in front of it, and the scope in the store that it stands for.

use axum::extract::{FromRequestParts, RawPathParams};
use bartizan_names::ZoneId;
use bartizan_store::Scope;
use http::request::Parts;

use super::Resource;
use crate::accounts::AccountScope;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::permission::Permission;
use crate::transaction::{Change, View};

/// A place in which a resource is, and what it takes to see and to change it there.
pub(crate) struct Place {
    pub(crate) owner: Owner,
    pub(crate) read: Permission,
    pub(crate) write: Permission,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    User,
    Account,
    Zone,
}

impl Owner {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Owner::User => "/user",
            Owner::Account => "/accounts/{account_id}",
            Owner::Zone => "/zones/{zone_id}",
        }
    }

    /// What of the path is a parameter.
    pub(super) const fn parameter(self) -> Option<&'static str> {
        match self {
            Owner::User => None,
            Owner::Account => Some(ACCOUNT_ID),
            Owner::Zone => Some(ZONE_ID),
        }
    }
}

const ACCOUNT_ID: &str = "account_id";
const ZONE_ID: &str = "zone_id";

/// What a path names: the owner, and one of the resource where it goes on to one.
pub(super) struct At<R: Resource> {
    owner: Named,
    id: Option<R::Id>,
}

#[derive(Clone, Copy)]
enum Named {
    User,
    Account(AccountScope),
    Zone(ZoneId),
}

impl<R: Resource, S: Send + Sync> FromRequestParts<S> for At<R> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<At<R>, Error> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Fault::BadId)?;
        let mut at = At { owner: Named::User, id: None };
        for (name, text) in &params {
            match name {
                ACCOUNT_ID => at.owner = Named::Account(text.parse().map_err(|_| Fault::BadId)?),
                ZONE_ID => at.owner = Named::Zone(text.parse().map_err(|_| Fault::BadId)?),
                _ => at.id = Some(text.parse().map_err(|_| Fault::BadId)?),
            }
        }
        Ok(at)
    }
}

impl<R: Resource> At<R> {
    pub(super) fn id(&self) -> Option<R::Id> {
        self.id
    }

    /// The scope, if it is the caller's.
    pub(super) fn scope(&self, view: &View, caller: &Caller) -> Result<Scope, Error> {
        match self.owner {
            Named::User => Ok(Scope::User(caller.user)),
            Named::Account(account) => account.of(caller).map(Scope::Account),
            Named::Zone(zone) => view.zone(caller.account, zone).map(|zone| Scope::Zone(zone.id)),
        }
    }

    /// The same for a change, which lands only while the owner is still there.
    pub(super) fn scope_of_change(&self, change: &mut Change, caller: &Caller) -> Result<Scope, Error> {
        let scope = self.scope(change, caller)?;
        change.require_owner(scope);
        Ok(scope)
    }
}
