//! One zone's own facts, ready for answers: SOA and NS. Apart from names, so that a new serial touches none of them.

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::PreparedSoa;

use crate::facts::{RecordSet, ZoneFacts};

/// The SOA's timers in seconds (RFC 1035 §3.3.13). No secondary uses them; the values are those of large operators.
pub const REFRESH: u32 = 10_000;
pub const RETRY: u32 = 2_400;
pub const EXPIRE: u32 = 604_800;
/// How long a negative answer may be kept (RFC 2308 §4).
pub const MINIMUM: u32 = 3_600;

/// The SOA's own TTL, which its signature tells wherever it is; in negative answers it has the smaller of it and [`MINIMUM`]
/// (RFC 2308 §5).
pub const SOA_TTL: u32 = 86_400;
pub(crate) const NEGATIVE_TTL: u32 = if SOA_TTL < MINIMUM { SOA_TTL } else { MINIMUM };

/// How long the keys of a zone may be kept, and what is said of them to its parent: a rollover waits for so long.
pub const KEYS_TTL: u32 = 3_600;

/// The TTL of the NS set at the apex, unless NS records of the user have a smaller one (RFC 2181 §5.2).
pub const NS_TTL: u32 = 86_400;

#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) facts: ZoneFacts,
    /// NS records that users put at the apex.
    pub(crate) user_ns: Option<RecordSet>,
    /// The data of the SOA record.
    pub(crate) soa: Vec<u8>,
    /// The record as denials have it.
    pub(crate) denying_soa: Option<PreparedSoa>,
    pub(crate) ns: RecordSet,
}

impl Zone {
    pub(crate) fn new(facts: ZoneFacts, user_ns: Option<RecordSet>) -> Zone {
        let soa = soa(&facts);
        let denying_soa = PreparedSoa::new(facts.apex.as_name().as_wire(), NEGATIVE_TTL, &soa);
        let ns = nameservers(&facts, user_ns.as_ref());
        Zone { facts, user_ns, soa, denying_soa, ns }
    }

    pub(crate) fn apex(&self) -> &Name {
        self.facts.apex.as_name()
    }
}

fn soa(facts: &ZoneFacts) -> Vec<u8> {
    // MNAME is the first name server (RFC 1035 §3.3.13). A zone without any cannot be delegated to (RFC 1034 §4.2.1): its
    // apex stands in for a well-formed record.
    let primary = facts.nameservers.first().unwrap_or(facts.apex.as_name());
    let mut rdata = [primary.as_wire(), facts.soa_rname.as_wire()].concat();
    for number in [facts.serial, REFRESH, RETRY, EXPIRE, MINIMUM] {
        rdata.extend_from_slice(&number.to_be_bytes());
    }
    rdata
}

fn nameservers(facts: &ZoneFacts, user: Option<&RecordSet>) -> RecordSet {
    let mut rdata: Vec<Vec<u8>> = facts.nameservers.iter().map(|name| name.as_wire().to_vec()).collect();
    for data in user.into_iter().flat_map(|set| &set.rdata) {
        if !rdata.contains(data) {
            rdata.push(data.clone());
        }
    }
    RecordSet { rtype: RecordType::NS, ttl: user.map_or(NS_TTL, |set| set.ttl.min(NS_TTL)), rdata }
}
