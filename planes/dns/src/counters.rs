//! Counters of what happened: each worker writes its own, a reader adds them up.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bartizan_dns_guard::Held;
use bartizan_observed::{Measured, Metric, Sample};
use bartizan_quotas::{Memory, Over, Rarely};
use bartizan_wire::dns::Rcode;

use crate::pipeline::{End, Silence, Transport};
use crate::tap::{Tap, Taps};

/// Response codes that are counted apart: all that we send.
const RCODES: [Rcode; 10] = [
    Rcode::NOERROR,
    Rcode::FORMERR,
    Rcode::SERVFAIL,
    Rcode::NXDOMAIN,
    Rcode::NOTIMP,
    Rcode::REFUSED,
    Rcode::YXDOMAIN,
    Rcode::NOTAUTH,
    Rcode::BADVERS,
    Rcode::BADCOOKIE,
];

/// The address family of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// All workers' counters. Clones show the same numbers.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    tallies: Arc<Mutex<Vec<Arc<Tally>>>>,
    /// What connections share, when there are any.
    memory: Arc<OnceLock<Memory>>,
    /// Where workers count what they are asked, if somebody wants to know.
    taps: Option<Taps>,
}

/// What is counted, one number each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Query,
    Truncated,
    /// A packet that is not a well-formed query.
    Malformed,
    /// Too short for an answer.
    DroppedShort,
    /// An answer, not a query.
    DroppedResponse,
    /// From a port that no client asks from.
    DroppedPort,
    /// Its network had enough answers.
    DroppedRate,
    /// The system refused to send our answer.
    Unsent,
    /// The system reported an error instead of a packet.
    ReceiveFailed,
    Connection,
    /// A client that was silent or too slow, or whose query is too long.
    ConnectionClosed,
    /// It had completed no query for longest when its place was needed.
    ConnectionDisplaced,
    /// Its source came too often: it waits for its turn.
    ConnectionDelayed,
    /// TLS did not come about.
    HandshakeFailed,
    /// A signature that was made for an answer.
    SignatureMade,
    SignatureKept,
    /// A kept one that was to be renewed, and could not be.
    SignatureLate,
    /// The key did not open.
    SignatureNoKey,
    SignatureOverBudget,
    /// A batch that was answered by another time than the clock said.
    ClockDoubted,
    /// Answered, and missing in the statistics.
    Untold,
}

const EVENTS: usize = Event::Untold as usize + 1;

/// The counters of one worker, for one transport and family.
#[derive(Debug)]
pub(crate) struct Tally {
    transport: Transport,
    family: Family,
    events: [AtomicU64; EVENTS],
    rcodes: [AtomicU64; RCODES.len()],
    /// Connections that were refused, by the limit that refused them.
    refused: [AtomicU64; Over::ALL.len()],
    /// Answers over each limit: short ones, and those that were dropped.
    limited: [[AtomicU64; 2]; Held::LIMITS],
    displaced: AtomicU64,
}

impl Tally {
    /// What a worker has held back since it began.
    pub(crate) fn held(&self, held: &Held) {
        for (totals, (_, counts)) in self.limited.iter().zip(held.by_limit()) {
            totals.iter().zip(counts).for_each(|(total, count)| total.store(count, Ordering::Relaxed));
        }
        self.displaced.store(held.displaced, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, over: Over) {
        self.refused[over as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, event: Event, count: usize) {
        if count > 0 {
            self.events[event as usize].fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// Counts a batch: added up first, so that memory shared with the reader is written once a batch.
    pub(crate) fn add_ends(&self, ends: impl Iterator<Item = End>) {
        let mut events = [0_usize; EVENTS];
        let mut rcodes = [0_u64; RCODES.len()];
        for end in ends {
            events[Event::Query as usize] += 1;
            match end {
                End::Silent(Silence::Short) => {
                    events[Event::Malformed as usize] += 1;
                    events[Event::DroppedShort as usize] += 1;
                }
                End::Silent(Silence::Response) => events[Event::DroppedResponse as usize] += 1,
                End::Silent(Silence::Port) => events[Event::DroppedPort as usize] += 1,
                End::Silent(Silence::Rate) => events[Event::DroppedRate as usize] += 1,
                End::Reply { rcode, truncated, .. } => {
                    events[Event::Malformed as usize] += usize::from(rcode == Rcode::FORMERR);
                    events[Event::Truncated as usize] += usize::from(truncated);
                    if let Some(index) = RCODES.iter().position(|known| *known == rcode) {
                        rcodes[index] += 1;
                    }
                }
            }
        }
        for (total, count) in self.events.iter().zip(events).filter(|(_, count)| *count > 0) {
            total.fetch_add(count as u64, Ordering::Relaxed);
        }
        for (total, count) in self.rcodes.iter().zip(rcodes).filter(|(_, count)| *count > 0) {
            total.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Counts what a batch had signed.
    pub(crate) fn add_signed(&self, signed: bartizan_signer::Tally) {
        if signed == bartizan_signer::Tally::default() {
            return;
        }
        static NO_KEY: Rarely = Rarely::new();
        if signed.no_key > 0
            && let Some(times) = NO_KEY.turn()
        {
            tracing::error!(
                times,
                "the key of a signed zone does not open, so what needs a new signature is refused; see `bartizan doctor`"
            );
        }
        for (event, count) in [
            (Event::SignatureMade, signed.made),
            (Event::SignatureKept, signed.kept),
            (Event::SignatureLate, signed.late),
            (Event::SignatureNoKey, signed.no_key),
            (Event::SignatureOverBudget, signed.over_budget),
        ] {
            self.add(event, count as usize);
        }
    }

    fn event(&self, event: Event) -> u64 {
        self.events[event as usize].load(Ordering::Relaxed)
    }
}

impl Counters {
    /// With taps, by which workers tell what they are asked.
    pub fn tapped(taps: Taps) -> Counters {
        Counters { taps: Some(taps), ..Counters::default() }
    }

    /// For a worker that counts what it is asked.
    pub(crate) fn tap(&self) -> Option<Tap> {
        self.taps.as_ref().map(Taps::tap)
    }

    /// A worker's own counters, read with all others.
    pub(crate) fn worker(&self, transport: Transport, family: Family) -> Arc<Tally> {
        let zero = || AtomicU64::new(0);
        let tally = Arc::new(Tally {
            transport,
            family,
            events: array::from_fn(|_| zero()),
            rcodes: array::from_fn(|_| zero()),
            refused: array::from_fn(|_| zero()),
            limited: array::from_fn(|_| array::from_fn(|_| zero())),
            displaced: zero(),
        });
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&tally));
        tally
    }

    /// Shows how much of it is used.
    pub(crate) fn memory(&self, memory: &Memory) {
        let _ = self.memory.set(memory.clone());
    }
}

impl Measured for Counters {
    /// All numbers, added up over the workers.
    fn measure(&self) -> Vec<Metric> {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let event = |event: Event| tallies.iter().map(|tally| tally.event(event)).sum::<u64>();
        let by = |label: &'static str, events: &[(&'static str, Event)]| {
            let samples: Vec<_> = events.iter().map(|(name, which)| (*name, event(*which))).collect();
            Sample::by(label, &samples)
        };
        let dropped = [
            ("short", Event::DroppedShort),
            ("response", Event::DroppedResponse),
            ("port", Event::DroppedPort),
            ("rate", Event::DroppedRate),
            ("unsent", Event::Unsent),
        ];
        let connections = [
            ("accepted", Event::Connection),
            ("closed_by_us", Event::ConnectionClosed),
            ("displaced", Event::ConnectionDisplaced),
            ("delayed", Event::ConnectionDelayed),
            ("handshake_failed", Event::HandshakeFailed),
        ];
        let signatures = [
            ("made", Event::SignatureMade),
            ("kept", Event::SignatureKept),
            ("late", Event::SignatureLate),
            ("no_key", Event::SignatureNoKey),
            ("over_budget", Event::SignatureOverBudget),
        ];
        let refused = Over::ALL.map(|over| {
            let refused = tallies.iter().map(|tally| tally.refused[over as usize].load(Ordering::Relaxed)).sum::<u64>();
            (over.as_str(), refused)
        });
        let mut metrics = vec![
            Metric::counter("bartizan_dns_queries", "Queries received", queries(&tallies)),
            Metric::counter("bartizan_dns_responses", "Answers, by response code", responses(&tallies)),
            Metric::counter("bartizan_dns_truncated", "Answers cut for UDP", Sample::one(event(Event::Truncated))),
            Metric::counter(
                "bartizan_dns_malformed",
                "Packets that are no well-formed query",
                Sample::one(event(Event::Malformed)),
            ),
            Metric::counter("bartizan_dns_dropped", "Packets without an answer, and why", by("reason", &dropped)),
            Metric::counter(
                "bartizan_dns_receive_errors",
                "Errors that the system reported instead of a packet",
                Sample::one(event(Event::ReceiveFailed)),
            ),
            Metric::counter("bartizan_dns_limited", "Answers over a limit of their network", limited(&tallies)),
            Metric::counter(
                "bartizan_dns_limit_accounts_displaced",
                "Accounts of limits that made room for others before they were even",
                Sample::one(tallies.iter().map(|tally| tally.displaced.load(Ordering::Relaxed)).sum()),
            ),
            Metric::counter("bartizan_dns_connections", "TCP and TLS connections", by("outcome", &connections)),
            Metric::counter(
                "bartizan_dns_signatures",
                "Signatures that answers needed, and what became of it",
                by("outcome", &signatures),
            ),
            Metric::counter(
                "bartizan_dns_clock_doubted",
                "Batches of queries that were answered by another time than the clock said",
                Sample::one(event(Event::ClockDoubted)),
            ),
            Metric::counter(
                "bartizan_dns_untold",
                "Queries that are missing in the statistics of their zones",
                Sample::one(event(Event::Untold)),
            ),
            Metric::counter(
                "bartizan_dns_connections_refused",
                "TCP and TLS connections refused, by the limit",
                Sample::by("reason", &refused),
            ),
        ];
        metrics.extend(self.memory.get().map(|memory| {
            Metric::gauge(
                "bartizan_dns_buffer_bytes",
                "Memory that TCP and TLS connections have for answers that are not read",
                Sample::one(memory.used() as u64),
            )
        }));
        metrics
    }
}

/// What became of answers over a limit: TC or BADCOOKIE in their place, or nothing.
const HELD: [&str; 2] = ["short", "dropped"];

fn limited(tallies: &[Arc<Tally>]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (limit, (name, _)) in Held::default().by_limit().enumerate() {
        for (how, label) in HELD.into_iter().enumerate() {
            let value = tallies.iter().map(|tally| tally.limited[limit][how].load(Ordering::Relaxed)).sum();
            samples.push(Sample { labels: vec![("limit", name.into()), ("became", label.into())], value });
        }
    }
    samples
}

const TRANSPORTS: [(Transport, &str); 4] =
    [(Transport::Udp, "udp"), (Transport::Tcp, "tcp"), (Transport::Tls, "tls"), (Transport::Https, "https")];

fn queries(tallies: &[Arc<Tally>]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (transport, transport_label) in TRANSPORTS {
        for (family, family_label) in [(Family::V4, "ipv4"), (Family::V6, "ipv6")] {
            let value = tallies
                .iter()
                .filter(|tally| tally.transport == transport && tally.family == family)
                .map(|tally| tally.event(Event::Query))
                .sum();
            let labels = vec![("transport", transport_label.into()), ("family", family_label.into())];
            samples.push(Sample { labels, value });
        }
    }
    samples
}

fn responses(tallies: &[Arc<Tally>]) -> Vec<Sample> {
    let codes = RCODES.iter().enumerate();
    let samples = codes.map(|(index, rcode)| {
        let value = tallies.iter().map(|tally| tally.rcodes[index].load(Ordering::Relaxed)).sum();
        Sample { labels: vec![("rcode", rcode.mnemonic().unwrap_or("other").into())], value }
    });
    samples.collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use super::*;

    #[test]
    fn memory_is_shown_where_there_is_some() {
        let counters = Counters::default();
        let shown = || {
            let metrics = counters.measure();
            let shown = metrics.iter().find(|metric| metric.name == "bartizan_dns_buffer_bytes");
            shown.map(|metric| metric.samples[0].value)
        };
        assert_eq!(shown(), None);
        let (memory, held) = (Memory::new(1 << 20, Instant::now()), bartizan_quotas::Held::default());
        counters.memory(&memory);
        held.add(100_000, &memory, Ipv4Addr::LOCALHOST.into()).unwrap();
        assert_eq!(shown(), Some(2 << 16));
        drop(held);
        assert_eq!(shown(), Some(0));
    }
}
