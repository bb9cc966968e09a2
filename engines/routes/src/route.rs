//! What a host is mapped to.

use std::sync::Arc;

use bartizan_names::{Name, OriginHost, Ssl, TunnelId};

use crate::SiteNumber;

/// Where the requests for one host go. How they are treated on the way is the site's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// May begin with `*.`.
    pub host: Name,
    pub site: SiteNumber,
    pub target: Target,
}

/// What answers for a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Origin(Origin),
    Tunnel(TunnelId),
    /// Nobody knows: what is stored of the zone cannot be read, and no other zone may answer in its place.
    Unknown,
}

/// A server that the edge dials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// All of them are the same server to us; any that answers will do. Shared, since each request has a copy.
    pub hosts: Arc<[OriginHost]>,
    /// The port for either scheme; without one it is the scheme's own, 80 or 443 (RFC 9110 §4.2.1, §4.2.2).
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

impl OriginScheme {
    /// [`Ssl::Off`] and [`Ssl::Flexible`] always speak plain HTTP to the origin. The others do as the visitor did: who came
    /// over plain HTTP has nothing left to protect, and an origin that answers such visitors with a redirect must see
    /// that they came so. `always_use_https` is the way to have none of them.
    pub fn of(ssl: Ssl, visitor: Scheme) -> OriginScheme {
        match (ssl, visitor) {
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
            let origin_scheme = OriginScheme::of(ssl, scheme);
            let origin = Origin { hosts: [].into(), port };
            assert_eq!((origin_scheme, origin.port(origin_scheme)), expect, "{ssl:?} {scheme:?} {port:?}");
        }
    }
}
