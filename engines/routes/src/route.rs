//! What a host is mapped to.

use bartizan_names::{Name, OriginHost, TunnelId};

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
