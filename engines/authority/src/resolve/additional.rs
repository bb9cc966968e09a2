//! What a client needs next: addresses of the names that an answer leads to (RFC 1034 §4.3.2, step 6), if they lie in our
//! zones. It can ask for them, so what has no room is left out.

use bartizan_names::RecordType;
use bartizan_wire::dns::{Owner, Section};

use super::chain::CHAIN_MAX;
use super::find::{Find, find};
use super::put::put_found;
use crate::answer::Authority;
use crate::entry::Set;
use crate::reply::{Reply, Spot};
use crate::steer::services;
use crate::zones::{First, Location};

/// Names of one set whose addresses are added: as many as the root has servers. Most sets have two.
const TOLD_MAX: usize = 13;

/// The root's name on the wire. As the target of a service it is the owner itself (RFC 9460 §2.5).
const ROOT: &[u8] = &[0];

/// Of an SVCB record: that it only leads to another name (RFC 9460 §2.4.2).
const ALIAS_MODE: &[u8] = &[0, 0];

/// Adds what follows from the answer for `name`.
pub(super) fn tell_targets(authority: &Authority<'_>, reply: &mut Reply<'_, '_>, name: &[u8], found: Find<'_>) {
    let set = match found {
        Find::Set(set) => set,
        Find::Steered(entry) => {
            let Some(services) = services(authority, entry) else { return };
            return services.targets().for_each(|target| tell_own_addresses(authority, reply, target));
        }
        Find::Nameservers(zone) => return tell_servers(authority, reply, zone.ns.rdata.iter().map(Vec::as_slice)),
        _ => return,
    };
    // Where the target begins (RFC 1035 §3.3.9 and §3.3.11, RFC 2782).
    let skipped = match set.rtype {
        RecordType::NS => 0,
        RecordType::MX => 2,
        RecordType::SRV => 6,
        RecordType::SVCB | RecordType::HTTPS => return tell_services(authority, reply, name, set),
        _ => return,
    };
    for (at, data) in set.rdata().take(TOLD_MAX).enumerate() {
        let Some(target) = data.get(skipped..) else { continue };
        let is_told = set.rdata().take(at).any(|earlier| earlier.get(skipped..) == Some(target));
        if !is_told {
            tell_own_addresses(authority, reply, target);
        }
    }
}

/// Adds the addresses of name servers. What lies below a delegation is told too: without it nobody would get there.
pub(super) fn tell_servers<'n>(
    authority: &Authority<'_>,
    reply: &mut Reply<'_, '_>,
    servers: impl Iterator<Item = &'n [u8]>,
) {
    for server in servers.take(TOLD_MAX) {
        if let Some(location) = locate_known(authority, server) {
            tell_addresses(authority, reply, server, location);
        }
    }
}

/// Where a name lies in our zones, if anything is known of its zone.
pub(super) fn locate_known<'z>(authority: &Authority<'z>, name: &[u8]) -> Option<Location<'z>> {
    let location = authority.zones.locate(authority.zones.key(name), First::Unknown)?;
    (!authority.zones.held.has(location.zone)).then_some(location)
}

/// As [`locate_known`], if we answer for the name.
fn locate_own<'z>(authority: &Authority<'z>, name: &[u8]) -> Option<Location<'z>> {
    locate_known(authority, name).filter(|location| authority.zones.turn(location.zone, name).is_none())
}

fn spot_of<'n>(name: &'n [u8], location: Location<'_>) -> Spot<'n> {
    Spot { zone: Some(location.zone), name, owner: Owner::Name(name), lasting: location.node.lasting() }
}

fn tell_own_addresses(authority: &Authority<'_>, reply: &mut Reply<'_, '_>, name: &[u8]) {
    if let Some(location) = locate_own(authority, name) {
        tell_addresses(authority, reply, name, location);
    }
}

fn tell_addresses(authority: &Authority<'_>, reply: &mut Reply<'_, '_>, name: &[u8], location: Location<'_>) {
    // What lies below a delegation is not this zone's to sign (RFC 4035 §2.2).
    let zone = authority.zones.turn(location.zone, name).is_none().then_some(location.zone);
    let spot = Spot { zone, ..spot_of(name, location) };
    for rtype in [RecordType::A, RecordType::AAAA] {
        let found = find(authority, location, rtype);
        // Whoever stands for another name is asked by whoever wants to know.
        if !matches!(found, Find::Alias(_)) {
            put_found(authority, reply, Section::Additional, spot, rtype, found);
        }
    }
}

/// Adds what is known of the targets of services, and of those that they lead to (RFC 9460 §4.1).
fn tell_services(authority: &Authority<'_>, reply: &mut Reply<'_, '_>, name: &[u8], set: Set<'_>) {
    let (mut name, mut set) = (name, set);
    for _ in 0..CHAIN_MAX {
        let mut alias = None;
        for data in set.rdata().take(TOLD_MAX) {
            let Some((priority, target)) = data.split_at_checked(ALIAS_MODE.len()) else { continue };
            let target = first_name(target);
            match priority {
                // The root says that there is no such service.
                ALIAS_MODE if target != ROOT => alias = alias.or(Some(target)),
                ALIAS_MODE => {}
                _ if target == ROOT => tell_own_addresses(authority, reply, name),
                _ => tell_own_addresses(authority, reply, target),
            }
        }
        let Some(target) = alias else { return };
        let Some(location) = locate_own(authority, target) else { return };
        let spot = spot_of(target, location);
        let found = find(authority, location, set.rtype);
        match found {
            Find::Set(next) => {
                put_found(authority, reply, Section::Additional, spot, set.rtype, found);
                (name, set) = (target, next);
            }
            // Without a service of its own the target is one by its addresses.
            _ => {
                if matches!(found, Find::Service { .. }) {
                    put_found(authority, reply, Section::Additional, spot, set.rtype, found);
                }
                return tell_addresses(authority, reply, target, location);
            }
        }
    }
}

/// The name that data begins with.
fn first_name(data: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some(length @ 1..) = data.get(end) {
        end += usize::from(*length) + 1;
    }
    data.get(..=end).unwrap_or_default()
}
