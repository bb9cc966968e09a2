//! What is counted is told again: by tables, by segments, and by answers to questions.

mod questions;
mod segments;
mod tables;

use bartizan_analytics::{DnsFacts, Event, Transport};
use bartizan_names::{Name, RecordType, ZoneId};
use bartizan_wire::dns::Rcode;

pub(crate) const ZONE: ZoneId = ZoneId::from_bytes([7; 16]);

pub(crate) fn wire(name: &str) -> Vec<u8> {
    Name::parse(name).unwrap().as_wire().to_vec()
}

/// A query for addresses over UDP.
pub(crate) fn facts(rcode: Rcode) -> DnsFacts {
    DnsFacts {
        rtype: RecordType::A,
        rcode: Some(rcode),
        transport: Transport::Udp,
        is_ipv6: false,
        query_len: 40,
        reply_len: 100,
    }
}

pub(crate) fn event(name: &[u8], facts: u64) -> Event<'_> {
    Event { zone: 1, place: place(name), name, facts, sent: 100, received: 40, nanos: 20_000 }
}

/// As good as any hash.
fn place(name: &[u8]) -> u64 {
    name.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3))
}
