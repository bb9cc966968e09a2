//! What a host is mapped to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{Name, TunnelId, ZoneId};

/// Where the requests for one host go, and how they are treated on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub zone: ZoneId,
    /// Shared by all hosts of the zone.
    pub settings: Arc<ZoneSettings>,
    pub target: Target,
}

/// What answers for a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Origin(Origin),
    Tunnel(TunnelId),
}

/// A server that the edge dials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// All of them are the same server to us; any that answers will do.
    pub hosts: Vec<OriginHost>,
    /// The port for either scheme; without one it is the scheme's own, 80 or 443.
    pub port: Option<u16>,
}

impl Origin {
    pub fn port(&self, scheme: OriginScheme) -> u16 {
        self.port.unwrap_or(match scheme {
            OriginScheme::Http => 80,
            OriginScheme::HttpsUnverified | OriginScheme::HttpsVerified => 443,
        })
    }
}

/// One way to reach an origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginHost {
    Address(IpAddr),
    /// Resolved when it is dialled, by the system's resolver.
    Name(Name),
}

/// The settings of a zone that the HTTP edge enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSettings {
    pub ssl: Ssl,
    /// Visitors over plain HTTP are sent to the same place over HTTPS.
    pub always_use_https: bool,
    pub websockets: bool,
    pub http2: bool,
    /// How long an origin may be silent: before its answer, and between two pieces of it.
    pub read_timeout: Duration,
}

impl ZoneSettings {
    /// The dialect's own figure for an origin that says nothing.
    pub const READ_TIMEOUT: Duration = Duration::from_secs(100);
}

impl Default for ZoneSettings {
    /// Reaches an origin that speaks HTTP on port 80, which is what a new user has.
    fn default() -> ZoneSettings {
        ZoneSettings {
            ssl: Ssl::Flexible,
            always_use_https: false,
            websockets: true,
            http2: true,
            read_timeout: ZoneSettings::READ_TIMEOUT,
        }
    }
}

/// How an origin is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ssl {
    /// Never encrypted.
    Off,
    /// Encrypted up to the edge only.
    Flexible,
    /// Encrypted to whoever answers.
    Full,
    /// Encrypted to a server with a certificate for the host.
    Strict,
}

/// The URI scheme of a visitor's request (RFC 9110 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

/// How the edge speaks to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginScheme {
    Http,
    HttpsUnverified,
    HttpsVerified,
}

impl Ssl {
    /// `Off` and `Flexible` always speak plain HTTP to the origin. `Full` and `Strict` do as the visitor did: who came
    /// over plain HTTP has nothing left to protect, and an origin that answers such visitors with a redirect must see
    /// that they came so. `always_use_https` is the way to have none of them.
    pub fn towards_origin(self, scheme: Scheme) -> OriginScheme {
        match (self, scheme) {
            (Ssl::Off | Ssl::Flexible, _) | (_, Scheme::Http) => OriginScheme::Http,
            (Ssl::Full, Scheme::Https) => OriginScheme::HttpsUnverified,
            (Ssl::Strict, Scheme::Https) => OriginScheme::HttpsVerified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_port_towards_the_origin() {
        use OriginScheme::{Http, HttpsUnverified, HttpsVerified};
        for (ssl, scheme, port, expect) in [
            (Ssl::Off, Scheme::Http, None, (Http, 80)),
            (Ssl::Off, Scheme::Https, None, (Http, 80)),
            (Ssl::Flexible, Scheme::Http, None, (Http, 80)),
            (Ssl::Flexible, Scheme::Https, None, (Http, 80)),
            (Ssl::Full, Scheme::Http, None, (Http, 80)),
            (Ssl::Full, Scheme::Https, None, (HttpsUnverified, 443)),
            (Ssl::Strict, Scheme::Http, None, (Http, 80)),
            (Ssl::Strict, Scheme::Https, None, (HttpsVerified, 443)),
            (Ssl::Flexible, Scheme::Https, Some(9000), (Http, 9000)),
            (Ssl::Strict, Scheme::Https, Some(9000), (HttpsVerified, 9000)),
            (Ssl::Strict, Scheme::Http, Some(9000), (Http, 9000)),
        ] {
            let origin_scheme = ssl.towards_origin(scheme);
            let origin = Origin { hosts: Vec::new(), port };
            assert_eq!((origin_scheme, origin.port(origin_scheme)), expect, "{ssl:?} {scheme:?} {port:?}");
        }
    }
}
