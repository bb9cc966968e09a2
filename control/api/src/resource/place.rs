//! Whose a resource is: the part of the path in front of it, and the scope in the store that it stands for.

use axum::extract::{FromRequestParts, RawPathParams};
use bartizan_names::ZoneId;
use bartizan_store::{Owner, Scope};
use http::request::Parts;

use super::{Here, Resource};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::path::{ACCOUNT_ID, AccountScope, ZONE_ID};
use crate::permission::Permission;
use crate::state::Api;
use crate::tag::IfMatch;
use crate::transaction::View;

/// A place in which a resource is, and what it takes to see it there, and to change it if it is changed there.
pub(crate) struct Place {
    pub(super) owner: Owner,
    pub(super) read: Permission,
    pub(super) write: Option<Permission>,
}

impl Place {
    pub(crate) const fn seen(owner: Owner, read: Permission) -> Place {
        Place { owner, read, write: None }
    }

    pub(crate) const fn changed(owner: Owner, read: Permission, write: Permission) -> Place {
        Place { owner, read, write: Some(write) }
    }

    /// The path in front of the resource's own.
    pub(super) const fn path(&self) -> &'static str {
        match self.owner {
            Owner::Edge => "/bartizan",
            Owner::User => "/user",
            Owner::Account => "/accounts/{account_id}",
            Owner::Zone => "/zones/{zone_id}",
        }
    }

    /// What of the path is a parameter.
    pub(super) const fn parameter(&self) -> Option<&'static str> {
        match self.owner {
            Owner::Edge | Owner::User => None,
            Owner::Account => Some(ACCOUNT_ID),
            Owner::Zone => Some(ZONE_ID),
        }
    }
}

/// What a path names: the owner, and one of the resource where it goes on to one.
pub(super) struct At<R: Resource> {
    owner: Named,
    id: Option<R::Id>,
    if_match: IfMatch,
}

#[derive(Clone, Copy)]
enum Named {
    Edge,
    User,
    Account(AccountScope),
    Zone(ZoneId),
}

impl<R: Resource, S: Send + Sync> FromRequestParts<S> for At<R> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<At<R>, Error> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Fault::BadId)?;
        // A path without an owner's id: no resource is both the edge's and a user's.
        let of_edge = R::PLACES.iter().any(|place| place.owner == Owner::Edge);
        let owner = if of_edge { Named::Edge } else { Named::User };
        let mut at = At { owner, id: None, if_match: IfMatch::read(&parts.headers) };
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

    pub(super) fn if_match(&self) -> &IfMatch {
        &self.if_match
    }

    /// The place, if it is the caller's.
    pub(super) fn here<'c>(&self, api: &'c Api, view: &View, caller: &'c Caller) -> Result<Here<'c>, Error> {
        let mut of_zone = None;
        let scope = match self.owner {
            Named::Edge => Scope::Edge,
            Named::User => Scope::User(caller.user),
            Named::Account(account) => Scope::Account(account.of(caller)?),
            Named::Zone(id) => {
                of_zone = Some(view.zone(caller, id)?);
                Scope::Zone(id)
            }
        };
        Ok(Here { api, caller, scope, zone: of_zone })
    }
}
