//! Accounts, and a user's membership of them.

use bartizan_names::{AccountId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Patch;
use crate::token::{Policy, PolicyBody, StoredPolicy};

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
    /// `accepted`, or `pending`: then the user has not taken the invitation yet.
    pub status: String,
    pub roles: Vec<Role>,
    /// What they may do beside their roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
}

/// What POST and PUT of members take.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = AccountMemberBody)]
pub struct MemberBody {
    /// Of a user of this edge. Only in POST.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub email: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Vec<RoleRef>)]
    pub roles: Patch<Vec<RoleRef>>,
    /// As a token has them; what they name outside the account counts for nothing.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<PolicyBody>>)]
    pub policies: Patch<Vec<PolicyBody>>,
    /// `accepted` without an invitation, by those who look after the users of this edge, or `pending`.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub status: Patch<String>,
}

/// A role by its id or its name, as text or as an object with one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = AccountRoleRef)]
pub enum RoleRef {
    Text(String),
    Object {
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        name: Option<String>,
    },
}

/// What POST and PUT of accounts take.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AccountEdit {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, max_length = 100)]
    pub name: Patch<String>,
}

/// What PUT of a membership takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct MembershipBody {
    /// `accepted` or `rejected`.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub status: Patch<String>,
}

/// That a user belongs to an account, or is invited to: as stored, with the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredMembership {
    pub id: String,
    pub account: AccountId,
    pub user: UserId,
    pub status: MembershipStatus,
    /// Ids of roles.
    pub roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<StoredPolicy>,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}

/// Whether somebody who was invited has agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MembershipStatus {
    Pending,
    Accepted,
}

impl MembershipStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            MembershipStatus::Pending => "pending",
            MembershipStatus::Accepted => "accepted",
        }
    }
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

/// That the caller is invited to an account, in the words of before memberships.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Invite {
    /// That of the membership.
    pub id: String,
    #[schema(value_type = String)]
    pub invited_member_id: UserId,
    pub invited_member_email: String,
    /// Of the account.
    #[schema(value_type = String)]
    pub organization_id: AccountId,
    pub organization_name: String,
    /// Always false.
    pub organization_is_enforcing_twofactor: bool,
    /// Always null: the history of the account says who invited whom.
    pub invited_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub invited_on: Timestamp,
    /// Always null: it stays until it is answered or taken back.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_on: Option<Timestamp>,
    pub roles: Vec<Role>,
    /// `pending`; `accepted` or `rejected` in the answer to whoever answers it.
    pub status: String,
}

/// That the caller belongs to an account.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    pub id: String,
    /// `accepted` or `pending`; `rejected` in the answer to whoever rejects it.
    pub status: String,
    pub account: Account,
    pub api_access_enabled: Option<bool>,
    pub roles: Vec<String>,
    pub permissions: Grants,
}
