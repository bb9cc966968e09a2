//! What is told of each query to who counts what happens: the last step of a batch.

use std::time::Instant;

use bartizan_analytics::{DnsFacts, Event, Table, Transport as Way};
use bartizan_authority::{Question, Verdict, Zones};
use bartizan_live::{Filled, Tray, Trays};
use bartizan_tail::{DnsSeen, Listeners};
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

/// Where what is asked is told, if somebody wants to know.
#[derive(Clone, Debug)]
pub struct Taps {
    /// Counts it by zone and name.
    pub counted: Trays<Table>,
    /// Looks on at the moment.
    pub seen: Listeners<DnsSeen>,
}

/// One worker's.
#[derive(Debug)]
pub(crate) struct Tap {
    tray: Tray<Table>,
    seen: Listeners<DnsSeen>,
}

impl Taps {
    pub(crate) fn tap(&self) -> Tap {
        Tap { tray: self.counted.tray(), seen: self.seen.clone() }
    }
}

/// A query of a batch, if it was about a zone of ours.
struct Told<'b, 'q> {
    exchange: &'b Exchange<'q>,
    name: &'b [u8],
    place: u64,
    zone: u32,
    facts: DnsFacts,
}

/// Those of a batch.
fn told<'b, 'q>(
    batch: &'b [Exchange<'q>],
    questions: &'b [Option<Question<'_, '_>>],
    meanings: &'b [Meaning],
) -> impl Iterator<Item = Told<'b, 'q>> {
    batch.iter().zip(questions).zip(meanings).filter_map(|((exchange, question), meaning)| {
        let (question, zone) = (question.as_ref()?, meaning.zone?);
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
            reply_len: if let End::Reply { len, .. } = exchange.end { len } else { 0 },
        };
        Some(Told { exchange, name: question.name(), place: question.place(), zone, facts })
    })
}

/// Counts the queries of a batch that were about zones of ours, and tells them to who looks on. `began` is when they were read:
/// all of them are sent together, so each took as long. Gives how many could not be counted.
///
/// Hot: once a batch. No allocation but for who looks on; it does not wait.
pub(crate) fn record(
    tap: &Tap,
    batch: &[Exchange<'_>],
    questions: &[Option<Question<'_, '_>>],
    meanings: &[Meaning],
    zones: &Zones,
    began: Instant,
) -> usize {
    let nanos = began.elapsed().as_nanos() as u64; // 584 years
    if tap.seen.is_heard() {
        told(batch, questions, meanings).for_each(|one| tell(&one, &tap.seen, zones, nanos));
    }
    let recorded = tap.tray.fill(|table| {
        for Told { name, place, zone, facts, .. } in told(batch, questions, meanings) {
            let (sent, received) = (facts.reply_len as u64, facts.query_len as u64);
            let event = Event { zone: zone.into(), place, name, facts: facts.packed(), sent, received, nanos };
            table.record(event, || zones.id_of(zone));
        }
        if table.is_crowded() { Filled::Full } else { Filled::Room }
    });
    if recorded.is_some() { 0 } else { batch.len() }
}

/// Tells a query to who looks on.
#[cold]
fn tell(one: &Told<'_, '_>, seen: &Listeners<DnsSeen>, zones: &Zones, nanos: u64) {
    let Some(zone) = zones.id_of(one.zone) else { return };
    let code = one.facts.code();
    seen.tell(zone, one.name, code, |at| DnsSeen {
        at,
        name: one.name.into(),
        rtype: one.facts.rtype,
        code,
        transport: match one.facts.transport {
            Way::Udp => "udp",
            Way::Tcp => "tcp",
            Way::Tls => "tls",
            Way::Https => "https",
        },
        client: one.exchange.client.ip().to_canonical(),
        query_len: one.facts.query_len,
        reply_len: one.facts.reply_len,
        nanos,
    });
}
