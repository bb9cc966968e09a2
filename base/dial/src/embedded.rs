//! IPv6 addresses that are IPv4 addresses in another dress: a packet to one may arrive at the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All that a packet to `address` may arrive at: itself, and the IPv4 address in it if there is one.
pub(crate) fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inner = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => embedded(address).map(IpAddr::V4),
    };
    std::iter::once(address).chain(inner)
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let low = || Ipv4Addr::from_bits(bits as u32);
    match address.segments() {
        // `::` and `::1` are what they are.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // IPv4-compatible and IPv4-mapped (RFC 4291 §2.5.5), and the older IPv4-translated (RFC 2765 §2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(low()),
        // NAT64 by the well-known prefix (RFC 6052 §2.1), and by one of the local ones of 96 bits (RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => Some(low()),
        // 6to4 (RFC 3056 §2): the address of the router behind which everything of the prefix is.
        [0x2002, ..] => Some(Ipv4Addr::from_bits((bits >> 80) as u32)),
        // Teredo (RFC 4380 §4): the client's address with all bits turned.
        [0x2001, 0, ..] => Some(Ipv4Addr::from_bits(!(bits as u32))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_addresses() {
        for (address, expect) in [
            ("::", "none"),
            ("::1", "none"),
            ("::127.0.0.1", "127.0.0.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:0:192.0.2.1", "192.0.2.1"),
            ("64:ff9b::169.254.169.254", "169.254.169.254"),
            ("64:ff9b:1:2:3:4:10.0.0.1", "10.0.0.1"),
            ("64:ff9b:2::10.0.0.1", "none"),
            ("2002:7f00:1::9", "127.0.0.1"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
            ("2001:db8::127.0.0.1", "none"),
            ("fe80::1", "none"),
        ] {
            let found = embedded(address.parse().unwrap()).map_or("none".to_owned(), |address| address.to_string());
            assert_eq!(found, expect, "{address}");
        }
    }
}
