//! Names that lead to servers which are chosen for each question. Who chooses, and how, is not said here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_names::{NAME_WIRE_MAX, RecordType};
use bartizan_wire::dns::{Fit, Section};

use crate::answer::Authority;
use crate::entry::{Entry, Flags};
use crate::reply::{Reply, Spot};

/// Addresses of a kind that one answer tells: with signatures too they fit into a datagram.
pub const STEERED_MAX: usize = 8;

/// Chooses servers for whoever asks now.
pub trait Steer: fmt::Debug {
    /// What a name of the zone with this apex leads to (both lower-case wire bytes); none if nobody knows. The same each time for
    /// one question.
    fn addresses(&self, apex: &[u8], name: &[u8]) -> Option<Steered>;

    /// The same of a name of the form `_service._proto.name`, which is told with the servers' own names and ports (RFC 2782).
    fn services(&self, apex: &[u8], name: &[u8]) -> Option<Services>;
}

/// Whether such a name is told as a service, and not by addresses.
pub(crate) fn is_service(name: &[u8]) -> bool {
    let begins = |at: usize| name.get(at).is_some_and(|length| *length > 1) && name.get(at + 1) == Some(&b'_');
    begins(0) && name.first().is_some_and(|length| begins(usize::from(*length) + 1))
}

/// What such a name leads to now.
pub(crate) fn steered(authority: &Authority<'_>, entry: Entry<'_>) -> Option<Steered> {
    let apex = authority.zones.zone(entry.zone())?.apex();
    authority.steer?.addresses(apex.as_wire(), entry.name())
}

/// The same of a name of a service; none of any other.
pub(crate) fn services(authority: &Authority<'_>, entry: Entry<'_>) -> Option<Services> {
    let is_one = entry.flags().has(Flags::STEERED) && is_service(entry.name());
    let apex = authority.zones.zone(entry.zone()).filter(|_| is_one)?.apex();
    authority.steer?.services(apex.as_wire(), entry.name())
}

/// The addresses of servers.
#[derive(Clone, Copy, Debug)]
pub struct Steered {
    v4: [Ipv4Addr; STEERED_MAX],
    v6: [Ipv6Addr; STEERED_MAX],
    v4_count: usize,
    v6_count: usize,
    /// Seconds that they may be kept.
    ttl: u32,
}

impl Steered {
    /// Of each kind the first [`STEERED_MAX`].
    // Hot: once a question for such a name. No allocation.
    pub fn new(addresses: impl Iterator<Item = IpAddr>, ttl: u32) -> Steered {
        let (v4, v6) = ([Ipv4Addr::UNSPECIFIED; STEERED_MAX], [Ipv6Addr::UNSPECIFIED; STEERED_MAX]);
        let mut steered = Steered { v4, v6, v4_count: 0, v6_count: 0, ttl };
        for address in addresses {
            match address {
                IpAddr::V4(address) => {
                    let known = &steered.v4[..steered.v4_count];
                    if steered.v4_count < STEERED_MAX && !known.contains(&address) {
                        steered.v4[steered.v4_count] = address;
                        steered.v4_count += 1;
                    }
                }
                IpAddr::V6(address) => {
                    let known = &steered.v6[..steered.v6_count];
                    if steered.v6_count < STEERED_MAX && !known.contains(&address) {
                        steered.v6[steered.v6_count] = address;
                        steered.v6_count += 1;
                    }
                }
            }
        }
        steered
    }

    pub(crate) fn has(&self, qtype: RecordType) -> bool {
        if qtype == RecordType::A { self.v4_count > 0 } else { self.v6_count > 0 }
    }

    pub(crate) fn ttl(&self) -> u32 {
        self.ttl
    }

    pub(crate) fn put(
        &self,
        reply: &mut Reply<'_, '_>,
        section: Section,
        spot: Spot<'_>,
        qtype: RecordType,
        ttl_max: u32,
    ) -> Fit {
        let ttl = self.ttl.min(ttl_max);
        if qtype == RecordType::A {
            let addresses = self.v4[..self.v4_count].iter();
            reply.put_data(section, spot, qtype, ttl, addresses.map(|address| address.octets()))
        } else {
            let addresses = self.v6[..self.v6_count].iter();
            reply.put_data(section, spot, qtype, ttl, addresses.map(|address| address.octets()))
        }
    }
}

/// Octets of a record of a service in front of its target: priority, weight and port.
const NUMBERS: usize = 6;

/// The servers of a service.
#[derive(Clone, Debug)]
pub struct Services {
    data: [u8; STEERED_MAX * (NUMBERS + NAME_WIRE_MAX)],
    /// Where each ends.
    ends: [usize; STEERED_MAX],
    count: usize,
    /// Seconds that they may be kept.
    ttl: u32,
}

impl Services {
    /// The first [`STEERED_MAX`]: the priority of each, and what comes behind it in a record (weight, port and target, on the wire).
    // Hot: once a question for such a name. No allocation.
    pub fn new<'s>(servers: impl Iterator<Item = (u16, &'s [u8])>, ttl: u32) -> Services {
        let data = [0; STEERED_MAX * (NUMBERS + NAME_WIRE_MAX)];
        let mut services = Services { data, ends: [0; STEERED_MAX], count: 0, ttl };
        for (priority, rest) in servers {
            let whole = 2 + rest.len();
            if services.count == STEERED_MAX {
                break;
            }
            let is_there = services.records().any(|one| one[..2] == priority.to_be_bytes() && one[2..] == *rest);
            if is_there || whole <= NUMBERS || whole > NUMBERS + NAME_WIRE_MAX {
                continue;
            }
            let at = services.count.checked_sub(1).map_or(0, |last| services.ends[last]);
            services.data[at..at + 2].copy_from_slice(&priority.to_be_bytes());
            services.data[at + 2..at + whole].copy_from_slice(rest);
            services.ends[services.count] = at + whole;
            services.count += 1;
        }
        services
    }

    /// One each, whole.
    fn records(&self) -> impl Iterator<Item = &[u8]> + Clone {
        (0..self.count).map(|one| {
            let at = one.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.data[at..self.ends[one]]
        })
    }

    pub(crate) fn targets(&self) -> impl Iterator<Item = &[u8]> {
        self.records().map(|record| &record[NUMBERS..])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn ttl(&self) -> u32 {
        self.ttl
    }

    pub(crate) fn put(&self, reply: &mut Reply<'_, '_>, section: Section, spot: Spot<'_>) -> Fit {
        reply.put_data(section, spot, RecordType::SRV, self.ttl, self.records())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services() {
        for (name, expect) in [
            (&b"\x05_http\x04_tcp\x07example\x03com\0"[..], true),
            (b"\x05_http\x03www\x07example\x03com\0", false),
            (b"\x03www\x04_tcp\x07example\x03com\0", false),
            (b"\x01_\x01_\x03com\0", false),
            (b"\x05_http\0", false),
            (b"\0", false),
            (b"", false),
            (b"\x3f_", false),
        ] {
            assert_eq!(is_service(name), expect, "{name:?}");
        }
    }

    #[test]
    fn so_many_servers_are_told_each_once() {
        let server = |port: u8| [&[0, 1, 0, port][..], b"\x01a\x03com\0"].concat();
        let all: Vec<Vec<u8>> = (0..20).map(|port| server(port / 2)).collect();
        let services = Services::new(all.iter().map(|rest| (0, &rest[..])), 30);
        let ports: Vec<u8> = services.records().map(|record| record[5]).collect();
        assert_eq!(ports, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(services.targets().all(|target| target == b"\x01a\x03com\0"));
        // The longest ones have room, and what is none has no place.
        let long = [&[0; 4][..], &[1; NAME_WIRE_MAX]].concat();
        let longer = [&long[..], &[1]].concat();
        let all = (0..8).map(|at| (at, &long[..])).chain([(9, &longer[..]), (9, &[][..])]);
        assert_eq!(Services::new(all, 30).records().count(), STEERED_MAX);
        assert!(Services::new([(0, &longer[..]), (0, &[0; 4][..])].into_iter(), 30).is_empty());
    }
}
