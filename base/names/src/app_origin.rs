//! Where an application leads: addresses, a name that is looked up, or a tunnel.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::{Name, NameError, TunnelId};

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

/// One way to reach an origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginHost {
    Address(IpAddr),
    /// Resolved when it is dialled, by whoever dials it.
    Name(Name),
}

impl FromStr for OriginHost {
    type Err = NameError;

    /// An address, IPv6 also in the brackets that it has in a URL (RFC 3986 §3.2.2), or a name.
    fn from_str(text: &str) -> Result<OriginHost, NameError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match (bare.unwrap_or(text).parse(), bare) {
            (Ok(address), _) => Ok(OriginHost::Address(address)),
            (Err(_), Some(_)) => Err(NameError::BadWire),
            (Err(_), None) => Name::parse(text).map(OriginHost::Name),
        }
    }
}

impl fmt::Display for OriginHost {
    /// Without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginHost::Address(address) => address.fmt(f),
            OriginHost::Name(name) => name.fmt(f),
        }
    }
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
