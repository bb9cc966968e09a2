//! What the operator of the edge found a zone to be.

use bartizan_names::{Timestamp, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Patch;

/// What PATCH `/bartizan/zones/{zone_id}/phishing` takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PhishingBody {
    /// `on`, `strict` or `off`.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub value: Patch<String>,
}

/// Whether a zone sends phishing mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhishingState {
    #[schema(value_type = String)]
    pub id: ZoneId,
    pub name: String,
    /// `on`, `strict` or `off`.
    pub value: String,
    /// When the zone was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}
