//! Whether the records of one owner name can be served: asked by the API before it commits.

use std::collections::BTreeMap;

use bartizan_model::Record;
use bartizan_names::{Name, RecordType, ZoneName};

/// The rdata of one RRset. An answer over TCP has 65,535 bytes (RFC 1035 §4.2.2), and an RRset is sent whole or not at all
/// (RFC 2181 §9). What is left is for the header, the question and a chain of CNAMEs in front.
const RRSET_BYTES_MAX: usize = 60_000;

/// What each record of an RRset costs beside its rdata: a compressed owner, type, class, TTL and length
/// (RFC 1035 §4.1.3 and §4.1.4).
const RECORD_OVERHEAD: usize = 12;

/// Why the records at a name cannot be served together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "a CNAME at {owner} cannot stand beside other records (RFC 1034 §3.6.2); a proxied one can, beside all but A, \
         AAAA, CNAME and NS"
    )]
    CnameNotAlone { owner: Name },
    #[error("{owner} can have one DNAME record, since names below it stand for one name each (RFC 6672 §2.4)")]
    DnameTwice { owner: Name },
    #[error(
        "a DNAME at {owner} cannot stand beside NS records, which lead elsewhere for the same names (RFC 6672 §2.3)"
    )]
    DnameBesideNs { owner: Name },
    #[error("below {dname} is nothing but what its DNAME stands for (RFC 6672 §2.4), so {owner} cannot be there")]
    BelowDname { owner: Name, dname: Name },
    #[error("a DNAME at {owner} leaves nothing below it (RFC 6672 §2.4), and there is {below}")]
    AboveNames { owner: Name, below: String },
    #[error("{owner} must be proxied in all its address records, or in none")]
    ProxiedInPart { owner: Name },
    #[error(
        "a DS record says how to trust a zone that begins there (RFC 4035 §2.4), so it needs an NS record at {owner}: put that \
         in first, or delete the DS records first, or both in one batch"
    )]
    DsAlone { owner: Name },
    #[error("{owner} would stand for itself, by way of {target}: the zone's own name has no addresses then")]
    AliasLoop { owner: Name, target: Name },
    #[error("the {rtype} records at {owner} do not fit one answer")]
    TooLarge { owner: Name, rtype: RecordType },
}

/// Checks all records that will stand at one owner name of `zone`.
pub fn check(zone: &ZoneName, records: &[Record]) -> Result<(), Refused> {
    let Some(owner) = records.first().map(|record| &record.owner) else { return Ok(()) };
    if let Some(at) = records.iter().position(|record| record.data.rtype() == RecordType::CNAME) {
        let cname = &records[at];
        let mut others = records.iter().enumerate().filter(|(index, _)| *index != at);
        if others.any(|(_, other)| !cname.admits_beside(other, zone.as_name())) {
            return Err(Refused::CnameNotAlone { owner: owner.clone() });
        }
    }
    let count = |rtype| records.iter().filter(|record| record.data.rtype() == rtype).count();
    let has = |rtype| count(rtype) > 0;
    if count(RecordType::DNAME) > 1 {
        return Err(Refused::DnameTwice { owner: owner.clone() });
    }
    if has(RecordType::DNAME) && has(RecordType::NS) && owner != zone.as_name() {
        return Err(Refused::DnameBesideNs { owner: owner.clone() });
    }
    if has(RecordType::DS) && !has(RecordType::NS) {
        return Err(Refused::DsAlone { owner: owner.clone() });
    }
    let addresses = || records.iter().filter(|record| matches!(record.data.rtype(), RecordType::A | RecordType::AAAA));
    if addresses().any(|record| record.proxied) && addresses().any(|record| !record.proxied) {
        return Err(Refused::ProxiedInPart { owner: owner.clone() });
    }
    let mut sizes: BTreeMap<RecordType, usize> = BTreeMap::new();
    for record in records {
        let rtype = record.data.rtype();
        let bytes = sizes.entry(rtype).or_default();
        *bytes += record.data.rdata().len() + RECORD_OVERHEAD;
        if *bytes > RRSET_BYTES_MAX {
            return Err(Refused::TooLarge { owner: owner.clone(), rtype });
        }
    }
    Ok(())
}
