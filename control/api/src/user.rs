//! `/user`, `/user/tokens/verify` and `/memberships`: who the caller is.

use axum::extract::State;
use bartizan_names::{TokenId, UserId};
use bartizan_store::Key;
use bartizan_v4::{AccountRef, Membership, StoredUser, TokenVerification, User};
use http::{Extensions, HeaderMap};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{needs, open, peer_of};
use crate::caller::{Caller, Credentials};
use crate::error::{Error, Fault};
use crate::extract::Query;
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::state::Api;
use crate::transaction::View;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::UserDetailsRead, api, routes!(user)))
        .routes(open(routes!(verify)))
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
        organizations: vec![AccountRef { id: account.id, name: account.name }],
        has_pro_zones: false,
        has_business_zones: false,
        has_enterprise_zones: true,
        suspended: false,
        betas: Vec::new(),
    }))
}

/// Whether the token of this call is good.
#[utoipa::path(
    get,
    path = "/user/tokens/verify",
    tag = "User",
    responses((status = 200, body = bartizan_v4::Envelope<TokenVerification>))
)]
async fn verify(
    State(api): State<Api>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Result<Reply<TokenVerification>, Error> {
    // Malformed headers keep their own fault; whatever else is wrong with a token has one answer here.
    let Credentials::Token(_) = Credentials::read(&headers)? else { return Err(Fault::InvalidToken.into()) };
    let caller = api.caller(&headers, peer_of(&extensions)).await.map_err(|error| match error.fault {
        Fault::UnknownToken => Fault::InvalidToken.into(),
        _ => error,
    })?;
    let id: TokenId = caller.token.ok_or(Fault::InvalidToken)?;
    let verification = TokenVerification { id, status: "active".to_owned() };
    Ok(Reply::of(verification).with_message(10_000, "This API Token is valid and active"))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Paging {
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The accounts that the caller belongs to.
#[utoipa::path(
    get,
    path = "/memberships",
    tag = "User",
    params(Paging),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Membership>>))
)]
async fn memberships(
    State(api): State<Api>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Reply<Vec<Membership>>, Error> {
    let page: Page = PageSizes { min: 5, default: 20, max: 50 }.page(paging.page, paging.per_page);
    let account = api.read(move |view| view.account(caller.account)).await?;
    let membership = Membership {
        // One user and one account have one membership, so its id is the account's.
        id: account.id.to_string(),
        status: "accepted".to_owned(),
        account: AccountRef { id: account.id, name: account.name },
        api_access_enabled: None,
        roles: vec!["Super Administrator - All Privileges".to_owned()],
        permissions: Permission::ALL.iter().filter_map(|permission| permission.of_zone()).map(str::to_owned).collect(),
    };
    Ok(Reply::page(page.cut(vec![membership]), page, 1))
}
