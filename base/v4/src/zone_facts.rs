//! What the dialect tells of a zone beside the zone itself: a hold, plans, and the settings of its DNS.

use bartizan_names::ZoneId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Patch;

/// Whether a zone is held for its account: nobody else could make one of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ZoneHold)]
pub struct Hold {
    pub hold: bool,
    /// `true` or `false`, as text.
    pub include_subdomains: String,
}

/// The id of a zone that was looked at again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ActivationCheck {
    #[schema(value_type = String)]
    pub id: ZoneId,
}

/// A plan as the other list of plans has it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RatePlan {
    pub id: String,
    pub name: String,
    pub currency: String,
    /// Months.
    pub duration: u32,
    pub frequency: String,
    /// What is bought by the piece: nothing.
    pub components: Vec<RatePlanComponent>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RatePlanComponent {
    pub name: String,
    pub default: u32,
    pub unit_price: u32,
}

/// The settings of a zone's DNS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DnsSettings {
    pub flatten_all_cnames: bool,
    pub foundation_dns: bool,
    pub multi_provider: bool,
    pub nameservers: Nameservers,
    /// Seconds, as all numbers here.
    pub ns_ttl: u32,
    pub secondary_overrides: bool,
    pub soa: Soa,
    pub zone_mode: String,
    pub internal_dns: InternalDns,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Nameservers {
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Soa {
    pub mname: String,
    pub rname: String,
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub min_ttl: u32,
    pub ttl: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InternalDns {
    pub reference_zone_id: Option<String>,
}

/// What PATCH of the settings of a zone's DNS takes: any of their fields, each with the value that it has.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DnsSettingsBody {
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub flatten_all_cnames: Patch<Value>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub foundation_dns: Patch<Value>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub multi_provider: Patch<Value>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Nameservers>)]
    pub nameservers: Patch<Value>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub ns_ttl: Patch<Value>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub secondary_overrides: Patch<Value>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Soa>)]
    pub soa: Patch<Value>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub zone_mode: Patch<Value>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<InternalDns>)]
    pub internal_dns: Patch<Value>,
}
