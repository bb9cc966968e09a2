//! What was found, into the answer.

use bartizan_names::RecordType;
use bartizan_wire::dns::{Answer, Fit, Owner, Section};

use super::additional::tell_servers;
use super::find::Find;
use crate::answer::Authority;
use crate::entry::Set;
use crate::zone::SOA_TTL;

/// Seconds that the addresses of a proxied name may be kept: short, so that a PoP can be taken out of service.
pub(super) const PROXIED_TTL: u32 = 300;

/// The answer to ANY (RFC 8482 §4.2), its CPU field saying why, and how long it may be kept in seconds.
const ANY_HINFO: &[u8] = b"\x07RFC8482\0";
const ANY_TTL: u32 = 3_600;

/// Writes what was found. A set that does not fit is left out, and the answer is marked as truncated (RFC 2181 §9).
pub(super) fn put_found(
    authority: &Authority<'_>,
    answer: &mut Answer<'_>,
    owner: Owner<'_>,
    qtype: RecordType,
    found: Find<'_>,
) {
    let (section, addresses) = (Section::Answer, authority.addresses);
    match found {
        Find::Set(set) | Find::Alias(set) => put(answer, owner, set),
        Find::Proxied if qtype == RecordType::A => {
            answer.record_set(section, owner, qtype, PROXIED_TTL, addresses.v4.iter().map(|address| address.octets()))
        }
        Find::Proxied => {
            answer.record_set(section, owner, qtype, PROXIED_TTL, addresses.v6.iter().map(|address| address.octets()))
        }
        Find::Any => answer.record_set(section, owner, RecordType::HINFO, ANY_TTL, [ANY_HINFO]),
        Find::Soa(zone) => answer.record_set(section, owner, qtype, SOA_TTL, [&zone.soa]),
        Find::Nameservers(zone) => {
            let fit = answer.record_set(section, owner, qtype, zone.ns.ttl, &zone.ns.rdata);
            if fit == Fit::Whole {
                tell_servers(authority, answer, zone.ns.rdata.iter().map(Vec::as_slice));
            }
            fit
        }
        Find::Nothing => Fit::Whole,
    };
}

/// Writes a record set: as the block that it is, where nothing in it could be compressed. Names in the data of types that
/// came after RFC 1035 never are (RFC 3597 §4).
pub(super) fn put(answer: &mut Answer<'_>, owner: Owner<'_>, set: Set<'_>) -> Fit {
    match (owner, set.rtype) {
        (_, RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::MX) | (Owner::Name(_), _) => {
            answer.record_set(Section::Answer, owner, set.rtype, set.ttl(), set.rdata())
        }
        (Owner::Question(_), _) => answer.block(Section::Answer, set.block, set.count),
    }
}
