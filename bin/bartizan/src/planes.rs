//! The planes of an edge: started with the first bundle, and given their part of every later one.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use bartizan_analytics::Table;
use bartizan_clock::Clock;
use bartizan_dial::{Destinations, Listener, NameServers, Own, Private, PublicNames, Reach};
use bartizan_geo::Geo;
use bartizan_live::{Generation, Live, Trays};
use bartizan_names::Prefix;
use bartizan_observed::{Applied, Lease, Measured, Observed, Problem, Problems, Reporter, What};
use bartizan_plane_dns as dns;
use bartizan_plane_http as http;
use bartizan_plane_l4 as l4;
use bartizan_plane_probe as probe;
use bartizan_plane_tunnel as tunnel;
use bartizan_publish::{Bundle, Publisher, Review};
use bartizan_store::Rev;
use tokio::sync::watch;

use crate::access_log::{self, Writing};
use crate::any_port::{AnyPort, Chosen};
use crate::clock;
use crate::fd_store::FdStore;
use crate::listen::Listeners;

/// The port of `https` where none is named (RFC 9110 §4.2.2).
const HTTPS_PORT: u16 = 443;

/// How long the publisher waits after a failed read before it tries again. What is in force stays in force.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long it rests between two pieces of its look at all documents, so that others have the processor too.
const REVIEW_REST: Duration = Duration::from_millis(10);

/// How often it looks at all of them: a disk may spoil what nobody writes.
const REVIEW_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// Has servers looked at for the API.
struct Looks(probe::Previewer);

impl bartizan_api::Looks for Looks {
    fn begin(
        &self,
        account: bartizan_names::AccountId,
        monitor: bartizan_model::Monitor,
        pools: Vec<bartizan_model::Pool>,
        done: bartizan_api::Done,
    ) -> bool {
        let check = |pool| bartizan_publish::check_of(account, monitor.clone(), pool);
        self.0.begin(pools.iter().map(check).collect(), done)
    }
}

/// All planes, running.
pub struct Planes {
    looks: Arc<dyn bartizan_api::Looks>,
    tunnel_live: Live<tunnel::Config>,
    http_live: Live<http::Config>,
    l4_live: Live<l4::Config>,
    dns_live: Live<dns::Config>,
    probe_live: Live<probe::Config>,
    /// What is known of names that zones stand for and that lie in none.
    outside: Live<dns::Outside>,
    fixed: Fixed,
    reach: Reach,
    /// Who sends every port of the pools here. Taken out by [`Planes::drain`].
    any_port: Mutex<Option<AnyPort>>,
    observed: Observed,
    readers: tunnel::Readers,
    /// Taken out by [`Planes::drain`].
    running: Mutex<Option<Running>>,
}

/// What planes are given beside bundles, once.
pub struct Fixed {
    pub geo: Geo,
    /// Peers in front of us that say in a PROXY header whom they speak for.
    pub trusted: Vec<Prefix>,
    /// Where this process listens.
    pub listeners: Vec<Listener>,
    /// Whether origins may have loopback and private addresses.
    pub private_origins: Private,
    /// The names of this edge's own name servers.
    pub name_servers: Vec<String>,
    /// How many answers a network gets over UDP.
    pub dns_limits: dns::RateLimits,
    /// Who is asked for names outside that apexes stand for; the system's resolvers if nobody is named.
    pub resolvers: Vec<SocketAddr>,
    /// The time by which is signed.
    pub clock: Clock,
    /// Where what is asked is told.
    pub dns_taps: dns::Taps,
    /// The same of requests.
    pub http_taps: http::Taps,
    /// Where what becomes of connections and flows of applications is counted.
    pub l4_taps: Trays<Table>,
    /// The key by which connectors learn that this PoP was restarted (RFC 9000 §10.3).
    pub reset_key: tunnel::ResetKey,
    /// Where a line of each request goes. Taken at the start.
    pub access_log: Option<access_log::Plan>,
    /// The same for visitors over QUIC.
    pub visitors_reset_key: http::ResetKey,
    /// Whether they can come that way at each address of HTTPS, so that it is offered.
    pub speaks_http3: bool,
    /// By which ports visitors come.
    pub public_ports: http::PublicPorts,
}

/// What comes after this process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing: nothing is left behind.
    Stop,
    /// Another one, in a moment.
    HandOver,
}

struct Running {
    tunnel: tunnel::Plane,
    http: http::Plane,
    l4: l4::Plane,
    dns: dns::Plane,
    probe: probe::Plane,
    outside: dns::Following,
    access_log: Option<Writing>,
}

impl Planes {
    /// Starts everything on the bundle that is in force now, with the way to applications that was chosen.
    pub fn start(listeners: Listeners, bundle: &Bundle, mut fixed: Fixed, chosen: Chosen) -> anyhow::Result<Planes> {
        let problems = Problems::default();
        let (log, writing) = fixed.access_log.take().map(|plan| plan.start(&problems)).transpose()?.unzip();
        let tunnel_live = Live::beginning(tunnel_config(bundle, &fixed));
        let http_live = Live::beginning(http_config(bundle, &fixed));
        let l4_live = Live::beginning(l4_config(bundle, &fixed));
        let outside = Live::new(dns::Outside::default());
        let dns_live = Live::beginning(dns_config(bundle, &fixed, &outside));
        let probe_live = Live::beginning(probe_config(bundle, &fixed));
        let counters = dns::Counters::tapped(fixed.dns_taps.clone());

        let (reset_key, limits) = (Arc::clone(&fixed.reset_key), tunnel::Limits::default());
        let sockets = tunnel::Sockets { udp: listeners.tunnel, tcp: listeners.tunnel_tcp };
        let tunnel = tunnel::start(sockets, &tunnel_live, reset_key, limits).context("the tunnel listener")?;
        let quic = http::Quic {
            sockets: listeners.http3,
            reset_key: Arc::clone(&fixed.visitors_reset_key),
            offer: if fixed.speaks_http3 { http::Offer::Made } else { http::Offer::NotMade },
        };
        let sockets =
            http::Sockets { http: by_worker(listeners.http), https: by_worker(listeners.https), quic: Some(quic) };
        let seed = u64::from_ne_bytes(bartizan_seal::random());
        let reach = Reach::new(NameServers::System, destinations(&fixed, &l4_live, &dns_live));
        let neighbours = http::Neighbours {
            upstream: tunnel.upstream(),
            dns: Some(dns::answerers(&dns_live, &counters)),
            access_log: log,
            taps: Some(fixed.http_taps.clone()),
        };
        let probe = probe::start(&probe_live, (tunnel.upstream(), tunnel.connections()), &reach, seed)
            .context("health checks")?;
        let http = http::start(sockets, &http_live, neighbours, &reach, seed).context("the HTTP edge")?;
        let Chosen { tier, any_port, .. } = chosen;
        let l4 =
            l4::start(&l4_live, tunnel.dialer(), tier, &reach, Some(&fixed.l4_taps)).context("the TCP and UDP edge")?;
        let sockets = dns::Sockets { udp: listeners.dns_udp, tcp: listeners.dns_tcp, tls: listeners.dns_tls };
        let dns = dns::start(sockets, &dns_live, &counters).context("the DNS server")?;
        let names = PublicNames::new(NameServers::or_system(&fixed.resolvers), &reach);
        let followed = dns::follow_outside(&dns_live, names).context("names outside the zones")?;

        let mut counted: Vec<Arc<dyn Measured>> = vec![
            Arc::new(counters),
            followed.measured(),
            http.measured(),
            l4.measured(),
            tunnel.measured(),
            reach.measured(),
            probe.measured(),
        ];
        counted.extend(writing.as_ref().map(Writing::measured));
        let observed = Observed {
            connections: tunnel.connections(),
            listening: l4.listening(),
            problems,
            applied: Applied::default(),
            apps: l4.app_counts(),
            dns: Arc::new(dns::InForce::new(dns_live.clone())),
            http: http.in_force(),
            firewall: Arc::new(l4::InForce(l4_live.clone())),
            pools: probe.seen(),
            commands: Arc::new(tunnel.commands()),
            counted: counted.into(),
        };
        observed.applied.set(bundle.number);
        let readers = tunnel.readers();
        let looks = Arc::new(Looks(probe.previewer()));
        let running =
            Mutex::new(Some(Running { tunnel, http, l4, dns, probe, outside: followed, access_log: writing }));
        let any_port = Mutex::new(any_port);
        Ok(Planes {
            looks,
            tunnel_live,
            http_live,
            l4_live,
            dns_live,
            probe_live,
            outside,
            fixed,
            reach,
            any_port,
            observed,
            readers,
            running,
        })
    }

    /// Puts a bundle in force, in an order in which a name is announced only when it can be served. A plane is told only
    /// if a part that it uses changed ([`Newest`]): l4 judges all its sessions anew when it is.
    fn publish(&self, bundle: &Bundle, last: &Bundle) {
        self.tunnel_live.publish(tunnel_config(bundle, &self.fixed));
        self.http_live.publish(http_config(bundle, &self.fixed));
        self.l4_live.publish(l4_config(bundle, &self.fixed));
        // After the plane knows of it, so that nobody comes in vain.
        if (is_newer(&bundle.pop, &last.pop) || is_newer(&bundle.apps, &last.apps))
            && let Some(any_port) = &mut *self.any_port.lock().unwrap_or_else(PoisonError::into_inner)
        {
            any_port.update(&bundle.apps.value, &bundle.pop.value.pools);
        }
        self.dns_live.publish(dns_config(bundle, &self.fixed, &self.outside));
        self.probe_live.publish(probe_config(bundle, &self.fixed));
        self.observed.applied.set(bundle.number);
    }

    /// Where dials of this process may go.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// What is in force, for who looks through it.
    pub fn routes(&self) -> Arc<Generation<http::Config>> {
        self.http_live.snapshot()
    }

    pub fn apps(&self) -> Arc<Generation<l4::Config>> {
        self.l4_live.snapshot()
    }

    /// What comes through tunnels and is not read.
    pub fn readers(&self) -> tunnel::Readers {
        self.readers.clone()
    }

    /// What they show, and what can be asked of them.
    pub fn looks(&self) -> Arc<dyn bartizan_api::Looks> {
        Arc::clone(&self.looks)
    }

    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Takes nothing new in, lets requests finish, and ends every thread. DNS answers to the last. When `no_more_visitors` is
    /// awaited, nothing is asked of connectors any more.
    pub async fn drain(&self, grace: Duration, end: End, no_more_visitors: impl Future<Output = ()>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { tunnel, http, l4, dns, probe, outside, access_log }) = running else { return };
        tokio::task::spawn_blocking(move || drop(probe)).await.ok();
        let any_port = self.any_port.lock().unwrap_or_else(PoisonError::into_inner).take();
        let fd_store = match end {
            // New clients are refused from here on; those that are in go on to the end of the grace.
            End::Stop => any_port.map(AnyPort::detach),
            // As after a crash: new clients wait for the next process.
            End::HandOver => {
                drop(any_port);
                None
            }
        };
        let l4 = tokio::task::spawn_blocking(move || l4.drain(grace));
        let http = move || {
            http.drain(grace);
            access_log.into_iter().for_each(Writing::finish);
        };
        tokio::task::spawn_blocking(http).await.ok();
        l4.await.ok();
        if let Some(Err(error)) = fd_store.map(FdStore::remove_routes) {
            tracing::warn!(%error, "something of the way to applications is left behind");
        }
        no_more_visitors.await;
        tunnel.drain(grace).await;
        tokio::task::spawn_blocking(move || {
            drop(outside);
            dns.stop();
        })
        .await
        .ok();
    }
}

/// Whether a part of a bundle is another than in the last one.
fn is_newer<T>(part: &Generation<T>, last: &Generation<T>) -> bool {
    part.number != last.number
}

/// What no origin may be: the listeners of this process, the addresses by which the world knows it, and applications as
/// they come and go.
fn destinations(fixed: &Fixed, l4: &Live<l4::Config>, dns: &Live<dns::Config>) -> Destinations {
    let (serving, announced) = (l4.clone(), dns.clone());
    let known = move |ip: IpAddr| {
        let addresses = &announced.snapshot().value.addresses;
        let has = match ip {
            IpAddr::V4(v4) => addresses.v4.contains(&v4),
            IpAddr::V6(v6) => addresses.v6.contains(&v6),
        };
        // Nobody translates loopback addresses.
        has && !ip.is_loopback()
    };
    let own = Own {
        listeners: fixed.listeners.clone(),
        known: Some(Arc::new(known)),
        serves: Some(Arc::new(move |protocol, address| serving.snapshot().value.serves(protocol, address))),
    };
    Destinations::new(own, fixed.private_origins)
}

/// Takes parts of a bundle for the configuration of a plane. Its generation is that of the newest part in it, so that one
/// without a new part is none that the plane is told of.
#[derive(Default)]
struct Newest(u64);

impl Newest {
    fn of<'b, T>(&mut self, part: &'b Generation<T>) -> &'b T {
        self.0 = self.0.max(part.number);
        &part.value
    }

    fn generation<T>(&self, value: T) -> Generation<T> {
        Generation { number: self.0, value }
    }
}

fn tunnel_config(bundle: &Bundle, fixed: &Fixed) -> Generation<tunnel::Config> {
    let mut newest = Newest::default();
    let config = tunnel::Config {
        tunnels: newest.of(&bundle.tunnels).clone(),
        certificate: newest.of(&bundle.tunnel_certificate).clone(),
        location: newest.of(&bundle.pop).name.clone(),
        clock: fixed.clock.clone(),
    };
    newest.generation(config)
}

/// Whoever knows a server of DNS over TLS or HTTPS by its address alone names none, and is served as the name servers.
fn with_default(hosts: &bartizan_tls::Hosts, fixed: &Fixed) -> bartizan_tls::Hosts {
    let mut hosts = hosts.clone();
    if let Some(own) = fixed.name_servers.iter().find(|name| hosts.find(name).is_some()) {
        hosts.set_default(own);
    }
    hosts
}

fn http_config(bundle: &Bundle, fixed: &Fixed) -> Generation<http::Config> {
    let mut newest = Newest::default();
    let config = http::Config {
        zones: newest.of(&bundle.zones).clone(),
        routes: newest.of(&bundle.routes).clone(),
        balancers: newest.of(&bundle.balancers).clone(),
        hosts: with_default(newest.of(&bundle.hosts), fixed),
        challenges: newest.of(&bundle.challenges).clone(),
        firewall: newest.of(&bundle.firewall).clone(),
        geo: fixed.geo.clone(),
        limits: http::Limits::default(),
        server: http::ServerFacts {
            pop: newest.of(&bundle.pop).name.clone(),
            name_servers: fixed.name_servers.clone(),
            public_ports: fixed.public_ports,
            origin_roots: None,
        },
        clock: fixed.clock.clone(),
    };
    newest.generation(config)
}

fn l4_config(bundle: &Bundle, fixed: &Fixed) -> Generation<l4::Config> {
    let mut newest = Newest::default();
    let config = l4::Config {
        apps: newest.of(&bundle.apps).clone(),
        pools: newest.of(&bundle.pop).pools.clone(),
        checks: newest.of(&bundle.checks).clone(),
        firewall: newest.of(&bundle.firewall).clone(),
        geo: fixed.geo.clone(),
        hosts: newest.of(&bundle.hosts).clone(),
        trusted: fixed.trusted.clone(),
        limits: l4::Limits::default(),
        origin_roots: None,
        clock: fixed.clock.clone(),
    };
    newest.generation(config)
}

fn probe_config(bundle: &Bundle, fixed: &Fixed) -> Generation<probe::Config> {
    let mut newest = Newest::default();
    let config = probe::Config {
        checks: newest.of(&bundle.checks).clone(),
        clock: fixed.clock.clone(),
        limits: probe::Limits::default(),
        origin_roots: None,
    };
    newest.generation(config)
}

fn dns_config(bundle: &Bundle, fixed: &Fixed, outside: &Live<dns::Outside>) -> Generation<dns::Config> {
    let mut newest = Newest::default();
    let pop = newest.of(&bundle.pop);
    let config = dns::Config {
        zones: newest.of(&bundle.zones).clone(),
        balancers: newest.of(&bundle.balancers).clone(),
        geo: fixed.geo.clone(),
        addresses: dns::Addresses {
            http3: fixed.speaks_http3,
            https_port: fixed.public_ports.https.filter(|port| *port != HTTPS_PORT),
            ..pop.addresses.clone()
        },
        identity: dns::Identity {
            id_server: pop.name.clone(),
            version: concat!("bartizan ", env!("CARGO_PKG_VERSION")).to_owned(),
        },
        cookies: *newest.of(&bundle.cookies),
        limits: fixed.dns_limits.clone(),
        hosts: with_default(newest.of(&bundle.hosts), fixed),
        outside: outside.clone(),
        clock: fixed.clock.clone(),
    };
    newest.generation(config)
}

/// From a list for each address to a list for each worker.
fn by_worker(by_address: Vec<Vec<TcpListener>>) -> Vec<Vec<TcpListener>> {
    let mut workers: Vec<Vec<TcpListener>> = Vec::new();
    for group in by_address {
        for (index, listener) in group.into_iter().enumerate() {
            if workers.len() <= index {
                workers.push(Vec::new());
            }
            workers[index].push(listener);
        }
    }
    workers
}

/// The thread that turns commits into bundles.
pub struct Following {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Following {
    pub fn stop(self) {
        self.stop.send_replace(true);
        // It only sleeps and builds; a panic in it was reported where it happened.
        self.thread.join().ok();
    }
}

/// Follows the store until told to stop.
pub fn follow(
    mut publisher: Publisher,
    mut committed: watch::Receiver<Rev>,
    planes: Arc<Planes>,
) -> anyhow::Result<Following> {
    let (stop, mut stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = std::thread::Builder::new().name("publish".to_owned()).spawn(move || {
        let mut next_review = Instant::now() + REVIEW_EVERY;
        loop {
            let caught_up = catch_up(&mut publisher, &planes);
            if Instant::now() >= next_review {
                next_review = Instant::now() + REVIEW_EVERY;
                publisher.review_anew();
            }
            let wait = match (&caught_up, publisher.review()) {
                (Err(_), _) => RETRY_AFTER,
                (Ok(()), Review::More) => REVIEW_REST,
                (Ok(()), Review::Done) => publisher.rests_for().unwrap_or(Duration::MAX),
            };
            report(caught_up, &publisher, &planes.observed.problems);
            let going_on = runtime.block_on(async {
                tokio::select! {
                    changed = committed.changed() => changed.is_ok(),
                    _ = stopped.changed() => false,
                    () = tokio::time::sleep(wait.min(RETRY_AFTER * 3600)) => true,
                }
            });
            if !going_on {
                return;
            }
        }
    })?;
    Ok(Following { stop, thread })
}

fn catch_up(publisher: &mut Publisher, planes: &Planes) -> anyhow::Result<()> {
    loop {
        let last = publisher.bundle().clone();
        match publisher.follow()? {
            Some(bundle) => planes.publish(bundle, &last),
            None => return Ok(()),
        }
    }
}

/// Shows what is not in force, and logs what of it is news.
fn report(caught_up: anyhow::Result<()>, publisher: &Publisher, problems: &Problems) {
    let changes = publisher.changes();
    let stuck = caught_up.err().map(|error| Problem {
        what: What::ChangeLog,
        count: 1,
        reason: format!("{error:#}"),
        since: clock::now(),
        remedy: "what was in force stays so; `bartizan doctor` looks at the store",
    });
    let seen = stuck.into_iter().chain(publisher.problems().observed(clock::now(), changes)).collect();
    for problem in problems.report(Reporter::Publisher, seen, Lease::Held, Instant::now()) {
        tracing::error!(%problem, remedy = problem.remedy, "cannot be put in force");
    }
    let unreadable = publisher.unreadable().observed(clock::now(), changes);
    for problem in problems.report(Reporter::Documents, unreadable, Lease::Held, Instant::now()) {
        tracing::error!(%problem, remedy = problem.remedy, "an object in the store cannot be read by the API");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_dealt_to_workers() {
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        let workers = by_worker(vec![vec![listener(), listener()], vec![listener(), listener()]]);
        assert_eq!(workers.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    }
}
