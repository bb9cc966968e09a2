//! How much of the audit stays: what the operator says, which may be said anew while the store is open.

use std::sync::atomic::{AtomicU64, Ordering};

use bartizan_names::Timestamp;

/// How long entries stay, and how many bytes of them, roughly. However old they are, 10,000 of the newest stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRetention {
    pub days: u64,
    pub bytes: u64,
}

impl AuditRetention {
    /// A year, and some 800,000 changes of a record.
    pub const USUAL: AuditRetention = AuditRetention { days: 365, bytes: 1 << 30 };
}

impl Default for AuditRetention {
    fn default() -> AuditRetention {
        AuditRetention::USUAL
    }
}

/// The same, shared with the writer.
pub(crate) struct Kept {
    days: AtomicU64,
    bytes: AtomicU64,
}

impl Kept {
    pub(crate) fn get(&self) -> AuditRetention {
        AuditRetention { days: self.days.load(Ordering::Relaxed), bytes: self.bytes() }
    }

    pub(crate) fn set(&self, AuditRetention { days, bytes }: AuditRetention) {
        self.days.store(days, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What is older than this may go.
    pub(crate) fn since(&self, now: Timestamp) -> Timestamp {
        const DAY_MICROS: u64 = 86_400 * 1_000_000;
        let kept = self.days.load(Ordering::Relaxed).saturating_mul(DAY_MICROS);
        Timestamp::from_unix_micros(now.unix_micros().saturating_sub(kept))
    }
}

impl Default for Kept {
    fn default() -> Kept {
        let AuditRetention { days, bytes } = AuditRetention::USUAL;
        Kept { days: days.into(), bytes: bytes.into() }
    }
}
