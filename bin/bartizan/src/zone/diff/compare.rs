//! What is asked for, and how an answer differs from the records that there are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bartizan_model::{RecordData, Ttl};
use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{Class, Message, Record};
use bartizan_wire::zone_file::{Attributes, Entry, Reader, SyntaxError};
use serde::Serialize;

/// Types that are asked for at each name, beside those that it has here: what another server may have there.
const OF_HOSTS: [RecordType; 4] = [RecordType::A, RecordType::AAAA, RecordType::MX, RecordType::TXT];
const OF_SERVICES: [RecordType; 2] = [RecordType::TXT, RecordType::SRV];
const OF_THE_APEX: [RecordType; 1] = [RecordType::CAA];

/// Names that many zones have, and that are easily forgotten in a move.
const COMMON: [&str; 10] = [
    "www",
    "mail",
    "_dmarc",
    "autodiscover",
    "ftp",
    "default._domainkey",
    "selector1._domainkey",
    "google._domainkey",
    "_mta-sts",
    "_acme-challenge",
];

/// One question to the other server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub owner: Name,
    pub rtype: RecordType,
}

/// A set that is not the same here and there.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    #[serde(rename = "name")]
    pub owner: String,
    #[serde(rename = "type", serialize_with = "as_text")]
    pub rtype: RecordType,
    /// Answered with the edge's addresses, whatever its records are.
    pub proxied: bool,
    pub only_here: Vec<String>,
    pub only_there: Vec<String>,
    /// Here and there, in seconds, if they differ and matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttls: Option<(u32, u32)>,
}

fn as_text<S: serde::Serializer>(kind: &RecordType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(kind)
}

/// The records of one type at a name.
#[derive(Debug, Default)]
struct Set {
    data: BTreeSet<String>,
    ttl: u32,
    proxied: bool,
}

type Sets = BTreeMap<Name, BTreeMap<u16, Set>>;

/// The zone as it is here.
#[derive(Debug)]
pub struct Here {
    apex: Name,
    sets: Sets,
}

/// The whole zone as it is there.
#[derive(Debug, Default)]
pub struct There(Sets);

/// What each server makes itself: a zone need not have it here.
const OWN: [RecordType; 9] = [
    RecordType::SOA,
    RecordType::RRSIG,
    RecordType::NSEC,
    RecordType(50), // NSEC3
    RecordType(51), // NSEC3PARAM
    RecordType::DNSKEY,
    RecordType::CDS,
    RecordType::CDNSKEY,
    RecordType(63), // ZONEMD
];

impl There {
    pub fn put(&mut self, record: &Record) {
        let data = RecordData::told(record.rtype, &record.rdata);
        put(&mut self.0, record.owner.clone(), record.rtype, data, record.ttl);
    }
}

fn put(sets: &mut Sets, owner: Name, rtype: RecordType, data: String, ttl: u32) -> &mut Set {
    let set = sets.entry(owner).or_default().entry(rtype.0).or_default();
    set.ttl = if set.data.is_empty() { ttl } else { set.ttl.min(ttl) };
    set.data.insert(data);
    set
}

/// The zone on its way here.
pub struct Reading {
    reader: Reader,
    here: Here,
}

impl Reading {
    pub fn of(apex: Name) -> Reading {
        Reading { reader: Reader::new(Name::root()), here: Here { apex, sets: BTreeMap::new() } }
    }

    pub fn take(&mut self, piece: &[u8]) {
        let Reading { reader, here } = self;
        reader.take(piece, &mut |line| here.put(line));
    }

    pub fn end(self) -> Here {
        let Reading { reader, mut here } = self;
        reader.end(&mut |line| here.put(line));
        here
    }
}

impl Here {
    /// The edge writes its own export, so a line with a fault is none of its records.
    fn put(&mut self, line: Result<Entry, SyntaxError>) {
        let Ok(entry) = line else { return };
        let Ok(rtype) = entry.kind.parse::<RecordType>() else { return };
        // Each server has its own SOA.
        if rtype == RecordType::SOA {
            return;
        }
        let Ok(data) = RecordData::from_presentation(rtype, &entry.data, &entry.origin) else { return };
        let ttl = entry.ttl.and_then(|ttl| Ttl::new(ttl.into())).map_or(0, Ttl::served);
        let set = put(&mut self.sets, entry.owner, rtype, data.presentation(), ttl);
        set.proxied |= entry.comment.is_some_and(|comment| Attributes::read(&comment).proxied == Some(true));
    }

    /// What is to be asked, in the order of names: every set of this zone, and what another server may have beside it.
    pub fn questions(&self) -> VecDeque<Question> {
        let apex = &self.apex;
        let common = COMMON.iter().filter_map(|name| Name::parse(&format!("{name}.{apex}")).ok());
        let names: BTreeSet<Name> = self.sets.keys().cloned().chain(common).chain([apex.clone()]).collect();
        let mut questions = VecDeque::new();
        for owner in names {
            let sets = self.sets.get(&owner);
            let mut rtypes: BTreeSet<u16> = sets.into_iter().flat_map(BTreeMap::keys).copied().collect();
            // An alias is the answer to every question, and what is delegated is for others to say.
            if !rtypes.contains(&RecordType::CNAME.0) && !self.is_delegated(&owner) {
                let is_service = owner.labels().next().is_some_and(|label| label.starts_with(b"_"));
                rtypes.extend(if is_service { &OF_SERVICES[..] } else { &OF_HOSTS }.iter().map(|rtype| rtype.0));
                rtypes.extend(OF_THE_APEX.iter().filter(|_| owner == *apex).map(|rtype| rtype.0));
            }
            questions
                .extend(rtypes.into_iter().map(|rtype| Question { owner: owner.clone(), rtype: RecordType(rtype) }));
        }
        questions
    }

    /// Whether a name lies at or below a delegation: another server speaks for it with no authority either.
    pub fn is_delegated(&self, owner: &Name) -> bool {
        let mut next = Some(owner.clone());
        while let Some(name) = next.filter(|name| name != &self.apex) {
            if self.sets.get(&name).is_some_and(|sets| sets.contains_key(&RecordType::NS.0)) {
                return true;
            }
            next = name.parent();
        }
        false
    }

    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// How many sets there are.
    pub fn count(&self) -> usize {
        self.sets.values().map(BTreeMap::len).sum()
    }

    /// How the whole zone there differs from what is here, in the order of names.
    pub fn compare_all(&self, there: &There, with_ttl: bool) -> Vec<Difference> {
        let nothing = BTreeMap::new();
        let mut differences = Vec::new();
        let names: BTreeSet<&Name> = self.sets.keys().chain(there.0.keys()).collect();
        for owner in names {
            let [here, there] = [&self.sets, &there.0].map(|sets| sets.get(owner).unwrap_or(&nothing));
            let rtypes: BTreeSet<u16> = here.keys().chain(there.keys()).copied().collect();
            for rtype in rtypes {
                let (here, there) = (here.get(&rtype), there.get(&rtype));
                let rtype = RecordType(rtype);
                if here.is_some() || !OWN.contains(&rtype) {
                    differences.extend(differ(owner, rtype, here, there.map(|set| (&set.data, set.ttl)), with_ttl));
                }
            }
        }
        differences
    }

    /// How the answer to a question differs from what is here.
    pub fn compare(&self, question: &Question, message: &Message, with_ttl: bool) -> Option<Difference> {
        let Question { owner, rtype } = question;
        // At and below a delegation its servers stand where a referral has them, with their addresses (RFC 1034 §4.3.2).
        let referral =
            if self.is_delegated(owner) { [&message.authority[..], &message.additional] } else { [&[][..]; 2] };
        let answered = |wanted: RecordType| {
            let all = message.answers.iter().chain(referral.into_iter().flatten());
            all.filter(move |record| record.owner == *owner && record.class == Class::IN && record.rtype == wanted)
        };
        let sets = self.sets.get(owner);
        let set = sets.and_then(|sets| sets.get(&rtype.0));
        // An alias there takes the place of whatever was asked for.
        let alias = answered(RecordType::CNAME).next().is_some() && *rtype != RecordType::CNAME;
        if alias && set.is_none() && !(sets.is_none() && is_first(*rtype)) {
            return None; // told once a name
        }
        let there_type = if alias { RecordType::CNAME } else { *rtype };
        let there = answered(there_type).map(|record| RecordData::told(there_type, &record.rdata));
        let there: BTreeSet<String> = there.map(|data| if alias { format!("CNAME {data}") } else { data }).collect();
        let ttl_there = answered(there_type).map(|record| record.ttl).min();
        differ(owner, *rtype, set, ttl_there.map(|ttl| (&there, ttl)), with_ttl)
    }
}

/// How two sets differ: data and TTL there.
fn differ(
    owner: &Name,
    rtype: RecordType,
    here: Option<&Set>,
    there: Option<(&BTreeSet<String>, u32)>,
    with_ttl: bool,
) -> Option<Difference> {
    let nothing = BTreeSet::new();
    let here_data = here.map_or(&nothing, |set| &set.data);
    let there_data = there.map_or(&nothing, |(data, _)| data);
    let ttls = here.map(|set| set.ttl).zip(there.map(|(_, ttl)| ttl));
    let difference = Difference {
        owner: owner.to_string(),
        rtype,
        proxied: here.is_some_and(|set| set.proxied),
        only_here: here_data.difference(there_data).cloned().collect(),
        only_there: there_data.difference(here_data).cloned().collect(),
        ttls: ttls.filter(|(here, there)| with_ttl && here != there),
    };
    let same = difference.only_here.is_empty() && difference.only_there.is_empty() && difference.ttls.is_none();
    (!same).then_some(difference)
}

/// Whether a type is the first that is asked for at a name which has nothing here.
fn is_first(rtype: RecordType) -> bool {
    rtype == OF_HOSTS[0] || rtype == OF_SERVICES[0]
}

#[cfg(test)]
mod tests;
