//! Accounts, and a user's membership of them.

use bartizan_names::{AccountId, Timestamp, UserId};
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

/// What a member may do with the things of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PermissionGrant)]
pub struct Grant {
    pub read: bool,
    pub write: bool,
}

/// What a member may do in an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = MembershipPermissions)]
pub struct Grants {
    pub analytics: Grant,
    pub billing: Grant,
    pub cache_purge: Grant,
    pub dns: Grant,
    pub dns_records: Grant,
    pub lb: Grant,
    pub logs: Grant,
    pub organization: Grant,
    pub ssl: Grant,
    pub waf: Grant,
    pub zone_settings: Grant,
    pub zones: Grant,
}

/// A user of an account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AccountMember)]
pub struct Member {
    pub id: String,
    pub user: MemberUser,
    /// Always `accepted`.
    pub status: String,
    pub roles: Vec<Role>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberUser {
    #[schema(value_type = String)]
    pub id: UserId,
    pub email: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub two_factor_authentication_enabled: bool,
}

/// What members of an account may be.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AccountRole)]
pub struct Role {
    pub id: String,
    pub name: String,
    pub description: String,
    pub permissions: Grants,
}

/// That the caller belongs to an account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    pub id: String,
    /// Always `accepted`.
    pub status: String,
    pub account: Account,
    pub api_access_enabled: Option<bool>,
    pub roles: Vec<String>,
    pub permissions: Grants,
}
