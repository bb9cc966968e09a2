//! Which records answer a question of class IN.
//!
//! RFC 1034 §4.3.2, RFC 2308 (negative answers), 4592 (wildcards), 6604 (response code of a
//! chain), 8482 (ANY).

use std::net::{Ipv4Addr, Ipv6Addr};

use bartizan_names::RecordType;
use bartizan_wire::dns::{Answer, Authoritative, Fit, Owner, Rcode, Section};

use crate::answer::Authority;
use crate::entry::{Entry, Flags, Set};
use crate::zone::{NEGATIVE_TTL, SOA_TTL, Zone};
use crate::zones::{First, Key, Location, Node};

/// CNAMEs followed inside our own zones (RFC 1034 §4.3.2, step 3a). Beyond it the answer is what was found so far.
/// Eight is enough for two hand-overs between networks, and makes a loop cheap (RFC 1034 §3.6.2).
const CHAIN_MAX: usize = 8;

/// Seconds that the addresses of a proxied name may be kept: short, so that a PoP can be taken out of service.
const PROXIED_TTL: u32 = 300;

/// Name servers of one zone whose addresses are added: as many as the root has. Zones usually have two.
const SERVERS_TOLD_MAX: usize = 13;

/// The answer to ANY (RFC 8482 §4.2), its CPU field saying why, and how long it may be kept in seconds.
const ANY_HINFO: &[u8] = b"\x07RFC8482\0";
const ANY_TTL: u32 = 3_600;

/// Query types that are not types of records (RFC 6895 §3.1), or that cannot be asked for.
const NXNAME: RecordType = RecordType(128);
const TKEY: RecordType = RecordType(249);
const TSIG: RecordType = RecordType(250);
const MAILB: RecordType = RecordType(253);
const MAILA: RecordType = RecordType(254);

/// What an entry has for a type.
enum Find<'z> {
    Set(Set<'z>),
    Proxied,
    Any,
    Soa(&'z Zone),
    Nameservers(&'z Zone),
    Alias(Set<'z>),
    Nothing,
}

/// Fills the answer to a question; gives its response code.
pub(crate) fn resolve<'z>(
    authority: &Authority<'z>,
    qtype: RecordType,
    key: Key<'_>,
    first: First<'z>,
    answer: &mut Answer<'_>,
) -> (Rcode, Authoritative) {
    match qtype {
        // AXFR and IXFR (RFC 5936, RFC 1995): no secondary is configured, so transfers are refused.
        RecordType::AXFR | RecordType::IXFR => return (Rcode::REFUSED, Authoritative::No),
        // RFC 9824 §3.1 for NXNAME; the others only ever occur beside a question.
        RecordType::OPT | TSIG | NXNAME => return (Rcode::FORMERR, Authoritative::No),
        TKEY | MAILA | MAILB => return (Rcode::NOTIMP, Authoritative::No),
        _ => {}
    }
    match authority.zones.locate(key, first) {
        // RFC 1035 §4.1.1: "unable to process this query due to a problem with the name server".
        Some(location) if authority.zones.held.has(location.zone) => (Rcode::SERVFAIL, Authoritative::No),
        Some(location) => match authority.zones.cut(location.zone, key.name) {
            Some(cut) if !(qtype == RecordType::DS && cut.name() == key.name) => {
                refer(authority, cut, key.name, answer);
                (Rcode::NOERROR, Authoritative::No)
            }
            // DS at the cut is the parent's own data (RFC 4035 §3.1.4.1).
            _ => (chase(authority, qtype, key.name, location, answer), Authoritative::Yes),
        },
        None => (Rcode::REFUSED, Authoritative::No),
    }
}

/// Leads to the servers of the zone that begins at `cut`, with the addresses that are known of them (RFC 1034 §4.3.2,
/// step 3b).
fn refer(authority: &Authority<'_>, cut: Entry<'_>, name: &[u8], answer: &mut Answer<'_>) {
    let Some(set) = cut.set(RecordType::NS) else { return };
    let owner = Owner::Question(name.len() - cut.name().len());
    if answer.record_set(Section::Authority, owner, RecordType::NS, set.ttl(), set.rdata()) == Fit::Whole {
        set.rdata().take(SERVERS_TOLD_MAX).for_each(|server| tell_addresses(authority, answer, server));
    }
}

/// Answers from a location, and from those that CNAMEs lead to while they lie in our zones.
fn chase<'z>(
    authority: &Authority<'z>,
    qtype: RecordType,
    name: &[u8],
    mut location: Location<'z>,
    answer: &mut Answer<'_>,
) -> Rcode {
    let mut chain = Chain::default();
    loop {
        let owner = chain.owner();
        match find(authority, location, qtype) {
            Find::Nothing => return deny(authority, location, name, &chain, answer),
            Find::Alias(set) => {
                if put(answer, owner, set) == Fit::Dropped {
                    return Rcode::NOERROR;
                }
                // Beyond our zones, below a cut, in a zone that is held, and beyond the limit, the resolver follows the chain (RFC 1034 §5.3.3, step 4c).
                let next = (set.rdata().next()).filter(|target| chain.follow(name, target)).and_then(|target| {
                    let location = locate_known(authority, target)?;
                    authority.zones.cut(location.zone, target).is_none().then_some(location)
                });
                match next {
                    Some(next) => location = next,
                    None => return Rcode::NOERROR,
                }
            }
            found => {
                put_found(authority, answer, owner, qtype, found);
                return Rcode::NOERROR;
            }
        }
    }
}

fn find<'z>(authority: &Authority<'z>, location: Location<'z>, qtype: RecordType) -> Find<'z> {
    let Some(entry) = location.node.entry() else { return Find::Nothing };
    let flags = entry.flags();
    let proxied = authority.zones.is_proxied(location.zone, entry);
    match qtype {
        RecordType::A if proxied => Find::proxied(authority.addresses.v4.is_empty()),
        RecordType::AAAA if proxied => Find::proxied(authority.addresses.v6.is_empty()),
        RecordType::CNAME if proxied => Find::Nothing,
        RecordType::SOA if flags.has(Flags::APEX) => Find::of_zone(authority, location, Find::Soa),
        RecordType::NS if flags.has(Flags::APEX) => Find::of_zone(authority, location, Find::Nameservers),
        RecordType::ANY if flags.has(Flags::APEX) || entry.has_content() => Find::Any,
        _ => match entry.set(qtype) {
            Some(set) => Find::Set(set),
            None if flags.has(Flags::ALIAS) && !proxied => {
                entry.set(RecordType::CNAME).map_or(Find::Nothing, Find::Alias)
            }
            None => Find::Nothing,
        },
    }
}

impl<'z> Find<'z> {
    /// A proxied name without an address of the family asked for has no records of that type.
    fn proxied(no_address: bool) -> Find<'z> {
        if no_address { Find::Nothing } else { Find::Proxied }
    }

    fn of_zone(authority: &Authority<'z>, location: Location<'z>, what: fn(&'z Zone) -> Find<'z>) -> Find<'z> {
        authority.zones.zone(location.zone).map_or(Find::Nothing, |zone| what(zone))
    }
}

/// Writes what was found. A set that does not fit is left out, and the answer is marked as truncated (RFC 2181 §9).
fn put_found(authority: &Authority<'_>, answer: &mut Answer<'_>, owner: Owner<'_>, qtype: RecordType, found: Find<'_>) {
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
                let servers = zone.ns.rdata.iter().take(SERVERS_TOLD_MAX);
                servers.for_each(|server| tell_addresses(authority, answer, server));
            }
            fit
        }
        Find::Nothing => Fit::Whole,
    };
}

/// Where a name lies in our zones, if anything is known of its zone.
fn locate_known<'z>(authority: &Authority<'z>, name: &[u8]) -> Option<Location<'z>> {
    let location = authority.zones.locate(authority.zones.key(name), First::Unknown)?;
    (!authority.zones.held.has(location.zone)).then_some(location)
}

/// Adds the addresses of a name server that lies in our zones (RFC 1034 §4.3.2, step 6): a resolver needs them next.
fn tell_addresses(authority: &Authority<'_>, answer: &mut Answer<'_>, server: &[u8]) {
    let location = locate_known(authority, server);
    let Some((zone, entry)) = location.and_then(|location| Some((location.zone, location.node.entry()?))) else {
        return;
    };
    let (section, owner, addresses) = (Section::Additional, Owner::Name(server), authority.addresses);
    if authority.zones.is_proxied(zone, entry) {
        let (v4, v6) = (addresses.v4.iter().map(Ipv4Addr::octets), addresses.v6.iter().map(Ipv6Addr::octets));
        answer.record_set(section, owner, RecordType::A, PROXIED_TTL, v4);
        answer.record_set(section, owner, RecordType::AAAA, PROXIED_TTL, v6);
        return;
    }
    for set in [RecordType::A, RecordType::AAAA].into_iter().filter_map(|rtype| entry.set(rtype)) {
        answer.record_set(section, owner, set.rtype, set.ttl(), set.rdata());
    }
}

/// Writes a record set: as the block that it is, where nothing in it could be compressed. Names in the data of types that
/// came after RFC 1035 never are (RFC 3597 §4).
fn put(answer: &mut Answer<'_>, owner: Owner<'_>, set: Set<'_>) -> Fit {
    match (owner, set.rtype) {
        (_, RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::MX) | (Owner::Name(_), _) => {
            answer.record_set(Section::Answer, owner, set.rtype, set.ttl(), set.rdata())
        }
        (Owner::Question(_), _) => answer.block(Section::Answer, set.block, set.count),
    }
}

/// Says that there is no such name, or no such type at it, with the SOA of the zone that knows (RFC 2308 §2).
fn deny(
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

/// The targets of the CNAMEs of an answer, in order.
#[derive(Default)]
struct Chain<'z> {
    targets: [&'z [u8]; CHAIN_MAX],
    len: usize,
}

impl<'z> Chain<'z> {
    /// Whose records come next.
    fn owner(&self) -> Owner<'z> {
        match self.targets[..self.len].last() {
            Some(target) => Owner::Name(target),
            None => Owner::Question(0),
        }
    }

    /// Goes on to `target`, unless the chain that began at `name` was there already, or is too long.
    fn follow(&mut self, name: &[u8], target: &'z [u8]) -> bool {
        if self.len == CHAIN_MAX || target == name || self.targets[..self.len].contains(&target) {
            return false;
        }
        self.targets[self.len] = target;
        self.len += 1;
        true
    }
}
