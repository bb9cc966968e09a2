//! What every reply is wrapped in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit_log::DryRun;

/// The reply around a `result`.
///
/// A reply that has no result (an error) holds `null` there; lists carry [`ResultInfo`] as well.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Envelope<T> {
    pub result: Option<T>,
    pub success: bool,
    pub errors: Vec<Problem>,
    pub messages: Vec<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_info: Option<ResultInfo>,
    /// Of a call that was only tried: what it would have done. The `result` is what it would be, and nothing in it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRun>,
}

/// The reply to a call that failed: an envelope without a result, for the document's sake.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// Always `null`.
    pub result: Option<bool>,
    /// Always `false`.
    pub success: bool,
    /// At least one.
    pub errors: Vec<Problem>,
    pub messages: Vec<Message>,
}

/// One reason why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    pub code: u32,
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_chain: Vec<Code>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ErrorSource>,
}

/// A further reason behind the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Code {
    pub code: u32,
    pub message: String,
}

/// Where in the request the fault lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorSource {
    /// A JSON pointer into the request's body (RFC 6901), for example `/data/port`.
    pub pointer: String,
}

/// Something that the caller should know although the call succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    pub code: u32,
    pub message: String,
}

/// Where in a list this page lies. All five are always there, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResultInfo {
    pub page: u64,
    pub per_page: u64,
    /// Objects on this page.
    pub count: u64,
    /// Objects that the filter matched, on all pages.
    pub total_count: u64,
    pub total_pages: u64,
}

/// The result of most deletions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    pub id: String,
}
