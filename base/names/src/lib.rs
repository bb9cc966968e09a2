//! The words of the trade: ids, DNS names, record types, times.
//!
//! Every value here is valid by construction: one constructor checks, nobody checks again.
//! No I/O, no clock, no randomness: ids are made from bytes that the caller brings.

mod id;
mod name;
mod record_type;
mod timestamp;

pub use id::{AccountId, CertificateId, ConnectorId, IdError, RecordId, TokenId, TunnelId, UserId, ZoneId};
pub use name::{Labels, NAME_WIRE_MAX, Name, NameError, ZoneName};
pub use record_type::RecordType;
pub use timestamp::{Timestamp, TimestampError};
