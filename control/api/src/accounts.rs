//! `/accounts`: the owners of zones and tunnels. A caller sees their own.

use std::str::FromStr;

use axum::extract::State;
use bartizan_names::{AccountId, IdError};
use bartizan_store::{Filter as Kept, Key, Kind};
use bartizan_v4::{Account, AccountRef};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{needs, shows};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::path::OWN_ACCOUNT;
use crate::permission::Permission;
use crate::reply::{PageSizes, Reply};
use crate::rights::Target;
use crate::state::Api;
use crate::transaction::View;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(shows(Permission::AccountSettingsRead, api, routes!(list))).routes(needs(
        Permission::AccountSettingsRead,
        api,
        routes!(get),
    ))
}

/// An account as a path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountScope {
    /// The caller's, reached by `/user/…`.
    Own,
    Account(AccountId),
}

impl FromStr for AccountScope {
    type Err = IdError;

    fn from_str(text: &str) -> Result<AccountScope, IdError> {
        if text == OWN_ACCOUNT { Ok(AccountScope::Own) } else { text.parse().map(AccountScope::Account) }
    }
}

impl AccountScope {
    /// The account, if it is the caller's; that another one exists is not told.
    pub(crate) fn of(self, caller: &Caller) -> Result<AccountId, Error> {
        match self {
            AccountScope::Own => Ok(caller.account),
            AccountScope::Account(account) if account == caller.account => Ok(account),
            AccountScope::Account(_) => Err(Fault::NotAllowed.into()),
        }
    }
}

impl View {
    pub(crate) fn account(&self, id: AccountId) -> Result<Account, Error> {
        self.find(&Key::account(id))?.ok_or_else(|| Fault::NotAllowed.into())
    }

    /// Whether there is no other account: then all is its, also what does not tell whose it is.
    pub(crate) fn is_only_account(&self, id: AccountId) -> Result<bool, Error> {
        let (mine, mut others) = (Key::account(id), 0);
        let accounts = Kept::Kinds(vec![Kind::Account]);
        let unreadable = self.0.for_each(&accounts, &mut |entry| others += usize::from(entry.key != mine))?;
        Ok(others == 0 && unreadable.iter().all(|one| one.key == mine.as_str()))
    }
}

/// An account as other objects name it.
pub(crate) fn account_ref(account: &Account) -> AccountRef {
    AccountRef { id: account.id, name: account.name.clone() }
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Filter {
    name: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The accounts that the caller acts in.
#[utoipa::path(
    get,
    path = "/accounts",
    tag = "Accounts",
    params(Filter),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Account>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Reply<Vec<Account>>, Error> {
    let page = PageSizes { min: 5, default: 20, max: 50 }.page(filter.page, filter.per_page);
    let id = caller.account;
    let account = api.read(move |view| view.account(id)).await?;
    let matching = caller.may(Permission::AccountSettingsRead, &Target::Account(account.id))
        && filter.name.is_none_or(|name| name == account.name);
    let accounts = if matching { vec![account] } else { Vec::new() };
    let total = accounts.len() as u64;
    Ok(Reply::page(page.cut(accounts), page, total))
}

/// One account.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}",
    tag = "Accounts",
    params(("account_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Account>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope,)): Ids<(AccountScope,)>,
) -> Result<Reply<Account>, Error> {
    let account = scope.of(&caller)?;
    Ok(Reply::of(api.read(move |view| view.account(account)).await?))
}
