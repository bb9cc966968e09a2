//! What a location serves of the type asked for.

use bartizan_names::RecordType;
use bartizan_signer::Announcement;

use crate::answer::Authority;
use crate::entry::{Flags, Set};
use crate::zone::Zone;
use crate::zones::Location;

/// What an entry has for a type.
pub(super) enum Find<'z> {
    Set(Set<'z>),
    Proxied,
    Any,
    Soa(&'z Zone),
    Nameservers(&'z Zone),
    /// The keys of a zone, and of others who sign it; or what is said of them to its parent.
    Keys(&'z Zone, Option<Set<'z>>),
    Alias(Set<'z>),
    Nothing,
}

pub(super) fn find<'z>(authority: &Authority<'z>, location: Location<'z>, qtype: RecordType) -> Find<'z> {
    let Some(entry) = location.node.entry() else { return Find::Nothing };
    let flags = entry.flags();
    let proxied = authority.zones.is_proxied(location.zone, entry);
    match qtype {
        RecordType::A if proxied => Find::proxied(authority.addresses.v4.is_empty()),
        RecordType::AAAA if proxied => Find::proxied(authority.addresses.v6.is_empty()),
        RecordType::CNAME if proxied => Find::Nothing,
        RecordType::SOA if flags.has(Flags::APEX) => Find::of_zone(authority, location, Find::Soa),
        RecordType::NS if flags.has(Flags::APEX) => Find::of_zone(authority, location, Find::Nameservers),
        RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY
            if flags.has(Flags::APEX) && authority.zones.signed.has(location.zone) =>
        {
            Find::keys(authority, location, qtype)
        }
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
