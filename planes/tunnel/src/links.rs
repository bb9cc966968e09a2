//! Which connection of a tunnel carries a request, and which one next if the first does not answer.
//!
//! ```text
//! choose ─► stream ─► attempt ─┬─ answer, or failure ─────────────────────────────────► over
//!    ▲                         ├─ connection lost ────────┐
//!    └──── may be repeated ◄───┴─ silent, another is there ┘  silent for long ──► timed out
//! ```

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bartizan_exchange::{DialError, UpstreamError};
use bartizan_live::Live;
use bartizan_names::TunnelId;
use bartizan_quotas::SourceKey;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::beginning::Beginning;
use crate::counters::{Counters, count};
use crate::limits::{COMEBACK_MAX, TRIES};
use crate::link::{Lease, Link, NoLease};
use crate::registry::Table;
use crate::stream::Stream;

/// The connections of all tunnels, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Links {
    table: Live<Table>,
    beginning: Arc<Beginning>,
    counters: Arc<Counters>,
    /// Where the search for the least loaded connection begins, so that idle ones take turns.
    turn: AtomicUsize,
}

/// Whether the same may be asked of a second connector when the first is lost: it may have reached the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Allowed,
    Forbidden,
}

/// The connections that were tried in vain.
#[derive(Debug, Default)]
struct Tried(Vec<Arc<Link>>);

impl Tried {
    fn has(&self, link: &Link) -> bool {
        self.0.iter().any(|tried| std::ptr::eq(&**tried, link))
    }
}

/// Why an attempt is not waited for any more.
enum GivenUp {
    /// Another connection is there.
    Move,
    TimedOut,
}

/// There is no stream.
#[derive(Debug)]
pub(crate) enum OpenError {
    NotConnected,
    TimedOut,
    Broken(Box<dyn std::error::Error + Send + Sync>),
    Full,
}

/// Every connection carries as many requests as it may, or as it may for one source.
#[derive(Debug, thiserror::Error)]
#[error("all connections of this tunnel are at their limit of requests")]
pub(crate) struct Full;

impl From<OpenError> for UpstreamError {
    fn from(error: OpenError) -> UpstreamError {
        match error {
            OpenError::NotConnected => UpstreamError::NotConnected,
            OpenError::TimedOut => UpstreamError::TimedOut,
            OpenError::Broken(error) => UpstreamError::Broken(error),
            OpenError::Full => UpstreamError::Full,
        }
    }
}

impl From<OpenError> for DialError {
    fn from(error: OpenError) -> DialError {
        match error {
            OpenError::NotConnected => DialError::NotConnected,
            OpenError::TimedOut => DialError::TimedOut,
            OpenError::Broken(error) => DialError::Broken(error),
            OpenError::Full => DialError::Broken(Box::new(Full)),
        }
    }
}

impl Links {
    pub(crate) const fn new(table: Live<Table>, beginning: Arc<Beginning>, counters: Arc<Counters>) -> Links {
        Links { table, beginning, counters, turn: AtomicUsize::new(0) }
    }

    /// Makes an attempt over a stream to one of the tunnel's connectors, and again over another connection if the first
    /// is lost or falls silent, and that is allowed. The outer error: there was no stream.
    pub(crate) async fn carry<T, E, F>(
        &self,
        (tunnel, source): (TunnelId, SourceKey),
        repeat: Repeat,
        mut attempt: impl FnMut(Stream) -> F,
    ) -> Result<Result<T, E>, OpenError>
    where
        F: Future<Output = Result<T, E>>,
        E: From<OpenError>,
    {
        let mut tried = Tried::default();
        loop {
            let stream =
                self.open((tunnel, source), &tried).await.inspect_err(|_| count(&self.counters.without_connection))?;
            let link = Arc::clone(stream.lease().link());
            let may_move = repeat == Repeat::Allowed && tried.0.len() + 1 < TRIES;
            let failure = tokio::select! {
                biased;
                done = attempt(stream) => match done {
                    Err(error) if may_move && link.carrier.is_closed() => error,
                    done => return Ok(done),
                },
                given_up = self.until_given_up(tunnel, &link, may_move.then_some(&tried)) => match given_up {
                    GivenUp::Move => E::from(OpenError::TimedOut),
                    GivenUp::TimedOut => return Ok(Err(OpenError::TimedOut.into())),
                },
            };
            tried.0.push(link);
            if !self.is_there_another(tunnel, &tried) {
                return Ok(Err(failure));
            }
            count(&self.counters.moved);
        }
    }

    /// Waits until an answer of `link` is not to be waited for any more: nothing arrives on it, and another connection
    /// is there, or none came for a while. With `tried` it may be left for one that was not.
    async fn until_given_up(&self, tunnel: TunnelId, link: &Link, tried: Option<&Tried>) -> GivenUp {
        loop {
            link.until_silent(true).await;
            let patience = Instant::now() + COMEBACK_MAX;
            let mut changes = self.table.changes();
            loop {
                let another = |other: &Link| !std::ptr::eq(other, link) && !tried.is_none_or(|tried| tried.has(other));
                if self.of(tunnel).is_some_and(|links| links.iter().any(|other| other.is_open() && another(other))) {
                    return GivenUp::Move;
                }
                tokio::select! {
                    () = link.until_silent(false) => break,
                    () = sleep_until(patience) => return GivenUp::TimedOut,
                    Ok(_) = changes.changed() => {}
                }
            }
        }
    }

    fn is_there_another(&self, tunnel: TunnelId, tried: &Tried) -> bool {
        self.of(tunnel).is_some_and(|links| links.iter().any(|link| link.is_open() && !tried.has(link)))
    }

    /// Opens a stream to one of the tunnel's connectors. If there is none, it waits for one in the first seconds after a start.
    async fn open(&self, whom: (TunnelId, SourceKey), tried: &Tried) -> Result<Stream, OpenError> {
        let opened = self.open_to_known(whom, tried).await;
        let is_there = || self.is_there_another(whom.0, tried);
        if matches!(opened, Err(OpenError::NotConnected)) && self.beginning.wait_for(is_there).await {
            return self.open_to_known(whom, tried).await;
        }
        opened
    }

    /// The same to one that is there. If all are silent, it waits a little for one that is not.
    async fn open_to_known(&self, (tunnel, source): (TunnelId, SourceKey), tried: &Tried) -> Result<Stream, OpenError> {
        let mut waiting = None;
        loop {
            let links = self.of(tunnel).ok_or(OpenError::NotConnected)?;
            match self.open_one_of(&links, source, tried).await {
                Err(OpenError::NotConnected) if links.iter().any(|link| link.is_serving()) => match &mut waiting {
                    // Looks once more: there may be another one since the look before.
                    None => waiting = Some((self.table.changes(), Instant::now() + COMEBACK_MAX)),
                    Some((changes, patience)) => {
                        if !matches!(timeout_at(*patience, changes.changed()).await, Ok(Ok(()))) {
                            return Err(OpenError::NotConnected);
                        }
                    }
                },
                opened => return opened,
            }
        }
    }

    async fn open_one_of(&self, links: &[Arc<Link>], source: SourceKey, tried: &Tried) -> Result<Stream, OpenError> {
        let mut failed: Option<(*const Link, OpenError)> = None;
        for _ in 0..TRIES {
            let not = failed.as_ref().map(|(link, _)| *link);
            let wanted = |link: &Link| not != Some(std::ptr::from_ref(link)) && !tried.has(link);
            let lease = match self.lease_one_of(links, source, wanted) {
                Ok(lease) => lease,
                Err(error) => return Err(failed.map_or(error, |(_, error)| error)),
            };
            let error = match timeout(lease.link().limits.open_time, lease.link().carrier.open()).await {
                Ok(Ok(opened)) => return Ok(Stream::new(opened, lease)),
                Ok(Err(error)) => OpenError::Broken(error),
                Err(_) => {
                    count(&self.counters.without_stream);
                    OpenError::TimedOut
                }
            };
            failed = Some((Arc::as_ptr(lease.link()), error));
        }
        Err(failed.map_or(OpenError::NotConnected, |(_, error)| error))
    }

    /// The right to one more request of a source, on the least busy connection that has room for it.
    // Hot: once a request. No allocation where the least busy of all has room, as it has nearly always.
    fn lease_one_of(
        &self,
        links: &[Arc<Link>],
        source: SourceKey,
        wanted: impl Fn(&Link) -> bool,
    ) -> Result<Lease, OpenError> {
        let first = self.choose(links, &wanted, Link::in_flight).ok_or(OpenError::NotConnected)?;
        let mut refused = match first.lease(source) {
            Ok(lease) => return Ok(lease),
            Err(refused) => refused,
        };
        // What a source may have on a connection depends on what it has there, so a busier one may have room; and one that was
        // chosen may have ended meanwhile.
        let mut others: Vec<_> = links.iter().filter(|link| !Arc::ptr_eq(link, first) && wanted(link)).collect();
        others.sort_by_cached_key(|link| link.in_flight());
        for link in others {
            match link.lease(source) {
                Ok(lease) => return Ok(lease),
                Err(NoLease::Full) => refused = NoLease::Full,
                Err(NoLease::NotOpen) => {}
            }
        }
        Err(match refused {
            NoLease::Full => OpenError::Full,
            NoLease::NotOpen => OpenError::NotConnected,
        })
    }

    /// The tunnel's connections. If there is none, it waits for one in the first seconds after a start.
    pub(crate) async fn of_in_time(&self, tunnel: TunnelId) -> Option<Arc<[Arc<Link>]>> {
        let is_there = || self.is_there_another(tunnel, &Tried::default());
        if !is_there() {
            self.beginning.wait_for(is_there).await;
        }
        self.of(tunnel)
    }

    fn of(&self, tunnel: TunnelId) -> Option<Arc<[Arc<Link>]>> {
        self.table.snapshot().value.get(&tunnel).cloned()
    }

    /// The open connection with the smallest `load` among those that are `wanted`.
    pub(crate) fn choose<'l>(
        &self,
        links: &'l [Arc<Link>],
        wanted: impl Fn(&Link) -> bool,
        load: impl Fn(&Link) -> usize,
    ) -> Option<&'l Arc<Link>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % links.len().max(1);
        let (later, first) = links.split_at(turn);
        let candidates = first.iter().chain(later);
        candidates.filter(|link| link.is_open() && wanted(link)).min_by_key(|link| load(link))
    }
}
