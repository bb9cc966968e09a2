//! UDP flows: the datagrams from one client address and port to one address and port of ours, and the replies.
//!
//! A flow has its own socket towards its origin, so that the kernel tells replies apart. Sources can be forged
//! (RFC 2827), so the number of flows is limited twice: for an application and for a worker. When there are too many,
//! the oldest flow whose client has sent one datagram only is ended. A forged client cannot react to a reply, so it
//! stays at one; a real client has had its reply by then.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bartizan_names::AppId;
use bartizan_quotas::SourceKey;
use bartizan_wire::proxy::{self, HeaderBytes};
use bytes::Bytes;
use tokio::net::UdpSocket;

use crate::counters::{Limit, OriginFailure};
use crate::egress::{failure_of, send_datagram};
use crate::limits::{OWN_FLOWS_LOOKED_AT, WAITING_DATAGRAMS_MAX};
use crate::session::{End, Session, Way};
use crate::unproven::{Proving, Unproven};

/// The two ends of a flow, as the network sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Who sends the datagrams of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The client itself.
    Client,
    /// A trusted peer, with a header in front, of version 2 or simple.
    Peer,
}

/// One flow, as long as it is in the table.
pub(crate) struct Flow {
    pub(crate) ends: Ends,
    pub(crate) session: Session,
    speaker: Speaker,
    /// The header in front of each datagram to the origin.
    header: Option<HeaderBytes>,
    /// Towards an origin that is dialled, as soon as that is done.
    origin: OnceCell<UdpSocket>,
    /// Datagrams that wait: for the origin to be found, or for a tunnel to take them.
    waiting: RefCell<VecDeque<Bytes>>,
    /// The error that the system reported when a datagram was sent.
    failure: Cell<Option<OriginFailure>>,
    /// Wakes the flow's task, when it waits for one of the two.
    waker: Cell<Option<Waker>>,
    confirmed: Cell<bool>,
}

impl Flow {
    pub(crate) fn new(ends: Ends, session: Session, speaker: Speaker, header: Option<HeaderBytes>) -> Flow {
        Flow {
            ends,
            session,
            speaker,
            header,
            origin: OnceCell::new(),
            waiting: RefCell::default(),
            failure: Cell::default(),
            waker: Cell::default(),
            confirmed: Cell::new(false),
        }
    }

    /// Sends a datagram to the origin, or keeps it until that can be done.
    // Hot: once a datagram. No allocation once the origin is dialled.
    pub(crate) fn send(&self, payload: &[u8]) {
        self.session.traffic.took(Way::In, payload.len());
        if let Some(origin) = self.origin.get() {
            return self.send_to(origin, payload);
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= WAITING_DATAGRAMS_MAX {
            return self.session.tally.limited(Limit::FlowWaiting);
        }
        let header = self.header.as_deref().unwrap_or_default();
        if self.session.hold(header.len() + payload.len()) {
            waiting.push_back([header, payload].concat().into());
        }
        self.wake();
    }

    /// Datagrams may be lost, so most errors are ignored. That the origin is not there is not ignored.
    fn send_to(&self, origin: &UdpSocket, payload: &[u8]) {
        if let Err(error) = send_datagram(origin, self.header.as_deref(), payload)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            self.failure.set(Some(failure_of(&error)));
            self.wake();
        }
    }

    /// The origin is dialled: gives it what waits, and from now on everything at once.
    pub(crate) async fn set_origin(&self, socket: UdpSocket) -> &UdpSocket {
        while let Some(datagram) = self.next_waiting() {
            // It may get lost. Datagrams that wait have their header already.
            let _ = socket.send(&datagram).await;
        }
        self.origin.get_or_init(|| socket)
    }

    fn next_waiting(&self) -> Option<Bytes> {
        self.waiting.borrow_mut().pop_front().inspect(|datagram| self.session.let_go(datagram.len()))
    }

    /// The next datagram that waits, its header in front; if there is none, the task is woken when one arrives.
    pub(crate) fn poll_waiting(&self, cx: &Context<'_>) -> Option<Bytes> {
        let next = self.next_waiting();
        if next.is_none() {
            self.waker.set(Some(cx.waker().clone()));
        }
        next
    }

    /// Waits for the system to say that the origin is not there.
    pub(crate) async fn failure(&self) -> OriginFailure {
        poll_fn(|cx| match self.failure.take() {
            Some(failure) => Poll::Ready(failure),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Its client has sent more than one datagram.
    pub(crate) fn confirm(&self) {
        self.confirmed.set(true);
    }

    /// The payload of a datagram from the client's side.
    pub(crate) fn payload<'d>(&self, datagram: &'d [u8]) -> Option<&'d [u8]> {
        match self.speaker {
            Speaker::Client => Some(datagram),
            Speaker::Peer => proxy::read_datagram(datagram).ok().map(|header| &datagram[header.length..]),
        }
    }

    /// What a client gets of a reply. Some origins put our own header in front of their replies too; nothing else that
    /// they send is touched.
    pub(crate) fn reply<'d>(&self, datagram: &'d [u8]) -> &'d [u8] {
        let own = self.header.as_deref();
        own.and_then(|header| datagram.strip_prefix(header)).unwrap_or(datagram)
    }
}

impl Proving for Flow {
    fn app(&self) -> AppId {
        self.session.app.id
    }

    fn is_settled(&self) -> bool {
        self.confirmed.get()
    }
}

/// All flows of a worker.
#[derive(Default)]
pub(crate) struct Flows {
    by_ends: RefCell<HashMap<Ends, Rc<Flow>>>,
    /// Flows whose client has sent one datagram only.
    unproven: Unproven<Flow>,
}

impl Flows {
    /// The flow between two ends, of whose client one more datagram has come.
    // Hot: once a datagram. No allocation.
    pub(crate) fn find(&self, ends: Ends) -> Option<Rc<Flow>> {
        let flow = Rc::clone(self.by_ends.borrow().get(&ends)?);
        flow.confirm();
        Some(flow)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_ends.borrow().len()
    }

    pub(crate) fn add(&self, flow: Flow) -> Rc<Flow> {
        let flow = Rc::new(flow);
        self.by_ends.borrow_mut().insert(flow.ends, Rc::clone(&flow));
        self.unproven.push(&flow, self.len());
        flow
    }

    /// Takes a flow that is over out of the table.
    pub(crate) fn remove(&self, flow: &Rc<Flow>) {
        let mut by_ends = self.by_ends.borrow_mut();
        // A newer flow between the same ends stays.
        if by_ends.get(&flow.ends).is_some_and(|current| Rc::ptr_eq(current, flow)) {
            by_ends.remove(&flow.ends);
        }
    }

    /// Makes room for one more flow of an application; says whether there is any.
    pub(crate) fn displace(&self, app: AppId) -> bool {
        self.end_displaced(self.unproven.pop(app))
    }

    /// Makes room for one more flow of a source by ending one of its own: a resolver sends each question from another
    /// port (RFC 5452 §9.2), and one datagram on each.
    pub(crate) fn displace_own(&self, app: AppId, source: SourceKey) -> bool {
        let own = |flow: &Flow| SourceKey::widest(flow.session.hop.client.ip()) == source;
        self.end_displaced(self.unproven.pop_wanted(app, OWN_FLOWS_LOOKED_AT, own))
    }

    /// Makes room for one more flow of any application.
    pub(crate) fn displace_any(&self) -> bool {
        self.end_displaced(self.unproven.pop_any())
    }

    fn end_displaced(&self, flow: Option<Rc<Flow>>) -> bool {
        let Some(flow) = flow else { return false };
        self.remove(&flow);
        flow.session.displace(Limit::FlowDisplaced);
        true
    }

    /// Counts what moved, and ends those that were silent for too long.
    pub(crate) fn sweep(&self, patience: Duration, now: Instant) {
        self.by_ends.borrow().values().for_each(|flow| flow.session.sweep(patience, now));
    }

    /// Ends those for which `verdict` has a reason.
    pub(crate) fn judge(&self, verdict: impl Fn(&Session) -> Option<End>) {
        for flow in self.by_ends.borrow().values() {
            if let Some(end) = verdict(&flow.session) {
                flow.session.cancel.trigger(end);
            }
        }
    }

    /// Forgets the queues of applications that are no more.
    pub(crate) fn forget(&self, exists: impl Fn(AppId) -> bool) {
        self.unproven.forget(exists);
    }
}
