//! API tokens: what they may do, for how long, and from where.

use std::collections::BTreeMap;

use bartizan_names::{AccountId, Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Patch, patch};

/// The result of `tokens/verify`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenVerification {
    #[schema(value_type = String)]
    pub id: TokenId,
    /// `active`, `disabled` or `expired`.
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub not_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub expires_on: Option<Timestamp>,
}

/// A token as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ApiToken)]
pub struct Token {
    #[schema(value_type = String)]
    pub id: TokenId,
    pub name: String,
    /// `active`, `disabled` or `expired`.
    pub status: String,
    #[schema(value_type = String, format = DateTime)]
    pub issued_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
    /// Absent where it never was, as far as this edge knows: a crash takes the last minutes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_on: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub not_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub expires_on: Option<Timestamp>,
    pub policies: Vec<Policy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub condition: Option<Condition>,
    /// The text of the token. Only in the reply to POST: it is shown once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub value: Option<String>,
}

/// What a token may do, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TokenPolicy)]
pub struct Policy {
    pub id: String,
    /// `allow` or `deny`; what is denied is not allowed by another policy.
    pub effect: String,
    pub permission_groups: Vec<GroupRef>,
    #[schema(value_type = BTreeMap<String, ResourceGrant>)]
    pub resources: Resources,
}

/// A permission group as a policy names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PermissionGroupRef)]
pub struct GroupRef {
    pub id: String,
    pub name: String,
}

/// Names of resources: `com.cloudflare.api.account.zone.<id>`, `com.cloudflare.api.account.*` and so on, each with `*`, or
/// an account with the zones in it that are meant.
pub type Resources = BTreeMap<String, ResourceGrant>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ResourceGrant {
    /// `*`.
    All(String),
    Inside(BTreeMap<String, String>),
}

/// When a token works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TokenCondition)]
pub struct Condition {
    /// Clients write `request.ip` as well.
    #[serde(default, alias = "request.ip", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub request_ip: Option<RequestIp>,
}

/// From where, as prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TokenRequestIp)]
pub struct RequestIp {
    /// From nowhere else, if there is any.
    #[serde(default, rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_in: Vec<String>,
}

/// A permission group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PermissionGroup {
    pub id: String,
    pub name: String,
    /// What it can be granted on: `com.cloudflare.api.user`, `com.cloudflare.api.account` or
    /// `com.cloudflare.api.account.zone`.
    pub scopes: Vec<String>,
}

/// What POST and PUT take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ApiTokenBody)]
pub struct TokenBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, max_length = 120)]
    pub name: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Vec<PolicyBody>)]
    pub policies: Patch<Vec<PolicyBody>>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Condition>)]
    pub condition: Patch<Condition>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_on: Patch<String>,
    /// `active` or `disabled`.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub status: Patch<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TokenPolicyBody)]
pub struct PolicyBody {
    /// `allow` (the default) or `deny`.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub effect: Patch<String>,
    #[serde(default)]
    pub permission_groups: Vec<GroupRefBody>,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, ResourceGrant>)]
    pub resources: Resources,
}

/// By id, or by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = PermissionGroupRefBody)]
pub struct GroupRefBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub id: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
}

/// A token as stored. Its text is shown once, when it is made, and is known here only as a hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredToken {
    pub id: TokenId,
    pub name: String,
    /// Whose token it is, or who made it for the account.
    pub user: UserId,
    /// The account that the token acts in.
    pub account: AccountId,
    /// SHA-256 of the token as lower-case hexadecimal digits.
    pub sha256: String,
    /// `active` or `disabled`.
    pub status: String,
    pub policies: Vec<StoredPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_on: Option<Timestamp>,
    pub issued_on: Timestamp,
    pub modified_on: Timestamp,
    /// The text of the token while it is being made. Never stored.
    #[serde(skip)]
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredPolicy {
    pub id: String,
    pub effect: String,
    /// Names of permission groups; `*` is all, those to come included.
    pub permissions: Vec<String>,
    pub resources: Resources,
}
