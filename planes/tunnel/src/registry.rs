//! Which connectors are connected: one task owns the list and makes a new table for each batch of changes.
//!
//! ```text
//! ingress, pipeline ─ Change ─► owner ─► Table (egress chooses from it), Connections (for whoever looks)
//! ```
//! Whoever looks sees exactly the connections that requests are sent to.

use std::collections::HashMap;
use std::sync::Arc;

use bartizan_live::{Generation, Live};
use bartizan_names::TunnelId;
use bartizan_observed::{Connection, Connections, Uploaded};
use tokio::sync::{mpsc, oneshot};

use crate::link::{Departure, Link};

/// Changes that wait for the owner. It is quick; when the queue is full, a sender waits.
const CHANGES_MAX: usize = 1024;
/// Changes that make one new table.
const BATCH_MAX: usize = 256;

/// All registered connections, by tunnel. Requests go only to those that are open.
pub(crate) type Table = HashMap<TunnelId, Arc<[Arc<Link>]>>;

/// Tells the owner what changed.
#[derive(Clone, Debug)]
pub(crate) struct Registry(mpsc::Sender<Change>);

#[derive(Debug)]
enum Change {
    Add(Arc<Link>, oneshot::Sender<()>),
    Serve(Arc<Link>, oneshot::Sender<()>),
    Upload(Arc<Link>, Uploaded),
    /// What is in the links changed.
    Looked,
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

    /// Adds a connection, which is asked nothing yet. Returns when it is found by those who close connections.
    pub(crate) async fn add(&self, link: Arc<Link>) {
        let (done, added) = oneshot::channel();
        // The owner ends with the plane; then the table is not read any more. The same holds below.
        let _ = self.0.send(Change::Add(link, done)).await;
        let _ = added.await;
    }

    /// Its connector can answer. Returns when requests find it.
    pub(crate) async fn serve(&self, link: Arc<Link>) {
        let (done, found) = oneshot::channel();
        let _ = self.0.send(Change::Serve(link, done)).await;
        let _ = found.await;
    }

    /// Lets it take nothing new from now on. It is not shown any more, though what is in flight goes on.
    pub(crate) async fn depart(&self, link: &Link, departure: Departure) {
        link.depart(departure);
        self.look().await;
    }

    /// Looks again which connections are open.
    pub(crate) async fn look(&self) {
        let _ = self.0.send(Change::Looked).await;
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
        let mut waiting = Vec::new();
        for change in batch.drain(..) {
            match change {
                Change::Add(link, done) => {
                    connected.add(link);
                    waiting.push(done);
                }
                Change::Serve(link, done) => {
                    connected.serve(&link);
                    waiting.push(done);
                }
                Change::Looked => {}
                Change::Upload(link, uploaded) => connected.upload(&link, uploaded),
                Change::Remove(link) => connected.remove(&link),
            }
        }
        number += 1;
        table.publish(Generation { number, value: connected.table() });
        connections.publish(Generation { number, value: connected.connections() });
        for done in waiting {
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
    fn add(&mut self, link: Arc<Link>) {
        self.0.entry(link.facts.tunnel).or_default().push(Entry { link, uploaded: None });
    }

    /// A connector that comes again with the same index has given up the connection it had.
    fn serve(&mut self, link: &Arc<Link>) {
        let Some(entries) = self.0.get(&link.facts.tunnel) else { return };
        let same = |old: &Link| {
            (old.facts.connector, old.facts.index) == (link.facts.connector, link.facts.index)
                && old.facts.connection != link.facts.connection
        };
        for old in entries.iter().filter(|entry| same(&entry.link)) {
            old.link.depart(Departure::Replaced);
        }
        link.serve();
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
        let seen = |entry: &&Entry| entry.link.is_open();
        Connections(self.0.values().flatten().filter(seen).map(connection).collect())
    }
}
