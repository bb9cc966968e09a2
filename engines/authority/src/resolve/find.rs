//! What a location serves of the type asked for.

use bartizan_names::RecordType;
use bartizan_signer::Announcement;

use super::ADDRESSES;
use super::flat::{self, Flat};
use crate::answer::Authority;
use crate::entry::{Entry, Flags, Set};
use crate::mail::{self, Mail};
use crate::steer;
use crate::zone::Zone;
use crate::zones::{Location, Node};

/// What an entry has for a type.
#[derive(Clone, Copy)]
pub(super) enum Find<'z> {
    Set(Set<'z>),
    /// Addresses of this PoP.
    Proxied,
    /// Addresses of servers that are chosen for this question, or their names and ports at a name of a service.
    Steered(Entry<'z>),
    /// Addresses of another name, as those of this one.
    Flat(Flat<'z>),
    /// All addresses of this location.
    Addresses(Location<'z>),
    /// How to reach the HTTP edge of this PoP: without HTTP/2 or HTTP/3 in the zones that want it so.
    Service {
        http2: bool,
        http3: bool,
    },
    Any,
    Soa(&'z Zone),
    Nameservers(&'z Zone),
    /// The keys of a zone, and of others who sign it; or what is said of them to its parent.
    Keys(&'z Zone, Option<Set<'z>>),
    Alias(Set<'z>),
    /// Of a set of texts, those that say nothing of who sends mail.
    OtherText(Set<'z>),
    /// That mail from here is to be rejected.
    Reject,
    Nothing,
    /// It depends on a name outside our zones whose addresses nobody has told yet.
    Unknown,
}

pub(super) fn find<'z>(authority: &Authority<'z>, location: Location<'z>, qtype: RecordType) -> Find<'z> {
    match (location.mail, qtype) {
        (Mail::Gone { .. }, _) => return Find::Nothing,
        (Mail::Reject { .. }, _) if matches!(location.node, Node::Missing) => return Find::Nothing,
        (Mail::Reject { .. }, RecordType::TXT) => return Find::Reject,
        (Mail::Reject { .. }, RecordType::ANY) => return Find::Any,
        (Mail::Reject { .. }, _) => return Find::Nothing,
        (Mail::Unsigned | Mail::AsIs, _) => {}
    }
    let Some(entry) = location.node.entry() else { return Find::Nothing };
    let flags = entry.flags();
    let proxied = authority.zones.is_proxied(location.zone, entry);
    let has_own = || !flags.has(Flags::PROXIED_ALWAYS) && entry.set(RecordType::HTTPS).is_none();
    match qtype {
        RecordType::A if proxied => Find::proxied(authority.addresses.v4.is_empty()),
        RecordType::AAAA if proxied => Find::proxied(authority.addresses.v6.is_empty()),
        RecordType::SRV if flags.has(Flags::STEERED) && steer::is_service(entry.name()) => services(authority, entry),
        // What stands for another name at an apex is told as addresses, and as nothing else.
        RecordType::A | RecordType::AAAA if flags.has(Flags::STEERED) => steered(authority, entry, qtype),
        RecordType::CNAME if proxied || flags.has(Flags::APEX) => Find::Nothing,
        // It would send visitors to HTTPS (RFC 9460 §9.5), and HTTPS sends them back.
        RecordType::HTTPS if proxied && has_own() && authority.zones.clear_only.has(location.zone) => Find::Nothing,
        RecordType::HTTPS if proxied && has_own() => {
            let zones = authority.zones;
            Find::Service {
                http2: !zones.http1_only.has(location.zone),
                http3: authority.addresses.http3 && !zones.tcp_only.has(location.zone),
            }
        }
        RecordType::SOA if flags.has(Flags::APEX) => Find::of_zone(authority, location, Find::Soa),
        RecordType::NS if flags.has(Flags::APEX) => Find::of_zone(authority, location, Find::Nameservers),
        RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY
            if flags.has(Flags::APEX) && authority.zones.signed.has(location.zone) =>
        {
            Find::keys(authority, location, qtype)
        }
        RecordType::ANY if flags.has(Flags::APEX) || entry.has_content() => Find::Any,
        RecordType::TXT | mail::SPF if location.mail == Mail::Unsigned && entry.set(qtype).is_some() => {
            let is_mute = flags.has(Flags::APEX) && authority.zones.without_text.has(location.zone);
            mail::other_text(entry, qtype).filter(|_| !is_mute).map_or(Find::Nothing, Find::OtherText)
        }
        ADDRESSES => addresses(authority, location),
        _ => match entry.set(qtype) {
            Some(set) => Find::Set(set),
            None if flags.has(Flags::ALIAS) && !proxied => match entry.set(RecordType::CNAME) {
                Some(cname) if flags.has(Flags::APEX) => flat::find(authority, cname, qtype),
                Some(cname) => Find::Alias(cname),
                None => Find::Nothing,
            },
            None => Find::Nothing,
        },
    }
}

/// Addresses of servers, if one of them has some of this kind. What nobody knows is not said to be nothing.
pub(super) fn steered<'z>(authority: &Authority<'z>, entry: Entry<'z>, qtype: RecordType) -> Find<'z> {
    match steer::steered(authority, entry) {
        Some(steered) if steered.has(qtype) => Find::Steered(entry),
        Some(_) => Find::Nothing,
        None => Find::Unknown,
    }
}

/// The same of the servers of a service.
fn services<'z>(authority: &Authority<'z>, entry: Entry<'z>) -> Find<'z> {
    match steer::services(authority, entry) {
        Some(services) if services.is_empty() => Find::Nothing,
        Some(_) => Find::Steered(entry),
        None => Find::Unknown,
    }
}

/// Both families at once, or where one leads to by a CNAME.
fn addresses<'z>(authority: &Authority<'z>, location: Location<'z>) -> Find<'z> {
    let both = [RecordType::A, RecordType::AAAA].map(|rtype| find(authority, location, rtype));
    match both {
        [Find::Nothing, Find::Nothing] => Find::Nothing,
        [alias @ Find::Alias(_), _] | [_, alias @ Find::Alias(_)] => {
            let is_alone = both.iter().all(|found| matches!(found, Find::Alias(_)));
            if is_alone { alias } else { Find::Addresses(location) }
        }
        [Find::Unknown, _] | [_, Find::Unknown] => Find::Unknown,
        _ => Find::Addresses(location),
    }
}

impl<'z> Find<'z> {
    /// A proxied name without an address of the family asked for has no records of that type.
    fn proxied(no_address: bool) -> Find<'z> {
        if no_address { Find::Nothing } else { Find::Proxied }
    }

    fn keys(authority: &Authority<'z>, location: Location<'z>, qtype: RecordType) -> Find<'z> {
        let Some(zone) = authority.zones.zone(location.zone) else { return Find::Nothing };
        let announcement = zone.facts.dnssec.as_ref().map_or(Announcement::None, |keys| keys.announcement);
        match (qtype, announcement) {
            (RecordType::DNSKEY, _) => Find::Keys(zone, location.node.entry().and_then(|entry| entry.set(qtype))),
            (_, Announcement::None) => Find::Nothing,
            (_, Announcement::Keys | Announcement::Delete) => Find::Keys(zone, None),
        }
    }

    fn of_zone(authority: &Authority<'z>, location: Location<'z>, what: fn(&'z Zone) -> Find<'z>) -> Find<'z> {
        authority.zones.zone(location.zone).map_or(Find::Nothing, |zone| what(zone))
    }
}
