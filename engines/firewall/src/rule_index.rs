//! Where the rule of an id is: in the trees of which scope, and at which prefix.
//!
//! An entry keeps two octets of the id beside those that chose its part, so a search may name a few wrong keys too: the
//! caller looks for the whole id there. That keeps a rule below 64 octets in all.

use std::net::Ipv4Addr;

use bartizan_live::Shards;
use bartizan_names::{AccessTarget, Asn, CountryCode, RuleId};

use crate::rule::{Coverage, Source};

/// A key in the trees of a scope, as octets, so that it has no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TreeKey {
    Four([u8; 4], u8),
    Six([u8; 16], u8),
    Asn([u8; 4]),
    Country([u8; 2]),
}

/// The first octets of the id of an account or a zone; zeros for everywhere, and for what begins so.
pub(crate) type ScopeStart = [u8; 4];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Indexed {
    rest: [u8; 2],
    scope: ScopeStart,
    key: TreeKey,
}

#[derive(Clone, Debug)]
pub(crate) struct RuleIndex {
    /// Each part ascending by `rest`.
    parts: Shards<Indexed>,
    len: usize,
}

impl TreeKey {
    pub(crate) fn of(target: &AccessTarget) -> TreeKey {
        let of_address = |address: std::net::IpAddr, length| match address {
            std::net::IpAddr::V4(four) => TreeKey::Four(four.octets(), length),
            std::net::IpAddr::V6(six) => TreeKey::Six(six.octets(), length),
        };
        match target {
            AccessTarget::Ip(address) => {
                let host = bartizan_names::Prefix::host(*address);
                of_address(host.network(), host.length())
            }
            AccessTarget::Range(prefix) => of_address(prefix.network(), prefix.length()),
            AccessTarget::Asn(asn) => TreeKey::Asn(asn.0.to_be_bytes()),
            AccessTarget::Country(code) => TreeKey::Country(code.letters()),
        }
    }

    /// A source that a rule with this key matches.
    pub(crate) fn source(self) -> Source {
        let mut source = Source { address: Ipv4Addr::UNSPECIFIED.into(), country: None, asn: None };
        match self {
            TreeKey::Four(octets, _) => source.address = octets.into(),
            TreeKey::Six(octets, _) => source.address = octets.into(),
            TreeKey::Asn(octets) => source.asn = Some(Asn(u32::from_be_bytes(octets))),
            TreeKey::Country(letters) => source.country = CountryCode::new(letters).ok(),
        }
        source
    }
}

pub(crate) fn scope_start(coverage: Coverage) -> ScopeStart {
    let id = match &coverage {
        Coverage::Everywhere => None,
        Coverage::Account(account) => account.as_bytes().first_chunk(),
        Coverage::Zone(zone) => zone.as_bytes().first_chunk(),
    };
    id.copied().unwrap_or_default()
}

impl RuleIndex {
    pub(crate) fn empty() -> RuleIndex {
        RuleIndex { parts: Shards::empty(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the rule may be. It is under one of these keys, if it is anywhere.
    pub(crate) fn candidates(&self, id: RuleId) -> impl Iterator<Item = (ScopeStart, TreeKey)> {
        let [a, b, c, d, ..] = *id.as_bytes();
        let part = self.parts.part(u16::from_be_bytes([a, b]));
        let first = part.partition_point(|indexed| indexed.rest < [c, d]);
        part[first..]
            .iter()
            .take_while(move |indexed| indexed.rest == [c, d])
            .map(|indexed| (indexed.scope, indexed.key))
    }

    pub(crate) fn put(&mut self, id: RuleId, scope: ScopeStart, key: TreeKey) {
        let [a, b, c, d, ..] = *id.as_bytes();
        let part = self.parts.part_mut(u16::from_be_bytes([a, b]));
        let at = part.partition_point(|indexed| indexed.rest < [c, d]);
        // Room for one more, where `push` would double it: memory counts here, and parts are small.
        part.reserve_exact(1);
        part.insert(at, Indexed { rest: [c, d], scope, key });
        debug_assert!(part.is_sorted_by_key(|indexed| indexed.rest), "a part is ascending");
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, id: RuleId, scope: ScopeStart, key: TreeKey) {
        let [a, b, c, d, ..] = *id.as_bytes();
        let part = self.parts.part_mut(u16::from_be_bytes([a, b]));
        if let Some(at) = part.iter().position(|indexed| *indexed == Indexed { rest: [c, d], scope, key }) {
            part.remove(at);
            debug_assert!(self.len > 0, "the count is that of all entries");
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_24_octets() {
        assert_eq!(size_of::<Indexed>(), 24);
    }
}
