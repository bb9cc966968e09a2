//! Workers: how their threads start, what they listen on, how they end.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bartizan_clock::Clock;
use bartizan_dial::{OriginTls, RESOLVER_THREADS, Reach};
use bartizan_exchange::{DnsAnswerers, Upstream};
use bartizan_live::Live;
use bartizan_observed::{HttpQuery, Measured};
use bartizan_quic::Inboxes;
use bartizan_quic::ResetKey;
use bartizan_quotas::{Door, Gate, Memory, MemoryShares, Place, Rarely, Shares};
use bartizan_routes::Scheme;
use bartizan_tls::{Acceptor, TlsError};
use tokio::net::TcpStream;
use tokio::runtime::LocalOptions;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::access_log::{AccessLog, Pen};
use crate::counters::{Counters, Totals};
use crate::date::Dates;
use crate::egress::Egress;
use crate::ingress::{self, Connections, Endpoints, Lanes, OpenError, Turn};
use crate::limits::{
    ACCEPT_PAUSE, ACCEPTS_A_TURN, CONNECTIONS_MAX, ORIGINS, ORIGINS_MAX, PAST_DESCRIPTORS_PART, PAST_PIPES_MAX,
    QUIC_UNREAD_MAX, SOURCE, UNSENT_BYTES,
};
use crate::metrics::Counted;
use crate::ray::Rays;
use crate::recheck::recheck;
use crate::spare::Spare;
use crate::tap::{Tap, Taps};
use crate::trace::{InForce, Listeners, Traces};
use crate::worker::{Drain, Ports, Worker};
use crate::{Config, Limits};

/// The listeners: for each worker a set of its own, one for each address (`SO_REUSEPORT`, or clones of one socket).
/// There are as many workers as the longer of the two has sets.
#[derive(Default)]
pub struct Sockets {
    pub http: Vec<Vec<TcpListener>>,
    pub https: Vec<Vec<TcpListener>>,
    /// None: HTTP/3 is not spoken.
    pub quic: Option<Quic>,
}

/// Where HTTP/3 is spoken: on the port of HTTPS.
pub struct Quic {
    /// One for each address.
    pub sockets: Vec<UdpSocket>,
    pub reset_key: ResetKey,
    pub offer: Offer,
}

/// Whether visitors over TCP are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Made,
    /// It is not at all addresses, and nobody can be told at which.
    NotMade,
}

/// Why the plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a worker of the HTTP edge cannot start")]
    Worker(#[from] io::Error),
    #[error("QUIC cannot start")]
    Quic(#[from] OpenError),
    #[error("the extra roots for origins cannot be used")]
    OriginRoots(#[source] TlsError),
}

/// The running plane. Dropped without [`Plane::drain`], it ends at once.
pub struct Plane {
    workers: Vec<JoinHandle<()>>,
    counters: Vec<Arc<Counters>>,
    acceptor: Acceptor,
    quic: Acceptor,
    memory: Memory,
    in_force: Arc<InForce>,
    /// None while the plane serves; then how long open connections may go on.
    end: watch::Sender<Option<Duration>>,
}

/// What other planes do for this one.
pub struct Neighbours {
    /// What lies behind tunnels.
    pub upstream: Arc<dyn Upstream>,
    /// DNS over HTTPS; none where this edge answers no DNS.
    pub dns: Option<Arc<dyn DnsAnswerers>>,
    /// Who keeps a line of each request, if anybody does.
    pub access_log: Option<AccessLog>,
    /// Where requests that are over are told, if somebody wants to know.
    pub taps: Option<Taps>,
}

/// Starts to serve. `seed` is any random number: ids of requests are made from it.
pub fn start(
    sockets: Sockets,
    live: &Live<Config>,
    neighbours: Neighbours,
    reach: &Reach,
    seed: u64,
) -> Result<Plane, StartError> {
    let Config { limits, server, clock, .. } = live.snapshot().value.clone();
    let by = clock.teller();
    let origin_tls = OriginTls::load(&by, server.origin_roots, &[b"http/1.1"]).map_err(StartError::OriginRoots)?;
    let (acceptor, quic_acceptor) = (Acceptor::with_early_data(ingress::ALPN), Acceptor::of_quic(ingress::ALPN_QUIC));
    let quic = sockets.quic.filter(|quic| !quic.sockets.is_empty());
    let offered = quic.as_ref().filter(|quic| quic.offer == Offer::Made);
    let quic_port = offered.map(|quic| quic.sockets[0].local_addr()).transpose()?.map(|address| address.port());
    let public = server.public_ports;
    let ports = Ports {
        http: public.http.map_or_else(|| port_of(&sockets.http, 80), Ok)?,
        https: public.https.map_or_else(|| port_of(&sockets.https, 443), Ok)?,
        quic: quic_port.map(|port| public.https.unwrap_or(port)),
    };
    let (end, _) = watch::channel(None);
    let (shares, now) = (Shares::of(bartizan_net::descriptors_max()), std::time::Instant::now());
    let memory = Memory::new(MemoryShares::of(bartizan_net::memory_max()).http.min(limits.memory), now);
    let traces = Traces::default();
    let listener =
        |listeners: &[Vec<TcpListener>]| listeners.iter().flatten().next().map(TcpListener::local_addr).transpose();
    let (at_http, at_https) = (listener(&sockets.http)?, listener(&sockets.https)?);
    let at_quic = quic.as_ref().map(|quic| quic.sockets[0].local_addr()).transpose()?;
    let listeners = Listeners { http: at_http, https: at_https, quic: at_quic };
    let in_force = InForce::new(traces.clone(), listeners, &by).map_err(StartError::OriginRoots)?;
    let in_force = Arc::new(in_force);
    let (workers, counters) = Default::default();
    let mut plane = Plane {
        workers,
        counters,
        acceptor: acceptor.clone(),
        quic: quic_acceptor.clone(),
        memory: memory.clone(),
        in_force,
        end,
    };
    let of_tcp = sockets.http.len().max(sockets.https.len());
    // QUIC's is the last.
    let count = of_tcp + usize::from(quic.is_some());
    let (mut http, mut https) = (sockets.http.into_iter(), sockets.https.into_iter());
    let mut quic = quic.map(|quic| (quic, quic_acceptor));
    let doors = Door::divided(shares.visitors, count, CONNECTIONS_MAX, SOURCE, now);
    let pipes = (shares.origins / PAST_DESCRIPTORS_PART / 2 / count.max(1)).min(PAST_PIPES_MAX);
    let gates = Gate::divided(shares.origins - 2 * pipes * count, count, ORIGINS_MAX, ORIGINS, now);
    for (index, (door, gate)) in doors.into_iter().zip(gates).enumerate() {
        let counters = Arc::new(Counters::default());
        let listeners = tagged(http.next(), Scheme::Http).chain(tagged(https.next(), Scheme::Https)).collect();
        let unheard = Arc::clone(&counters);
        let setup = WorkerSetup {
            index,
            door,
            pipes,
            memory: memory.clone(),
            listeners,
            quic: if index == of_tcp { quic.take() } else { None },
            inboxes: Inboxes::new(QUIC_UNREAD_MAX, move || unheard.visitors.datagrams_dropped.add(1)),
            live: live.clone(),
            upstream: Arc::clone(&neighbours.upstream),
            dns: neighbours.dns.clone(),
            access_log: neighbours.access_log.clone(),
            taps: neighbours.taps.clone(),
            traces: traces.clone(),
            origin_tls: origin_tls.clone(),
            reach: (reach.clone(), gate),
            acceptor: acceptor.clone(),
            counters: Arc::clone(&counters),
            ports,
            limits,
            clock: clock.clone(),
            seed,
            end: plane.end.subscribe(),
        };
        plane.counters.push(counters);
        plane.workers.push(setup.start()?);
    }
    Ok(plane)
}

impl Plane {
    /// The counters of all workers together.
    pub fn counters(&self) -> Totals {
        Totals::of(&self.counters)
    }

    /// What it counts, for as long as anybody wants to know.
    pub fn measured(&self) -> Arc<dyn Measured> {
        Arc::new(Counted {
            workers: self.counters.clone(),
            acceptor: self.acceptor.clone(),
            quic: self.quic.clone(),
            memory: self.memory.clone(),
        })
    }

    /// What is in force, for who wants to see it work.
    pub fn in_force(&self) -> Arc<dyn HttpQuery> {
        Arc::clone(&self.in_force) as _
    }

    /// Stops accepting, lets what is open finish for at most `grace`, and ends. Blocks until then.
    pub fn drain(mut self, grace: Duration) {
        self.end.send_replace(Some(grace));
        for worker in self.workers.drain(..) {
            // The panic of a worker was printed already. The other workers still have to be waited for.
            let _ = worker.join();
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // After `drain` all receivers are gone, which is fine.
        self.end.send_replace(Some(Duration::ZERO));
    }
}

/// The port of the first of some listeners; the `usual` one when there is none, which is where visitors would look.
fn port_of(listeners: &[Vec<TcpListener>], usual: u16) -> io::Result<u16> {
    match listeners.iter().flatten().next() {
        Some(listener) => Ok(listener.local_addr()?.port()),
        None => Ok(usual),
    }
}

fn tagged(listeners: Option<Vec<TcpListener>>, scheme: Scheme) -> impl Iterator<Item = (TcpListener, Scheme)> {
    listeners.into_iter().flatten().map(move |listener| (listener, scheme))
}

/// All that a worker's thread is given.
struct WorkerSetup {
    index: usize,
    door: Door,
    pipes: usize,
    memory: Memory,
    listeners: Vec<(TcpListener, Scheme)>,
    quic: Option<(Quic, Acceptor)>,
    inboxes: Inboxes,
    live: Live<Config>,
    upstream: Arc<dyn Upstream>,
    dns: Option<Arc<dyn DnsAnswerers>>,
    access_log: Option<AccessLog>,
    taps: Option<Taps>,
    traces: Traces,
    origin_tls: OriginTls,
    reach: (Reach, Gate),
    acceptor: Acceptor,
    counters: Arc<Counters>,
    ports: Ports,
    limits: Limits,
    clock: Clock,
    seed: u64,
    end: watch::Receiver<Option<Duration>>,
}

impl WorkerSetup {
    fn start(mut self) -> Result<JoinHandle<()>, StartError> {
        for (listener, _) in &self.listeners {
            listener.set_nonblocking(true)?;
            bartizan_net::hand_down(listener, UNSENT_BYTES)?;
        }
        // It stays on the thread that it is made on.
        let (made, is_made) = std::sync::mpsc::sync_channel::<Result<(), StartError>>(1);
        let thread = std::thread::Builder::new().name(format!("http-{}", self.index)).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(RESOLVER_THREADS)
                .on_thread_unpark(ingress::looked)
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let opened = match self.quic.take() {
                        Some(quic) => runtime.block_on(async { self.open(quic) }).map(Some),
                        None => Ok(None),
                    };
                    let endpoints = match opened {
                        Ok(endpoints) => endpoints,
                        Err(error) => return drop(made.send(Err(error.into()))),
                    };
                    let _ = made.send(Ok(()));
                    runtime.block_on(self.run(endpoints));
                    // Tasks that still run are dropped here, with their connections. A blocked resolver is not waited for.
                    runtime.shutdown_background();
                }
                Err(error) => drop(made.send(Err(error.into()))),
            }
        })?;
        is_made.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended at once").into()))?;
        Ok(thread)
    }

    fn open(&self, (Quic { sockets, reset_key, .. }, acceptor): (Quic, Acceptor)) -> Result<Endpoints, OpenError> {
        ingress::open(sockets, &reset_key, acceptor, self.live.clone(), (&self.limits, &self.inboxes))
    }

    async fn run(mut self, endpoints: Option<Endpoints>) {
        let spare = Rc::new(Spare::with_pipes(self.pipes));
        let ways = (self.upstream, self.origin_tls, self.reach);
        let worker = Rc::new(Worker {
            config: RefCell::new(self.live.reader()),
            rays: Rays::new(self.seed, self.index),
            egress: Egress::new(ways, Arc::clone(&self.counters), Rc::clone(&spare)),
            dns: self.dns.map(|dns| RefCell::new(dns.answerer())),
            tap: self.taps.as_ref().map(Tap::new),
            pen: self.access_log.map(|log| Pen::new(log, Arc::clone(&self.counters), self.clock.clone())),
            counters: self.counters,
            door: self.door,
            memory: self.memory,
            connections: Connections::default(),
            lanes: Rc::new(Lanes::default()),
            inboxes: self.inboxes,
            quic_handshakes: Cell::new(0),
            acceptor: self.acceptor,
            ports: self.ports,
            limits: self.limits,
            drain: Drain::default(),
            spare,
            dates: Dates::by(self.clock),
            traces: self.traces,
        });
        let crowd = Rc::new(Crowd::default());
        // It runs until the end, since connections that drain can be blocked too.
        let first = worker.hold_config();
        let judged = (first.value.firewall.clone(), first.value.hosts.clone());
        drop(first);
        tokio::task::spawn_local(recheck(Rc::clone(&worker), judged, self.live.changes()));
        // So are waits.
        tokio::task::spawn_local(expire(Rc::clone(&worker)));
        tokio::task::spawn_local(ingress::ferry(Rc::clone(&worker.lanes)));
        let sweeper = tokio::task::spawn_local(sweep(Rc::clone(&worker)));
        let newcomers = worker.lanes.of_newcomers();
        let mut accepting: Vec<_> = self
            .listeners
            .into_iter()
            .map(|listener| {
                let turn = Turn::new(Rc::clone(&newcomers));
                tokio::task::spawn_local(accept(listener, turn, Rc::clone(&worker), Rc::clone(&crowd)))
            })
            .collect();
        accepting.extend(endpoints.iter().flat_map(|endpoints| endpoints.accept(&worker, &crowd)));
        // An error means that the plane is gone, which is an end without grace.
        let grace = match self.end.wait_for(Option::is_some).await {
            Ok(grace) => grace.unwrap_or_default(),
            Err(_) => Duration::ZERO,
        };
        accepting.iter().for_each(|task| task.abort());
        endpoints.iter().for_each(Endpoints::shut);
        sweeper.abort();
        worker.drain.begin();
        worker.connections.wake();
        tokio::task::spawn_local(end_newcomers(Rc::clone(&worker)));
        if tokio::time::timeout(grace, crowd.empty()).await.is_err() {
            tracing::info!(
                worker = self.index,
                left = crowd.inside.get(),
                "connections cut off at the end of the grace period"
            );
        }
        if let Some(endpoints) = endpoints {
            endpoints.end().await;
        }
        worker.lanes.let_go();
    }
}

/// Accepts connections until the task is aborted.
async fn accept((listener, scheme): (TcpListener, Scheme), turn: Rc<Turn>, worker: Rc<Worker>, crowd: Rc<Crowd>) {
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => turn.take(pin!(accept_from(listener, scheme, &turn, &worker, &crowd))).await,
        Err(error) => tracing::error!(%error, "a listener of the HTTP edge cannot be used"),
    }
}

async fn accept_from(
    listener: tokio::net::TcpListener,
    scheme: Scheme,
    turn: &Turn,
    worker: &Rc<Worker>,
    crowd: &Rc<Crowd>,
) {
    let mut accepted = 0_usize;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                accepted += 1;
                worker.counters.visitors.accepted.add(1);
                match worker.door.enter(peer.ip(), std::time::Instant::now()) {
                    Ok(place) => {
                        let guest = crowd.enter(&worker.counters);
                        admit(stream, (peer, place), scheme, Rc::clone(worker), guest);
                    }
                    Err(over) => {
                        worker.counters.visitors.refused(over);
                        // Fails only on a socket that is gone already.
                        let _ = stream.set_zero_linger();
                    }
                }
                // When it is full, whoever had to go closes its socket first.
                if worker.door.is_full() || accepted.is_multiple_of(ACCEPTS_A_TURN) {
                    turn.next().await;
                }
            }
            // If file descriptors have run out, trying again at once does not help.
            Err(error) => {
                static FAILED: Rarely = Rarely::new();
                if let Some(times) = FAILED.turn() {
                    tracing::warn!(%error, times, "the HTTP edge cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(stream: TcpStream, from: (SocketAddr, Place), scheme: Scheme, worker: Rc<Worker>, guest: Guest) {
    tokio::task::spawn_local(async move {
        ingress::serve(stream, from, scheme, worker).await;
        drop(guest);
    });
}

/// Ends waits that have lasted too long, and lets the date go on, for ever.
async fn expire(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(worker.limits.expire_every).await;
        let now = Instant::now();
        worker.connections.expire(now);
        worker.egress.look(now.into_std(), &worker.limits);
        worker.dates.go_on();
        worker.pen.iter().for_each(Pen::hand_over);
        worker.lanes.go_on();
    }
}

/// Tells those that had just come when draining began, and have asked for nothing since.
async fn end_newcomers(worker: Rc<Worker>) {
    tokio::time::sleep(worker.limits.linger_time).await;
    worker.connections.wake();
}

async fn sweep(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(crate::limits::SWEEP_EVERY).await;
        worker.egress.sweep();
    }
}

/// The connections of one worker, to be waited for. How many there may be is the door's to say.
#[derive(Default)]
pub(crate) struct Crowd {
    inside: Cell<usize>,
    left: tokio::sync::Notify,
}

/// Counts as one connection while it lives.
pub(crate) struct Guest {
    crowd: Rc<Crowd>,
    counters: Arc<Counters>,
}

impl Crowd {
    pub(crate) fn enter(self: &Rc<Self>, counters: &Arc<Counters>) -> Guest {
        self.inside.set(self.inside.get() + 1);
        counters.visitors.open.add(1);
        Guest { crowd: Rc::clone(self), counters: Arc::clone(counters) }
    }

    async fn empty(&self) {
        while self.inside.get() > 0 {
            self.left.notified().await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.crowd.inside.set(self.crowd.inside.get() - 1);
        self.counters.visitors.open.sub(1);
        self.crowd.left.notify_one();
    }
}
