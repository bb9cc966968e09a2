//! Delegations: whom to ask instead.

use bartizan_names::RecordType;
use bartizan_wire::dns::{Answer, Fit, Owner, Section};

use super::additional::tell_servers;
use crate::answer::Authority;
use crate::entry::Entry;

/// Leads to the servers of the zone that begins at `cut`, with the addresses that are known of them (RFC 1034 §4.3.2,
/// step 3b).
pub(super) fn refer(authority: &Authority<'_>, cut: Entry<'_>, name: &[u8], answer: &mut Answer<'_>) {
    let Some(set) = cut.set(RecordType::NS) else { return };
    let owner = Owner::Question(name.len() - cut.name().len());
    if answer.record_set(Section::Authority, owner, RecordType::NS, set.ttl(), set.rdata()) == Fit::Whole {
        tell_servers(authority, answer, set.rdata());
    }
}
