//! What is true for a whole zone, held once for all its hosts.

use std::time::Duration;

use bartizan_names::{Ssl, ZoneId, ZoneName};

use crate::{OriginScheme, Scheme};

/// A zone, as the HTTP edge sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub zone: ZoneId,
    /// Of two zones that one lies inside the other, the inner one answers for a host that both have.
    pub apex: ZoneName,
    /// DNS leads past the edge, and the edge carries nothing.
    pub paused: bool,
    pub settings: ZoneSettings,
}

/// By which hosts refer to their site. Given by [`Edit::add_site`](crate::Edit::add_site).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SiteNumber(pub(crate) u32);

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
    use crate::Origin;

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
            let origin = Origin { hosts: Vec::new(), port };
            assert_eq!((origin_scheme, origin.port(origin_scheme)), expect, "{ssl:?} {scheme:?} {port:?}");
        }
    }
}
