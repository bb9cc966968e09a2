//! Where a call goes.

use bartizan_names::{Name, OriginHost};
use http::Uri;
use http::uri::PathAndQuery;

use crate::FetchError;

/// Octets of a URL.
pub const URL_MAX: usize = 2_048;

/// A URL that names a host, without a user and a password. What is behind `#` is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub(crate) host: OriginHost,
    pub(crate) port: u16,
    pub(crate) is_secret: bool,
    /// Host and port as the URL has them.
    pub(crate) authority: String,
    pub(crate) path: PathAndQuery,
}

impl Url {
    pub fn parse(text: &str) -> Result<Url, FetchError> {
        if text.len() > URL_MAX {
            return Err(FetchError::UrlLong);
        }
        let uri: Uri = text.parse().map_err(|_| FetchError::Url)?;
        let is_secret = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(FetchError::Url),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(FetchError::Url)?;
        let host = authority.host();
        let host = match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => OriginHost::Address(address),
            Err(_) => OriginHost::Name(Name::parse(host).map_err(|_| FetchError::Url)?),
        };
        let port = authority.port_u16().unwrap_or(if is_secret { 443 } else { 80 });
        let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Ok(Url { host, port, is_secret, authority: authority.to_string(), path })
    }

    /// Where an answer sends us, as this URL reads it (RFC 9110 §10.2.2).
    pub(crate) fn on_to(&self, location: &str) -> Result<Url, FetchError> {
        let scheme = if self.is_secret { "https" } else { "http" };
        let next = match location {
            path if path.starts_with("//") => Url::parse(&format!("{scheme}:{path}")),
            path if path.starts_with('/') => Url::parse(&format!("{scheme}://{}{path}", self.authority)),
            whole => Url::parse(whole),
        }?;
        if self.is_secret && !next.is_secret { Err(FetchError::Downgraded) } else { Ok(next) }
    }

    pub fn host(&self) -> String {
        match &self.host {
            OriginHost::Address(address) => address.to_string(),
            OriginHost::Name(name) => name.to_string(),
        }
    }

    /// Whether nobody on the way reads what is said: it is over TLS, or to an address of this machine.
    pub fn is_private(&self) -> bool {
        self.is_secret || matches!(self.host, OriginHost::Address(address) if address.is_loopback())
    }

    /// Whether what is there is of the same server, asked in the same way.
    pub fn is_of_server(&self, other: &Url) -> bool {
        (&self.host, self.port, self.is_secret) == (&other.host, other.port, other.is_secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, expect) in [
            ("http://crl.example/ca.crl", Some(("crl.example", 80, false, "/ca.crl"))),
            ("https://crl.example:8443/a?b=c", Some(("crl.example", 8443, true, "/a?b=c"))),
            ("http://192.0.2.1", Some(("192.0.2.1", 80, false, "/"))),
            ("https://[2001:db8::1]/x", Some(("2001:db8::1", 443, true, "/x"))),
            ("ldap://crl.example/ca", None),
            ("file:///etc/passwd", None),
            ("http://user:secret@crl.example/", None),
            ("http:///ca.crl", None),
            ("crl.example/ca.crl", None),
            ("", None),
            (&format!("http://crl.example/{}", "a".repeat(URL_MAX)), None),
        ] {
            let url = Url::parse(text).ok();
            let seen = url.as_ref().map(|url| (url.host(), url.port, url.is_secret, url.path.as_str()));
            assert_eq!(seen, expect.map(|(host, port, secret, path)| (host.to_owned(), port, secret, path)), "{text}");
        }
    }

    #[test]
    fn where_an_answer_sends_us() {
        let from = Url::parse("https://crl.example:8443/a/b?c").unwrap();
        for (location, expect) in [
            ("/d", Some("https://crl.example:8443/d")),
            ("//other.example/d", Some("https://other.example/d")),
            ("https://other.example/d", Some("https://other.example/d")),
            ("http://crl.example/d", None),
            ("gopher://crl.example/", None),
        ] {
            assert_eq!(from.on_to(location).ok(), expect.map(|url| Url::parse(url).unwrap()), "{location}");
        }
    }

    #[test]
    fn who_may_read_what_is_said() {
        for (text, is_private) in [
            ("https://a.example/", true),
            ("http://127.0.0.1:8/", true),
            ("http://[::1]/", true),
            ("http://a.example/", false),
            ("http://localhost/", false),
            ("http://192.0.2.1/", false),
        ] {
            assert_eq!(Url::parse(text).unwrap().is_private(), is_private, "{text}");
        }
    }
}
