//! DNS over UDP, TCP, TLS and HTTPS from the authority.
//!
//! ```text
//! UDP ── a thread a socket: recvmmsg ──┐                                           ┌── sendmmsg
//!                                      ├─ ingress ─ pipeline: parse … write, count ─┤    egress
//! TCP, TLS ── one thread, one runtime ─┤   (batches of 32, one snapshot)           ├── one write for all frames
//! HTTPS ── planes/http ────────────────┘                                           └── the body of a response
//! ```
//! A batch sees one snapshot from its first query to its last. Workers share nothing but the pointer to the
//! configuration, so no query waits for another worker.
//!
//! Not here: which records answer a question (`engines/authority`), binding ports (`base/net`, by `bin`), recursion.
//!
//! RFC 1035 §4.2, 5001 (NSID), 7766 (TCP), 7828 (keepalive), 7830 (padding), 7858 (TLS), 7871 (client subnet), 7873 (cookies), 8484 (HTTPS), 8914 (extended errors), 8945 (TSIG), 9210.

mod counters;
mod egress;
mod ingress;
mod outside;
mod pipeline;
mod stage;
mod steer;
mod tap;
mod trace;

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use bartizan_authority::Zones;
use bartizan_clock::Clock;
use bartizan_exchange::DnsAnswerers;
use bartizan_geo::Geo;
use bartizan_live::Live;
use bartizan_steering::Balancers;
use bartizan_tls::Hosts;
use tokio::sync::oneshot;

pub use bartizan_authority::{Addresses, Identity, Outside};
pub use bartizan_dns_guard::{Limits as RateLimits, Secret as CookieSecret, Secrets as CookieSecrets};
pub use bartizan_signer::Limits;
pub use counters::Counters;
pub use outside::{Following, follow_outside};
pub use pipeline::{End, Exchange, Now, Silence, Transport, Worker, serve};
pub use tap::Taps;
pub use trace::InForce;

/// What this plane serves.
#[derive(Clone)]
pub struct Config {
    pub zones: Zones,
    /// Of this PoP, for proxied names.
    pub addresses: Addresses,
    /// Where names of load balancers that are not proxied lead.
    pub balancers: Balancers,
    /// Countries of those who ask for such names.
    pub geo: Geo,
    pub identity: Identity,
    /// What cookies are made with; none makes a server that knows no cookies.
    pub cookies: Option<CookieSecrets>,
    /// How many answers a network gets over UDP from each worker.
    pub limits: RateLimits,
    /// For DNS over TLS.
    pub hosts: Hosts,
    /// What is known of names outside the zones.
    pub outside: Live<Outside>,
    /// The time by which is signed.
    pub clock: Clock,
}

impl Default for Config {
    /// No zone, and the usual limits.
    fn default() -> Config {
        Config {
            zones: Zones::empty(),
            addresses: Addresses::default(),
            balancers: Balancers::default(),
            geo: Geo::built_in(),
            identity: Identity::default(),
            cookies: None,
            limits: RateLimits::default(),
            hosts: Hosts::default(),
            outside: Live::new(Outside::default()),
            clock: Clock::default(),
        }
    }
}

/// Sockets that are bound already.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Each gets a thread. Several for one address share its packets (`SO_REUSEPORT`).
    pub udp: Vec<UdpSocket>,
    /// One thread serves all of them, and those below.
    pub tcp: Vec<TcpListener>,
    /// For DNS over TLS.
    pub tls: Vec<TcpListener>,
}

/// A running plane.
#[derive(Debug)]
pub struct Plane {
    stopping: Arc<AtomicBool>,
    tcp_stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts answering what arrives on `sockets` from what is in force in `live`.
pub fn start(sockets: Sockets, live: &Live<Config>, counters: &Counters) -> io::Result<Plane> {
    start_with(sockets, live, counters, Limits::default())
}

/// The same with other limits of what each thread may keep and make of signatures.
pub fn start_with(sockets: Sockets, live: &Live<Config>, counters: &Counters, signatures: Limits) -> io::Result<Plane> {
    let mut plane = Plane { stopping: Arc::default(), tcp_stop: None, threads: Vec::new() };
    for (number, socket) in sockets.udp.into_iter().enumerate() {
        let stopping = Arc::clone(&plane.stopping);
        let worker = ingress::udp::Worker::new(socket, live.reader(), counters, signatures, stopping)?;
        plane.spawn(format!("dns-udp-{number}"), move || worker.run())?;
    }
    if !sockets.tcp.is_empty() || !sockets.tls.is_empty() {
        let (stop, stopped) = oneshot::channel();
        let worker = ingress::tcp::Worker::new(sockets.tcp, sockets.tls, live.reader(), counters, signatures)?;
        plane.spawn("dns-tcp".to_owned(), move || worker.run(stopped))?;
        plane.tcp_stop = Some(stop);
    }
    Ok(plane)
}

/// Answers for planes that are asked over HTTPS, from what is in force in `live`.
pub fn answerers(live: &Live<Config>, counters: &Counters) -> Arc<dyn DnsAnswerers> {
    answerers_with(live, counters, Limits::default())
}

/// The same with other limits of what each of their threads may keep and make of signatures, as for [`start_with`].
pub fn answerers_with(live: &Live<Config>, counters: &Counters, signatures: Limits) -> Arc<dyn DnsAnswerers> {
    Arc::new(ingress::https::Answerers { live: live.clone(), counters: counters.clone(), signatures })
}

impl Plane {
    /// Ends all threads and waits for it, about half a second. Connections are closed; queries in the sockets' queues
    /// are lost.
    pub fn stop(mut self) {
        self.tell_to_stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a DNS thread had panicked");
            }
        }
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    fn tell_to_stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.tcp_stop.take();
    }
}

impl Drop for Plane {
    /// Dropping the plane stops its threads too, without waiting for them.
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}
