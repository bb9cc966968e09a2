//! Who changed what: entries of the audit log.

use std::net::IpAddr;

use bartizan_names::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Integer;

/// One object that somebody put or deleted; or, of a very large change, how many.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditLog {
    pub id: String,
    #[schema(value_type = String, format = DateTime)]
    pub when: Timestamp,
    pub action: AuditAction,
    pub actor: AuditActor,
    pub resource: AuditResource,
    /// What it was asked through: `api`, or `deletion` for what went with a zone that somebody deleted.
    pub interface: String,
    pub metadata: AuditMetadata,
    /// As text what `oldValueJson` is.
    #[serde(rename = "oldValue", default, skip_serializing_if = "Option::is_none")]
    pub old_text: Option<String>,
    #[serde(rename = "newValue", default, skip_serializing_if = "Option::is_none")]
    pub new_text: Option<String>,
    /// The object as it was before, without secrets; `null` if it was not there, is not known, or is too long for the answer,
    /// which then says so.
    #[serde(rename = "oldValueJson")]
    pub old_value: Option<Value>,
    /// The object as it was put.
    #[serde(rename = "newValueJson")]
    pub new_value: Option<Value>,
    pub owner: AuditOwner,
    /// What this edge adds to the dialect.
    pub bartizan: AuditExtension,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditAction {
    /// Always true: what was refused has changed nothing.
    pub result: bool,
    /// `add`, `change` or `delete`.
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditActor {
    /// Of the user, as far as it can still be told.
    pub id: Option<String>,
    pub email: Option<String>,
    #[schema(value_type = Option<String>)]
    pub ip: Option<IpAddr>,
    /// Always `user`.
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditResource {
    /// Empty where the entry is about many objects.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// What lends more context.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AuditMetadata {
    /// What people call the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
    /// Method and route of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Of which import it is a part, if that took more than one change. The undoing of one undoes them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<String>,
    /// How many objects the entry is about, if it is not one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditOwner {
    pub id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditLogExtension)]
pub struct AuditExtension {
    /// The revision of the store.
    pub revision: u64,
    /// The key of the object; of many objects, what their keys begin with.
    pub key: String,
    /// The same for all that one call did.
    pub request: String,
    /// By which token it was done, if not with the global key.
    pub token: Option<String>,
    /// What the token is called, if it is still there and may be read.
    pub token_name: Option<String>,
}

/// Asks for a change to be undone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UndoBody {
    /// Of the change, as its entries in the audit log have it.
    #[schema(value_type = u64)]
    pub revision: Integer,
    /// Says what would be done, and does nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Also puts back what was changed again since.
    #[serde(default)]
    pub force: bool,
}

/// What was, or would be, done to undo a change: all of it as one change, or nothing. An import that took many changes is taken
/// back in as many.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Undone {
    pub revision: u64,
    /// False if it was only asked what would be done.
    pub done: bool,
    pub changes: Vec<UndoneChange>,
    /// How many there are, where they are not all in `changes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
}

/// What a call with `dry_run=true` would commit: all of it as one change.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    /// Object by object, as far as they may be read and are not too many for an answer.
    pub changes: Vec<UndoneChange>,
    /// How many objects.
    pub objects: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UndoneChange {
    pub action: AuditAction,
    pub resource: AuditResource,
    pub metadata: AuditMetadata,
    /// The object as it is now, without secrets; `null` also where an answer would be too long with it.
    #[serde(rename = "oldValueJson")]
    pub old_value: Option<Value>,
    /// The object as it becomes.
    #[serde(rename = "newValueJson")]
    pub new_value: Option<Value>,
}
