//! The few fields of a document that listings need.
//!
//! Read from the object alone, its key and its JSON, so that any copy of the objects can rebuild its listing tables.

use std::borrow::Cow;

use bartizan_names::{Name, RecordId, RuleId, Timestamp, ZoneId};
use serde::Deserialize;

use crate::key::{Key, Scope};
use crate::kind::Kind;

/// A row of a listing table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    Record(Record),
    Zone(Zone),
    Tunnel(Tunnel),
    AccessRule(AccessRule),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) zone: ZoneId,
    pub(crate) record: RecordId,
    pub(crate) rtype: String,
    pub(crate) owner: String,
    pub(crate) content: String,
    pub(crate) ttl: u32,
    pub(crate) proxied: bool,
    pub(crate) comment: Option<String>,
    /// Name and value.
    pub(crate) tags: Vec<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) zone: String,
    pub(crate) name: String,
    pub(crate) account: String,
    pub(crate) status: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tunnel {
    pub(crate) tunnel: String,
    pub(crate) name: String,
    pub(crate) account: String,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AccessRule {
    pub(crate) scope: Scope,
    pub(crate) rule: RuleId,
    pub(crate) target: String,
    pub(crate) value: String,
    pub(crate) mode: String,
    pub(crate) notes: String,
}

impl Listing {
    /// None for kinds that nobody lists by anything but their key; an error says why the document has no row.
    pub(crate) fn of(key: &Key, format: u16, json: &str) -> Result<Option<Listing>, String> {
        let listed = matches!(key.kind(), Kind::Record | Kind::Zone | Kind::Tunnel | Kind::AccessRule);
        if !listed {
            return Ok(None);
        }
        let json = key.kind().declaration().documents.upgrade(format, json)?;
        let bad_id = || "its id".to_owned();
        Ok(Some(match (key.kind(), key.scope()) {
            (Kind::Record, Scope::Zone(zone)) => {
                Listing::Record(Record::new(zone, key.id_as().ok_or_else(bad_id)?, read(&json)?))
            }
            (Kind::Zone, Scope::Zone(zone)) => Listing::Zone(Zone::new(zone, read(&json)?)),
            (Kind::Tunnel, _) => Listing::Tunnel(Tunnel::new(key.id().to_owned(), read(&json)?)),
            (Kind::AccessRule, scope) => {
                Listing::AccessRule(AccessRule::new(scope, key.id_as().ok_or_else(bad_id)?, read(&json)?))
            }
            _ => return Ok(None),
        }))
    }
}

fn read<'d, T: Deserialize<'d>>(json: &'d str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// How texts are compared: case does not count, and a tab is a space, because clients write one for the other.
///
/// Letter by letter, unlike `str::to_lowercase`, which looks at a sigma's neighbours: a part of a folded text shall be the
/// folded part of the text.
pub(crate) fn folded(text: &str) -> String {
    text.chars().map(|char| if char == '\t' { ' ' } else { char }).flat_map(char::to_lowercase).collect()
}

/// `name:value`, or a name alone.
pub(crate) fn folded_tag(text: &str) -> (String, String) {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    (folded(name), folded(value))
}

/// The owner as keys spell it.
pub(crate) fn folded_owner(text: &str) -> String {
    Name::parse(text).map_or_else(|_| folded(text), |name| name.to_string())
}

#[derive(Deserialize)]
struct RecordDocument<'d> {
    #[serde(borrow)]
    name: Cow<'d, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'d, str>,
    #[serde(borrow)]
    content: Cow<'d, str>,
    proxied: bool,
    ttl: u32,
    #[serde(borrow, default)]
    comment: Option<Cow<'d, str>>,
    #[serde(default)]
    tags: Vec<String>,
}

impl Record {
    fn new(zone: ZoneId, record: RecordId, document: RecordDocument<'_>) -> Record {
        let mut tags: Vec<_> = document.tags.iter().map(|tag| folded_tag(tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        Record {
            zone,
            record,
            rtype: document.kind.to_ascii_uppercase(),
            owner: folded_owner(&document.name),
            content: folded(&document.content),
            ttl: document.ttl,
            proxied: document.proxied,
            comment: document.comment.filter(|comment| !comment.is_empty()).map(|comment| folded(&comment)),
            tags,
        }
    }
}

#[derive(Deserialize)]
struct ZoneDocument<'d> {
    #[serde(borrow)]
    name: Cow<'d, str>,
    #[serde(borrow)]
    status: Cow<'d, str>,
    #[serde(borrow)]
    account: AccountRef<'d>,
}

#[derive(Deserialize)]
struct AccountRef<'d> {
    #[serde(borrow)]
    id: Cow<'d, str>,
}

impl Zone {
    fn new(zone: ZoneId, document: ZoneDocument<'_>) -> Zone {
        Zone {
            zone: zone.to_string(),
            name: folded_owner(&document.name),
            account: document.account.id.to_lowercase(),
            status: folded(&document.status),
        }
    }
}

#[derive(Deserialize)]
struct TunnelDocument<'d> {
    #[serde(borrow)]
    name: Cow<'d, str>,
    #[serde(borrow)]
    account_tag: Cow<'d, str>,
    created_at: Timestamp,
    #[serde(default)]
    deleted_at: Option<Timestamp>,
}

impl Tunnel {
    fn new(tunnel: String, document: TunnelDocument<'_>) -> Tunnel {
        Tunnel {
            tunnel,
            name: document.name.into_owned(),
            account: document.account_tag.to_lowercase(),
            created_at: document.created_at,
            deleted_at: document.deleted_at,
        }
    }
}

#[derive(Deserialize)]
struct AccessRuleDocument<'d> {
    #[serde(borrow)]
    configuration: RuleConfiguration<'d>,
    #[serde(borrow)]
    mode: Cow<'d, str>,
    #[serde(borrow)]
    notes: Cow<'d, str>,
}

#[derive(Deserialize)]
struct RuleConfiguration<'d> {
    #[serde(borrow)]
    target: Cow<'d, str>,
    #[serde(borrow)]
    value: Cow<'d, str>,
}

impl AccessRule {
    fn new(scope: Scope, rule: RuleId, document: AccessRuleDocument<'_>) -> AccessRule {
        AccessRule {
            scope,
            rule,
            target: folded(&document.configuration.target),
            value: folded(&document.configuration.value),
            mode: folded(&document.mode),
            notes: folded(&document.notes),
        }
    }
}
