//! The rules of one scope: of everywhere, of an account, or of a zone.

use std::cmp::Reverse;
use std::net::IpAddr;

use bartizan_names::{AccessTarget, Asn, CountryCode, Prefix, RuleId};

use crate::leaf::{Entry, Hit, Marks, Written};
use crate::rule::{Coverage, Level, Rule, Source, Strength};
use crate::rule_index::TreeKey;
use crate::tree::Tree;

/// A tree for each kind of target; networks and countries are keys of full length.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    four: Tree<u32>,
    six: Tree<u128>,
    asns: Tree<u32>,
    countries: Tree<u32>,
}

/// By what a rule matched, the more specific the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    Country,
    Asn,
    Address,
}

/// A rule that matches.
#[derive(Clone, Copy)]
pub(crate) struct Found<'f> {
    hit: Hit<'f>,
    by: By,
    coverage: Coverage,
}

impl<'f> Found<'f> {
    /// What decides: the strongest mode, then the most specific target, then the narrowest level.
    fn rank(&self) -> (Strength, By, u8, Level) {
        (Strength::of(self.hit.marks.mode()), self.by, self.hit.length, self.hit.marks.level())
    }

    /// Between rules that are equal in everything the one with the smaller id decides, so that all machines name the
    /// same.
    pub(crate) fn full_rank(&self) -> (impl Ord + use<>, Reverse<RuleId>) {
        (self.rank(), Reverse(self.hit.id()))
    }

    /// The deciding one of two.
    pub(crate) fn stronger(self, other: Found<'f>) -> Found<'f> {
        // Ids lie in memory of their own: they are looked at only between equals.
        match self.rank().cmp(&other.rank()) {
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Equal if self.hit.id() <= other.hit.id() => self,
            std::cmp::Ordering::Equal => other,
        }
    }

    pub(crate) fn id(&self) -> RuleId {
        self.hit.id()
    }

    pub(crate) fn marks(&self) -> Marks {
        self.hit.marks
    }

    /// The rule as it was put, for the source that it was found by.
    pub(crate) fn rule(&self, source: &Source) -> Rule {
        let target = match (self.by, self.hit.marks.written()) {
            (By::Country, _) => AccessTarget::Country(country(source)),
            (By::Asn, _) => AccessTarget::Asn(source.asn.unwrap_or(Asn(0))),
            (By::Address, Written::Address) => AccessTarget::Ip(source.address.to_canonical()),
            (By::Address, Written::Prefix) => AccessTarget::Range(prefix(source.address, self.hit.length)),
        };
        Rule {
            id: self.id(),
            level: self.hit.marks.level(),
            coverage: self.coverage,
            mode: self.hit.marks.mode(),
            target,
        }
    }
}

impl Scope {
    pub(crate) fn empty() -> Scope {
        Scope { four: Tree::empty(), six: Tree::empty(), asns: Tree::empty(), countries: Tree::empty() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.four.len() + self.six.len() + self.asns.len() + self.countries.len() == 0
    }

    /// Every rule that matches. `coverage` is that of the scope.
    // Hot: once a connection. No allocation.
    pub(crate) fn visit<'s>(&'s self, coverage: Coverage, source: &Source, mut found: impl FnMut(Found<'s>)) {
        // One that came by an IPv6 socket is written as an IPv6 address (RFC 4291 §2.5.5.2), and is an IPv4 address.
        match source.address.to_canonical() {
            IpAddr::V4(four) => self.four.visit(four.to_bits(), |hit| found(Found { hit, by: By::Address, coverage })),
            IpAddr::V6(six) => self.six.visit(six.to_bits(), |hit| found(Found { hit, by: By::Address, coverage })),
        }
        if let Some(asn) = source.asn {
            self.asns.visit(asn.0, |hit| found(Found { hit, by: By::Asn, coverage }));
        }
        let key = country_key(country(source).letters());
        self.countries.visit(key, |hit| found(Found { hit, by: By::Country, coverage }));
    }

    pub(crate) fn put(&mut self, key: TreeKey, marks: Marks, id: RuleId) {
        match key {
            TreeKey::Four(octets, length) => {
                self.four.put(Entry { key: u32::from_be_bytes(octets), length, marks, id });
            }
            TreeKey::Six(octets, length) => {
                self.six.put(Entry { key: u128::from_be_bytes(octets), length, marks, id });
            }
            TreeKey::Asn(octets) => {
                self.asns.put(Entry { key: u32::from_be_bytes(octets), length: FULL, marks, id });
            }
            TreeKey::Country(letters) => {
                self.countries.put(Entry { key: country_key(letters), length: FULL, marks, id });
            }
        }
    }

    /// Takes the rule out, if it is at this key.
    pub(crate) fn remove(&mut self, key: TreeKey, id: RuleId) -> Option<Marks> {
        match key {
            TreeKey::Four(octets, length) => self.four.remove(u32::from_be_bytes(octets), length, id),
            TreeKey::Six(octets, length) => self.six.remove(u128::from_be_bytes(octets), length, id),
            TreeKey::Asn(octets) => self.asns.remove(u32::from_be_bytes(octets), FULL, id),
            TreeKey::Country(letters) => self.countries.remove(country_key(letters), FULL, id),
        }
    }
}

/// The length of a key that stands for one thing only.
const FULL: u8 = 32;

/// The letters are the highest bits, which a tree compares first.
fn country_key([first, second]: [u8; 2]) -> u32 {
    u32::from_be_bytes([first, second, 0, 0])
}

fn country(source: &Source) -> CountryCode {
    source.country.unwrap_or(CountryCode::UNKNOWN)
}

/// The prefix of a length that a tree of the address's own family had.
fn prefix(address: IpAddr, length: u8) -> Prefix {
    Prefix::new(address.to_canonical(), length).unwrap_or(Prefix::host(address))
}
