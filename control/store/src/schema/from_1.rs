//! From schema 1, whose keys began with their kind.
//!
//! Every object gets the key that it would be given today; of tunnels, certificates and access rules the document says
//! whose they are. One that cannot be read keeps its old key, which no reader takes for a key: it is passed over, and
//! reported, by all who meet it. The log is in old keys: it begins anew behind its end, so that revisions go on. Who
//! follows it takes the state again.

use bartizan_names::{AccountId, Name, UserId, ZoneId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::key::{Index, Key, Scope};

/// The key of today for one of schema 1.
pub(crate) fn new_key(old: &str, json: &str) -> Option<Key> {
    let (kind, rest) = old.split_once('/')?;
    let in_zone = || rest.split_once('/').and_then(|(zone, id)| Some((zone.parse::<ZoneId>().ok()?, id)));
    Some(match kind {
        "meta" => fact(rest)?,
        "account" => Key::account(rest.parse().ok()?),
        "user" => Key::user(rest.parse().ok()?),
        "token" => Key::token(Scope::Edge, rest.parse().ok()?),
        "zone" => Key::zone(rest.parse().ok()?),
        "settings" => Key::settings(rest.parse().ok()?),
        "record" => in_zone().and_then(|(zone, id)| Some(Key::record(zone, id.parse().ok()?)))?,
        "name" => in_zone().and_then(|(zone, owner)| Some(Key::name(zone, &Name::parse(owner).ok()?)))?,
        "app" => in_zone().and_then(|(zone, id)| Some(Key::app(zone, id.parse().ok()?)))?,
        "tunnel" => Key::tunnel(read::<Tunnel>(json)?.account_tag, rest.parse().ok()?),
        "tunnel_config" => Key::tunnel_config(read::<TunnelConfig>(json)?.account_id, rest.parse().ok()?),
        "certificate" => {
            Key::certificate(read::<Certificate>(json)?.zone.map_or(Scope::Edge, Scope::Zone), rest.parse().ok()?)
        }
        "access_rule" => Key::access_rule(read::<AccessRule>(json)?.scope.today(), rest.parse().ok()?),
        _ => return None,
    })
}

/// Unique names and deletions under way were facts among others.
fn fact(name: &str) -> Option<Key> {
    let Some((what, rest)) = name.split_once('/').filter(|(_, rest)| !rest.is_empty()) else {
        return (!name.is_empty()).then(|| Key::meta(name));
    };
    Some(match what {
        "zone-name" => Key::unique(Scope::Edge, Index::ZoneName, rest),
        "app-slot" => Key::unique(Scope::Edge, Index::AppSlot, rest),
        "app-address" => Key::unique(Scope::Edge, Index::AppAddress, rest),
        "zone-deletion" => Key::deletion(rest.parse().ok()?),
        "tunnel-name" => {
            let (account, name) = rest.split_once('/').filter(|(_, name)| !name.is_empty())?;
            Key::unique(Scope::Account(account.parse().ok()?), Index::TunnelName, name)
        }
        _ => Key::meta(name),
    })
}

fn read<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}

#[derive(Deserialize)]
struct Tunnel {
    account_tag: AccountId,
}

#[derive(Deserialize)]
struct TunnelConfig {
    account_id: AccountId,
}

#[derive(Deserialize)]
struct Certificate {
    zone: Option<ZoneId>,
}

#[derive(Deserialize)]
struct AccessRule {
    scope: RuleScope,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "id", rename_all = "lowercase")]
enum RuleScope {
    User(UserId),
    Organization(AccountId),
    Zone(ZoneId),
}

impl RuleScope {
    const fn today(self) -> Scope {
        match self {
            RuleScope::User(id) => Scope::User(id),
            RuleScope::Organization(id) => Scope::Account(id),
            RuleScope::Zone(id) => Scope::Zone(id),
        }
    }
}
