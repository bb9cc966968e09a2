//! What the kernel does with each address and port: claims turned into entries for longest-prefix tables.
//!
//! The kernel looks at the longest prefix that holds an address and at no other, so each entry here says everything
//! about its addresses: what is claimed for a wider prefix is repeated in it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use bartizan_names::{Prefix, Protocol};

/// Prefixes and single addresses of one family: one address for each application, and as many applications as one place
/// has ports. As in `ebpf/sk_lookup.c`.
pub const ADDRESSES_MAX: usize = 65_536;

/// Port prefixes over all addresses: a range takes 30 at worst, all ports one. As in `ebpf/sk_lookup.c`.
pub const PORTS_MAX: usize = 1_048_576;

/// Addresses and ports that our sockets serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub addresses: Prefix,
    pub protocol: Protocol,
    pub ports: RangeInclusive<u16>,
}

/// More was claimed than the kernel's tables hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("{count} addresses of one family, of at most {ADDRESSES_MAX}")]
    Addresses { count: usize },
    #[error("{count} prefixes of ports, of at most {PORTS_MAX}")]
    Ports { count: usize },
}

/// What is done with a packet. The numbers are those of `ebpf/sk_lookup.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The kernel looks for a listener as usual.
    Leave = 0,
    /// It is refused, even if a service listens on all addresses of this machine.
    Refuse = 1,
    /// One of our sockets gets it.
    Steer = 2,
}

/// Ports of a protocol whose first bits are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortPrefix {
    pub(crate) protocol: Protocol,
    pub(crate) first: u16,
    /// Bits that are the same: 0 (all ports) to 16 (one).
    pub(crate) length: u8,
}

/// What an address has: longest prefix first, then `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) ports: BTreeMap<PortPrefix, Verdict>,
    pub(crate) otherwise: Verdict,
}

pub(crate) type Table = BTreeMap<Prefix, Ports>;

/// Puts claims, pools and what must be left alone together.
///
/// Addresses of a pool are ours alone: ports that are not claimed there are refused. On all other addresses they are
/// left to other programs, and so is `skip` in any case: the sockets of this machine's own services. A service on all
/// addresses (`0.0.0.0:22`, `[::]:22`) has its port on all addresses that are in no pool.
pub(crate) fn compile(pools: &[Prefix], skip: &[SocketAddr], claims: &[Claim]) -> Result<Table, TableError> {
    let mut table: Table = BTreeMap::new();
    let mut wide = Vec::new();
    for prefix in pools.iter().chain(claims.iter().map(|claim| &claim.addresses)) {
        table.entry(*prefix).or_insert_with(|| unclaimed(pools, prefix));
    }
    for claim in claims {
        if let Some(ports) = table.get_mut(&claim.addresses) {
            ports.claim(claim);
        }
        if claim.addresses != Prefix::host(claim.addresses.network()) {
            wide.push(claim);
        }
    }
    for service in skip.iter().filter(|service| !service.ip().is_unspecified()) {
        let host = Prefix::host(service.ip());
        if table.keys().any(|prefix| prefix.covers(&host)) {
            table.entry(host).or_insert_with(|| unclaimed(pools, &host));
        }
    }
    for (prefix, ports) in &mut table {
        for claim in wide.iter().filter(|claim| claim.addresses != *prefix && claim.addresses.covers(prefix)) {
            ports.claim(claim);
        }
        let otherwise = ports.otherwise;
        for service in skip.iter().filter(|service| holds(service.ip(), prefix, otherwise)) {
            ports.leave(service.port());
        }
    }
    within_limits(table)
}

fn unclaimed(pools: &[Prefix], prefix: &Prefix) -> Ports {
    let otherwise = if pools.iter().any(|pool| pool.covers(prefix)) { Verdict::Refuse } else { Verdict::Leave };
    Ports { ports: BTreeMap::new(), otherwise }
}

/// Whether a service that is bound to `service` is on the addresses of `prefix`.
fn holds(service: IpAddr, prefix: &Prefix, otherwise: Verdict) -> bool {
    // Of either family for both: a socket on `::` takes IPv4 too unless it says that it does not.
    if service.is_unspecified() { otherwise == Verdict::Leave } else { Prefix::host(service) == *prefix }
}

impl Ports {
    fn claim(&mut self, claim: &Claim) {
        for prefix in cover(claim.protocol, &claim.ports) {
            self.ports.insert(prefix, Verdict::Steer);
        }
    }

    /// One port is the longest prefix that there is, so this beats every range around it.
    fn leave(&mut self, port: u16) {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            self.ports.insert(PortPrefix { protocol, first: port, length: 16 }, Verdict::Leave);
        }
    }
}

fn within_limits(table: Table) -> Result<Table, TableError> {
    let four = table.keys().filter(|prefix| prefix.is_ipv4()).count();
    let count = four.max(table.len() - four);
    if count > ADDRESSES_MAX {
        return Err(TableError::Addresses { count });
    }
    let count = table.values().map(|ports| ports.ports.len()).sum();
    if count > PORTS_MAX {
        return Err(TableError::Ports { count });
    }
    Ok(table)
}

/// The fewest prefixes that hold the ports of a range and no others.
fn cover(protocol: Protocol, ports: &RangeInclusive<u16>) -> Vec<PortPrefix> {
    let mut prefixes = Vec::new();
    let (mut first, end) = (u32::from(*ports.start()), u32::from(*ports.end()) + 1);
    while first < end {
        // As large as it may be where it begins, and as what is left allows.
        let aligned = if first == 0 { 16 } else { first.trailing_zeros() };
        let bits = aligned.min((end - first).ilog2());
        prefixes.push(PortPrefix { protocol, first: first as u16, length: 16 - bits as u8 });
        first += 1 << bits;
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// `192.0.2.1/32 tcp 80-443`
    fn claim(text: &str) -> Claim {
        let [addresses, protocol, ports] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        Claim {
            addresses: addresses.parse().unwrap(),
            protocol: protocol.parse().unwrap(),
            ports: first.parse().unwrap()..=last.parse().unwrap(),
        }
    }

    /// What the kernel would do: the longest prefix of the address, then of the port.
    fn verdict(table: &Table, protocol: Protocol, to: SocketAddr) -> Verdict {
        let Some((_, ports)) =
            table.iter().filter(|(prefix, _)| prefix.contains(to.ip())).max_by_key(|(prefix, _)| prefix.length())
        else {
            return Verdict::Leave;
        };
        let same = |prefix: &PortPrefix| {
            let shift = 16 - u32::from(prefix.length);
            prefix.protocol == protocol && u32::from(prefix.first) >> shift == u32::from(to.port()) >> shift
        };
        let found = ports.ports.iter().filter(|(prefix, _)| same(prefix)).max_by_key(|(prefix, _)| prefix.length);
        found.map_or(ports.otherwise, |(_, verdict)| *verdict)
    }

    #[test]
    fn ranges_as_prefixes() {
        for (ports, count) in [
            (0..=65_535, 1),
            (1..=65_535, 16),
            (1..=65_534, 30),
            (22..=22, 1),
            (1_000..=2_000, 8),
            (65_535..=65_535, 1),
            (0..=0, 1),
        ] {
            let prefixes = cover(Protocol::Tcp, &ports);
            assert_eq!(prefixes.len(), count, "{ports:?}");
            let mut held: Vec<u32> = Vec::new();
            for prefix in prefixes {
                let first = u32::from(prefix.first);
                held.extend(first..first + (1 << (16 - prefix.length)));
            }
            assert_eq!(held, (u32::from(*ports.start())..=u32::from(*ports.end())).collect::<Vec<_>>());
        }
        #[allow(clippy::reversed_empty_ranges)]
        let empty = 5..=4;
        assert_eq!(cover(Protocol::Tcp, &empty), []);
    }

    #[test]
    fn who_gets_a_packet() {
        use Verdict::{Leave, Refuse, Steer};
        let pools = prefixes(&["127.77.0.0/16", "2001:db8:77::/48"]);
        let skip: Vec<SocketAddr> = ["198.51.100.1:8787", "0.0.0.0:22", "[2001:db8:1::1]:53", "127.77.9.9:25"]
            .map(|s| s.parse().unwrap())
            .into();
        let claims = [
            "127.77.0.1/32 tcp 22",
            "127.77.0.2/32 tcp 1-65535",
            "127.77.0.2/32 udp 53",
            "127.77.9.0/24 tcp 20-30",
            "127.77.9.7/32 udp 7",
            "2001:db8:77::5/128 udp 1000-2000",
            "198.51.100.1/32 tcp 1-65535",
            "2001:db8:1::/48 udp 1-65535",
        ]
        .map(claim);
        let table = compile(&pools, &skip, &claims).unwrap();
        for (packet, expect) in [
            ("tcp 127.77.0.1:22", Steer),
            // Others of a pool's address are refused, whoever listens on all addresses.
            ("tcp 127.77.0.1:23", Refuse),
            ("udp 127.77.0.1:22", Refuse),
            ("tcp 127.77.200.1:22", Refuse),
            ("tcp 127.77.0.2:22", Steer),
            ("tcp 127.77.0.2:65535", Steer),
            ("tcp 127.77.0.2:0", Refuse),
            ("udp 127.77.0.2:53", Steer),
            // What is claimed for a prefix holds for an address in it that has claims of its own.
            ("tcp 127.77.9.7:25", Steer),
            ("udp 127.77.9.7:7", Steer),
            ("udp 127.77.9.8:7", Refuse),
            // A service of this machine that stands in a pool by its own address keeps its port.
            ("tcp 127.77.9.9:25", Leave),
            ("tcp 127.77.9.9:26", Steer),
            ("udp [2001:db8:77::5]:1500", Steer),
            ("udp [2001:db8:77::5]:2001", Refuse),
            ("tcp [2001:db8:77::5]:1500", Refuse),
            // This machine's own addresses: all but its services.
            ("tcp 198.51.100.1:8787", Leave),
            ("tcp 198.51.100.1:22", Leave),
            ("tcp 198.51.100.1:8788", Steer),
            ("udp 198.51.100.1:8788", Leave),
            ("udp [2001:db8:1::1]:53", Leave),
            ("udp [2001:db8:1::1]:54", Steer),
            ("udp [2001:db8:1::2]:53", Steer),
            ("udp [2001:db8:1::2]:22", Leave),
            ("tcp 192.0.2.1:22", Leave),
        ] {
            let (protocol, to) = packet.split_once(' ').unwrap();
            assert_eq!(verdict(&table, protocol.parse().unwrap(), to.parse().unwrap()), expect, "{packet}");
        }
    }

    #[test]
    fn no_more_than_the_kernel_holds() {
        let claim_at = |number: u32, ports| Claim {
            addresses: Prefix::host(IpAddr::from((number + (10 << 24)).to_be_bytes())),
            protocol: Protocol::Tcp,
            ports,
        };
        let all: Vec<Claim> = (0..=ADDRESSES_MAX as u32).map(|number| claim_at(number, 80..=80)).collect();
        assert_eq!(compile(&[], &[], &all[1..]).map(|table| table.len()), Ok(ADDRESSES_MAX));
        assert_eq!(compile(&[], &[], &all), Err(TableError::Addresses { count: ADDRESSES_MAX + 1 }));
        let many: Vec<Claim> = (0..PORTS_MAX as u32 / 30 + 1).map(|number| claim_at(number, 1..=65_534)).collect();
        assert_eq!(compile(&[], &[], &many), Err(TableError::Ports { count: many.len() * 30 }));
    }
}
