//! The state that the parts of one connection share. All of them run on one thread; over HTTP/2 each stream is a task of
//! its own.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bartizan_firewall::{Firewall, Source};
use bartizan_live::Generation;
use bartizan_names::{Span, ZoneId};
use bartizan_quotas::{Held, Place};
use bartizan_routes::Scheme;
use bartizan_tls::{Agreed, Client, HandshakeEnd, Hosts, ServerStream};
use http::StatusCode;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::cancel::Cancel;
use super::deadline::Deadline;
use super::requests::{Left, Requests, UnderWay};
use super::turn::Turn;
use crate::Config;
use crate::clients::{self, Shown};
use crate::fields::Fields;
use crate::forward::SourceFields;
use crate::limits::{
    ORIGIN_READ_BYTES_MAX, ORIGIN_READ_BYTES_MIN, STEPS_OF_A_DIAL, STEPS_OF_AN_UNFINISHED, UNTAKEN_BYTES,
};
use crate::pipeline;
use crate::record::{End, Record};
use crate::worker::Worker;

pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    place: Place,
    /// What waits in its buffers.
    held: Held,
    pub(crate) source: Source,
    pub(crate) source_fields: SourceFields,
    pub(crate) scheme: Scheme,
    /// How it came about, over TLS.
    agreed: Cell<Option<Agreed>>,
    /// What few handshakes have. In a box, since they are few.
    special: OnceCell<Box<Special>>,
    /// The number of the configuration in force when it was accepted.
    generation: u64,
    carries: Cell<Carries>,
    requests: RefCell<Requests>,
    /// The zone of the last request that was let in.
    zone: Cell<Option<ZoneId>>,
    cut: Cancel,
    /// Time limits for the visitor to send, and to read what is sent.
    pub(crate) reading: Deadline,
    pub(crate) writing: Deadline,
    /// What its tasks may do before others go on.
    pub(crate) turn: Rc<Turn>,
    /// Requests whose answer is not written to its end.
    in_flight: Cell<usize>,
    quiet_since: Cell<Instant>,
    /// Requests that began, and of them those that ended before their answers did.
    begun: Cell<u32>,
    unfinished: Cell<u32>,
    /// Connections to origins that were made for its requests.
    dials: Cell<u32>,
    /// Triggered when it has had as many of these as one connection may.
    worn: Cancel,
}

struct Special {
    /// Who the visitor is, if it was asked for a certificate.
    shown: Option<Shown>,
    /// What is known of a handshake that is not over while its visitor asks already.
    early: Option<Early>,
}

struct Early {
    /// Whether more is to come of it.
    end: HandshakeEnd,
    /// When it has to.
    due: Instant,
    /// Triggered if it has not.
    overdue: Cancel,
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
    pub(crate) fn new(
        (peer, place): (SocketAddr, Place),
        (source, generation): (Source, u64),
        scheme: Scheme,
        turn: Rc<Turn>,
    ) -> Connection {
        Connection {
            peer,
            place,
            held: Held::default(),
            source,
            source_fields: SourceFields::new(&source, scheme),
            scheme,
            agreed: Cell::new(None),
            special: OnceCell::new(),
            generation,
            carries: Cell::new(Carries::One),
            requests: RefCell::default(),
            zone: Cell::new(None),
            cut: Cancel::default(),
            reading: Deadline::default(),
            writing: Deadline::default(),
            turn,
            in_flight: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
            begun: Cell::new(0),
            unfinished: Cell::new(0),
            dials: Cell::new(0),
            worn: Cancel::default(),
        }
    }

    /// TLS has come about, as far as it has; what is left may take so long.
    pub(super) fn note_tls(&self, stream: &ServerStream<TcpStream>, time: Duration) {
        self.note_handshake(stream.agreed(), stream.client(), stream.handshake_end(), time);
    }

    /// The same of QUIC, which is TLS 1.3.
    pub(super) fn note_quic(&self, client: Option<Client>, end: Option<HandshakeEnd>, time: Duration) {
        self.note_handshake(Some(Agreed::Tls13), client, end, time);
    }

    fn note_handshake(
        &self,
        agreed: Option<Agreed>,
        client: Option<Client>,
        end: Option<HandshakeEnd>,
        time: Duration,
    ) {
        self.agreed.set(agreed);
        let shown = client.map(Shown::from);
        let early = end.map(|end| Early { end, due: Instant::now() + time, overdue: Cancel::default() });
        if shown.is_some() || early.is_some() {
            // It is the only handshake.
            let _ = self.special.set(Box::new(Special { shown, early }));
        }
    }

    /// What the visitor's end of TLS has agreed to.
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        self.agreed.get()
    }

    /// Who the visitor is, if it was asked for a certificate.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        self.special.get().and_then(|special| special.shown.as_ref())
    }

    fn early(&self) -> Option<&Early> {
        self.special.get().and_then(|special| special.early.as_ref())
    }

    /// The end of the handshake, and when it is due, as long as it is still to come: what the visitor asks until then may be
    /// a copy of what it asked before.
    pub(crate) fn handshake_end(&self) -> Option<(&HandshakeEnd, Instant)> {
        self.early().filter(|early| !early.end.is_reached()).map(|early| (&early.end, early.due))
    }

    /// Whether the handshake should have ended, so that nothing more is asked for.
    pub(crate) fn is_overdue(&self) -> bool {
        self.early().is_some_and(|early| early.overdue.is_triggered())
    }

    /// Returns when it is.
    pub(crate) async fn overdue(&self) {
        poll_fn(|cx| match self.early() {
            Some(early) => early.overdue.poll(cx),
            None => Poll::Pending,
        })
        .await;
    }

    /// So many bytes more wait in its buffers. False if there is no memory for them: then they are not counted, and must go.
    // Hot: once for what is read.
    pub(crate) fn hold(&self, bytes: usize, worker: &Worker) -> bool {
        let is_held = self.held.add(bytes, &worker.memory, self.peer.ip()).is_ok();
        if !is_held {
            worker.counters.visitors.memory.add(1);
        }
        is_held
    }

    /// The same for what it could do without.
    pub(crate) fn try_to_hold(&self, bytes: usize, worker: &Worker) -> bool {
        self.held.add(bytes, &worker.memory, self.peer.ip()).is_ok()
    }

    /// So many wait no more.
    pub(crate) fn let_go(&self, bytes: usize) {
        self.held.sub(bytes);
    }

    /// It speaks a protocol with streams.
    pub(crate) fn carry_many(&self) {
        self.carries.set(Carries::Many);
    }

    /// From now until the guard is dropped, the connection is not idle.
    pub(crate) fn begin(self: &Rc<Self>, worker: &Rc<Worker>) -> RequestGuard {
        self.place.work();
        self.in_flight.set(self.in_flight.get() + 1);
        self.begun.set(self.begun.get().saturating_add(1));
        self.turn.begin_request();
        let under_way = self.requests.borrow_mut().begin();
        RequestGuard { under_way, connection: Rc::clone(self), worker: Rc::clone(worker) }
    }

    /// As [`Connection::begin`], for one of many.
    pub(crate) fn begin_stream(self: &Rc<Self>, worker: &Rc<Worker>) -> RequestGuard {
        let guard = self.begin(worker);
        let limits = &worker.limits;
        if self.begun.get() > limits.requests_max
            || self.unfinished.get() > limits.unfinished_max
            || self.dials.get() > limits.dials_max
        {
            self.worn.trigger();
        }
        guard
    }

    /// A stream that was begun has come to no request, or was not taken any more.
    pub(super) fn count_unfinished(&self, worker: &Worker) {
        self.begun.set(self.begun.get().saturating_add(1));
        self.unfinished.set(self.unfinished.get().saturating_add(1));
        self.turn.charge(STEPS_OF_AN_UNFINISHED);
        if self.unfinished.get() > worker.limits.unfinished_max {
            self.worn.trigger();
        }
    }

    /// Returns when it has carried as much as one connection may.
    pub(crate) async fn worn(&self) {
        poll_fn(|cx| self.worn.poll(cx)).await;
    }

    /// How many requests it has had.
    pub(crate) fn begun(&self) -> u32 {
        self.begun.get()
    }

    /// What an answer may be read in, so that those that nobody takes stay small together.
    pub(crate) fn piece_bytes(&self) -> usize {
        match self.carries.get() {
            Carries::One => ORIGIN_READ_BYTES_MAX,
            Carries::Many => {
                (UNTAKEN_BYTES / self.in_flight.get().max(1)).clamp(ORIGIN_READ_BYTES_MIN, ORIGIN_READ_BYTES_MAX)
            }
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// Since when no request is under way. Without meaning while one is.
    pub(crate) fn quiet_since(&self) -> Instant {
        self.quiet_since.get()
    }

    /// Returns when the whole connection is to end.
    pub(crate) async fn cut(&self) {
        poll_fn(|cx| self.cut.poll(cx)).await;
    }

    /// Returns when its place is needed for another, while it rests.
    pub(crate) async fn displaced(&self) {
        self.place.displaced().await;
    }

    /// Ends what this firewall does not allow: requests with zones that refuse the source, and the connection if
    /// nothing else is left that it could be used for.
    fn judge(&self, firewall: &Firewall) {
        let refused = |zone| firewall.decide(zone, &self.source).refused_by().is_some();
        let Left { some_ended, some_go_on } = self.requests.borrow().end_those(|zone, _| refused(zone));
        let was_the_only_one = some_ended && self.carries.get() == Carries::One;
        // The next request will probably be for the zone of the last one, which may allow a source that others block.
        let last_is_refused = self.zone.get().is_none_or(refused);
        let is_of_no_use = || firewall.decide_everywhere(&self.source).refused_by().is_some();
        if was_the_only_one || (!some_go_on && last_is_refused && is_of_no_use()) {
            self.cut.trigger();
        }
    }

    /// Ends what is under way at hosts that would not let its client in now. The next request is judged by itself.
    fn judge_client(&self, hosts: &Hosts, span: Span) {
        let refused = |_, host: &str| clients::is_over(host, self.shown(), hosts, span);
        let ended = self.requests.borrow().end_those(refused).some_ended;
        if ended && self.carries.get() == Carries::One {
            self.cut.trigger();
        }
    }
}

/// Stands for one request while it, its answer or what became of its connection is under way. Dropping it ends all that,
/// and tells the end stage.
pub(crate) struct RequestGuard {
    pub(crate) worker: Rc<Worker>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) under_way: Rc<UnderWay>,
}

impl RequestGuard {
    /// The request is for this host of this zone, which has let it in.
    pub(crate) fn concern(&self, zone: ZoneId, host: &str) {
        self.connection.zone.set(Some(zone));
        self.under_way.concern(zone, host);
    }

    /// What is known of the request.
    pub(crate) fn record(&self) -> &Record {
        &self.under_way.record
    }

    /// Ready when the request must end, however far it is.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        self.under_way.cancel.poll(cx)
    }

    /// Whether it was told to end already.
    pub(crate) fn has_ended(&self) -> bool {
        self.under_way.cancel.is_triggered()
    }

    /// Tells the visitor what the origin says before its answer, if it takes that.
    pub(crate) fn pass_interim(&self, status: StatusCode, fields: &Fields) {
        let hold = |bytes| self.connection.try_to_hold(bytes, &self.worker);
        self.under_way.interims.pass_on(status, fields, hold);
    }

    /// A connection to an origin is made for it.
    pub(crate) fn count_dial(&self) {
        self.connection.dials.set(self.connection.dials.get().saturating_add(1));
        self.connection.turn.charge(STEPS_OF_A_DIAL);
    }

    /// Does `work`, unless told to end first. Behind a pointer, for a future that takes another in has room for it twice.
    pub(crate) async fn unless_ended<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|cx| match self.poll_ended(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(cx).map(Some),
        })
        .await
    }

    fn how_it_ends(&self) -> End {
        let (connection, request) = (&self.connection, &self.under_way);
        let is_answered = request.answered.get();
        match request.record.status() {
            // What was handed to the connection is not always taken.
            _ if connection.writing.is_over() || request.writing.is_over() => End::TooSlow,
            Some(status) if is_answered && status != StatusCode::SWITCHING_PROTOCOLS => End::Answered,
            _ if self.has_ended() => End::Blocked,
            Some(_) if is_answered => End::Upgraded,
            _ if connection.reading.is_over() || request.reading.is_over() => End::TooSlow,
            _ if request.record.sent().is_broken() => End::Broken,
            _ => End::Left,
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let now = Instant::now();
        self.record().close(self.how_it_ends(), now, |ended| {
            pipeline::end(ended, &self.connection, &self.worker);
        });
        self.connection.let_go(self.under_way.interims.forget());
        self.under_way.finish();
        self.connection.turn.end_request();
        if self.connection.carries.get() == Carries::Many && !self.under_way.answered.get() {
            self.connection.unfinished.set(self.connection.unfinished.get().saturating_add(1));
            self.connection.turn.charge(STEPS_OF_AN_UNFINISHED);
        }
        self.connection.in_flight.set(self.connection.in_flight.get() - 1);
        self.connection.quiet_since.set(now);
        if !self.connection.is_busy() {
            self.connection.place.rest(now.into_std());
        }
    }
}

/// All connections of a worker. Their number is limited where they are accepted.
#[derive(Default)]
pub(crate) struct Connections {
    open: RefCell<HashMap<u64, Rc<Connection>>>,
    next: Cell<u64>,
}

/// Whose connections are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    All,
    WhoShowedACertificate,
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

    /// Ends every wait that has lasted too long.
    pub(crate) fn expire(&self, now: Instant) {
        for connection in self.open.borrow().values() {
            if let Some(early) = connection.early().filter(|early| !early.end.is_reached() && early.due <= now) {
                early.overdue.trigger();
                // It may wait for a request.
                connection.reading.wake();
            }
            connection.reading.expire(now);
            connection.writing.expire(now);
            connection.requests.borrow().expire(now);
        }
    }

    /// Tells those that wait for a request to look whether they should.
    pub(crate) fn wake(&self) {
        self.open.borrow().values().for_each(|connection| connection.reading.wake());
    }

    /// Ends what is under way at hosts that know their clients and would not let them in now: of all, when what hosts want has
    /// changed, or of those who have shown a certificate, which runs out.
    pub(crate) fn judge_clients(&self, who: Judged, hosts: &Hosts, span: Span) {
        let open = self.open.borrow();
        let concerned = open.values().filter(|connection| who == Judged::All || connection.shown().is_some());
        concerned.for_each(|connection| connection.judge_client(hosts, span));
    }

    /// Ends what the firewall of this configuration does not allow. Those that came under it need no look:
    /// each of their requests is decided by it, and who is blocked is there to get a page.
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
