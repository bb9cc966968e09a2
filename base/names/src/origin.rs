//! A server that is dialled: where it is, and how it is spoken to. All planes have these words from here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use crate::Name;

/// One way to reach an origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginHost {
    Address(IpAddr),
    /// Resolved when it is dialled, by whoever dials it.
    Name(Name),
}

/// What is dialled: `192.0.2.1:22`, `[2001:db8::1]:22`, `db.internal:5432`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginAddress {
    pub host: OriginHost,
    pub port: u16,
}

/// How an origin is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encryption {
    None,
    /// TLS with whoever answers.
    Unverified,
    /// TLS with a server that has a certificate for the name that is expected of it.
    Verified,
}

/// A server, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub encryption: Encryption,
    /// All of them are the same server to us; any that answers will do. Shared, since each request has a copy.
    pub hosts: Arc<[OriginHost]>,
    pub port: u16,
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("it is not HOST or HOST:PORT, where HOST is a host name, an IPv4 address, or an IPv6 address in brackets")]
    Address,
    #[error("it does not begin with http:// or https://")]
    Scheme,
    #[error("it has a path")]
    Path,
}

impl FromStr for OriginHost {
    type Err = OriginError;

    /// An address, IPv6 also in the brackets that it has in a URL (RFC 3986 §3.2.2), or a host name.
    fn from_str(text: &str) -> Result<OriginHost, OriginError> {
        let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match (inside.unwrap_or(text).parse::<IpAddr>(), inside) {
            (Ok(address), Some(_)) if address.is_ipv4() => Err(OriginError::Address),
            (Ok(address), _) => Ok(OriginHost::Address(address.to_canonical())),
            (Err(_), Some(_)) => Err(OriginError::Address),
            (Err(_), None) => {
                let name = Name::parse(text).ok().filter(|name| name.is_host() && !name.is_wildcard());
                name.map(OriginHost::Name).ok_or(OriginError::Address)
            }
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

impl OriginHost {
    /// As in a URL.
    fn fmt_bracketed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginHost::Address(address @ IpAddr::V6(_)) => write!(f, "[{address}]"),
            other => write!(f, "{other}"),
        }
    }
}

impl OriginAddress {
    pub fn new(host: OriginHost, port: u16) -> OriginAddress {
        OriginAddress { host, port }
    }

    /// None for a name.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self.host {
            OriginHost::Address(address) => Some(SocketAddr::new(address, self.port)),
            OriginHost::Name(_) => None,
        }
    }

    /// The port may be missing.
    fn parse(text: &str) -> Result<(OriginHost, Option<u16>), OriginError> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        // Without brackets nobody knows where an IPv6 address ends.
        if host.starts_with('[') != host.contains(':') {
            return Err(OriginError::Address);
        }
        let port = match port {
            // RFC 3986 §3.2.3: a colon alone names none.
            None | Some("") => None,
            Some(port) if !port.bytes().all(|digit| digit.is_ascii_digit()) => return Err(OriginError::Address),
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0).ok_or(OriginError::Address)?),
        };
        Ok((host.parse()?, port))
    }
}

impl From<SocketAddr> for OriginAddress {
    fn from(address: SocketAddr) -> OriginAddress {
        OriginAddress { host: OriginHost::Address(address.ip()), port: address.port() }
    }
}

impl FromStr for OriginAddress {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<OriginAddress, OriginError> {
        match OriginAddress::parse(text)? {
            (host, Some(port)) => Ok(OriginAddress { host, port }),
            (_, None) => Err(OriginError::Address),
        }
    }
}

impl fmt::Display for OriginAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt_bracketed(f)?;
        write!(f, ":{}", self.port)
    }
}

impl Encryption {
    /// The port of a server of HTTP, if none is given (RFC 9110 §4.2.1, §4.2.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Encryption::None => 80,
            Encryption::Unverified | Encryption::Verified => 443,
        }
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    /// `http://localhost:8080`, `https://[2001:db8::1]/`.
    fn from_str(text: &str) -> Result<Origin, OriginError> {
        let (encryption, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Encryption::None, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Encryption::Verified, rest),
            _ => return Err(OriginError::Scheme),
        };
        let (address, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = OriginAddress::parse(address)?;
        if !matches!(path, "" | "/") {
            return Err(OriginError::Path);
        }
        Ok(Origin { encryption, hosts: [host].into(), port: port.unwrap_or(encryption.default_port()) })
    }
}

impl fmt::Display for Origin {
    /// As it is read. Where there are several hosts, one after the other with a comma between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.encryption {
            Encryption::None => "http",
            Encryption::Unverified | Encryption::Verified => "https",
        };
        for (index, host) in self.hosts.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            write!(f, "{scheme}://")?;
            host.fmt_bracketed(f)?;
            if self.port != self.encryption.default_port() {
                write!(f, ":{}", self.port)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expect) in [
            ("192.0.2.1:22", Some("192.0.2.1:22")),
            ("[2001:DB8::1]:22", Some("[2001:db8::1]:22")),
            ("DB.internal:5432", Some("db.internal:5432")),
            ("[::ffff:192.0.2.1]:22", Some("192.0.2.1:22")),
            ("2001:db8::1:22", None),
            ("[db.internal]:22", None),
            ("192.0.2.1", None),
            ("[2001:db8::1]", None),
            ("192.0.2.1:65536", None),
            ("192.0.2.1:+2", None),
            ("192.0.2.1:0", None),
            ("192.0.2.1:", None),
            (":22", None),
            ("[]:22", None),
            ("[192.0.2.1]:22", None),
            ("user@db.internal:22", None),
            ("*.internal:22", None),
            ("a b:22", None),
            ("", None),
        ] {
            let address = text.parse::<OriginAddress>().ok();
            assert_eq!(address.as_ref().map(ToString::to_string).as_deref(), expect, "{text}");
            if let Some(address) = address {
                assert_eq!(address.to_string().parse(), Ok(address), "{text}");
            }
        }
    }

    #[test]
    fn servers() {
        for (text, expect) in [
            ("http://localhost:8080", Ok("http://localhost:8080")),
            ("http://localhost:8080/", Ok("http://localhost:8080")),
            ("HTTP://Localhost:80", Ok("http://localhost")),
            ("http://localhost", Ok("http://localhost")),
            ("http://localhost:", Ok("http://localhost")),
            ("https://localhost:80", Ok("https://localhost:80")),
            ("https://[::1]", Ok("https://[::1]")),
            ("https://[::1]:3", Ok("https://[::1]:3")),
            ("http://192.0.2.1", Ok("http://192.0.2.1")),
            ("http://localhost/x", Err(OriginError::Path)),
            ("http://localhost?x", Err(OriginError::Path)),
            ("http://", Err(OriginError::Address)),
            ("http://::1", Err(OriginError::Address)),
            ("http://user@localhost", Err(OriginError::Address)),
            ("http://localhost:x", Err(OriginError::Address)),
            ("http://localhost:99999", Err(OriginError::Address)),
            ("https://[::1]:0", Err(OriginError::Address)),
            ("localhost", Err(OriginError::Scheme)),
            ("ssh://localhost:22", Err(OriginError::Scheme)),
            ("http:localhost", Err(OriginError::Scheme)),
        ] {
            let origin = text.parse::<Origin>();
            assert_eq!(origin.clone().map(|origin| origin.to_string()), expect.map(str::to_owned), "{text}");
            if let Ok(origin) = origin {
                assert_eq!(origin.to_string().parse(), Ok(origin), "{text}");
            }
        }
    }
}
