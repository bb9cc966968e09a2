//! Workers: how their threads start, what they accept on, how they end.

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bartizan_analytics::Table;
use bartizan_dial::{OriginTls, RESOLVER_THREADS, Reach};
use bartizan_exchange::Dialer;
use bartizan_live::{Live, Trays};
use bartizan_names::Protocol;
use bartizan_observed::{AppCounts, Listening, Measured, TierName};
use bartizan_quotas::{Memory, MemoryShares};
use bartizan_tls::{Acceptor, TlsError};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, LocalSet};

use crate::Config;
use crate::counters::{Counters, Totals};
use crate::egress::Egress;
use crate::ingress::{self, At};
use crate::limits::RESET_TIME;
use crate::listeners::{Delivery, Endpoint, Listeners};
use crate::metrics::Counted;
use crate::room::Budget;
use crate::session::End;
use crate::sweep::sweep;
use crate::tap::Tap;
use crate::worker::{AllQuotas, Worker};

/// How clients reach the plane.
pub enum Tier {
    /// One listener for each configured address and port, of which there may be so many. Needs no privilege but for
    /// ports below 1024.
    Listeners { workers: usize, max: usize },
    /// Sockets that receive for every port, a set for each worker.
    /// Who steers clients to them tells in `listening` what cannot be reached by them.
    AnyPort { how: AnyPort, sockets: Vec<AnyPortSockets>, listening: Live<Listening> },
}

/// How packets for every port are sent to one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyPort {
    SkLookup,
    Tproxy,
}

impl AnyPort {
    pub const fn name(self) -> TierName {
        match self {
            AnyPort::SkLookup => TierName::SkLookup,
            AnyPort::Tproxy => TierName::Tproxy,
        }
    }
}

/// The sockets of one worker, normally one for each family and protocol. They are bound, and those for TCP listen.
#[derive(Default)]
pub struct AnyPortSockets {
    pub tcp: Vec<TcpListener>,
    pub udp: Vec<UdpSocket>,
}

/// Why the plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a worker of the TCP and UDP edge cannot start")]
    Worker(#[from] io::Error),
    #[error("the extra roots for origins cannot be used")]
    OriginRoots(#[source] TlsError),
}

/// The running plane. Dropped without [`Plane::drain`], it ends at once.
pub struct Plane {
    threads: Vec<JoinHandle<()>>,
    counters: Counters,
    listening: Live<Listening>,
    live: Live<Config>,
    memory: Memory,
    /// None while the plane serves; then how long open connections may go on.
    end: watch::Sender<Option<Duration>>,
}

/// Starts the plane. When this returns, every endpoint of the configuration in force accepts, or is listed as failed. `taps` is
/// where what becomes of connections and flows is counted by their zones.
pub fn start(
    live: &Live<Config>,
    dialer: Arc<dyn Dialer>,
    tier: Tier,
    reach: &Reach,
    taps: Option<&Trays<Table>>,
) -> Result<Plane, StartError> {
    let Config { origin_roots, clock, .. } = live.snapshot().value.clone();
    let origin_tls = OriginTls::load(&clock.teller(), origin_roots, &[]).map_err(StartError::OriginRoots)?;
    let counters = Counters::default();
    let now = Instant::now();
    let quotas = AllQuotas::new(now);
    let most = live.snapshot().value.limits.memory;
    let memory = Memory::new(MemoryShares::of(bartizan_net::memory_max()).apps.min(most), now);
    let acceptor = Acceptor::new(&[]);
    let (end, _) = watch::channel(None);
    let (name, sockets, max, listening) = match tier {
        Tier::Listeners { workers, max } => {
            let none = (0..workers.max(1)).map(|_| AnyPortSockets::default()).collect();
            (TierName::Listeners, none, max, Live::new(Listening::new(TierName::Listeners)))
        }
        Tier::AnyPort { how, sockets, listening } => (how.name(), sockets, 0, listening),
    };
    let open = sockets.first().map_or(0, |first| first.tcp.len() + first.udp.len());
    listening.replace(Listening { tier: name, open, ..listening.snapshot().value.clone() });
    let mut plane = Plane {
        threads: Vec::new(),
        counters: counters.clone(),
        listening: listening.clone(),
        live: live.clone(),
        memory: memory.clone(),
        end,
    };
    // In the tiers for any port a flow has a second socket, towards its client.
    let per_flow = if name == TierName::Listeners { 1 } else { 2 };
    let budget = Budget { descriptors: bartizan_net::descriptors_max(), workers: sockets.len().max(1), per_flow };
    let mut deliveries = Vec::new();
    for (index, sockets) in sockets.into_iter().enumerate() {
        let (delivery, delivered) = mpsc::unbounded_channel();
        deliveries.push(delivery);
        let setup = WorkerSetup {
            index,
            sockets,
            delivered,
            live: live.clone(),
            counters: counters.clone(),
            taps: taps.cloned(),
            quotas: quotas.clone(),
            memory: memory.clone(),
            budget,
            acceptor: acceptor.clone(),
            dialer: Arc::clone(&dialer),
            origin_tls: origin_tls.clone(),
            reach: reach.clone(),
            end: plane.end.subscribe(),
        };
        plane.threads.push(setup.start()?);
    }
    if name == TierName::Listeners {
        let mut listeners = Listeners::new(live.clone(), deliveries, max, listening);
        listeners.adjust();
        plane.threads.push(keep_listeners(listeners, plane.end.subscribe())?);
    }
    Ok(plane)
}

impl Plane {
    /// The counters of all workers together.
    pub fn counters(&self) -> Totals {
        self.counters.read()
    }

    /// Which endpoints are received on: the current value, and each change.
    pub fn listening(&self) -> Live<Listening> {
        self.listening.clone()
    }

    /// What it counts, for as long as anybody wants to know.
    pub fn measured(&self) -> Arc<dyn Measured> {
        Arc::new(self.counted())
    }

    /// The same for one application at a time.
    pub fn app_counts(&self) -> Arc<dyn AppCounts> {
        Arc::new(self.counted())
    }

    fn counted(&self) -> Counted {
        Counted {
            counters: self.counters.clone(),
            listening: self.listening.clone(),
            live: self.live.clone(),
            memory: self.memory.clone(),
        }
    }

    /// Stops accepting, lets what is open finish for at most `grace`, and ends. Blocks until then.
    pub fn drain(mut self, grace: Duration) {
        self.end.send_replace(Some(grace));
        for thread in self.threads.drain(..) {
            // The panic of a worker was printed already. The other workers still have to be waited for.
            let _ = thread.join();
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // After `drain` all receivers are gone, which is fine.
        self.end.send_replace(Some(Duration::ZERO));
    }
}

/// On a thread of its own: opening thousands of listeners takes tens of milliseconds, and would block a worker.
fn keep_listeners(listeners: Listeners, mut end: watch::Receiver<Option<Duration>>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("l4-listeners".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = listeners.follow() => {}
                _ = end.wait_for(Option::is_some) => {}
            }
        });
    })
}

/// All that a worker's thread is given.
struct WorkerSetup {
    index: usize,
    sockets: AnyPortSockets,
    delivered: mpsc::UnboundedReceiver<Delivery>,
    live: Live<Config>,
    counters: Counters,
    taps: Option<Trays<Table>>,
    quotas: AllQuotas,
    memory: Memory,
    budget: Budget,
    acceptor: Acceptor,
    dialer: Arc<dyn Dialer>,
    origin_tls: OriginTls,
    reach: Reach,
    end: watch::Receiver<Option<Duration>>,
}

impl WorkerSetup {
    fn start(self) -> io::Result<JoinHandle<()>> {
        for listener in &self.sockets.tcp {
            bartizan_net::prepare_listener(listener)?;
        }
        for socket in &self.sockets.udp {
            bartizan_net::prepare_any_port(socket)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(RESOLVER_THREADS)
            .build()?;
        std::thread::Builder::new().name(format!("l4-{}", self.index)).spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, self.run());
            // Tasks that still run are dropped here, with their connections. A blocked resolver is not waited for.
            drop(local);
            runtime.shutdown_background();
        })
    }

    async fn run(mut self) {
        let tap = self.taps.map(|taps| Tap::new(taps.tray(), self.counters.clone()));
        let worker = Rc::new(Worker::new(
            self.live.reader(),
            (self.counters, tap),
            (self.quotas, self.memory),
            self.budget,
            self.acceptor,
            Egress::new(self.dialer, self.origin_tls, self.reach),
        ));
        let sweeper = tokio::task::spawn_local(sweep(Rc::clone(&worker), self.live.changes()));
        let mut accepting = AcceptTasks { worker: Rc::clone(&worker), open: HashMap::new(), any_port: Vec::new() };
        self.sockets.tcp.into_iter().for_each(|listener| accepting.any_tcp(listener));
        self.sockets.udp.into_iter().for_each(|socket| accepting.any_udp(socket));
        let grace = loop {
            tokio::select! {
                biased;
                // An error means that the plane is gone, which is an end without grace.
                ended = self.end.wait_for(Option::is_some) => {
                    break ended.map_or(Duration::ZERO, |grace| grace.unwrap_or_default());
                }
                Some(delivery) = self.delivered.recv() => accepting.take(delivery),
            }
        };
        drop(accepting);
        worker.drain();
        // A flow has no end that could be waited for; a connection has.
        if tokio::time::timeout(grace, worker.connections.empty()).await.is_err() {
            let left = worker.connections.inside();
            tracing::info!(worker = self.index, left, "connections cut off at the end of the grace period");
            // By a reset: an end in order would make half a stream look like a whole one.
            worker.sessions.judge(|_| Some(End::Stopped));
            let _ = tokio::time::timeout(RESET_TIME, worker.connections.empty()).await;
        }
        sweeper.abort();
    }
}

/// The tasks that accept. They end when this is dropped.
struct AcceptTasks {
    worker: Rc<Worker>,
    open: HashMap<Endpoint, AbortHandle>,
    any_port: Vec<AbortHandle>,
}

impl AcceptTasks {
    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Tcp(address, listener) => {
                let Some(task) = self.accept(listener, At::Here(address)) else { return };
                self.open.insert(Endpoint { protocol: Protocol::Tcp, address }, task);
            }
            Delivery::Udp(address, socket) => {
                let receiving = ingress::receive(socket, address, Rc::clone(&self.worker));
                let task = tokio::task::spawn_local(receiving).abort_handle();
                self.open.insert(Endpoint { protocol: Protocol::Udp, address }, task);
            }
            Delivery::Close(endpoint) => {
                if let Some(task) = self.open.remove(&endpoint) {
                    task.abort();
                }
            }
        }
    }

    fn any_tcp(&mut self, listener: TcpListener) {
        self.any_port.extend(self.accept(listener, At::AnyPort));
    }

    fn any_udp(&mut self, socket: UdpSocket) {
        let receiving = ingress::receive_any(socket, Rc::clone(&self.worker));
        self.any_port.push(tokio::task::spawn_local(receiving).abort_handle());
    }

    fn accept(&self, listener: TcpListener, at: At) -> Option<AbortHandle> {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                let accepting = ingress::accept(listener, at, Rc::clone(&self.worker));
                Some(tokio::task::spawn_local(accepting).abort_handle())
            }
            Err(error) => {
                tracing::error!(%error, "a listener of the TCP edge cannot be used");
                None
            }
        }
    }
}

impl Drop for AcceptTasks {
    fn drop(&mut self) {
        self.open.values().chain(&self.any_port).for_each(AbortHandle::abort);
    }
}
