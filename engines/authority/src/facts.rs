//! What publishing tells us: zones, names, and the addresses of this PoP.

use std::net::{Ipv4Addr, Ipv6Addr};

use bartizan_names::{Name, RecordType, ZoneName};

/// Facts of one zone besides its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFacts {
    pub apex: ZoneName,
    pub serial: u32,
    /// Served as NS records at the apex; the first is the SOA's primary. NS records that users put at the apex join
    /// the same record set.
    pub nameservers: Vec<Name>,
    pub soa_rname: Name,
}

/// The records of one type at one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    pub rtype: RecordType,
    /// Seconds.
    pub ttl: u32,
    /// Uncompressed wire data, names in it in lower case.
    pub rdata: Vec<Vec<u8>>,
}

/// Everything at one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameContent {
    /// At most one of each type; a second one would not be served.
    pub sets: Vec<RecordSet>,
    /// Questions for A and AAAA are answered with the PoP's own addresses, always in both families, and there is no
    /// CNAME. Other types come from `sets`.
    pub proxied: bool,
}

impl NameContent {
    /// Whether there is nothing that could be asked for.
    pub fn is_empty(&self) -> bool {
        !self.proxied && self.sets.iter().all(|set| set.rdata.is_empty())
    }
}

/// The addresses that proxied names have at this PoP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
}

/// What this server says about itself in class CHAOS (RFC 4892).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// For `id.server` and `hostname.bind`.
    pub id_server: String,
    /// For `version.server` and `version.bind`.
    pub version: String,
}
