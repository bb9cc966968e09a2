//! Spectrum applications: TCP and UDP ports of the edge, and what they lead to.
//!
//! The dialect has two forms, a simple one (`protocol`, `dns`, `origin_direct`) and a whole one. Both are taken in one
//! body, and every reply is of the whole form, which has all fields of the simple one.

use bartizan_names::{AppId, PoolId, Timestamp, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Integer, Patch, patch};

/// An application as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = SpectrumApp)]
pub struct App {
    #[schema(value_type = String)]
    pub id: AppId,
    /// `tcp/22`, `udp/53`, or a range, `tcp/1000-2000`.
    pub protocol: String,
    pub dns: AppDns,
    /// `tcp://192.0.2.1:22`; with a range of ports `tcp://[2001:db8::1]:1000-2000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub origin_direct: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub origin_dns: Option<OriginDns>,
    /// Only beside `origin_dns` and `bartizan.origin_pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub origin_port: Option<OriginPort>,
    pub edge_ips: EdgeIps,
    /// Whether access rules are in force here.
    pub ip_firewall: bool,
    /// `off`, `v1`, `v2` or `simple`.
    pub proxy_protocol: String,
    /// `off`, `flexible`, `full` or `strict`.
    pub tls: String,
    /// Always `direct`.
    pub traffic_type: String,
    /// Always false.
    pub argo_smart_routing: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub modified_on: Timestamp,
    pub bartizan: AppExtension,
}

/// The name that leads to an application. It answers with the application's addresses, whatever the type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppDns {
    /// `CNAME` or `ADDRESS`.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
}

/// An origin by its name. A name of the form `<tunnel id>.cfargotunnel.com` is never looked up: it is the tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OriginDns {
    pub name: String,
    /// `A`, `AAAA` or `SRV`; both kinds of address where it is left out.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub kind: Option<String>,
    /// How long answers are kept at least, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ttl: Option<u32>,
}

/// A port, or a range of them as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = SpectrumOriginPort)]
pub enum OriginPort {
    Port(u16),
    Range(String),
}

/// The addresses of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EdgeIps {
    /// `dynamic`: from the edge's pool. `static`: those that are given.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of dynamic ones: `all`, `ipv4` or `ipv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub connectivity: Option<String>,
    /// In a reply also the dynamic ones, as they are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ips: Option<Vec<String>>,
}

/// What this edge adds to the dialect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = SpectrumAppExtension)]
pub struct AppExtension {
    /// The application's addresses at this edge.
    pub addresses: Vec<String>,
    /// What the connector of a tunnel dials, if not its own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub origin_address: Option<String>,
    /// The pool that it leads to, where it has neither `origin_direct` nor `origin_dns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub origin_pool: Option<PoolId>,
    /// `ok`, or why clients cannot connect. Only on a single application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub listening: Option<String>,
    /// Since the edge started. Only on a single application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub counters: Option<AppCounters>,
}

/// What happened at an application since the edge started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppCounters {
    /// Connections and flows that were let in.
    pub connects: u64,
    /// Connections and flows that an access rule or a limit refused.
    pub filtered: u64,
    /// Connections and flows that ended because no origin could be reached, or the origin broke off.
    pub origin_errors: u64,
    /// Bytes from clients.
    pub bytes_ingress: u64,
    /// Bytes to clients.
    pub bytes_egress: u64,
    /// Connections and flows that are open now.
    pub open: u64,
    /// How long all that ended were open, together, in milliseconds.
    pub duration_ms: u64,
}

/// An application as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredApp {
    pub id: AppId,
    pub zone_id: ZoneId,
    pub protocol: String,
    pub dns: AppDns,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_direct: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_dns: Option<OriginDns>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_port: Option<OriginPort>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_pool: Option<PoolId>,
    pub edge_ips: EdgeIps,
    /// The number of the dynamic addresses, the same in every PoP. Never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    pub ip_firewall: bool,
    pub proxy_protocol: String,
    pub tls: String,
    pub traffic_type: String,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}

/// What POST and PUT take, in either form. Fields that only a reply has are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = SpectrumAppBody)]
pub struct AppBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub protocol: Patch<String>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = AppDnsBody)]
    pub dns: Patch<AppDnsBody>,
    /// Tried in this order.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<String>>)]
    pub origin_direct: Patch<Vec<String>>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<OriginDnsBody>)]
    pub origin_dns: Patch<OriginDnsBody>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<OriginPort>)]
    pub origin_port: Patch<OriginPortBody>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<EdgeIpsBody>)]
    pub edge_ips: Patch<EdgeIpsBody>,
    /// True where it is left out: who blocks an address means all that the edge serves.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub ip_firewall: Patch<bool>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub proxy_protocol: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub tls: Patch<String>,
    /// Only `direct`.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub traffic_type: Patch<String>,
    /// Accepted and without effect.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub argo_smart_routing: Patch<bool>,
    #[serde(default, deserialize_with = "patch::said", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<AppExtensionBody>)]
    pub bartizan: Patch<AppExtensionBody>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppDnsBody {
    /// `CNAME` (the default) or `ADDRESS`.
    #[serde(default, rename = "type", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub kind: Patch<String>,
    /// Whole, or one label below the zone.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub name: Patch<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OriginDnsBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = String)]
    pub name: Patch<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub kind: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<u32>, minimum = 600)]
    pub ttl: Patch<Integer>,
}

/// A port as a number or as text, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OriginPortBody {
    Port(Integer),
    Range(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EdgeIpsBody {
    /// `dynamic` (the default) or `static`.
    #[serde(default, rename = "type", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub kind: Patch<String>,
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub connectivity: Patch<String>,
    /// Only static ones.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<Vec<String>>)]
    pub ips: Patch<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SpectrumAppExtensionBody)]
pub struct AppExtensionBody {
    /// What the connector of a tunnel dials: an address or a name. Its own machine where it is left out.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub origin_address: Patch<String>,
    /// The id of a pool of the account: the origin, in place of `origin_direct` and `origin_dns`. With `origin_port` for those of its
    /// servers that have no port; without it these are dialled at the port that the client dialled.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub origin_pool: Patch<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_as_numbers_and_as_text() {
        for (text, expect) in [
            ("22", Some(OriginPortBody::Port(Integer(22)))),
            (r#""22""#, Some(OriginPortBody::Port(Integer(22)))),
            (r#""1000-2000""#, Some(OriginPortBody::Range("1000-2000".to_owned()))),
            ("true", None),
        ] {
            assert_eq!(serde_json::from_str(text).ok(), expect, "{text}");
        }
        for port in [OriginPort::Port(22), OriginPort::Range("1-2".to_owned())] {
            let text = serde_json::to_string(&port).unwrap();
            assert_eq!(serde_json::from_str::<OriginPort>(&text).unwrap(), port);
        }
    }
}
