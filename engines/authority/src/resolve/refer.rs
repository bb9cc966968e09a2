//! Delegations: whom to ask instead.

use bartizan_names::RecordType;
use bartizan_wire::dns::{Fit, Section};

use super::additional::tell_servers;
use super::chain::Chain;
use crate::answer::Authority;
use crate::entry::Entry;
use crate::reply::{Reply, Spot};
use crate::zone::NEGATIVE_TTL;

/// Leads to the servers of the zone that begins at `cut`, with the addresses that are known of them (RFC 1034 §4.3.2,
/// step 3b). A signed zone says which keys that zone has, or that it has none (RFC 4035 §3.1.4, RFC 9824 §3.4).
pub(super) fn refer(authority: &Authority<'_>, cut: Entry<'_>, chain: &Chain<'_>, reply: &mut Reply<'_, '_>) {
    let Some(set) = cut.set(RecordType::NS) else { return };
    let spot = chain.spot_above(cut.zone(), cut.name().len());
    // What the name servers are is for the other zone to say, and to sign (RFC 4035 §2.2).
    if reply.put(Section::Authority, Spot { zone: None, ..spot }, set) == Fit::Dropped {
        return;
    }
    let fit = match cut.set(RecordType::DS) {
        _ if reply.keys(cut.zone()).is_none() => Fit::Whole,
        Some(keys) => reply.put(Section::Authority, spot, keys),
        None => reply.put_nsec(Section::Authority, spot, NEGATIVE_TTL, |types| {
            types.extend([RecordType::NS, RecordType::RRSIG, RecordType::NSEC]);
        }),
    };
    if fit == Fit::Whole {
        tell_servers(authority, reply, set.rdata());
    }
}
