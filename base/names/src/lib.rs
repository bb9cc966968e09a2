//! The types of the field: ids, DNS names, record types, prefixes, countries and networks, times; and what zones,
//! applications and access rules can be told to be, where the API and the engines say the same.
//!
//! Every value here is valid by construction: one constructor checks, nobody checks again.
//! No I/O, no clock, no randomness: ids are made from bytes that the caller brings.

mod access_rule;
mod app_origin;
mod application;
mod asn;
mod client_auth;
mod country;
mod host;
mod id;
mod idn;
mod name;
mod origin;
mod origin_fault;
mod path_pattern;
mod phishing;
mod prefix;
mod protocol;
mod record_type;
mod region;
mod session_cookie;
mod setting_form;
mod ssl;
mod timestamp;
mod tls;
mod transport_security;
mod word;
mod zone_settings;

pub use access_rule::{AccessMode, AccessTarget, AccessTargetError};
pub use app_origin::{AppOrigin, DirectOrigin, DnsKind, OriginPort};
pub use application::{AppTls, Families, ProxyProtocol};
pub use asn::{Asn, AsnError};
pub use client_auth::{
    ClientField, ClientMode, ClientPolicy, ClientRefusal, ClientStatus, RefusalForm, ToldField, Unbelieved,
};
pub use country::{CountryCode, CountryCodeError};
pub use host::{Authority, Host};
pub use id::{
    AccountId, AppId, CertificateId, ClientCertificateId, ClientRootId, ConnectorId, IdError, LoadBalancerId,
    MonitorId, PoolId, PopId, RecordId, RuleId, SessionId, TokenId, TunnelId, UserId, ZoneId,
};
pub use idn::{to_ascii, to_unicode};
pub use name::{Labels, NAME_WIRE_MAX, Name, NameError, ZoneName};
pub use origin::{Encryption, Origin, OriginAddress, OriginError, OriginHost};
pub use origin_fault::OriginFault;
pub use path_pattern::{PathPatternError, rust_pattern};
pub use phishing::Phishing;
pub use prefix::{Prefix, PrefixError};
pub use protocol::{Protocol, ProtocolError};
pub use record_type::RecordType;
pub use region::{Region, RegionError};
pub use session_cookie::{SESSION_COOKIE_PLAIN, SESSION_COOKIE_SECURE, is_session_cookie};
pub use setting_form::{AlwaysOn, SettingValue};
pub use ssl::{OriginHttp, Ssl};
pub use timestamp::{Span, Timestamp, TimestampError};
pub use tls::{Cipher, Ciphers, OldestTls, Tls13};
pub use transport_security::TransportSecurity;
pub use word::WordError;
pub use zone_settings::{SettingId, Speaks, ZoneSettings};
