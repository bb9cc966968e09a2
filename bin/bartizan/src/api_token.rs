//! `bartizan token`: thin clients of `/user/tokens`. What a token may do is said in plain words, `dns` or `zone
//! settings:read`, which are looked up among the permission groups of the edge.

use std::time::{Duration, SystemTime};

use bartizan_names::Timestamp;
use serde_json::{Map, Value, json};

use crate::cli::{TokenAction, TokenWords};
use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::output::{Output, table};
use crate::zone::{self, text};

const TOKENS: &str = "/user/tokens";

const ZONE: &str = "com.cloudflare.api.account.zone";
const ACCOUNT: &str = "com.cloudflare.api.account";
const USER: &str = "com.cloudflare.api.user";

pub async fn run(action: TokenAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        TokenAction::Create(words) => create(words, api, output).await,
        TokenAction::List => {
            let tokens = api.list(TOKENS).await?;
            output.result(&Value::Array(tokens.clone()), || {
                table(&["name", "id", "status", "expires", "may"], &tokens.iter().map(row).collect::<Vec<_>>())
            })
        }
        TokenAction::Show { token } => {
            let token = by_name_or_id(api, &token).await?;
            output.result(&token, || describe(&token))
        }
        TokenAction::Roll { token } => {
            let token = by_name_or_id(api, &token).await?;
            let value = api.put(&format!("{TOKENS}/{}/value", text(&token, "id")), &json!({})).await?;
            output.progress("the old text of the token has ended; this one is shown once");
            output.result(&value, || value.as_str().unwrap_or_default().to_owned())
        }
        TokenAction::Delete { token } => {
            let token = by_name_or_id(api, &token).await?;
            let gone = api.delete(&format!("{TOKENS}/{}", text(&token, "id"))).await?;
            output.result(&gone, || format!("the token {} has ended", text(&token, "name")))
        }
    }
}

async fn create(words: TokenWords, api: &Api, output: Output) -> anyhow::Result<()> {
    let groups = api.get(&format!("{TOKENS}/permission_groups")).await?;
    let groups = groups.as_array().map_or(&[][..], Vec::as_slice);
    let named = words.can.iter().map(|word| group(groups, word)).collect::<anyhow::Result<Vec<_>>>()?;
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
        body["expires_on"] = json!(end(when, SystemTime::now())?);
    }
    let token = api.post(TOKENS, &body).await?;
    output.progress(format!("{}\nThe token, shown this once:", describe(&token)));
    output.result(&token, || text(&token, "value").to_owned())
}

/// How the words of a group's name may fit those that somebody gives; the first way in which there is one decides.
type Way = fn(&[&str], &[&str]) -> bool;
const WAYS: [Way; 3] = [
    |name, wanted| name == wanted,
    |name, wanted| name.starts_with(wanted),
    |name, wanted| wanted.iter().all(|word| name.contains(word)),
];

/// The permission group that somebody means: by its name, by how its name begins, or by words that only one has. Without
/// `read` or `write` (or `edit`) behind it, writing, which is reading too.
fn group<'g>(groups: &'g [Value], word: &str) -> anyhow::Result<&'g Value> {
    let lower = word.to_lowercase();
    let mut wanted: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let verbs: &[&str] = match wanted.last() {
        Some(&"read") => &["read"],
        Some(&"write" | &"edit") => &["write"],
        _ => &["write", "read"],
    };
    if verbs.len() == 1 {
        wanted.pop();
    }
    let refused = |why: &str| {
        let names: Vec<&str> = groups.iter().map(|group| text(group, "name")).collect();
        Failure::new(Cause::Usage, format!("{word:?} {why}")).remedy(format!("these are: {}", names.join(", ")))
    };
    for verb in verbs {
        for way in WAYS.iter().filter(|_| !wanted.is_empty()) {
            let of_verb = groups.iter().filter(|group| {
                let name = text(group, "name").to_lowercase();
                let mut words: Vec<&str> = name.split(' ').collect();
                words.pop() == Some(verb) && way(&words, &wanted)
            });
            match of_verb.collect::<Vec<_>>().as_slice() {
                [one] => return Ok(one),
                [] => {}
                _ => return Err(refused("may be several permissions").into()),
            }
        }
    }
    Err(refused("is no permission").into())
}

/// When a token ends: a time, a day, or so many days or hours from `now` (`90d`, `12h`).
fn end(when: &str, now: SystemTime) -> anyhow::Result<String> {
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
        return Ok(Timestamp::from(now + span).to_string());
    }
    let day = format!("{when}T00:00:00Z");
    let at: Timestamp = when.parse().or_else(|_| day.parse()).map_err(|_| refused())?;
    Ok(at.to_string())
}

async fn by_name_or_id(api: &Api, token: &str) -> anyhow::Result<Value> {
    let tokens = api.list(TOKENS).await?;
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

fn row(token: &Value) -> Vec<String> {
    let ends = text(token, "expires_on").split('T').next().unwrap_or_default();
    let ends = if ends.is_empty() { "never" } else { ends };
    let groups: Vec<String> = policies(token).map(granted).collect();
    [text(token, "name"), text(token, "id"), text(token, "status"), ends, &groups.join("; ")].map(str::to_owned).into()
}

fn describe(token: &Value) -> String {
    let mut lines = vec![
        crate::output::bold(text(token, "name")),
        format!("  id       {}", text(token, "id")),
        format!("  status   {}", text(token, "status")),
    ];
    for (field, what) in [("not_before", "from"), ("expires_on", "expires")] {
        if token[field].is_string() {
            lines.push(format!("  {what:<8} {}", text(token, field)));
        }
    }
    for policy in policies(token) {
        lines.push(format!("  {:<8} {}", text(policy, "effect"), granted(policy)));
        lines.extend(policy["resources"].as_object().into_iter().flatten().map(|(name, inside)| match inside {
            Value::Object(inside) => {
                format!("           on {name}: {}", inside.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
            }
            _ => format!("           on {name}"),
        }));
    }
    for (list, what) in [("in", "only from"), ("not_in", "not from")] {
        let prefixes = token["condition"]["request_ip"][list].as_array().into_iter().flatten();
        let prefixes: Vec<&str> = prefixes.filter_map(Value::as_str).collect();
        if !prefixes.is_empty() {
            lines.push(format!("  {what} {}", prefixes.join(", ")));
        }
    }
    lines.join("\n")
}

fn policies(token: &Value) -> impl Iterator<Item = &Value> {
    token["policies"].as_array().into_iter().flatten()
}

fn granted(policy: &Value) -> String {
    let groups = policy["permission_groups"].as_array().into_iter().flatten();
    groups.map(|group| text(group, "name")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_for_permissions() {
        let names = [
            "Account API Tokens Write",
            "Account Firewall Access Rules Read",
            "Account Firewall Access Rules Write",
            "Account Settings Read",
            "API Tokens Write",
            "Cloudflare Tunnel Read",
            "Cloudflare Tunnel Write",
            "DNS Read",
            "DNS Write",
            "Firewall Services Write",
            "Zone Read",
            "Zone Settings Read",
            "Zone Settings Write",
            "Zone Write",
        ];
        let groups: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        for (word, expect) in [
            ("dns", Some("DNS Write")),
            ("DNS:read", Some("DNS Read")),
            ("DNS Edit", Some("DNS Write")),
            ("zone", Some("Zone Write")),
            ("zone-settings:read", Some("Zone Settings Read")),
            ("account settings", Some("Account Settings Read")),
            ("firewall", Some("Firewall Services Write")),
            ("account firewall", Some("Account Firewall Access Rules Write")),
            ("tunnel", Some("Cloudflare Tunnel Write")),
            ("api tokens", Some("API Tokens Write")),
            ("tokens", None),
            ("account", None),
            ("read", None),
            ("", None),
            ("mail", None),
        ] {
            assert_eq!(group(&groups, word).ok().map(|group| text(group, "name")), expect, "{word}");
        }
    }

    #[test]
    fn ends_of_tokens() {
        let now = SystemTime::UNIX_EPOCH;
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
