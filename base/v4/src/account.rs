//! Accounts, and a user's membership of them.

use bartizan_names::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An account as sent and stored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Account {
    #[schema(value_type = String)]
    pub id: AccountId,
    pub name: String,
    /// Always `standard`.
    #[serde(rename = "type")]
    pub kind: String,
    pub settings: AccountSettings,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AccountSettings {
    pub enforce_twofactor: bool,
    pub api_access_enabled: Option<bool>,
    pub access_approval_expiry: Option<String>,
    pub use_account_custom_ns_by_default: bool,
}

/// An account as other objects name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountRef {
    #[schema(value_type = String)]
    pub id: AccountId,
    pub name: String,
}

/// That the caller belongs to an account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    pub id: String,
    /// Always `accepted`.
    pub status: String,
    pub account: AccountRef,
    pub api_access_enabled: Option<bool>,
    pub roles: Vec<String>,
    pub permissions: Vec<String>,
}
