//! What the library's own work runs on: in turns by source, as all other work does.
//!
//! ```text
//! UDP ─► Socket: is its source heard? ─► endpoint's task ─► queue of a connection ─► its driver, in turns ─► streams
//! ```
//! QUIC of one connection, packets and handshake, is done by a driver, a task that the library spawns when a handshake is
//! taken up; whose turns it takes is said by [`in_turns`]. While it waits for its turn, datagrams heap up for it in a queue
//! of the library's that has no bound. So what comes is counted by source ([`Lane::hears`]), and is dropped where a source
//! that waits has heaped up too much, as a network would: its sender slows down (RFC 9002 §7).
//!
//! [`Lane::hears`]: crate::ingress::lanes::Lane::hears

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

use crate::counters::Counters;
use crate::ingress::lanes::Lanes;
use crate::ingress::turn::Turn;

thread_local! {
    /// The lanes of the worker of this thread.
    static LANES: RefCell<Weak<Lanes>> = const { RefCell::new(Weak::new()) };
    /// Whose driver is spawned next.
    static SPAWNING: RefCell<Option<Rc<Turn>>> = const { RefCell::new(None) };
}

/// From now on what comes on this thread is counted in these lanes.
pub(super) fn count_in(lanes: &Rc<Lanes>) {
    LANES.replace(Rc::downgrade(lanes));
}

/// Does this, and lets the driver that the library spawns for it take these turns.
pub(in crate::ingress) fn in_turns<T>(turn: &Rc<Turn>, accept: impl FnOnce() -> T) -> T {
    SPAWNING.replace(Some(Rc::clone(turn)));
    let accepted = accept();
    SPAWNING.take();
    accepted
}

/// Of one worker, on its thread alone.
pub(in crate::ingress) struct Driving(pub(in crate::ingress) Arc<Counters>);

impl fmt::Debug for Driving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driving")
    }
}

impl Runtime for Driving {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, mut work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        match SPAWNING.take() {
            Some(turn) => drop(tokio::task::spawn_local(async move { turn.drive(work.as_mut()).await })),
            // An endpoint's own, which is everybody's.
            None => drop(tokio::task::spawn_local(work)),
        }
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Socket { io: TokioRuntime.wrap_udp_socket(socket)?, counters: Arc::clone(&self.0) }))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A socket that does not hear all of everybody.
struct Socket {
    io: Arc<dyn AsyncUdpSocket>,
    counters: Arc<Counters>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}

impl Socket {
    /// Empties what is not heard.
    // Hot: once for datagrams of one sender that came together.
    fn sift(&self, met: &mut [RecvMeta]) {
        let Some(lanes) = LANES.with_borrow(Weak::upgrade) else { return };
        for meta in met {
            let datagrams = u32::try_from(meta.len.div_ceil(meta.stride.max(1))).unwrap_or(u32::MAX);
            if !lanes.hears(meta.addr.ip(), datagrams) {
                meta.len = 0;
                self.counters.visitors.datagrams_dropped.add(u64::from(datagrams));
            }
        }
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.io).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let met = ready!(self.io.poll_recv(cx, bufs, meta))?;
        self.sift(&mut meta[..met]);
        Poll::Ready(Ok(met))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.io.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.io.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.io.may_fragment()
    }
}
