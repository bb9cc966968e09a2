//! The permission groups: what a token can be given. Tools find them by their names.

use bartizan_v4::token::PermissionGroup;

use crate::caller::Caller;
use crate::error::Error;
use crate::extract::{Ids, Query};
use crate::path::AccountScope;
use crate::permission::{Over, Permission};
use crate::reply::Reply;

#[derive(serde::Deserialize, utoipa::IntoParams)]
pub(super) struct Params {
    name: Option<String>,
    /// `com.cloudflare.api.user`, `com.cloudflare.api.account` or `com.cloudflare.api.account.zone`.
    scope: Option<String>,
}

/// The permission groups that a user's tokens can have.
#[utoipa::path(
    get,
    path = "/user/tokens/permission_groups",
    tag = "API tokens",
    params(Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<PermissionGroup>>))
)]
pub(super) async fn of_user(Query(params): Query<Params>) -> Reply<Vec<PermissionGroup>> {
    groups(&params, |_| true)
}

/// The permission groups that an account's tokens can have.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/tokens/permission_groups",
    tag = "API tokens",
    params(("account_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<PermissionGroup>>))
)]
pub(super) async fn of_account(
    caller: Caller,
    Ids((account,)): Ids<(AccountScope,)>,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<PermissionGroup>>, Error> {
    account.of(&caller)?;
    Ok(groups(&params, |permission| permission.over() != Over::User))
}

fn groups(params: &Params, can_have: impl Fn(Permission) -> bool) -> Reply<Vec<PermissionGroup>> {
    let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let named = params.name.as_deref().map(Permission::by_name);
    let all = Permission::ALL.iter().copied().filter(|permission| {
        can_have(*permission)
            && named.is_none_or(|named| named == Some(*permission))
            && is(&params.scope, permission.over().scope())
    });
    Reply::of(
        all.map(|permission| PermissionGroup {
            id: permission.id(),
            name: permission.group().to_owned(),
            scopes: vec![permission.over().scope().to_owned()],
        })
        .collect(),
    )
}
