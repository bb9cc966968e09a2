//! A token as people read it: what it may do, and on what, by the names of zones, accounts and users.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_api::Permission;
use serde_json::Value;

use super::{ACCOUNT, USER, ZONE};
use crate::client::Api;
use crate::output::bold;
use crate::zone::{self, text};

/// Zones that are looked up by their ids; further ones are shown by these.
const LOOKUPS_MAX: usize = 50;

/// The name of a resource, as `com.cloudflare.api.account.zone.<id>`, in words.
#[derive(Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Of all that `tokens` name, as far as the caller may see it.
    pub async fn of(api: &Api, tokens: &[Value]) -> Names {
        let mut names = Names::default();
        let named: BTreeSet<&str> = tokens.iter().flat_map(policies).flat_map(resources).collect();
        let zones = named.iter().filter_map(|name| Some((*name, id_of(name, ZONE)?)));
        for (name, id) in zones.take(LOOKUPS_MAX) {
            if let Ok(Some(zone)) = api.find(&format!("/zones/{id}")).await {
                names.0.insert(name.to_owned(), format!("zone {}", zone::shown(&zone, "name")));
            }
        }
        if named.iter().any(|name| id_of(name, ACCOUNT).is_some())
            && let Ok(accounts) = api.get("/accounts").await
        {
            for account in accounts.as_array().into_iter().flatten() {
                let name = format!("account {}", text(account, "name"));
                names.0.insert(format!("{ACCOUNT}.{}", text(account, "id")), name);
            }
        }
        if named.iter().any(|name| id_of(name, USER).is_some())
            && let Ok(user) = api.get("/user").await
        {
            names.0.insert(format!("{USER}.{}", text(&user, "id")), format!("user {}", text(&user, "email")));
        }
        names
    }

    fn name(&self, resource: &str) -> String {
        match self.0.get(resource) {
            Some(name) => name.clone(),
            None if resource == format!("{ZONE}.*") => "all zones".to_owned(),
            None if resource == format!("{ACCOUNT}.*") => "all accounts".to_owned(),
            // One that is gone, or not for the caller to see.
            None => match (id_of(resource, ZONE), id_of(resource, ACCOUNT), id_of(resource, USER)) {
                (Some(id), ..) => format!("zone {id}"),
                (_, Some(id), _) => format!("account {id}"),
                (.., Some(id)) => format!("user {id}"),
                _ => resource.to_owned(),
            },
        }
    }

    /// What a policy is about.
    fn places(&self, policy: &Value) -> String {
        let all = policy["resources"].as_object().into_iter().flatten();
        let places = all.flat_map(|(outer, inside)| match inside {
            Value::Object(inside) => inside
                .keys()
                .map(|inner| match self.name(inner) {
                    inner if inner == "all zones" => format!("all zones of {}", self.name(outer)),
                    inner => inner,
                })
                .collect(),
            _ => vec![self.name(outer)],
        });
        places.collect::<Vec<_>>().join(", ")
    }
}

/// The id in the name of one resource of this kind; a zone's is no account's, though its name begins like one.
fn id_of<'n>(name: &'n str, scope: &str) -> Option<&'n str> {
    let id = name.strip_prefix(scope)?.strip_prefix('.')?;
    (id != "*" && !id.contains('.')).then_some(id)
}

fn policies(token: &Value) -> impl Iterator<Item = &Value> {
    token["policies"].as_array().into_iter().flatten()
}

/// The names of a policy's resources, the inner ones too.
fn resources(policy: &Value) -> impl Iterator<Item = &str> {
    let outer = policy["resources"].as_object().into_iter().flatten();
    outer.flat_map(|(name, inside)| {
        let inner = inside.as_object().into_iter().flat_map(|inside| inside.keys());
        std::iter::once(name).chain(inner).map(String::as_str)
    })
}

fn granted(policy: &Value) -> String {
    let groups: Vec<&str> =
        policy["permission_groups"].as_array().into_iter().flatten().map(|group| text(group, "name")).collect();
    if groups.len() >= Permission::ALL.len() { "everything".to_owned() } else { groups.join(", ") }
}

pub fn row(token: &Value, names: &Names) -> Vec<String> {
    let day = |member: &str, none: &str| match text(token, member).split('T').next() {
        None | Some("") => none.to_owned(),
        Some(day) => day.to_owned(),
    };
    let may: Vec<String> =
        policies(token).map(|policy| format!("{} on {}", permitted(policy), names.places(policy))).collect();
    vec![
        text(token, "name").to_owned(),
        text(token, "id").to_owned(),
        text(token, "status").to_owned(),
        day("expires_on", "never"),
        day("last_used_on", ""),
        may.join("; "),
    ]
}

/// With a word for what is denied.
fn permitted(policy: &Value) -> String {
    if text(policy, "effect") == "deny" { format!("not {}", granted(policy)) } else { granted(policy) }
}

pub fn describe(token: &Value, names: &Names) -> String {
    let mut lines = vec![
        bold(text(token, "name")),
        format!("  id        {}", text(token, "id")),
        format!("  status    {}", text(token, "status")),
    ];
    for (field, what) in [("not_before", "from"), ("expires_on", "expires"), ("last_used_on", "last used")] {
        if token[field].is_string() {
            lines.push(format!("  {what:<9} {}", text(token, field)));
        }
    }
    for policy in policies(token) {
        lines.push(format!("  {:<9} {}", text(policy, "effect"), granted(policy)));
        lines.push(format!("         on {}", names.places(policy)));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resources_are_named() {
        let names = Names(BTreeMap::from([
            (format!("{ZONE}.1a"), "zone example.com".to_owned()),
            (format!("{ACCOUNT}.2b"), "account Main".to_owned()),
            (format!("{USER}.3c"), "user a@example.com".to_owned()),
        ]));
        for (resources, expect) in [
            (json!({"@.account.zone.1a": "*", "@.account.zone.9f": "*"}), "zone example.com, zone 9f"),
            (json!({"@.account.zone.*": "*"}), "all zones"),
            (json!({"@.account.*": "*"}), "all accounts"),
            (json!({"@.account.2b": "*"}), "account Main"),
            (json!({"@.account.2b": {"@.account.zone.*": "*"}}), "all zones of account Main"),
            (json!({"@.account.2b": {"@.account.zone.1a": "*"}}), "zone example.com"),
            (json!({"@.user.3c": "*"}), "user a@example.com"),
        ] {
            let resources: Value =
                serde_json::from_str(&resources.to_string().replace('@', "com.cloudflare.api")).unwrap();
            let policy =
                json!({"effect": "allow", "permission_groups": [{"name": "DNS Write"}], "resources": resources});
            let token = json!({"name": "one", "id": "7", "status": "active", "policies": [policy]});
            assert_eq!(row(&token, &names)[5], format!("DNS Write on {expect}"));
            let described = describe(&token, &names);
            assert!(
                described.ends_with(&format!("on {expect}")) && !described.contains("com.cloudflare"),
                "{described}"
            );
        }
    }
}
