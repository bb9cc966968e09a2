//! What was refused: counted for `/metrics`, and logged now and then.

use std::sync::atomic::{AtomicU64, Ordering};

use bartizan_observed::{Measured, Metric, Sample};
use bartizan_quotas::Rarely;

use crate::Refusal;

/// Those of a whole process. Relaxed: nothing else depends on a value.
#[derive(Default)]
pub(crate) struct Counters {
    refused: [AtomicU64; Refusal::ALL.len()],
    lookups_refused: AtomicU64,
    system_lookups_refused: AtomicU64,
    log: Rarely,
}

impl Counters {
    pub(crate) fn lookup_refused(&self) {
        self.lookups_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn system_lookup_refused(&self) {
        self.system_lookups_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, address: std::net::SocketAddr, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%address, %refusal, "a dial was refused");
        if let Some(times) = self.log.turn() {
            tracing::warn!(%address, %refusal, times, "an origin is not dialled: {}", refusal.remedy());
        }
    }
}

impl Measured for Counters {
    fn measure(&self) -> Vec<Metric> {
        let refused: Vec<_> = Refusal::ALL
            .iter()
            .map(|refusal| (refusal.as_str(), self.refused[*refusal as usize].load(Ordering::Relaxed)))
            .collect();
        vec![
            Metric::counter(
                "bartizan_dials_refused",
                "Addresses of origins that were not dialled, by what they are",
                Sample::by("reason", &refused),
            ),
            Metric::counter(
                "bartizan_lookups_refused",
                "Names of origins that were not asked for: too many were already",
                Sample::one(self.lookups_refused.load(Ordering::Relaxed)),
            ),
            Metric::counter(
                "bartizan_system_lookups_refused",
                "Names unknown to name servers that the system's resolver was not asked for: it was busy with others",
                Sample::one(self.system_lookups_refused.load(Ordering::Relaxed)),
            ),
        ]
    }
}
