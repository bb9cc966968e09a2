//! What a host is mapped to.

use std::sync::Arc;

use bartizan_names::{Encryption, LoadBalancerId, Name, Origin, OriginHost, Ssl, TunnelId};

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
    Origin(Server),
    Tunnel(TunnelId),
    /// A server of its pools.
    Balancer(LoadBalancerId),
    /// Nobody knows: what is stored of the zone cannot be read, and no other zone may answer in its place.
    Unknown,
}

/// A server that the edge dials. How it is spoken to is said for each request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub hosts: Arc<[OriginHost]>,
    /// Without one it is the usual port of how it is spoken to, 80 or 443.
    pub port: Option<u16>,
}

impl Server {
    /// The server, for a visitor who came by `scheme` to a zone with this setting.
    ///
    /// [`Ssl::Off`] and [`Ssl::Flexible`] always speak plain HTTP to the origin. The others do as the visitor did: who came
    /// over plain HTTP has nothing left to protect, and an origin that answers such visitors with a redirect must see
    /// that they came so. `always_use_https` is the way to have none of them.
    // Hot: once a request. No allocation.
    pub fn spoken_to(&self, ssl: Ssl, scheme: Scheme) -> Origin {
        let encryption = match (ssl, scheme) {
            (Ssl::Off | Ssl::Flexible, _) | (_, Scheme::Http) => Encryption::None,
            (Ssl::Full, Scheme::Https) => Encryption::Unverified,
            (Ssl::Strict, Scheme::Https) => Encryption::Verified,
        };
        let port = self.port.unwrap_or(encryption.default_port());
        Origin { encryption, hosts: Arc::clone(&self.hosts), port }
    }
}

/// The URI scheme of a visitor's request (RFC 9110 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_port_towards_the_origin() {
        use Encryption::{None as Plain, Unverified, Verified};
        for (ssl, scheme, port, expect) in [
            (Ssl::Off, Scheme::Http, None, (Plain, 80)),
            (Ssl::Off, Scheme::Https, None, (Plain, 80)),
            (Ssl::Flexible, Scheme::Http, None, (Plain, 80)),
            (Ssl::Flexible, Scheme::Https, None, (Plain, 80)),
            (Ssl::Full, Scheme::Http, None, (Plain, 80)),
            (Ssl::Full, Scheme::Https, None, (Unverified, 443)),
            (Ssl::Strict, Scheme::Http, None, (Plain, 80)),
            (Ssl::Strict, Scheme::Https, None, (Verified, 443)),
            (Ssl::Flexible, Scheme::Https, Some(9000), (Plain, 9000)),
            (Ssl::Strict, Scheme::Https, Some(9000), (Verified, 9000)),
            (Ssl::Strict, Scheme::Http, Some(9000), (Plain, 9000)),
        ] {
            let origin = Server { hosts: [].into(), port }.spoken_to(ssl, scheme);
            assert_eq!((origin.encryption, origin.port), expect, "{ssl:?} {scheme:?} {port:?}");
        }
    }
}
