//! `bartizan user`: thin clients of `/bartizan/users`. A password is no word of a command line, which everybody on a machine
//! sees: it comes from a file or standard input, or is made up here and shown once.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::account;
use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure};
use crate::output::{Output, table};
use crate::url::with_query;
use crate::zone::text;

#[derive(Subcommand)]
pub enum UserAction {
    /// Make a user: `user create ann@example.com --role DNS`; without a role they may do nothing yet
    Create {
        /// Their e-mail address, by which they log in
        email: String,
        /// What they are in the account, repeatable: DNS, Administrator …; `account member roles` shows them
        #[arg(long, value_name = "ROLE")]
        role: Vec<String>,
        /// The account, by name or id [default: the only one]
        #[arg(long, value_name = "ACCOUNT", requires = "role")]
        account: Option<String>,
        #[command(flatten)]
        password: PasswordWords,
    },
    /// The users
    List,
    /// Give a user another password; their other sessions end
    Passwd {
        /// By address or id
        user: String,
        #[command(flatten)]
        password: PasswordWords,
    },
    /// Let a user in no more, by whatever of theirs
    Disable {
        /// By address or id
        user: String,
    },
    /// Let a user in again
    Enable {
        /// By address or id
        user: String,
    },
    /// Delete a user with their tokens and sessions
    Delete {
        /// By address or id
        user: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Args)]
pub struct PasswordWords {
    /// A file with the password, `-` for standard input [default: one that is made up, and shown once]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

const USERS: &str = "/bartizan/users";

/// Octets of a file with a password.
const FILE_MAX: u64 = 4_096;

/// Letters and digits that are not taken for each other: five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

pub async fn run(action: UserAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        UserAction::List => {
            let users = api.list(USERS).await?;
            output.result(&Value::Array(users.clone()), || {
                table(&["e-mail", "id", "status", "password"], &users.iter().map(row).collect::<Vec<_>>())
            })
        }
        UserAction::Create { email, role, account, password } => {
            // First what may be wrong with a word: a user without the role would be half of what was asked for.
            let place = match role.is_empty() {
                true => None,
                false => Some(account::with_roles(api, account.as_deref(), &role).await?),
            };
            let (password, is_made_up) = given(&password)?;
            let user = api.post(USERS, &json!({"email": email, "password": password})).await?;
            let mut what = format!("{} may log in", text(&user, "email"));
            // The user is there and the password told, whatever becomes of the rest.
            let joined = match &place {
                None => Ok(()),
                Some(_) if api.only_tries() => {
                    api.foretell(&format!("and they would be a member: {}", role.join(", ")));
                    Ok(())
                }
                Some(place) => account::add_at(api, place, &email, &role).await.map(|member| {
                    // As roles are called, however they were typed.
                    what += &format!(", as {}", account::roles(&member));
                }),
            };
            match (&joined, &place) {
                (Ok(()), Some(_)) => {}
                (Ok(()), None) => {
                    what += ", has no role, and may do nothing here yet: `bartizan account member add` gives one";
                }
                (Err(_), _) => {}
            }
            tell(output, &user, &what, is_made_up.then_some(&password))?;
            joined
        }
        UserAction::Passwd { user, password } => {
            let one = path_of(api, &user).await?;
            let (password, is_made_up) = given(&password)?;
            let user = api.patch(&one, &json!({"password": password})).await?;
            let what = format!("{} has another password; their other sessions have ended", text(&user, "email"));
            tell(output, &user, &what, is_made_up.then_some(&password))
        }
        UserAction::Disable { user } => set(api, output, &user, "disabled", "is not let in any more").await,
        UserAction::Enable { user } => set(api, output, &user, "active", "is let in again").await,
        UserAction::Delete { user, consent } => {
            let one = path_of(api, &user).await?;
            consent.ask(&format!("delete {user}, with their tokens and sessions?"), &user, output)?;
            let gone = api.delete(&one).await?;
            output.result(&gone, || format!("{user} is deleted, with their tokens and sessions"))
        }
    }
}

async fn set(api: &Api, output: Output, user: &str, status: &str, what: &str) -> anyhow::Result<()> {
    let user = api.patch(&path_of(api, user).await?, &json!({"status": status})).await?;
    output.result(&user, || format!("{} {what}", text(&user, "email")))
}

/// A password that was made up is the result; nobody is told it again.
fn tell(output: Output, user: &Value, what: &str, password: Option<&String>) -> anyhow::Result<()> {
    let Some(password) = password else { return output.result(user, || what.to_owned()) };
    let mut told = user.clone();
    told["password"] = json!(password);
    output.secret(&format!("{what}. The password, shown this once:"), &told, || password.clone())
}

/// The password that somebody gives, or one that is made up.
fn given(words: &PasswordWords) -> anyhow::Result<(String, bool)> {
    match &words.password_file {
        None => Ok((made_up(), true)),
        Some(path) => Ok((read_password(path)?, false)),
    }
}

/// The password in a file; `-` is standard input.
pub fn read_password(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        return read(std::io::stdin().lock(), "standard input");
    }
    let failed = |error: std::io::Error| {
        Failure::new(Cause::Usage, format!("cannot read the password in {}: {error}", path.display()))
    };
    read(File::open(path).map_err(failed)?, &path.display().to_string())
}

/// Whatever it is but the end of its line.
fn read(from: impl Read, place: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(FILE_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Cause::Usage, format!("cannot read a password from {place}: {error}")))?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(Failure::new(Cause::Usage, format!("there is no password in {place}")).into());
    }
    Ok(password.to_owned())
}

/// Twenty letters and digits in groups: a hundred bits.
fn made_up() -> String {
    let letters = bartizan_seal::random::<20>().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    letters.chunks(5).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// The path of a user who is named by their address or their id.
pub async fn path_of(api: &Api, user: &str) -> anyhow::Result<String> {
    let by_id = user.to_ascii_lowercase().parse::<bartizan_names::UserId>();
    let id = match by_id {
        Ok(id) => Some(id.to_string()),
        Err(_) => {
            let found = api.get(&with_query(USERS, &[("email", user)])).await?;
            found.get(0).map(|user| text(user, "id").to_owned()).filter(|_| !user.is_empty())
        }
    };
    let id = id.ok_or_else(|| {
        Failure::new(Cause::NotFound, format!("no user {user} here")).remedy("`bartizan user list` shows them")
    })?;
    Ok(format!("{USERS}/{id}"))
}

fn row(user: &Value) -> Vec<String> {
    let password = if user["has_password"] == true { "yes" } else { "no" };
    [text(user, "email"), text(user, "id"), text(user, "status"), password].map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords() {
        for (text, expect) in [
            ("correct horse\n", Some("correct horse")),
            (" with spaces \r\n", Some(" with spaces ")),
            ("two\nlines\n", Some("two\nlines")),
            ("\n", None),
            ("", None),
        ] {
            assert_eq!(read(text.as_bytes(), "here").ok().as_deref(), expect, "{text:?}");
        }
        let made = made_up();
        assert_eq!((made.len(), made.matches('-').count()), (23, 3));
        assert_ne!(made, made_up());
        assert_eq!(bartizan_model::check_password(&made, "user@example.com"), Ok(()));
    }
}
