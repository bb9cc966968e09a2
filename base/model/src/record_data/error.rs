//! Why data is no data of its type.

use crate::txt::TxtError;

/// Why the data of a record cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    #[error(
        "records of type {0} are not kept here; there are A, AAAA, CAA, CDNSKEY, CDS, CERT, CNAME, DNAME, DNSKEY, DS, \
         HTTPS, LOC, MX, NAPTR, NS, OPENPGPKEY, PTR, SMIMEA, SRV, SSHFP, SVCB, TLSA, TXT and URI, and others by their \
         number (TYPE65280)"
    )]
    Type(String),
    #[error(
        r"the content of a record of type {0} is its octets: \#, their number, and as many in hexadecimal (RFC 3597)"
    )]
    Octets(String),
    #[error("the SOA record of a zone is made by the edge; `dns_settings` of the zone has what can be said about it")]
    Soa,
    #[error("the content of an A record must be an IPv4 address")]
    A,
    #[error("the content of an AAAA record must be an IPv6 address")]
    Aaaa,
    #[error("the content of a {kind} record must be a host name")]
    Host { kind: &'static str },
    #[error("the content of an MX record must be a host name, beside a priority between 0 and 65535")]
    Mx,
    #[error("the content of a TXT record is not valid: {0}")]
    Txt(#[from] TxtError),
    #[error("the content of a {kind} record must be {form}")]
    Content { kind: &'static str, form: String },
    #[error("data.{field} is missing or not valid: it must be {form}")]
    Field { field: &'static str, form: &'static str },
    #[error("the parameters of a {kind} record have the key {key} twice")]
    Doubled { kind: &'static str, key: String },
    #[error("priority must be between 0 and 65535")]
    Priority,
}

impl DataError {
    /// The field at fault, as a JSON pointer.
    pub fn pointer(&self) -> String {
        match self {
            DataError::Type(_) | DataError::Soa => "/type".to_owned(),
            DataError::Field { field, .. } => format!("/data/{field}"),
            DataError::Priority => "/priority".to_owned(),
            _ => "/content".to_owned(),
        }
    }
}
