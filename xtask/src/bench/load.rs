//! The zone of the benchmarks: its names and addresses, the same as in the crate `bench`, whose load generator asks for
//! them.

use std::net::Ipv4Addr;

use super::ZONE;

/// The owner name number `number`; the load generator asks for exactly these.
pub(super) fn owner(number: usize) -> String {
    format!("n{number}.{ZONE}")
}

/// An address of its own for each name.
pub(super) fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 | u32::try_from(number).unwrap_or(u32::MAX) & 0x00ff_ffff)
}

/// The zone as a file, for the peers.
pub(super) fn zone_file(names: usize) -> String {
    let mut text = format!(
        "$ORIGIN {ZONE}.\n$TTL 300\n@ SOA ns1 hostmaster 1 10000 2400 604800 1800\n@ NS ns1\nns1 A 192.0.2.53\n"
    );
    for number in 0..names {
        text.push_str(&format!("{}. A {}\n", owner(number), address(number)));
    }
    text
}

/// A query for the A record of `name`, without EDNS.
pub(super) fn question(id: u16, name: &str) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).unwrap_or(0));
        packet.extend(label.bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_address() {
        let zone = zone_file(300);
        assert!(zone.contains("\nn0.bench.example. A 10.0.0.0\n"), "{zone}");
        assert!(zone.contains("\nn299.bench.example. A 10.0.1.43\n"), "{zone}");
    }

    #[test]
    fn questions() {
        let packet = question(0x0102, "a.bc");
        assert_eq!(packet, [1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1]);
    }
}
