//! `/bartizan/registries`: how DS records get into the zones above ours. Ours, not the dialect's.

use bartizan_names::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Patch;
use crate::dnssec::DnssecWay;

/// How the zones right below a name get their DS records into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Registry {
    /// The zone above, such as `dk`.
    pub name: String,
    pub way: DnssecWay,
    /// Of `dsu` alone.
    pub url: Option<String>,
    pub userid: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

/// What PUT takes: all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub struct RegistryBody {
    /// `manual` (the default), `cds` or `dsu`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub way: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub url: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub userid: Patch<String>,
    /// Told by nobody again. Left out, the one that is there stays.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub password: Patch<String>,
}

/// A registry as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRegistry {
    pub name: String,
    pub way: DnssecWay,
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub userid: Option<String>,
    /// Base64. The audit has none.
    #[serde(default)]
    pub sealed_password: Option<String>,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}
