//! DNAME: a whole tree of names stands elsewhere (RFC 6672).

use bartizan_names::RecordType;
use bartizan_wire::dns::{Fit, Rcode, Section};

use super::chain::Chain;
use super::{End, go_on};
use crate::answer::Authority;
use crate::entry::{Entry, Set};
use crate::reply::{Reply, Spot};

/// The longest name on the wire (RFC 1035 §2.3.4).
const NAME_MAX: usize = 255;

/// Answers for a name below one that has a DNAME: with that, with the CNAME that follows from it (RFC 6672 §3.1), and with
/// what is found behind it.
pub(super) fn redirect(
    authority: &Authority<'_>,
    qtype: RecordType,
    chain: Chain<'_>,
    owner: Entry<'_>,
    dname: Set<'_>,
    reply: &mut Reply<'_, '_>,
) -> End {
    let so_far = End::Said(Rcode::NOERROR);
    let Some(target) = dname.rdata().next() else { return so_far };
    let above = chain.spot_above(owner.zone(), owner.name().len());
    if reply.put(Section::Answer, above, dname) == Fit::Dropped {
        return so_far;
    }
    let name = chain.name();
    let below = &name[..name.len().saturating_sub(owner.name().len())];
    let length = below.len() + target.len();
    let mut joined = [0; NAME_MAX];
    let Some(place) = joined.get_mut(..length) else {
        // RFC 6672 §2.2.
        return End::Said(Rcode::YXDOMAIN);
    };
    place[..below.len()].copy_from_slice(below);
    place[below.len()..].copy_from_slice(target);
    let joined = &joined[..length];
    // It follows from what is signed, and has no signature of its own (RFC 6672 §5.3.1).
    let spot = Spot { zone: None, name, owner: chain.owner(), ..above };
    let fit = reply.put_data(Section::Answer, spot, RecordType::CNAME, dname.ttl(), std::iter::once(joined));
    let mut chain: Chain<'_> = chain;
    // Who asks for the CNAME has it.
    if fit == Fit::Dropped || qtype == RecordType::CNAME || !chain.follow(joined) {
        return so_far;
    }
    go_on(authority, qtype, chain, reply)
}
