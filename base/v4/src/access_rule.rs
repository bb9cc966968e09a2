//! IP access rules: who may come in, by address, network or country.

use bartizan_names::{AccountId, RuleId, Timestamp, UserId, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Patch, patch};

/// A rule as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessRule {
    #[schema(value_type = String)]
    pub id: RuleId,
    pub notes: String,
    /// The modes that a rule for this target may have.
    pub allowed_modes: Vec<String>,
    /// `block`, `challenge`, `js_challenge`, `managed_challenge` or `whitelist`.
    pub mode: String,
    pub configuration: RuleConfiguration,
    pub scope: RuleScope,
    /// Always false: a rule that is there is in force.
    pub paused: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
    /// Only on a rule that is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bartizan: Option<RuleExtension>,
}

/// Whom a rule is for, in its normal form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleConfiguration {
    /// `ip`, `ip6`, `ip_range`, `asn` or `country`.
    pub target: String,
    pub value: String,
}

/// Where a rule is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleScope {
    pub id: String,
    /// Of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub email: Option<String>,
    /// Of a zone or an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// `user`, `organization` (an account) or `zone`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What this edge adds to the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AccessRuleExtension)]
pub struct RuleExtension {
    /// False: the rule matches nobody for now, because the edge cannot tell whom it is for.
    pub enforced: bool,
}

/// A rule as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAccessRule {
    pub id: RuleId,
    pub notes: String,
    pub mode: String,
    pub configuration: RuleConfiguration,
    pub scope: StoredRuleScope,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}

/// Whose rule it is, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "id", rename_all = "lowercase")]
pub enum StoredRuleScope {
    User(UserId),
    /// An account, under its old name.
    Organization(AccountId),
    Zone(ZoneId),
}

/// What POST and PATCH take. Fields that only a reply has are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessRuleBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub mode: Patch<String>,
    /// Never changes: PATCH takes the one that the rule has.
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<RuleConfigurationBody>)]
    pub configuration: Patch<RuleConfigurationBody>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub notes: Patch<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleConfigurationBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub target: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub value: Patch<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_as_they_are_stored() {
        for (scope, kind) in [
            (StoredRuleScope::User(UserId::from_bytes([7; 16])), "user"),
            (StoredRuleScope::Organization(AccountId::from_bytes([7; 16])), "organization"),
            (StoredRuleScope::Zone(ZoneId::from_bytes([7; 16])), "zone"),
        ] {
            let text = format!(r#"{{"type":"{kind}","id":"{}"}}"#, "07".repeat(16));
            assert_eq!(serde_json::to_string(&scope).unwrap(), text);
            assert_eq!(serde_json::from_str::<StoredRuleScope>(&text).unwrap(), scope);
        }
    }
}
