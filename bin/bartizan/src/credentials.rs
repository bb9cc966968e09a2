//! How a command finds its edge: flags and environment, a local `up`, what `login` stored (design §2.1). A data directory that
//! is named is that of the edge that is meant: nothing else stands in for it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::client::{self, Api, Pass};
use crate::data_dir::Local;
use crate::failure::{Cause, Failure};
use crate::token::{self, Secret, Seen};
use crate::{settings, text_file, user};

/// Over these flags in the help of each command.
const WHICH_EDGE: &str = "Which edge";

/// How a command finds its edge: these flags, then the environment, then a local `up`, then what `login` stored.
#[derive(Args, Clone, Default)]
pub struct Edge {
    /// The API's URL, with /client/v4
    #[arg(long, global = true, help_heading = WHICH_EDGE, value_name = "URL", env = "BARTIZAN_API")]
    pub api: Option<String>,
    #[command(flatten)]
    pub api_token: Seen<ApiToken>,
    /// A file with the API token
    #[arg(long = "api-token-file", global = true, help_heading = WHICH_EDGE, value_name = "FILE", env = "BARTIZAN_API_TOKEN_FILE")]
    pub api_token_file: Option<PathBuf>,
    /// The CA that the edge's certificates are from [default: ca.pem of the data directory, or what `login` stored]
    #[arg(long, global = true, help_heading = WHICH_EDGE, value_name = "FILE", env = "BARTIZAN_CACERT")]
    pub cacert: Option<PathBuf>,
    /// The data directory of a local `up`
    #[arg(long, global = true, help_heading = WHICH_EDGE, value_name = "DIR", env = "BARTIZAN_DATA")]
    pub data: Option<PathBuf>,
}

/// The token of a command for an edge.
#[derive(Args, Clone, Default)]
pub struct ApiToken {
    /// An API token; `-` reads it from standard input. On the command line everybody on this machine sees it
    #[arg(long = "api-token", global = true, help_heading = WHICH_EDGE, value_name = "TOKEN", env = "BARTIZAN_API_TOKEN", hide_env_values = true)]
    api_token: Option<String>,
}

impl Secret for ApiToken {
    const ID: &'static str = "api_token";

    fn text(&self) -> Option<&str> {
        self.api_token.as_deref()
    }
}

/// What `login` stores, mode 0600: one of a token and a session.
#[derive(Serialize, Deserialize)]
struct Credential {
    api: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The cookie of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    ca: Option<String>,
}

/// What this machine knows that lets a command in, from the first source that has it: a local `up`, then `login`. It is for the edge
/// that it is of, and told to no other.
enum Known {
    Local(Pass),
    Stored(Pass),
    /// Nothing for this URL; the one of the edge that something is known of.
    Elsewhere(Option<String>),
}

impl Known {
    /// For the API at this URL.
    fn at(api: &str, local: Option<Local>, stored: Option<Credential>) -> Known {
        let is_there = |known: &str| known.trim_end_matches('/') == api.trim_end_matches('/');
        let elsewhere = local.as_ref().map(|local| &local.api).or(stored.as_ref().map(|stored| &stored.api)).cloned();
        if let Some(local) = local.filter(|local| is_there(&local.api)) {
            return Known::Local(Pass::Token(local.token));
        }
        let stored = stored.filter(|stored| is_there(&stored.api));
        match stored.and_then(|stored| stored.token.map(Pass::Token).or(stored.session.map(Pass::Session))) {
            Some(pass) => Known::Stored(pass),
            None => Known::Elsewhere(elsewhere),
        }
    }
}

/// The edge that a command is for. The URL comes from the first source that has it; what lets in is given, or known for this URL.
pub fn find(edge: &Edge) -> anyhow::Result<Api> {
    let (local, stored) = known(edge);
    let api = url(edge, local.as_ref(), stored.as_ref())?;
    let ca = ca(edge)?;
    if let Some(token) = token::given("--api-token", &edge.api_token, edge.api_token_file.as_deref())? {
        let is_of_environment = edge.api_token_file.is_none() && !edge.api_token.is_typed();
        let api = Api::with(&api, Pass::Token(token), ca);
        return Ok(if is_of_environment { api.with_token_of_the_environment() } else { api });
    }
    match Known::at(&api, local, stored) {
        Known::Local(pass) => Ok(Api::with(&api, pass, ca).with_local_token()),
        Known::Stored(pass) => Ok(Api::with(&api, pass, ca)),
        Known::Elsewhere(other) => Err(unknown(&api, other.as_deref()).into()),
    }
}

fn unknown(api: &str, other: Option<&str>) -> Failure {
    let other = other.filter(|other| other.trim_end_matches('/') != api.trim_end_matches('/'));
    let other =
        other.map(|other| format!(" for it: what is stored on this machine is for {other}, and told to no other"));
    let what = format!("the API is at {api}, but no token is known{}", other.unwrap_or_default());
    Failure::new(Cause::Usage, what)
        .remedy("give one with --api-token-file or BARTIZAN_API_TOKEN, or log in with a password: `bartizan login`")
}

/// The edge on this machine, and what `login` stored.
fn known(edge: &Edge) -> (Option<Local>, Option<Credential>) {
    (local_edge(edge), if edge.data.is_some() { None } else { read_credential() })
}

/// Where the API is, from the first source that says it.
fn url(edge: &Edge, local: Option<&Local>, stored: Option<&Credential>) -> anyhow::Result<String> {
    let api = edge.api.clone();
    let api = api.or_else(|| local.map(|local| local.api.clone())).or_else(|| stored.map(|stored| stored.api.clone()));
    let Some(api) = api else {
        return Err(Failure::new(Cause::NotFound, no_edge(edge))
            .remedy("start one with `bartizan up`, or name yours: `bartizan login --api URL --api-token-file FILE`")
            .into());
    };
    check(&api)?;
    Ok(with_path(api))
}

/// A URL without a path, which is what people type who see the page: the API's is where every client looks.
fn with_path(api: String) -> String {
    let has_path = |(_, rest): (&str, &str)| rest.trim_end_matches('/').contains('/');
    match api.split_once("://").is_none_or(has_path) {
        true => api,
        false => format!("{}{}", api.trim_end_matches('/'), client::BASE_PATH),
    }
}

/// Where the API is that somebody wants to log in at, and the CA of its certificate.
pub fn place(edge: &Edge) -> anyhow::Result<(String, Option<String>)> {
    let (local, stored) = known(edge);
    Ok((url(edge, local.as_ref(), stored.as_ref())?, ca(edge)?))
}

/// A URL that a client can follow, and that lets nobody on the way see what lets it in. `127.0.0.1:8787` is what people type, and
/// reads as a scheme.
fn check(api: &str) -> anyhow::Result<()> {
    let address = match api.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() && !rest.starts_with('/') => {
            return if client::is_plain_elsewhere(api) { Err(client::in_clear_text(api).into()) } else { Ok(()) };
        }
        Some((_, rest)) => rest,
        None => api,
    };
    let host = address.split('/').next().filter(|host| !host.is_empty()).unwrap_or("HOST:8787");
    let scheme = if client::is_plain_elsewhere(&format!("http://{host}")) { "https" } else { "http" };
    Err(Failure::new(Cause::Usage, format!("{api:?} is no URL of an API"))
        .remedy(format!("with its scheme and path: --api {scheme}://{host}/client/v4"))
        .into())
}

fn no_edge(edge: &Edge) -> String {
    match data_of(edge) {
        Some(data) if data.exists() => {
            format!("no edge found: {} holds no readable admin.json (is the edge run by another user?)", data.display())
        }
        Some(data) if edge.data.is_some() => format!("no edge found: there is no {}", data.display()),
        _ => "no edge found on this machine".to_owned(),
    }
}

/// The edge on this machine that commands without `--api` go to, whatever is stored.
pub fn goes_first(edge: &Edge) -> Option<Local> {
    local_edge(&Edge { data: edge.data.clone(), ..Edge::default() })
}

fn data_of(edge: &Edge) -> Option<PathBuf> {
    edge.data.clone().or_else(|| settings::default_data().ok())
}

/// The credentials of the edge on this machine, where this user may read them.
pub fn local_edge(edge: &Edge) -> Option<Local> {
    let data = data_of(edge)?;
    user::as_owner(None, &data, || Local::read(&data)).ok()?
}

fn read_ca(file: &Path) -> anyhow::Result<String> {
    let failed = |error| Failure::new(Cause::Usage, format!("cannot read {} (--cacert): {error}", file.display()));
    Ok(text_file::read_at_most(file, text_file::BYTES_MAX).map_err(failed)?)
}

fn local_ca(edge: &Edge) -> Option<String> {
    let data = data_of(edge)?;
    user::as_owner(None, &data, || std::fs::read_to_string(data.join("ca.pem")).ok()).ok()?
}

/// The CA that the edge's certificates are from, if any is known.
pub fn ca(edge: &Edge) -> anyhow::Result<Option<String>> {
    Ok(match &edge.cacert {
        Some(file) => Some(read_ca(file)?),
        None => local_ca(edge).or_else(|| read_credential().and_then(|stored| stored.ca)),
    })
}

/// Where `login` stores its credential.
pub fn credential_path() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_CONFIG_HOME").filter(|base| Path::new(base).is_absolute()) {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(
            std::env::var_os("HOME")
                .ok_or_else(|| Failure::new(Cause::Usage, "HOME is not set: no place to store to"))?,
        )
        .join(".config"),
    };
    Ok(base.join("bartizan").join("credential.json"))
}

fn read_credential() -> Option<Credential> {
    serde_json::from_str(&std::fs::read_to_string(credential_path().ok()?).ok()?).ok()
}

/// What `login` stored, which is not there any more then.
pub fn take() -> anyhow::Result<Option<Api>> {
    let Some(stored) = read_credential() else { return Ok(None) };
    std::fs::remove_file(credential_path()?)?;
    let (api, ca) = (stored.api.clone(), stored.ca.clone());
    Ok(match Known::at(&api, None, Some(stored)) {
        Known::Local(pass) | Known::Stored(pass) => Some(Api::with(&api, pass, ca)),
        Known::Elsewhere(_) => None,
    })
}

/// Stores the way to an edge for later commands.
pub fn store(api: &Api, ca: Option<String>) -> anyhow::Result<PathBuf> {
    let path = credential_path()?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let (token, session) = match api.pass() {
        Some(Pass::Token(token)) => (Some(token.clone()), None),
        Some(Pass::Session(cookie)) => (None, Some(cookie.clone())),
        None => (None, None),
    };
    let credential = Credential { api: api.base().to_owned(), token, session, ca };
    bartizan_seal::write_private(&path, &serde_json::to_vec_pretty(&credential)?)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::{Credential, Known, check, with_path};
    use crate::client::Pass;
    use crate::data_dir::Local;

    #[test]
    fn what_is_known_is_told_to_no_other_edge() {
        let (here, there) = ("http://127.0.0.1:8787/client/v4", "https://edge.example/client/v4");
        let local = |api: &str| Local { api: api.to_owned(), token: "local".to_owned() };
        let stored = |token: Option<&str>, session: Option<&str>| Credential {
            api: there.to_owned(),
            token: token.map(str::to_owned),
            session: session.map(str::to_owned),
            ca: None,
        };
        let token = || stored(Some("token"), None);
        for (api, local, stored, expect) in [
            (here, Some(local(here)), Some(token()), "local"),
            (there, Some(local(here)), Some(token()), "token"),
            ("https://edge.example/client/v4/", None, Some(token()), "token"),
            (there, None, Some(stored(None, Some("session"))), "session"),
            (there, Some(local(here)), None, "known for http://127.0.0.1:8787/client/v4"),
            (here, None, Some(token()), "known for https://edge.example/client/v4"),
            (here, None, Some(stored(None, Some("session"))), "known for https://edge.example/client/v4"),
            // The same edge perhaps, and perhaps not.
            ("http://edge.example/client/v4", None, Some(token()), "known for https://edge.example/client/v4"),
            ("https://edge.example:8787/client/v4", None, Some(token()), "known for https://edge.example/client/v4"),
            (here, None, None, "nothing known"),
        ] {
            let found = match Known::at(api, local, stored) {
                Known::Local(Pass::Token(told) | Pass::Session(told))
                | Known::Stored(Pass::Token(told) | Pass::Session(told)) => told,
                Known::Elsewhere(Some(other)) => format!("known for {other}"),
                Known::Elsewhere(None) => "nothing known".to_owned(),
            };
            assert_eq!(found, expect, "{api}");
        }
    }

    #[test]
    fn a_url_without_a_path() {
        for (api, expect) in [
            ("http://127.0.0.1:8787", "http://127.0.0.1:8787/client/v4"),
            ("http://[::1]:8787/", "http://[::1]:8787/client/v4"),
            ("https://edge.example/client/v4/", "https://edge.example/client/v4/"),
            ("https://edge.example/api/client/v4", "https://edge.example/api/client/v4"),
        ] {
            assert_eq!(with_path(api.to_owned()), expect);
        }
    }

    #[test]
    fn urls_of_an_api() {
        for (api, expect) in [
            ("http://127.0.0.1:8787/client/v4", None),
            ("https://edge.example/client/v4", None),
            ("http://localhost:8787/client/v4", None),
            ("http://[::1]:8787/client/v4", None),
            ("http://192.0.2.1:8787/client/v4", Some("by https: https://192.0.2.1:8787/client/v4")),
            ("127.0.0.1:8787", Some("--api http://127.0.0.1:8787/client/v4")),
            ("localhost:8787/client/v4", Some("--api http://localhost:8787/client/v4")),
            ("ftp://edge.example", Some("--api https://edge.example/client/v4")),
            ("http://", Some("--api https://HOST:8787/client/v4")),
            ("http:///client/v4", Some("--api https://HOST:8787/client/v4")),
        ] {
            let refused = check(api).err().map(|error| error.to_string());
            assert_eq!(refused.is_some(), expect.is_some(), "{api}: {refused:?}");
            assert!(refused.is_none_or(|told| told.ends_with(expect.unwrap_or_default())), "{api}");
        }
    }
}
