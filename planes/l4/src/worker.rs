//! What one worker has. Everything here stays on its thread, but for the quotas and counters, which all workers share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bartizan_analytics::FlowEvent;
use bartizan_live::{Generation, Reader};
use bartizan_names::{AppId, Protocol};
use bartizan_net::{Inbox, Pipes};
use bartizan_quotas::{Memory, Quotas, SourceKey};
use bartizan_routes::App;
use bartizan_tls::Acceptor;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::Config;
use crate::counters::{Counters, Tally};
use crate::egress::Egress;
use crate::flows::Flows;
use crate::limits::{COPY_BYTES, COUNTED_MAX, DATAGRAM_BYTES_MAX, LAST_HANDSHAKES, Limits};
use crate::room::{Budget, Room};
use crate::session::Sessions;
use crate::tap::{Moved, Tap};

pub(crate) struct Worker {
    config: RefCell<Reader<Config>>,
    tallies: RefCell<HashMap<AppId, Arc<Tally>>>,
    pub(crate) counters: Counters,
    /// Where what becomes of connections and flows is counted by their zones, if somebody wants to know.
    tap: Option<Rc<Tap>>,
    pub(crate) quotas: AllQuotas,
    /// For what slow readers have not taken.
    pub(crate) memory: Memory,
    budget: Budget,
    pub(crate) acceptor: Acceptor,
    pub(crate) egress: Egress,
    pub(crate) sessions: Sessions,
    pub(crate) flows: Flows,
    pub(crate) pipes: Pipes,
    /// The buffer for copying. One connection at a time uses it.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Datagrams that just arrived. One for all sockets: it is empty before a task waits. None before its first use.
    pub(crate) inbox: RefCell<Option<Inbox>>,
    /// Counts connections, also those that have no session yet.
    pub(crate) connections: Rc<Crowd>,
    draining: Cell<bool>,
    /// Rings when that begins.
    drained: Notify,
}

/// The quotas, which all workers share.
#[derive(Clone)]
pub(crate) struct AllQuotas {
    pub(crate) connections: QuotaPair,
    pub(crate) flows: QuotaPair,
}

#[derive(Clone)]
pub(crate) struct QuotaPair {
    pub(crate) sources: Quotas<SourceKey>,
    pub(crate) apps: Quotas<AppId>,
}

impl AllQuotas {
    pub(crate) fn new(now: Instant) -> AllQuotas {
        let pair = || QuotaPair { sources: Quotas::new(COUNTED_MAX, now), apps: Quotas::new(COUNTED_MAX, now) };
        AllQuotas { connections: pair(), flows: pair() }
    }
}

impl Worker {
    pub(crate) fn new(
        config: Reader<Config>,
        (counters, tap): (Counters, Option<Tap>),
        (quotas, memory): (AllQuotas, Memory),
        budget: Budget,
        acceptor: Acceptor,
        egress: Egress,
    ) -> Worker {
        Worker {
            config: RefCell::new(config),
            tallies: RefCell::default(),
            counters,
            tap: tap.map(Rc::new),
            quotas,
            memory,
            budget,
            acceptor,
            egress,
            sessions: Sessions::default(),
            flows: Flows::default(),
            pipes: Pipes::new(budget.pipes()),
            scratch: RefCell::new(vec![0; COPY_BYTES].into()),
            inbox: RefCell::default(),
            connections: Rc::default(),
            draining: Cell::default(),
            drained: Notify::new(),
        }
    }

    /// From now on the process may end when the last connection does.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.drained.notify_waiters();
    }

    /// Whether a client says anything before the plane stops. One that has not loses nothing by it.
    pub(crate) async fn begins(&self, stream: &TcpStream) -> bool {
        tokio::select! {
            biased;
            ready = stream.readable() => ready.is_ok(),
            () = self.drained() => false,
        }
    }

    /// What a client has begun; none if it is not done soon after the plane has stopped.
    pub(crate) async fn soon<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let stopped = async {
            self.drained().await;
            tokio::time::sleep(LAST_HANDSHAKES).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = stopped => None,
        }
    }

    async fn drained(&self) {
        let bell = self.drained.notified();
        if !self.draining.get() {
            bell.await;
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// The configuration in force, for one decision.
    pub(crate) fn with_config<T>(&self, decide: impl FnOnce(&Config) -> T) -> T {
        decide(&self.config.borrow_mut().take().value)
    }

    /// Whether an application or a listener of this process has an address and port. Then nobody sends from there but we
    /// and those who forge: an answer would be taken for a client's word, and answered in turn, for ever.
    pub(crate) fn is_ours(&self, protocol: Protocol, address: SocketAddr) -> bool {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.with_config(|config| config.apps.at(&config.pools, protocol, address).next().is_some())
            || self.egress.is_listener(protocol, address)
    }

    /// The number of the configuration in force.
    pub(crate) fn generation(&self) -> u64 {
        self.config.borrow_mut().take().number
    }

    /// The configuration in force, for longer.
    pub(crate) fn hold_config(&self) -> Arc<Generation<Config>> {
        self.config.borrow_mut().hold()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.with_config(|config| config.limits)
    }

    /// How many connections or flows there is room for.
    pub(crate) fn room(&self, config: &Config, protocol: Protocol) -> Room {
        match protocol {
            Protocol::Tcp => self.budget.connections(&config.limits),
            Protocol::Udp => self.budget.flows(&config.limits),
        }
    }

    /// How many more connections or flows there is room for.
    pub(crate) fn free(&self, config: &Config, protocol: Protocol) -> usize {
        let room = self.room(config, protocol);
        match protocol {
            // Where there is none, a newcomer takes the place of one whose client has said nothing.
            Protocol::Tcp => room.free(self.connections.inside()).max(1),
            // Flows of one datagram make room for others, so that there is always some: see `Flows::displace_any`.
            Protocol::Udp => room.free(self.flows.len()).max(room.free(0) / 8).max(1),
        }
    }

    /// Whether the next connection needs the place of another.
    pub(crate) fn is_full(&self) -> bool {
        self.with_config(|config| self.connections.inside() >= self.room(config, Protocol::Tcp).worker)
    }

    /// Makes the inbox if there is none yet.
    pub(crate) fn prepare_inbox(&self, socket: &UdpSocket) -> io::Result<()> {
        let mut inbox = self.inbox.borrow_mut();
        if inbox.is_none() {
            *inbox = Some(Inbox::new(socket, DATAGRAM_BYTES_MAX)?);
        }
        Ok(())
    }

    /// The numbers of an application.
    pub(crate) fn tally(&self, app: AppId) -> Arc<Tally> {
        Arc::clone(self.tallies.borrow_mut().entry(app).or_insert_with(|| self.counters.of(app)))
    }

    /// The same, and where else what becomes of its connections and flows is counted.
    pub(crate) fn counting(&self, app: AppId) -> (Arc<Tally>, Option<Rc<Tap>>) {
        (self.tally(app), self.tap.clone())
    }

    /// An access rule has refused a client of an application.
    pub(crate) fn filtered(&self, app: &App, client: IpAddr) {
        self.tally(app.id).filtered();
        self.tap.iter().for_each(|tap| tap.record(app, client, FlowEvent::ClientFiltered, Moved::default()));
    }

    /// Drops what is kept for applications that were deleted.
    pub(crate) fn forget_removed(&self, config: &Config) {
        let exists = |app| config.apps.get(app).is_some();
        self.tallies.borrow_mut().retain(|app, _| exists(*app));
        self.counters.retain(exists);
        self.flows.forget(exists);
        self.sessions.forget(exists);
    }
}

/// Counts how many there are, and lets one wait until there are none.
#[derive(Default)]
pub(crate) struct Crowd {
    inside: Cell<usize>,
    left: Notify,
}

/// Counts as one while it lives.
pub(crate) struct Guest(Rc<Crowd>);

impl Crowd {
    pub(crate) fn enter(self: &Rc<Self>) -> Guest {
        self.inside.set(self.inside.get() + 1);
        Guest(Rc::clone(self))
    }

    pub(crate) fn inside(&self) -> usize {
        self.inside.get()
    }

    pub(crate) async fn empty(&self) {
        while self.inside.get() > 0 {
            self.left.notified().await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.inside.set(self.0.inside.get() - 1);
        self.0.left.notify_one();
    }
}
