//! `/user` and `/memberships`: who the caller is, and to which accounts they belong.

use axum::extract::State;
use bartizan_names::UserId;
use bartizan_store::Key;
use bartizan_v4::account::{MembershipBody, MembershipStatus};
use bartizan_v4::user::{Person, PersonBody};
use bartizan_v4::{Deleted, Membership, Organization, Patch, StoredMembership, StoredUser, User};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::members::{account_of, names_of_roles};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::rights::Rights;
use crate::roles::{RoleRow, grants};
use crate::state::Api;
use crate::transaction::{Change, View};

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::UserDetailsRead, api, routes!(user)))
        .routes(needs(Permission::UserDetailsWrite, api, routes!(edit)))
        .routes(needs(Permission::MembershipsRead, api, routes!(memberships)))
        .routes(needs(Permission::MembershipsRead, api, routes!(membership)))
        .routes(needs(Permission::MembershipsWrite, api, routes!(answer)))
        .routes(needs(Permission::MembershipsWrite, api, routes!(leave)))
}

impl View {
    pub(crate) fn user(&self, id: UserId) -> Result<StoredUser, Error> {
        self.find(&Key::user(id))?.ok_or_else(|| Fault::NotAllowed.into())
    }
}

/// The user behind the credentials.
#[utoipa::path(get, path = "/user", tag = "User", responses((status = 200, body = bartizan_v4::Envelope<User>)))]
async fn user(State(api): State<Api>, caller: Caller) -> Result<Reply<User>, Error> {
    Ok(Reply::of(api.read(move |view| sent(view, view.user(caller.user)?)).await?))
}

/// Changes what a user says of themself: what the body leaves out stays.
#[utoipa::path(
    patch,
    path = "/user",
    tag = "User",
    request_body = PersonBody,
    responses((status = 200, body = bartizan_v4::Envelope<User>))
)]
async fn edit(State(api): State<Api>, caller: Caller, Body(body): Body<PersonBody>) -> Result<Reply<User>, Error> {
    let actor = caller.clone();
    let user = api
        .change(&actor, move |change| {
            let old = change.user(caller.user)?;
            let user = StoredUser { person: person(&old.person, &body)?, ..old.clone() };
            if user != old {
                change.put(Key::user(user.id), &StoredUser { modified_on: change.now(), ..user.clone() })?;
            }
            sent(change, user)
        })
        .await?;
    Ok(Reply::of(user))
}

/// A person as a body wants them.
fn person(old: &Person, body: &PersonBody) -> Result<Person, Error> {
    let text = |old: &Option<String>, new: &Patch<String>, max: usize, at: &str| match new {
        Patch::Absent => Ok(old.clone()),
        Patch::Null => Ok(None),
        Patch::Value(text) if text.chars().count() <= max && !text.chars().any(char::is_control) => {
            Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
        }
        Patch::Value(_) => Err(Fault::UserBody.because(format!("it may have {max} characters")).at(at)),
    };
    Ok(Person {
        first_name: text(&old.first_name, &body.first_name, 60, "/first_name")?,
        last_name: text(&old.last_name, &body.last_name, 60, "/last_name")?,
        telephone: text(&old.telephone, &body.telephone, 20, "/telephone")?,
        country: text(&old.country, &body.country, 30, "/country")?,
        zipcode: text(&old.zipcode, &body.zipcode, 20, "/zipcode")?,
    })
}

fn sent(view: &View, user: StoredUser) -> Result<User, Error> {
    let Person { first_name, last_name, telephone, country, zipcode } = user.person;
    let mut organizations = Vec::new();
    for membership in view.memberships(user.id)?.iter().filter(|one| one.status == MembershipStatus::Accepted) {
        organizations.extend(organization(view, membership)?);
    }
    Ok(User {
        id: user.id,
        username: user.email.clone(),
        email: user.email,
        first_name,
        last_name,
        telephone,
        country,
        zipcode,
        two_factor_authentication_enabled: false,
        two_factor_authentication_locked: false,
        created_on: user.created_on,
        modified_on: user.modified_on,
        organizations,
        has_pro_zones: false,
        has_business_zones: false,
        has_enterprise_zones: true,
        suspended: false,
        betas: Vec::new(),
    })
}

/// The account of a membership under its old name; none of one that cannot be read. An invitation gives nothing yet.
pub(crate) fn organization(view: &View, membership: &StoredMembership) -> Result<Option<Organization>, Error> {
    let Some(account) = account_of(view, membership.account)? else { return Ok(None) };
    let (status, permissions) = match membership.status {
        MembershipStatus::Accepted => {
            let held = Rights::of_memberships(membership.user, std::slice::from_ref(membership));
            ("member", held.in_account_spelled(account.id))
        }
        MembershipStatus::Pending => ("invited", Vec::new()),
    };
    let roles = names_of_roles(membership);
    Ok(Some(Organization { id: account.id, name: account.name, status: status.to_owned(), permissions, roles }))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// Of the account; `account.name` is the same.
    name: Option<String>,
    #[serde(rename = "account.name")]
    account_name: Option<String>,
    status: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The accounts that the caller belongs to, or is invited to.
#[utoipa::path(
    get,
    path = "/memberships",
    tag = "User",
    params(Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Membership>>))
)]
async fn memberships(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<Membership>>, Error> {
    let page: Page = PageSizes { min: 5, default: 20, max: 50 }.page(params.page, params.per_page);
    let mut memberships = api
        .read(move |view| {
            let of_user = view.memberships(caller.user)?.into_iter();
            let sent: Result<Vec<_>, Error> =
                of_user.filter_map(|membership| sent_membership(view, membership).transpose()).collect();
            sent
        })
        .await?;
    let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    memberships.retain(|membership| {
        let name = &membership.account.name;
        is(&params.name, name) && is(&params.account_name, name) && is(&params.status, &membership.status)
    });
    let total = memberships.len() as u64;
    Ok(Reply::page(page.cut(memberships), page, total))
}

/// One membership of the caller's.
#[utoipa::path(
    get,
    path = "/memberships/{membership_id}",
    tag = "User",
    params(("membership_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Membership>))
)]
async fn membership(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(String,)>,
) -> Result<Reply<Membership>, Error> {
    let found = api.read(move |view| sent_membership(view, own(view, &caller, &id)?)).await?;
    found.map(Reply::of).ok_or_else(|| Fault::MemberUnknown.into())
}

/// Accepts an invitation, or rejects it.
#[utoipa::path(
    put,
    path = "/memberships/{membership_id}",
    tag = "User",
    params(("membership_id" = String, Path)),
    request_body = MembershipBody,
    responses((status = 200, body = bartizan_v4::Envelope<Membership>))
)]
async fn answer(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(String,)>,
    Body(body): Body<MembershipBody>,
) -> Result<Reply<Membership>, Error> {
    let answer = wanted(&body)?;
    let actor = caller.clone();
    let answered = api
        .change(&actor, move |change| {
            let old = own(change, &caller, &id)?;
            let decided = decided(change, old, answer)?;
            let sent = sent_membership(change, decided)?;
            Ok(sent.map(|sent| Membership { status: answer.word().to_owned(), ..sent }))
        })
        .await?;
    answered.map(Reply::of).ok_or_else(|| Fault::MemberUnknown.into())
}

/// What somebody says to an invitation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    Rejected,
}

impl Answer {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Answer::Accepted => "accepted",
            Answer::Rejected => "rejected",
        }
    }
}

pub(crate) fn wanted(body: &MembershipBody) -> Result<Answer, Error> {
    let said = body.status.value().map(String::as_str);
    let found = [Answer::Accepted, Answer::Rejected].into_iter().find(|answer| said == Some(answer.word()));
    found.ok_or_else(|| Fault::MemberBody.because("status must be accepted or rejected").at("/status"))
}

/// A membership as it is after an answer. One that was rejected is gone, and an account keeps somebody who decides.
pub(crate) fn decided(change: &mut Change, old: StoredMembership, answer: Answer) -> Result<StoredMembership, Error> {
    if answer == Answer::Rejected {
        change.keep_an_administrator(&old)?;
        change.delete_membership(&old)?;
        return Ok(old);
    }
    if old.status == MembershipStatus::Accepted {
        return Ok(old);
    }
    let new = StoredMembership { status: MembershipStatus::Accepted, modified_on: change.now(), ..old };
    change.put_membership(&new)?;
    Ok(new)
}

/// Leaves an account.
#[utoipa::path(
    delete,
    path = "/memberships/{membership_id}",
    tag = "User",
    params(("membership_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn leave(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(String,)>) -> Result<Reply<Deleted>, Error> {
    let (actor, gone) = (caller.clone(), id.clone());
    api.change(&actor, move |change| {
        let old = own(change, &caller, &id)?;
        change.keep_an_administrator(&old)?;
        change.delete_membership(&old)
    })
    .await?;
    Ok(Reply::of(Deleted { id: gone }))
}

/// A membership of the caller's by its id.
pub(crate) fn own(view: &View, caller: &Caller, id: &str) -> Result<StoredMembership, Error> {
    let found = view.memberships(caller.user)?.into_iter().find(|membership| membership.id == id);
    found.ok_or_else(|| Fault::MemberUnknown.into())
}

/// None of an account that cannot be read.
fn sent_membership(view: &View, membership: StoredMembership) -> Result<Option<Membership>, Error> {
    let Some(account) = account_of(view, membership.account)? else { return Ok(None) };
    let roles: Vec<&RoleRow> = membership.roles.iter().filter_map(|id| RoleRow::by_id(id)).collect();
    Ok(Some(Membership {
        status: membership.status.as_str().to_owned(),
        account,
        api_access_enabled: None,
        roles: names_of_roles(&membership),
        permissions: grants(&roles),
        id: membership.id,
    }))
}
