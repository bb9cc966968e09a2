//! Objects and change sets for tests.

use bartizan_names::{AccountId, Name, RecordId, RuleId, Timestamp, TunnelId, ZoneId};
use bartizan_store::{
    ChangeSet, Entry, Filter, Guard, Key, Kind, Meta, Op, Part, Scope, Snapshot, StateHash, Store, Value,
};

pub(crate) const fn zone(number: u8) -> ZoneId {
    ZoneId::from_bytes([number; 16])
}

pub(crate) const fn record_id(number: u8) -> RecordId {
    RecordId::from_bytes([number; 16])
}

pub(crate) const fn account(number: u8) -> AccountId {
    AccountId::from_bytes([number; 16])
}

pub(crate) fn tunnel(number: u8) -> TunnelId {
    TunnelId::from_bytes([number; 16])
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A time that only has to be later than those with smaller numbers.
pub(crate) const fn at(second: u64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

/// A record as the API stores it, as far as listings look.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) zone: u8,
    pub(crate) id: u8,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) content: String,
    pub(crate) ttl: u32,
    pub(crate) proxied: bool,
    pub(crate) comment: Option<String>,
    pub(crate) tags: Vec<String>,
}

impl Record {
    pub(crate) fn new(zone: u8, id: u8, name: &str, kind: &'static str, content: &str) -> Record {
        Record {
            zone,
            id,
            kind,
            name: name.to_owned(),
            content: content.to_owned(),
            ttl: 1,
            proxied: false,
            comment: None,
            tags: vec![],
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::record(zone(self.zone), record_id(self.id))
    }

    pub(crate) fn put(&self) -> Op {
        let document = serde_json::json!({
            "id": record_id(self.id), "zone_id": zone(self.zone), "zone_name": "x.test", "name": self.name,
            "type": self.kind, "content": self.content, "proxied": self.proxied, "ttl": self.ttl,
            "comment": self.comment, "tags": self.tags, "created_on": at(0),
        });
        put(self.key(), &document.to_string())
    }
}

pub(crate) fn put(key: Key, json: &str) -> Op {
    Op::Put { key, value: Value { format: 1, json: json.into() } }
}

pub(crate) fn zone_op(number: u8, name: &str, owner: u8, status: &str) -> Op {
    let document = serde_json::json!({
        "id": zone(number), "name": name, "status": status,
        "account": {"id": account(owner), "name": "somebody"}, "created_on": at(0),
    });
    put(Key::zone(zone(number)), &document.to_string())
}

pub(crate) fn tunnel_op(number: u8, name: &str, owner: u8, created: u64, deleted: Option<u64>) -> Op {
    let document = serde_json::json!({
        "id": tunnel(number), "name": name, "account_tag": account(owner),
        "created_at": at(created), "deleted_at": deleted.map(at),
    });
    put(Key::tunnel(account(owner), tunnel(number)), &document.to_string())
}

/// An access rule of a zone.
pub(crate) fn rule_op(number: u8, owner: u8, mode: &str, target: &str, value: &str, notes: &str) -> Op {
    let document = serde_json::json!({
        "id": RuleId::from_bytes([number; 16]), "notes": notes, "mode": mode,
        "configuration": {"target": target, "value": value}, "scope": {"type": "zone", "id": zone(owner)},
    });
    put(rule_key(number, owner), &document.to_string())
}

pub(crate) fn rule_key(number: u8, owner: u8) -> Key {
    Key::access_rule(Scope::Zone(zone(owner)), RuleId::from_bytes([number; 16]))
}

/// A change set with a request id of its own.
pub(crate) fn set(guards: Vec<Guard>, ops: Vec<Op>) -> ChangeSet {
    ChangeSet {
        guards,
        ops,
        meta: Meta {
            at: at(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: bartizan_seal::random(),
        },
    }
}

pub(crate) fn hashes(snapshot: &Snapshot) -> Vec<StateHash> {
    let parts = Kind::ALL.iter().map(|kind| Part::Kind(*kind)).chain((0..=3).map(|number| Part::Zone(zone(number))));
    parts.map(|part| snapshot.state_hash(part).unwrap()).collect()
}

pub(crate) fn everything(snapshot: &Snapshot) -> Vec<Entry> {
    let mut entries = Vec::new();
    snapshot.for_each(&Filter::Everything, &mut |entry| entries.push(entry)).unwrap();
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    entries
}

pub(crate) fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(dir.path()).unwrap()
}
