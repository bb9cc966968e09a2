//! The person behind a call.

use bartizan_names::{AccountId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Patch;

/// A user as sent.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct User {
    #[schema(value_type = String)]
    pub id: UserId,
    pub email: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub username: String,
    pub telephone: Option<String>,
    pub country: Option<String>,
    pub zipcode: Option<String>,
    pub two_factor_authentication_enabled: bool,
    pub two_factor_authentication_locked: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
    pub organizations: Vec<Organization>,
    pub has_pro_zones: bool,
    pub has_business_zones: bool,
    pub has_enterprise_zones: bool,
    pub suspended: bool,
    pub betas: Vec<String>,
}

/// An account of a user, under its old name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Organization {
    #[schema(value_type = String)]
    pub id: AccountId,
    pub name: String,
    /// `member`, or `invited` until the invitation is accepted.
    pub status: String,
    pub permissions: Vec<String>,
    pub roles: Vec<String>,
}

/// What PATCH of the caller's own user takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = UserPatch)]
pub struct PersonBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 60)]
    pub first_name: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 60)]
    pub last_name: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 20)]
    pub telephone: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 30)]
    pub country: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, max_length = 20)]
    pub zipcode: Patch<String>,
}

/// What a person says of themself; kept with the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telephone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipcode: Option<String>,
}

/// A user as those see them who look after the users of an edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EdgeUser {
    #[schema(value_type = String)]
    pub id: UserId,
    pub email: String,
    /// `active`, or `disabled`: then nothing lets them in.
    pub status: String,
    /// Whether they can log in with one.
    pub has_password: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

/// What POST and PATCH of users of an edge take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EdgeUserBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, max_length = 254)]
    pub email: Patch<String>,
    /// `null` takes it away.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, format = Password, min_length = 12, max_length = 1024)]
    pub password: Patch<String>,
    /// `active` or `disabled`.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub status: Patch<String>,
    /// For the caller's own password, in a session: the one of before.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, format = Password)]
    pub current_password: Patch<String>,
}

/// What a new global key takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeyBody {
    /// In a session: the password, if there is one.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, format = Password)]
    pub current_password: Patch<String>,
}

/// What a change of the caller's own password takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PasswordBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 1024)]
    pub password: Patch<String>,
    /// The one of before, if there is one.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>, format = Password)]
    pub current_password: Patch<String>,
}

/// A user as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredUser {
    pub id: UserId,
    pub email: String,
    /// SHA-256 of the global key as lower-case hexadecimal digits; the key itself is not kept. Empty: there is none.
    pub key_sha256: String,
    /// What is kept of the password, if they have one: its salted hash, and how that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    #[serde(default)]
    pub status: UserStatus,
    #[serde(flatten)]
    pub person: Person,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}

/// Whether a user is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserStatus {
    #[default]
    Active,
    Disabled,
}

impl UserStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            UserStatus::Active => "active",
            UserStatus::Disabled => "disabled",
        }
    }
}
