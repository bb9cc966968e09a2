//! What is counted, for `/metrics`.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bartizan_observed::{Metric, Sample};

/// Counted while the process runs.
#[derive(Default)]
pub(crate) struct Counters {
    /// Zones with DNSSEC, and those of them that nobody can validate.
    pub(crate) zones: AtomicU64,
    pub(crate) wrong: AtomicU64,
    /// How often a parent was asked, how often it could not be told what it has, and how often somebody was told to wait.
    pub(crate) looks: AtomicU64,
    pub(crate) looks_failed: AtomicU64,
    pub(crate) looks_refused: AtomicU64,
    /// The first two of calls of registries.
    pub(crate) sent: AtomicU64,
    pub(crate) sent_failed: AtomicU64,
}

impl Counters {
    pub(crate) fn measure(&self) -> Vec<Metric> {
        let one = |number: &AtomicU64| Sample::one(number.load(Relaxed));
        vec![
            Metric::gauge("bartizan_dnssec_zones", "Zones with DNSSEC", one(&self.zones)),
            Metric::gauge(
                "bartizan_dnssec_zones_broken",
                "Zones that nobody who validates can find, or whose keys do not open",
                one(&self.wrong),
            ),
            Metric::counter("bartizan_dnssec_looks", "Times that a parent zone was asked", one(&self.looks)),
            Metric::counter(
                "bartizan_dnssec_looks_failed",
                "Times that it could not be told what a parent zone has",
                one(&self.looks_failed),
            ),
            Metric::counter(
                "bartizan_dnssec_looks_refused",
                "Calls to ask a parent zone that were told to wait",
                one(&self.looks_refused),
            ),
            Metric::counter("bartizan_dnssec_sent", "Calls of registries", one(&self.sent)),
            Metric::counter(
                "bartizan_dnssec_sent_failed",
                "Calls of registries that were in vain",
                one(&self.sent_failed),
            ),
        ]
    }
}
