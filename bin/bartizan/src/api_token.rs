//! `bartizan token`: thin clients of `/user/tokens`. What a token may do is said in plain words: a command of this program,
//! `firewall`, or a permission, `zone settings:read`, which is looked up among the permission groups of the edge.

pub mod permissions;
mod shown;

use std::time::Duration;

use bartizan_names::Timestamp;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use self::permissions::Zones;
use self::shown::{Names, describe, row};
use crate::account;
use crate::client::Api;
use crate::clock;
use crate::consent::Consent;
use crate::failure::{Cause, Failure};
use crate::output::{Output, quoted, table};
use crate::people;
use crate::zone::{self, text};

#[derive(Subcommand)]
pub enum TokenAction {
    /// Make a token and print it: `token create certbot --can dns --zone example.com`
    Create(TokenWords),
    /// The tokens, with what each may do
    List {
        #[command(flatten)]
        whose: Whose,
    },
    /// One token, by name or id
    Show {
        /// By name or id
        token: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Give a token a new text; the old one ends
    Roll {
        /// By name or id
        token: String,
        /// One of this account's own instead of yours, by name or id
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// End a token
    Delete {
        /// By name or id
        token: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Whose tokens.
#[derive(Args)]
pub struct Whose {
    /// Of this user instead of yourself, by address or id; for those who look after users
    #[arg(long, value_name = "USER", conflicts_with = "account")]
    pub user: Option<String>,
    /// Of this account, which nobody's leaving ends, by name or id
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
}

#[derive(Args)]
pub struct TokenWords {
    /// What it is for
    pub name: String,
    /// What it may do, repeatable: all that a command does (zone, record, app, firewall, tunnel, token, history, undo,
    /// status), or one permission (dns, zone-settings …); with :read behind it to look only
    #[arg(long, value_name = "PERMISSION", required = true)]
    pub can: Vec<String>,
    /// Only in this zone, repeatable [default: in all zones]
    #[arg(long, value_name = "ZONE")]
    pub zone: Vec<String>,
    /// Only from these addresses, repeatable
    #[arg(long, value_name = "PREFIX")]
    pub from: Vec<String>,
    /// When it ends: 90d, 12h, 2030-01-31 [default: never]
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
}

const TOKENS: &str = "/user/tokens";

const ZONE: &str = "com.cloudflare.api.account.zone";
const ACCOUNT: &str = "com.cloudflare.api.account";
const USER: &str = "com.cloudflare.api.user";

pub async fn run(action: TokenAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        TokenAction::Create(words) => create(words, api, output).await,
        TokenAction::List { whose } => {
            let tokens = api.list(&place(api, &whose).await?).await?;
            let names = Names::of(api, &tokens).await;
            output.result(&Value::Array(tokens.clone()), || {
                let rows: Vec<_> = tokens.iter().map(|token| row(token, &names)).collect();
                table(&["name", "id", "status", "expires", "last used", "may"], &rows)
            })
        }
        TokenAction::Show { token, whose } => {
            let token = by_name_or_id(api, &place(api, &whose).await?, &token).await?;
            let names = Names::of(api, std::slice::from_ref(&token)).await;
            output.result(&token, || describe(&token, &names))
        }
        TokenAction::Roll { token, account } => {
            let place = place(api, &Whose { user: None, account }).await?;
            let token = by_name_or_id(api, &place, &token).await?;
            let value = api.put(&format!("{place}/{}/value", text(&token, "id")), &json!({})).await?;
            let said = "the old text of the token has ended; this one is shown once";
            output.secret(said, &value, || value.as_str().unwrap_or_default().to_owned())
        }
        TokenAction::Delete { token, whose, consent } => {
            let place = place(api, &whose).await?;
            let token = by_name_or_id(api, &place, &token).await?;
            consent.ask(&question(api, &token).await, &format!("the token {}", text(&token, "name")), output)?;
            let gone = api.delete(&format!("{place}/{}", text(&token, "id"))).await?;
            output.result(&gone, || format!("the token {} has ended", text(&token, "name")))
        }
    }
}

/// What is asked before a token ends.
async fn question(api: &Api, token: &Value) -> String {
    let own = api.get(&format!("{TOKENS}/verify")).await.is_ok_and(|own| own["id"] == token["id"]);
    let warning = if own { ", by which this command works itself" } else { "" };
    format!("end the token {}{warning}? Whoever uses it is refused from then on", text(token, "name"))
}

/// Commands take a token's name, so a second one of it would be in the way.
async fn refuse_second(api: &Api, name: &str) -> anyhow::Result<()> {
    if !api.list(TOKENS).await?.iter().any(|token| text(token, "name") == name.trim()) {
        return Ok(());
    }
    let name = quoted(name.trim());
    Err(Failure::new(Cause::Conflict, format!("there is a token {name} already"))
        .remedy(format!(
            "`bartizan token roll {name}` gives it a new text, `bartizan token delete {name}` ends it; or take another name"
        ))
        .into())
}

async fn create(words: TokenWords, api: &Api, output: Output) -> anyhow::Result<()> {
    refuse_second(api, &words.name).await?;
    let groups = api.get(&format!("{TOKENS}/permission_groups")).await?;
    let groups = groups.as_array().map_or(&[][..], Vec::as_slice);
    let zones = if words.zone.is_empty() { Zones::All } else { Zones::Named };
    let mut named: Vec<&Value> = Vec::new();
    for word in &words.can {
        for group in permissions::meant(groups, word, zones)? {
            if !named.contains(&group) {
                named.push(group);
            }
        }
    }
    let over = |scope: &str| -> Vec<Value> {
        let over = named.iter().filter(|group| group["scopes"][0] == scope);
        over.map(|group| json!({"id": group["id"]})).collect()
    };
    let mut policies = Vec::new();
    let mut allow = |groups: Vec<Value>, resources: Map<String, Value>| {
        if !groups.is_empty() {
            policies.push(json!({"effect": "allow", "permission_groups": groups, "resources": resources}));
        }
    };
    let all = |name: String| Map::from_iter([(name, json!("*"))]);
    let of_zones = over(ZONE);
    if of_zones.is_empty() && !words.zone.is_empty() {
        return Err(Failure::new(
            Cause::Usage,
            "--zone says nothing here: nothing of what it may do is done in a zone",
        )
        .remedy("leave it out, or add for example --can dns")
        .into());
    }
    let mut zones = Map::new();
    for name in &words.zone {
        let zone = zone::by_name_or_id(api, name).await?;
        zones.insert(format!("{ZONE}.{}", text(&zone, "id")), json!("*"));
    }
    allow(of_zones, if zones.is_empty() { all(format!("{ZONE}.*")) } else { zones });
    allow(over(ACCOUNT), all(format!("{ACCOUNT}.*")));
    let of_user = over(USER);
    if !of_user.is_empty() {
        let user = api.get("/user").await?;
        allow(of_user, all(format!("{USER}.{}", text(&user, "id"))));
    }
    let mut body = json!({"name": words.name, "policies": policies});
    if !words.from.is_empty() {
        body["condition"] = json!({"request_ip": {"in": words.from}});
    }
    if let Some(when) = &words.expires {
        body["expires_on"] = json!(end(when, clock::now())?);
    }
    let token = api.post(TOKENS, &body).await?;
    let names = Names::of(api, std::slice::from_ref(&token)).await;
    let said = format!("{}\nThe token, shown this once:", describe(&token, &names));
    output.secret(&said, &token, || text(&token, "value").to_owned())
}

/// When a token ends: a time, a day, or so many days or hours from `now` (`90d`, `12h`).
fn end(when: &str, now: Timestamp) -> anyhow::Result<String> {
    let refused = || {
        Failure::new(Cause::Usage, format!("{when:?} is no time"))
            .remedy("for example 90d, 12h, 2030-01-31 or 2030-01-31T12:00:00Z")
    };
    let span =
        |digits: &str, unit: u64| digits.parse::<u32>().ok().map(|many| Duration::from_secs(u64::from(many) * unit));
    let span = when
        .strip_suffix('d')
        .and_then(|days| span(days, 86_400))
        .or_else(|| when.strip_suffix('h').and_then(|hours| span(hours, 3_600)));
    if let Some(span) = span {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        return Ok(Timestamp::from_unix_micros(now.unix_micros().saturating_add(micros)).to_string());
    }
    let day = format!("{when}T00:00:00Z");
    let at: Timestamp = when.parse().or_else(|_| day.parse()).map_err(|_| refused())?;
    Ok(at.to_string())
}

/// Where tokens are: one's own, those of somebody whom one looks after, or those of an account.
async fn place(api: &Api, whose: &Whose) -> anyhow::Result<String> {
    match (&whose.user, &whose.account) {
        (None, None) => Ok(TOKENS.to_owned()),
        (Some(user), _) => Ok(format!("{}/tokens", people::path_of(api, user).await?)),
        (None, Some(account)) => Ok(format!("{}/tokens", account::path_of(api, Some(account)).await?)),
    }
}

async fn by_name_or_id(api: &Api, place: &str, token: &str) -> anyhow::Result<Value> {
    let tokens = api.list(place).await?;
    let found = zone::meant(tokens, |one| text(one, "id") == token, |one| text(one, "name") == token);
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::new(Cause::NotFound, format!("no token {token} here"))
            .remedy("`bartizan token list` shows them")
            .into()),
        _ => Err(Failure::new(Cause::Usage, format!("several tokens are called {token}"))
            .remedy("name it by its id, which `bartizan token list` shows")
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_tokens() {
        let now = Timestamp::from_unix_micros(0);
        for (when, expect) in [
            ("90d", Some("1970-04-01T00:00:00.000000Z")),
            ("12h", Some("1970-01-01T12:00:00.000000Z")),
            ("2030-01-31", Some("2030-01-31T00:00:00.000000Z")),
            ("2030-01-31T12:00:00+01:00", Some("2030-01-31T11:00:00.000000Z")),
            ("soon", None),
            ("-1d", None),
        ] {
            assert_eq!(end(when, now).ok().as_deref(), expect, "{when}");
        }
    }
}
