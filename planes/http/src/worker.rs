//! What one worker alone owns. Everything here stays on its thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bartizan_live::Reader;
use bartizan_routes::Route;
use bartizan_tls::{Acceptor, Certificates};
use tokio::sync::Notify;

use crate::Config;
use crate::arrived::Arrived;
use crate::counters::Counters;
use crate::egress::Egress;
use crate::ray::{Ray, Rays};

pub(crate) struct Worker {
    pub(crate) config: RefCell<Reader<Config>>,
    pub(crate) rays: Rays,
    pub(crate) egress: Egress,
    pub(crate) counters: Arc<Counters>,
    pub(crate) acceptor: Acceptor,
    /// Where visitors over plain HTTP are sent.
    pub(crate) https_port: u16,
    pub(crate) drain: Drain,
}

impl Worker {
    /// The configuration is looked at once, here; the route is shared and so outlives a change.
    pub(crate) fn look_up(&self, arrived: &Arrived) -> (Option<Arc<Route>>, Ray) {
        let mut reader = self.config.borrow_mut();
        let config = &reader.take().value;
        let route = config.routes.find(arrived.host_name()).map(|found| Arc::clone(found.route));
        (route, self.rays.draw(&config.server.pop))
    }

    pub(crate) fn draw_ray(&self) -> Ray {
        self.rays.draw(&self.config.borrow_mut().take().value.server.pop)
    }

    pub(crate) fn certificates(&self) -> Certificates {
        self.config.borrow_mut().take().value.certificates.clone()
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

    /// Returns when draining has begun, at once if it has already.
    pub(crate) async fn wait(&self) {
        let bell = self.bell.notified();
        if !self.begun.get() {
            bell.await;
        }
    }
}
