//! Which connectors are connected: one task owns the list and makes a new table for each batch of changes.
//!
//! ```text
//! ingress, pipeline ─ Change ─► owner ─► Table (egress chooses from it), Connections (for whoever looks)
//! ```

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bartizan_live::{Generation, Live};
use bartizan_names::TunnelId;
use bartizan_observed::{Connection, Connections, Uploaded};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::sessions::{Ended, Manner, Sessions};

/// Changes that wait for the owner. It is quick; when the queue is full, a sender waits.
const CHANGES_MAX: usize = 1024;
/// Changes that make one new table.
const BATCH_MAX: usize = 256;
/// Requests and TCP connections that one connection carries at a time. With more a connector is overloaded, and letting
/// them wait would not help.
const STREAMS_MAX: usize = 2048;

/// The connections that a request may be sent through, by tunnel.
pub(crate) type Table = HashMap<TunnelId, Arc<[Arc<Link>]>>;

/// One registered connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) quic: quinn::Connection,
    pub(crate) facts: Connection,
    pub(crate) sessions: Sessions,
    /// Why we closed it, if we did.
    closed: OnceLock<&'static str>,
    draining: AtomicBool,
    in_flight: AtomicUsize,
    /// Rings when the last request in flight ends.
    idle: Notify,
}

/// The right to one request on a connection; while it lives the request is in flight.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Link>);

impl Link {
    /// With the sessions of which its connector has to be told that they ended.
    pub(crate) fn new(quic: quinn::Connection, facts: Connection) -> (Arc<Link>, Ended) {
        let (sessions, ended) = Sessions::new(&facts.features);
        let link = Arc::new(Link {
            quic,
            facts,
            sessions,
            closed: OnceLock::new(),
            draining: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            idle: Notify::new(),
        });
        (link, ended)
    }

    /// Closes the connection, and tells the connector why.
    pub(crate) fn close(&self, why: &'static str) {
        let why = self.closed.get_or_init(|| why);
        self.drain();
        self.quic.close(0_u32.into(), why.as_bytes());
    }

    /// Waits until the connection is closed by either side, and tells why.
    pub(crate) async fn closed(&self) -> String {
        let closed = self.quic.closed().await;
        self.closed.get().map_or_else(|| closed.to_string(), |why| (*why).to_owned())
    }

    /// Lets no new request begin.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.draining.load(Ordering::SeqCst) && self.quic.close_reason().is_none()
    }

    /// Whether the connector says that it can do this.
    pub(crate) fn has_feature(&self, feature: &str) -> bool {
        self.facts.features.iter().any(|own| own == feature)
    }

    /// How UDP goes over this connection, if it does.
    pub(crate) fn manner(&self) -> Option<Manner> {
        self.sessions.manner.filter(|_| self.quic.max_datagram_size().is_some())
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// One more request, unless the connection drains or is at its limit.
    pub(crate) fn lease(self: &Arc<Link>) -> Option<Lease> {
        let before = self.in_flight.fetch_add(1, Ordering::SeqCst);
        let lease = Lease(Arc::clone(self));
        // Counted before the check: a drain that begins in between sees the count.
        (before < STREAMS_MAX && self.is_open()).then_some(lease)
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

impl Lease {
    pub(crate) fn link(&self) -> &Link {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// Tells the owner what changed.
#[derive(Clone, Debug)]
pub(crate) struct Registry(mpsc::Sender<Change>);

#[derive(Debug)]
enum Change {
    Add(Arc<Link>, oneshot::Sender<()>),
    Upload(Arc<Link>, Uploaded),
    Remove(Arc<Link>),
}

impl Registry {
    /// Starts the owner on the current runtime. It ends when the last handle is dropped.
    pub(crate) fn start() -> (Registry, Live<Table>, Live<Connections>) {
        let (changes, received) = mpsc::channel(CHANGES_MAX);
        let table = Live::new(Table::new());
        let connections = Live::new(Connections::default());
        tokio::spawn(own(received, table.clone(), connections.clone()));
        (Registry(changes), table, connections)
    }

    /// Adds a connection. Returns when requests find it.
    pub(crate) async fn add(&self, link: Arc<Link>) {
        let (done, added) = oneshot::channel();
        // The owner ends with the plane; then the table is not read any more. The same holds below.
        let _ = self.0.send(Change::Add(link, done)).await;
        let _ = added.await;
    }

    pub(crate) async fn upload(&self, link: Arc<Link>, uploaded: Uploaded) {
        let _ = self.0.send(Change::Upload(link, uploaded)).await;
    }

    pub(crate) async fn remove(&self, link: Arc<Link>) {
        let _ = self.0.send(Change::Remove(link)).await;
    }
}

async fn own(mut changes: mpsc::Receiver<Change>, table: Live<Table>, connections: Live<Connections>) {
    let mut connected = Connected::default();
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut number = 0;
    while changes.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut added = Vec::new();
        for change in batch.drain(..) {
            match change {
                Change::Add(link, done) => {
                    connected.add(link);
                    added.push(done);
                }
                Change::Upload(link, uploaded) => connected.upload(&link, uploaded),
                Change::Remove(link) => connected.remove(&link),
            }
        }
        number += 1;
        table.publish(Generation { number, value: connected.table() });
        connections.publish(Generation { number, value: connected.connections() });
        for done in added {
            // The caller may have been dropped meanwhile.
            let _ = done.send(());
        }
    }
}

/// All registered connections.
#[derive(Default)]
struct Connected(HashMap<TunnelId, Vec<Entry>>);

struct Entry {
    link: Arc<Link>,
    uploaded: Option<Uploaded>,
}

impl Connected {
    /// A connector that comes again with the same index has lost the connection it had, whether we noticed or not.
    fn add(&mut self, link: Arc<Link>) {
        let entries = self.0.entry(link.facts.tunnel).or_default();
        let same = |entry: &Entry| {
            let (old, new) = (&entry.link.facts, &link.facts);
            old.connector == new.connector && old.index == new.index
        };
        for old in entries.extract_if(.., |entry| same(entry)) {
            old.link.close("replaced by a newer connection");
        }
        entries.push(Entry { link, uploaded: None });
    }

    fn upload(&mut self, link: &Arc<Link>, uploaded: Uploaded) {
        let entries = self.0.get_mut(&link.facts.tunnel);
        if let Some(entry) = entries.and_then(|entries| entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.link, link)))
        {
            entry.uploaded = Some(uploaded);
        }
    }

    fn remove(&mut self, link: &Arc<Link>) {
        if let Some(entries) = self.0.get_mut(&link.facts.tunnel) {
            entries.retain(|entry| !Arc::ptr_eq(&entry.link, link));
            if entries.is_empty() {
                self.0.remove(&link.facts.tunnel);
            }
        }
    }

    fn table(&self) -> Table {
        let links = |entries: &Vec<Entry>| entries.iter().map(|entry| Arc::clone(&entry.link)).collect();
        self.0.iter().map(|(tunnel, entries)| (*tunnel, links(entries))).collect()
    }

    fn connections(&self) -> Connections {
        let connection = |entry: &Entry| Connection { uploaded: entry.uploaded.clone(), ..entry.link.facts.clone() };
        Connections(self.0.values().flatten().map(connection).collect())
    }
}
