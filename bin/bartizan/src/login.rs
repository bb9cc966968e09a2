//! `bartizan login` and `bartizan logout`: how later commands are let in. There is one credential at a time, a token or a session
//! that a password began; nothing of a password is kept.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::client::Api;
use crate::credentials::{self, Edge};
use crate::failure::{Cause, Failure, cause};
use crate::output::{Output, say};
use crate::people;
use crate::status;
use crate::terminal;
use crate::zone::text;

#[derive(Args)]
pub struct Login {
    /// The API's URL, such as `https://edge.example.com:8787` [default: as for every command]
    pub url: Option<String>,
    /// Log in with a password, as this person: it is asked for and not shown. `logout` ends it, and so do twelve hours without
    /// a command
    #[arg(long, value_name = "EMAIL")]
    pub user: Option<String>,
    /// A file with the password; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    #[command(flatten)]
    pub edge: Edge,
}

/// Where the API is, of a URL of which only the host is said.
const BASE_PATH: &str = "/client/v4";

/// Checks the way to an edge and stores it.
pub async fn login(words: Login, output: Output) -> anyhow::Result<()> {
    let Login { url, user, password_file, mut edge } = words;
    if let Some(url) = url {
        edge.api = Some(whole(&url));
    }
    let api = match user {
        Some(email) => {
            let (base, ca) = credentials::place(&edge)?;
            let password = password(&email, password_file.as_deref())?;
            Api::log_in(&base, ca, &email, &password).await?
        }
        None => {
            let api = credentials::find(&edge)?;
            let token = api.get("/user/tokens/verify").await?;
            if text(&token, "status") != "active" {
                return Err(Failure::new(Cause::Refused, "this token is not active").into());
            }
            api
        }
    };
    let facts = match status::facts(&api).await {
        Ok(facts) => Some(facts),
        // A token for other things is stored all the same.
        Err(error) if cause(&error) == Some(Cause::Refused) => None,
        Err(error) => return Err(error),
    };
    let (ca, domain) = facts.map(|facts| (facts.ca, facts.domain)).unzip();
    // One that is not told is the one that was good for this call.
    let ca = match ca {
        None => credentials::ca(&edge)?,
        told => told,
    };
    let path = credentials::store(&api, ca)?;
    // Said of another edge than this one, it would be of no use as long as that is here.
    let first = credentials::goes_first(&edge).filter(|local| local.api != api.base());
    let document = json!({
        "api": api.base(), "credential": path, "goes_first": first.as_ref().map(|local| &local.api),
    });
    output.result(&document, || {
        let next = domain.map(|domain| format!("\ntry: bartizan tunnel --hostname app.{domain} http://localhost:9000"));
        let first = first.map(|local| {
            format!(
                "\nstill, commands of this user on this machine go to its own edge, {}; for the other: --api {}, or BARTIZAN_API",
                local.api,
                api.base()
            )
        });
        format!("stored in {}{}{}", path.display(), first.unwrap_or_default(), next.unwrap_or_default())
    })
}

/// Forgets the credential. What it was good for has ended, if it was a session.
pub async fn logout(output: Output) -> anyhow::Result<()> {
    let Some(stored) = credentials::take()? else {
        return Err(Failure::new(Cause::NotFound, "nothing is stored: nobody is logged in here").into());
    };
    let (api, is_session) = (stored.base().to_owned(), stored.is_session());
    let ended = if is_session { stored.delete("/bartizan/sessions/current").await.map(drop) } else { Ok(()) };
    let is_over = match ended {
        Ok(()) => is_session,
        // It had ended by itself.
        Err(error) if matches!(cause(&error), Some(Cause::Refused | Cause::NotFound)) => true,
        Err(error) => {
            say(&format!("{error:#}"));
            return Err(Failure::new(
                Cause::Failed,
                format!("this machine has forgotten its session, which {api} still knows"),
            )
            .remedy("it ends by itself twelve hours after its last call, or with another password")
            .into());
        }
    };
    output.result(&json!({"api": api, "session_ended": is_over}), || match is_over {
        true => format!("the session at {api} has ended"),
        false => format!(
            "the token for {api} is forgotten here; whoever has it elsewhere is still let in (`bartizan token delete` ends one)"
        ),
    })
}

fn password(email: &str, file: Option<&Path>) -> anyhow::Result<String> {
    match file {
        Some(file) => people::read_password(file),
        None => {
            let remedy = "give it with --password-file FILE, or - for standard input";
            terminal::ask_unseen(&format!("password of {email}: ")).map_err(|error| {
                Failure::new(Cause::Usage, format!("nobody can be asked for a password: {error}")).remedy(remedy).into()
            })
        }
    }
}

/// A URL as a person types it: with the path of the API, if it has none.
fn whole(url: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.split_once("://") {
        Some((_, rest)) if !rest.contains('/') => format!("{url}{BASE_PATH}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn urls_as_people_type_them() {
        for (url, expect) in [
            ("https://edge.example:8787", "https://edge.example:8787/client/v4"),
            ("https://edge.example/", "https://edge.example/client/v4"),
            ("http://127.0.0.1:8787/client/v4/", "http://127.0.0.1:8787/client/v4"),
            // Refused with a word on what is missing.
            ("edge.example", "edge.example"),
        ] {
            assert_eq!(whole(url), expect);
        }
    }
}
