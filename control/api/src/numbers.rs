//! What the API counts of itself, for `/metrics`.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

/// OpenMetrics 1.0, without the end mark.
impl Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kind, suffix, help, value) in [
            ("certificates_due", "gauge", "", "Certificates that are to be renewed.", &self.certificates_due),
            ("certificates_renewed", "counter", "_total", "Certificates renewed.", &self.certificates_renewed),
            (
                "certificates_not_renewed",
                "counter",
                "_total",
                "Tries to renew a certificate that failed.",
                &self.certificates_failed,
            ),
            (
                "writes_without_room",
                "counter",
                "_total",
                "Changes that were refused because the disk is full.",
                &self.writes_without_room,
            ),
        ] {
            writeln!(f, "# HELP bartizan_{name} {help}\n# TYPE bartizan_{name} {kind}")?;
            writeln!(f, "bartizan_{name}{suffix} {}", value.load(Relaxed))?;
        }
        Ok(())
    }
}
