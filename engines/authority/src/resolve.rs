//! Which records answer a question of class IN.
//!
//! RFC 1034 §4.3.2, RFC 2308 (negative answers), 4592 (wildcards), 6604 (response code of a
//! chain), 8482 (ANY).

mod additional;
mod chain;
mod deny;
mod find;
mod put;
mod refer;
mod types;

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{ExtendedError, Fit, Rcode, Section};

use self::additional::locate_known;
use self::chain::Chain;
use self::deny::{deny, prove};
use self::find::{Find, find};
use self::put::put_found;
use self::refer::refer;
use self::types::standing;
use crate::answer::{Authority, Question, Subject, Verdict};
use crate::reply::Reply;
use crate::trail::{Step, Trail, told};
use crate::zones::{Location, Node};

/// Query types that are not types of records (RFC 6895 §3.1), or that cannot be asked for.
const NXNAME: RecordType = RecordType(128);
const TKEY: RecordType = RecordType(249);
const TSIG: RecordType = RecordType(250);
const MAILB: RecordType = RecordType(253);
const MAILA: RecordType = RecordType(254);

/// Fills the answer to a question.
pub(crate) fn resolve<'z>(
    authority: &Authority<'z>,
    question: &Question<'_, 'z>,
    reply: &mut Reply<'_, '_>,
) -> Verdict {
    let (qtype, key) = (question.query.qtype, question.key);
    match qtype {
        // AXFR and IXFR (RFC 5936, RFC 1995): no secondary is configured, so transfers are refused.
        RecordType::AXFR | RecordType::IXFR => {
            return Verdict::refused(Rcode::REFUSED, ExtendedError::PROHIBITED);
        }
        // RFC 9824 §3.5 for NXNAME; the others only ever occur beside a question.
        RecordType::OPT | TSIG | NXNAME => {
            return Verdict::refused(Rcode::FORMERR, ExtendedError::INVALID_QUERY_TYPE);
        }
        TKEY | MAILA | MAILB => return Verdict::refused(Rcode::NOTIMP, ExtendedError::NOT_SUPPORTED),
        _ => {}
    }
    let mut location = authority.zones.locate(key, question.first);
    if qtype == RecordType::DS {
        // Which keys a zone has is for the one above it to say, if that is ours too (RFC 4035 §3.1.4.1).
        location = authority.zones.locate_above(key.name, location).or(location);
    }
    match location {
        // RFC 1035 §4.1.1: "unable to process this query due to a problem with the name server".
        Some(location) if authority.zones.held.has(location.zone) => {
            reply.trail.note(|| Step::Held);
            Verdict::refused(Rcode::SERVFAIL, ExtendedError::NOT_READY)
        }
        Some(location) => match authority.zones.cut(location.zone, key.name) {
            Some(cut) if !(qtype == RecordType::DS && cut.name() == key.name) => {
                note(authority, location, key.name, reply.trail);
                reply.trail.note(|| Step::Delegated { cut: told(cut.name()) });
                refer(authority, cut, &Chain::of(key.name), reply);
                Verdict::referral(authority.zones.key(cut.name()).hash)
            }
            // DS at the cut is the parent's own data (RFC 4035 §3.1.4.1).
            _ => {
                let rcode = chase(authority, qtype, Chain::of(key.name), location, reply);
                let zone = u64::from(location.zone);
                let subject = match location.node {
                    _ if reply.is_denial() => Subject::Denial(zone),
                    Node::Wildcard(_) => Subject::Wildcard(zone),
                    Node::Exact(_) | Node::Missing => Subject::Name(key.hash),
                };
                Verdict::authoritative(rcode, subject)
            }
        },
        None => {
            reply.trail.note(|| Step::NoZone);
            Verdict::refused(Rcode::REFUSED, ExtendedError::NOT_AUTHORITATIVE)
        }
    }
}

/// Notes where a name lies, and what is there.
#[inline]
fn note(authority: &Authority<'_>, location: Location<'_>, name: &[u8], trail: &mut Trail) {
    let Location { zone, node } = location;
    let zones = authority.zones;
    trail.note(|| Step::Zone {
        apex: zones.zone(zone).map_or_else(Name::root, |zone| zone.apex().clone()),
        paused: zones.paused.has(zone),
        signed: zones.signed.has(zone),
    });
    trail.note(|| match node {
        Node::Exact(entry) => Step::Exact { name: told(name), proxied: zones.is_proxied(zone, entry) },
        Node::Wildcard(_) | Node::Missing => Step::Missing { name: told(name) },
    });
    if let Node::Wildcard(entry) = node {
        trail.note(|| Step::Wildcard { wildcard: told(entry.name()), proxied: zones.is_proxied(zone, entry) });
    }
}

/// Answers from a location, and from those that CNAMEs lead to while they lie in our zones.
fn chase<'z: 'n, 'n>(
    authority: &Authority<'z>,
    qtype: RecordType,
    mut chain: Chain<'n>,
    mut location: Location<'z>,
    reply: &mut Reply<'_, '_>,
) -> Rcode {
    loop {
        note(authority, location, chain.name(), reply.trail);
        // A signed name has these records wherever it is, even if it is not (RFC 9824 §3.1).
        if matches!(qtype, RecordType::NSEC | RecordType::RRSIG) {
            let standing = standing(authority, location, chain.name());
            if prove(authority, qtype, location, &chain, standing, Section::Answer, reply).is_some() {
                return Rcode::NOERROR;
            }
        }
        match find(authority, location, qtype) {
            Find::Nothing => return deny(authority, qtype, location, &chain, reply),
            Find::Alias(set) => {
                if reply.put(Section::Answer, chain.spot(location), set) == Fit::Dropped {
                    return Rcode::NOERROR;
                }
                // Beyond our zones, below a cut, in a zone that is held, and beyond the limit, the resolver follows the chain (RFC 1034 §5.3.3, step 4c).
                reply.trail.note(|| Step::Alias { target: told(set.rdata().next().unwrap_or_default()) });
                let next = set.rdata().next().filter(|target| chain.follow(target)).and_then(|target| {
                    let location = locate_known(authority, target)?;
                    authority.zones.cut(location.zone, target).is_none().then_some(location)
                });
                match next {
                    Some(next) => location = next,
                    None => return Rcode::NOERROR,
                }
            }
            found => {
                put_found(authority, reply, chain.spot(location), qtype, found);
                return Rcode::NOERROR;
            }
        }
    }
}
