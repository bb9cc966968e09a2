//! Who changed what: entries of the audit log.

use std::net::IpAddr;

use bartizan_names::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// One object that somebody put or deleted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditLog {
    pub id: String,
    #[schema(value_type = String, format = DateTime)]
    pub when: Timestamp,
    pub action: AuditAction,
    pub actor: AuditActor,
    pub resource: AuditResource,
    /// What it was asked through: `api`.
    pub interface: String,
    /// The object as it was put, without secrets; `null` if it was deleted, cannot be read, or is too long for the answer,
    /// which then says so.
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
    /// `add`, `change` or `delete`; where the object does not say that it was made by this change, `change`.
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
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
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
    /// The key of the object.
    pub key: String,
    /// By which token it was done, if not with the global key.
    pub token: Option<String>,
    /// What the token is called, if it is still there and may be read.
    pub token_name: Option<String>,
}
