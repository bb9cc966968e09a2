//! `/bartizan/pops`: the places where this edge runs. Ours, not the dialect's.

use std::net::IpAddr;

use bartizan_names::{PopId, Prefix, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A PoP as sent and stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pop {
    #[schema(value_type = String)]
    pub id: PopId,
    /// Short, as visitors see it in `CF-Ray`.
    pub name: String,
    /// What proxied names answer with there.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// The prefixes that applications get their addresses from.
    #[schema(value_type = Vec<String>)]
    pub pools: Vec<Prefix>,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

/// What an operator says of a PoP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PopBody {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    pub pools: Vec<Prefix>,
}
