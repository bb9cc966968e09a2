//! How clients reach applications: the best way that this machine allows, chosen once at the start.
//!
//! | way | ports | needs |
//! | --- | --- | --- |
//! | `sk_lookup` | every port of every pool on one socket a protocol, family and worker | CAP_BPF, CAP_NET_ADMIN, Linux 5.9, an fd store |
//! | `tproxy` | the same | CAP_NET_ADMIN, the program nft, an fd store |
//! | `listeners` | a listener for each configured port, of which there may be 4,096 | nothing; CAP_NET_BIND_SERVICE below 1024 |
//!
//! The first two tell the kernel at the start which prefixes are ours. Pools that the PoP gets later are served where
//! their packets come here anyway, and shown as waiting for the next start.
//!
//! Without an fd store ([`crate::fd_store`]) nothing could be taken back later, but by a process that keeps the right to do
//! so while it talks to strangers. So neither of the two is taken then.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bartizan_live::Live;
use bartizan_names::Prefix;
use bartizan_net::{BindError, Sharing};
use bartizan_observed::{Listening, NotListening, Reason, TierName};
use bartizan_plane_bpf::{
    AnyIp, BPFFS, Claim, Pinning, Setup, Steering, Tproxy, Workers, pin_name, support, updates_need_capability,
};
use bartizan_plane_l4 as l4;
use bartizan_routes::{App, Apps, Pools};
use rustix::thread::CapabilitySet;
use serde::Deserialize;

use crate::clock;
use crate::failure::{Cause, Failure};
use crate::fd_store::{self, FdStore, Found, Kept};
use crate::holder::{self, Transport};
use crate::rights;
use crate::runtime_dir::RuntimeDir;
use crate::traces::{self, Traces};

/// The way that the operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum PortsMode {
    /// The first of the others that works.
    #[default]
    Auto,
    SkLookup,
    Tproxy,
    Listeners,
}

/// The way that was chosen.
pub struct Chosen {
    /// For the plane.
    pub tier: l4::Tier,
    pub name: TierName,
    /// Why it is not a better one.
    pub why: Option<String>,
    /// What makes the kernel send every port here, if something does.
    pub any_port: Option<AnyPort>,
}

impl Chosen {
    /// What the process must be able to do from now on. Sockets, programs, routes and rules are there; the fd store
    /// takes them back.
    pub fn needs(&self) -> CapabilitySet {
        match &self.any_port {
            Some(AnyPort { how: How::Steering(_), .. }) if updates_need_capability() => {
                rights::NEEDED | CapabilitySet::BPF
            }
            _ => rights::NEEDED,
        }
    }
}

/// What is known of this machine, and does not change while the edge runs.
pub struct Machine<'p> {
    /// The data directory: by it a later process of this edge finds what an earlier one left.
    pub data: &'p Path,
    pub pools: &'p Pools,
    pub workers: usize,
    /// Sockets of this edge itself.
    pub own: &'p [SocketAddr],
}

/// Chooses, and makes it work for the applications that there are.
pub fn choose(mode: PortsMode, machine: &Machine<'_>, apps: &Apps) -> anyhow::Result<Chosen> {
    let nothing_to_steer = machine.pools.prefixes().next().is_none();
    if nothing_to_steer || mode == PortsMode::Listeners {
        return Ok(listeners(machine.workers, None));
    }
    let asked = |error: anyhow::Error| {
        Failure::new(Cause::Failed, format!("{error:#}")).remedy("or let `up` choose: without --ports").into()
    };
    match mode {
        PortsMode::SkLookup => AnyPort::by_steering(machine, apps).map_err(asked),
        PortsMode::Tproxy => AnyPort::by_tproxy(machine, apps).map_err(asked),
        PortsMode::Auto | PortsMode::Listeners => {
            let first = match AnyPort::by_steering(machine, apps) {
                Ok(chosen) => return Ok(chosen),
                Err(error) => format!("{error:#}"),
            };
            Ok(match AnyPort::by_tproxy(machine, apps) {
                Ok(chosen) => Chosen { why: Some(first), ..chosen },
                Err(error) => {
                    tracing::debug!(error = format!("{error:#}"), "no transparent proxying");
                    listeners(machine.workers, Some(first))
                }
            })
        }
    }
}

fn listeners(workers: usize, why: Option<String>) -> Chosen {
    let tier = l4::Tier::Listeners { workers, max: l4::LISTENERS_MAX };
    Chosen { tier, name: TierName::Listeners, why, any_port: None }
}

/// The kernel sends every port of the pools to our sockets. Dropping it leaves that as a crash does.
pub struct AnyPort {
    how: How,
    /// Keeps the sockets open after a crash, where the kernel goes on steering to them; and takes all this back.
    fd_store: FdStore,
    /// Those of the start, whose packets the kernel sends here.
    routed: Pools,
    /// What is in force.
    pools: Pools,
    neighbours: Neighbours,
    apps: Apps,
    /// What clients can reach, now and from now on.
    listening: Live<Listening>,
}

/// What else on this machine uses addresses of the pools.
struct Neighbours {
    /// Pools in which this machine has an address of its own.
    shared: Vec<Prefix>,
    /// Sockets that keep their ports.
    services: Vec<SocketAddr>,
}

enum How {
    Steering(Box<Steering>),
    Tproxy,
}

impl AnyPort {
    fn by_steering(machine: &Machine<'_>, apps: &Apps) -> anyhow::Result<Chosen> {
        // What is missing is said before anything is changed.
        support().0?;
        let neighbours = neighbours(machine)?;
        let is_ours = |pool: &&Prefix| !neighbours.shared.contains(pool);
        let ours: Vec<Prefix> = machine.pools.prefixes().filter(is_ours).copied().collect();
        let traces = Traces { way: traces::Way::SkLookup, pin: pin_name(machine.data), pool: ours };
        let held = Held::new(machine, &traces, |address| {
            let each = 0..machine.workers;
            let tcp = each.clone().map(|_| bartizan_net::tcp(address, Sharing::Exclusive)).collect::<Result<_, _>>()?;
            Ok((tcp, each.map(|_| bartizan_net::udp(address, Sharing::Exclusive)).collect::<Result<_, _>>()?))
        })?;
        let pin = Path::new(BPFFS).join(&traces.pin);
        let (fd_store, sockets, steering) = held.attach(&traces.pool, |workers| {
            let setup = Setup { pin: &pin, workers, pools: &traces.pool, skip: &neighbours.services };
            Ok(Steering::attach(&setup, &claims(apps, machine.pools))?)
        })?;
        if let Pinning::Not(failure) = steering.pinning() {
            // `doctor` says what mends it.
            tracing::debug!(%failure, "after a crash clients are refused until the next start");
        }
        let how = How::Steering(Box::new(steering));
        let any_port = AnyPort::new((how, fd_store), machine, neighbours, apps, TierName::SkLookup);
        Ok(any_port.chosen(l4::AnyPort::SkLookup, sockets, machine.workers))
    }

    fn by_tproxy(machine: &Machine<'_>, apps: &Apps) -> anyhow::Result<Chosen> {
        let neighbours = neighbours(machine)?;
        if let Some(pool) = neighbours.shared.first() {
            anyhow::bail!("{pool} has an address of this machine, whose services transparent proxying would cut off");
        }
        let prefixes: Vec<Prefix> = machine.pools.prefixes().copied().collect();
        let workers = machine.workers;
        let traces = Traces { way: traces::Way::Tproxy, pin: pin_name(machine.data), pool: prefixes };
        let held = Held::new(machine, &traces, |address| {
            let tcp = bartizan_net::tcp_transparent(address, workers)?;
            Ok((tcp, bartizan_net::udp_transparent(address, workers)?))
        })?;
        let attach = |workers: Workers<'_>| Ok(Tproxy::attach(machine.data, &traces.pool, workers)?);
        let (fd_store, sockets, _) = held.attach(&traces.pool, attach)?;
        let any_port = AnyPort::new((How::Tproxy, fd_store), machine, neighbours, apps, TierName::Tproxy);
        Ok(any_port.chosen(l4::AnyPort::Tproxy, sockets, workers))
    }

    fn new(
        (how, fd_store): (How, FdStore),
        machine: &Machine<'_>,
        neighbours: Neighbours,
        apps: &Apps,
        tier: TierName,
    ) -> AnyPort {
        let listening = Live::new(Listening::new(tier));
        let (routed, pools) = (machine.pools.clone(), machine.pools.clone());
        AnyPort { how, fd_store, routed, pools, neighbours, apps: apps.clone(), listening }
    }

    fn chosen(self, how: l4::AnyPort, sockets: Sockets, workers: usize) -> Chosen {
        let sockets = sockets.deal(workers);
        self.listening.replace(self.heard(&self.apps, &self.pools));
        let tier = l4::Tier::AnyPort { how, sockets, listening: self.listening.clone() };
        Chosen { tier, name: how.name(), why: None, any_port: Some(self) }
    }

    /// Puts other applications in force, or other addresses of them.
    pub fn update(&mut self, apps: &Apps, pools: &Pools) {
        if self.apps.is_same(apps) && self.pools == *pools {
            return;
        }
        let claimed = match &mut self.how {
            How::Steering(steering) => steering.update(&claims(apps, pools)),
            // All packets for the pools come here already.
            How::Tproxy => Ok(()),
        };
        let mut heard = self.heard(apps, pools);
        match claimed {
            Ok(()) => (self.apps, self.pools) = (apps.clone(), pools.clone()),
            Err(error) => {
                tracing::error!(%error, "new applications do not get their ports");
                let is_new = |app: &Arc<App>| {
                    let before = self.apps.get(app.id);
                    before != Some(app) || app.addresses_at(&self.pools) != app.addresses_at(pools)
                };
                let new = apps.all().filter(|app| is_new(app));
                let reason = Reason::Other(error.to_string());
                new.filter_map(|app| Some(not_listening(app, first(app, pools)?, &reason)))
                    .for_each(|one| heard.note(1, one));
            }
        }
        self.listening.replace(heard.after(&self.listening.snapshot().value));
    }

    /// Ports that services of this machine keep from applications, and addresses that it does not know for its own yet.
    fn heard(&self, apps: &Apps, pools: &Pools) -> Listening {
        let now = self.listening.snapshot();
        let mut listening = Listening { open: now.value.open, ..Listening::new(now.value.tier) };
        if self.routed != *pools {
            for app in apps.all() {
                let numbered = app.addresses_at(pools).into_iter().filter(|address| pools.contains(*address));
                let late = numbered.filter(|address| !self.routed.contains(*address));
                let at = late.map(|address| SocketAddr::new(address, *app.ports.start()));
                at.map(|at| not_listening(app, at, &Reason::NotRouted)).for_each(|one| listening.note(1, one));
            }
        }
        let Neighbours { shared, services } = &self.neighbours;
        if shared.is_empty() {
            return listening;
        }
        let kept = |app: &App, address: IpAddr| {
            let keeps = |service: &&SocketAddr| service.ip() == address || service.ip().is_unspecified();
            let mut services = services.iter().filter(keeps);
            services.find(|service| app.ports.contains(&service.port())).map(|service| service.port())
        };
        for app in apps.all() {
            let addresses = app.addresses_at(pools);
            let in_shared = addresses.into_iter().filter(|address| shared.iter().any(|pool| pool.contains(*address)));
            let taken = in_shared.filter_map(|address| Some(SocketAddr::new(address, kept(app, address)?)));
            taken.map(|at| not_listening(app, at, &Reason::Taken)).for_each(|one| listening.note(1, one));
        }
        listening
    }

    /// For a clean stop. New clients are refused from here on; connections that are open go on until the routes are gone,
    /// which is the fd store's next and last deed.
    pub fn detach(self) -> FdStore {
        // Else its descriptors keep the kernel steering.
        drop(self.how);
        if let Err(error) = self.fd_store.stop_steering() {
            tracing::warn!(%error, "new clients may still be sent here, and wait");
        }
        self.fd_store
    }
}

/// The sockets, for all workers.
type Sockets = Kept;

impl Sockets {
    /// Sockets of each protocol and family. A machine without IPv6 gets those of IPv4 only.
    fn open(
        open: impl Fn(SocketAddr) -> Result<(Vec<TcpListener>, Vec<UdpSocket>), BindError>,
    ) -> anyhow::Result<Sockets> {
        let mut sockets = Sockets::default();
        for address in loopback() {
            match open(address) {
                Ok((tcp, udp)) => {
                    sockets.tcp.extend(tcp);
                    sockets.udp.extend(udp);
                }
                Err(error) if address.is_ipv6() && error.source.kind() == ErrorKind::AddrNotAvailable => {}
                Err(error) => return Err(error).context("a socket for every port"),
            }
        }
        Ok(sockets)
    }

    fn workers(&self) -> Workers<'_> {
        Workers { tcp: &self.tcp, udp: &self.udp }
    }

    /// Gives each worker its own sockets: there is one for each worker in each family.
    fn deal(self, workers: usize) -> Vec<l4::AnyPortSockets> {
        let mut sets: Vec<l4::AnyPortSockets> = (0..workers).map(|_| l4::AnyPortSockets::default()).collect();
        self.tcp.into_iter().enumerate().for_each(|(index, socket)| sets[index % workers].tcp.push(socket));
        self.udp.into_iter().enumerate().for_each(|(index, socket)| sets[index % workers].udp.push(socket));
        sets
    }
}

/// The sockets in a new fd store, with nothing that leads to them yet.
struct Held {
    sockets: Sockets,
    fd_store: FdStore,
    /// Of an earlier process of this edge.
    of_before: Option<Found>,
}

impl Held {
    /// The sockets that an earlier process of this edge has left, if there are as many as are needed now; otherwise new
    /// ones.
    fn new(
        machine: &Machine<'_>,
        traces: &Traces,
        open: impl Fn(SocketAddr) -> Result<(Vec<TcpListener>, Vec<UdpSocket>), BindError>,
    ) -> anyhow::Result<Held> {
        let opened = Sockets::open(open)?;
        let runtime = RuntimeDir::of(machine.data).inspect_err(|error| {
            tracing::warn!(%error, "after a crash clients are refused until the next start");
        });
        let name = format!("{}-{}", traces.pin, traces.way.as_str());
        let named = runtime.as_ref().ok().map(|runtime| (runtime, name.as_str()));
        let (of_before, kept) =
            named.and_then(|(runtime, name)| Found::find(runtime, name, fd_store::own_user())).unzip();
        let fits = |kept: &Kept| kept.tcp.len() == opened.tcp.len() && kept.udp.len() == opened.udp.len();
        let sockets = match kept {
            Some(kept) if fits(&kept) => kept,
            _ => opened,
        };
        let fd_store = FdStore::start(named, Some(traces), &sockets).context("no fd store")?;
        Ok(Held { sockets, fd_store, of_before })
    }

    /// Makes the kernel send what is for the pools to the sockets. An attempt that failed leaves nothing behind.
    fn attach<T>(
        self,
        pools: &[Prefix],
        attach: impl FnOnce(Workers<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<(FdStore, Sockets, T)> {
        let Held { sockets, fd_store, of_before } = self;
        let routed = AnyIp::add(pools).map_err(anyhow::Error::from);
        let attached = routed.and_then(|routes| attach(sockets.workers()).map_err(|error| taken_back(routes, error)));
        match attached {
            Ok(attached) => {
                of_before.into_iter().for_each(Found::quit);
                Ok((fd_store, sockets, attached))
            }
            Err(error) => {
                if let Err(error) = fd_store.quit() {
                    tracing::debug!(%error, "the fd store is gone already");
                }
                Err(error)
            }
        }
    }
}

/// Where the sockets are bound themselves: to loopback and a free port, where no client looks.
fn loopback() -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()]
}

fn claims(apps: &Apps, pools: &Pools) -> Vec<Claim> {
    let claims_of = |app: &Arc<App>| {
        let (protocol, ports) = (app.protocol, app.ports.clone());
        let addresses = app.addresses_at(pools).into_iter();
        addresses.map(move |address| Claim { addresses: Prefix::host(address), protocol, ports: ports.clone() })
    };
    apps.all().flat_map(claims_of).collect()
}

/// The pools that have an address of this machine in them, and the sockets that must keep their ports: our own, and
/// everybody's on those addresses. An application that took port 22 of the machine's one address would lock its
/// operator out.
fn neighbours(machine: &Machine<'_>) -> anyhow::Result<Neighbours> {
    let own: HashSet<IpAddr> =
        if_addrs::get_if_addrs().context("this machine's addresses")?.iter().map(if_addrs::Interface::ip).collect();
    let has_own = |pool: &&Prefix| own.iter().any(|address| pool.contains(*address));
    let shared: Vec<Prefix> = machine.pools.prefixes().filter(has_own).copied().collect();
    let mut services = machine.own.to_vec();
    if !shared.is_empty() {
        services.extend([Transport::Tcp, Transport::Udp].into_iter().flat_map(holder::listening));
    }
    services.sort_unstable();
    services.dedup();
    Ok(Neighbours { shared, services })
}

fn taken_back(routes: AnyIp, error: anyhow::Error) -> anyhow::Error {
    if let Err(left) = routes.remove() {
        tracing::warn!(%left, "routes for the pools are left behind");
    }
    error
}

fn not_listening(app: &App, address: SocketAddr, reason: &Reason) -> NotListening {
    NotListening { app: app.id, protocol: app.protocol, address, reason: reason.clone(), since: clock::now() }
}

fn first(app: &App, pools: &Pools) -> Option<SocketAddr> {
    Some(SocketAddr::new(*app.addresses_at(pools).first()?, *app.ports.start()))
}
