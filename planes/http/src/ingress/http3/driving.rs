//! What the library's own work runs on: in turns by source, as all other work does.
//!
//! ```text
//! UDP ─► inbox of a connection ─► its driver, in turns ─► streams
//! ```
//! A driver does all of QUIC of one connection, packets and handshake; whose turns it takes is said by [`in_turns`]. What
//! comes while it waits for its turn is counted, and bounded, in its inbox ([`bartizan_quic::Inboxes`]).

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bartizan_quic::Driver;
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

use crate::ingress::turn::Turn;

thread_local! {
    /// Whose driver is spawned next.
    static SPAWNING: RefCell<Option<Rc<Turn>>> = const { RefCell::new(None) };
}

/// Does this, and lets the driver that the library spawns for it take these turns.
pub(in crate::ingress) fn in_turns<T>(turn: &Rc<Turn>, accept: impl FnOnce() -> T) -> T {
    SPAWNING.replace(Some(Rc::clone(turn)));
    let accepted = accept();
    SPAWNING.take();
    accepted
}

/// Of one worker, on its thread alone.
#[derive(Debug)]
pub(in crate::ingress) struct Driving;

impl Runtime for Driving {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, mut work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        match (SPAWNING.take(), Driver::take()) {
            (Some(turn), Some(driver)) => {
                drop(tokio::task::spawn_local(async move { turn.take(pin!(driver.run(work.as_mut()))).await }));
            }
            // An endpoint's own, which is everybody's.
            _ => drop(tokio::task::spawn_local(work)),
        }
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}
