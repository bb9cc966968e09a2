//! Sessions of people who have logged in.

use std::net::IpAddr;

use bartizan_names::{SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Patch;

/// A session as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    #[schema(value_type = String)]
    pub id: SessionId,
    /// Whether it is the one by which this was asked.
    pub current: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    /// To some minutes.
    #[schema(value_type = String, format = DateTime)]
    pub seen_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub expires_on: Timestamp,
    /// From where it was begun.
    #[schema(value_type = Option<String>)]
    pub ip: Option<IpAddr>,
    /// What the browser said of itself then.
    pub user_agent: Option<String>,
}

/// What POST takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub email: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, format = Password)]
    pub password: Patch<String>,
    /// In place of both: the code of a login link.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub code: Patch<String>,
}

/// By this a browser logs in once, without a password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoginCode {
    /// For `POST /bartizan/sessions`; the dashboard takes it behind `/#/login/`.
    pub code: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_on: Timestamp,
}

/// What asks for the owner of a login link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoginCodeBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub code: Patch<String>,
}

/// Who is logged in by a login link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoginCodeOwner {
    pub email: String,
}

/// A session as stored. What the browser shows is known here only as a hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredSession {
    pub id: SessionId,
    pub user: UserId,
    /// SHA-256 as lower-case hexadecimal digits.
    pub sha256: String,
    pub created_on: Timestamp,
    pub seen_on: Timestamp,
    pub expires_on: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}
