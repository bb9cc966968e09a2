//! The handlers of plain resources.

use axum::extract::State;
use bartizan_store::Scope;
use bartizan_v4::Deleted;

use super::place::At;
use super::{Edit, Editable, Here, Resource, key};
use crate::caller::Caller;
use crate::error::Error;
use crate::extract::{Body, Query};
use crate::reply::{Paging, Reply};
use crate::state::Api;
use crate::tag;
use crate::transaction::{Change, View};

pub(super) async fn list<R: Resource>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
    Query(paging): Query<Paging>,
    Query(params): Query<R::Params>,
) -> Result<Reply<Vec<R::Sent>>, Error> {
    let page = paging.of(R::SIZES);
    let listed = api
        .clone()
        .read_list(move |view| {
            let here = at.here(&api, view, &caller)?;
            R::list(&here, view, params, page)?.try_map(|document| R::sent(&here, view, document))
        })
        .await?;
    Ok(Reply::page(listed.documents, page, listed.total).without(listed.left_out))
}

pub(super) async fn get<R: Resource>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
) -> Result<Reply<R::Sent>, Error> {
    let (sent, tag) = api
        .clone()
        .read(move |view| {
            let here = at.here(&api, view, &caller)?;
            let sent = R::shown(&here, view, find::<R>(view, here.scope, &at)?)?;
            Ok((sent, tag_of::<R>(view, here.scope, &at)?))
        })
        .await?;
    Ok(Reply::of(sent).tagged(tag))
}

pub(super) async fn create<R: Editable>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
    Body(body): Body<R::Body>,
) -> Result<Reply<R::Sent>, Error> {
    let reply = change(api, caller, at, move |here, _, change| {
        let document = R::make(here, change, &body)?;
        R::put(here, change, None, &document)?;
        let messages = R::messages(here, &body, &document)?;
        Ok((R::made(here, change, document)?, messages))
    })
    .await?;
    Ok(if R::TELLS_ONCE { reply.told_once() } else { reply })
}

pub(super) async fn replace<R: Editable>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
    Body(body): Body<R::Body>,
) -> Result<Reply<R::Sent>, Error> {
    edit(api, caller, at, body, Edit::Replace).await
}

pub(super) async fn patch<R: Editable>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
    Body(body): Body<R::Body>,
) -> Result<Reply<R::Sent>, Error> {
    edit(api, caller, at, body, Edit::Patch).await
}

async fn edit<R: Editable>(
    api: Api,
    caller: Caller,
    at: At<R>,
    body: R::Body,
    edit: Edit,
) -> Result<Reply<R::Sent>, Error> {
    change(api, caller, at, move |here, at, change| {
        let old = find::<R>(change, here.scope, at)?;
        at.if_match().check(tag_of::<R>(change, here.scope, at)?.as_deref())?;
        let mut document = R::edit(here, change, &old, &body, edit)?;
        if document != old {
            R::stamp(&mut document, change.now());
            R::put(here, change, Some(&old), &document)?;
        }
        let messages = R::messages(here, &body, &document)?;
        Ok((R::sent(here, change, document)?, messages))
    })
    .await
}

pub(super) async fn delete<R: Editable>(
    State(api): State<Api>,
    caller: Caller,
    at: At<R>,
) -> Result<Reply<Deleted>, Error> {
    change(api, caller, at, |here, at, change| {
        let id = at.id().ok_or(R::UNKNOWN)?;
        if change.has(&key::<R>(here.scope, id))? {
            at.if_match().check(tag_of::<R>(change, here.scope, at)?.as_deref())?;
        }
        R::delete(here, change, id).map_err(Error::nowhere)?;
        Ok((Deleted { id: id.to_string() }, Vec::new()))
    })
    .await
}

/// Changes something of an owner, which must still exist when the change lands. The reply is what the plan returns, with
/// its messages.
async fn change<R: Resource, T: Send + 'static>(
    api: Api,
    caller: Caller,
    at: At<R>,
    plan: impl Fn(&Here<'_>, &At<R>, &mut Change) -> Result<(T, Vec<(u32, String)>), Error> + Send + 'static,
) -> Result<Reply<T>, Error> {
    let (edge, actor) = (api.clone(), caller.clone());
    let (result, messages) = edge
        .change(&actor, move |change| {
            let here = at.here(&api, change, &caller)?;
            change.require_owner(here.scope);
            plan(&here, &at, change)
        })
        .await?;
    Ok(messages.into_iter().fold(Reply::of(result), |reply, (code, text)| reply.with_message(code, text)))
}

/// The tag of the one that the path names.
fn tag_of<R: Resource>(view: &View, scope: Scope, at: &At<R>) -> Result<Option<String>, Error> {
    let Some(id) = at.id().filter(|_| R::TAGGED) else { return Ok(None) };
    Ok(view.0.rev(&key::<R>(scope, id))?.map(tag::of))
}

/// The one that the path names.
fn find<R: Resource>(view: &View, scope: Scope, at: &At<R>) -> Result<R::Document, Error> {
    let id = at.id().ok_or(R::UNKNOWN)?;
    view.find(&key::<R>(scope, id))?.ok_or_else(|| R::UNKNOWN.into())
}
