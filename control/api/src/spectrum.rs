//! `/zones/{zone_id}/spectrum/apps`: TCP and UDP ports of the edge, and what they lead to.

use std::time::Duration;

/// What an application did since the edge started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Why clients cannot connect, if they cannot.
    pub problem: Option<String>,
}
