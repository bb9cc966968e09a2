//! The person behind a call.

use bartizan_names::{AccountId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Always `member`.
    pub status: String,
    pub permissions: Vec<String>,
    pub roles: Vec<String>,
}

/// A user as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredUser {
    pub id: UserId,
    pub email: String,
    /// SHA-256 of the global key as lower-case hexadecimal digits; the key itself is not kept.
    pub key_sha256: String,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}
