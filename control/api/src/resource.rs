//! Plain resources: what can only be listed, got, made, changed and deleted. Their handlers, routes and documentation are
//! here once; a resource says what it is called, where it is, and how a body becomes a document.
//!
//! ```text
//! GET    <place>/<path>        list      R::list (all of the scope, in the order of their keys, unless said otherwise)
//! POST   <place>/<path>        create    body ─ R::make ─► document ─► one revision
//! GET    <place>/<path>/<id>   get
//! PUT    <place>/<path>/<id>   replace   document, body ─ R::edit ─► document, if anything is new: one revision
//! PATCH  <place>/<path>/<id>   patch
//! DELETE <place>/<path>/<id>   delete    by its key: also a document that cannot be read
//! ```
//! A resource with more to it (messages, further calls, things that change beside it) writes its handlers itself.

mod openapi;
mod place;

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::State;
use axum::routing::{MethodFilter, MethodRouter, on};
use bartizan_names::Timestamp;
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::Deleted;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use self::openapi::{Call, described};
use self::place::At;
pub(crate) use self::place::{Owner, Place};
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Query};
use crate::reply::{Page, PageSizes, Reply};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};

/// What a resource is.
pub(crate) trait Resource: Sized + 'static {
    /// Its kind in the store, where each is kept below its owner.
    const KIND: Kind;
    /// Whose it can be.
    const PLACES: &'static [Place];
    /// The path below its owner, without slashes around it.
    const PATH: &'static str;
    /// The name of the path's parameter for one of them.
    const ID: &'static str;
    /// For the document, with an article: `an access rule`.
    const ONE: &'static str;
    /// And as a heading: `IP access rules`.
    const MANY: &'static str;
    const EDITS: &'static [Edit];
    const SIZES: PageSizes;
    const UNKNOWN: Fault;

    type Id: FromStr + Display + Copy + Send + Sync;
    /// Filters and order of a list, without the page.
    type Params: DeserializeOwned + IntoParams + Send;
    type Body: DeserializeOwned + ToSchema + Send + Sync;
    type Document: Serialize + DeserializeOwned + Clone + PartialEq;
    /// A document as clients see it.
    type Sent: Serialize + ToSchema + Send;

    /// A new one, as `body` asks for it. May run more than once.
    fn make(change: &Change, scope: Scope, body: &Self::Body) -> Result<Self::Document, Error>;

    /// `old` as `body` wants it.
    fn edit(old: &Self::Document, body: &Self::Body, edit: Edit) -> Result<Self::Document, Error>;

    fn id(document: &Self::Document) -> Self::Id;

    /// Notes when it was changed.
    fn stamp(document: &mut Self::Document, now: Timestamp);

    fn sent(api: &Api, view: &View, scope: Scope, document: Self::Document) -> Result<Self::Sent, Error>;

    fn list(view: &View, scope: Scope, params: Self::Params, page: Page) -> Result<Listed<Self::Document>, Error> {
        let _ = params;
        view.page(&Prefix::of(scope, Self::KIND), page)
    }
}

/// The two ways to change what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// PUT: what the body leaves out goes back to its default.
    Replace,
    /// PATCH: what the body leaves out stays.
    Patch,
}

/// Which page of a list.
#[derive(serde::Deserialize, IntoParams)]
struct Paging {
    page: Option<u32>,
    per_page: Option<u32>,
}

/// All routes of a resource, in all its places.
pub(crate) fn routes<R: Resource>(api: &Api) -> OpenApiRouter<Api> {
    R::PLACES.iter().fold(OpenApiRouter::new(), |router, place| {
        calls::<R>().into_iter().fold(router, |router, (call, method)| {
            let permission = if call.reads() { place.read } else { place.write };
            router.routes(needs(permission, api, described::<R>(place, call, method)))
        })
    })
}

fn calls<R: Resource>() -> Vec<(Call, MethodRouter<Api>)> {
    let mut calls = vec![
        (Call::List, on(MethodFilter::GET, list::<R>)),
        (Call::Create, on(MethodFilter::POST, create::<R>)),
        (Call::Get, on(MethodFilter::GET, get::<R>)),
        (Call::Delete, on(MethodFilter::DELETE, delete::<R>)),
    ];
    calls.extend(R::EDITS.iter().map(|edit| match edit {
        Edit::Replace => (Call::Edit(Edit::Replace), on(MethodFilter::PUT, replace::<R>)),
        Edit::Patch => (Call::Edit(Edit::Patch), on(MethodFilter::PATCH, patch::<R>)),
    }));
    calls
}

fn key<R: Resource>(scope: Scope, id: R::Id) -> Key {
    Key::new(scope, R::KIND, id)
}

async fn list<R: Resource>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
    Query(paging): Query<Paging>,
    Query(params): Query<R::Params>,
) -> Result<Reply<Vec<R::Sent>>, Error> {
    let page = R::SIZES.page(paging.page, paging.per_page);
    let here = api.clone();
    let listed = api
        .read_list(move |view| {
            let scope = at.scope(view, &caller)?;
            R::list(view, scope, params, page)?.try_map(|document| R::sent(&here, view, scope, document))
        })
        .await?;
    Ok(Reply::page(listed.documents, page, listed.total).without(listed.left_out))
}

async fn create<R: Resource>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
    Body(body): Body<R::Body>,
) -> Result<Reply<R::Sent>, Error> {
    let (here, actor) = (api.clone(), caller.clone());
    let sent = api
        .change(&actor, move |change| {
            let scope = at.scope_of_change(change, &caller)?;
            let document = R::make(change, scope, &body)?;
            change.put(key::<R>(scope, R::id(&document)), &document)?;
            R::sent(&here, change, scope, document)
        })
        .await?;
    Ok(Reply::of(sent))
}

async fn get<R: Resource>(State(api): State<Api>, caller: Caller, at: At<R>) -> Result<Reply<R::Sent>, Error> {
    let here = api.clone();
    let sent = api
        .read(move |view| {
            let scope = at.scope(view, &caller)?;
            R::sent(&here, view, scope, find::<R>(view, scope, &at)?)
        })
        .await?;
    Ok(Reply::of(sent))
}

async fn replace<R: Resource>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
    Body(body): Body<R::Body>,
) -> Result<Reply<R::Sent>, Error> {
    edit(api, caller, at, body, Edit::Replace).await
}

async fn patch<R: Resource>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
    Body(body): Body<R::Body>,
) -> Result<Reply<R::Sent>, Error> {
    edit(api, caller, at, body, Edit::Patch).await
}

async fn edit<R: Resource>(
    api: Api,
    caller: Caller,
    at: At<R>,
    body: R::Body,
    edit: Edit,
) -> Result<Reply<R::Sent>, Error> {
    let (here, actor) = (api.clone(), caller.clone());
    let sent = api
        .change(&actor, move |change| {
            let scope = at.scope_of_change(change, &caller)?;
            let old = find::<R>(change, scope, &at)?;
            let mut document = R::edit(&old, &body, edit)?;
            if document != old {
                R::stamp(&mut document, change.now());
                change.put(key::<R>(scope, R::id(&old)), &document)?;
            }
            R::sent(&here, change, scope, document)
        })
        .await?;
    Ok(Reply::of(sent))
}

async fn delete<R: Resource>(State(api): State<Api>, caller: Caller, at: At<R>) -> Result<Reply<Deleted>, Error> {
    let actor = caller.clone();
    let id = api
        .change(&actor, move |change| {
            let scope = at.scope_of_change(change, &caller)?;
            let id = at.id().ok_or(R::UNKNOWN)?;
            if !change.has(&key::<R>(scope, id))? {
                return Err(R::UNKNOWN.into());
            }
            change.delete(key::<R>(scope, id))?;
            Ok(id.to_string())
        })
        .await?;
    Ok(Reply::of(Deleted { id }))
}

/// The one that the path names.
fn find<R: Resource>(view: &View, scope: Scope, at: &At<R>) -> Result<R::Document, Error> {
    let id = at.id().ok_or(R::UNKNOWN)?;
    view.find(&key::<R>(scope, id))?.ok_or_else(|| R::UNKNOWN.into())
}
