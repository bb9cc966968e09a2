//! One registered connection, and the right to use it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bartizan_live::Silence;
use bartizan_observed::{Connection, Metered, Traffic, Transport};
use bartizan_quic::{AllUnread, first_window};
use bartizan_quotas::SourceKey;
use bartizan_rpc::plain_text;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::counters::Counters;
use crate::http2::{Session, Slot};
use crate::limits::{LOGGED_BYTES_MAX, Limits};
use crate::sessions::{Ended, Manner, Sessions};
use crate::untaken::AllUntaken;

/// One registered connection.
///
/// ```text
/// registered ─► serving: its connector has its rules ─► departing: takes nothing new ─► closed
///                 ⇅ silent: nothing arrives on it
/// ```
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) carrier: Carrier,
    pub(crate) facts: Connection,
    pub(crate) sessions: Sessions,
    /// Streams that may be read slower than they come.
    pub(crate) unread: AllUnread,
    /// Streams on which more may be written than is taken.
    pub(crate) untaken: AllUntaken,
    pub(crate) limits: Limits,
    pub(crate) counters: Arc<Counters>,
    /// Why we closed it, if we did.
    closed: OnceLock<&'static str>,
    serving: AtomicBool,
    draining: AtomicBool,
    departure: watch::Sender<Option<Departure>>,
    silent: watch::Sender<bool>,
    silence: Mutex<Silence>,
    /// All that ever began.
    begun: AtomicU64,
    in_flight: AtomicUsize,
    /// The same for each source that has some.
    by_source: Mutex<HashMap<SourceKey, usize>>,
    /// Rings when the last request in flight ends.
    idle: Notify,
    /// For what has to end after its request has.
    runtime: Handle,
}

/// What carries a connection.
#[derive(Debug)]
pub(crate) enum Carrier {
    Quic(quinn::Connection),
    Http2(Arc<Session>),
}

impl Carrier {
    pub(crate) fn quic(&self) -> Option<&quinn::Connection> {
        match self {
            Carrier::Quic(quic) => Some(quic),
            Carrier::Http2(_) => None,
        }
    }

    pub(crate) fn transport(&self) -> Transport {
        match self {
            Carrier::Quic(_) => Transport::Quic,
            Carrier::Http2(_) => Transport::Http2,
        }
    }

    /// The connector is known now, and may be asked for what others ask.
    pub(crate) fn trust(&self, memory: u64) {
        match self {
            // Until the next look.
            Carrier::Quic(quic) => quic.set_receive_window(first_window(memory)),
            Carrier::Http2(session) => session.trust(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Carrier::Quic(quic) => quic.close_reason().is_some(),
            Carrier::Http2(session) => session.is_closed(),
        }
    }

    /// Waits until it is closed by either side, and says why.
    pub(crate) async fn closed(&self) -> String {
        match self {
            Carrier::Quic(quic) => quic.closed().await.to_string(),
            Carrier::Http2(session) => session.closed().await.to_string(),
        }
    }

    /// Whether it ended since nothing came any more.
    pub(crate) fn was_silent(&self) -> bool {
        match self {
            Carrier::Quic(quic) => matches!(quic.close_reason(), Some(quinn::ConnectionError::TimedOut)),
            Carrier::Http2(session) => session.was_silent(),
        }
    }

    pub(crate) fn close(&self, why: &'static str) {
        match self {
            Carrier::Quic(quic) => quic.close(0_u32.into(), why.as_bytes()),
            Carrier::Http2(session) => session.close(),
        }
    }

    /// How often something came. It only grows.
    fn arrived(&self) -> u64 {
        match self {
            Carrier::Quic(quic) => quic.stats().udp_rx.datagrams,
            Carrier::Http2(session) => session.arrived(),
        }
    }

    /// Waits until nothing more may be asked on it, ever.
    pub(crate) async fn until_exhausted(&self) {
        match self {
            Carrier::Quic(_) => std::future::pending().await,
            Carrier::Http2(session) => session.until_left().await,
        }
    }

    /// The way to one more stream, which may have to wait.
    pub(crate) async fn open(&self) -> Result<Opened, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match self {
            Carrier::Quic(quic) => {
                let (send, receive) = quic.open_bi().await?;
                Opened::Quic(send, receive)
            }
            Carrier::Http2(session) => Opened::Http2(session.reserve().await?),
        })
    }
}

/// What a stream begins with.
pub(crate) enum Opened {
    Quic(quinn::SendStream, quinn::RecvStream),
    Http2(Slot),
}

/// Why a connection takes nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Its connector stops.
    Unregistered,
    /// Its connector has another one in its place.
    Replaced,
    /// Nothing more may be asked on it: its connector says so, or it has no numbers left.
    Exhausted,
}

/// Why a connection takes no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLease {
    /// The source has as many as are left free for others.
    Full,
    /// It drains, or nothing comes from its connector.
    NotOpen,
}

/// The right to one request on a connection; while it lives the request is in flight.
#[derive(Debug)]
pub(crate) struct Lease {
    link: Arc<Link>,
    source: SourceKey,
}

impl Link {
    /// With the sessions of which its connector has to be told that they ended. To be called on the plane's runtime.
    pub(crate) fn new(
        carrier: Carrier,
        facts: Connection,
        limits: Limits,
        counters: Arc<Counters>,
    ) -> (Arc<Link>, Ended) {
        let (sessions, ended) = Sessions::new(&facts.features);
        let link = Arc::new(Link {
            carrier,
            facts,
            sessions,
            unread: AllUnread::default(),
            untaken: AllUntaken::default(),
            limits,
            counters,
            closed: OnceLock::new(),
            serving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            departure: watch::Sender::new(None),
            silent: watch::Sender::new(false),
            silence: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            by_source: Mutex::default(),
            idle: Notify::new(),
            runtime: Handle::current(),
        });
        (link, ended)
    }

    /// Closes the connection, and tells the connector why.
    pub(crate) fn close(&self, why: &'static str) {
        let why = self.closed.get_or_init(|| why);
        self.drain();
        self.carrier.close(why);
    }

    /// Waits until the connection is closed by either side, and tells why.
    pub(crate) async fn closed(&self) -> String {
        let closed = self.carrier.closed().await;
        self.closed.get().map_or_else(|| plain_text(closed.as_bytes(), LOGGED_BYTES_MAX), |why| (*why).to_owned())
    }

    /// Lets no new request begin.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Its connector can answer.
    pub(crate) fn serve(&self) {
        self.serving.store(true, Ordering::SeqCst);
    }

    /// Takes nothing new from now on, for this reason or one that was there before.
    pub(crate) fn depart(&self, departure: Departure) {
        self.drain();
        self.departure.send_if_modified(|departed| {
            let first = departed.is_none();
            departed.get_or_insert(departure);
            first
        });
    }

    pub(crate) fn is_departing(&self) -> bool {
        self.departure.borrow().is_some()
    }

    /// Waits until it departs.
    pub(crate) async fn departed(&self) -> Departure {
        // The link has the sender, so the wait does not fail.
        let departed = self.departure.subscribe().wait_for(Option::is_some).await.ok().and_then(|departed| *departed);
        departed.unwrap_or(Departure::Unregistered)
    }

    /// Whether a request may begin: the connector can answer, and has said lately that it is there.
    pub(crate) fn is_open(&self) -> bool {
        self.is_serving() && !self.is_silent()
    }

    pub(crate) fn is_silent(&self) -> bool {
        *self.silent.borrow()
    }

    /// The same, though nothing may have come from the connector lately.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::SeqCst) && !self.draining.load(Ordering::SeqCst) && !self.carrier.is_closed()
    }

    /// Looks whether anything arrived since the last look. Some if it fell silent just now, or was heard again.
    pub(crate) fn listen(&self) -> Option<bool> {
        let arrived = self.carrier.arrived();
        let silent = self.silence.lock().unwrap_or_else(PoisonError::into_inner).look(arrived);
        self.silent.send_if_modified(|known| std::mem::replace(known, silent) != silent).then_some(silent)
    }

    /// Waits until nothing has come for a while, or until something comes again.
    pub(crate) async fn until_silent(&self, silent: bool) {
        // The link has the sender, so the wait does not fail.
        let _ = self.silent.subscribe().wait_for(|now| *now == silent).await;
    }

    /// Runs what a request leaves behind.
    pub(crate) fn run(&self, rest: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(rest);
    }

    /// Whether the connector says that it can do this.
    pub(crate) fn has_feature(&self, feature: &str) -> bool {
        self.facts.features.iter().any(|own| own == feature)
    }

    /// How UDP goes over this connection, if it does.
    pub(crate) fn manner(&self) -> Option<Manner> {
        let has_datagrams = self.carrier.quic().is_some_and(|quic| quic.max_datagram_size().is_some());
        self.sessions.manner.filter(|_| has_datagrams)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// One more request of a source.
    // Hot: once a request. A lock for the arithmetic of one entry.
    pub(crate) fn lease(self: &Arc<Link>, source: SourceKey) -> Result<Lease, NoLease> {
        let (lease, all, own) = self.count(source);
        let free = self.limits.streams.saturating_sub(all);
        // Counted before the check: a drain that begins in between sees the count.
        match self.is_open() {
            true if own < free => {
                self.begun.fetch_add(1, Ordering::Relaxed);
                Ok(lease)
            }
            true => Err(NoLease::Full),
            false => Err(NoLease::NotOpen),
        }
    }

    /// One more, and how many there were before, and of the source.
    fn count(self: &Arc<Link>, source: SourceKey) -> (Lease, usize, usize) {
        let all = self.in_flight.fetch_add(1, Ordering::SeqCst);
        let mut by_source = self.by_source();
        let of_source = by_source.entry(source).or_default();
        *of_source += 1;
        (Lease { link: Arc::clone(self), source }, all, *of_source - 1)
    }

    fn by_source(&self) -> MutexGuard<'_, HashMap<SourceKey, usize>> {
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn idle(&self) {
        loop {
            let ring = self.idle.notified();
            tokio::pin!(ring);
            ring.as_mut().enable();
            if self.in_flight.load(Ordering::SeqCst) == 0 {
                return;
            }
            ring.await;
        }
    }
}

impl Metered for Link {
    fn traffic(&self) -> Traffic {
        let requests = self.begun.load(Ordering::Relaxed);
        match &self.carrier {
            Carrier::Quic(quic) => {
                let stats = quic.stats();
                let (bytes_sent, bytes_received) = (stats.udp_tx.bytes, stats.udp_rx.bytes);
                Traffic { requests, bytes_sent, bytes_received, rtt: Some(stats.path.rtt) }
            }
            Carrier::Http2(session) => {
                let (bytes_sent, bytes_received) = session.carried();
                Traffic { requests, bytes_sent, bytes_received, rtt: None }
            }
        }
    }
}

impl Lease {
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Whose request it is.
    pub(crate) fn source(&self) -> SourceKey {
        self.source
    }

    /// Another one for the same request, which may outlive it and a drain.
    pub(crate) fn again(&self) -> Lease {
        self.link.count(self.source).0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut by_source = self.link.by_source();
        if let Some(own) = by_source.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                by_source.remove(&self.source);
            }
        }
        drop(by_source);
        if self.link.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.link.idle.notify_waiters();
        }
    }
}
