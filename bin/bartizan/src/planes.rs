//! The planes of an edge: started with the first bundle, and given their part of every later one.

use std::net::{IpAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use bartizan_api::{AppCounters, FirewallAnswer, FirewallQuestion, presence as shown};
use bartizan_authority::Addresses;
use bartizan_firewall::{Source, Verdict};
use bartizan_geo::Geo;
use bartizan_live::{Generation, Live};
use bartizan_names::{AppId, Prefix};
use bartizan_plane_dns as dns;
use bartizan_plane_http as http;
use bartizan_plane_l4 as l4;
use bartizan_plane_tunnel as tunnel;
use bartizan_publish::{Bundle, Publisher};
use bartizan_routes::Pools;
use bartizan_store::Rev;
use tokio::sync::{mpsc, watch};

use crate::any_port::{AnyPort, Chosen};
use crate::listen::Listeners;
use crate::metrics;

/// What this PoP is called until it can be given a name.
const POP: &str = "LOC";

/// Commands from the API that wait to be carried out. They are rare and carried out at once.
const COMMANDS_MAX: usize = 64;

/// How long the publisher waits after a failed read before it tries again. What is in force stays in force.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// All planes, running.
pub struct Planes {
    tunnel_live: Live<tunnel::Config>,
    http_live: Live<http::Config>,
    l4_live: Live<l4::Config>,
    dns_live: Live<dns::Config>,
    pop: LocalPop,
    listening: watch::Receiver<Arc<l4::Listening>>,
    /// Who sends every port of the pools here. Taken out by [`Planes::drain`].
    any_port: Mutex<Option<AnyPort>>,
    counters: dns::Counters,
    connected: watch::Receiver<Arc<tunnel::Presence>>,
    presence: watch::Receiver<Arc<shown::Presence>>,
    commands: mpsc::Sender<bartizan_api::Command>,
    /// The revision of the newest bundle in force.
    applied: AtomicU64,
    /// Taken out by [`Planes::drain`].
    running: Mutex<Option<Running>>,
}

/// What is this PoP's own and does not change while it runs.
pub struct LocalPop {
    /// Of proxied names.
    pub addresses: Addresses,
    /// Of applications.
    pub pools: Pools,
    pub geo: Geo,
    /// Peers in front of us that say in a PROXY header whom they speak for.
    pub trusted: Vec<Prefix>,
    /// The key by which connectors learn that this PoP was restarted (RFC 9000 §10.3).
    pub reset_key: tunnel::ResetKey,
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
}

impl Planes {
    /// Starts everything on the bundle that is in force now, with the way to applications that was chosen.
    pub fn start(listeners: Listeners, bundle: &Bundle, pop: LocalPop, chosen: Chosen) -> anyhow::Result<Planes> {
        let tunnel_live = Live::new(tunnel_config(bundle));
        let http_live = Live::new(http_config(bundle, &pop));
        let l4_live = Live::new(l4_config(bundle, &pop));
        let dns_live = Live::new(dns_config(bundle, &pop.addresses));
        let counters = dns::Counters::default();

        let tunnel =
            tunnel::start(listeners.tunnel, &tunnel_live, Arc::clone(&pop.reset_key)).context("the tunnel listener")?;
        let sockets = http::Sockets { http: by_worker(listeners.http), https: by_worker(listeners.https) };
        let seed = u64::from_ne_bytes(bartizan_seal::random());
        let http = http::start(sockets, &http_live, tunnel.upstream(), seed).context("the HTTP edge")?;
        let Chosen { tier, any_port, .. } = chosen;
        let l4 = l4::start(&l4_live, tunnel.dialer(), tier).context("the TCP and UDP edge")?;
        let listening = any_port.as_ref().map_or_else(|| l4.listening(), AnyPort::listening);
        let sockets = dns::Sockets { udp: listeners.dns_udp, tcp: listeners.dns_tcp };
        let dns = dns::start(sockets, &dns_live, &counters).context("the DNS server")?;

        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        tokio::spawn(carry_out(received, tunnel.commands()));
        let (now_shown, presence) = watch::channel(Arc::default());
        let connected = tunnel.presence();
        tokio::spawn(show(connected.clone(), now_shown));
        let running = Mutex::new(Some(Running { tunnel, http, l4, dns }));
        Ok(Planes {
            tunnel_live,
            http_live,
            l4_live,
            dns_live,
            pop,
            listening,
            any_port: Mutex::new(any_port),
            counters,
            connected,
            presence,
            commands,
            applied: AtomicU64::new(bundle.number),
            running,
        })
    }

    /// Puts a bundle in force, in an order in which a name is announced only when it can be served. A plane is told only
    /// if a part that it uses changed: l4 judges all its sessions anew when it is.
    fn publish(&self, bundle: &Bundle, last: &Bundle) {
        let number = bundle.number;
        let certificates = is_newer(&bundle.certificates, &last.certificates);
        let firewall = is_newer(&bundle.firewall, &last.firewall);
        let apps = is_newer(&bundle.apps, &last.apps);
        if certificates || is_newer(&bundle.tunnels, &last.tunnels) {
            self.tunnel_live.publish(Generation { number, value: tunnel_config(bundle) });
        }
        if certificates || firewall || is_newer(&bundle.routes, &last.routes) {
            self.http_live.publish(Generation { number, value: http_config(bundle, &self.pop) });
        }
        if certificates || firewall || apps {
            self.l4_live.publish(Generation { number, value: l4_config(bundle, &self.pop) });
        }
        // After the plane knows of it, so that nobody comes in vain.
        if apps && let Some(any_port) = &mut *self.any_port.lock().unwrap_or_else(PoisonError::into_inner) {
            any_port.update(&bundle.apps.value);
        }
        if is_newer(&bundle.zones, &last.zones) {
            self.dns_live.publish(Generation { number, value: dns_config(bundle, &self.pop.addresses) });
        }
        self.applied.store(number, Ordering::Relaxed);
    }

    pub fn presence(&self) -> watch::Receiver<Arc<shown::Presence>> {
        self.presence.clone()
    }

    pub fn commands(&self) -> mpsc::Sender<bartizan_api::Command> {
        self.commands.clone()
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (http, l4, tunnel) = running
            .as_ref()
            .map(|running| (running.http.counters(), running.l4.counters(), running.tunnel.counters()))
            .unwrap_or_default();
        let numbers = metrics::Numbers {
            generation: self.applied.load(Ordering::Relaxed),
            dns: self.counters.read(),
            http,
            l4,
            apps: self.l4_live.snapshot().value.apps.clone(),
            tunnel,
            connections: self.connected.borrow().0.len(),
        };
        metrics::text(&numbers, &self.listening.borrow())
    }

    /// What an application has done, and why its clients cannot connect, if they cannot.
    pub fn app_counters(&self, app: AppId) -> Option<AppCounters> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = running.as_ref()?.l4.counters();
        let listening = self.listening.borrow();
        let problem = listening.unheard.iter().find(|unheard| unheard.app == app);
        let totals = totals.apps.get(&app).copied().unwrap_or_default();
        Some(AppCounters {
            connects: totals.connects,
            filtered: totals.filtered + l4::Limit::ALL.iter().map(|limit| totals.limited(*limit)).sum::<u64>(),
            origin_errors: l4::OriginFailure::ALL.iter().map(|kind| totals.origin_failures(*kind)).sum(),
            bytes_ingress: totals.bytes_in,
            bytes_egress: totals.bytes_out,
            open: totals.open,
            duration: totals.duration,
            problem: problem.map(|unheard| format!("{} {}: {}", unheard.protocol, unheard.address, unheard.reason)),
        })
    }

    /// What the firewall in force says to a source, and why.
    pub fn ask_firewall(&self, question: FirewallQuestion) -> FirewallAnswer {
        let firewall = self.l4_live.snapshot().value.firewall.clone();
        let (country, asn) = self.pop.geo.lookup(question.address);
        let source = Source { address: question.address, country, asn };
        let verdict = match question.zone {
            Some(zone) => firewall.decide(zone, &source),
            None => firewall.decide_everywhere(&source),
        };
        // Rules of no zone match in a zone that nobody has.
        let zone = question.zone.unwrap_or(bartizan_names::ZoneId::from_bytes([0; 16]));
        FirewallAnswer {
            verdict: match verdict {
                Verdict::Allow(_) => bartizan_api::Verdict::Allow,
                Verdict::Challenge(_) => bartizan_api::Verdict::Challenge,
                Verdict::Block(_) => bartizan_api::Verdict::Block,
            },
            rules: firewall.explain(zone, &source).into_iter().map(|rule| rule.id).collect(),
            country,
            asn,
        }
    }

    /// Takes nothing new in, lets requests finish, and ends every thread. DNS answers to the last.
    pub async fn drain(&self, grace: Duration, end: End) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { tunnel, http, l4, dns }) = running else { return };
        let any_port = self.any_port.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (any_port, end) {
            // New clients are refused from here on; those that are in go on to the end of the grace.
            (Some(any_port), End::Stop) => {
                if let Err(error) = any_port.detach() {
                    tracing::warn!(error = format!("{error:#}"), "something of the way to applications is left behind");
                }
            }
            // As after a crash: new clients wait for the next process.
            (Some(_), End::HandOver) | (None, _) => {}
        }
        let l4 = tokio::task::spawn_blocking(move || l4.drain(grace));
        tokio::task::spawn_blocking(move || http.drain(grace)).await.ok();
        l4.await.ok();
        tunnel.drain(grace).await;
        tokio::task::spawn_blocking(move || dns.stop()).await.ok();
    }
}

pub fn by_family(address: &[IpAddr]) -> Addresses {
    let mut addresses = Addresses::default();
    for address in address {
        match address {
            IpAddr::V4(v4) => addresses.v4.push(*v4),
            IpAddr::V6(v6) => addresses.v6.push(*v6),
        }
    }
    addresses
}

/// Whether a part of a bundle is another than in the last one.
fn is_newer<T>(part: &Generation<T>, last: &Generation<T>) -> bool {
    part.number != last.number
}

fn tunnel_config(bundle: &Bundle) -> tunnel::Config {
    tunnel::Config {
        tunnels: bundle.tunnels.value.clone(),
        certificate: bundle.tunnel_certificate.clone(),
        location: POP.to_owned(),
    }
}

fn http_config(bundle: &Bundle, pop: &LocalPop) -> http::Config {
    http::Config {
        routes: bundle.routes.value.clone(),
        certificates: bundle.certificates.value.clone(),
        firewall: bundle.firewall.value.clone(),
        geo: pop.geo.clone(),
        server: http::ServerFacts { pop: POP.to_owned(), origin_roots: None },
    }
}

fn l4_config(bundle: &Bundle, pop: &LocalPop) -> l4::Config {
    l4::Config {
        apps: bundle.apps.value.clone(),
        pools: pop.pools.clone(),
        firewall: bundle.firewall.value.clone(),
        geo: pop.geo.clone(),
        certificates: bundle.certificates.value.clone(),
        trusted: pop.trusted.clone(),
        limits: l4::Limits::default(),
        origin_roots: None,
    }
}

fn dns_config(bundle: &Bundle, addresses: &Addresses) -> dns::Config {
    dns::Config {
        zones: bundle.zones.value.clone(),
        addresses: addresses.clone(),
        identity: dns::Identity {
            id_server: POP.to_owned(),
            version: concat!("bartizan ", env!("CARGO_PKG_VERSION")).to_owned(),
        },
    }
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

/// Carries out the API's commands.
async fn carry_out(mut received: mpsc::Receiver<bartizan_api::Command>, tunnels: tunnel::Commands) {
    while let Some(command) = received.recv().await {
        match command {
            bartizan_api::Command::DropConnections { tunnel, connector } => {
                let dropped = tunnels.drop_connections(tunnel, connector);
                tracing::info!(%tunnel, dropped, "connections dropped by the API");
            }
        }
    }
}

/// Publishes who is connected, in the shapes of the API.
async fn show(mut connected: watch::Receiver<Arc<tunnel::Presence>>, shown: watch::Sender<Arc<shown::Presence>>) {
    loop {
        let presence = connected.borrow_and_update().0.iter().map(shown_connection).collect();
        shown.send_replace(Arc::new(shown::Presence(presence)));
        if connected.changed().await.is_err() {
            return;
        }
    }
}

fn shown_connection(connection: &tunnel::Connection) -> shown::Connection {
    shown::Connection {
        tunnel: connection.tunnel,
        connector: connection.connector,
        connection: connection.connection,
        index: connection.index,
        version: connection.version.clone(),
        arch: connection.arch.clone(),
        features: connection.features.clone(),
        origin_ip: connection.origin_ip,
        opened_at: connection.opened_at.into(),
        location: connection.location.clone(),
    }
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
        loop {
            let wait = match catch_up(&mut publisher, &planes) {
                Ok(()) => Duration::MAX,
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "a change could not be put in force; the last state stays"
                    );
                    RETRY_AFTER
                }
            };
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
