//! What a visitor may name in `Host` and in a target: a host name or an address, and a port (RFC 9110 §7.2).
//!
//! Where a name is compared in one place and looked up in another, both must read it alike: whoever finds a spelling that
//! one of them takes for another name passes the other's rule. An origin is one of those who read it. So a request's host
//! becomes a [`Host`] once, where it comes in, everybody compares that, and in that form it goes on.

use std::net::Ipv6Addr;

/// A host and a port, as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// An IPv6 address keeps its brackets.
    pub name: &'a str,
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Stricter than the grammar of URIs: no percent signs, no user, no empty port. Nothing real uses them, and servers
    /// disagree about their meaning.
    pub fn parse(text: &'a str) -> Option<Authority<'a>> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let inside = &rest[..rest.find(']')?];
                inside.parse::<Ipv6Addr>().ok()?;
                text.split_at(inside.len() + 2)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
                if name.is_empty() || name.starts_with('.') || name.contains("..") || !name.bytes().all(legal) {
                    return None;
                }
                (name, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(Authority { name, port })
    }

    /// Whether both name the same host and port. `default_port` is the one of the scheme.
    pub fn is_same(&self, other: &Authority<'_>, default_port: u16) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// The host that a request is for, in its one form: in lower case, without a final dot, an address as RFC 5952 has it, and
/// behind it the port if one was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    text: String,
    /// Where the name ends in it.
    name_end: usize,
}

impl Host {
    /// None if it is not an [`Authority`].
    pub fn parse(text: &str) -> Option<Host> {
        let Authority { name, port } = Authority::parse(text)?;
        let mut text = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
            // With or without the root, it is the same name (RFC 1034 §3.1).
            None => name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase(),
        };
        let name_end = text.len();
        if let Some(port) = port {
            text.push_str(&format!(":{port}"));
        }
        Some(Host { text, name_end })
    }

    /// With the port if one was named.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without the port. An IPv6 address keeps its brackets.
    pub fn name(&self) -> &str {
        &self.text[..self.name_end]
    }

    /// The name as TLS and resolvers have it: without brackets.
    pub fn bare_name(&self) -> &str {
        self.name().trim_start_matches('[').trim_end_matches(']')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_strictly() {
        for (text, expect) in [
            ("example.com", Some(("example.com", None))),
            ("Example.COM.:8443", Some(("Example.COM.", Some(8443)))),
            ("a_b.test:0", Some(("a_b.test", Some(0)))),
            ("192.0.2.1:80", Some(("192.0.2.1", Some(80)))),
            ("[2001:db8::1]", Some(("[2001:db8::1]", None))),
            ("[2001:db8::1]:443", Some(("[2001:db8::1]", Some(443)))),
            ("", None),
            (":80", None),
            ("a:", None),
            ("a:80:80", None),
            ("a:65536", None),
            ("a:+80", None),
            ("a:000080", None),
            (".a", None),
            ("a..b", None),
            ("a b", None),
            ("a/b", None),
            ("user@a", None),
            ("a%2e", None),
            ("a,b", None),
            ("ä.test", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[fe80::1%25eth0]", None),
            ("[a]", None),
            ("::1", None),
        ] {
            assert_eq!(Authority::parse(text).map(|found| (found.name, found.port)), expect, "{text}");
        }
    }

    #[test]
    fn hosts_have_one_form() {
        for (written, host, name, bare) in [
            ("example.com", "example.com", "example.com", "example.com"),
            ("example.com:8443", "example.com:8443", "example.com", "example.com"),
            ("Example.COM", "example.com", "example.com", "example.com"),
            ("example.com.", "example.com", "example.com", "example.com"),
            ("EXAMPLE.com.:0443", "example.com:443", "example.com", "example.com"),
            ("192.0.2.1:80", "192.0.2.1:80", "192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]", "[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80", "[2001:db8::1]", "2001:db8::1"),
        ] {
            let parsed = Host::parse(written).unwrap();
            assert_eq!((parsed.as_str(), parsed.name(), parsed.bare_name()), (host, name, bare), "{written}");
            assert_eq!(Host::parse(host).unwrap(), parsed, "twice is once");
        }
        for refused in ["", ".", "a..", "a b", "[::1"] {
            assert_eq!(Host::parse(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_default_port_goes_without_saying() {
        for (one, other, same) in
            [("a", "A:80", true), ("a:80", "a", true), ("a", "a:81", false), ("a", "b", false), ("a:81", "a:81", true)]
        {
            let (one, other) = (Authority::parse(one).unwrap(), Authority::parse(other).unwrap());
            assert_eq!(one.is_same(&other, 80), same, "{one:?} {other:?}");
        }
    }
}
