//! What the plane counts, as metrics.

use std::sync::Arc;

use bartizan_observed::{Measured, Metric, Sample};
use bartizan_quotas::Memory;
use bartizan_tls::Acceptor;

use crate::Totals;
use crate::counters::Counters;

/// The counters of all workers, which may have ended meanwhile, and what they share.
pub(crate) struct Counted {
    pub(crate) workers: Vec<Arc<Counters>>,
    pub(crate) acceptor: Acceptor,
    pub(crate) quic: Acceptor,
    pub(crate) memory: Memory,
}

impl Measured for Counted {
    fn measure(&self) -> Vec<Metric> {
        let Totals { requests, ends, origins, visitors } = Totals::of(&self.workers);
        let status = [
            ("1xx", requests.status_1xx),
            ("2xx", requests.status_2xx),
            ("3xx", requests.status_3xx),
            ("4xx", requests.status_4xx),
            ("5xx", requests.status_5xx),
        ];
        let versions = [("http1", requests.http1), ("http2", requests.http2), ("http3", requests.http3)];
        let ways = [
            ("answered", ends.answered),
            ("upgraded", ends.upgraded),
            ("too_slow", ends.too_slow),
            ("blocked", ends.blocked),
            ("broken", ends.broken),
            ("left", ends.left),
        ];
        let places = [("origin", ends.to_origin), ("tunnel", ends.to_tunnel), ("nobody", ends.to_nobody)];
        let bodies = [("in", ends.received), ("out", ends.sent)];
        let times = [("head", ends.first_byte_micros), ("end", ends.whole_micros)];
        let failures = [
            ("refused", origins.refused),
            ("unreachable", origins.unreachable),
            ("unresolved", origins.unresolved),
            ("not_allowed", origins.not_allowed),
            ("connect_timed_out", origins.connect_timed_out),
            ("tls", origins.tls),
            ("answer_timed_out", origins.answer_timed_out),
            ("broken", origins.broken),
            ("tunnel_not_connected", origins.tunnel_not_connected),
            ("tunnel_broken", origins.tunnel_broken),
            ("tunnel_untold", origins.tunnel_untold),
            ("no_room", origins.no_room),
        ];
        let closed = [
            ("source_open", visitors.source_open),
            ("source_rate", visitors.source_rate),
            ("source_handshakes", visitors.source_handshakes),
            ("sources", visitors.sources),
            ("crowded", visitors.crowded),
            ("full", visitors.full),
            ("displaced", visitors.displaced),
            ("memory", visitors.memory),
            ("handshake_failed", visitors.handshakes_failed),
            ("too_slow", visitors.too_slow),
            ("worn", visitors.worn),
            ("blocked", visitors.blocked),
        ];
        let handshakes = [
            ("full", visitors.handshakes_full),
            ("resumed", visitors.handshakes_resumed),
            ("early", visitors.handshakes_early),
            ("quic", visitors.handshakes_quic),
        ];
        let bytes = [("in", visitors.bytes_in), ("out", visitors.bytes_out)];
        vec![
            Metric::counter(
                "bartizan_http_requests",
                "Requests answered, by the status's class",
                Sample::by("status", &status),
            ),
            Metric::counter(
                "bartizan_http_requests_by_version",
                "Requests answered, by version",
                Sample::by("version", &versions),
            ),
            Metric::counter(
                "bartizan_http_requests_ended",
                "Requests that are over, by how they ended",
                Sample::by("how", &ways),
            ),
            Metric::counter(
                "bartizan_http_requests_sent",
                "Requests that are over, by where they were sent to",
                Sample::by("to", &places),
            ),
            Metric::counter("bartizan_http_body_bytes", "Bytes of bodies", Sample::by("direction", &bodies)),
            Metric::counter(
                "bartizan_http_request_microseconds",
                "Time of requests that are over, until the head of the answer and until the end",
                Sample::by("until", &times),
            ),
            Metric::counter(
                "bartizan_http_screened_out",
                "Requests refused as malformed",
                Sample::one(requests.screened_out),
            ),
            Metric::counter(
                "bartizan_http_blocked",
                "Requests refused by an access rule",
                Sample::one(requests.blocked),
            ),
            Metric::counter(
                "bartizan_http_unlogged",
                "Requests without a line in the access log, because lines came faster than they were written",
                Sample::one(requests.unlogged),
            ),
            Metric::counter(
                "bartizan_http_requests_to_http2",
                "Requests that origins were sent over HTTP/2",
                Sample::one(requests.to_http2),
            ),
            Metric::counter("bartizan_http_retried", "Requests sent to an origin twice", Sample::one(requests.retried)),
            Metric::counter(
                "bartizan_http_untold",
                "Requests that are missing in the statistics of their zones",
                Sample::one(requests.untold),
            ),
            Metric::counter(
                "bartizan_http_origin_failures",
                "Why an origin gave no answer",
                Sample::by("reason", &failures),
            ),
            Metric::counter(
                "bartizan_http_origin_idle_evicted",
                "Idle connections to origins closed to make room for newer ones",
                Sample::one(origins.idle_evicted),
            ),
            Metric::counter(
                "bartizan_http_connections",
                "Visitors' connections accepted",
                Sample::one(visitors.accepted),
            ),
            Metric::gauge(
                "bartizan_http_connections_open",
                "Visitors' connections open now",
                Sample::one(visitors.open),
            ),
            Metric::counter(
                "bartizan_http_connections_closed",
                "Connections that we ended, and why",
                Sample::by("reason", &closed),
            ),
            Metric::gauge(
                "bartizan_http_buffer_bytes",
                "Memory that visitors have for what they send faster than it is taken, or do not take",
                Sample::one(self.memory.used() as u64),
            ),
            Metric::counter(
                "bartizan_http_handshakes",
                "TLS handshakes: whole ones, those that took an earlier session up, and those with requests ahead of their end; \
                 of QUIC all together",
                Sample::by("kind", &handshakes),
            ),
            Metric::counter(
                "bartizan_http_addresses_asked",
                "Visitors over QUIC that had to show first that their address is their own",
                Sample::one(visitors.addresses_asked),
            ),
            Metric::counter(
                "bartizan_http_quic_datagrams_dropped",
                "Datagrams of sources that sent more than there were turns for",
                Sample::one(visitors.datagrams_dropped),
            ),
            Metric::counter(
                "bartizan_http_sessions_displaced",
                "TLS sessions that were not kept for their time, since there was no room",
                Sample::one(self.acceptor.displaced_sessions() + self.quic.displaced_sessions()),
            ),
            Metric::counter(
                "bartizan_http_streams_starved",
                "HTTP/2 streams that were reset because the visitor took nothing of the answer",
                Sample::one(visitors.starved),
            ),
            Metric::counter("bartizan_http_bytes", "Bytes of HTTP after decryption", Sample::by("direction", &bytes)),
        ]
    }
}
