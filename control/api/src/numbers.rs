//! What the API counts of itself, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bartizan_observed::{Measured, Metric, Sample};

/// Counted while the process runs.
#[derive(Default)]
pub(crate) struct Numbers {
    certificates_due: AtomicU64,
    certificates_renewed: AtomicU64,
    certificates_failed: AtomicU64,
    writes_without_room: AtomicU64,
}

impl Numbers {
    /// So many certificates are to be renewed.
    pub(crate) fn certificates_due(&self, count: usize) {
        self.certificates_due.store(count as u64, Relaxed);
    }

    /// Some certificates were renewed, some could not be, and so many are left to be looked at.
    pub(crate) fn certificates_renewed(&self, renewed: u64, failed: u64, left: usize) {
        self.certificates_renewed.fetch_add(renewed, Relaxed);
        self.certificates_failed.fetch_add(failed, Relaxed);
        self.certificates_due.store(left as u64, Relaxed);
    }

    /// A change was refused because the disk is full.
    pub(crate) fn write_without_room(&self) {
        self.writes_without_room.fetch_add(1, Relaxed);
    }
}

impl Measured for Numbers {
    fn measure(&self) -> Vec<Metric> {
        let one = |number: &AtomicU64| Sample::one(number.load(Relaxed));
        vec![
            Metric::gauge(
                "bartizan_certificates_due",
                "Certificates that are to be renewed",
                one(&self.certificates_due),
            ),
            Metric::counter("bartizan_certificates_renewed", "Certificates renewed", one(&self.certificates_renewed)),
            Metric::counter(
                "bartizan_certificates_not_renewed",
                "Tries to renew a certificate that failed",
                one(&self.certificates_failed),
            ),
            Metric::counter(
                "bartizan_writes_without_room",
                "Changes that were refused because the disk is full",
                one(&self.writes_without_room),
            ),
        ]
    }
}
