//! What is told of each query to who counts what happens: the last step of a batch.

use std::time::Instant;

use bartizan_analytics::{DnsFacts, Event, Table, Transport as Way};
use bartizan_authority::{Question, Verdict, Zones};
use bartizan_live::{Filled, Tray};
use bartizan_wire::dns::Rcode;

use crate::pipeline::{End, Exchange, Transport};

/// What an answer means, beside what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// The number of the zone that was asked about.
    pub(crate) zone: Option<u32>,
    /// Whether there is no such name, whatever the code says.
    pub(crate) is_missing: bool,
}

impl Meaning {
    pub(crate) fn of(verdict: &Verdict) -> Meaning {
        Meaning { zone: verdict.zone, is_missing: verdict.is_missing }
    }

    fn rcode(self, end: End) -> Option<Rcode> {
        match end {
            End::Silent(_) => None,
            End::Reply { rcode: Rcode::NOERROR, .. } if self.is_missing => Some(Rcode::NXDOMAIN),
            End::Reply { rcode, .. } => Some(rcode),
        }
    }
}

/// Counts the queries of a batch that were about zones of ours. `began` is when they were read: all of them are sent together,
/// so each took as long. Gives how many could not be counted.
///
/// Hot: once a batch. No allocation; it does not wait.
pub(crate) fn record(
    tap: &Tray<Table>,
    batch: &[Exchange<'_>],
    questions: &[Option<Question<'_, '_>>],
    meanings: &[Meaning],
    zones: &Zones,
    began: Instant,
) -> usize {
    let nanos = began.elapsed().as_nanos() as u64; // 584 years
    let recorded = tap.fill(|table| {
        for ((exchange, question), meaning) in batch.iter().zip(questions).zip(meanings) {
            let (Some(question), Some(zone)) = (question, meaning.zone) else { continue };
            let reply_len = if let End::Reply { len, .. } = exchange.end { len } else { 0 };
            let facts = DnsFacts {
                rtype: question.query.qtype,
                rcode: meaning.rcode(exchange.end),
                transport: match exchange.transport {
                    Transport::Udp => Way::Udp,
                    Transport::Tcp => Way::Tcp,
                    Transport::Tls => Way::Tls,
                    Transport::Https => Way::Https,
                },
                is_ipv6: exchange.client.is_ipv6(),
                query_len: exchange.query.len(),
                reply_len,
            };
            let event = Event {
                zone: zone.into(),
                place: question.place(),
                name: question.name(),
                facts: facts.packed(),
                sent: reply_len as u64,
                received: exchange.query.len() as u64,
                nanos,
            };
            table.record(event, || zones.id_of(zone));
        }
        if table.is_crowded() { Filled::Full } else { Filled::Room }
    });
    if recorded.is_some() { 0 } else { batch.len() }
}
