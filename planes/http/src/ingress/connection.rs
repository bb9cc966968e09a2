//! What the parts of one connection tell each other. All of them run on one thread, in one task.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

use bartizan_exchange::Io;
use bartizan_routes::Visit;
use tokio::time::Instant;

use super::head::Refusal;

pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    pub(crate) visit: Visit,
    /// Requests that reached the service.
    asked: Cell<u64>,
    /// Requests whose answer's head is known.
    answered: Cell<u64>,
    /// Requests whose answer is not all written.
    in_flight: Cell<usize>,
    quiet_since: Cell<Instant>,
    /// The number of the request that stands for a refused one, and why.
    refused: Cell<Option<(u64, Refusal)>>,
    /// The other end of a connection that stops being HTTP.
    upgrade: RefCell<Option<Box<dyn Io>>>,
    upgraded: Cell<bool>,
    /// Who waits for the next answer to be known.
    waiting: Cell<Option<Waker>>,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, visit: Visit) -> Connection {
        Connection {
            peer,
            visit,
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

    /// From now until the guard is dropped, the connection is not idle.
    pub(crate) fn busy(self: &Rc<Self>) -> Busy {
        self.in_flight.set(self.in_flight.get() + 1);
        Busy(Rc::clone(self))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// Since when nothing was under way; meaningless while something is.
    pub(crate) fn quiet_since(&self) -> Instant {
        self.quiet_since.get()
    }

    pub(crate) fn refuse(&self, request: u64, refusal: Refusal) {
        self.refused.set(Some((request, refusal)));
    }

    pub(crate) fn refusal_of(&self, request: u64) -> Option<Refusal> {
        self.refused.get().and_then(|(number, refusal)| (number == request).then_some(refusal))
    }

    /// To be called before the 101 is written: what comes after it is no HTTP.
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
}

/// See [`Connection::busy`].
pub(crate) struct Busy(Rc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.quiet_since.set(Instant::now());
    }
}
