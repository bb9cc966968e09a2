//! `/user/invites`: the accounts to which the caller is invited, and the answer to that. The same as their memberships that
//! are not accepted yet ([`crate::memberships`]), in the dialect's older words.

use axum::extract::State;
use bartizan_v4::account::{Invite, MembershipBody, MembershipStatus};
use bartizan_v4::{Account, StoredMembership};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::members::account_of;
use crate::permission::Permission;
use crate::reply::Reply;
use crate::roles::RoleRow;
use crate::state::Api;
use crate::transaction::View;
use crate::user::{decided, own, wanted};

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::MembershipsRead, api, routes!(list)))
        .routes(needs(Permission::MembershipsRead, api, routes!(get)))
        .routes(needs(Permission::MembershipsWrite, api, routes!(answer)))
}

/// The accounts to which the caller is invited.
#[utoipa::path(
    get,
    path = "/user/invites",
    tag = "User",
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Invite>>))
)]
async fn list(State(api): State<Api>, caller: Caller) -> Result<Reply<Vec<Invite>>, Error> {
    let invites = api
        .read(move |view| {
            let email = view.user(caller.user)?.email;
            let mut invites = Vec::new();
            for membership in view.memberships(caller.user)?.into_iter().filter(is_open) {
                // None to an account that cannot be read.
                invites.extend(account_of(view, membership.account)?.map(|account| sent(&email, membership, account)));
            }
            Ok(invites)
        })
        .await?;
    Ok(Reply::of(invites))
}

/// One of them.
#[utoipa::path(
    get,
    path = "/user/invites/{invite_id}",
    tag = "User",
    params(("invite_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Invite>))
)]
async fn get(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(String,)>) -> Result<Reply<Invite>, Error> {
    Ok(Reply::of(api.read(move |view| invite(view, &caller, open(view, &caller, &id)?)).await?))
}

/// Accepts an invitation, or rejects it.
#[utoipa::path(
    patch,
    path = "/user/invites/{invite_id}",
    tag = "User",
    params(("invite_id" = String, Path)),
    request_body = MembershipBody,
    responses((status = 200, body = bartizan_v4::Envelope<Invite>))
)]
async fn answer(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(String,)>,
    Body(body): Body<MembershipBody>,
) -> Result<Reply<Invite>, Error> {
    let answer = wanted(&body)?;
    let actor = caller.clone();
    let answered = api
        .change(&actor, move |change| {
            let open = open(change, &caller, &id)?;
            let decided = decided(change, open, answer)?;
            let invite = invite(change, &caller, decided)?;
            Ok(Invite { status: answer.word().to_owned(), ..invite })
        })
        .await?;
    Ok(Reply::of(answered))
}

fn is_open(membership: &StoredMembership) -> bool {
    membership.status == MembershipStatus::Pending
}

/// An invitation of the caller's that is not answered yet.
fn open(view: &View, caller: &Caller, id: &str) -> Result<StoredMembership, Error> {
    Some(own(view, caller, id)?).filter(is_open).ok_or_else(|| Fault::MemberUnknown.into())
}

fn invite(view: &View, caller: &Caller, membership: StoredMembership) -> Result<Invite, Error> {
    let account = account_of(view, membership.account)?.ok_or(Fault::MemberUnknown)?;
    Ok(sent(&view.user(caller.user)?.email, membership, account))
}

fn sent(email: &str, membership: StoredMembership, account: Account) -> Invite {
    Invite {
        id: membership.id,
        invited_member_id: membership.user,
        invited_member_email: email.to_owned(),
        organization_id: account.id,
        organization_name: account.name,
        organization_is_enforcing_twofactor: false,
        invited_by: None,
        invited_on: membership.created_on,
        expires_on: None,
        roles: membership.roles.iter().filter_map(|id| RoleRow::by_id(id)).map(RoleRow::sent).collect(),
        status: membership.status.as_str().to_owned(),
    }
}
