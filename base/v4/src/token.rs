//! API tokens.

use bartizan_names::{AccountId, Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The result of `/user/tokens/verify`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenVerification {
    #[schema(value_type = String)]
    pub id: TokenId,
    /// `active`, `disabled` or `expired`.
    pub status: String,
}

/// A token as stored. Its text is shown once, when it is made, and is known here only as a hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredToken {
    pub id: TokenId,
    pub name: String,
    pub user: UserId,
    /// The account that the token acts in.
    pub account: AccountId,
    /// SHA-256 of the token as lower-case hexadecimal digits.
    pub sha256: String,
    /// `active` or `disabled`.
    pub status: String,
    pub issued_on: Timestamp,
    pub modified_on: Timestamp,
}
