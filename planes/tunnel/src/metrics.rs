//! What the plane counts, as metrics.

use std::sync::Arc;

use bartizan_live::Live;
use bartizan_observed::{Connections, Measured, Metric, Sample};

use crate::Counts;
use crate::counters::Counters;
use crate::readers::Readers;

/// The numbers of a plane, which may have ended meanwhile.
pub(crate) struct Counted {
    pub(crate) counters: Arc<Counters>,
    pub(crate) connections: Live<Connections>,
    pub(crate) readers: Readers,
}

impl Measured for Counted {
    fn measure(&self) -> Vec<Metric> {
        let connections = self.connections.snapshot().value.0.len() as u64;
        let mut metrics = vec![
            Metric::gauge("bartizan_tunnel_connections", "Connections of connectors", Sample::one(connections)),
            Metric::gauge(
                "bartizan_tunnel_buffer_bytes",
                "Memory for what came through tunnels faster than it is read, at most",
                Sample::one(self.readers.bytes()),
            ),
        ];
        metrics.extend(metrics_of(&self.counters.read()));
        metrics
    }
}

fn metrics_of(counts: &Counts) -> [Metric; 9] {
    let refused = [
        ("unauthorized", counts.unauthorized),
        ("unregistered", counts.unregistered),
        ("tunnel_limit", counts.tunnel_limited),
        ("source_limit", counts.source_limited),
        ("unproven", counts.retried),
        ("full", counts.full),
    ];
    let requests = [
        ("answered", counts.requests),
        ("failed", counts.failed),
        ("no_connection", counts.without_connection),
        ("moved", counts.moved),
    ];
    let tcp = [("made", counts.tcp_connections), ("failed", counts.tcp_failed)];
    let udp = [("begun", counts.udp_flows), ("failed", counts.udp_failed)];
    let dropped = [
        ("oversize", counts.datagrams_oversize),
        ("overrun", counts.datagrams_overrun),
        ("unknown", counts.datagrams_unknown),
        ("unheard", counts.datagrams_unheard),
    ];
    let given_up = [
        ("silence", counts.lost),
        ("stream", counts.without_stream),
        ("answer", counts.answers_late),
        ("upload", counts.uploads_stalled),
        ("call", counts.calls_unanswered),
        ("call_of_connector", counts.calls_refused),
        ("departure", counts.overstayed),
        ("delivery", counts.undelivered),
        ("reader", counts.shed),
        ("room", counts.made_room),
    ];
    let configurations = [("applied", counts.configurations_applied), ("refused", counts.configurations_refused)];
    [
        Metric::counter("bartizan_tunnel_registered", "Connections registered", Sample::one(counts.registered)),
        Metric::counter("bartizan_tunnel_silent", "Connections that fell silent", Sample::one(counts.silent)),
        Metric::counter("bartizan_tunnel_refused", "Connections refused, and why", Sample::by("reason", &refused)),
        Metric::counter("bartizan_tunnel_requests", "Requests handed to connectors", Sample::by("outcome", &requests)),
        Metric::counter("bartizan_tunnel_tcp", "TCP connections through connectors", Sample::by("outcome", &tcp)),
        Metric::counter("bartizan_tunnel_udp_flows", "UDP flows through connectors", Sample::by("outcome", &udp)),
        Metric::counter(
            "bartizan_tunnel_datagrams_dropped",
            "Datagrams dropped, and why",
            Sample::by("reason", &dropped),
        ),
        Metric::counter(
            "bartizan_tunnel_configurations",
            "Configurations pushed",
            Sample::by("outcome", &configurations),
        ),
        Metric::counter(
            "bartizan_tunnel_given_up",
            "Waits for connectors that their limit ended",
            Sample::by("wait", &given_up),
        ),
    ]
}
