//! What an answer says in its OPT record beside what every answer does.

use bartizan_authority::Identity;
use bartizan_wire::dns::{Added, Asked, Head};

use crate::pipeline::Exchange;

/// Collects the options that the client asked for, and gives the others back, which are for other steps. They are known before the records, which get the room that is left.
///
/// Hot: once a query; most have no options.
#[inline]
pub(crate) fn collect<'m>(
    exchange: &mut Exchange<'_>,
    head: &Head<'m>,
    identity: &Identity,
    added: &mut Added,
) -> Asked<'m> {
    added.clear();
    let Some(edns) = head.edns.filter(|edns| !edns.options.is_empty()) else { return Asked::default() };
    let asked = edns.options.asked();
    if asked.nsid {
        added.nsid(identity.id_server.as_bytes());
    }
    if let Some(subnet) = asked.subnet {
        added.subnet(subnet);
    }
    if let Some(tenths) = exchange.keepalive.filter(|_| asked.keepalive) {
        added.keepalive(tenths);
        exchange.kept = true;
    }
    asked
}
