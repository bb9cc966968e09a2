//! The connections that are open on one worker, so that they can be counted, judged again and ended.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bartizan_analytics::FlowEvent;
use bartizan_names::AppId;
use bartizan_quotas::{Held, Memory, Permit, SourcePermit};
use bartizan_routes::App;
use bartizan_steering::Open;
use bartizan_tls::{Agreed, Client};
use bartizan_wire::proxy::Hop;

use crate::counters::{Limit, OriginFailure, Tally};
use crate::tap::{Moved, Tap};
use crate::unproven::{Proving, Unproven};

/// Why a connection or flow is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// An access rule blocks its source.
    Blocked,
    /// Its application was deleted, or takes no such connections any more.
    Removed,
    /// Nothing moved for too long.
    Idle,
    /// It was ended to make room for another.
    Displaced,
    /// There is no memory for what its reader does not take.
    Memory,
    /// The plane ends, and its grace is over.
    Stopped,
}

/// Tells one task to end. The task looks at it whenever it runs, and is woken when it is triggered.
#[derive(Default)]
pub(crate) struct Cancel {
    end: Cell<Option<End>>,
    waker: RefCell<Option<Waker>>,
}

impl Cancel {
    pub(crate) fn trigger(&self, end: End) {
        if self.end.get().is_none() {
            self.end.set(Some(end));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<End> {
        if let Some(end) = self.end.get() {
            return Poll::Ready(end);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Does `work`, unless this is triggered first.
    pub(crate) async fn unless_triggered<T>(&self, work: impl Future<Output = T>) -> Result<T, End> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(end) => Poll::Ready(Err(end)),
            Poll::Pending => work.as_mut().poll(cx).map(Ok),
        })
        .await
    }
}

/// One open connection or flow of an application.
pub(crate) struct Session {
    pub(crate) app: Arc<App>,
    /// Who the client is, and what it dialled.
    pub(crate) hop: Hop,
    /// The address and port of ours that it arrived at.
    pub(crate) local: SocketAddr,
    /// How TLS with the client came about, if the edge ends it.
    pub(crate) agreed: Cell<Option<Agreed>>,
    pub(crate) cancel: Cancel,
    pub(crate) tally: Arc<Tally>,
    pub(crate) traffic: Traffic,
    /// What waits for its readers.
    held: Held,
    memory: Memory,
    /// Who the client is, if its application asks for a certificate. In a box, since few do.
    pub(crate) client: OnceCell<Box<Client>>,
    /// The server of a pool that it is with, where these are counted.
    pub(crate) at_node: OnceCell<Open>,
    opened: Instant,
    permits: Cell<Option<Permits>>,
    /// Where it is counted by its zone, if somebody wants to know.
    tap: Option<Rc<Tap>>,
    /// What moved and is not told there, and when something was.
    untold: Cell<(u64, u64)>,
    told: Cell<Instant>,
}

/// How often what moved is told of a connection or flow that goes on.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What it has of its quotas.
pub(crate) struct Permits {
    pub(crate) _source: SourcePermit,
    pub(crate) _app: Permit<AppId>,
}

/// The bytes that moved, and when the last of them did. The relay writes it, the sweep reads it.
#[derive(Default)]
pub(crate) struct Traffic {
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    moved: Cell<bool>,
    half_closed: Cell<bool>,
    /// Whether the client has said anything.
    spoke: Cell<bool>,
    /// When the sweep last saw it move.
    active: Cell<Option<Instant>>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client.
    In,
    /// To the client.
    Out,
}

impl Traffic {
    /// So many bytes were read from one side for the other. 0 means: bytes that were read before have moved on.
    pub(crate) fn took(&self, way: Way, bytes: usize) {
        let counter = match way {
            Way::In => &self.bytes_in,
            Way::Out => &self.bytes_out,
        };
        counter.set(counter.get() + bytes as u64);
        self.moved.set(true);
        if way == Way::In && bytes > 0 {
            self.spoke.set(true);
        }
    }

    /// One side has sent its end.
    pub(crate) fn half_close(&self) {
        if !self.half_closed.replace(true) {
            self.moved.set(true);
        }
    }
}

impl Session {
    pub(crate) fn new(
        app: Arc<App>,
        hop: Hop,
        local: SocketAddr,
        (tally, tap): (Arc<Tally>, Option<Rc<Tap>>),
        (permits, memory): (Permits, Memory),
        now: Instant,
    ) -> Session {
        tally.opened();
        tap.iter().for_each(|tap| tap.record(&app, hop.client.ip(), FlowEvent::Connect, Moved::default()));
        let traffic = Traffic { active: Cell::new(Some(now)), ..Traffic::default() };
        Session {
            app,
            hop,
            local,
            agreed: Cell::new(None),
            cancel: Cancel::default(),
            tally,
            traffic,
            held: Held::default(),
            memory,
            client: OnceCell::new(),
            at_node: OnceCell::new(),
            opened: now,
            permits: Cell::new(Some(permits)),
            tap,
            untold: Cell::default(),
            told: Cell::new(now),
        }
    }

    /// Its origin could not be reached, or broke off.
    pub(crate) fn origin_failed(&self, kind: OriginFailure) {
        self.tally.origin_failed(kind);
        self.tell(FlowEvent::OriginError, Moved::default());
    }

    /// An access rule has cut it off.
    pub(crate) fn filtered(&self) {
        self.tally.filtered();
        self.tell(FlowEvent::ClientFiltered, Moved::default());
    }

    fn tell(&self, event: FlowEvent, moved: Moved) {
        self.tap.iter().for_each(|tap| tap.record(&self.app, self.hop.client.ip(), event, moved));
    }

    /// Ends it to make room for another, which has its permits at once.
    pub(crate) fn displace(&self, by: Limit) {
        self.permits.take();
        self.cancel.trigger(End::Displaced);
        self.tally.limited(by);
    }

    /// So many bytes have to wait. False if there is no memory for them: then they are not counted, and must go.
    pub(crate) fn hold(&self, bytes: usize) -> bool {
        let is_held = self.held.add(bytes, &self.memory, self.hop.client.ip()).is_ok();
        if !is_held {
            self.tally.limited(Limit::Memory);
        }
        is_held
    }

    /// The same, where they cannot go alone: ends it.
    pub(crate) fn hold_or_end(&self, bytes: usize) {
        if !self.hold(bytes) {
            self.cancel.trigger(End::Memory);
        }
    }

    /// So many wait no more. What was not counted is of a session that ends.
    pub(crate) fn let_go(&self, bytes: usize) {
        self.held.sub(bytes.min(self.held.bytes()));
    }

    /// Counts what moved, and ends it if it was silent for too long.
    pub(crate) fn sweep(&self, patience: Duration, now: Instant) {
        self.report();
        if now.saturating_duration_since(self.told.get()) >= TOLD_EVERY {
            self.told.set(now);
            let (bytes_in, bytes_out) = self.untold.take();
            if bytes_in + bytes_out > 0 {
                self.tell(FlowEvent::Progress, Moved { bytes_in, bytes_out, duration: Duration::ZERO });
            }
        }
        if self.idle(now) >= patience {
            self.cancel.trigger(End::Idle);
        }
    }

    /// Counts what moved since the last time.
    fn report(&self) {
        let (bytes_in, bytes_out) = (self.traffic.bytes_in.take(), self.traffic.bytes_out.take());
        self.tally.moved(bytes_in, bytes_out);
        let untold = self.untold.get();
        self.untold.set((untold.0.saturating_add(bytes_in), untold.1.saturating_add(bytes_out)));
    }

    /// How long nothing has moved, to the precision of the sweep.
    fn idle(&self, now: Instant) -> Duration {
        if self.traffic.moved.take() {
            self.traffic.active.set(Some(now));
        }
        self.traffic.active.get().map_or(Duration::ZERO, |active| now.duration_since(active))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.report();
        let duration = self.opened.elapsed();
        self.tally.closed(duration);
        let (bytes_in, bytes_out) = self.untold.take();
        self.tell(FlowEvent::Disconnect, Moved { bytes_in, bytes_out, duration });
    }
}

/// How long a session may be silent.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) open: Duration,
    pub(crate) half_closed: Duration,
}

/// All sessions of a worker.
#[derive(Default)]
pub(crate) struct Sessions {
    open: RefCell<HashMap<u64, Rc<Session>>>,
    next: Cell<u64>,
    /// Those whose clients have said nothing.
    unproven: Unproven<Session>,
}

impl Proving for Session {
    fn app(&self) -> AppId {
        self.app.id
    }

    fn is_settled(&self) -> bool {
        self.traffic.spoke.get() || self.cancel.end.get().is_some()
    }
}

/// A session's entry in the table, removed when this is dropped.
pub(crate) struct SessionEntry<'s> {
    pub(crate) session: Rc<Session>,
    sessions: &'s Sessions,
    number: u64,
}

impl Sessions {
    pub(crate) fn add(&self, session: Session) -> SessionEntry<'_> {
        let number = self.next.replace(self.next.get() + 1);
        let session = Rc::new(session);
        let mut open = self.open.borrow_mut();
        self.unproven.push(&session, open.len());
        open.insert(number, Rc::clone(&session));
        drop(open);
        SessionEntry { session, sessions: self, number }
    }

    /// Makes room for one more connection of an application, at the cost of one whose client has said nothing for longest;
    /// says whether there was one.
    pub(crate) fn displace(&self, app: AppId) -> bool {
        displaced(self.unproven.pop(app))
    }

    /// The same for one of any application.
    pub(crate) fn displace_any(&self) -> bool {
        displaced(self.unproven.pop_any())
    }

    /// Forgets what is kept of applications that are no more.
    pub(crate) fn forget(&self, exists: impl Fn(AppId) -> bool) {
        self.unproven.forget(exists);
    }

    /// Counts what moved, and ends those that were silent for too long.
    pub(crate) fn sweep(&self, patience: Patience, now: Instant) {
        for session in self.open.borrow().values() {
            let half_closed = session.traffic.half_closed.get();
            session.sweep(if half_closed { patience.half_closed } else { patience.open }, now);
        }
    }

    /// Ends those for which `verdict` has a reason.
    pub(crate) fn judge(&self, verdict: impl Fn(&Session) -> Option<End>) {
        for session in self.open.borrow().values() {
            if let Some(end) = verdict(session) {
                session.cancel.trigger(end);
            }
        }
    }
}

fn displaced(session: Option<Rc<Session>>) -> bool {
    session.inspect(|session| session.displace(Limit::Displaced)).is_some()
}

impl Drop for SessionEntry<'_> {
    fn drop(&mut self) {
        self.sessions.open.borrow_mut().remove(&self.number);
    }
}
