//! What an access rule does, and to whom.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::word::words;
use crate::{Asn, CountryCode, Prefix};

words!(
    /// What a rule does with the sources it matches. The challenges differ in the page that a browser gets.
    AccessMode {
        Whitelist = "whitelist",
        Block = "block",
        Challenge = "challenge",
        JsChallenge = "js_challenge",
        ManagedChallenge = "managed_challenge",
    }
);

/// Which sources a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccessTarget {
    Ip(IpAddr),
    Range(Prefix),
    Asn(Asn),
    /// [`CountryCode::UNKNOWN`] matches sources whose country is not known.
    Country(CountryCode),
}

/// The text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address, a prefix such as 192.0.2.0/24, a network such as AS64496, or a country such as DE")]
pub struct AccessTargetError;

/// Numbers that no network has: 0 (RFC 7607), and the last of two and of four octets (RFC 7300).
const RESERVED_NETWORKS: [Asn; 3] = [Asn(0), Asn(65_535), Asn(u32::MAX)];

impl AccessTarget {
    /// Whether no packet can come from there: a rule for it matches nobody, whatever its author thinks.
    pub fn is_nobody(&self) -> bool {
        match self {
            AccessTarget::Ip(address) => is_no_source(*address),
            // All of multicast is one prefix of each family, so a range is in it if its first address is, and it is as long.
            AccessTarget::Range(range) => {
                let (first, width) = (range.network(), if range.is_ipv4() { 32 } else { 128 });
                let multicast_bits = if range.is_ipv4() { 4 } else { 8 };
                (first.is_multicast() && range.length() >= multicast_bits)
                    || (range.length() == width && is_no_source(first))
            }
            AccessTarget::Asn(asn) => RESERVED_NETWORKS.contains(asn),
            AccessTarget::Country(code) => !code.is_in_use(),
        }
    }
}

/// Unspecified, multicast and broadcast addresses are never sources (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2 and §2.7).
fn is_no_source(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

impl fmt::Display for AccessTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccessTarget::Ip(address) => address.fmt(f),
            AccessTarget::Range(prefix) => prefix.fmt(f),
            AccessTarget::Asn(asn) => asn.fmt(f),
            AccessTarget::Country(code) => code.fmt(f),
        }
    }
}

impl FromStr for AccessTarget {
    type Err = AccessTargetError;

    /// As people write them; the form says which kind it is. A bare number is no network: `AS` tells it apart.
    fn from_str(text: &str) -> Result<AccessTarget, AccessTargetError> {
        if text.contains('/') {
            return text.parse().map(AccessTarget::Range).map_err(|_| AccessTargetError);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(AccessTarget::Ip(address.to_canonical()));
        }
        if let Ok(code) = text.parse() {
            return Ok(AccessTarget::Country(code));
        }
        let named = text.get(..2).is_some_and(|letters| letters.eq_ignore_ascii_case("AS"));
        text.parse().ok().filter(|_| named).map(AccessTarget::Asn).ok_or(AccessTargetError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_what_they_write() {
        for (text, expect) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("2001:DB8::1", Some("2001:db8::1")),
            ("192.0.2.1/24", Some("192.0.2.0/24")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("as64496", Some("AS64496")),
            ("de", Some("DE")),
            // American Samoa, not a network without a number.
            ("AS", Some("AS")),
            ("T1", Some("T1")),
            ("64496", None),
            ("192.0.2", None),
            ("192.0.2.0/33", None),
            ("AS-1", None),
            ("Germany", None),
            ("", None),
        ] {
            let target = text.parse::<AccessTarget>().ok().map(|target| target.to_string());
            assert_eq!(target.as_deref(), expect, "{text}");
            assert_eq!(expect.is_some(), expect.is_some_and(|text| text.parse::<AccessTarget>().is_ok()), "{text}");
        }
    }

    #[test]
    fn targets_that_nobody_is() {
        for (text, expect) in [
            ("192.0.2.1", false),
            ("0.0.0.0", true),
            ("::", true),
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("ff02::1", true),
            ("0.0.0.0/0", false),
            ("::/0", false),
            ("0.0.0.0/8", false),
            ("0.0.0.0/32", true),
            ("::/128", true),
            ("224.0.0.0/3", false),
            ("224.0.0.0/4", true),
            ("239.1.0.0/16", true),
            ("ff00::/7", false),
            ("ff00::/8", true),
            ("AS64496", false),
            ("AS0", true),
            ("AS65535", true),
            ("AS4294967295", true),
            ("DE", false),
            ("XX", false),
            ("UK", true),
        ] {
            assert_eq!(text.parse::<AccessTarget>().unwrap().is_nobody(), expect, "{text}");
        }
    }
}
