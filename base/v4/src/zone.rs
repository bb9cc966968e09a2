//! Zones.

use bartizan_names::{AccountId, Timestamp, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AccountRef, Patch};

/// A zone as sent and stored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Zone {
    #[schema(value_type = String)]
    pub id: ZoneId,
    /// The apex, without a final dot.
    pub name: String,
    /// Always `active`: a zone is served from the moment it exists.
    pub status: String,
    pub paused: bool,
    /// Always `full`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Seconds until development mode ends; always 0.
    pub development_mode: u32,
    pub name_servers: Vec<String>,
    pub original_name_servers: Option<Vec<String>>,
    pub original_registrar: Option<String>,
    pub original_dnshost: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    /// Never `null`, because a client's type does not allow it.
    #[schema(value_type = String, format = DateTime)]
    pub activated_on: Timestamp,
    pub vanity_name_servers: Vec<String>,
    pub meta: Meta,
    pub owner: Owner,
    pub account: AccountRef,
    /// What the caller may do, in the old spelling (`#dns_records:edit`).
    pub permissions: Vec<String>,
    pub plan: Plan,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ZoneMeta)]
pub struct Meta {
    pub step: u32,
    pub custom_certificate_quota: u32,
    pub page_rule_quota: u32,
    /// The operator of the edge found it to send phishing mail: whatever its records say, its mail is to be rejected.
    pub phishing_detected: bool,
    /// Beside it: its own name has no TXT record at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub phishing_strict: bool,
    pub multiple_railguns_allowed: bool,
    pub cdn_only: bool,
    pub dns_only: bool,
    pub foundation_dns: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Owner {
    pub id: String,
    pub name: String,
    /// `organization`: an account owns the zone.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Clients read a plan to learn which limits apply. There is one, with everything in it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    pub id: String,
    pub name: String,
    pub price: u32,
    pub currency: String,
    pub frequency: String,
    pub is_subscribed: bool,
    pub can_subscribe: bool,
    pub legacy_id: String,
    pub legacy_discount: bool,
    pub externally_managed: bool,
}

/// What POST `/zones` takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ZoneBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String, max_length = 253)]
    pub name: Patch<String>,
    /// The caller's own account where it is left out.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<AccountBody>)]
    pub account: Patch<AccountBody>,
    /// Only `full`.
    #[serde(default, rename = "type", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub kind: Patch<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccountBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub id: Patch<AccountId>,
}

/// What PATCH `/zones/{zone_id}` takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ZonePatch {
    /// A paused zone answers with its records as they are, as if none were proxied.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub paused: Patch<bool>,
    /// Only `full`.
    #[serde(default, rename = "type", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub kind: Patch<String>,
    /// Accepted and without effect: there is one plan.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<PlanBody>)]
    pub plan: Patch<PlanBody>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlanBody {
    #[serde(default)]
    pub id: Option<String>,
}
