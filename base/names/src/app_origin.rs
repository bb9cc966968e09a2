//! Where an application leads: addresses, a name that is looked up, a tunnel, or a pool.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::{Name, OriginHost, PoolId, TunnelId};

/// Where an application's connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppOrigin {
    /// The first that can be reached.
    Direct(Vec<DirectOrigin>),
    Dns {
        name: Name,
        kind: DnsKind,
        /// With [`DnsKind::Srv`] the answers' own ports count.
        port: OriginPort,
        /// Answers are kept for so long, however short their own time to live.
        ttl_min: Duration,
    },
    Tunnel {
        tunnel: TunnelId,
        /// What the connector dials; its own loopback address if none is given.
        address: Option<OriginHost>,
        port: OriginPort,
    },
    /// One of the nodes of a pool; another one where it cannot be reached.
    Pool {
        pool: PoolId,
        /// Of nodes that have no port of their own; none: the one that the client dialled.
        port: Option<OriginPort>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirectOrigin {
    pub address: IpAddr,
    pub port: OriginPort,
}

/// Which port is dialled at an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginPort {
    /// Always this one.
    One(u16),
    /// A range as long as the application's, from this port: the third port there for the third port here.
    From(u16),
}

/// Which records of an origin's name are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsKind {
    /// Addresses of both kinds.
    Any,
    A,
    Aaaa,
    Srv,
}

impl OriginPort {
    /// All ports that are dialled at the origin, for an application with the ports `edge`.
    pub fn range(self, edge: &RangeInclusive<u16>) -> RangeInclusive<u16> {
        match self {
            OriginPort::One(port) => port..=port,
            OriginPort::From(first) => first..=first.saturating_add(edge.end() - edge.start()),
        }
    }
}

impl DnsKind {
    /// Whether addresses of this family are asked for.
    pub const fn includes(self, address: IpAddr) -> bool {
        match self {
            DnsKind::A => address.is_ipv4(),
            DnsKind::Aaaa => address.is_ipv6(),
            DnsKind::Any | DnsKind::Srv => true,
        }
    }
}
