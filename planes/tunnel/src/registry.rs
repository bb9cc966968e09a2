//! Which connectors are connected: one task owns the list and makes a new table for each batch of changes.
//!
//! ```text
//! ingress, pipeline ─ Change ─► owner ─► Table (egress chooses from it), Connections (for whoever looks)
//! ```
//! Whoever looks sees exactly the connections that requests are sent to.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bartizan_live::{Generation, Live};
use bartizan_names::TunnelId;
use bartizan_observed::{Configured, Connection, Connections, Meter, Metered, Uploaded};
use tokio::sync::{mpsc, oneshot};

use crate::limits::{BATCH_MAX, CHANGES_MAX};
use crate::link::{Departure, Link};

/// All registered connections, by tunnel. Requests go only to those that are open.
pub(crate) type Table = HashMap<TunnelId, Arc<[Arc<Link>]>>;

/// Tells the owner what changed.
#[derive(Clone, Debug)]
pub(crate) struct Registry(mpsc::Sender<Change>);

#[derive(Debug)]
enum Change {
    Add(Arc<Link>, oneshot::Sender<Place>),
    Serve(Arc<Link>, oneshot::Sender<()>),
    Upload(Arc<Link>, Uploaded),
    Configure(Arc<Link>, Configured),
    /// What is in the links changed.
    Looked,
    Remove(Arc<Link>),
}

/// Whether a tunnel has a place for one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Taken,
    Full,
}

impl Registry {
    /// Starts the owner on the current runtime, which ends when the last handle is dropped. A tunnel may have so many
    /// connections that take requests, and as many beside them that do not.
    pub(crate) fn start(tunnel_max: usize) -> (Registry, Live<Table>, Live<Connections>) {
        let (changes, received) = mpsc::channel(CHANGES_MAX);
        let table = Live::new(Table::new());
        let connections = Live::new(Connections::default());
        let connected = Connected { tunnel_max, tunnels: HashMap::new() };
        tokio::spawn(own(received, connected, table.clone(), connections.clone()));
        (Registry(changes), table, connections)
    }

    /// Adds a connection, which is asked nothing yet, if its tunnel has a place for it. Returns when it is found by those
    /// who close connections.
    pub(crate) async fn add(&self, link: Arc<Link>) -> Place {
        let (done, added) = oneshot::channel();
        // The owner ends with the plane; then the table is not read any more. The same holds below.
        let _ = self.0.send(Change::Add(link, done)).await;
        added.await.unwrap_or(Place::Taken)
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

    /// What came of its configuration.
    pub(crate) async fn configure(&self, link: Arc<Link>, configured: Configured) {
        let _ = self.0.send(Change::Configure(link, configured)).await;
    }

    pub(crate) async fn remove(&self, link: Arc<Link>) {
        let _ = self.0.send(Change::Remove(link)).await;
    }
}

async fn own(
    mut changes: mpsc::Receiver<Change>,
    mut connected: Connected,
    table: Live<Table>,
    connections: Live<Connections>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut number = 0;
    while changes.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (mut adding, mut waiting) = (Vec::new(), Vec::new());
        for change in batch.drain(..) {
            match change {
                Change::Add(link, done) => {
                    let place = connected.add(link);
                    adding.push((done, place));
                }
                Change::Serve(link, done) => {
                    connected.serve(&link);
                    waiting.push(done);
                }
                Change::Looked => {}
                Change::Upload(link, uploaded) => connected.note(&link, |entry| entry.uploaded = Some(uploaded)),
                Change::Configure(link, configured) => {
                    connected.note(&link, |entry| entry.configured = Some(configured));
                }
                Change::Remove(link) => connected.remove(&link),
            }
        }
        number += 1;
        table.publish(Generation { number, value: connected.table() });
        connections.publish(Generation { number, value: connected.connections() });
        // The caller may have been dropped meanwhile.
        for (done, place) in adding {
            let _ = done.send(place);
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

/// All registered connections.
struct Connected {
    tunnel_max: usize,
    tunnels: HashMap<TunnelId, Vec<Entry>>,
}

struct Entry {
    link: Arc<Link>,
    uploaded: Option<Uploaded>,
    configured: Option<Configured>,
}

/// Whether both are for the same index of a connector, which keeps one of them.
fn same(one: &Link, other: &Link) -> bool {
    (one.facts.connector, one.facts.index) == (other.facts.connector, other.facts.index)
}

/// For whoever asks later what went over it.
fn metered(link: &Arc<Link>) -> Weak<dyn Metered> {
    let link: Weak<Link> = Arc::downgrade(link);
    link
}

impl Connected {
    /// Those that are silent or depart take no place of others: who had all places comes back after a silence.
    fn add(&mut self, link: Arc<Link>) -> Place {
        let entries = self.tunnels.entry(link.facts.tunnel).or_default();
        let takes = |entry: &&Entry| !entry.link.is_departing() && !entry.link.is_silent() && !same(&entry.link, &link);
        if entries.len() >= 2 * self.tunnel_max || entries.iter().filter(takes).count() >= self.tunnel_max {
            return Place::Full;
        }
        entries.push(Entry { link, uploaded: None, configured: None });
        Place::Taken
    }

    /// A connector that comes again with the same index has given up the connection it had.
    fn serve(&mut self, link: &Arc<Link>) {
        let Some(entries) = self.tunnels.get(&link.facts.tunnel) else { return };
        let replaced = |old: &Link| same(old, link) && old.facts.connection != link.facts.connection;
        for old in entries.iter().filter(|entry| replaced(&entry.link)) {
            old.link.depart(Departure::Replaced);
        }
        link.serve();
    }

    fn note(&mut self, link: &Arc<Link>, note: impl FnOnce(&mut Entry)) {
        let entries = self.tunnels.get_mut(&link.facts.tunnel);
        if let Some(entry) = entries.and_then(|entries| entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.link, link)))
        {
            note(entry);
        }
    }

    fn remove(&mut self, link: &Arc<Link>) {
        if let Some(entries) = self.tunnels.get_mut(&link.facts.tunnel) {
            entries.retain(|entry| !Arc::ptr_eq(&entry.link, link));
            if entries.is_empty() {
                self.tunnels.remove(&link.facts.tunnel);
            }
        }
    }

    fn table(&self) -> Table {
        let links = |entries: &Vec<Entry>| entries.iter().map(|entry| Arc::clone(&entry.link)).collect();
        self.tunnels.iter().map(|(tunnel, entries)| (*tunnel, links(entries))).collect()
    }

    fn connections(&self) -> Connections {
        let connection = |entry: &Entry| Connection {
            uploaded: entry.uploaded.clone(),
            configured: entry.configured.clone(),
            meter: Meter::of(metered(&entry.link)),
            ..entry.link.facts.clone()
        };
        let seen = |entry: &&Entry| entry.link.is_open();
        Connections(self.tunnels.values().flatten().filter(seen).map(connection).collect())
    }
}
