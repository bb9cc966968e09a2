//! Names that lead to servers which are chosen for each question. Who chooses, and how, is not said here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_names::RecordType;
use bartizan_wire::dns::{Fit, Section};

use crate::answer::Authority;
use crate::entry::Entry;
use crate::reply::{Reply, Spot};

/// Addresses of a kind that one answer tells: with signatures too they fit into a datagram.
pub const STEERED_MAX: usize = 8;

/// Chooses servers for whoever asks now.
pub trait Steer: fmt::Debug {
    /// What a name of the zone with this apex leads to (both lower-case wire bytes); none if nobody knows. The same each time for
    /// one question.
    fn addresses(&self, apex: &[u8], name: &[u8]) -> Option<Steered>;
}

/// What such a name leads to now.
pub(crate) fn steered(authority: &Authority<'_>, entry: Entry<'_>) -> Option<Steered> {
    let apex = authority.zones.zone(entry.zone())?.apex();
    authority.steer?.addresses(apex.as_wire(), entry.name())
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
