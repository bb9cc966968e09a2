//! What the plane counts. Each worker writes its own counters, without waiting; readers add them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bartizan_quotas::Over;
use bartizan_tls::ServerStream;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::record::{End, Ended, SentTo};

/// Makes the atomic fields, the plain ones, and the sum of many.
macro_rules! counted {
    ($(#[$doc:meta])* $plain:ident / $atomic:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $plain {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        #[derive(Default)]
        pub(crate) struct $atomic {
            $(pub(crate) $field: Counter,)*
        }

        impl $atomic {
            fn add_to(&self, sum: &mut $plain) {
                $(sum.$field = sum.$field.wrapping_add(self.$field.get());)*
            }
        }
    };
}

/// A counter or a gauge. Relaxed: nothing else depends on its value. One thread writes it, so it needs no locked addition.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, number: u64) {
        self.0.store(self.get().wrapping_add(number), Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, number: u64) {
        self.0.store(self.get().wrapping_sub(number), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counted!(
    /// Answered requests.
    Requests / RequestCounters {
        /// By the class of the status, 101 among the first.
        status_1xx,
        status_2xx,
        status_3xx,
        status_4xx,
        status_5xx,
        /// By the version that the visitor spoke.
        http1,
        http2,
        http3,
        /// HTTP/1.1 requests that were refused because of their heads.
        screened_out,
        /// Refused by the firewall.
        blocked,
        /// Sent a second time because a kept connection had died.
        retried,
        to_http2,
        /// Whose line of the access log was thrown away: lines came faster than they were written.
        unlogged,
        /// Missing in the statistics of their zones.
        untold,
    }
);

counted!(
    /// Requests that are over. Each counts once among the ways to end, and once among the places that they were sent to.
    Ends / EndCounters {
        /// All of the answer was handed to the visitor's connection.
        answered,
        /// Switched to WebSocket, which is over.
        upgraded,
        /// The visitor was too slow.
        too_slow,
        /// The firewall lets the visitor in no more.
        blocked,
        /// The answer broke off at the origin.
        broken,
        /// The visitor left before it had all of the answer, or the plane ended.
        left,
        to_origin,
        to_tunnel,
        /// Nobody but the edge had to do with it.
        to_nobody,
        /// Bytes of bodies.
        received,
        sent,
        /// Microseconds from the head of a request to the head of its answer, and to its end; of all of them together.
        first_byte_micros,
        whole_micros,
    }
);

counted!(
    /// Why an origin or a tunnel gave no answer.
    OriginFailures / OriginFailureCounters {
        refused,
        unreachable,
        unresolved,
        not_allowed,
        connect_timed_out,
        tls,
        answer_timed_out,
        broken,
        tunnel_not_connected,
        /// The connection to a connector was lost, or what it said is no answer.
        tunnel_broken,
        /// A connector got no answer, and does not say why.
        tunnel_untold,
        /// As many connections to origins as there may be were open, or as many as the visitor may have.
        no_room,
        /// No failure: idle connections that were closed because others needed their place.
        idle_evicted,
    }
);

counted!(
    /// Visitors' connections.
    Visitors / VisitorCounters {
        accepted,
        /// Open now.
        open,
        /// Closed at once, by the limit that was reached: what the source may have, or all may have together.
        source_open,
        source_rate,
        source_handshakes,
        sources,
        crowded,
        full,
        /// Closed because it had nothing under way for longest, and its place was needed.
        displaced,
        /// Ended, or of HTTP/2 a stream that was reset, because its source, or all visitors together, had as much in buffers as
        /// may be.
        memory,
        handshakes_failed,
        /// Of TLS, by how much of it was needed; the last with requests ahead of its end.
        handshakes_full,
        handshakes_resumed,
        handshakes_early,
        /// Of QUIC, whole or not.
        handshakes_quic,
        /// Over QUIC, asked to show that their address is their own.
        addresses_asked,
        datagrams_dropped,
        /// Ended because the visitor was too slow to send a head or a body, or to read an answer.
        too_slow,
        /// HTTP/2 streams that were reset because the visitor did not take the answer.
        starved,
        /// HTTP/2 visitors that were told to make a new connection: this one had as many requests, cancelled requests or
        /// connections to origins as one may.
        worn,
        /// Ended because a changed rule refuses their source.
        blocked,
        /// Bytes of HTTP, after decryption.
        bytes_in,
        bytes_out,
    }
);

/// One worker's.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) requests: RequestCounters,
    pub(crate) ends: EndCounters,
    pub(crate) origins: OriginFailureCounters,
    pub(crate) visitors: VisitorCounters,
}

/// Those of all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub requests: Requests,
    pub ends: Ends,
    pub origins: OriginFailures,
    pub visitors: Visitors,
}

impl Totals {
    pub(crate) fn of(workers: &[Arc<Counters>]) -> Totals {
        let mut totals = Totals::default();
        workers.iter().for_each(|counters| counters.add_to(&mut totals));
        totals
    }
}

impl Counters {
    pub(crate) fn add_to(&self, totals: &mut Totals) {
        self.requests.add_to(&mut totals.requests);
        self.ends.add_to(&mut totals.ends);
        self.origins.add_to(&mut totals.origins);
        self.visitors.add_to(&mut totals.visitors);
    }
}

impl VisitorCounters {
    pub(crate) fn shook_hands<IO: AsyncRead + AsyncWrite + Unpin>(&self, stream: &ServerStream<IO>) {
        let counter = match (stream.resumed(), stream.handshake_end()) {
            (_, Some(_)) => &self.handshakes_early,
            (true, None) => &self.handshakes_resumed,
            (false, None) => &self.handshakes_full,
        };
        counter.add(1);
    }

    pub(crate) fn refused(&self, over: Over) {
        let counter = match over {
            Over::Open => &self.source_open,
            Over::Rate => &self.source_rate,
            Over::Handshakes => &self.source_handshakes,
            Over::Counted => &self.sources,
            Over::Crowded => &self.crowded,
            Over::Full => &self.full,
        };
        counter.add(1);
    }
}

impl EndCounters {
    pub(crate) fn ended(&self, request: &Ended) {
        let how = match request.how {
            End::Answered => &self.answered,
            End::Upgraded => &self.upgraded,
            End::TooSlow => &self.too_slow,
            End::Blocked => &self.blocked,
            End::Broken => &self.broken,
            End::Left => &self.left,
        };
        let to = match request.sent_to {
            Some(SentTo::Origin) => &self.to_origin,
            Some(SentTo::Tunnel(_)) => &self.to_tunnel,
            None => &self.to_nobody,
        };
        how.add(1);
        to.add(1);
        self.received.add(request.received);
        self.sent.add(request.sent);
        self.first_byte_micros.add(request.first_byte.map_or(0, |time| time.as_micros() as u64));
        self.whole_micros.add(request.whole.as_micros() as u64);
    }
}

impl RequestCounters {
    pub(crate) fn answered(&self, status: http::StatusCode) {
        match status.as_u16() / 100 {
            1 => self.status_1xx.add(1),
            2 => self.status_2xx.add(1),
            3 => self.status_3xx.add(1),
            4 => self.status_4xx.add(1),
            _ => self.status_5xx.add(1),
        }
    }
}
