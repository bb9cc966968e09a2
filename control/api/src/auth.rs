//! The guard in front of each route: whether whoever calls may call it, and the note of that in the document. Every route
//! goes through one of the three ways here; what is decided is decided by [`crate::rights`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bartizan_names::{AccountId, ZoneId};
use http::request::Parts;
use http::{Extensions, header};
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::UtoipaMethodRouter;

use crate::caller::Caller;
use crate::dry_run::DryRun;
use crate::error::{Error, Fault};
use crate::extract::{self, Peer};
use crate::idempotency::{Answers, Turn};
use crate::openapi::{self, SCHEMES, operations, writes};
use crate::origin::Origin;
use crate::path::{ACCOUNT_ID, AccountScope, BASE, ZONE_ID};
use crate::permission::{Over, Permission};
use crate::rights::Target;
use crate::state::Api;
use crate::tag::IfMatch;
use crate::transaction::View;

/// Routes that need `permission` over what their path names: the guard in front, and the note in the document.
/// A write that asks for a tag (`If-Match`) is refused: their handlers compare none.
pub(crate) fn needs(permission: Permission, api: &Api, routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let check = Check { permission: Some(permission), place: Place::Named, tags: Tags::None };
    guarded(check, needs_note(permission), api, routes)
}

/// Routes that need `permission` in some account of the caller's. Their handlers see to it which.
pub(crate) fn needs_somewhere(
    permission: Permission,
    api: &Api,
    routes: UtoipaMethodRouter<Api>,
) -> UtoipaMethodRouter<Api> {
    let check = Check { permission: Some(permission), place: Place::Somewhere, tags: Tags::None };
    guarded(check, needs_note(permission), api, routes)
}

/// As [`needs`], for handlers that compare the tag which a write asks for.
pub(crate) fn needs_and_compares(
    permission: Permission,
    api: &Api,
    routes: UtoipaMethodRouter<Api>,
) -> UtoipaMethodRouter<Api> {
    let check = Check { permission: Some(permission), place: Place::Named, tags: Tags::Compared };
    guarded(check, needs_note(permission), api, routes)
}

fn needs_note(permission: Permission) -> String {
    format!("Needs the permission \"{}\".", permission.group())
}

/// Lists of which a caller sees what they hold `permission` for, be it nothing. Their handlers see to that.
pub(crate) fn shows(permission: Permission, api: &Api, routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let note = format!("Shows those for which the caller holds the permission \"{}\".", permission.group());
    guarded(Check { permission: None, place: Place::Named, tags: Tags::None }, note, api, routes)
}

/// What a guard looks at.
#[derive(Clone, Copy)]
struct Check {
    /// None where the handler sees to it.
    permission: Option<Permission>,
    place: Place,
    tags: Tags,
}

/// Over what the permission is held.
#[derive(Clone, Copy)]
enum Place {
    /// What the path names. Where it names nothing: the user, or the edge, which is its own account's.
    Named,
    /// Some account of the caller's, or its zones.
    Somewhere,
}

/// Whether the handlers behind a guard compare the tag that a write asks for.
#[derive(Clone, Copy)]
enum Tags {
    Compared,
    /// What they write has none.
    None,
}

fn guarded(check: Check, note: String, api: &Api, routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let (schemas, mut paths, methods) = routes;
    let security = || {
        let [token, email, key, session] = SCHEMES;
        let none: [&str; 0] = [];
        vec![
            SecurityRequirement::new(token, none),
            SecurityRequirement::new(email, none).add(key, none),
            SecurityRequirement::new(session, none),
        ]
    };
    paths.paths.values_mut().flat_map(writes).for_each(openapi::can_be_tried);
    for operation in paths.paths.values_mut().flat_map(operations) {
        operation.security = Some(security());
        openapi::refuses(operation);
        let text = operation.description.take().map(|text| format!("{text}\n\n{note}")).unwrap_or(note.clone());
        operation.description = Some(text);
    }
    let guard =
        middleware::from_fn_with_state(api.clone(), move |state, request, next| admit(check, state, request, next));
    (schemas, paths, methods.route_layer(guard))
}

/// Routes that anybody may call.
pub(crate) fn open(routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let (schemas, mut paths, methods) = routes;
    for operation in paths.paths.values_mut().flat_map(operations) {
        operation.security = Some(Vec::new());
        openapi::refuses(operation);
    }
    (schemas, paths, methods)
}

/// Where a request came from; none if it did not come over a socket.
pub(crate) fn peer_of(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(peer))| peer.ip())
}

async fn admit(check: Check, State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = peer_of(&parts.extensions);
    let named = match Named::read(&mut parts).await {
        Ok(named) => named,
        Err(error) => return error.into_response(),
    };
    let dry_run = match DryRun::of(&parts) {
        Ok(dry_run) => dry_run,
        Err(error) => return error.into_response(),
    };
    let edge = api.facts().account;
    let allowed = move |view: &View, caller: &Caller| match (check.permission, check.place) {
        (Some(permission), Place::Named) => named.admits(view, caller, permission, edge),
        (Some(permission), Place::Somewhere) => somewhere(caller, permission),
        (None, _) => Ok(()),
    };
    match api.admit(&parts.headers, peer, allowed).await {
        Ok(mut caller) => {
            if let Err(error) = refuse_foreign(&caller, &parts) {
                return error.into_response();
            }
            caller.route = route_of(&parts);
            // Those who may not call learn nothing of tags.
            if let Err(error) = check.tags.compare(&parts) {
                return error.into_response();
            }
            if let Some(dry_run) = dry_run {
                caller.dry_run = Some(Arc::new(dry_run));
                parts.extensions.insert(caller.clone());
                // Nothing is done, so it may be said again as often as one likes.
                let mut response = next.run(Request::from_parts(parts, body)).await;
                response.extensions_mut().insert(Tried(caller));
                return response;
            }
            let by = caller.actor();
            parts.extensions.insert(caller);
            run_once(&api, by, Request::from_parts(parts, body), next).await.unwrap_or_else(Error::into_response)
        }
        Err(error) => error.into_response(),
    }
}

/// On the response to a call that was only tried: who made it, and with them what it would do.
#[derive(Clone)]
pub(crate) struct Tried(pub(crate) Caller);

/// What a session changes is asked for by a page of ours.
fn refuse_foreign(caller: &Caller, parts: &Parts) -> Result<(), Error> {
    let may_be_foreign = caller.session.is_none() || parts.method.is_safe();
    match Origin::read(&parts.headers, &parts.uri) {
        Origin::Own { .. } => Ok(()),
        Origin::Untold | Origin::Foreign if may_be_foreign => Ok(()),
        Origin::Untold | Origin::Foreign => Err(Fault::ForeignOrigin.into()),
    }
}

/// Method and route of a call, for the audit.
fn route_of(parts: &Parts) -> Option<Arc<str>> {
    let path = parts.extensions.get::<MatchedPath>()?.as_str();
    let path = path.strip_prefix(BASE).unwrap_or(path);
    Some(format!("{} {path}", parts.method).into())
}

impl Tags {
    /// RFC 9110 §13.1.1: what is not known to be as the caller saw it is not changed.
    fn compare(self, parts: &Parts) -> Result<(), Error> {
        match self {
            Tags::None if !parts.method.is_safe() => IfMatch::read(&parts.headers).check(None),
            _ => Ok(()),
        }
    }
}

/// Runs a call; one that says by a key which it is, once.
async fn run_once(api: &Api, by: String, request: Request, next: Next) -> Result<Response, Error> {
    let Some(key) = Answers::key(request.method(), request.headers())? else { return Ok(next.run(request).await) };
    let (parts, body) = request.into_parts();
    // How much of it the handler takes is for the handler to say.
    let body = extract::whole(body, extract::BATCH_MAX).await?;
    let mut call = format!("{} {}\n", parts.method, parts.uri).into_bytes();
    // The same on another condition is another call.
    for tags in parts.headers.get_all(header::IF_MATCH) {
        call.extend_from_slice(tags.as_bytes());
        call.push(b'\n');
    }
    call.push(b'\n');
    call.extend_from_slice(&body);
    match api.answers().turn(by, key, bartizan_seal::sha256(&call), Instant::now()) {
        Turn::Answered(response) => Ok(*response),
        // On its own: a caller who leaves, or whose connection is ended, does not end what has begun.
        Turn::First(first) => tokio::spawn(async move {
            let response = next.run(Request::from_parts(parts, body.into())).await;
            first.keep(response, Instant::now()).await
        })
        .await
        .map_err(|error| Error::internal(&error)),
    }
}

/// Whose things a path is about, as far as it says so.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    account: Option<AccountScope>,
    zone: Option<ZoneId>,
}

impl Named {
    async fn read(parts: &mut Parts) -> Result<Named, Error> {
        let params = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| Fault::BadId)?;
        let mut named = Named::default();
        for (name, text) in &params {
            match name {
                ACCOUNT_ID => named.account = Some(text.parse().map_err(|_| Fault::BadId)?),
                ZONE_ID => named.zone = Some(text.parse().map_err(|_| Fault::BadId)?),
                _ => {}
            }
        }
        Ok(named)
    }

    /// A zone that the caller may not even see is not told from none.
    fn admits(self, view: &View, caller: &Caller, permission: Permission, edge: AccountId) -> Result<(), Error> {
        let target = self.target(view, caller, permission, edge)?;
        match target {
            _ if caller.may(permission, &target) => Ok(()),
            Target::Zone(..) if !caller.may(Permission::ZoneRead, &target) => Err(Fault::ZoneUnknown.into()),
            _ => Err(not_allowed(permission)),
        }
    }

    /// What the permission must hold over. A zone that does not tell whose it is, as what is of no account at all, is that
    /// of the edge's own.
    fn target(self, view: &View, caller: &Caller, permission: Permission, edge: AccountId) -> Result<Target, Error> {
        Ok(match (permission.over(), self.zone, self.account) {
            (Over::User, ..) => Target::User(caller.user),
            (Over::Account, _, Some(AccountScope::Account(account))) => Target::Account(account),
            (Over::Account, _, Some(AccountScope::Own)) => Target::Account(caller.account),
            (Over::Account, _, None) => Target::Account(edge),
            (Over::Zone, Some(zone), _) => Target::Zone(zone, Some(view.account_of_zone(zone)?.unwrap_or(edge))),
            (Over::Zone, None, _) => Target::ZonesOf(caller.account),
        })
    }
}

fn somewhere(caller: &Caller, permission: Permission) -> Result<(), Error> {
    let holds = |account: &AccountId| match permission.over() {
        Over::User => caller.may(permission, &Target::User(caller.user)),
        Over::Account => caller.may(permission, &Target::Account(*account)),
        Over::Zone => caller.may(permission, &Target::ZonesOf(*account)),
    };
    if caller.accounts.iter().any(holds) { Ok(()) } else { Err(not_allowed(permission)) }
}

fn not_allowed(permission: Permission) -> Error {
    let fault = if permission == Permission::DnsWrite { Fault::NoDnsEdit } else { Fault::NotAllowed };
    fault.because(format!("it needs the permission {}", permission.group()))
}
