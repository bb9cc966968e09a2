//! `/user/organizations`: the accounts of the caller, and those that they are invited to, under their old name.

use std::cmp::Ordering;

use axum::extract::State;
use bartizan_names::AccountId;
use bartizan_store::Direction;
use bartizan_v4::{Deleted, Organization, StoredMembership};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply, direction};
use crate::state::Api;
use crate::transaction::View;
use crate::user::organization;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::MembershipsRead, api, routes!(list)))
        .routes(needs(Permission::MembershipsRead, api, routes!(get)))
        .routes(needs(Permission::MembershipsWrite, api, routes!(leave)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    name: Option<String>,
    /// `member` or `invited`.
    status: Option<String>,
    /// `id`, `name` or `status`.
    order: Option<String>,
    direction: Option<String>,
    /// Whether `any` of name and status is to be so, or `all`.
    #[serde(rename = "match")]
    combined: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The accounts that the caller belongs to, or is invited to.
#[utoipa::path(
    get,
    path = "/user/organizations",
    tag = "User",
    params(Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Organization>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<Organization>>, Error> {
    let page: Page = PageSizes { min: 5, default: 20, max: 50 }.page(params.page, params.per_page);
    let mut all = api
        .read(move |view| {
            let of_user = view.memberships(caller.user)?;
            let sent: Result<Vec<_>, Error> =
                of_user.iter().filter_map(|membership| organization(view, membership).transpose()).collect();
            sent
        })
        .await?;
    let is_any = params.combined.as_deref() == Some("any");
    all.retain(|one| {
        let wanted = [(&params.name, &one.name), (&params.status, &one.status)].into_iter();
        let mut asked = wanted.filter_map(|(wanted, is)| wanted.as_ref().map(|wanted| wanted == is)).peekable();
        asked.peek().is_none() || if is_any { asked.any(|is_so| is_so) } else { asked.all(|is_so| is_so) }
    });
    let by = |one: &Organization, other: &Organization| -> Ordering {
        match params.order.as_deref() {
            Some("name") => one.name.cmp(&other.name),
            Some("status") => one.status.cmp(&other.status),
            Some("id") => one.id.cmp(&other.id),
            // The one first that was first.
            _ => Ordering::Equal,
        }
    };
    all.sort_by(by);
    if direction(params.direction.as_deref()) == Direction::Descending {
        all.reverse();
    }
    let total = all.len() as u64;
    Ok(Reply::page(page.cut(all), page, total))
}

/// One of them.
#[utoipa::path(
    get,
    path = "/user/organizations/{organization_id}",
    tag = "User",
    params(("organization_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Organization>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(AccountId,)>,
) -> Result<Reply<Organization>, Error> {
    let found = api.read(move |view| organization(view, &own(view, &caller, id)?)).await?;
    found.map(Reply::of).ok_or_else(|| Fault::MemberUnknown.into())
}

/// Leaves an account.
#[utoipa::path(
    delete,
    path = "/user/organizations/{organization_id}",
    tag = "User",
    params(("organization_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn leave(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(AccountId,)>) -> Result<Reply<Deleted>, Error> {
    let actor = caller.clone();
    api.change(&actor, move |change| {
        let old = own(change, &caller, id)?;
        change.keep_an_administrator(&old)?;
        change.delete_membership(&old)
    })
    .await?;
    Ok(Reply::of(Deleted { id: id.to_string() }))
}

/// The caller's membership of an account.
fn own(view: &View, caller: &Caller, account: AccountId) -> Result<StoredMembership, Error> {
    let found = view.memberships(caller.user)?.into_iter().find(|membership| membership.account == account);
    found.ok_or_else(|| Fault::MemberUnknown.into())
}
