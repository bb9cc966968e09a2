//! Starting, commanding and stopping the plane.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bartizan_exchange::{Dialer, Upstream};
use bartizan_live::Live;
use bartizan_names::{ConnectorId, TunnelId};
use bartizan_observed::{Command, Commanded, Connections, Measured};
use bartizan_quic::{Drivers, Inboxes, ResetKey};
use bartizan_quotas::MemoryShares;
use bartizan_rpc::RpcThread;
use quinn::{Endpoint, Runtime as QuicRuntime};
use tokio::net::TcpListener as TokioListener;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use crate::beginning::Beginning;
use crate::counters::{Counters, count};
use crate::dial::Dial;
use crate::egress::Egress;
use crate::http2::{self, Share};
use crate::ingress::{self, Edge};
use crate::limits::{GOODBYE_MAX, Limits, THREADS_MAX, UNREAD_MAX};
use crate::link::Link;
use crate::links::Links;
use crate::listen::listen;
use crate::metrics::Counted;
use crate::readers::{self, Readers};
use crate::registry::{Registry, Table};
use crate::{Config, Counts};

/// The plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the threads of the tunnel plane could not be started")]
    Threads(#[source] io::Error),
    #[error("a socket for tunnels cannot be used")]
    Socket(#[source] io::Error),
}

/// The running plane. Dropping it stops it, without waiting.
#[derive(Debug)]
pub struct Plane {
    table: Live<Table>,
    connections: Live<Connections>,
    counters: Arc<Counters>,
    readers: Readers,
    beginning: Arc<Beginning>,
    rpc: RpcThread,
    endpoints: Vec<Endpoint>,
    /// Whether connectors may come over TCP.
    listening: watch::Sender<bool>,
    /// Dropped to stop.
    running: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Sockets of a plane, bound, any number of each.
#[derive(Debug, Default)]
pub struct Sockets {
    pub udp: Vec<UdpSocket>,
    /// For connectors that cannot use QUIC.
    pub tcp: Vec<TcpListener>,
}

/// Starts the plane on these sockets, on threads of its own.
///
/// With the `reset_key` of a plane that was killed, connectors that still send to that one are told at once.
pub fn start(sockets: Sockets, live: &Live<Config>, reset_key: ResetKey, limits: Limits) -> Result<Plane, StartError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("tunnel-quic")
        .enable_all()
        .build()
        .map_err(StartError::Threads)?;
    let rpc = RpcThread::start("tunnel-rpc").map_err(StartError::Threads)?;
    let entered = runtime.enter();
    let (registry, table, connections) = Registry::start(limits.tunnel_connections);
    let counters = Arc::new(Counters::default());
    tokio::spawn(listen(table.clone(), registry.clone(), Arc::clone(&counters)));
    let memory = MemoryShares::of(bartizan_net::memory_max()).tunnels.min(limits.memory) as u64;
    let readers = Readers::new(Arc::clone(&counters), memory);
    let share = Share::of(memory, Arc::clone(&counters));
    tokio::spawn(readers::watch(table.clone(), share.clone(), readers.clone()));
    let beginning = Arc::new(Beginning::new(limits.beginning_time, memory));
    let counted = Arc::clone(&counters);
    let inboxes = Inboxes::new(UNREAD_MAX, move || count(&counted.datagrams_unheard));
    let quic: Arc<dyn QuicRuntime> = Arc::new(Drivers);
    let edge =
        Edge::new(live.clone(), (rpc.clone(), inboxes.clone(), share), registry, Arc::clone(&counters), limits, memory);
    let mut endpoints = Vec::new();
    for socket in sockets.udp {
        let on = (Arc::clone(&quic), &inboxes);
        let endpoint = bartizan_quic::open(socket, &reset_key, None, on).map_err(StartError::Socket)?;
        tokio::spawn(ingress::accept(endpoint.clone(), edge.clone()));
        endpoints.push(endpoint);
    }
    let (listening, listens) = watch::channel(true);
    for listener in sockets.tcp {
        listener.set_nonblocking(true).map_err(StartError::Socket)?;
        let listener = TokioListener::from_std(listener).map_err(StartError::Socket)?;
        tokio::spawn(http2::accept(listener, edge.clone(), listens.clone()));
    }
    drop(entered);
    let (running, stopped) = oneshot::channel();
    let to_close = (endpoints.clone(), table.clone());
    let thread = std::thread::Builder::new()
        .name("tunnel".to_owned())
        .spawn(move || run(&runtime, stopped, (&to_close.0, &to_close.1)))
        .map_err(StartError::Threads)?;
    Ok(Plane { table, connections, counters, readers, beginning, rpc, endpoints, listening, running, thread })
}

/// Holds the runtime until the plane is stopped, then tells the connectors.
fn run(runtime: &Runtime, stopped: oneshot::Receiver<()>, (endpoints, table): (&[Endpoint], &Live<Table>)) {
    runtime.block_on(async {
        let _ = stopped.await;
        for endpoint in endpoints {
            endpoint.close(0_u32.into(), b"the edge stops");
        }
        let table = table.snapshot();
        let links = table.value.values().flat_map(|links| links.iter());
        let over_tcp: Vec<_> = links.filter(|link| link.carrier.quic().is_none()).collect();
        over_tcp.iter().for_each(|link| link.close("the edge stops"));
        let _ = tokio::time::timeout(GOODBYE_MAX, async {
            for endpoint in endpoints {
                endpoint.wait_idle().await;
            }
            for link in over_tcp {
                link.closed().await;
            }
        })
        .await;
    });
}

impl Plane {
    /// What sends requests to origins behind a tunnel.
    pub fn upstream(&self) -> Arc<dyn Upstream> {
        Arc::new(Egress::new(self.links(), Arc::clone(&self.counters)))
    }

    /// What dials TCP and UDP behind a tunnel.
    pub fn dialer(&self) -> Arc<dyn Dialer> {
        Arc::new(Dial::new(self.links(), self.rpc.clone(), Arc::clone(&self.counters)))
    }

    fn links(&self) -> Links {
        Links::new(self.table.clone(), Arc::clone(&self.beginning), Arc::clone(&self.counters))
    }

    /// Who is connected, now and from now on.
    pub fn connections(&self) -> Live<Connections> {
        self.connections.clone()
    }

    pub fn commands(&self) -> Commands {
        Commands(self.table.clone())
    }

    /// How much visitors leave unread, now and from now on.
    pub fn readers(&self) -> Readers {
        self.readers.clone()
    }

    pub fn counters(&self) -> Counts {
        self.counters.read()
    }

    /// What it counts, for as long as anybody wants to know.
    pub fn measured(&self) -> Arc<dyn Measured> {
        Arc::new(Counted {
            counters: Arc::clone(&self.counters),
            connections: self.connections.clone(),
            readers: self.readers.clone(),
        })
    }

    /// Takes no new connections and no new requests, and waits until those in flight are done, but not longer than
    /// `grace`. Then stops.
    pub async fn drain(self, grace: Duration) {
        for endpoint in &self.endpoints {
            endpoint.set_server_config(None);
        }
        self.listening.send_replace(false);
        let table = self.table.snapshot();
        let links = || table.value.values().flat_map(|links| links.iter());
        links().for_each(|link| link.drain());
        let _ = tokio::time::timeout(grace, async {
            for link in links() {
                link.idle().await;
            }
        })
        .await;
        drop(self.running);
        // Joining takes at most GOODBYE_MAX.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }

    /// Stops at once. Blocks for as long as it takes to tell the connectors, a second at most.
    pub fn stop(self) {
        drop(self.running);
        // A panic on that thread has been reported by then.
        let _ = self.thread.join();
    }
}

/// What the API may ask of the plane.
#[derive(Clone, Debug)]
pub struct Commands(Live<Table>);

impl Commands {
    /// Closes the connections of a tunnel, or those of one of its connectors. Connectors come back by themselves.
    /// Returns how many were closed.
    pub fn drop_connections(&self, tunnel: TunnelId, connector: Option<ConnectorId>) -> usize {
        let table = self.0.snapshot();
        let links = table.value.get(&tunnel).map_or(&[][..], |links| links);
        let meant = |link: &&Arc<Link>| connector.is_none_or(|connector| link.facts.connector == connector);
        links.iter().filter(meant).map(|link| link.close("dropped by the operator")).count()
    }
}

impl Commanded for Commands {
    fn command(&self, command: Command) {
        match command {
            Command::DropConnections { tunnel, connector } => {
                let dropped = self.drop_connections(tunnel, connector);
                tracing::info!(%tunnel, dropped, "connections dropped by the API");
            }
        }
    }
}
