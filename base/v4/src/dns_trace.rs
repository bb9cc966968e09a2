//! `/bartizan/zones/Z/dns_trace`: how an answer of the DNS came about. Ours, not the dialect's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsTrace {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// What was decided, in order.
    pub steps: Vec<DnsTraceStep>,
    /// The response code's mnemonic, or its number.
    pub status: String,
    /// Whether the zone is ours to answer for (AA).
    pub authoritative: bool,
    /// Whether the client is to ask again over TCP (TC).
    pub truncated: bool,
    /// Octets of the answer.
    pub size: usize,
    /// The sets of its sections, as they are sent.
    pub records: Vec<DnsTraceRecord>,
    /// Records of the zone at the names of the answer: what to change for another one. 100 at most.
    pub objects: Vec<DnsTraceObject>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsTraceStep {
    /// `zone`, `name`, `wildcard`, `delegation`, `redirection`, `phishing`, `alias`, `denial`, `set`, `signature` or `truncation`;
    /// of a source also `firewall`, `source`, `cookie` and `limit`.
    pub step: String,
    /// What it is about; `null` where that is what the step before was about.
    pub name: Option<String>,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsTraceRecord {
    /// `answer`, `authority` or `additional`.
    pub section: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Seconds.
    pub ttl: u32,
    /// As master files have it; in hexadecimal where the type has no such form here (RFC 3597 §5).
    pub data: String,
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsTraceObject {
    pub id: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub content: String,
    pub proxied: bool,
}
