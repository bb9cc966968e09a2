//! What applications did.

use std::time::Duration;

use bartizan_names::AppId;

/// Who counts for applications.
pub trait AppCounts: Send + Sync {
    /// What an application did since the edge began to serve it; none if it is not served here.
    fn app(&self, app: AppId) -> Option<AppCounters>;
}

/// The numbers of one application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppCounters {
    /// Connections and flows that were let in.
    pub connects: u64,
    /// Connections and flows that an access rule or a limit refused.
    pub filtered: u64,
    /// Connections and flows that ended because no origin could be reached, or the origin broke off.
    pub origin_errors: u64,
    /// Bytes from clients.
    pub bytes_ingress: u64,
    /// Bytes to clients.
    pub bytes_egress: u64,
    /// Connections and flows that are open now.
    pub open: u64,
    /// How long all that ended were open, together.
    pub duration: Duration,
}
