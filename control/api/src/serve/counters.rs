//! What the API's listeners count.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bartizan_observed::{Measured, Metric, Sample};
use bartizan_quotas::Over;

#[derive(Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    too_slow: AtomicU64,
    displaced: AtomicU64,
    refused: [AtomicU64; Over::ALL.len()],
}

impl Counters {
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// A head, a body or the reading of an answer took too long.
    pub(super) fn too_slow(&self) {
        self.too_slow.fetch_add(1, Relaxed);
    }

    /// It was idle for longest when its place was needed.
    pub(super) fn displaced(&self) {
        self.displaced.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self, over: Over) {
        self.refused[over as usize].fetch_add(1, Relaxed);
    }
}

impl Measured for Counters {
    fn measure(&self) -> Vec<Metric> {
        let closed = [("too_slow", &self.too_slow), ("displaced", &self.displaced)];
        let closed = closed.map(|(reason, count)| (reason, count.load(Relaxed)));
        let refused = Over::ALL.map(|over| (over.as_str(), self.refused[over as usize].load(Relaxed)));
        let accepted = Sample::one(self.accepted.load(Relaxed));
        let open = Sample::one(self.open.load(Relaxed));
        vec![
            Metric::counter("bartizan_api_connections", "Connections of the API accepted", accepted),
            Metric::gauge("bartizan_api_connections_open", "Connections of the API open now", open),
            Metric::counter(
                "bartizan_api_connections_refused",
                "Connections of the API refused, by the limit",
                Sample::by("reason", &refused),
            ),
            Metric::counter(
                "bartizan_api_connections_closed",
                "Connections of the API that we ended, and why",
                Sample::by("reason", &closed),
            ),
        ]
    }
}
