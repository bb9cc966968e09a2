//! `/accounts`: the owners of zones and tunnels. A caller sees those that they are in.
//!
//! The first account is the edge's own: what is of the edge as a whole (its users, its places, what it measures, rules for
//! all visitors) takes permissions over that one.

use axum::extract::State;
use bartizan_names::AccountId;
use bartizan_store::{Filter as Kept, Index, Key, Kind, Prefix, Scope, ZoneQuery};
use bartizan_v4::account::{AccountEdit, MembershipStatus};
use bartizan_v4::{Account, AccountRef, AccountSettings, Deleted, StoredMembership, StoredToken, StoredTunnel};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{needs, shows};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::memberships::{OF_ACCOUNT_MAX, OF_USER_MAX, member_id};
use crate::path::AccountScope;
use crate::permission::Permission;
use crate::reply::{PageSizes, Reply};
use crate::rights::Target;
use crate::roles::ADMINISTRATOR;
use crate::state::Api;
use crate::transaction::{Change, View};

/// Accounts of an edge. All of them are looked at where a list of them is asked for.
const ACCOUNTS_MAX: usize = 1_000;

/// Characters of an account's name.
const NAME_MAX: usize = 100;

/// What goes with an account in one change.
const OBJECTS_MAX: usize = 5_000;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(shows(Permission::AccountSettingsRead, api, routes!(list)))
        .routes(needs(Permission::EdgeAccountsWrite, api, routes!(create)))
        .routes(needs(Permission::AccountSettingsRead, api, routes!(get)))
        .routes(needs(Permission::AccountSettingsWrite, api, routes!(edit)))
        .routes(needs(Permission::EdgeAccountsWrite, api, routes!(delete)))
}

impl AccountScope {
    /// The account, if the caller is in it; that another one exists is not told.
    pub(crate) fn of(self, caller: &Caller) -> Result<AccountId, Error> {
        let account = match self {
            AccountScope::Own => caller.account,
            AccountScope::Account(account) => account,
        };
        if caller.accounts.contains(&account) { Ok(account) } else { Err(Fault::NotAllowed.into()) }
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

/// A new account.
pub(crate) fn document(id: AccountId, name: &str, now: bartizan_names::Timestamp) -> Account {
    Account {
        id,
        name: name.to_owned(),
        kind: "standard".to_owned(),
        settings: AccountSettings::default(),
        created_on: now,
    }
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Filter {
    name: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The accounts that the caller is in.
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
    let accounts = api
        .read(move |view| {
            let may = |id: &&AccountId| caller.may(Permission::AccountSettingsRead, &Target::Account(**id));
            let found: Result<Vec<_>, Error> = caller.accounts.iter().filter(may).map(|id| view.account(*id)).collect();
            found
        })
        .await?;
    let named = accounts.into_iter().filter(|account| filter.name.as_ref().is_none_or(|name| *name == account.name));
    let accounts: Vec<Account> = named.collect();
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

/// Makes an account, of which the caller is the Super Administrator.
#[utoipa::path(
    post,
    path = "/accounts",
    tag = "Accounts",
    request_body = AccountEdit,
    responses((status = 200, body = bartizan_v4::Envelope<Account>))
)]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<AccountEdit>,
) -> Result<Reply<Account>, Error> {
    let name = name(body.name.value())?;
    let id = AccountId::from_bytes(bartizan_seal::random());
    let actor = caller.clone();
    let account = api
        .change(&actor, move |change| {
            if change.0.list_kind(Kind::Account, ACCOUNTS_MAX)?.len() >= ACCOUNTS_MAX {
                return Err(
                    Fault::AccountBody.because(format!("there are {ACCOUNTS_MAX} accounts already; delete some"))
                );
            }
            if change.memberships(caller.user)?.len() >= OF_USER_MAX {
                return Err(
                    Fault::AccountBody.because(format!("you are in {OF_USER_MAX} accounts already; leave some"))
                );
            }
            let (account, now) = (document(id, &name, change.now()), change.now());
            change.put(Key::account(id), &account)?;
            change.put_membership(&StoredMembership {
                id: member_id(id, caller.user),
                account: id,
                user: caller.user,
                status: MembershipStatus::Accepted,
                roles: vec![ADMINISTRATOR.id()],
                policies: Vec::new(),
                created_on: now,
                modified_on: now,
            })?;
            Ok(account)
        })
        .await?;
    Ok(Reply::of(account))
}

/// Renames an account.
#[utoipa::path(
    put,
    path = "/accounts/{account_id}",
    tag = "Accounts",
    params(("account_id" = String, Path)),
    request_body = AccountEdit,
    responses((status = 200, body = bartizan_v4::Envelope<Account>))
)]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope,)): Ids<(AccountScope,)>,
    Body(body): Body<AccountEdit>,
) -> Result<Reply<Account>, Error> {
    let (id, name) = (scope.of(&caller)?, name(body.name.value())?);
    let account = api
        .change(&caller, move |change| {
            let old = change.account(id)?;
            let account = Account { name: name.clone(), ..old.clone() };
            if account.name != old.name {
                change.put(Key::account(id), &account)?;
            }
            Ok(account)
        })
        .await?;
    Ok(Reply::of(account))
}

/// Deletes an account in which there are no zones and no tunnels, with its tokens and its members.
#[utoipa::path(
    delete,
    path = "/accounts/{account_id}",
    tag = "Accounts",
    params(("account_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((scope,)): Ids<(AccountScope,)>,
) -> Result<Reply<Deleted>, Error> {
    let id = scope.of(&caller)?;
    if id == api.facts().account {
        return Err(Fault::AccountInUse.because("it is the edge's own"));
    }
    api.change(&caller, move |change| change.delete_account(id)).await?;
    Ok(Reply::of(Deleted { id: id.to_string() }))
}

fn name(given: Option<&String>) -> Result<String, Error> {
    let name = given.map(|text| text.trim()).unwrap_or_default();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(Fault::AccountBody.because(format!("name must have 1 to {NAME_MAX} characters")).at("/name"));
    }
    Ok(name.to_owned())
}

impl Change {
    /// What is made in an account requires it, so nothing is made in one that goes.
    fn delete_account(&mut self, id: AccountId) -> Result<(), Error> {
        let in_use =
            |what: &str| Err(Fault::AccountInUse.because(format!("there are {what} in it; delete them first")));
        let scope = Scope::Account(id);
        if self.zones(&ZoneQuery { account: Some(id), per_page: 1, ..ZoneQuery::default() })?.total > 0 {
            return in_use("zones");
        }
        for key in self.keys(&Prefix::of(scope, Kind::Tunnel), None, OBJECTS_MAX)? {
            // Deleted ones stay as documents.
            if self.if_readable::<StoredTunnel>(&key)?.is_none_or(|tunnel| tunnel.deleted_at.is_none()) {
                return in_use("tunnels");
            }
        }
        let index = Prefix::unique(scope, Index::Member);
        for key in self.keys(&index, None, OF_ACCOUNT_MAX)? {
            if let Some(user) = key.id().rsplit_once('/').and_then(|(_, user)| user.parse().ok()) {
                self.delete(Key::membership(user, id))?;
            }
        }
        let all = self.keys(&Prefix::scope(scope), None, OBJECTS_MAX + 1)?;
        if all.len() > OBJECTS_MAX {
            return in_use("thousands of objects");
        }
        for key in all {
            if key.kind() == Kind::Token
                && let Some(token) = self.if_readable::<StoredToken>(&key)?
            {
                self.forget_hash(&token)?;
            }
            self.delete(key)?;
        }
        Ok(())
    }
}
