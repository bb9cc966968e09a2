//! `/user` and `/memberships`: who the caller is.

use axum::extract::State;
use bartizan_names::UserId;
use bartizan_store::Key;
use bartizan_v4::{Membership, Organization, StoredUser, User};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::Query;
use crate::members::{ACCEPTED, ROLE, grants, member_id};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::state::Api;
use crate::transaction::View;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::UserDetailsRead, api, routes!(user))).routes(needs(
        Permission::MembershipsRead,
        api,
        routes!(memberships),
    ))
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
    Ok(Reply::of(User {
        id: user.id,
        username: user.email.clone(),
        email: user.email,
        first_name: None,
        last_name: None,
        telephone: None,
        country: None,
        zipcode: None,
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
    }))
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
