//! From schema 1, whose keys began with their kind.
//!
//! Every object gets the key that it would be given today; of tunnels, certificates and access rules the document says
//! whose they are. One that cannot be read keeps its old key, which no reader takes for a key: it is passed over, and
//! reported, by all who meet it. The log is in old keys: it begins anew behind its end, so that revisions go on. Who
//! follows it takes the state again.

use bartizan_names::{AccountId, Name, UserId, ZoneId};
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::key::{Index, Key, Scope};
use crate::state_hash::{StateHash, Sums};

/// What of schema 1 derives from the objects, or has no place in schema 2; and the rest out of the way.
const SET_ASIDE: &str = "
    DROP TABLE record_tag; DROP TABLE record; DROP TABLE record_count;
    DROP TABLE zone; DROP TABLE tunnel; DROP TABLE access_rule; DROP TABLE about;
    DROP INDEX object_kind;
    ALTER TABLE object RENAME TO old_object;
    ALTER TABLE change RENAME TO old_change;
    ALTER TABLE zone_change RENAME TO old_zone_change;
";

/// The end of the log is where the new one begins.
const TAKE_OVER: &str = "
    UPDATE log SET head = (SELECT coalesce(max(rev), 0) FROM old_change);
    INSERT INTO zone_change SELECT zone, rev FROM old_zone_change;
";

const DROP_REST: &str = "DROP TABLE old_object; DROP TABLE old_change; DROP TABLE old_zone_change;";

/// Inside a transaction.
pub(super) fn migrate(connection: &Connection, layout: &str) -> rusqlite::Result<()> {
    tracing::info!("the store is brought to its new layout; a large one takes some seconds");
    connection.execute_batch(SET_ASIDE)?;
    connection.execute_batch(layout)?;
    connection.execute_batch(TAKE_OVER)?;
    copy_objects(connection)?;
    connection.execute_batch(DROP_REST)
}

fn copy_objects(connection: &Connection) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT id, key, json, kind, rev, format FROM old_object ORDER BY id")?;
    let mut copy = connection.prepare(
        "INSERT INTO object (id, key, kind, rev, format, hash, json)
         SELECT id, coalesce(?2, key), ?3, rev, format, ?4, json FROM old_object WHERE id = ?1",
    )?;
    let mut rows = select.query(())?;
    let mut sums = Sums::default();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let text = |column| row.get_ref(column).ok().and_then(|text| text.as_str().ok());
        let key = text(1).zip(text(2)).and_then(|(key, json)| new_key(key, json));
        if key.is_none() {
            tracing::error!(key = text(1).unwrap_or("(no text)"), "it cannot be said whose this object is: left out");
        }
        let code = key.as_ref().map_or(row.get(3)?, |key| key.kind().code());
        // What has no key is no part of the state.
        let mut hash = StateHash::default();
        if let Some((key, json)) = key.as_ref().zip(text(2)) {
            hash = StateHash::of(key.as_str(), row.get(4)?, row.get(5)?, json);
            sums.add(key, hash);
        }
        copy.execute(params![id, key.as_ref().map(Key::as_str), code, hash.to_bytes()])?;
    }
    sums.add_to_file(connection)
}

/// The key of today for one of schema 1.
fn new_key(old: &str, json: &str) -> Option<Key> {
    let (kind, rest) = old.split_once('/')?;
    let in_zone = || rest.split_once('/').and_then(|(zone, id)| Some((zone.parse::<ZoneId>().ok()?, id)));
    Some(match kind {
        "meta" => fact(rest)?,
        "account" => Key::account(rest.parse().ok()?),
        "user" => Key::user(rest.parse().ok()?),
        "token" => Key::token(rest.parse().ok()?),
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
