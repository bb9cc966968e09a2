//! What an access rule does, and to whom.

use std::fmt;
use std::net::IpAddr;
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
}
