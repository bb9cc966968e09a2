//! An apex with a CNAME stands for another name: what that one has as addresses is told as the apex's own, since the apex
//! has SOA and NS, beside which no CNAME may be (RFC 1034 §3.6.2).
//!
//! Names in our zones are followed here. What others know is looked up ahead of queries and kept in `Outside`.

use bartizan_names::RecordType;
use bartizan_wire::dns::{Fit, Section};

use super::chain::CHAIN_MAX;
use super::find::Find;
use super::put::PROXIED_TTL;
use crate::answer::Authority;
use crate::entry::{Entry, Flags, Set};
use crate::outside::OutsideName;
use crate::reply::{Reply, Spot};
use crate::steer::steered;
use crate::zones::{First, Zones};

/// Addresses of another name.
#[derive(Clone, Copy)]
pub(super) struct Flat<'z> {
    source: Source<'z>,
    /// Seconds: the shortest of those on the way.
    ttl: u32,
}

#[derive(Clone, Copy)]
enum Source<'z> {
    Pop,
    Set(Set<'z>),
    Outside(&'z OutsideName),
    Steered(Entry<'z>),
}

/// Where a way along CNAMEs ends.
enum End<'z> {
    /// Here, and whether it is proxied.
    Entry(Entry<'z>, bool),
    /// At a name that is not ours to tell about.
    Outside(&'z [u8]),
    Nothing,
}

/// The addresses of one family that an apex with this CNAME has. It has nothing of other types by it.
pub(super) fn find<'z>(authority: &Authority<'z>, cname: Set<'z>, qtype: RecordType) -> Find<'z> {
    if !matches!(qtype, RecordType::A | RecordType::AAAA) {
        return Find::Nothing;
    }
    let Some(target) = cname.rdata().next() else { return Find::Nothing };
    let mut ttl = cname.ttl();
    let source = match end(authority.zones, target, &mut ttl, |_| {}) {
        End::Entry(_, true) => {
            ttl = ttl.min(PROXIED_TTL);
            let addresses = authority.addresses;
            let has = if qtype == RecordType::A { !addresses.v4.is_empty() } else { !addresses.v6.is_empty() };
            has.then_some(Source::Pop)
        }
        End::Entry(entry, false) if entry.flags().has(Flags::STEERED) => {
            match super::find::steered(authority, entry, qtype) {
                Find::Steered(_) => Some(Source::Steered(entry)),
                Find::Unknown => return Find::Unknown,
                _ => None,
            }
        }
        End::Entry(entry, false) => entry.set(qtype).map(|set| {
            ttl = ttl.min(set.ttl());
            Source::Set(set)
        }),
        End::Outside(name) => match authority.outside.and_then(|outside| outside.get(name)) {
            None => return Find::Unknown,
            Some(known) => {
                ttl = ttl.min(known.ttl);
                let has = if qtype == RecordType::A { !known.v4.is_empty() } else { !known.v6.is_empty() };
                has.then_some(Source::Outside(known))
            }
        },
        End::Nothing => None,
    };
    source.map_or(Find::Nothing, |source| Find::Flat(Flat { source, ttl }))
}

/// The name outside our zones at which the way from `target` ends, if it leads there. `pass` is given each name on the way.
pub(crate) fn outside<'z>(zones: &'z Zones, target: &'z [u8], pass: impl FnMut(&'z [u8])) -> Option<&'z [u8]> {
    match end(zones, target, &mut 0, pass) {
        End::Outside(name) => Some(name),
        End::Entry(..) | End::Nothing => None,
    }
}

/// Follows CNAMEs from `target`, at most as many as answers do.
fn end<'z>(zones: &'z Zones, mut target: &'z [u8], ttl: &mut u32, mut pass: impl FnMut(&'z [u8])) -> End<'z> {
    for _ in 0..CHAIN_MAX {
        pass(target);
        let Some(location) = zones.locate(zones.key(target), First::Unknown) else { return End::Outside(target) };
        // Whoever a name is delegated to, and whoever follows a DNAME, is asked as anybody else.
        if zones.turn(location.zone, target).is_some() || zones.held.has(location.zone) {
            return End::Outside(target);
        }
        let Some(entry) = location.node.entry() else { return End::Nothing };
        let is_proxied = zones.is_proxied(location.zone, entry);
        let cname = || entry.set(RecordType::CNAME).filter(|_| entry.flags().has(Flags::ALIAS) && !is_proxied);
        match cname().and_then(|set| Some((set.ttl(), set.rdata().next()?))) {
            Some((next_ttl, next)) => (*ttl, target) = ((*ttl).min(next_ttl), next),
            None => return End::Entry(entry, is_proxied),
        }
    }
    End::Nothing
}

impl Flat<'_> {
    pub(super) fn put(
        self,
        authority: &Authority<'_>,
        reply: &mut Reply<'_, '_>,
        section: Section,
        spot: Spot<'_>,
        qtype: RecordType,
    ) -> Fit {
        let (addresses, ttl) = (authority.addresses, self.ttl);
        match (self.source, qtype) {
            (Source::Steered(entry), _) => {
                let Some(steered) = steered(authority, entry) else { return Fit::Whole };
                steered.put(reply, section, spot, qtype, ttl)
            }
            (Source::Set(set), _) => reply.put_data(section, spot, qtype, ttl, set.rdata()),
            (Source::Pop, RecordType::A) => {
                reply.put_data(section, spot, qtype, ttl, addresses.v4.iter().map(|address| address.octets()))
            }
            (Source::Pop, _) => {
                reply.put_data(section, spot, qtype, ttl, addresses.v6.iter().map(|address| address.octets()))
            }
            (Source::Outside(known), RecordType::A) => {
                reply.put_data(section, spot, qtype, ttl, known.v4.iter().map(|address| address.octets()))
            }
            (Source::Outside(known), _) => {
                reply.put_data(section, spot, qtype, ttl, known.v6.iter().map(|address| address.octets()))
            }
        }
    }
}
