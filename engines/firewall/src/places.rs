//! Where the rule of an id is: in which zone's trees, and at which prefix.
//!
//! An entry keeps two octets of the id beside those that chose its part, so a search may name a few wrong places too: the
//! caller looks for the whole id there. That keeps a rule below 64 octets in all.

use bartizan_names::{RuleId, ZoneId};

use crate::rule::Target;
use crate::shards::Shards;

/// A place in one scope's trees, as octets so that no room is lost between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Four([u8; 4], u8),
    Six([u8; 16], u8),
    Asn([u8; 4]),
    Country([u8; 2]),
}

/// The first octets of a zone's id; zeros for everywhere, and for a zone that begins so.
pub(crate) type ZoneStart = [u8; 4];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placed {
    rest: [u8; 2],
    zone: ZoneStart,
    place: Place,
}

#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Each part ascending by `rest`.
    parts: Shards<Placed>,
    len: usize,
}

impl Place {
    pub(crate) fn of(target: &Target) -> Place {
        let of_address = |address: std::net::IpAddr, length| match address {
            std::net::IpAddr::V4(four) => Place::Four(four.octets(), length),
            std::net::IpAddr::V6(six) => Place::Six(six.octets(), length),
        };
        match target {
            Target::Ip(address) => {
                let host = bartizan_names::Prefix::host(*address);
                of_address(host.network(), host.length())
            }
            Target::Range(prefix) => of_address(prefix.network(), prefix.length()),
            Target::Asn(asn) => Place::Asn(asn.0.to_be_bytes()),
            Target::Country(code) => Place::Country(code.letters()),
        }
    }
}

pub(crate) fn zone_start(zone: Option<ZoneId>) -> ZoneStart {
    zone.and_then(|zone| zone.as_bytes().first_chunk().copied()).unwrap_or_default()
}

impl Places {
    pub(crate) fn empty() -> Places {
        Places { parts: Shards::empty(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the rule may be. In one of these places it is, if it is anywhere.
    pub(crate) fn candidates(&self, id: RuleId) -> impl Iterator<Item = (ZoneStart, Place)> {
        let [a, b, c, d, ..] = *id.as_bytes();
        let part = self.parts.part([a, b]);
        let first = part.partition_point(|placed| placed.rest < [c, d]);
        part[first..].iter().take_while(move |placed| placed.rest == [c, d]).map(|placed| (placed.zone, placed.place))
    }

    pub(crate) fn put(&mut self, id: RuleId, zone: ZoneStart, place: Place) {
        let [a, b, c, d, ..] = *id.as_bytes();
        let part = self.parts.part_mut([a, b]);
        let at = part.partition_point(|placed| placed.rest < [c, d]);
        // Room for one, not for as many again: memory counts here, and parts are small.
        part.reserve_exact(1);
        part.insert(at, Placed { rest: [c, d], zone, place });
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, id: RuleId, zone: ZoneStart, place: Place) {
        let [a, b, c, d, ..] = *id.as_bytes();
        let part = self.parts.part_mut([a, b]);
        if let Some(at) = part.iter().position(|placed| *placed == Placed { rest: [c, d], zone, place }) {
            part.remove(at);
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_24_octets() {
        assert_eq!(size_of::<Placed>(), 24);
    }
}
