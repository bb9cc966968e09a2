//! One listener for each configured address and port: which are wanted, which are open, and which cannot be.
//!
//! ```text
//! Live<Config> ──► plan: what to close, what to open ──► sockets ──► workers
//!                                                    └──► Listening (for whoever looks)
//! ```
//! A listener that is still wanted is left as it is. One that cannot be opened is tried again until it can be opened or
//! is not wanted any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use bartizan_live::Live;
use bartizan_names::{AppId, Protocol};
use bartizan_net::BindError;
use bartizan_observed::{Listening, NotListening, Reason, TierName};
use bartizan_routes::{App, Apps, Pools};
use tokio::sync::mpsc;

use crate::Config;
use crate::limits::REOPEN_EVERY;

/// An address and port, and a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Endpoint {
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
}

/// What a worker is given or must close.
pub(crate) enum Delivery {
    Tcp(SocketAddr, TcpListener),
    Udp(SocketAddr, UdpSocket),
    Close(Endpoint),
}

/// The open listeners, and who accepts on them.
pub(crate) struct Listeners {
    live: Live<Config>,
    /// Unbounded, but a queue never holds more than the endpoints opened and closed since its worker last looked.
    workers: Vec<mpsc::UnboundedSender<Delivery>>,
    max: usize,
    open: BTreeSet<Endpoint>,
    listening: Live<Listening>,
}

impl Listeners {
    pub(crate) fn new(
        live: Live<Config>,
        workers: Vec<mpsc::UnboundedSender<Delivery>>,
        max: usize,
        listening: Live<Listening>,
    ) -> Listeners {
        Listeners { live, workers, max, open: BTreeSet::new(), listening }
    }

    /// Follows the configuration until the task is dropped.
    pub(crate) async fn follow(mut self) {
        let mut changes = self.live.changes();
        loop {
            self.adjust();
            let failed = self.listening.snapshot().value.not_listening_total > 0;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(REOPEN_EVERY), if failed => {}
            }
        }
    }

    /// Closes and opens listeners until they are those of the configuration in force.
    pub(crate) fn adjust(&mut self) {
        let config = self.live.snapshot();
        let Config { apps, pools, .. } = &config.value;
        let Plan { close, open, too_many } = plan(apps, pools, &self.open, self.max);
        for endpoint in close {
            self.open.remove(&endpoint);
            for worker in &self.workers {
                // A worker that has ended has closed all its listeners.
                let _ = worker.send(Delivery::Close(endpoint));
            }
        }
        let (before, since) = (self.listening.snapshot(), config.value.clock.now());
        let mut next = Listening::new(TierName::Listeners);
        for (app, address) in too_many {
            let reason = Reason::TooMany { max: self.max };
            let total = app.ports.len() * app.addresses_at(pools).len();
            next.note(total, NotListening { app: app.id, protocol: app.protocol, address, reason, since });
        }
        for (endpoint, app) in open {
            if let Err(error) = self.open(endpoint) {
                let Endpoint { protocol, address } = endpoint;
                let not_listening = NotListening { app, protocol, address, reason: reason(&error), since };
                // It is tried again and again. It is logged once.
                if !before.value.tells(&not_listening) {
                    let NotListening { reason, .. } = &not_listening;
                    tracing::warn!(%app, %protocol, %address, %reason, "no listener");
                }
                next.note(1, not_listening);
            }
        }
        next.open = self.open.len();
        self.listening.replace(next.after(&before.value));
    }

    /// A socket for each worker.
    fn open(&mut self, endpoint: Endpoint) -> Result<(), BindError> {
        let Endpoint { protocol, address } = endpoint;
        let deliveries: Vec<Delivery> = match protocol {
            Protocol::Tcp => bartizan_net::tcp_pooled(address, self.workers.len())?
                .into_iter()
                .map(|listener| Delivery::Tcp(address, listener))
                .collect(),
            Protocol::Udp => bartizan_net::udp_pooled(address, self.workers.len())?
                .into_iter()
                .map(|socket| Delivery::Udp(address, socket))
                .collect(),
        };
        for (worker, delivery) in self.workers.iter().zip(deliveries) {
            let _ = worker.send(delivery);
        }
        self.open.insert(endpoint);
        Ok(())
    }
}

fn reason(error: &BindError) -> Reason {
    match error.source.kind() {
        io::ErrorKind::AddrInUse => Reason::Taken,
        io::ErrorKind::PermissionDenied => Reason::Forbidden,
        _ => Reason::Other(error.source.to_string()),
    }
}

/// What has to be done.
struct Plan<'a> {
    close: Vec<Endpoint>,
    open: Vec<(Endpoint, AppId)>,
    /// Applications that would need too many, with the first address and port of each.
    too_many: Vec<(&'a App, SocketAddr)>,
}

/// A listener that is open stays open as long as its application is there. New applications share the room that is
/// left; each gets all its listeners or none.
fn plan<'a>(apps: &'a Apps, pools: &Pools, open: &BTreeSet<Endpoint>, max: usize) -> Plan<'a> {
    let ordered: BTreeMap<AppId, &Arc<App>> = apps.all().map(|app| (app.id, app)).collect();
    let mut wanted: BTreeSet<Endpoint> = BTreeSet::new();
    let mut plan = Plan { close: Vec::new(), open: Vec::new(), too_many: Vec::new() };
    let mut newcomers = Vec::new();
    for app in ordered.into_values() {
        let addresses = app.addresses_at(pools);
        // Not counted one by one: this may be every port of many addresses.
        if app.ports.len() * addresses.len() > max {
            newcomers.push((app, addresses));
            continue;
        }
        let all_open = endpoints(app, &addresses).all(|endpoint| open.contains(&endpoint));
        if all_open {
            wanted.extend(endpoints(app, &addresses));
        } else {
            newcomers.push((app, addresses));
        }
    }
    for (app, addresses) in newcomers {
        if app.ports.len() * addresses.len() <= max {
            let missing = endpoints(app, &addresses).filter(|endpoint| !wanted.contains(endpoint)).count();
            if wanted.len() + missing <= max {
                for endpoint in endpoints(app, &addresses) {
                    if wanted.insert(endpoint) && !open.contains(&endpoint) {
                        plan.open.push((endpoint, app.id));
                    }
                }
                continue;
            }
        }
        if let Some(first) = endpoints(app, &addresses).next() {
            plan.too_many.push((app, first.address));
        }
    }
    plan.close = open.difference(&wanted).copied().collect();
    debug_assert!(wanted.len() <= max, "{} of {max} listeners", wanted.len());
    debug_assert_eq!(open.len() - plan.close.len() + plan.open.len(), wanted.len(), "what stays and what is new");
    plan
}

fn endpoints(app: &App, addresses: &[std::net::IpAddr]) -> impl Iterator<Item = Endpoint> {
    let (protocol, ports) = (app.protocol, app.ports.clone());
    addresses.iter().flat_map(move |address| {
        ports.clone().map(move |port| Endpoint { protocol, address: SocketAddr::new(*address, port) })
    })
}

#[cfg(test)]
mod tests {
    use bartizan_names::{AppOrigin, AppTls, Families, Name, ProxyProtocol, ZoneId};
    use bartizan_routes::AppAddresses;

    use super::*;

    fn app(number: u8, slot: u32, ports: std::ops::RangeInclusive<u16>) -> App {
        App {
            id: AppId::from_bytes([number; 16]),
            zone: ZoneId::from_bytes([0; 16]),
            name: Name::parse("app.test").unwrap(),
            protocol: Protocol::Tcp,
            ports,
            addresses: AppAddresses::Slot { number: slot, families: Families::All },
            origin: AppOrigin::Direct(Vec::new()),
            tls: AppTls::Off,
            proxy_protocol: ProxyProtocol::Off,
            ip_firewall: true,
        }
    }

    /// Puts each list of applications in force after the other and prints what changes: `+` opened, `-` closed, `!`
    /// refused, each with port and last octet.
    fn history(max: usize, generations: &[&[&App]]) -> Vec<String> {
        let pools = Pools::new(["192.0.2.0/24".parse().unwrap()]);
        let mut open = BTreeSet::new();
        let print = |address: &SocketAddr| {
            format!("{}@{}", address.port(), address.ip().to_string().rsplit('.').next().unwrap())
        };
        let mut lines = Vec::new();
        for generation in generations {
            let mut edit = Apps::empty().edit();
            generation.iter().for_each(|app| edit.put(App::clone(app)));
            let apps = edit.finish();
            let plan = plan(&apps, &pools, &open, max);
            let mut line = Vec::new();
            for endpoint in plan.close {
                line.push(format!("-{}", print(&endpoint.address)));
                open.remove(&endpoint);
            }
            for (endpoint, _) in plan.open {
                line.push(format!("+{}", print(&endpoint.address)));
                assert!(open.insert(endpoint));
            }
            line.extend(plan.too_many.iter().map(|(_, first)| format!("!{}", print(first))));
            assert!(open.len() <= max);
            lines.push(line.join(" "));
        }
        lines
    }

    #[test]
    fn listeners_follow_applications() {
        let (one, two) = (app(1, 1, 22..=22), app(2, 2, 22..=23));
        // The same endpoint as the first.
        let shared = app(3, 1, 22..=22);
        let wide = app(4, 4, 1..=65535);
        let moved = app(1, 1, 2222..=2222);
        let none: &[&App] = &[];
        for (max, generations, expect) in [
            (9, &[&[&one, &two][..], &[&two], none][..], &["+22@1 +22@2 +23@2", "-22@1", "-22@2 -23@2"][..]),
            (9, &[&[&one], &[&one, &shared], &[&shared], none], &["+22@1", "", "", "-22@1"]),
            (9, &[&[&one], &[&moved]], &["+22@1", "-22@1 +2222@1"]),
            // What is open stays open, whatever the order of ids. An application that does not fit gets no listener.
            (2, &[&[&two], &[&one, &two]], &["+22@2 +23@2", "!22@1"]),
            (2, &[&[&one, &two], &[&two]], &["+22@1 !22@2", "-22@1 +22@2 +23@2"]),
            (9, &[&[&wide, &one]], &["+22@1 !1@4"]),
            (0, &[&[&one]], &["!22@1"]),
        ] {
            assert_eq!(history(max, generations), expect, "{generations:?}");
        }
    }
}
