//! Who answers a DNS message that came in a request (RFC 8484).

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

/// An answer to a DNS query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsAnswer {
    pub message: Bytes,
    /// How long it may be kept (RFC 8484 §5.1): the smallest TTL in it. Zero if there is none.
    pub lifetime: Duration,
}

/// Answers DNS queries for as many threads as there are.
pub trait DnsAnswerers: Send + Sync {
    /// For one thread, which keeps it.
    fn answerer(&self) -> Box<dyn DnsAnswerer>;
}

/// Answers DNS queries of one thread.
pub trait DnsAnswerer {
    /// The answer to what `client` asks in `message`. None if that is no query at all, and gets no answer on any transport.
    fn answer(&mut self, client: IpAddr, message: &[u8]) -> Option<DnsAnswer>;
}
