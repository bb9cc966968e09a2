//! What a client needs next: addresses of the names that an answer holds (RFC 1034 §4.3.2, step 6).

use std::net::{Ipv4Addr, Ipv6Addr};

use bartizan_names::RecordType;
use bartizan_wire::dns::{Answer, Owner, Section};

use super::put::PROXIED_TTL;
use crate::answer::Authority;
use crate::zones::{First, Location};

/// Name servers of one zone whose addresses are added: as many as the root has. Zones usually have two.
const SERVERS_TOLD_MAX: usize = 13;

/// Adds the addresses of name servers that lie in our zones.
pub(super) fn tell_servers<'n>(
    authority: &Authority<'_>,
    answer: &mut Answer<'_>,
    servers: impl Iterator<Item = &'n [u8]>,
) {
    servers.take(SERVERS_TOLD_MAX).for_each(|server| tell_addresses(authority, answer, server));
}

/// Where a name lies in our zones, if anything is known of its zone.
pub(super) fn locate_known<'z>(authority: &Authority<'z>, name: &[u8]) -> Option<Location<'z>> {
    let location = authority.zones.locate(authority.zones.key(name), First::Unknown)?;
    (!authority.zones.held.has(location.zone)).then_some(location)
}

/// Adds the addresses of a name server that lies in our zones (RFC 1034 §4.3.2, step 6): a resolver needs them next.
fn tell_addresses(authority: &Authority<'_>, answer: &mut Answer<'_>, server: &[u8]) {
    let location = locate_known(authority, server);
    let Some((zone, entry)) = location.and_then(|location| Some((location.zone, location.node.entry()?))) else {
        return;
    };
    let (section, owner, addresses) = (Section::Additional, Owner::Name(server), authority.addresses);
    if authority.zones.is_proxied(zone, entry) {
        let (v4, v6) = (addresses.v4.iter().map(Ipv4Addr::octets), addresses.v6.iter().map(Ipv6Addr::octets));
        answer.record_set(section, owner, RecordType::A, PROXIED_TTL, v4);
        answer.record_set(section, owner, RecordType::AAAA, PROXIED_TTL, v6);
        return;
    }
    for set in [RecordType::A, RecordType::AAAA].into_iter().filter_map(|rtype| entry.set(rtype)) {
        answer.record_set(section, owner, set.rtype, set.ttl(), set.rdata());
    }
}
