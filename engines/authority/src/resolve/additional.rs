//! What a client needs next: addresses of the names that an answer holds (RFC 1034 §4.3.2, step 6).

use std::net::{Ipv4Addr, Ipv6Addr};

use bartizan_names::RecordType;
use bartizan_wire::dns::{Owner, Section};

use super::put::PROXIED_TTL;
use crate::answer::Authority;
use crate::reply::{Reply, Spot};
use crate::zones::{First, Location};

/// Name servers of one zone whose addresses are added: as many as the root has. Zones usually have two.
const SERVERS_TOLD_MAX: usize = 13;

/// Adds the addresses of name servers that lie in our zones.
pub(super) fn tell_servers<'n>(
    authority: &Authority<'_>,
    reply: &mut Reply<'_, '_>,
    servers: impl Iterator<Item = &'n [u8]>,
) {
    servers.take(SERVERS_TOLD_MAX).for_each(|server| tell_addresses(authority, reply, server));
}

/// Where a name lies in our zones, if anything is known of its zone.
pub(super) fn locate_known<'z>(authority: &Authority<'z>, name: &[u8]) -> Option<Location<'z>> {
    let location = authority.zones.locate(authority.zones.key(name), First::Unknown)?;
    (!authority.zones.held.has(location.zone)).then_some(location)
}

/// Adds the addresses of a name server that lies in our zones (RFC 1034 §4.3.2, step 6): a resolver needs them next.
fn tell_addresses(authority: &Authority<'_>, reply: &mut Reply<'_, '_>, server: &[u8]) {
    let Some(location) = locate_known(authority, server) else { return };
    let Some(entry) = location.node.entry() else { return };
    // What lies below a delegation is not this zone's to sign (RFC 4035 §2.2).
    let zone = authority.zones.cut(location.zone, server).is_none().then_some(location.zone);
    let spot = Spot { zone, name: server, owner: Owner::Name(server), lasting: location.node.lasting() };
    let (section, addresses) = (Section::Additional, authority.addresses);
    if authority.zones.is_proxied(location.zone, entry) {
        let (v4, v6) = (addresses.v4.iter().map(Ipv4Addr::octets), addresses.v6.iter().map(Ipv6Addr::octets));
        reply.put_data(section, spot, RecordType::A, PROXIED_TTL, v4);
        reply.put_data(section, spot, RecordType::AAAA, PROXIED_TTL, v6);
        return;
    }
    for set in [RecordType::A, RecordType::AAAA].into_iter().filter_map(|rtype| entry.set(rtype)) {
        reply.put(section, spot, set);
    }
}
