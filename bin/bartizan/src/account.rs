//! `bartizan account`: thin clients of `/accounts` and their members.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure};
use crate::output::{Output, table};
use crate::zone::{self, text};

#[derive(Subcommand)]
pub enum AccountAction {
    /// The accounts that you are in
    List,
    /// Make an account
    Create {
        /// What it is called
        name: String,
    },
    /// Give an account another name
    Rename {
        /// By name or id
        account: String,
        /// What it is called from now on
        name: String,
    },
    /// Delete an account in which there are no zones and no tunnels
    Delete {
        /// By name or id
        account: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Who belongs to an account: add, list, remove, roles
    Member {
        #[command(subcommand)]
        action: MemberAction,
    },
}

#[derive(Subcommand)]
pub enum MemberAction {
    /// Make a user a member, or invite them: `account member add ann@example.com --role DNS`
    Add {
        /// Their e-mail address
        email: String,
        /// What they are, repeatable
        #[arg(long, value_name = "ROLE", required = true)]
        role: Vec<String>,
        /// By name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// The members
    List {
        /// By name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Take a member out
    Remove {
        /// Their e-mail address
        email: String,
        /// By name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        #[command(flatten)]
        consent: Consent,
    },
    /// The roles that there are
    Roles {
        /// By name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
}

const ACCOUNTS: &str = "/accounts";

pub async fn run(action: AccountAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        AccountAction::List => {
            let accounts = api.list(ACCOUNTS).await?;
            output.result(&Value::Array(accounts.clone()), || {
                let row = |account: &Value| ["name", "id"].map(|member| text(account, member).to_owned()).to_vec();
                table(&["name", "id"], &accounts.iter().map(row).collect::<Vec<_>>())
            })
        }
        AccountAction::Create { name } => {
            // Names need not be of one account alone, and whoever meant that one is told.
            let namesake = api.list(ACCOUNTS).await?.into_iter().find(|one| text(one, "name") == name);
            if let Some(other) = namesake {
                output.progress(format!(
                    "account {} is called {name} too: commands tell them by their ids",
                    text(&other, "id")
                ));
            }
            let account = api.post(ACCOUNTS, &json!({"name": name})).await?;
            output.result(&account, || format!("{name} is account {}", text(&account, "id")))
        }
        AccountAction::Rename { account, name } => {
            let one = path_of(api, Some(&account)).await?;
            let account = api.put(&one, &json!({"name": name})).await?;
            output.result(&account, || format!("account {} is called {name}", text(&account, "id")))
        }
        AccountAction::Delete { account, consent } => {
            let one = path_of(api, Some(&account)).await?;
            consent.ask(&format!("delete the account {account}, with its tokens and members?"), &account, output)?;
            let gone = api.delete(&one).await?;
            output.result(&gone, || format!("the account {account} is deleted"))
        }
        AccountAction::Member { action } => member(action, api, output).await,
    }
}

async fn member(action: MemberAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        MemberAction::List { account } => {
            let members = api.list(&format!("{}/members", path_of(api, account.as_deref()).await?)).await?;
            output.result(&Value::Array(members.clone()), || {
                table(&["e-mail", "status", "may"], &members.iter().map(row).collect::<Vec<_>>())
            })
        }
        MemberAction::Roles { account } => {
            let roles = api.list(&format!("{}/roles", path_of(api, account.as_deref()).await?)).await?;
            output.result(&Value::Array(roles.clone()), || {
                let row = |role: &Value| ["name", "description"].map(|member| text(role, member).to_owned()).to_vec();
                table(&["name", "what it may"], &roles.iter().map(row).collect::<Vec<_>>())
            })
        }
        MemberAction::Add { email, role, account } => {
            let member = add(api, account.as_deref(), &email, &role).await?;
            output.result(&member, || match text(&member, "status") {
                "pending" => format!("{email} is invited, and has to accept it"),
                _ => format!("{email} is a member: {}", roles(&member)),
            })
        }
        MemberAction::Remove { email, account, consent } => {
            let members = format!("{}/members", path_of(api, account.as_deref()).await?);
            let all = api.list(&members).await?;
            let is = |member: &&Value| text(&member["user"], "email").eq_ignore_ascii_case(email.trim());
            let found = all.iter().find(is).ok_or_else(|| {
                Failure::new(Cause::NotFound, format!("{email} is no member of this account"))
                    .remedy("`bartizan account member list` shows them")
            })?;
            consent.ask(&format!("take {email} out of this account?"), &email, output)?;
            let gone = api.delete(&format!("{members}/{}", text(found, "id"))).await?;
            output.result(&gone, || format!("{email} is no member any more"))
        }
    }
}

/// Makes a user a member of an account.
pub async fn add(api: &Api, account: Option<&str>, email: &str, roles: &[String]) -> anyhow::Result<Value> {
    add_at(api, &path_of(api, account).await?, email, roles).await
}

/// Of the account at this path.
pub async fn add_at(api: &Api, account: &str, email: &str, roles: &[String]) -> anyhow::Result<Value> {
    api.post(&format!("{account}/members"), &json!({"email": email, "roles": roles})).await
}

/// The path of an account that has all these roles.
pub async fn with_roles(api: &Api, account: Option<&str>, roles: &[String]) -> anyhow::Result<String> {
    let path = path_of(api, account).await?;
    let known = api.list(&format!("{path}/roles")).await?;
    let is_known = |word: &str| {
        known.iter().any(|one| text(one, "id") == word || text(one, "name").eq_ignore_ascii_case(word.trim()))
    };
    match roles.iter().find(|role| !is_known(role)) {
        None => Ok(path),
        Some(unknown) => Err(Failure::new(Cause::Usage, format!("there is no role {unknown:?}"))
            .remedy("`bartizan account member roles` shows them")
            .into()),
    }
}

/// The path of an account, named by its name or its id; without a word the only one.
pub async fn path_of(api: &Api, account: Option<&str>) -> anyhow::Result<String> {
    path_in(api.list(ACCOUNTS).await?, account)
}

fn path_in(all: Vec<Value>, account: Option<&str>) -> anyhow::Result<String> {
    let found = match account {
        Some(word) => zone::meant(all, |one| text(one, "id") == word, |one| text(one, "name") == word),
        None => all,
    };
    let word = account.unwrap_or_default();
    match found.as_slice() {
        [one] => Ok(format!("{ACCOUNTS}/{}", text(one, "id"))),
        [] => Err(Failure::new(Cause::NotFound, format!("no account {word} here"))
            .remedy("`bartizan account list` shows them")
            .into()),
        several => {
            let ids: Vec<&str> = several.iter().map(|one| text(one, "id")).collect();
            let what = match account {
                Some(word) => format!("{} accounts are called {word}: {}", ids.len(), ids.join(", ")),
                None => "there are several accounts".to_owned(),
            };
            let remedy = "say which by its id, which `bartizan account list` shows: --account ID";
            Err(Failure::new(Cause::Usage, what).remedy(remedy).into())
        }
    }
}

/// What a member is.
pub fn roles(member: &Value) -> String {
    let names = member["roles"].as_array().into_iter().flatten().map(|role| text(role, "name"));
    names.collect::<Vec<_>>().join(", ")
}

fn row(member: &Value) -> Vec<String> {
    let mut may = roles(member);
    if member["policies"].is_array() {
        may += if may.is_empty() { "policies" } else { " and policies" };
    }
    vec![text(&member["user"], "email").to_owned(), text(member, "status").to_owned(), may]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namesakes_are_named() {
        let all = || ["7f", "2a"].map(|id| json!({"id": id, "name": "Customer"})).to_vec();
        assert_eq!(path_in(all(), Some("2a")).unwrap(), "/accounts/2a");
        let told = |account| path_in(all(), account).unwrap_err().to_string();
        assert!(
            told(Some("Customer")).starts_with("2 accounts are called Customer: 7f, 2a"),
            "{}",
            told(Some("Customer"))
        );
        assert!(told(None).starts_with("there are several accounts") && told(Some("x")).starts_with("no account x"));
    }
}
