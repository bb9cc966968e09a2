//! Load balancing: pools of servers, monitors that tell whether these are well, and names that lead to pools.

use std::collections::BTreeMap;

use bartizan_names::{LoadBalancerId, MonitorId, PoolId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Integer, Patch, patch};

/// Servers that do the same, as kept and as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = LoadBalancerPool)]
pub struct Pool {
    #[schema(value_type = String)]
    pub id: PoolId,
    pub name: String,
    pub description: String,
    /// A pool that is not enabled gets nobody.
    pub enabled: bool,
    /// So many servers must be well for the pool to be well.
    pub minimum_origins: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub monitor: Option<MonitorId>,
    /// Kept, and without effect: each place looks for itself.
    #[serde(default)]
    pub check_regions: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub latitude: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub longitude: Option<f64>,
    pub notification_email: String,
    pub load_shedding: LoadShedding,
    pub origin_steering: OriginSteering,
    pub origins: Vec<PoolOrigin>,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

/// A server of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = LoadBalancerOrigin)]
pub struct PoolOrigin {
    pub name: String,
    /// An IP address, or a name. A name of the form `<tunnel id>.cfargotunnel.com` is the tunnel.
    pub address: String,
    pub enabled: bool,
    /// Its share beside the others, 0 to 1.
    pub weight: f64,
    /// That of how it is spoken to where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub port: Option<u16>,
    /// Only `Host`: what the server is asked for in place of what the visitor asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub header: Option<BTreeMap<String, Vec<String>>>,
    /// When it was switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub disabled_at: Option<Timestamp>,
}

/// How one of a pool's servers is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OriginSteering {
    /// `random`, `hash`, `least_outstanding_requests` or `least_connections`.
    pub policy: String,
}

/// How much of what a pool would get is turned away: nothing, here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LoadShedding {
    /// Of what has no session, in percent.
    pub default_percent: f64,
    /// `random` or `hash`.
    pub default_policy: String,
    /// Of what has a session, in percent.
    pub session_percent: f64,
    /// `hash`.
    pub session_policy: String,
}

/// What POST, PUT and PATCH of a pool take.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = LoadBalancerPoolBody)]
pub struct PoolBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub name: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub minimum_origins: Patch<Integer>,
    /// None, and the empty text: its servers are taken to be well.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub monitor: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<String>>)]
    pub check_regions: Patch<Vec<String>>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<f64>)]
    pub latitude: Patch<f64>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<f64>)]
    pub longitude: Patch<f64>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub notification_email: Patch<String>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<LoadShedding>)]
    pub load_shedding: Patch<LoadSheddingBody>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<OriginSteering>)]
    pub origin_steering: Patch<OriginSteeringBody>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Vec<PoolOriginBody>)]
    pub origins: Patch<Vec<PoolOriginBody>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct LoadSheddingBody {
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub default_percent: Patch<f64>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub default_policy: Patch<String>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub session_percent: Patch<f64>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub session_policy: Patch<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct OriginSteeringBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub policy: Patch<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = LoadBalancerOriginBody)]
pub struct PoolOriginBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub name: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub address: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<f64>)]
    pub weight: Patch<f64>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u16>)]
    pub port: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<BTreeMap<String, Vec<String>>>)]
    pub header: Patch<BTreeMap<String, Vec<String>>>,
}

/// How it is told whether a server is well, as kept and as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LoadBalancerMonitor)]
pub struct Monitor {
    #[schema(value_type = String)]
    pub id: MonitorId,
    pub description: String,
    /// `http`, `https` or `tcp`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `GET` or `HEAD`; `connection_established` for `tcp`.
    pub method: String,
    pub path: String,
    pub header: BTreeMap<String, Vec<String>>,
    /// 0: the server's own, or that of the type.
    pub port: u16,
    /// Seconds.
    pub timeout: u32,
    /// How often a try that failed is made again at once.
    pub retries: u32,
    /// Seconds from one look to the next.
    pub interval: u32,
    /// So many looks one after the other must fail, or go well, for a server to be down, or up. 0 is 1.
    pub consecutive_down: u32,
    pub consecutive_up: u32,
    /// A part of the body.
    pub expected_body: String,
    /// `200`, `2xx`, or several with commas.
    pub expected_codes: String,
    pub follow_redirects: bool,
    /// Whether a certificate need not be a good one.
    pub allow_insecure: bool,
    #[serde(default)]
    pub probe_zone: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

/// What POST, PUT and PATCH of a monitor take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = LoadBalancerMonitorBody)]
pub struct MonitorBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub kind: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub method: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub path: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<BTreeMap<String, Vec<String>>>)]
    pub header: Patch<BTreeMap<String, Vec<String>>>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u16>)]
    pub port: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub timeout: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub retries: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub interval: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub consecutive_down: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub consecutive_up: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub expected_body: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub expected_codes: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub follow_redirects: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub allow_insecure: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub probe_zone: Patch<String>,
}

/// A name that leads to pools, as kept and as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadBalancer {
    #[schema(value_type = String)]
    pub id: LoadBalancerId,
    /// A host of the zone. One of the form `_service._proto.name`, not proxied, is answered with the names and ports of servers
    /// (SRV), and not with addresses.
    pub name: String,
    pub description: String,
    pub enabled: bool,
    /// Seconds that answers may be kept, where it is not proxied.
    pub ttl: u32,
    /// Gets everybody when no other pool is well.
    #[schema(value_type = String)]
    pub fallback_pool: PoolId,
    /// In the order in which they are tried.
    #[schema(value_type = Vec<String>)]
    pub default_pools: Vec<PoolId>,
    /// By region, such as `WEU`.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub region_pools: BTreeMap<String, Vec<PoolId>>,
    /// By country, such as `DE`.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub country_pools: BTreeMap<String, Vec<PoolId>>,
    /// By the place that the visitor came to, such as `LHR`.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub pop_pools: BTreeMap<String, Vec<PoolId>>,
    /// Whether visitors come by this edge.
    pub proxied: bool,
    /// `off`, `geo`, `random`, `dynamic_latency`, `proximity`, `least_outstanding_requests`, `least_connections`, or nothing: `geo` where there are pools by
    /// place, else `off`.
    pub steering_policy: String,
    /// `none`, `cookie`, `ip_cookie` or `header`.
    pub session_affinity: String,
    /// Seconds that a visitor stays with a server.
    pub session_affinity_ttl: u32,
    pub session_affinity_attributes: SessionAffinity,
    pub random_steering: RandomSteering,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
}

/// How a visitor stays with a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = LoadBalancerSessionAffinity)]
pub struct SessionAffinity {
    /// `Auto`, `Lax`, `None` or `Strict`.
    pub samesite: String,
    /// `Auto`, `Always` or `Never`.
    pub secure: String,
    /// So many seconds after a server was switched off who was with it stays (by cookie).
    pub drain_duration: u32,
    /// `none`, `temporary` or `sticky`: whether who stays with a server that fails goes to another one.
    pub zero_downtime_failover: String,
    /// Fields of a request by which visitors stay, where they do by `header`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Whether all of these must be there; else one will do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_all_headers: bool,
}

impl Default for SessionAffinity {
    fn default() -> SessionAffinity {
        SessionAffinity {
            samesite: "Auto".to_owned(),
            secure: "Auto".to_owned(),
            drain_duration: 0,
            zero_downtime_failover: "none".to_owned(),
            headers: Vec::new(),
            require_all_headers: false,
        }
    }
}

/// Shares of pools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RandomSteering {
    /// Of pools that are not named, 0 to 1.
    pub default_weight: f64,
    #[schema(value_type = BTreeMap<String, f64>)]
    pub pool_weights: BTreeMap<String, f64>,
}

impl Default for RandomSteering {
    fn default() -> RandomSteering {
        RandomSteering { default_weight: 1.0, pool_weights: BTreeMap::new() }
    }
}

/// What POST, PUT and PATCH of a load balancer take.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct LoadBalancerBody {
    /// A host of the zone. One of the form `_service._proto.name`, not proxied, is answered with the names and ports of servers
    /// (SRV), and not with addresses.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub name: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub ttl: Patch<Integer>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub fallback_pool: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Vec<String>)]
    pub default_pools: Patch<Vec<String>>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<BTreeMap<String, Vec<String>>>)]
    pub region_pools: Patch<BTreeMap<String, Vec<String>>>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<BTreeMap<String, Vec<String>>>)]
    pub country_pools: Patch<BTreeMap<String, Vec<String>>>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<BTreeMap<String, Vec<String>>>)]
    pub pop_pools: Patch<BTreeMap<String, Vec<String>>>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub proxied: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub steering_policy: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub session_affinity: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>)]
    pub session_affinity_ttl: Patch<Integer>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<SessionAffinity>)]
    pub session_affinity_attributes: Patch<SessionAffinityBody>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<RandomSteering>)]
    pub random_steering: Patch<RandomSteeringBody>,
    /// Not offered: none, or refused.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub rules: Patch<Vec<serde_json::Value>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SessionAffinityBody {
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub samesite: Patch<String>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub secure: Patch<String>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub drain_duration: Patch<Integer>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub zero_downtime_failover: Patch<String>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub headers: Patch<Vec<String>>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub require_all_headers: Patch<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct RandomSteeringBody {
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub default_weight: Patch<f64>,
    #[serde(skip_serializing_if = "Patch::is_absent")]
    pub pool_weights: Patch<BTreeMap<String, f64>>,
}

/// How the servers of a pool are, as this edge sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolHealth {
    #[schema(value_type = String)]
    pub pool_id: PoolId,
    /// By the place that looked.
    pub pop_health: BTreeMap<String, PopHealth>,
    /// What servers turned into, the newest first.
    pub bartizan: PoolHealthExtension,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PopHealth {
    pub healthy: bool,
    /// One map with one server each.
    pub origins: Vec<BTreeMap<String, OriginHealth>>,
}

/// A preview that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewStarted {
    /// The pools at whose servers it looks, and what they are called.
    #[schema(value_type = BTreeMap<String, String>)]
    pub pools: BTreeMap<PoolId, String>,
    /// By which its findings are asked for.
    pub preview_id: String,
}

/// What a preview found: the pools at whose servers all looks are over, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct PreviewFound(pub BTreeMap<String, PopHealth>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OriginHealth {
    pub healthy: bool,
    /// Of the last look, such as `1.5ms`. Empty where nobody has looked.
    pub rtt: String,
    pub failure_reason: String,
    pub response_code: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolHealthExtension {
    pub transitions: Vec<PoolTransition>,
}

/// That a server went down, or came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolTransition {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub origin: String,
    pub healthy: bool,
    pub reason: String,
}

/// Something that refers to a pool or a monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LoadBalancingReference)]
pub struct Reference {
    /// `referrer`.
    pub reference_type: String,
    pub resource_id: String,
    pub resource_name: String,
    /// `pool` or `load_balancer`.
    pub resource_type: String,
}

/// A region with its countries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LoadBalancerRegion)]
pub struct Region {
    pub region_code: String,
    pub countries: Vec<RegionCountry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LoadBalancerRegionCountry)]
pub struct RegionCountry {
    pub country_code_a2: String,
}
