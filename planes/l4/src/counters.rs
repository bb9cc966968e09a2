//! Counters of what happened. Writing one never waits; they are read for `/metrics` and the API.
//!
//! All workers share the counters of an application. They write them when a connection begins and ends, and bytes twice
//! a second: so the cache line seldom moves from core to core.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bartizan_names::AppId;

/// Names the variants in their order, so that an array can be counted in.
macro_rules! counted {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// As a label.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }
    };
}

counted!(
    /// Why an origin was not reached, or was lost.
    OriginFailure {
        Refused = "refused",
        Unreachable = "unreachable",
        /// Its name has no address, or no name server answers.
        Unresolved = "unresolved",
        TimedOut = "timed_out",
        /// The TLS handshake failed, or its certificate is not for the expected name.
        Tls = "tls",
        /// It reset a connection that was open.
        Reset = "reset",
        /// No connector of the tunnel is connected, or it does not say why it could not reach the origin.
        Tunnel = "tunnel",
        /// Its address must not be dialled: it is our own, or has a special meaning.
        NotAllowed = "not_allowed",
    }
);

counted!(
    /// Which limit refused a connection or a flow.
    Limit {
        SourceOpen = "source_open",
        SourceRate = "source_rate",
        SourceHandshakes = "source_handshakes",
        /// The source had as many as were left free for all others.
        SourceCrowded = "source_crowded",
        AppOpen = "app_open",
        AppRate = "app_rate",
        AppHandshakes = "app_handshakes",
        /// More sources at once than can be counted.
        Sources = "sources",
        /// A worker had as many connections or flows open as it can have.
        Worker = "worker",
        /// A connection was ended to make room for a newer one: its client had said nothing.
        Displaced = "displaced",
        /// A connection was ended, or a datagram dropped, because its source, or all clients together, had as much in buffers as
        /// may be.
        Memory = "memory",
        /// A flow was ended to make room for a newer one: its client had sent one datagram only.
        FlowDisplaced = "flow_displaced",
        /// A datagram was dropped: too many were waiting for the flow's origin already.
        FlowWaiting = "flow_waiting",
    }
);

counted!(
    /// What happened before the application was known.
    EdgeEvent {
        /// Nothing is configured at that address and port.
        Unknown = "unknown",
        /// A trusted peer sent no valid PROXY header.
        ProxyHeader = "proxy_header",
        HandshakeFailed = "handshake_failed",
        /// Several applications share the port, and the handshake named none of them (SNI, RFC 6066 §3).
        NoSuchName = "no_such_name",
        AcceptFailed = "accept_failed",
        /// Its source is an address and port of our own.
        OwnSource = "own_source",
        /// The system refused to send a datagram.
        Unsent = "unsent",
    }
);

const FAILURES: usize = OriginFailure::ALL.len();
const LIMITS: usize = Limit::ALL.len();
const EVENTS: usize = EdgeEvent::ALL.len();

/// The numbers of one application since the edge began to serve it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppTotals {
    /// Connections and flows that were let in.
    pub connects: u64,
    /// Refused or cut off by an access rule.
    pub filtered: u64,
    /// Open now.
    pub open: u64,
    /// Ended, and the sum of their durations.
    pub closed: u64,
    pub duration: Duration,
    /// From clients, and to them.
    pub bytes_in: u64,
    pub bytes_out: u64,
    origin_failures: [u64; FAILURES],
    limited: [u64; LIMITS],
}

impl AppTotals {
    pub fn origin_failures(&self, kind: OriginFailure) -> u64 {
        self.origin_failures[kind as usize]
    }

    pub fn limited(&self, limit: Limit) -> u64 {
        self.limited[limit as usize]
    }

    /// Over all kinds.
    pub fn all_origin_failures(&self) -> u64 {
        self.origin_failures.iter().sum()
    }

    /// By any limit.
    pub fn all_limited(&self) -> u64 {
        self.limited.iter().sum()
    }
}

/// The numbers of all applications, and of what belongs to none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub apps: BTreeMap<AppId, AppTotals>,
    events: [u64; EVENTS],
    limited: [u64; LIMITS],
    /// What is missing in the statistics of zones.
    pub untold: u64,
}

impl Totals {
    pub fn events(&self, event: EdgeEvent) -> u64 {
        self.events[event as usize]
    }

    /// Refused before it was known which application was meant.
    pub fn limited(&self, limit: Limit) -> u64 {
        self.limited[limit as usize]
    }
}

/// The counters of one application. Relaxed: nothing else depends on a value.
#[derive(Default)]
pub(crate) struct Tally {
    connects: AtomicU64,
    filtered: AtomicU64,
    open: AtomicU64,
    closed: AtomicU64,
    milliseconds: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    origin_failures: [AtomicU64; FAILURES],
    limited: [AtomicU64; LIMITS],
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Tally {
    pub(crate) fn opened(&self) {
        add(&self.connects, 1);
        add(&self.open, 1);
    }

    pub(crate) fn closed(&self, after: Duration) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        add(&self.closed, 1);
        add(&self.milliseconds, u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    }

    pub(crate) fn moved(&self, bytes_in: u64, bytes_out: u64) {
        // Most connections were idle since the last time.
        if bytes_in > 0 {
            add(&self.bytes_in, bytes_in);
        }
        if bytes_out > 0 {
            add(&self.bytes_out, bytes_out);
        }
    }

    pub(crate) fn filtered(&self) {
        add(&self.filtered, 1);
    }

    pub(crate) fn origin_failed(&self, kind: OriginFailure) {
        add(&self.origin_failures[kind as usize], 1);
    }

    pub(crate) fn limited(&self, limit: Limit) {
        add(&self.limited[limit as usize], 1);
    }

    fn read(&self) -> AppTotals {
        AppTotals {
            connects: get(&self.connects),
            filtered: get(&self.filtered),
            open: get(&self.open),
            closed: get(&self.closed),
            duration: Duration::from_millis(get(&self.milliseconds)),
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
            origin_failures: self.origin_failures.each_ref().map(get),
            limited: self.limited.each_ref().map(get),
        }
    }
}

/// All of them. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Counters(Arc<Shared>);

#[derive(Default)]
struct Shared {
    apps: Mutex<BTreeMap<AppId, Arc<Tally>>>,
    events: [AtomicU64; EVENTS],
    limited: [AtomicU64; LIMITS],
    untold: AtomicU64,
}

impl Counters {
    /// Something could not be counted in the statistics of its zone.
    pub(crate) fn untold(&self) {
        add(&self.0.untold, 1);
    }

    /// The tally of an application. Workers keep it: this waits for a lock.
    pub(crate) fn of(&self, app: AppId) -> Arc<Tally> {
        Arc::clone(self.apps().entry(app).or_default())
    }

    /// Forgets applications that are no more. What is still open of them counts on, unread.
    pub(crate) fn retain(&self, exists: impl Fn(AppId) -> bool) {
        self.apps().retain(|app, _| exists(*app));
    }

    /// One application's numbers, if it did anything.
    pub(crate) fn app(&self, app: AppId) -> Option<AppTotals> {
        self.apps().get(&app).map(|tally| tally.read())
    }

    pub(crate) fn event(&self, event: EdgeEvent) {
        add(&self.0.events[event as usize], 1);
    }

    pub(crate) fn limited(&self, limit: Limit) {
        add(&self.0.limited[limit as usize], 1);
    }

    pub(crate) fn read(&self) -> Totals {
        Totals {
            apps: self.apps().iter().map(|(app, tally)| (*app, tally.read())).collect(),
            events: self.0.events.each_ref().map(get),
            limited: self.0.limited.each_ref().map(get),
            untold: get(&self.0.untold),
        }
    }

    fn apps(&self) -> std::sync::MutexGuard<'_, BTreeMap<AppId, Arc<Tally>>> {
        self.0.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_apart() {
        let counters = Counters::default();
        let [one, two] = [1, 2].map(|number| AppId::from_bytes([number; 16]));
        let tally = counters.of(one);
        tally.opened();
        tally.opened();
        tally.closed(Duration::from_millis(1_500));
        tally.moved(10, 20);
        tally.origin_failed(OriginFailure::NotAllowed);
        tally.limited(Limit::FlowWaiting);
        counters.of(two).filtered();
        counters.event(EdgeEvent::Unsent);
        let totals = counters.read();
        let app = totals.apps[&one];
        assert_eq!((app.connects, app.open, app.closed, app.duration.as_millis()), (2, 1, 1, 1_500));
        assert_eq!((app.bytes_in, app.bytes_out, app.filtered), (10, 20, 0));
        for kind in OriginFailure::ALL {
            assert_eq!(app.origin_failures(*kind), u64::from(*kind == OriginFailure::NotAllowed), "{}", kind.as_str());
        }
        for limit in Limit::ALL {
            assert_eq!(app.limited(*limit), u64::from(*limit == Limit::FlowWaiting), "{}", limit.as_str());
            assert_eq!(totals.limited(*limit), 0);
        }
        assert_eq!((totals.apps[&two].filtered, totals.events(EdgeEvent::Unsent)), (1, 1));
        counters.retain(|app| app == two);
        assert_eq!(counters.read().apps.len(), 1);
    }
}
