//! Address prefixes: all addresses whose first bits are the same (RFC 4632 §3.1, RFC 4291 §2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text or a pair is not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    #[error("not an address and a length, such as 192.0.2.0/24")]
    Form,
    #[error("longer than the address")]
    TooLong,
}

/// A prefix with all bits after its length zero, and IPv4 always as IPv4.
///
/// IPv4 addresses that came through an IPv6 socket (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2) are the IPv4 addresses that
/// they are, here and in what is asked for: one address has one form, so nobody gets past a rule in the other one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    network: IpAddr,
    length: u8,
}

/// The bits of `::ffff:0:0/96` in front of an IPv4 address.
const MAPPED_BITS: u8 = 96;

impl Prefix {
    /// The prefix of this length that holds `address`.
    pub const fn new(address: IpAddr, length: u8) -> Result<Prefix, PrefixError> {
        let (address, length) = match address {
            IpAddr::V6(six) if length >= MAPPED_BITS => match six.to_ipv4_mapped() {
                Some(four) => (IpAddr::V4(four), length - MAPPED_BITS),
                None => (address, length),
            },
            _ => (address, length),
        };
        if length > width(address) {
            return Err(PrefixError::TooLong);
        }
        Ok(Prefix { network: cut(address, length), length })
    }

    /// The prefix that holds this address only.
    pub const fn host(address: IpAddr) -> Prefix {
        let address = address.to_canonical();
        Prefix { network: address, length: width(address) }
    }

    /// The first address.
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// Bits that are the same in all addresses: 0 to 32, or 0 to 128.
    pub const fn length(&self) -> u8 {
        self.length
    }

    pub const fn is_ipv4(&self) -> bool {
        self.network.is_ipv4()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.is_ipv4() && cut(address, self.length) == self.network
    }

    /// Whether all addresses of `other` are in this one.
    pub fn covers(&self, other: &Prefix) -> bool {
        self.length <= other.length && self.contains(other.network)
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Prefix) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The address that many after the first, if it is in the prefix.
    pub fn nth(&self, number: u128) -> Option<IpAddr> {
        let address = match self.network {
            IpAddr::V4(four) => {
                let bits = u32::from(four).checked_add(u32::try_from(number).ok()?)?;
                IpAddr::V4(Ipv4Addr::from(bits))
            }
            IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from(u128::from(six).checked_add(number)?)),
        };
        (cut(address, self.length) == self.network).then_some(address)
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with the bits after `length` set to zero. `length` is at most the width of the address.
const fn cut(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => IpAddr::V4(Ipv4Addr::from_bits(four.to_bits() & !low_bits(32 - length) as u32)),
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !low_bits(128 - length))),
    }
}

/// That many ones at the low end.
const fn low_bits(count: u8) -> u128 {
    match count {
        0 => 0,
        count => u128::MAX >> (128 - count),
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Prefix {
        Prefix::host(address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `192.0.2.0/24` or `2001:db8::/32`. Bits after the length are dropped.
    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let (address, length) = text.split_once('/').ok_or(PrefixError::Form)?;
        let address = address.parse().map_err(|_| PrefixError::Form)?;
        // The library would take a sign and leading zeros too.
        let canonical = !length.starts_with('0') || length == "0";
        if !canonical || !length.bytes().all(|byte| byte.is_ascii_digit()) || length.is_empty() {
            return Err(PrefixError::Form);
        }
        Prefix::new(address, length.parse().map_err(|_| PrefixError::TooLong)?)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Prefix, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_read_what_they_write() {
        for (text, expect) in [
            ("192.0.2.0/24", Ok("192.0.2.0/24")),
            ("192.0.2.77/24", Ok("192.0.2.0/24")),
            ("192.0.2.77/32", Ok("192.0.2.77/32")),
            ("192.0.2.77/0", Ok("0.0.0.0/0")),
            ("2001:DB8:0::1/32", Ok("2001:db8::/32")),
            ("2001:db8::1/128", Ok("2001:db8::1/128")),
            ("ffff::/0", Ok("::/0")),
            ("::ffff:192.0.2.77/120", Ok("192.0.2.0/24")),
            ("::ffff:0:0/96", Ok("0.0.0.0/0")),
            // Wider than all of IPv4: stays IPv6.
            ("::ffff:0:0/95", Ok("::fffe:0:0/95")),
            ("192.0.2.0/33", Err(PrefixError::TooLong)),
            ("2001:db8::/129", Err(PrefixError::TooLong)),
            ("2001:db8::/256", Err(PrefixError::TooLong)),
            ("::ffff:0:0/129", Err(PrefixError::TooLong)),
            ("192.0.2.0", Err(PrefixError::Form)),
            ("192.0.2.0/", Err(PrefixError::Form)),
            ("192.0.2.0/+24", Err(PrefixError::Form)),
            ("192.0.2.0/024", Err(PrefixError::Form)),
            ("192.0.2.0/24/24", Err(PrefixError::Form)),
            ("192.0.2/24", Err(PrefixError::Form)),
            ("192.0.02.0/24", Err(PrefixError::Form)),
            ("fe80::1%eth0/64", Err(PrefixError::Form)),
            (" 192.0.2.0/24", Err(PrefixError::Form)),
            ("/24", Err(PrefixError::Form)),
            ("", Err(PrefixError::Form)),
        ] {
            let parsed = text.parse::<Prefix>().map(|prefix| prefix.to_string());
            assert_eq!(parsed.as_deref(), expect.as_ref().copied(), "{text}");
        }
        assert_eq!(Prefix::host("::ffff:192.0.2.1".parse().unwrap()), prefix("192.0.2.1/32"));
    }

    #[test]
    fn membership() {
        for (of, address, expect) in [
            ("192.0.2.0/24", "192.0.2.0", true),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "203.0.113.1", false),
            ("::/0", "::ffff:203.0.113.1", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("2001:db8::1/128", "2001:db8::1", true),
        ] {
            assert_eq!(prefix(of).contains(address.parse().unwrap()), expect, "{address} in {of}");
        }
    }

    #[test]
    fn overlaps() {
        for (one, other, covers, overlaps) in [
            ("192.0.2.0/24", "192.0.2.128/25", true, true),
            ("192.0.2.128/25", "192.0.2.0/24", false, true),
            ("192.0.2.0/24", "192.0.2.0/24", true, true),
            ("192.0.2.0/25", "192.0.2.128/25", false, false),
            ("0.0.0.0/0", "::/0", false, false),
        ] {
            let (one, other) = (prefix(one), prefix(other));
            assert_eq!((one.covers(&other), one.overlaps(&other)), (covers, overlaps), "{one} {other}");
        }
    }

    #[test]
    fn addresses_by_number() {
        for (of, number, expect) in [
            ("127.77.0.0/16", 0, Some("127.77.0.0")),
            ("127.77.0.0/16", 65_535, Some("127.77.255.255")),
            ("127.77.0.0/16", 65_536, None),
            ("255.255.255.254/31", 2, None),
            ("0.0.0.0/0", 1 << 32, None),
            ("2001:db8::/64", 1, Some("2001:db8::1")),
            ("2001:db8::/64", 1 << 64, None),
            ("ffff::/16", u128::MAX, None),
        ] {
            assert_eq!(prefix(of).nth(number), expect.map(|text| text.parse().unwrap()), "{number} of {of}");
        }
    }
}
