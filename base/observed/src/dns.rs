//! A question to the DNS in force, and how its answer came about.

use std::net::IpAddr;

use bartizan_names::{Name, RecordType};

/// Who knows what is in force.
pub trait DnsQuery: Send + Sync {
    fn trace(&self, question: &DnsQuestion) -> DnsTrace;
}

/// A question as a resolver asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuestion {
    pub name: Name,
    pub rtype: RecordType,
    /// Whether signatures are asked for (the DO bit, RFC 3225).
    pub dnssec_ok: bool,
    /// Over TCP, where an answer is as long as it is; else over UDP.
    pub tcp: bool,
    /// For whom it is told what cookies and limits make of the answer; they are not counted for it.
    pub from: Option<IpAddr>,
}

/// What was decided, in order, and what was sent for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsTrace {
    pub steps: Vec<DnsStep>,
    /// The answer as it goes to a client; empty if none does.
    pub message: Vec<u8>,
}

/// One thing that was decided on the way to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsStep {
    /// What sort of decision it was, in one word.
    pub step: &'static str,
    /// The zone, name or record set that it was about.
    pub name: Option<Name>,
    /// In words.
    pub detail: String,
}
