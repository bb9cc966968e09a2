//! An answer under way: record sets go in with their signatures, or not at all.

use bartizan_names::RecordType;
use bartizan_signer::{Lasting, RecordSet, Unsigned, ZoneKeys};
use bartizan_wire::dns::{Answer, Edns, ExtendedError, Fit, Mark, Owner, Rcode, Section};

use crate::answer::Verdict;
use crate::entry::Set;
use crate::signing::Signing;
use crate::trail::{Step, Trail, told};
use crate::zone::{NEGATIVE_TTL, SOA_TTL, Zone};
use crate::zones::{Node, Zones};

/// Where record sets stand.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'n> {
    /// The number of the zone that says them; none for what no zone answers for, as glue.
    pub(crate) zone: Option<u32>,
    /// Wire bytes in lower case.
    pub(crate) name: &'n [u8],
    /// The same, as an answer has it.
    pub(crate) owner: Owner<'n>,
    pub(crate) lasting: Lasting,
}

impl Node<'_> {
    /// Whether what is signed here may be asked for again.
    pub(crate) fn lasting(self) -> Lasting {
        match self {
            Node::Exact(_) => Lasting::Yes,
            // The name is one of all that could be made up.
            Node::Wildcard(_) | Node::Implied | Node::Missing => Lasting::No,
        }
    }
}

/// An answer, and what signs it.
pub(crate) struct Reply<'r, 'a> {
    zones: &'r Zones,
    answer: &'r mut Answer<'a>,
    /// None if nobody asked for signatures.
    signing: Option<&'r mut Signing>,
    /// Whether the client takes NXDOMAIN with a compact denial (RFC 9824 §5.1).
    pub(crate) compact_ok: bool,
    /// Why a set could not be signed that the answer cannot do without.
    unsigned: Option<Unsigned>,
    /// Whether it says that there is no such name.
    pub(crate) is_missing: bool,
    pub(crate) trail: &'r mut Trail,
}

impl<'r, 'a> Reply<'r, 'a> {
    pub(crate) fn new(
        zones: &'r Zones,
        edns: Option<Edns<'_>>,
        answer: &'r mut Answer<'a>,
        signing: &'r mut Signing,
        trail: &'r mut Trail,
    ) -> Reply<'r, 'a> {
        let signing = edns.is_some_and(|edns| edns.dnssec_ok).then_some(signing);
        let compact_ok = edns.is_some_and(|edns| edns.compact_ok);
        Reply { zones, answer, signing, compact_ok, unsigned: None, is_missing: false, trail }
    }

    /// Whether there is no record of what was asked for.
    pub(crate) fn is_denial(&self) -> bool {
        self.answer.count(Section::Answer) == 0 && !self.answer.is_truncated()
    }

    /// The keys by which records of a zone are signed in this answer.
    pub(crate) fn keys(&self, zone: u32) -> Option<&'r ZoneKeys> {
        self.signing.as_ref()?;
        keys_of(self.zones, zone).map(|(_, keys)| keys)
    }

    /// Adds what stands in a zone as it is stored: as the block that it is, where nothing in it could be compressed. Names
    /// in the data of types that came after RFC 1035 never are (RFC 3597 §4).
    pub(crate) fn put(&mut self, section: Section, spot: Spot<'_>, set: Set<'_>) -> Fit {
        let mark = self.answer.mark();
        let fit = match (spot.owner, set.rtype) {
            (_, RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::MX)
            | (Owner::Question(1..) | Owner::Name(_), _) => {
                self.answer.record_set(section, spot.owner, set.rtype, set.ttl(), set.rdata())
            }
            (Owner::Question(0), _) => self.answer.block(section, set.block, set.count),
        };
        self.note_set(section, spot, set.rtype, set.ttl());
        match fit {
            Fit::Whole => self.sign(section, spot, mark, set.rtype, set.ttl(), set.rdata()),
            Fit::Dropped => self.too_long(),
        }
    }

    /// Adds a record set.
    pub(crate) fn put_data<D>(&mut self, section: Section, spot: Spot<'_>, rtype: RecordType, ttl: u32, data: D) -> Fit
    where
        D: Iterator<Item: AsRef<[u8]>> + Clone,
    {
        let mark = self.answer.mark();
        let fit = self.answer.record_set(section, spot.owner, rtype, ttl, data.clone());
        self.note_set(section, spot, rtype, ttl);
        match fit {
            Fit::Whole => self.sign(section, spot, mark, rtype, ttl, data),
            Fit::Dropped => self.too_long(),
        }
    }

    /// Adds the SOA record of a zone that has nothing to say for so long, which is at `spot` (RFC 2308 §3).
    pub(crate) fn put_denying_soa(&mut self, spot: Spot<'_>, zone: &Zone, ttl: u32) -> Fit {
        let (section, rtype, data) = (Section::Authority, RecordType::SOA, std::iter::once(&zone.soa));
        let mark = self.answer.mark();
        let fit = match (spot.owner, &zone.denying_soa) {
            (Owner::Question(skipped), Some(soa)) if ttl == NEGATIVE_TTL => self.answer.soa(section, skipped, soa),
            (owner, _) => self.answer.record_set(section, owner, rtype, ttl, data.clone()),
        };
        self.note_set(section, spot, rtype, ttl);
        match fit {
            Fit::Whole => self.sign(section, spot, mark, rtype, ttl, data),
            Fit::Dropped => self.too_long(),
        }
    }

    /// Adds the record that says which types a name has: those of `fill`, which is given an empty list.
    pub(crate) fn put_nsec(
        &mut self,
        section: Section,
        spot: Spot<'_>,
        ttl: u32,
        fill: impl FnOnce(&mut Vec<RecordType>),
    ) -> Fit {
        let Some((apex, _)) = spot.zone.and_then(|zone| keys_of(self.zones, zone)) else { return Fit::Whole };
        let Some(signing) = self.signing.as_deref_mut() else { return Fit::Whole };
        // Taken out, so that the signer can be used beside it.
        let (mut types, mut nsec) = (std::mem::take(&mut signing.types), std::mem::take(&mut signing.nsec));
        types.clear();
        fill(&mut types);
        bartizan_signer::nsec(spot.name, apex, types.iter().copied(), &mut nsec);
        let fit = self.put_data(section, spot, RecordType::NSEC, ttl, std::iter::once(&nsec));
        if let Some(signing) = self.signing.as_deref_mut() {
            (signing.types, signing.nsec) = (types, nsec);
        }
        fit
    }

    /// Adds the signatures of the set that was written since `mark`.
    fn sign<D>(&mut self, section: Section, spot: Spot<'_>, mark: Mark, rtype: RecordType, ttl: u32, data: D) -> Fit
    where
        D: Iterator<Item: AsRef<[u8]>> + Clone,
    {
        let Some(signing) = self.signing.as_deref_mut() else { return Fit::Whole };
        let Some((apex, keys)) = spot.zone.and_then(|zone| keys_of(self.zones, zone)) else { return Fit::Whole };
        // One signature for the SOA record wherever it is: a TTL may be less than what is signed (RFC 4034 §3.1.4).
        let original = if rtype == RecordType::SOA { SOA_TTL } else { ttl };
        let set = RecordSet { owner: spot.name, rtype, ttl: original, data, lasting: spot.lasting };
        let mut signers = keys.signers(rtype).peekable();
        // The keys of the zone cannot be read.
        if signers.peek().is_none() {
            self.unsigned = Some(Unsigned::NoKey);
            return self.answer.drop_since(mark, section);
        }
        for key in signers {
            match signing.signer.signature(apex, key, keys.validity, &set) {
                Ok(made) => {
                    let fit = self.answer.signature(section, spot.owner, ttl, &made.head, apex, &made.signature);
                    self.trail.note(|| Step::Signed { key_tag: key.public.tag() });
                    if fit == Fit::Dropped {
                        self.too_long();
                        return self.answer.drop_since(mark, section);
                    }
                }
                Err(unsigned) => {
                    self.trail.note(|| Step::NotSigned { reason: unsigned });
                    if section != Section::Additional {
                        self.unsigned = Some(unsigned);
                    }
                    return self.answer.drop_since(mark, section);
                }
            }
        }
        Fit::Whole
    }

    fn note_set(&mut self, section: Section, spot: Spot<'_>, rtype: RecordType, ttl: u32) {
        self.trail.note(|| Step::Set { section, owner: told(spot.name), rtype, ttl });
    }

    fn too_long(&mut self) -> Fit {
        self.trail.note(|| Step::TooLong);
        Fit::Dropped
    }

    /// The last word: what came of it, unless something could not be signed. An answer without its signatures would be
    /// taken for a forgery.
    pub(crate) fn end(self, verdict: Verdict) -> Verdict {
        let verdict = Verdict { is_missing: self.is_missing, ..verdict };
        match self.unsigned {
            None => verdict,
            // Who asks too often is told to prove over TCP who it is. There it is not asked to come again: what is wrong is
            // that there are no signatures just now, which the error says.
            Some(Unsigned::OverBudget) => {
                self.answer.cut();
                Verdict { error: Some(ExtendedError::NOT_READY), ..verdict }
            }
            Some(Unsigned::NoKey) => {
                self.answer.clear();
                Verdict { zone: verdict.zone, ..Verdict::refused(Rcode::SERVFAIL, ExtendedError::NOT_READY) }
            }
        }
    }
}

/// The apex of a zone as its signatures have it, and its keys. None if it is not signed.
pub(crate) fn keys_of(zones: &Zones, zone: u32) -> Option<(&[u8], &ZoneKeys)> {
    if !zones.signed.has(zone) {
        return None;
    }
    let zone: &Zone = zones.zone(zone)?;
    Some((zone.apex().as_wire(), zone.facts.dnssec.as_deref()?))
}
