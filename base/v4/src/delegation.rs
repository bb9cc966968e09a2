//! `/bartizan/zones/Z/delegation`: where the parent of a zone sends whoever asks for it. Ours, not the dialect's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delegation {
    pub zone_name: String,
    /// Who has said so: `servers` of the parent zone; `here`, where this edge alone serves it, or nobody else can be asked; a `resolver`, where none of them
    /// answers here; `nowhere` for names in no zone of the Internet. `null` where nobody has.
    pub source: Option<String>,
    /// Whether all of the parent's servers say the same.
    pub agrees: bool,
    /// Those that any of the parent's servers names for the zone; empty if nothing leads to it.
    pub name_servers: Vec<DelegationServer>,
    /// The DS records of the zone that any of the parent's servers has, as data.
    pub ds: Vec<String>,
    /// Why it is not known, or not all of it.
    pub failure: Option<String>,
}

/// A name server of a zone as the zone's parent has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DelegationServer {
    pub name: String,
    /// Its addresses in the parent zone.
    pub glue: Vec<String>,
    /// Its addresses as this edge answers; empty if its name is in no zone here.
    pub here: Vec<String>,
    /// Whether it answers for the zone; `null` if it was not asked, as this edge itself.
    pub serves: Option<bool>,
    /// Why not.
    pub failure: Option<String>,
}
