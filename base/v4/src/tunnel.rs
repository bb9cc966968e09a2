//! Tunnels: what connectors connect for.
//!
//! The stock client is strict here: times are RFC 3339, `messages` of the envelope stays empty, and the key order does
//! not matter to it.

use std::collections::BTreeMap;

use bartizan_names::{AccountId, ConnectorId, Timestamp, TunnelId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Patch;

/// A tunnel as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tunnel {
    #[schema(value_type = String, format = "uuid")]
    pub id: TunnelId,
    pub name: String,
    #[schema(value_type = String)]
    pub account_tag: AccountId,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<Timestamp>,
    /// `inactive` or `down` without a connection, `degraded` with fewer than a connector makes, else `healthy`.
    pub status: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub conns_active_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub conns_inactive_at: Option<Timestamp>,
    pub connections: Vec<Connection>,
    /// Always `cfd_tunnel`.
    pub tun_type: String,
    pub metadata: TunnelMetadata,
    pub remote_config: bool,
    /// `local`: the connector brings its configuration. `cloudflare`: it is kept here.
    pub config_src: String,
    /// Only in the reply to POST: what `run --token` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token: Option<String>,
    /// Only where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bartizan: Option<TunnelExtension>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunnelMetadata {}

/// What this edge adds to the dialect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunnelExtension {
    /// Why the service behind the connectors answered none of the last requests, in a word: `refused`, `unreachable`,
    /// `unresolved`, `not_allowed`, `connect_timed_out`, `tls`, `broken` or `untold`.
    pub service_fault: String,
}

/// One connection of a connector to the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    pub id: String,
    pub uuid: String,
    pub colo_name: String,
    pub is_pending_reconnect: bool,
    pub origin_ip: String,
    #[schema(value_type = String, format = DateTime)]
    pub opened_at: Timestamp,
    #[schema(value_type = String, format = "uuid")]
    pub client_id: ConnectorId,
    pub client_version: String,
    /// Only where it is told by the edge that has the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bartizan: Option<ConnectionExtension>,
}

/// What this edge adds to the dialect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionExtension {
    /// `quic` or `http2`.
    pub transport: String,
    /// A round trip of late in microseconds; none over HTTP/2, where it is not measured.
    pub rtt_us: Option<u64>,
    /// Requests, connections and flows that were begun on it.
    pub requests: u64,
    /// To the connector, with all that is around a request.
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// The labels that the connector was started with.
    pub tags: BTreeMap<String, String>,
}

/// A connector: one process with its connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connector {
    #[schema(value_type = String, format = "uuid")]
    pub id: ConnectorId,
    pub features: Vec<String>,
    pub version: String,
    pub arch: String,
    #[schema(value_type = String, format = DateTime)]
    pub run_at: Timestamp,
    /// Of the configuration that it has in force; 0 if it has none from here.
    pub config_version: i32,
    pub conns: Vec<Connection>,
    /// Only where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bartizan: Option<ConnectorExtension>,
}

/// What this edge adds to the dialect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectorExtension {
    /// Why it did not take the newest configuration, or which rules of it this connector does not serve.
    pub configuration_error: String,
}

/// A tunnel as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredTunnel {
    pub id: TunnelId,
    pub name: String,
    pub account_tag: AccountId,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    /// `local` or `cloudflare`.
    pub config_src: String,
    /// SHA-256 of the secret as lower-case hexadecimal digits: all that an edge needs to check a connector.
    pub secret_sha256: String,
    /// The secret itself, sealed, because the token can be asked for again. Text form: base64.
    pub sealed_secret: String,
}

/// What POST and PATCH take.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TunnelBody {
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Base64 of at least 32 bytes; made here where it is left out.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub tunnel_secret: Patch<String>,
    /// `local` (the default) or `cloudflare`.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub config_src: Patch<String>,
}

/// The configuration of a tunnel as sent and stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TunnelConfiguration {
    #[schema(value_type = String, format = "uuid")]
    pub tunnel_id: TunnelId,
    /// Grows by one a change; a connector ignores an older one. 0 before the first.
    pub version: i32,
    /// `ingress`, `originRequest`, `warp-routing`, as the connector reads them; `null` before the first.
    pub config: Value,
    /// `local`: a connector reported it. `cloudflare`: it was put here.
    pub source: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String)]
    pub account_id: AccountId,
}

/// What PUT `/configurations` takes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TunnelConfigurationBody {
    pub config: Value,
}

/// What PUT `/zones/{zone_id}/tunnels/{tunnel_id}/routes` takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct RouteBody {
    /// Only `dns`.
    #[serde(default, rename = "type", skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub kind: Patch<String>,
    /// The host that shall lead to the tunnel.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<String>)]
    pub user_hostname: Patch<String>,
    /// Whether records that are there already may be replaced.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<bool>)]
    pub overwrite_existing: Patch<bool>,
}

/// What became of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteResult {
    /// `new`, `updated` or `unchanged`.
    pub cname: String,
    pub name: String,
    pub dns_tag: String,
}
