//! IPv6 addresses that are IPv4 addresses in another dress: a packet to one may arrive at the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All that a packet to `address` may arrive at: itself, and the IPv4 addresses that it may be read as.
pub(crate) fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inner = match address {
        IpAddr::V4(_) => [None; READINGS_MAX],
        IpAddr::V6(address) => embedded(address),
    };
    std::iter::once(address).chain(inner.into_iter().flatten().map(IpAddr::V4))
}

/// Of an address behind a prefix whose length only its operator knows.
const READINGS_MAX: usize = 4;

fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; READINGS_MAX] {
    let bits = address.to_bits();
    let low = Ipv4Addr::from_bits(bits as u32);
    let one = |address| [Some(address), None, None, None];
    match address.segments() {
        // `::` and `::1` are what they are.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None; READINGS_MAX],
        // IPv4-compatible and IPv4-mapped (RFC 4291 §2.5.5), and the older IPv4-translated (RFC 2765 §2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => one(low),
        // NAT64 by the well-known prefix, which has 96 bits (RFC 6052 §2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => one(low),
        // By a prefix of its operator's out of 64:ff9b:1::/48 (RFC 8215).
        [0x64, 0xff9b, 1, ..] => behind_any_prefix(bits),
        // 6to4 (RFC 3056 §2): the address of the router behind which everything of the prefix is.
        [0x2002, ..] => one(Ipv4Addr::from_bits((bits >> 80) as u32)),
        // Teredo (RFC 4380 §4): the client's address with all bits turned.
        [0x2001, 0, ..] => one(Ipv4Addr::from_bits(!(bits as u32))),
        // ISATAP (RFC 5214 §6.1), with a private or a global address, behind any prefix.
        [.., 0 | 0x200, 0x5efe, _, _] => one(low),
        _ => [None; READINGS_MAX],
    }
}

/// Behind a prefix of 48, 56, 64 or 96 bits (RFC 6052 §2.2); the octet after the first 64 bits is left out. What reads as
/// 0.0.0.0/8, which is no address, is most likely the zeros of a longer prefix; it counts if nothing else is read.
fn behind_any_prefix(bits: u128) -> [Option<Ipv4Addr>; READINGS_MAX] {
    let without_octet = (bits >> 64 << 64) | ((bits << 72) >> 64);
    let at = |prefix: u32| Ipv4Addr::from_bits((without_octet >> (96 - prefix)) as u32);
    let readings = [at(48), at(56), at(64), Ipv4Addr::from_bits(bits as u32)];
    let is_an_address = |address: &Ipv4Addr| address.octets()[0] != 0;
    let any = readings.iter().any(is_an_address);
    readings.map(|address| Some(address).filter(|address| is_an_address(address) || !any))
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
            ("64:ff9b:2::10.0.0.1", "none"),
            // Those of RFC 6052 §2.4, behind prefixes of RFC 8215.
            ("64:ff9b:1:c000:2:2100::", "192.0.2.33 2.33.0.0"),
            ("64:ff9b:1:1c0:0:221::", "1.192.0.2 192.0.2.33"),
            ("64:ff9b:1:2:c0:2:2100::", "2.192.0.2 192.0.2.33 33.0.0.0"),
            ("64:ff9b:1::192.0.2.33", "192.0.2.33"),
            ("64:ff9b:1::", "0.0.0.0 0.0.0.0 0.0.0.0 0.0.0.0"),
            ("fe80::5efe:192.0.2.1", "192.0.2.1"),
            ("2001:db8::200:5efe:10.0.0.1", "10.0.0.1"),
            ("2001:db8::100:5efe:10.0.0.1", "none"),
            ("2002:7f00:1::9", "127.0.0.1"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
            ("2001:db8::127.0.0.1", "none"),
            ("fe80::1", "none"),
        ] {
            let found: Vec<_> =
                embedded(address.parse().unwrap()).into_iter().flatten().map(|address| address.to_string()).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(" ") };
            assert_eq!(found, expect, "{address}");
        }
    }
}
