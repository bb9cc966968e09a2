//! Which types a name has, as it is served: what an NSEC record says of it.
//!
//! It is asked of the same function that answers, so that no denial can contradict an answer.

use bartizan_names::RecordType;
use bartizan_signer::{Denial, NXNAME, SHOTGUN_TYPES};

use super::find::{Find, find};
use crate::answer::Authority;
use crate::entry::Entry;
use crate::zones::{Location, Node, Turn};

/// Types that a name may have without a record of its own: addresses and services of the edge, servers that are chosen, what is an apex's own, and
/// the policy of mail that is to be rejected.
const IMPLIED: [RecordType; 10] = [
    RecordType::TXT,
    RecordType::HTTPS,
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::SOA,
    RecordType::NS,
    RecordType::DNSKEY,
    RecordType::CDS,
    RecordType::CDNSKEY,
];

/// What a name is to its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Missing,
    /// Another zone begins there. To this one it is its name servers, and perhaps its keys (RFC 4035 §2.3).
    Cut,
    /// It is there, perhaps without types.
    Own,
}

pub(super) fn standing(authority: &Authority<'_>, location: Location<'_>, name: &[u8]) -> Standing {
    let zones = authority.zones;
    let turn = zones.turn(location.zone, name).filter(|turn| location.mail.obeys(*turn));
    let is_delegated = matches!(turn, Some(Turn::Cut(cut)) if cut.name() == name);
    let is_ours = || zones.indirect.has(location.zone) && zones.begins_inside(location.zone, name);
    match location.node {
        _ if is_delegated || is_ours() => Standing::Cut,
        Node::Missing => Standing::Missing,
        Node::Exact(_) | Node::Wildcard(_) | Node::Implied => Standing::Own,
    }
}

/// The types of a name by which a zone denies `qtype` there.
pub(super) fn denied(
    authority: &Authority<'_>,
    location: Location<'_>,
    standing: Standing,
    (denial, qtype): (Denial, RecordType),
    types: &mut Vec<RecordType>,
) {
    types.extend([RecordType::RRSIG, RecordType::NSEC]);
    let entry = location.node.entry();
    match standing {
        Standing::Missing if denial == Denial::Compact => types.push(NXNAME),
        Standing::Missing => {}
        Standing::Cut => {
            types.push(RecordType::NS);
            types.extend(entry.and_then(|entry| entry.set(RecordType::DS)).map(|set| set.rtype));
        }
        Standing::Own => {
            let own = entry.into_iter().flat_map(Entry::sets).map(|set| set.rtype);
            types.extend(IMPLIED.into_iter().chain(own).filter(|rtype| is_served(authority, location, *rtype)));
            if denial == Denial::Shotgun {
                types.extend(SHOTGUN_TYPES.into_iter().filter(|rtype| *rtype != qtype));
            }
        }
    }
}

fn is_served(authority: &Authority<'_>, location: Location<'_>, rtype: RecordType) -> bool {
    // What leads elsewhere is no record of this type. What is not known yet is not denied either.
    !matches!(find(authority, location, rtype), Find::Nothing | Find::Alias(_))
}
