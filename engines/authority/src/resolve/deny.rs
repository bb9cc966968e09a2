//! Answers that say what is not there.

use bartizan_names::RecordType;
use bartizan_signer::Denial;
use bartizan_wire::dns::{Rcode, Section};

use super::chain::Chain;
use super::types::{Standing, denied, standing};
use crate::answer::Authority;
use crate::entry::Flags;
use crate::reply::Reply;
use crate::steer::{services, steered};
use crate::trail::Step;
use crate::zone::NEGATIVE_TTL;
use crate::zones::Location;

/// Says that there is no such name, or no such type at it, with the SOA of the zone that knows (RFC 2308 §2), and in a
/// signed zone with the record that proves it (RFC 9824 §3).
pub(super) fn deny(
    authority: &Authority<'_>,
    qtype: RecordType,
    location: Location<'_>,
    chain: &Chain<'_>,
    reply: &mut Reply<'_, '_>,
) -> Rcode {
    let standing = standing(authority, location, chain.name());
    reply.is_missing |= matches!(standing, Standing::Missing);
    let ttl = ttl(authority, location);
    if let Some(zone) = authority.zones.zone(location.zone) {
        let spot = chain.spot_above(location.zone, zone.apex().as_wire().len());
        reply.put_denying_soa(spot, zone, ttl);
    }
    let proof = prove(authority, qtype, location, chain, standing, Section::Authority, reply);
    reply.trail.note(|| Step::Denied { form: proof });
    match (standing, proof) {
        // RFC 2308 §2.2; also of a name that is there only because of one below it (RFC 4592 §2.2.2).
        (Standing::Own | Standing::Cut, _) => Rcode::NOERROR,
        // RFC 2308 §2.1.
        (Standing::Missing, None) => Rcode::NXDOMAIN,
        // RFC 9824 §5.1: whoever can read it in the proof is told in the header too.
        (Standing::Missing, Some(Denial::Compact)) if reply.compact_ok => Rcode::NXDOMAIN,
        // A name with a record of its own seems to be there.
        (Standing::Missing, Some(_)) => Rcode::NOERROR,
    }
}

/// How long it may be kept: which addresses a name has now whose servers are chosen, no longer than those themselves.
fn ttl(authority: &Authority<'_>, location: Location<'_>) -> u32 {
    let entry = location.node.entry().filter(|entry| entry.flags().has(Flags::STEERED));
    let ttl = entry.and_then(|entry| match services(authority, entry) {
        Some(services) => Some(services.ttl()),
        None => steered(authority, entry).map(|steered| steered.ttl()),
    });
    ttl.map_or(NEGATIVE_TTL, |ttl| ttl.min(NEGATIVE_TTL))
}

/// Adds which types the name has, if its zone is signed and signatures were asked for; tells how that was said.
pub(super) fn prove(
    authority: &Authority<'_>,
    qtype: RecordType,
    location: Location<'_>,
    chain: &Chain<'_>,
    standing: Standing,
    section: Section,
    reply: &mut Reply<'_, '_>,
) -> Option<Denial> {
    let denial = reply.keys(location.zone)?.denial;
    reply.is_missing |= matches!(standing, Standing::Missing); // also where its proof is what was asked for
    reply.put_nsec(section, chain.spot(location), ttl(authority, location), |types| {
        denied(authority, location, standing, (denial, qtype), types);
    });
    Some(denial)
}
