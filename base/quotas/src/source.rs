//! What a source is counted by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, or a network of IPv6: the first 64 bits (one link), or the first 48 (one site, RFC 6177 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKey {
    V4(u32),
    V6(u64),
    Site(u64),
}

impl SourceKey {
    /// The widest network that one source may have: whoever has a site has 65,536 links.
    pub fn widest(address: IpAddr) -> SourceKey {
        SourceKey::from(address).site().unwrap_or(SourceKey::from(address))
    }

    /// An address that is of this source.
    pub fn address(self) -> IpAddr {
        let bits = |high: u64| Ipv6Addr::from_bits(u128::from(high) << 64).into();
        match self {
            SourceKey::V4(address) => Ipv4Addr::from_bits(address).into(),
            SourceKey::V6(link) => bits(link),
            SourceKey::Site(site) => bits(site << 16),
        }
    }

    /// The site that a link is in.
    pub(crate) fn site(self) -> Option<SourceKey> {
        match self {
            SourceKey::V6(link) => Some(SourceKey::Site(link >> 16)),
            SourceKey::V4(_) | SourceKey::Site(_) => None,
        }
    }
}

impl From<IpAddr> for SourceKey {
    fn from(address: IpAddr) -> SourceKey {
        match address.to_canonical() {
            IpAddr::V4(address) => SourceKey::V4(address.to_bits()),
            IpAddr::V6(address) => SourceKey::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_addresses_or_networks() {
        for (one, other, same, same_site) in [
            ("192.0.2.1", "192.0.2.1", true, true),
            ("192.0.2.1", "192.0.2.2", false, false),
            ("192.0.2.1", "::ffff:192.0.2.1", true, true),
            ("2001:db8::1", "2001:db8::ffff:1", true, true),
            ("2001:db8::1", "2001:db8:0:1::1", false, true),
            ("2001:db8::1", "2001:db8:1::1", false, false),
            ("0.0.0.1", "::1", false, false),
        ] {
            let [one, other] = [one, other].map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(SourceKey::from(one) == SourceKey::from(other), same, "{one} {other}");
            assert_eq!(SourceKey::widest(one) == SourceKey::widest(other), same_site, "{one} {other}");
            for key in [SourceKey::from(one), SourceKey::widest(one)] {
                assert!(key == SourceKey::from(key.address()) || key == SourceKey::widest(key.address()), "{one}");
            }
        }
    }
}
