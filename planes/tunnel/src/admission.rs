//! Which connectors are admitted: limits for sources that are not known yet, and the check of credentials.

use std::net::IpAddr;
use std::time::Instant;

use bartizan_names::AccountId;
use bartizan_quotas::{Over, Quotas, SourceKey, SourcePermit};
use bartizan_routes::{Tunnel, Tunnels};
use bartizan_rpc::{Refused, Registration};
use bartizan_seal::{equal, sha256};

use crate::limits::{COUNTED_MAX, SOURCE};

/// Counts what each source has: an IPv4 address, or an IPv6 network of 64 or 48 bits.
pub(crate) struct Sources {
    proven: Quotas<SourceKey>,
    unproven: Quotas<SourceKey>,
}

/// Whether a source has proven that it receives at its address (RFC 9000 §8.1.2). Both are counted apart: with a forged
/// address one could otherwise use up the allowance of another source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Proven,
    Unproven,
}

impl Sources {
    pub(crate) fn new(now: Instant) -> Sources {
        Sources { proven: Quotas::new(COUNTED_MAX, now), unproven: Quotas::new(COUNTED_MAX, now) }
    }

    /// Whether a source may open one more connection, when there are `free` places. The permit is for as long as it has
    /// not registered.
    pub(crate) fn admit(&self, source: IpAddr, address: Address, free: usize) -> Result<SourcePermit, Over> {
        let quotas = match address {
            Address::Proven => &self.proven,
            Address::Unproven => &self.unproven,
        };
        quotas.admit(source, SOURCE, free, Instant::now())
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
    fn a_source_has_no_more_than_it_leaves_to_others() {
        let sources = Sources::new(Instant::now());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut free = 200;
        let mut permits = Vec::new();
        let mut take_all = |source: &str, address| {
            let before = permits.len();
            while let Ok(permit) = sources.admit(ip(source), address, free) {
                permits.push(permit);
                free -= 1;
            }
            permits.len() - before
        };
        for (source, address, expect) in [
            ("192.0.2.1", Address::Proven, 100),
            ("192.0.2.1", Address::Proven, 0),
            ("192.0.2.2", Address::Proven, 50),
            // A forged address takes nothing from its owner.
            ("192.0.2.1", Address::Unproven, 25),
            ("2001:db8::1", Address::Proven, 13),
            ("2001:db8::2", Address::Proven, 0), // the same /64
        ] {
            assert_eq!(take_all(source, address), expect, "{source} {address:?}");
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
