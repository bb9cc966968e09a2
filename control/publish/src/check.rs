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
    #[error("a CNAME at the apex {owner}, beside SOA and NS (RFC 1034 §3.6.2), is only possible when it is proxied")]
    CnameAtApex { owner: Name },
    #[error("{owner} must be proxied in all its address records, or in none")]
    ProxiedInPart { owner: Name },
    #[error(
        "a DS record says how to trust a zone that begins there (RFC 4035 §2.4), so it needs an NS record at {owner}: put that \
         in first, or delete the DS records first, or both in one batch"
    )]
    DsAlone { owner: Name },
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
        if !cname.proxied && owner == zone.as_name() {
            return Err(Refused::CnameAtApex { owner: owner.clone() });
        }
    }
    let has = |rtype| records.iter().any(|record| record.data.rtype() == rtype);
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
