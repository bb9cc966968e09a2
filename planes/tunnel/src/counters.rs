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
    /// Registrations for a tunnel that has as many connections as it may have.
    tunnel_limited,
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
    /// Connections on which nothing arrived for so long that they ended.
    lost,
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
    /// Datagrams of QUIC that were dropped because those before them were not read yet.
    datagrams_unheard,
    /// Datagrams from connectors that were dropped because the flow's queue was full.
    datagrams_overrun,
    /// Datagrams from connectors that were malformed, or for no flow.
    datagrams_unknown,
    /// Configurations that a connector took.
    configurations_applied,
    /// Configurations that a connector refused.
    configurations_refused,
    /// Streams that a connection did not give in time.
    without_stream,
    /// Answers whose head did not come in time.
    answers_late,
    /// Bodies of requests of which a connector took nothing for too long.
    uploads_stalled,
    /// Calls to connectors that were not answered in time, or not made because too many waited.
    calls_unanswered,
    /// Calls of connectors that were none, or did not end in time.
    calls_refused,
    /// Connections that were closed because their connector stayed for too long after it said goodbye.
    overstayed,
    /// TCP connections of which a connector did not take what the client said last.
    undelivered,
    /// Streams that were ended because they were read too slowly while others needed the memory.
    shed,
    /// Streams that were reset because nothing of them was taken and others could not begin.
    made_room,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
