//! Which connectors are admitted: limits for sources that are not known yet, and the check of credentials.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use bartizan_names::AccountId;
use bartizan_routes::{Tunnel, Tunnels};
use bartizan_rpc::{Refused, Registration};
use bartizan_seal::{equal, sha256};

/// Connections that one source may open in [`WINDOW`]: a hundred connectors behind one address, each of which comes
/// back with its four connections at the same moment. The same number may come from a source whose address is not
/// proven; beyond it the source must prove it.
pub(crate) const SOURCE_CONNECTIONS_MAX: u32 = 512;
const WINDOW: Duration = Duration::from_secs(10);
/// Sources that are counted apart. If more are active, the others share one allowance.
const SOURCES_MAX: usize = 4096;

/// Counts the connections that each source opened in the last window. A source is an IPv4 address or an IPv6 /64.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    windows: HashMap<(Option<IpAddr>, Address), Window>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    opened: u32,
}

/// Whether a source has proven that it receives at its address (RFC 9000 §8.1.2). Both are counted apart: with a forged
/// address one could otherwise use up the allowance of another source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Proven,
    Unproven,
}

/// Whether a source may open one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    TooMany,
}

impl Sources {
    pub(crate) fn admit(&mut self, source: IpAddr, address: Address, now: Instant) -> Admission {
        let mut key = (Some(network_of(source)), address);
        if self.windows.len() >= SOURCES_MAX && !self.windows.contains_key(&key) {
            self.windows.retain(|_, window| window.ends > now);
            if self.windows.len() >= SOURCES_MAX {
                key.0 = None;
            }
        }
        let window = self.windows.entry(key).or_insert(Window { ends: now + WINDOW, opened: 0 });
        if window.ends <= now {
            *window = Window { ends: now + WINDOW, opened: 0 };
        }
        if window.opened >= SOURCE_CONNECTIONS_MAX {
            return Admission::TooMany;
        }
        window.opened += 1;
        Admission::Admitted
    }
}

fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Checks account, tunnel and secret. The cause does not say which of them was wrong. Its text must be `Unauthorized`:
/// stock connectors stop for good at any other.
pub(crate) fn authorize<'t>(registration: &Registration, tunnels: &'t Tunnels) -> Result<&'t Tunnel, Refused> {
    let tunnel = tunnels.get(&registration.tunnel);
    // An unknown tunnel costs the same as a wrong secret.
    let expected = tunnel.map_or([0; 32], |tunnel| tunnel.secret_sha256);
    let secret = equal(&sha256(&registration.secret), &expected);
    let account = registration.account.parse::<AccountId>().ok();
    match tunnel {
        Some(tunnel) if secret && account == Some(tunnel.account) => Ok(tunnel),
        _ => Err(Refused {
            cause: "Unauthorized: no tunnel has this account, id and secret".to_owned(),
            retry_after: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bartizan_names::{ConnectorId, TunnelId};
    use bartizan_rpc::ConnectorInfo;

    use super::*;

    #[test]
    fn a_source_may_open_so_many_connections_in_a_window() {
        let mut sources = Sources::default();
        let start = Instant::now();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..SOURCE_CONNECTIONS_MAX {
            assert_eq!(sources.admit(ip("2001:db8::1"), Address::Unproven, start), Admission::Admitted);
        }
        for (source, address, at, expect) in [
            ("2001:db8::2", Address::Unproven, start, Admission::TooMany), // the same /64
            ("2001:db8::2", Address::Proven, start, Admission::Admitted),
            ("2001:db8:0:1::1", Address::Unproven, start, Admission::Admitted),
            ("192.0.2.1", Address::Unproven, start, Admission::Admitted),
            ("2001:db8::1", Address::Unproven, start + WINDOW, Admission::Admitted),
        ] {
            assert_eq!(sources.admit(ip(source), address, at), expect, "{source} {address:?}");
        }
    }

    #[test]
    fn remembered_sources_are_bounded() {
        let mut sources = Sources::default();
        let start = Instant::now();
        for source in 0..SOURCES_MAX as u32 + 2 * SOURCE_CONNECTIONS_MAX {
            sources.admit(IpAddr::from(source.to_be_bytes()), Address::Proven, start);
        }
        assert_eq!(sources.windows.len(), SOURCES_MAX + 1);
        let one_more = IpAddr::from([250, 0, 0, 1]);
        for (at, expect) in [(start, Admission::TooMany), (start + WINDOW, Admission::Admitted)] {
            assert_eq!(sources.admit(one_more, Address::Proven, at), expect);
        }
    }

    #[test]
    fn credentials() {
        let (tunnel, other) = (TunnelId::from_random([1; 16]), TunnelId::from_random([2; 16]));
        let account = AccountId::from_bytes([3; 16]);
        let known = Tunnel { account, secret_sha256: sha256(b"secret"), remotely_managed: true, configuration: None };
        let tunnels = Tunnels::from_iter([(tunnel, Arc::new(known))]);
        let account = account.to_string();
        for (account, tunnel, secret, expect) in [
            (&*account, tunnel, "secret", true),
            (&*account, tunnel, "Secret", false),
            (&*account, tunnel, "", false),
            (&*account, other, "secret", false),
            ("00000000000000000000000000000000", tunnel, "secret", false),
            ("", tunnel, "secret", false),
        ] {
            let registration = Registration {
                account: account.to_owned(),
                secret: secret.as_bytes().to_vec(),
                tunnel,
                index: 0,
                connector: ConnectorInfo {
                    id: ConnectorId::from_random([4; 16]),
                    version: String::new(),
                    arch: String::new(),
                    features: Vec::new(),
                },
                local_ip: None,
                attempts: 0,
            };
            let answer = authorize(&registration, &tunnels);
            assert_eq!(answer.is_ok(), expect, "{account} {tunnel} {secret}");
            assert!(answer.err().is_none_or(|refused| refused.cause.starts_with("Unauthorized: ")));
        }
    }
}
