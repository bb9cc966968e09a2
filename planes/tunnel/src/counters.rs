//! Counters of what happened.

use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the counters and their values at one moment.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64,)* }

        /// The counters of the plane since it started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections whose registration was accepted.
    registered,
    /// Registrations with a wrong account, tunnel or secret.
    unauthorized,
    /// Connections that did not register in time, or whose calls could not be read.
    unregistered,
    /// Connections that had to prove their address first.
    retried,
    /// Connections refused because one source opened too many.
    source_limited,
    /// Connections refused because too many are open, or too many are registering.
    full,
    /// Requests that were handed to a connector.
    requests,
    /// Requests that got no answer from a connector.
    failed,
    /// Requests and TCP connections for which no connection was there, or all were at their limit of streams.
    without_connection,
    /// Requests and TCP connections that left a silent or lost connection for another.
    moved,
    /// Connections on which nothing arrived for a while.
    silent,
    /// TCP connections that a connector made.
    tcp_connections,
    /// TCP connections that could not be made.
    tcp_failed,
    /// UDP flows that a connector took.
    udp_flows,
    /// UDP flows that could not be made.
    udp_failed,
    /// UDP payloads that were dropped: too large for the path to the connector, or for the connector.
    datagrams_oversize,
    /// Datagrams from connectors that were dropped because the flow's queue was full.
    datagrams_overrun,
    /// Datagrams from connectors that were malformed, or for no flow.
    datagrams_unknown,
    /// Configurations that a connector took.
    configurations_applied,
    /// Configurations that a connector refused.
    configurations_refused,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
