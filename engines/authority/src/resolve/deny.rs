//! Answers that say what is not there.

use bartizan_names::RecordType;
use bartizan_wire::dns::{Answer, Owner, Rcode, Section};

use super::chain::Chain;
use crate::answer::Authority;
use crate::zone::NEGATIVE_TTL;
use crate::zones::{Location, Node};

/// Says that there is no such name, or no such type at it, with the SOA of the zone that knows (RFC 2308 §2).
pub(super) fn deny(
    authority: &Authority<'_>,
    location: Location<'_>,
    name: &[u8],
    chain: &Chain<'_>,
    answer: &mut Answer<'_>,
) -> Rcode {
    if let Some(zone) = authority.zones.zone(location.zone) {
        let apex = zone.apex().as_wire();
        let owner = match chain.owner() {
            Owner::Question(_) => Owner::Question(name.len() - apex.len()),
            Owner::Name(_) => Owner::Name(apex),
        };
        answer.record_set(Section::Authority, owner, RecordType::SOA, NEGATIVE_TTL, [&zone.soa]);
    }
    match location.node {
        // RFC 2308 §2.1.
        Node::Missing => Rcode::NXDOMAIN,
        // RFC 2308 §2.2; also of a name that is there only because of one below it (RFC 4592 §2.2.2).
        Node::Exact(_) | Node::Wildcard(_) => Rcode::NOERROR,
    }
}
