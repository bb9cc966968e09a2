//! What publishing tells us: zones, names, and the addresses of this PoP.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bartizan_names::{Name, Phishing, RecordType, Speaks, ZoneId, ZoneName, ZoneSettings};
use bartizan_signer::ZoneKeys;

/// Facts of one zone besides its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFacts {
    /// By which what happens in the zone is counted; none if it is not.
    pub id: Option<ZoneId>,
    pub apex: ZoneName,
    /// Compared as serial numbers are, which wrap (RFC 1982 §3.2).
    pub serial: u32,
    /// Served as NS records at the apex; the first is the SOA's primary. NS records that users put at the apex join
    /// the same record set.
    pub nameservers: Vec<Name>,
    /// The mailbox of who is responsible, as a name (RFC 1035 §3.3.13).
    pub soa_rname: Name,
    /// A paused zone answers with its records as they are, as if none were proxied.
    pub paused: bool,
    /// What visitors of its proxied names may speak, as their HTTPS records say; there are none where it is not TLS.
    pub speaks: Speaks,
    /// If it is one, its mail is not believed, whatever its records say; they stay as they are.
    pub phishing: Phishing,
    /// The keys that it is signed with; none for a zone that is not.
    pub dnssec: Option<Arc<ZoneKeys>>,
}

impl ZoneFacts {
    /// A zone of which nobody said anything but its name.
    pub fn new(apex: ZoneName) -> ZoneFacts {
        ZoneFacts {
            id: None,
            serial: 0,
            nameservers: Vec::new(),
            soa_rname: apex.as_name().clone(),
            paused: false,
            speaks: ZoneSettings::default().speaks(),
            phishing: Phishing::No,
            dnssec: None,
            apex,
        }
    }
}

/// The records of one type at one name: an RRset (RFC 2181 §5).
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
    /// The records as they are, also those that are hidden while the name is proxied. At most one set of each type; a
    /// second one would not be served.
    pub sets: Vec<RecordSet>,
    pub proxied: Proxied,
}

/// When questions for A and AAAA are answered with the PoP's own addresses, always in both families. Then sets of these
/// types and of CNAME are hidden; others are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proxied {
    #[default]
    Never,
    /// What users ask for; a pause of the zone undoes it.
    UnlessPaused,
    /// A name of this edge itself.
    Always,
    /// Not with the PoP's: with those of servers, which are chosen for each question ([`Steer`](crate::Steer)).
    Steered,
}

impl NameContent {
    /// Whether there is nothing that could be asked for.
    pub fn is_empty(&self) -> bool {
        self.proxied == Proxied::Never && self.sets.iter().all(|set| set.rdata.is_empty())
    }
}

/// The addresses that proxied names have at this PoP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
    /// Whether HTTP/3 is spoken there.
    pub http3: bool,
    /// The port at which visitors find HTTPS, if it is not 443.
    pub https_port: Option<u16>,
}

/// What this server says about itself in class CHAOS (RFC 4892).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// For `id.server` and `hostname.bind`.
    pub id_server: String,
    /// For `version.server` and `version.bind`.
    pub version: String,
}
