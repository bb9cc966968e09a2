//! `/bartizan/zones/Z/live`: what happens in a zone, as it happens.

use std::net::IpAddr;

use bartizan_names::Timestamp;
use serde::{Deserialize, Serialize};

/// An event of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LiveEvent {
    Dns(LiveQuery),
    Http(LiveRequest),
}

/// A query of DNS that was answered, or got no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveQuery {
    pub time: Timestamp,
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    /// What the answer means.
    pub code: String,
    pub transport: String,
    pub client: IpAddr,
    pub query_size: usize,
    pub answer_size: usize,
    pub ms: f64,
}

/// A request over HTTP that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveRequest {
    pub time: Timestamp,
    pub host: String,
    pub method: String,
    /// Without the query.
    pub path: String,
    pub status: Option<u16>,
    pub protocol: String,
    pub client: IpAddr,
    pub country: Option<String>,
    pub answered_by: String,
    pub received: u64,
    pub sent: u64,
    /// Until the head of the answer was there.
    pub ms: f64,
    pub ray: Option<String>,
}

/// How much happened beside what was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveSkipped {
    pub skipped: u64,
}
