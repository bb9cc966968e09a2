//! The few fields of a document that listings need.
//!
//! Read from the object alone, its key and its JSON, so that any copy of the objects can rebuild its listing tables.

use std::borrow::Cow;

use bartizan_names::{AccountId, Name, RecordId, RuleId, Timestamp, UserId, ZoneId};
use serde::Deserialize;

use crate::change::Op;
use crate::error::CommitError;
use crate::key::{Key, KeyParts};

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
    pub(crate) scope: RuleScope,
    pub(crate) rule: RuleId,
    pub(crate) target: String,
    pub(crate) value: String,
    pub(crate) mode: String,
    pub(crate) notes: String,
}

/// Whose access rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(tag = "type", content = "id", rename_all = "lowercase")]
pub enum RuleScope {
    User(UserId),
    /// Under its old name in documents.
    #[serde(rename = "organization")]
    Account(AccountId),
    Zone(ZoneId),
}

impl RuleScope {
    /// As the table has it: a byte for the kind, and the id.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let (kind, id) = match &self {
            RuleScope::User(id) => (1, id.as_bytes()),
            RuleScope::Account(id) => (2, id.as_bytes()),
            RuleScope::Zone(id) => (3, id.as_bytes()),
        };
        [&[kind], id.as_slice()].concat()
    }
}

impl Listing {
    /// None for a deletion and for kinds that nobody lists by anything but their key.
    pub(crate) fn of(op: &Op) -> Result<Option<Listing>, CommitError> {
        let Op::Put { key, value } = op else { return Ok(None) };
        match key.parts() {
            KeyParts::Record(zone, record) => {
                Ok(Some(Listing::Record(Record::new(*zone, *record, read(key, &value.json)?))))
            }
            KeyParts::Zone(zone) => Ok(Some(Listing::Zone(Zone::new(*zone, read(key, &value.json)?)))),
            KeyParts::Tunnel(tunnel) => {
                Ok(Some(Listing::Tunnel(Tunnel::new(tunnel.to_string(), read(key, &value.json)?))))
            }
            KeyParts::AccessRule(rule) => {
                Ok(Some(Listing::AccessRule(AccessRule::new(*rule, read(key, &value.json)?))))
            }
            _ => Ok(None),
        }
    }
}

fn read<'d, T: Deserialize<'d>>(key: &Key, json: &'d str) -> Result<T, CommitError> {
    serde_json::from_str(json).map_err(|error| CommitError::Malformed { key: key.clone(), reason: error.to_string() })
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
    scope: RuleScope,
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
    fn new(rule: RuleId, document: AccessRuleDocument<'_>) -> AccessRule {
        AccessRule {
            scope: document.scope,
            rule,
            target: folded(&document.configuration.target),
            value: folded(&document.configuration.value),
            mode: folded(&document.mode),
            notes: folded(&document.notes),
        }
    }
}
