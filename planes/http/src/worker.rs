//! What one worker owns. Everything here stays on its thread.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use bartizan_exchange::DnsAnswerer;
use bartizan_firewall::{Source, Verdict};
use bartizan_live::{Generation, Reader};
use bartizan_names::{Host, ZoneId};
use bartizan_policy::Policy;
use bartizan_quic::Inboxes;
use bartizan_quotas::{Door, Memory};
use bartizan_routes::{Route, Site, Target};
use bartizan_steering::Balancer;
use bartizan_tls::{Acceptor, Hosts, ToOrigins};
use tokio::sync::Notify;

use crate::access_log::Pen;
use crate::arrived::Arrived;
use crate::clients::Standing;
use crate::counters::Counters;
use crate::date::Dates;
use crate::egress::Egress;
use crate::ingress::{Connection, Connections, Lanes};
use crate::ray::{Ray, Rays};
use crate::spare::Spare;
use crate::tap::Tap;
use crate::trace::Traces;
use crate::{Config, Limits};

pub(crate) struct Worker {
    pub(crate) config: RefCell<Reader<Config>>,
    pub(crate) rays: Rays,
    pub(crate) egress: Egress,
    pub(crate) dns: Option<RefCell<Box<dyn DnsAnswerer>>>,
    pub(crate) counters: Arc<Counters>,
    /// Writes the access log, where one is kept.
    pub(crate) pen: Option<Pen>,
    /// Counts requests by zone and host, if somebody wants to know.
    pub(crate) tap: Option<Tap>,
    pub(crate) door: Door,
    /// For what waits in buffers.
    pub(crate) memory: Memory,
    pub(crate) connections: Connections,
    pub(crate) lanes: Rc<Lanes>,
    /// For what waits for connections over QUIC.
    pub(crate) inboxes: Inboxes,
    /// Handshakes of QUIC that are under way.
    pub(crate) quic_handshakes: Cell<usize>,
    pub(crate) acceptor: Acceptor,
    pub(crate) ports: Ports,
    pub(crate) limits: Limits,
    pub(crate) drain: Drain,
    /// Memory for the requests.
    pub(crate) spare: Rc<Spare>,
    pub(crate) dates: Dates,
    pub(crate) traces: Traces,
}

/// The ports that visitors are told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) https: u16,
    /// Where HTTP/3 is spoken, if it is.
    pub(crate) quic: Option<u16>,
}

/// What the configuration has for a request.
pub(crate) struct Known {
    pub(crate) site: Arc<Site<Policy>>,
    pub(crate) route: Arc<Route>,
    /// What the route leads to, if that is a load balancer which is there.
    pub(crate) balancer: Option<Arc<Balancer>>,
    pub(crate) verdict: Verdict,
    /// None: the host does not ask who its clients are.
    pub(crate) client: Option<Standing>,
}

impl Worker {
    /// The source of a connection, kept for as long as it lasts, and the number of the configuration by which it was
    /// looked up.
    pub(crate) fn source_of(&self, peer: SocketAddr) -> (Source, u64) {
        // An IPv4 address may arrive on a socket of both families.
        let address = peer.ip().to_canonical();
        let mut reader = self.config.borrow_mut();
        let Generation { number, value } = reader.take();
        let (country, asn) = value.geo.lookup(address);
        (Source { address, country, asn }, *number)
    }

    /// The configuration is looked at once, here; site and route are shared and so outlive a change.
    pub(crate) fn look_up(&self, arrived: &Arrived, connection: &Connection) -> (Option<Known>, Ray) {
        let mut reader = self.config.borrow_mut();
        let config = &reader.take().value;
        let known = config.routes.find(&config.zones, arrived.host.name()).map(|found| Known {
            site: Arc::clone(found.site),
            route: Arc::clone(found.route),
            balancer: match found.route.target {
                Target::Balancer(id) => config.balancers.get(id).cloned(),
                _ => None,
            },
            verdict: config.firewall.decide(found.site.zone, &arrived.source),
            client: Standing::of(arrived, connection, found.site.policy.asks_clients, &config.hosts, || {
                self.dates.span()
            }),
        });
        (known, self.rays.draw(&config.server.pop))
    }

    /// Whether no first request of a connection is waited for any more: the plane drains. Whoever has just come has been let in,
    /// and its request may be on its way.
    pub(crate) fn has_ended_for(&self, connection: &Connection) -> bool {
        self.drain.has_begun()
            && (connection.begun() > 0 || connection.quiet_since().elapsed() >= self.limits.linger_time)
    }

    /// Returns when that is so.
    pub(crate) async fn ends_for(&self, connection: &Connection) {
        self.drain.wait().await;
        if connection.begun() == 0 {
            tokio::time::sleep_until(connection.quiet_since() + self.limits.linger_time).await;
        }
    }

    /// Whether this is one of the edge's own name servers, by name or by whatever address it was reached at: who has yet to learn
    /// how to resolve names knows it by that. No zone has a host that is called so.
    pub(crate) fn is_name_server(&self, host: &str) -> bool {
        if host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok() {
            return true;
        }
        self.config.borrow_mut().take().value.server.name_servers.iter().any(|name| name == host)
    }

    /// What a public authority is answered that asks for this path of a host.
    pub(crate) fn challenge(&self, host: &str, path: &str) -> Option<String> {
        let mut config = self.config.borrow_mut();
        let config = &config.take().value;
        config.challenges.answer(host, path, || config.hosts.zone_of(host)).map(str::to_owned)
    }

    /// The configuration in force, for longer.
    pub(crate) fn hold_config(&self) -> Arc<Generation<Config>> {
        self.config.borrow_mut().hold()
    }

    /// Whether a host may be asked before the handshake is over.
    pub(crate) fn takes_early_data(&self, host: &Host) -> bool {
        let mut reader = self.config.borrow_mut();
        let config = &reader.take().value;
        let found = config.routes.find(&config.zones, host.name());
        found.is_some_and(|found| found.site.policy.settings.early_data)
    }

    pub(crate) fn draw_ray(&self) -> Ray {
        self.rays.draw(&self.config.borrow_mut().take().value.server.pop)
    }

    /// What is looked up in handshakes.
    /// What a zone has of its own for TLS with its origins.
    pub(crate) fn to_origins(&self, zone: ZoneId) -> Option<Arc<ToOrigins>> {
        self.config.borrow_mut().take().value.hosts.to_origins(zone).cloned()
    }

    pub(crate) fn hosts(&self) -> Hosts {
        self.config.borrow_mut().take().value.hosts.clone()
    }
}

/// Tells all connections of a worker to finish. Once, and for good.
#[derive(Default)]
pub(crate) struct Drain {
    begun: Cell<bool>,
    bell: Notify,
}

impl Drain {
    pub(crate) fn begin(&self) {
        self.begun.set(true);
        self.bell.notify_waiters();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Returns when draining has begun, at once if it has already.
    pub(crate) async fn wait(&self) {
        let bell = self.bell.notified();
        if !self.begun.get() {
            bell.await;
        }
    }
}
