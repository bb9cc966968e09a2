//! The state that the parts of one connection share. All of them run on one thread, in one task.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bartizan_exchange::Io;
use bartizan_firewall::{Firewall, Source};
use bartizan_live::Generation;
use bartizan_names::ZoneId;
use bartizan_routes::Scheme;
use tokio::time::Instant;

use super::cancel::Cancel;
use super::head::Refusal;
use super::requests::{Left, Requests};
use crate::Config;

pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    pub(crate) source: Source,
    pub(crate) scheme: Scheme,
    /// The number of the configuration in force when it was accepted.
    generation: u64,
    carries: Cell<Carries>,
    requests: RefCell<Requests>,
    /// The zone of the last request that was let in.
    zone: Cell<Option<ZoneId>>,
    cut: Cancel,
    /// Requests that reached the service.
    asked: Cell<u64>,
    /// Requests whose answer's head is known.
    answered: Cell<u64>,
    /// Requests whose answer is not written to its end.
    in_flight: Cell<usize>,
    quiet_since: Cell<Instant>,
    /// The number of the request that stands for a refused one, and why.
    refused: Cell<Option<(u64, Refusal)>>,
    /// The other end of a connection that stops being HTTP.
    upgrade: RefCell<Option<Box<dyn Io>>>,
    upgraded: Cell<bool>,
    /// The task that waits for the head of the next answer.
    waiting: Cell<Option<Waker>>,
}

/// How many requests a connection carries at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    /// One at a time, so ending a request ends the connection.
    One,
    /// Many at a time, so a request can be ended alone.
    Many,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, (source, generation): (Source, u64), scheme: Scheme) -> Connection {
        Connection {
            peer,
            source,
            scheme,
            generation,
            carries: Cell::new(Carries::One),
            requests: RefCell::default(),
            zone: Cell::new(None),
            cut: Cancel::default(),
            asked: Cell::new(0),
            answered: Cell::new(0),
            in_flight: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
            refused: Cell::new(None),
            upgrade: RefCell::new(None),
            upgraded: Cell::new(false),
            waiting: Cell::new(None),
        }
    }

    /// Numbers a request, from 1.
    pub(crate) fn ask(&self) -> u64 {
        self.asked.set(self.asked.get() + 1);
        self.asked.get()
    }

    pub(crate) fn answer(&self) {
        self.answered.set(self.answered.get() + 1);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Wakes this task when one more answer is known.
    pub(crate) fn wait_for_answer(&self, waker: &Waker) {
        self.waiting.set(Some(waker.clone()));
    }

    pub(crate) fn answered(&self) -> u64 {
        self.answered.get()
    }

    /// The protocol has streams: HTTP/2.
    pub(crate) fn carry_many(&self) {
        self.carries.set(Carries::Many);
    }

    /// From now until the guard is dropped, the connection is not idle.
    pub(crate) fn begin(self: &Rc<Self>) -> RequestGuard {
        self.in_flight.set(self.in_flight.get() + 1);
        RequestGuard { slot: self.requests.borrow_mut().begin(), connection: Rc::clone(self) }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// Since when no request is under way. Without meaning while one is.
    pub(crate) fn quiet_since(&self) -> Instant {
        self.quiet_since.get()
    }

    pub(crate) fn refuse(&self, request: u64, refusal: Refusal) {
        self.refused.set(Some((request, refusal)));
    }

    pub(crate) fn refusal_of(&self, request: u64) -> Option<Refusal> {
        self.refused.get().and_then(|(number, refusal)| (number == request).then_some(refusal))
    }

    /// To be called before the 101 is written: the bytes after it are not HTTP.
    pub(crate) fn upgrade_to(&self, other: Box<dyn Io>) {
        self.upgraded.set(true);
        self.upgrade.replace(Some(other));
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgraded.get()
    }

    pub(crate) fn take_upgrade(&self) -> Option<Box<dyn Io>> {
        self.upgrade.take()
    }

    /// Returns when the whole connection is to end.
    pub(crate) async fn cut(&self) {
        poll_fn(|cx| self.cut.poll(cx)).await;
    }

    /// Ends what this firewall does not allow: requests with zones that refuse the source, and the connection if
    /// nothing else is left that it could be used for.
    fn judge(&self, firewall: &Firewall) {
        let refused = |zone| firewall.decide(zone, &self.source).refused_by().is_some();
        let Left { some_ended, some_go_on } = self.requests.borrow().end_those(refused);
        let was_the_only_one = some_ended && self.carries.get() == Carries::One;
        // The next request will probably be for the zone of the last one, which may allow a source that others block.
        let last_is_refused = self.zone.get().is_none_or(refused);
        let is_of_no_use = || firewall.decide_everywhere(&self.source).refused_by().is_some();
        if was_the_only_one || (!some_go_on && last_is_refused && (self.is_upgraded() || is_of_no_use())) {
            self.cut.trigger();
        }
    }
}

/// Stands for one request while it or its answer is under way. Dropping it ends both.
pub(crate) struct RequestGuard {
    connection: Rc<Connection>,
    slot: usize,
}

impl RequestGuard {
    /// The request is for this zone, which has let it in.
    pub(crate) fn concern(&self, zone: ZoneId) {
        self.connection.zone.set(Some(zone));
        self.connection.requests.borrow_mut().concern(self.slot, zone);
    }

    /// Ready when the request must end, however far it is.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        self.connection.requests.borrow().poll_ended(self.slot, cx)
    }

    /// Whether it was told to end already.
    pub(crate) fn has_ended(&self) -> bool {
        self.connection.requests.borrow().has_ended(self.slot)
    }

    /// Does `work`, unless told to end first.
    pub(crate) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.poll_ended(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(cx).map(Some),
        })
        .await
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.connection.requests.borrow_mut().finish(self.slot);
        self.connection.in_flight.set(self.connection.in_flight.get() - 1);
        self.connection.quiet_since.set(Instant::now());
    }
}

/// All connections of a worker. Their number is limited where they are accepted.
#[derive(Default)]
pub(crate) struct Connections {
    open: RefCell<HashMap<u64, Rc<Connection>>>,
    next: Cell<u64>,
}

/// A connection's entry in the table, removed when this is dropped.
pub(crate) struct ConnectionEntry<'c> {
    pub(crate) connection: Rc<Connection>,
    connections: &'c Connections,
    number: u64,
}

impl Connections {
    pub(crate) fn add(&self, connection: Connection) -> ConnectionEntry<'_> {
        let number = self.next.replace(self.next.get() + 1);
        let connection = Rc::new(connection);
        self.open.borrow_mut().insert(number, Rc::clone(&connection));
        ConnectionEntry { connection, connections: self, number }
    }

    /// Ends what the firewall of this configuration does not allow. Connections accepted under it are left out:
    /// each of their requests is decided by it, and a blocked visitor has to get its page.
    pub(crate) fn judge(&self, Generation { number, value }: &Generation<Config>) {
        let open = self.open.borrow();
        let came_before = open.values().filter(|connection| connection.generation < *number);
        came_before.for_each(|connection| connection.judge(&value.firewall));
    }
}

impl Drop for ConnectionEntry<'_> {
    fn drop(&mut self) {
        self.connections.open.borrow_mut().remove(&self.number);
    }
}
