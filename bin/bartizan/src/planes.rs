//! The planes of an edge: started with the first bundle, and given their part of every later one.

use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use bartizan_api::presence as shown;
use bartizan_authority::Addresses;
use bartizan_live::{Generation, Live};
use bartizan_plane_dns as dns;
use bartizan_plane_http as http;
use bartizan_plane_tunnel as tunnel;
use bartizan_publish::{Bundle, Publisher};
use bartizan_store::Rev;
use tokio::sync::{mpsc, watch};

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
    dns_live: Live<dns::Config>,
    addresses: Addresses,
    counters: dns::Counters,
    connected: watch::Receiver<Arc<tunnel::Presence>>,
    presence: watch::Receiver<Arc<shown::Presence>>,
    commands: mpsc::Sender<bartizan_api::Command>,
    /// Taken out by [`Planes::drain`].
    running: Mutex<Option<Running>>,
}

struct Running {
    tunnel: tunnel::Plane,
    http: http::Plane,
    dns: dns::Plane,
}

impl Planes {
    /// Starts everything on the bundle that is in force now.
    pub fn start(listeners: Listeners, bundle: &Bundle, address: &[IpAddr]) -> anyhow::Result<Planes> {
        let addresses = by_family(address);
        let tunnel_live = Live::new(tunnel_config(bundle));
        let http_live = Live::new(http_config(bundle));
        let dns_live = Live::new(dns_config(bundle, &addresses));
        let counters = dns::Counters::default();

        let tunnel = tunnel::start(listeners.tunnel, &tunnel_live).context("the tunnel listener")?;
        let sockets = http::Sockets { http: by_worker(listeners.http), https: by_worker(listeners.https) };
        let seed = u64::from_ne_bytes(bartizan_seal::random());
        let http = http::start(sockets, &http_live, tunnel.upstream(), seed).context("the HTTP edge")?;
        let sockets = dns::Sockets { udp: listeners.dns_udp, tcp: listeners.dns_tcp };
        let dns = dns::start(sockets, &dns_live, &counters).context("the DNS server")?;

        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        tokio::spawn(obey(orders, tunnel.commands()));
        let (now_shown, presence) = watch::channel(Arc::default());
        let connected = tunnel.presence();
        tokio::spawn(show(connected.clone(), now_shown));
        let running = Mutex::new(Some(Running { tunnel, http, dns }));
        Ok(Planes { tunnel_live, http_live, dns_live, addresses, counters, connected, presence, commands, running })
    }

    /// Puts a bundle in force, in an order in which a name is announced only when it can be served.
    fn publish(&self, bundle: &Bundle, last: &Bundle) {
        let number = bundle.number;
        let same_keys = bundle.certificate_generation == last.certificate_generation;
        if !(Arc::ptr_eq(&bundle.tunnels, &last.tunnels) && same_keys) {
            self.tunnel_live.publish(Generation { number, value: tunnel_config(bundle) });
        }
        self.http_live.publish(Generation { number, value: http_config(bundle) });
        self.dns_live.publish(Generation { number, value: dns_config(bundle, &self.addresses) });
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
        let (http, tunnel) =
            running.as_ref().map(|running| (running.http.counters(), running.tunnel.counters())).unwrap_or_default();
        let generation = self.dns_live.snapshot().number;
        metrics::text(generation, &self.counters.read(), &http, &tunnel, self.connected.borrow().0.len())
    }

    /// Takes nothing new in, lets requests finish, and ends every thread. DNS answers to the last.
    pub async fn drain(&self, grace: Duration) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { tunnel, http, dns }) = running else { return };
        tokio::task::spawn_blocking(move || http.drain(grace)).await.ok();
        tunnel.drain(grace).await;
        tokio::task::spawn_blocking(move || dns.stop()).await.ok();
    }
}

fn by_family(address: &[IpAddr]) -> Addresses {
    let mut addresses = Addresses::default();
    for address in address {
        match address {
            IpAddr::V4(v4) => addresses.v4.push(*v4),
            IpAddr::V6(v6) => addresses.v6.push(*v6),
        }
    }
    addresses
}

fn tunnel_config(bundle: &Bundle) -> tunnel::Config {
    let facts = bundle.tunnels.iter().map(|(id, part)| {
        let configuration = part.configuration.clone().map(|(version, json)| tunnel::Configuration { version, json });
        let facts = tunnel::TunnelFacts {
            account: part.account,
            secret_sha256: part.secret_sha256,
            remotely_managed: part.remotely_managed,
            configuration,
        };
        (*id, facts)
    });
    tunnel::Config {
        tunnels: facts.collect(),
        certificate: bundle.tunnel_certificate.clone(),
        location: POP.to_owned(),
    }
}

fn http_config(bundle: &Bundle) -> http::Config {
    http::Config {
        routes: bundle.routes.clone(),
        certificates: bundle.certificates.clone(),
        server: http::ServerFacts { pop: POP.to_owned(), origin_roots: None },
    }
}

fn dns_config(bundle: &Bundle, addresses: &Addresses) -> dns::Config {
    dns::Config {
        zones: bundle.zones.clone(),
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

/// Carries out what the API orders.
async fn obey(mut orders: mpsc::Receiver<bartizan_api::Command>, tunnels: tunnel::Commands) {
    while let Some(order) = orders.recv().await {
        match order {
            bartizan_api::Command::DropConnections { tunnel, connector } => {
                let dropped = tunnels.drop_connections(tunnel, connector);
                tracing::info!(%tunnel, dropped, "connections dropped by the API");
            }
        }
    }
}

/// Says in the API's words who is connected.
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
