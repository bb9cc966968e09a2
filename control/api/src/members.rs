//! `/accounts/{account_id}/members` and `/accounts/{account_id}/roles`: who belongs to an account, and as what.
//!
//! Nobody gives a member what they have not themselves, nor changes one who has more; and an account keeps somebody who
//! decides who belongs to it.

use axum::extract::State;
use bartizan_names::AccountId;
use bartizan_store::{Key, Scope};
use bartizan_v4::account::{Member, MemberBody, MemberUser, MembershipStatus, Role, RoleRef};
use bartizan_v4::{Deleted, StoredMembership, StoredUser};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::memberships::{OF_ACCOUNT_MAX, OF_USER_MAX, member_id};
use crate::path::AccountScope;
use crate::permission::Permission;
use crate::reply::{PageSizes, Paging, Reply};
use crate::rights::Target;
use crate::roles::RoleRow;
use crate::state::Api;
use crate::tokens::{read_policies, sent_policy};
use crate::transaction::{Change, View};
use crate::users::refuse_more;

const SIZES: PageSizes = PageSizes { min: 5, default: 20, max: 50 };

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::AccountSettingsRead, api, routes!(members)))
        .routes(needs(Permission::AccountSettingsWrite, api, routes!(create)))
        .routes(needs(Permission::AccountSettingsRead, api, routes!(member)))
        .routes(needs(Permission::AccountSettingsWrite, api, routes!(edit)))
        .routes(needs(Permission::AccountSettingsWrite, api, routes!(delete)))
        .routes(needs(Permission::AccountSettingsRead, api, routes!(roles)))
        .routes(needs(Permission::AccountSettingsRead, api, routes!(role)))
}

/// Who belongs to an account, or is invited to it.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/members",
    tag = "Accounts",
    params(("account_id" = String, Path), Paging),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Member>>))
)]
async fn members(
    State(api): State<Api>,
    caller: Caller,
    Ids((account,)): Ids<(AccountScope,)>,
    Query(paging): Query<Paging>,
) -> Result<Reply<Vec<Member>>, Error> {
    let page = paging.of(SIZES);
    let account = account.of(&caller)?;
    let mut members = api.read_list(move |view| view.members(account)).await?;
    members.sort_by(|(_, one), (_, other)| one.email.cmp(&other.email));
    let total = members.len() as u64;
    Ok(Reply::page(page.cut(members).into_iter().map(sent).collect(), page, total))
}

/// One member of an account.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/members/{member_id}",
    tag = "Accounts",
    params(("account_id" = String, Path), ("member_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Member>))
)]
async fn member(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, String)>,
) -> Result<Reply<Member>, Error> {
    let account = account.of(&caller)?;
    Ok(Reply::of(sent(api.read(move |view| view.member(account, &id)).await?)))
}

/// Invites a user to an account; they are in it when they have accepted (`PUT /memberships/{id}`).
#[utoipa::path(
    post,
    path = "/accounts/{account_id}/members",
    tag = "Accounts",
    params(("account_id" = String, Path)),
    request_body = MemberBody,
    responses((status = 200, body = bartizan_v4::Envelope<Member>))
)]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Ids((account,)): Ids<(AccountScope,)>,
    Body(body): Body<MemberBody>,
) -> Result<Reply<Member>, Error> {
    let account = account.of(&caller)?;
    let missing = || Fault::MemberBody.because("it is missing").at("/email");
    let email = body.email.value().cloned().ok_or_else(missing)?;
    let looks_after_users = caller.may(Permission::EdgeUsersWrite, &Target::Account(api.facts().account));
    let status = match body.status.value().map(String::as_str) {
        None if looks_after_users => MembershipStatus::Accepted,
        None | Some("pending") => MembershipStatus::Pending,
        Some("accepted") if looks_after_users => MembershipStatus::Accepted,
        Some("accepted") => {
            return Err(Fault::NotAllowed.because("the user has to accept it themself").at("/status"));
        }
        Some(_) => return Err(Fault::MemberBody.because("status must be pending or accepted").at("/status")),
    };
    let actor = caller.clone();
    let member = api
        .change(&actor, move |change| {
            let user = change.user_with_email(&email)?.ok_or_else(|| {
                let detail = "this edge has no user with this address; whoever looks after its users makes one first";
                Fault::MemberBody.because(detail).at("/email")
            })?;
            let key = Key::membership(user.id, account);
            if change.has(&key)? {
                return Err(Error::from(Fault::MemberExists).at("/email"));
            }
            if change.members(account)?.len() >= OF_ACCOUNT_MAX || change.memberships(user.id)?.len() >= OF_USER_MAX {
                return Err(Fault::MemberBody.because(format!(
                    "an account has {OF_ACCOUNT_MAX} members, and a user is in {OF_USER_MAX} accounts, at most"
                )));
            }
            let now = change.now();
            let membership = StoredMembership {
                id: member_id(account, user.id),
                account,
                user: user.id,
                status,
                roles: Vec::new(),
                policies: Vec::new(),
                created_on: now,
                modified_on: now,
            };
            let membership = given(&caller, change, membership, &body)?;
            change.put_membership(&membership)?;
            Ok((membership, user))
        })
        .await?;
    Ok(Reply::of(sent(member)))
}

/// Changes what a member may do: what the body leaves out stays.
#[utoipa::path(
    put,
    path = "/accounts/{account_id}/members/{member_id}",
    tag = "Accounts",
    params(("account_id" = String, Path), ("member_id" = String, Path)),
    request_body = MemberBody,
    responses((status = 200, body = bartizan_v4::Envelope<Member>))
)]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, String)>,
    Body(body): Body<MemberBody>,
) -> Result<Reply<Member>, Error> {
    let account = account.of(&caller)?;
    let actor = caller.clone();
    let member = api
        .change(&actor, move |change| {
            let (old, user) = change.member(account, &id)?;
            refuse_more(&caller, change, std::slice::from_ref(&old))?;
            let new = given(&caller, change, old.clone(), &body)?;
            if new == old {
                return Ok((old, user));
            }
            if !crate::memberships::is_administrator(&new) {
                change.keep_an_administrator(&old)?;
            }
            let new = StoredMembership { modified_on: change.now(), ..new };
            change.put_membership(&new)?;
            Ok((new, user))
        })
        .await?;
    Ok(Reply::of(sent(member)))
}

/// Takes a member out of an account.
#[utoipa::path(
    delete,
    path = "/accounts/{account_id}/members/{member_id}",
    tag = "Accounts",
    params(("account_id" = String, Path), ("member_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, String)>,
) -> Result<Reply<Deleted>, Error> {
    let account = account.of(&caller)?;
    let (actor, gone) = (caller.clone(), id.clone());
    api.change(&actor, move |change| {
        let (old, _) = change.member(account, &id)?;
        refuse_more(&caller, change, std::slice::from_ref(&old))?;
        change.keep_an_administrator(&old)?;
        change.delete_membership(&old)
    })
    .await?;
    Ok(Reply::of(Deleted { id: gone }))
}

/// The roles that members can have.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/roles",
    tag = "Accounts",
    params(("account_id" = String, Path), Paging),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Role>>))
)]
async fn roles(
    caller: Caller,
    Ids((account,)): Ids<(AccountScope,)>,
    Query(paging): Query<Paging>,
) -> Result<Reply<Vec<Role>>, Error> {
    account.of(&caller)?;
    let page = paging.of(SIZES);
    let roles: Vec<Role> = RoleRow::all().iter().map(RoleRow::sent).collect();
    let total = roles.len() as u64;
    Ok(Reply::page(page.cut(roles), page, total))
}

/// One role.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/roles/{role_id}",
    tag = "Accounts",
    params(("account_id" = String, Path), ("role_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Role>))
)]
async fn role(caller: Caller, Ids((account, id)): Ids<(AccountScope, String)>) -> Result<Reply<Role>, Error> {
    account.of(&caller)?;
    RoleRow::by_id(&id).map(|role| Reply::of(role.sent())).ok_or_else(|| Fault::RoleUnknown.into())
}

/// A membership with the roles and policies of a body, if the caller may give them.
fn given(
    caller: &Caller,
    view: &View,
    membership: StoredMembership,
    body: &MemberBody,
) -> Result<StoredMembership, Error> {
    let mut membership = membership;
    if let Some(roles) = body.roles.value() {
        membership.roles = roles.iter().enumerate().map(|(at, role)| named(at, role)).collect::<Result<_, _>>()?;
        membership.roles.sort_unstable();
        membership.roles.dedup();
    }
    if !body.policies.is_absent() {
        let wanted = body.policies.value().map_or(&[][..], Vec::as_slice);
        membership.policies = match wanted.is_empty() {
            true => Vec::new(),
            false => read_policies(caller, Scope::Account(membership.account), view, wanted, &membership.policies)?,
        };
    }
    if membership.roles.is_empty() && membership.policies.is_empty() {
        return Err(Fault::MemberBody.because("a member has a role or a policy").at("/roles"));
    }
    refuse_more(caller, view, std::slice::from_ref(&membership))?;
    Ok(membership)
}

fn named(at: usize, role: &RoleRef) -> Result<String, Error> {
    let text = match role {
        RoleRef::Text(text) => Some(text),
        RoleRef::Object { id, name } => id.as_ref().or(name.as_ref()),
    };
    let found = text.and_then(|text| RoleRow::named(text));
    found.map(RoleRow::id).ok_or_else(|| {
        let names: Vec<&str> = RoleRow::all().iter().map(|role| role.name).collect();
        Fault::MemberBody
            .because(format!("there is no such role; these are: {}", names.join(", ")))
            .at(format!("/roles/{at}"))
    })
}

fn sent((membership, user): (StoredMembership, StoredUser)) -> Member {
    Member {
        id: membership.id,
        user: MemberUser {
            id: user.id,
            email: user.email,
            first_name: user.person.first_name,
            last_name: user.person.last_name,
            two_factor_authentication_enabled: false,
        },
        status: membership.status.as_str().to_owned(),
        roles: membership.roles.iter().filter_map(|id| RoleRow::by_id(id)).map(RoleRow::sent).collect(),
        policies: membership.policies.into_iter().map(sent_policy).collect(),
    }
}

impl Change {
    /// Takes a user out of all accounts; none of them is left without one who decides.
    pub(crate) fn leave_all_accounts(&mut self, user: bartizan_names::UserId) -> Result<(), Error> {
        for membership in self.memberships(user)? {
            self.keep_an_administrator(&membership)?;
            self.delete_membership(&membership)?;
        }
        Ok(())
    }

    /// Refuses what would leave an account without anybody who decides and is let in.
    pub(crate) fn keep_administrators_without(&mut self, user: bartizan_names::UserId) -> Result<(), Error> {
        let all = self.memberships(user)?;
        all.iter().try_for_each(|membership| self.keep_an_administrator(membership))
    }
}

/// Whose an account is called, for those who are in it.
pub(crate) fn names_of_roles(membership: &StoredMembership) -> Vec<String> {
    let roles = membership.roles.iter().filter_map(|id| RoleRow::by_id(id));
    roles.map(|role| role.name.to_owned()).collect()
}

/// The account of a membership, if the document can be read.
pub(crate) fn account_of(view: &View, id: AccountId) -> Result<Option<bartizan_v4::Account>, Error> {
    view.if_readable(&Key::account(id))
}
