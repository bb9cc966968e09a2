//! The records of one zone, found by their names, and where a name of it leads.

use std::collections::{BTreeMap, HashMap};

use bartizan_model::Record;
use bartizan_names::{Name, RecordType};

/// A zone as its records have it.
pub struct View<'r> {
    pub apex: &'r Name,
    /// The zone's own, which the edge gives it.
    pub servers: &'r [Name],
    /// The operator found it to send phishing mail: what it says of mail is not told.
    pub is_flagged: bool,
    by_owner: HashMap<&'r Name, Vec<&'r Record>>,
    /// Names that exist only because of names below them (RFC 4592 §2.2.2).
    empty: HashMap<Name, ()>,
}

/// What a name of the zone, or outside of it, is to somebody who looks it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'r> {
    /// In another zone: nothing is known of it here.
    Elsewhere,
    /// At or below NS records: the zone there knows it.
    Delegated,
    /// It has these records, its own or those of a wildcard.
    Records(&'r [&'r Record]),
    /// It does not exist, or has no records.
    Nothing,
}

impl<'r> View<'r> {
    pub fn new(apex: &'r Name, servers: &'r [Name], records: &'r [Record]) -> View<'r> {
        let mut by_owner: HashMap<&Name, Vec<&Record>> = HashMap::new();
        for record in records {
            by_owner.entry(&record.owner).or_default().push(record);
        }
        let mut empty = HashMap::new();
        for owner in by_owner.keys() {
            let mut above = owner.parent();
            while let Some(name) = above.filter(|name| name != apex && name.is_at_or_below(apex)) {
                above = name.parent();
                if !by_owner.contains_key(&name) && empty.insert(name, ()).is_some() {
                    break;
                }
            }
        }
        View { apex, servers, is_flagged: false, by_owner, empty }
    }

    /// The same zone, which the operator found to send phishing mail or not.
    pub fn flagged(self, is_flagged: bool) -> View<'r> {
        View { is_flagged, ..self }
    }

    /// Names with records.
    pub fn owners(&self) -> impl Iterator<Item = (&'r Name, &[&'r Record])> {
        self.by_owner.iter().map(|(owner, records)| (*owner, records.as_slice()))
    }

    /// The records of a name itself.
    pub fn at(&self, name: &Name) -> &[&'r Record] {
        self.by_owner.get(name).map_or(&[], Vec::as_slice)
    }

    /// The records of one type of a name itself.
    pub fn of_type(&self, name: &Name, rtype: RecordType) -> impl Iterator<Item = &'r Record> {
        self.at(name).iter().copied().filter(move |record| record.data.rtype() == rtype)
    }

    /// The sets of a name, by type.
    pub fn sets(records: &[&'r Record]) -> BTreeMap<u16, Vec<&'r Record>> {
        let mut sets: BTreeMap<u16, Vec<&Record>> = BTreeMap::new();
        for record in records {
            sets.entry(record.data.rtype().0).or_default().push(record);
        }
        sets
    }

    pub fn exists(&self, name: &Name) -> bool {
        name == self.apex || self.by_owner.contains_key(name) || self.empty.contains_key(name)
    }

    /// Where a name leads (RFC 1034 §4.3.2).
    pub fn place(&self, name: &Name) -> Place<'_> {
        if !name.is_at_or_below(self.apex) {
            return Place::Elsewhere;
        }
        if self.cut_above(name).is_some() {
            return Place::Delegated;
        }
        match self.at(name) {
            [] if self.exists(name) => Place::Nothing,
            [] => self.wildcard_for(name).map_or(Place::Nothing, |wildcard| Place::Records(self.at(&wildcard))),
            records => Place::Records(records),
        }
    }

    /// The delegation at or above a name.
    pub fn cut_above(&self, name: &Name) -> Option<Name> {
        let mut cut = None;
        let mut next = Some(name.clone());
        while let Some(name) = next.filter(|name| name != self.apex && name.is_at_or_below(self.apex)) {
            next = name.parent();
            if self.of_type(&name, RecordType::NS).next().is_some() {
                cut = Some(name);
            }
        }
        cut
    }

    /// The wildcard that answers for a name which does not exist (RFC 4592 §3.3.1).
    pub fn wildcard_for(&self, name: &Name) -> Option<Name> {
        let mut encloser = name.parent()?;
        while !self.exists(&encloser) {
            encloser = encloser.parent().filter(|name| name.is_at_or_below(self.apex))?;
        }
        let wildcard = encloser.child(b"*").ok()?;
        self.by_owner.contains_key(&wildcard).then_some(wildcard)
    }

    /// The `*` beside a name that exists or above it, that would answer for it if it did not exist.
    pub fn wildcard_beside(&self, name: &Name) -> Option<Name> {
        let wildcard = name.parent()?.child(b"*").ok()?;
        (wildcard != *name && self.by_owner.contains_key(&wildcard)).then_some(wildcard)
    }

    pub fn empty_non_terminals(&self) -> impl Iterator<Item = &Name> {
        self.empty.keys()
    }
}
