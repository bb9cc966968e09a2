//! Which records answer a question of class IN.
//!
//! ```text
//! locate ─► turn: delegated? ─► refer         (RFC 1034 §4.3.2)
//!    ▲        │   redirected? ─► DNAME ─┐     (RFC 6672)
//!    │        ▼                         │
//!    │      find ─► nothing ─► deny     │     (RFC 2308, 9824)
//!    │        ├───► found ──► put, and what a client needs next
//!    └────────┴─ CNAME ◄────────────────┘
//! ```
//! RFC 1034 §4.3.2, RFC 2308 (negative answers), 4592 (wildcards), 6604 (response code of a chain), 6672 (DNAME), 8482
//! (ANY), 9460 (SVCB and HTTPS).

mod additional;
mod chain;
mod deny;
mod find;
pub(crate) mod flat;
mod put;
mod redirect;
mod refer;
mod service;
mod types;

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{ExtendedError, Fit, Rcode, Section};

use self::additional::{locate_known, tell_targets};
use self::chain::Chain;
use self::deny::{deny, prove};
use self::find::{Find, find};
use self::put::put_found;
use self::redirect::redirect;
use self::refer::refer;
use self::types::standing;
use crate::answer::{Authority, Question, Subject, Verdict};
use crate::mail::Mail;
use crate::reply::Reply;
use crate::trail::{Step, Trail, told};
use crate::zones::{Location, Node, Turn};

/// The question for all addresses of a name at once: its A and its AAAA records. No record has this type (RFC 6895 §3.1
/// reserves the number), so no zone can hold one.
const ADDRESSES: RecordType = RecordType(65_535);

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
            Verdict::refused(Rcode::SERVFAIL, ExtendedError::NOT_READY).in_zone(location.zone)
        }
        Some(location) => match chase(authority, qtype, &mut Chain::of(key.name), location, reply) {
            End::Said(rcode) => Verdict::authoritative(rcode, subject(location, key.hash, reply.is_denial())),
            End::Denied(rcode) => Verdict::authoritative(rcode, Subject::Denial(location.zone.into())),
            End::Redirected(rcode) => Verdict::authoritative(rcode, Subject::Wildcard(location.zone.into())),
            End::Referred { cut } => Verdict::referral(cut),
            End::Unknown => Verdict::refused(Rcode::SERVFAIL, ExtendedError::NOT_READY),
        }
        .in_zone(location.zone),
        None => {
            reply.trail.note(|| Step::NoZone);
            Verdict::refused(Rcode::REFUSED, ExtendedError::NOT_AUTHORITATIVE)
        }
    }
}

/// How an answer ended.
#[derive(Clone, Copy)]
enum End {
    /// With what we say.
    Said(Rcode),
    /// With what we say, which is that there is nothing: also where that does not fit, or is not signed.
    Denied(Rcode),
    /// With what a DNAME makes of the name that was asked for.
    Redirected(Rcode),
    /// With others to be asked; the hash of the name that they answer for.
    Referred { cut: u64 },
    /// It is not known yet what is to be said.
    Unknown,
}

/// What an answer is about. Names that follow from a wildcard are as many as somebody likes to make up, and so are those
/// that are not there, whatever else is said of them (their NSEC record, or that it does not fit).
fn subject(location: Location<'_>, name: u64, is_denial: bool) -> Subject {
    let zone = u64::from(location.zone);
    match location.node {
        _ if is_denial => Subject::Denial(zone),
        Node::Exact(_) => Subject::Name(name),
        Node::Wildcard(_) => Subject::Wildcard(zone),
        Node::Implied | Node::Missing => Subject::Denial(zone),
    }
}

/// Notes where a name lies, and what is there.
#[inline]
fn note(authority: &Authority<'_>, location: Location<'_>, name: &[u8], trail: &mut Trail) {
    let Location { zone, node, mail } = location;
    let zones = authority.zones;
    trail.note(|| Step::Zone {
        apex: zones.zone(zone).map_or_else(Name::root, |zone| zone.apex().clone()),
        paused: zones.paused.has(zone),
        signed: zones.signed.has(zone),
    });
    trail.note(|| match node {
        Node::Exact(entry) => Step::Exact { name: told(name), proxied: zones.is_proxied(zone, entry) },
        Node::Wildcard(_) | Node::Implied | Node::Missing => Step::Missing { name: told(name) },
    });
    if let Node::Wildcard(entry) = node {
        trail.note(|| Step::Wildcard { wildcard: told(entry.name()), proxied: zones.is_proxied(zone, entry) });
    }
    if mail != Mail::AsIs {
        trail.note(|| Step::Phishing);
    }
}

/// Notes for which name outside an apex stands.
fn note_unresolved(authority: &Authority<'_>, location: Location<'_>, trail: &mut Trail) {
    trail.note(|| {
        let cname = location.node.entry().and_then(|entry| entry.set(RecordType::CNAME));
        let target = cname.and_then(|cname| flat::outside(authority.zones, cname.rdata().next()?, |_| {}));
        Step::Unresolved { target: told(target.unwrap_or_default()) }
    });
}

/// Answers from a location, and from those that CNAMEs lead to while they lie in our zones.
fn chase<'z: 'n, 'n>(
    authority: &Authority<'z>,
    qtype: RecordType,
    chain: &mut Chain<'n>,
    mut location: Location<'z>,
    reply: &mut Reply<'_, '_>,
) -> End {
    let so_far = End::Said(Rcode::NOERROR);
    loop {
        let name = chain.name();
        Mail::note(authority.zones, &mut location, name);
        note(authority, location, name, reply.trail);
        match authority.zones.turn(location.zone, name).filter(|turn| location.mail.obeys(*turn)) {
            // DS at the cut is the parent's own data (RFC 4035 §3.1.4.1).
            Some(Turn::Cut(cut)) if qtype == RecordType::DS && cut.name() == name => {}
            Some(Turn::Cut(cut)) if chain.is_empty() => {
                reply.trail.note(|| Step::Delegated { cut: told(cut.name()) });
                refer(authority, cut, chain, reply);
                return End::Referred { cut: authority.zones.key(cut.name()).hash };
            }
            // From here on the resolver follows the chain, as it does beyond our zones (RFC 1034 §5.3.3, step 4c).
            Some(Turn::Cut(_)) => return so_far,
            Some(Turn::Dname(owner, dname)) => {
                reply.trail.note(|| Step::Redirected { owner: told(owner.name()) });
                let is_asked = chain.is_empty();
                return match redirect(authority, qtype, *chain, owner, dname, reply) {
                    End::Said(rcode) | End::Denied(rcode) if is_asked => End::Redirected(rcode),
                    end => end,
                };
            }
            None => {}
        }
        // A signed name has these records wherever it is, even if it is not (RFC 9824 §3.1).
        if matches!(qtype, RecordType::NSEC | RecordType::RRSIG) {
            let standing = standing(authority, location, name);
            if prove(authority, qtype, location, chain, standing, Section::Answer, reply).is_some() {
                return so_far;
            }
        }
        match find(authority, location, qtype) {
            Find::Nothing => {
                let rcode = deny(authority, qtype, location, chain, reply);
                return if chain.is_empty() { End::Denied(rcode) } else { End::Said(rcode) };
            }
            Find::Unknown => {
                note_unresolved(authority, location, reply.trail);
                return if chain.is_empty() { End::Unknown } else { so_far };
            }
            Find::Alias(set) => {
                let is_put = reply.put(Section::Answer, chain.spot(location), set) == Fit::Whole;
                reply.trail.note(|| Step::Alias { target: told(set.rdata().next().unwrap_or_default()) });
                // Beyond our zones, in a zone that is held, and beyond the limit, the resolver follows the chain.
                let next = set.rdata().next().filter(|target| is_put && chain.follow(target));
                match next.and_then(|target| locate_known(authority, target)) {
                    Some(next) => location = next,
                    None => return so_far,
                }
            }
            found => {
                let fit = put_found(authority, reply, Section::Answer, chain.spot(location), qtype, found);
                if fit == Fit::Whole {
                    tell_targets(authority, reply, name, found);
                }
                return so_far;
            }
        }
    }
}

/// Goes on from a name that an answer was led to.
fn go_on<'n>(authority: &Authority<'n>, qtype: RecordType, chain: Chain<'n>, reply: &mut Reply<'_, '_>) -> End {
    let mut chain = chain;
    match locate_known(authority, chain.name()) {
        Some(location) => chase(authority, qtype, &mut chain, location, reply),
        None => End::Said(Rcode::NOERROR),
    }
}
