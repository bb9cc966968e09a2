//! The addresses of a name, and the order in which they are tried.

use std::net::{IpAddr, SocketAddr};

/// What was found for a name; nothing if there is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Addresses(Vec<IpAddr>),
    /// Hosts with ports of their own (RFC 2782).
    Services(Vec<Service>),
}

/// One SRV record and the addresses of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) addresses: Vec<IpAddr>,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Found::Addresses(addresses) => addresses.is_empty(),
            Found::Services(services) => services.is_empty(),
        }
    }

    /// Where to dial: groups, one after the other; the addresses of a group are of equal rank. `port` is for names
    /// without SRV records. `chance` gives a random number from 0 to its argument, all equally likely.
    pub(crate) fn groups(&self, port: u16, chance: impl FnMut(u32) -> u32) -> Vec<Vec<SocketAddr>> {
        let at = |addresses: &[IpAddr], port| addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        match self {
            Found::Addresses(addresses) => vec![at(addresses, port)],
            Found::Services(services) => {
                in_turn(services, chance).into_iter().map(|service| at(&service.addresses, service.port)).collect()
            }
        }
    }
}

/// The order of RFC 2782: by priority; among equals by chance, in proportion to their weights.
fn in_turn(services: &[Service], mut chance: impl FnMut(u32) -> u32) -> Vec<&Service> {
    let mut left: Vec<&Service> = services.iter().collect();
    // Weight 0 goes first, which leaves it a very small chance (RFC 2782, "Weight").
    left.sort_by_key(|service| (service.priority, service.weight > 0));
    let mut turns = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let equals = left.iter().take_while(|service| service.priority == first.priority);
        let sums = equals.scan(0, |sum, service| {
            *sum += u32::from(service.weight);
            Some(*sum)
        });
        let sums: Vec<u32> = sums.collect();
        let number = chance(sums.last().copied().unwrap_or_default());
        let chosen = sums.iter().position(|sum| *sum >= number).unwrap_or_default();
        turns.push(left.remove(chosen));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `priority weight port` each.
    fn services(text: &str) -> Vec<Service> {
        let one = |words: &str| {
            let numbers: Vec<u16> = words.split_whitespace().map(|word| word.parse().unwrap()).collect();
            let [priority, weight, port] = numbers[..] else { panic!("{words}") };
            Service { priority, weight, port, addresses: vec![[192, 0, 2, 1].into()] }
        };
        text.split(',').map(one).collect()
    }

    #[test]
    fn services_take_turns_by_priority_and_weight() {
        let weighted = "1 60 3, 1 20 2, 1 0 1, 0 5 9, 7 0 8";
        for (text, numbers, expect) in [
            ("10 0 1", &[0][..], &[1][..]),
            ("20 0 2, 10 0 1", &[0, 0], &[1, 2]),
            // Behind 9 come 1, 3, 2 with the sums 0, 60, 80.
            (weighted, &[5, 0, 0, 0, 0], &[9, 1, 3, 2, 8]),
            (weighted, &[0, 1, 0, 20, 0], &[9, 3, 1, 2, 8]),
            (weighted, &[0, 60, 1, 0, 0], &[9, 3, 2, 1, 8]),
            (weighted, &[0, 61, 60, 0, 0], &[9, 2, 3, 1, 8]),
        ] {
            let mut numbers = numbers.iter().copied();
            let groups = Found::Services(services(text)).groups(1, |most| {
                let number = numbers.next().unwrap();
                assert!(number <= most, "{text}: {number} of {most}");
                number
            });
            let ports: Vec<u16> = groups.iter().map(|group| group[0].port()).collect();
            assert_eq!(ports, expect, "{text}");
        }
    }

    #[test]
    fn names_without_a_port_take_the_one_given() {
        let found = Found::Addresses(vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()]);
        let expect: Vec<SocketAddr> = ["192.0.2.1:7", "192.0.2.2:7"].map(|address| address.parse().unwrap()).into();
        assert_eq!(found.groups(7, |_| panic!("nothing is left to chance")), [expect]);
    }
}
