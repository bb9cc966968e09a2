//! What was found, into the answer.

use std::iter::once;

use bartizan_names::RecordType;
use bartizan_wire::dns::{Fit, Section};

use super::find::{Find, find};
use super::service::Service;
use crate::answer::Authority;
use crate::entry::Set;
use crate::mail::{self, REJECT, REJECT_TTL};
use crate::reply::{Reply, Spot};
use crate::steer::{services, steered};
use crate::zone::{KEYS_TTL, SOA_TTL, Zone};

/// Seconds that the addresses of a proxied name may be kept: short, so that a PoP can be taken out of service.
pub(super) const PROXIED_TTL: u32 = 300;

/// The answer to ANY (RFC 8482 §4.2), its CPU field saying why, and how long it may be kept in seconds.
const ANY_HINFO: &[u8] = b"\x07RFC8482\0";
const ANY_TTL: u32 = 3_600;

/// Writes what was found. A set that does not fit is left out, and the answer is marked as truncated (RFC 2181 §9) if it
/// was asked for.
pub(super) fn put_found(
    authority: &Authority<'_>,
    reply: &mut Reply<'_, '_>,
    section: Section,
    spot: Spot<'_>,
    qtype: RecordType,
    found: Find<'_>,
) -> Fit {
    let addresses = authority.addresses;
    match found {
        Find::Set(set) | Find::Alias(set) => reply.put(section, spot, set),
        Find::Proxied if qtype == RecordType::A => {
            reply.put_data(section, spot, qtype, PROXIED_TTL, addresses.v4.iter().map(|address| address.octets()))
        }
        Find::Proxied => {
            reply.put_data(section, spot, qtype, PROXIED_TTL, addresses.v6.iter().map(|address| address.octets()))
        }
        Find::Steered(entry) if qtype == RecordType::SRV => {
            let Some(services) = services(authority, entry) else { return Fit::Whole };
            services.put(reply, section, spot)
        }
        Find::Steered(entry) => {
            let Some(steered) = steered(authority, entry) else { return Fit::Whole };
            steered.put(reply, section, spot, qtype, u32::MAX)
        }
        Find::Flat(flat) => flat.put(authority, reply, section, spot, qtype),
        Find::Addresses(location) => {
            let fits = [RecordType::A, RecordType::AAAA].map(|rtype| {
                let found = find(authority, location, rtype);
                put_found(authority, reply, section, spot, rtype, found)
            });
            if fits == [Fit::Whole; 2] { Fit::Whole } else { Fit::Dropped }
        }
        Find::Service { http2, http3 } => {
            let service = Service::of(addresses, http2, http3);
            reply.put_data(section, spot, RecordType::HTTPS, PROXIED_TTL, once(&service))
        }
        Find::Any => reply.put_data(section, spot, RecordType::HINFO, ANY_TTL, once(ANY_HINFO)),
        Find::Soa(zone) => reply.put_data(section, spot, qtype, SOA_TTL, once(&zone.soa)),
        Find::Nameservers(zone) => reply.put_data(section, spot, qtype, zone.ns.ttl, zone.ns.rdata.iter()),
        Find::Keys(zone, others) => put_keys(reply, section, spot, qtype, (zone, others)),
        Find::OtherText(set) => {
            let others = set.rdata().filter(|text| !mail::names_senders(text));
            reply.put_data(section, spot, set.rtype, set.ttl(), others)
        }
        Find::Reject => reply.put_data(section, spot, RecordType::TXT, REJECT_TTL, once(REJECT)),
        Find::Nothing | Find::Unknown => Fit::Whole,
    }
}

/// The keys of a zone, and those of others who sign it.
fn put_keys(
    reply: &mut Reply<'_, '_>,
    section: Section,
    spot: Spot<'_>,
    qtype: RecordType,
    (zone, others): (&Zone, Option<Set<'_>>),
) -> Fit {
    let Some(keys) = &zone.facts.dnssec else { return Fit::Whole };
    match qtype {
        RecordType::DNSKEY => {
            let ttl = others.map_or(KEYS_TTL, |set| set.ttl().min(KEYS_TTL));
            let others = others.into_iter().flat_map(Set::rdata);
            reply.put_data(section, spot, qtype, ttl, keys.dnskeys().chain(others))
        }
        RecordType::CDS => reply.put_data(section, spot, qtype, KEYS_TTL, keys.cds(&zone.facts.apex)),
        _ => reply.put_data(section, spot, qtype, KEYS_TTL, keys.cdnskeys()),
    }
}
