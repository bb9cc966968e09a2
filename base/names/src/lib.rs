//! The types of the field: ids, DNS names, record types, prefixes, countries and networks, times.
//!
//! Every value here is valid by construction: one constructor checks, nobody checks again.
//! No I/O, no clock, no randomness: ids are made from bytes that the caller brings.

mod asn;
mod country;
mod id;
mod name;
mod prefix;
mod protocol;
mod record_type;
mod timestamp;

pub use asn::{Asn, AsnError};
pub use country::{CountryCode, CountryCodeError};
pub use id::{
    AccountId, AppId, CertificateId, ConnectorId, IdError, PopId, RecordId, RuleId, TokenId, TunnelId, UserId, ZoneId,
};
pub use name::{Labels, NAME_WIRE_MAX, Name, NameError, ZoneName};
pub use prefix::{Prefix, PrefixError};
pub use protocol::{Protocol, ProtocolError};
pub use record_type::RecordType;
pub use timestamp::{Timestamp, TimestampError};
