//! `/accounts/{account_id}/members` and `/accounts/{account_id}/roles`: who belongs to an account, and as what. There is one
//! role, which may do everything; who shall do less gets a token of their own.

use axum::extract::State;
use bartizan_names::{AccountId, UserId};
use bartizan_store::Kind;
use bartizan_v4::StoredUser;
use bartizan_v4::account::{Grant, Grants, Member, MemberUser, Role};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::AccountScope;
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::permission::Permission;
use crate::reply::{PageSizes, Reply};
use crate::state::Api;

const SIZES: PageSizes = PageSizes { min: 5, default: 20, max: 50 };

/// The name of the one role.
pub(crate) const ROLE: &str = "Super Administrator - All Privileges";

/// Every member is one: nobody is invited.
pub(crate) const ACCEPTED: &str = "accepted";

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::AccountSettingsRead, api, routes!(members)))
        .routes(needs(Permission::AccountSettingsRead, api, routes!(member)))
        .routes(needs(Permission::AccountSettingsRead, api, routes!(roles)))
        .routes(needs(Permission::AccountSettingsRead, api, routes!(role)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Paging {
    page: Option<u32>,
    per_page: Option<u32>,
}

/// Who belongs to an account.
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
    let page = SIZES.page(paging.page, paging.per_page);
    let members = all(&api, account.of(&caller)?).await?;
    let total = members.len() as u64;
    Ok(Reply::page(page.cut(members), page, total))
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
    let members = all(&api, account.of(&caller)?).await?;
    members.into_iter().find(|member| member.id == id).map(Reply::of).ok_or_else(|| Fault::MemberUnknown.into())
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
    let page = SIZES.page(paging.page, paging.per_page);
    Ok(Reply::page(page.cut(vec![the_role()]), page, 1))
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
    let role = the_role();
    if role.id == id { Ok(Reply::of(role)) } else { Err(Fault::RoleUnknown.into()) }
}

async fn all(api: &Api, account: AccountId) -> Result<Vec<Member>, Error> {
    // There is one account, and every user belongs to it.
    let users = api.read(|view| view.all::<StoredUser>(Kind::User)).await?;
    Ok(users
        .into_iter()
        .map(|user| Member {
            id: member_id(account, user.id),
            user: MemberUser {
                id: user.id,
                email: user.email,
                first_name: user.person.first_name,
                last_name: user.person.last_name,
                two_factor_authentication_enabled: false,
            },
            status: ACCEPTED.to_owned(),
            roles: vec![the_role()],
        })
        .collect())
}

/// Of a user in an account. The same as that of the user's membership.
pub(crate) fn member_id(account: AccountId, user: UserId) -> String {
    id_of(&format!("member/{account}/{user}"))
}

fn id_of(text: &str) -> String {
    hex::encode(&bartizan_seal::sha256(text.as_bytes())[..16])
}

fn the_role() -> Role {
    Role {
        id: id_of("role/super-administrator"),
        name: ROLE.to_owned(),
        description: "May do everything in the account".to_owned(),
        permissions: grants(),
    }
}

/// What a member of an account may do: all that there is here.
pub(crate) fn grants() -> Grants {
    let strings = Permission::all_of_zone();
    let may = |what: &str| Grant {
        read: strings.contains(&format!("#{what}:read")),
        write: strings.contains(&format!("#{what}:edit")),
    };
    Grants {
        dns_records: may("dns_records"),
        organization: Grant { read: true, write: false },
        waf: may("waf"),
        zone_settings: may("zone_settings"),
        zones: may("zone"),
        ..Grants::default()
    }
}
