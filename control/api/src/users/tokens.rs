//! `/bartizan/users/{user_id}/tokens`: the tokens of a user, for those who look after users. They see them and end them;
//! what they are they do not change, nor do they get their texts.

use axum::extract::State;
use bartizan_names::{TokenId, UserId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::token::Token;
use bartizan_v4::{Deleted, StoredToken};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::refuse_more;
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::permission::Permission;
use crate::reply::{PageSizes, Paging, Reply};
use crate::state::Api;
use crate::tokens;

const SIZES: PageSizes = PageSizes { min: 5, default: 20, max: 50 };

pub(super) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::EdgeUsersRead, api, routes!(list))).routes(needs(
        Permission::EdgeUsersWrite,
        api,
        routes!(end),
    ))
}

/// The API tokens of a user.
#[utoipa::path(
    get,
    path = "/bartizan/users/{user_id}/tokens",
    tag = "Users",
    params(("user_id" = String, Path), Paging),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Token>>))
)]
async fn list(
    State(api): State<Api>,
    Ids((user,)): Ids<(UserId,)>,
    Query(paging): Query<Paging>,
) -> Result<Reply<Vec<Token>>, Error> {
    let page = paging.of(SIZES);
    let found = api
        .read_list(move |view| {
            view.edge_user(user)?;
            view.page::<StoredToken>(&Prefix::of(Scope::User(user), Kind::Token), page)
        })
        .await?;
    let tokens = found.documents.into_iter().map(|token| tokens::sent(&api, token)).collect();
    Ok(Reply::page(tokens, page, found.total).without(found.left_out))
}

/// Ends an API token of a user.
#[utoipa::path(
    delete,
    path = "/bartizan/users/{user_id}/tokens/{token_id}",
    tag = "Users",
    params(("user_id" = String, Path), ("token_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn end(
    State(api): State<Api>,
    caller: Caller,
    Ids((user, id)): Ids<(UserId, TokenId)>,
) -> Result<Reply<Deleted>, Error> {
    let actor = caller.clone();
    api.change(&actor, move |change| {
        // A token may do no more than its user, and goes with them.
        let memberships = change.memberships(user)?;
        refuse_more(&caller, change, &memberships)?;
        let key = Key::token(Scope::User(user), id);
        if !change.has(&key)? {
            return Err(Fault::TokenUnknown.into());
        }
        if let Some(token) = change.if_readable::<StoredToken>(&key)? {
            change.forget_hash(&token)?;
        }
        change.delete(key)
    })
    .await?;
    Ok(Reply::of(Deleted { id: id.to_string() }))
}
