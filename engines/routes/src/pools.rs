//! The addresses that a PoP has for applications, numbered: an application owns a slot, and a slot has the same number
//! everywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_names::{Families, Prefix};

/// The longest IPv6 prefix whose addresses have room for a whole IPv4 address behind it.
const CARRIES_IPV4_MAX: u8 = 96;

/// A PoP's prefixes. Those of one family are numbered through in the order they are given.
///
/// Slot `n` has the `n`th IPv4 address, and of the first IPv6 prefix the address with that IPv4 address in its low 32
/// bits; without an IPv4 pool, or where it has no room, the `n`th IPv6 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    v4: Vec<Prefix>,
    v6: Vec<Prefix>,
}

impl Pools {
    pub fn new(prefixes: impl IntoIterator<Item = Prefix>) -> Pools {
        let (v4, v6) = prefixes.into_iter().partition(Prefix::is_ipv4);
        Pools { v4, v6 }
    }

    pub fn prefixes(&self) -> impl Iterator<Item = &Prefix> {
        self.v4.iter().chain(&self.v6)
    }

    /// Whether the pool has addresses of these families: of both for all of them.
    pub fn offers(&self, families: Families) -> bool {
        let (v4, v6) = (!self.v4.is_empty(), !self.v6.is_empty());
        match families {
            Families::All => v4 && v6,
            Families::Ipv4 => v4,
            Families::Ipv6 => v6,
        }
    }

    /// How many slots have an address in every family that the pool offers. Slots below it can be given away.
    pub fn slots(&self) -> u32 {
        let count = |prefixes: &[Prefix]| prefixes.iter().map(size).fold(0, u128::saturating_add);
        let families = [&self.v4, &self.v6].into_iter().filter(|prefixes| !prefixes.is_empty());
        let least = families.map(|prefixes| count(prefixes)).min().unwrap_or(0);
        u32::try_from(least).unwrap_or(u32::MAX)
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.prefixes().any(|prefix| prefix.contains(address))
    }

    pub fn ipv4(&self, slot: u32) -> Option<Ipv4Addr> {
        match nth(&self.v4, slot.into())? {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    pub fn ipv6(&self, slot: u32) -> Option<Ipv6Addr> {
        let number = match (self.v6.first(), self.ipv4(slot)) {
            (Some(first), Some(v4)) if first.length() <= CARRIES_IPV4_MAX => v4.to_bits(),
            _ => slot,
        };
        match nth(&self.v6, number.into())? {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }

    /// The addresses of a slot, IPv4 first.
    pub fn addresses(&self, slot: u32, families: Families) -> impl Iterator<Item = IpAddr> {
        let both = [self.ipv4(slot).map(IpAddr::V4), self.ipv6(slot).map(IpAddr::V6)];
        both.into_iter().flatten().filter(move |address| families.include(*address))
    }

    /// The slot that an address belongs to.
    // Hot: once a connection or flow. No allocation.
    pub fn slot(&self, address: IpAddr) -> Option<u32> {
        let slot = match (address, self.v6.first()) {
            (IpAddr::V6(v6), Some(first))
                if !self.v4.is_empty() && first.length() <= CARRIES_IPV4_MAX && first.contains(address) =>
            {
                // The low 32 bits.
                number(&self.v4, IpAddr::V4(Ipv4Addr::from_bits(v6.to_bits() as u32)))
            }
            (IpAddr::V6(_), _) => number(&self.v6, address),
            (IpAddr::V4(_), _) => number(&self.v4, address),
        };
        let slot = u32::try_from(slot?).ok()?;
        // Several addresses lead to one slot where prefixes overlap; only those that we announce count.
        self.addresses(slot, Families::All).any(|announced| announced == address).then_some(slot)
    }
}

/// How many addresses a prefix has; one less for all of IPv6, which nobody will miss.
fn size(prefix: &Prefix) -> u128 {
    let width = if prefix.is_ipv4() { 32 } else { 128 };
    1_u128.checked_shl(width - u32::from(prefix.length())).unwrap_or(u128::MAX)
}

fn nth(prefixes: &[Prefix], mut number: u128) -> Option<IpAddr> {
    for prefix in prefixes {
        match number.checked_sub(size(prefix)) {
            None => return prefix.nth(number),
            Some(rest) => number = rest,
        }
    }
    None
}

/// Turns [`nth`] around.
fn number(prefixes: &[Prefix], address: IpAddr) -> Option<u128> {
    let mut before: u128 = 0;
    for prefix in prefixes {
        if prefix.contains(address) {
            let offset = match (address, prefix.network()) {
                (IpAddr::V4(address), IpAddr::V4(network)) => u128::from(address.to_bits() - network.to_bits()),
                (IpAddr::V6(address), IpAddr::V6(network)) => address.to_bits() - network.to_bits(),
                _ => return None,
            };
            return before.checked_add(offset);
        }
        before = before.saturating_add(size(prefix));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(text: &str) -> Pools {
        Pools::new(text.split_whitespace().map(|prefix| prefix.parse().unwrap()))
    }

    #[test]
    fn slots_and_their_addresses() {
        for (of, slot, families, expect) in [
            ("127.77.0.0/16", 0, Families::All, "127.77.0.0"),
            ("127.77.0.0/16", 258, Families::All, "127.77.1.2"),
            ("127.77.0.0/16", 1, Families::Ipv6, ""),
            ("127.77.0.0/16", 65_536, Families::All, ""),
            ("192.0.2.0/24 2001:db8:77::/48", 5, Families::All, "192.0.2.5 2001:db8:77::c000:205"),
            ("2001:db8:77::/96 192.0.2.0/24", 5, Families::Ipv6, "2001:db8:77::c000:205"),
            ("192.0.2.0/24 2001:db8:77::/48", 5, Families::Ipv4, "192.0.2.5"),
            // No room for an IPv4 address.
            ("192.0.2.0/24 2001:db8:77::/112", 5, Families::All, "192.0.2.5 2001:db8:77::5"),
            ("2001:db8:77::/48", 65_536, Families::All, "2001:db8:77::1:0"),
            // Numbered through.
            ("192.0.2.0/30 198.51.100.0/24", 3, Families::All, "192.0.2.3"),
            ("192.0.2.0/30 198.51.100.0/24", 4, Families::All, "198.51.100.0"),
            ("192.0.2.0/30 198.51.100.0/24 2001:db8::/64", 5, Families::All, "198.51.100.1 2001:db8::c633:6401"),
            ("", 0, Families::All, ""),
        ] {
            let pools = pools(of);
            let addresses: Vec<IpAddr> = pools.addresses(slot, families).collect();
            let text: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            assert_eq!(text.join(" "), expect, "slot {slot} of {of}");
            for address in addresses {
                assert_eq!(pools.slot(address), Some(slot), "{address} of {of}");
                assert!(pools.contains(address));
            }
        }
    }

    #[test]
    fn addresses_without_a_slot() {
        for (of, address) in [
            ("127.77.0.0/16", "127.78.0.0"),
            ("127.77.0.0/16", "::1"),
            ("192.0.2.0/24 2001:db8:77::/48", "2001:db8:77::5"),
            // Carries an IPv4 address of the pool, but more besides.
            ("192.0.2.0/24 2001:db8:77::/48", "2001:db8:77:1::c000:205"),
            ("192.0.2.0/24 2001:db8:77::/112", "2001:db8:77::c000:205"),
        ] {
            assert_eq!(pools(of).slot(address.parse().unwrap()), None, "{address} of {of}");
        }
    }

    #[test]
    fn sizes() {
        for (of, slots, all, v4, v6) in [
            ("", 0, false, false, false),
            ("127.77.0.0/16", 65_536, false, true, false),
            ("192.0.2.0/24 198.51.100.0/31 2001:db8::/48", 258, true, true, true),
            ("192.0.2.0/24 2001:db8::/126", 4, true, true, true),
            ("::/0", u32::MAX, false, false, true),
        ] {
            let pools = pools(of);
            let offered = [Families::All, Families::Ipv4, Families::Ipv6].map(|families| pools.offers(families));
            assert_eq!((pools.slots(), offered), (slots, [all, v4, v6]), "{of}");
        }
    }
}
