//! Why a Spectrum application cannot be kept.

use bartizan_names::{Name, Protocol};

use crate::app_origin::{ORIGIN_TTL_MAX, ORIGIN_TTL_MIN, ORIGINS_MAX};
use crate::application::EDGE_IPS_MAX;

/// Each text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    #[error("protocol is missing; it is of the form tcp/22, udp/53 or tcp/1000-2000")]
    ProtocolMissing,
    #[error("{0:?} is not of the form tcp/22, udp/53 or tcp/1000-2000")]
    Protocol(String),
    #[error("the ports of {0:?} must be between 1 and 65535, the lower one first")]
    Ports(String),
    #[error("dns.name is missing")]
    NameMissing,
    #[error("{text:?} is not a host name in this zone")]
    Name { text: String },
    #[error("dns.type must be CNAME or ADDRESS, not {0:?}")]
    DnsType(String),
    #[error("an application has exactly one of origin_direct, origin_dns and bartizan.origin_pool")]
    OriginForm,
    #[error("origin_direct must list 1 to {ORIGINS_MAX} origins")]
    OriginCount,
    #[error("{text:?} {reason}")]
    Origin { index: usize, text: String, reason: OriginReason },
    #[error("{0:?} is not a host name; an address belongs into origin_direct")]
    OriginName(String),
    #[error("{0} leads to this application itself")]
    OriginItself(Name),
    #[error("origin_dns.type must be A, AAAA, SRV or empty, not {0:?}")]
    OriginKind(String),
    #[error("origin_dns.ttl must be between {ORIGIN_TTL_MIN} and {ORIGIN_TTL_MAX} seconds, or left out")]
    OriginTtl,
    #[error("origin_port is missing beside origin_dns")]
    OriginPortMissing,
    #[error("origin_port belongs to origin_dns; with origin_direct the port stands behind the address")]
    OriginPortAlone,
    #[error("origin_port must be a port between 1 and 65535 or a range of them, not {0:?}")]
    OriginPort(String),
    #[error("origin_port must be one port, or as many as protocol has")]
    OriginLength,
    #[error("bartizan.origin_address is an address or a host name without a port, for a tunnel as the origin")]
    OriginAddress,
    #[error("bartizan.origin_pool is the id of a pool, not {0:?}; `GET …/load_balancers/pools` lists them")]
    OriginPool(String),
    #[error("edge_ips.type must be dynamic or static, not {0:?}")]
    EdgeType(String),
    #[error("edge_ips.connectivity must be all, ipv4 or ipv6, not {0:?}")]
    Connectivity(String),
    #[error("edge_ips.ips must list 1 to {EDGE_IPS_MAX} addresses when they are static")]
    StaticCount,
    #[error("{text:?} is not an address")]
    StaticAddress { index: usize, text: String },
    #[error("the application has no slot")]
    Slot,
    #[error("tls must be off, flexible, full or strict, not {0:?}")]
    Tls(String),
    #[error("tls must be off over UDP")]
    TlsOverUdp,
    #[error("proxy_protocol must be off, v1, v2 or simple, not {0:?}")]
    ProxyProtocol(String),
    #[error("proxy_protocol {form} does not go with {protocol}: v1 is for tcp, v2 for both, simple for udp")]
    ProxyProtocolOver { form: &'static str, protocol: Protocol },
    #[error("traffic_type must be direct, not {0:?}; for HTTP make a proxied DNS record instead")]
    TrafficType(String),
}

/// Why a text in `origin_direct` is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginReason {
    #[error("is not of the form tcp://192.0.2.1:22, or tcp://[2001:db8::1]:22 with IPv6")]
    Form,
    #[error("must begin with {0}:// as the application does")]
    Protocol(Protocol),
    #[error("has an address that nobody can be reached at")]
    Address,
    #[error("needs a port between 1 and 65535, or a range of them")]
    Ports,
    #[error("must have one port, or as many as protocol has")]
    Length,
}

impl AppError {
    /// The field at fault, as a JSON pointer.
    pub fn pointer(&self) -> String {
        match self {
            AppError::Origin { index, .. } => return format!("/origin_direct/{index}"),
            AppError::StaticAddress { index, .. } => return format!("/edge_ips/ips/{index}"),
            AppError::ProtocolMissing | AppError::Protocol(_) | AppError::Ports(_) => "/protocol",
            AppError::NameMissing | AppError::Name { .. } => "/dns/name",
            AppError::DnsType(_) => "/dns/type",
            AppError::OriginForm | AppError::OriginCount => "/origin_direct",
            AppError::OriginName(_) | AppError::OriginItself(_) => "/origin_dns/name",
            AppError::OriginKind(_) => "/origin_dns/type",
            AppError::OriginTtl => "/origin_dns/ttl",
            AppError::OriginPortMissing
            | AppError::OriginPortAlone
            | AppError::OriginPort(_)
            | AppError::OriginLength => "/origin_port",
            AppError::OriginAddress => "/bartizan/origin_address",
            AppError::OriginPool(_) => "/bartizan/origin_pool",
            AppError::EdgeType(_) => "/edge_ips/type",
            AppError::Connectivity(_) => "/edge_ips/connectivity",
            AppError::StaticCount | AppError::Slot => "/edge_ips/ips",
            AppError::Tls(_) | AppError::TlsOverUdp => "/tls",
            AppError::ProxyProtocol(_) | AppError::ProxyProtocolOver { .. } => "/proxy_protocol",
            AppError::TrafficType(_) => "/traffic_type",
        }
        .to_owned()
    }
}
