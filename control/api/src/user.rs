//! `/user` and `/memberships`: who the caller is.

use axum::extract::State;
use bartizan_names::UserId;
use bartizan_store::Key;
use bartizan_v4::user::{Person, PersonBody};
use bartizan_v4::{Account, Membership, Organization, Patch, StoredUser, User};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Query};
use crate::members::{ACCEPTED, ROLE, grants, member_id};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::state::Api;
use crate::transaction::View;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::UserDetailsRead, api, routes!(user)))
        .routes(needs(Permission::UserDetailsWrite, api, routes!(edit)))
        .routes(needs(Permission::MembershipsRead, api, routes!(memberships)))
}

impl View {
    pub(crate) fn user(&self, id: UserId) -> Result<StoredUser, Error> {
        self.find(&Key::user(id))?.ok_or_else(|| Fault::NotAllowed.into())
    }
}

/// The user behind the credentials.
#[utoipa::path(get, path = "/user", tag = "User", responses((status = 200, body = bartizan_v4::Envelope<User>)))]
async fn user(State(api): State<Api>, caller: Caller) -> Result<Reply<User>, Error> {
    let (user, account) = api.read(move |view| Ok((view.user(caller.user)?, view.account(caller.account)?))).await?;
    Ok(Reply::of(sent(user, account)))
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
    let (user, account) = api
        .change(&actor, move |change| {
            let old = change.user(caller.user)?;
            let user = StoredUser { person: person(&old.person, &body)?, ..old.clone() };
            if user != old {
                change.put(Key::user(user.id), &StoredUser { modified_on: change.now(), ..user.clone() })?;
            }
            Ok((user, change.account(caller.account)?))
        })
        .await?;
    Ok(Reply::of(sent(user, account)))
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

fn sent(user: StoredUser, account: Account) -> User {
    let Person { first_name, last_name, telephone, country, zipcode } = user.person;
    User {
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
        organizations: vec![Organization {
            id: account.id,
            name: account.name,
            status: "member".to_owned(),
            permissions: Permission::all_of_zone(),
            roles: vec![ROLE.to_owned()],
        }],
        has_pro_zones: false,
        has_business_zones: false,
        has_enterprise_zones: true,
        suspended: false,
        betas: Vec::new(),
    }
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

/// The accounts that the caller belongs to.
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
    let user = caller.user;
    let account = api.read(move |view| view.account(caller.account)).await?;
    let membership = Membership {
        id: member_id(account.id, user),
        status: ACCEPTED.to_owned(),
        account,
        api_access_enabled: None,
        roles: vec![ROLE.to_owned()],
        permissions: grants(),
    };
    let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    let name = &membership.account.name;
    let matches = is(&params.name, name) && is(&params.account_name, name) && is(&params.status, ACCEPTED);
    let memberships = if matches { vec![membership] } else { Vec::new() };
    let total = memberships.len() as u64;
    Ok(Reply::page(page.cut(memberships), page, total))
}
