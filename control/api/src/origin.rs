//! Whether a call comes from a page of this edge. A browser sends the cookie of a session with whatever a page asks for, so
//! what a session changes must be asked for by a page of ours.

use http::{HeaderMap, Uri, header};

/// The page that a browser was on (RFC 6454 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing tells. Browsers say it with all that may change something.
    Untold,
    Own {
        /// Whether the browser came by https, be it to us or to a proxy in front.
        secure: bool,
    },
    Foreign,
}

impl Origin {
    pub(crate) fn read(headers: &HeaderMap, uri: &Uri) -> Origin {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return Origin::Untold };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or(uri.authority().map(|host| host.as_str()));
        let (Ok(origin), Some(host), None) = (origin.to_str(), host, origins.next()) else { return Origin::Foreign };
        let (secure, authority) = match (origin.strip_prefix("https://"), origin.strip_prefix("http://")) {
            (Some(authority), _) => (true, authority),
            (_, Some(authority)) => (false, authority),
            _ => return Origin::Foreign,
        };
        if authority.eq_ignore_ascii_case(host) { Origin::Own { secure } } else { Origin::Foreign }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        for (host, origin, expect) in [
            ("localhost:8787", &[][..], Origin::Untold),
            ("localhost:8787", &["http://localhost:8787"], Origin::Own { secure: false }),
            ("edge.example", &["https://EDGE.example"], Origin::Own { secure: true }),
            ("[::1]:8787", &["http://[::1]:8787"], Origin::Own { secure: false }),
            ("localhost:8787", &["http://localhost:8788"], Origin::Foreign),
            ("localhost:8787", &["http://localhost"], Origin::Foreign),
            ("edge.example", &["https://edge.example.evil.example"], Origin::Foreign),
            ("edge.example", &["https://app.edge.example"], Origin::Foreign),
            ("edge.example", &["null"], Origin::Foreign),
            ("edge.example", &["edge.example"], Origin::Foreign),
            ("edge.example", &[""], Origin::Foreign),
            ("edge.example", &["https://edge.example", "https://evil.example"], Origin::Foreign),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            for origin in origin {
                headers.append(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(Origin::read(&headers, &Uri::from_static("/")), expect, "{host} {origin:?}");
        }
    }
}
