//! One connection to an origin: its task reads frames and writes what was gathered; the requests on it put theirs in between.
//!
//! All of them run on one thread, and each borrows the state for as long as it takes to put a frame.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bartizan_exchange::Io;
use bartizan_names::OriginFault;
use bartizan_quotas::{Pass, SourceKey};
use bartizan_wire::http1::{self, Asked};
use bartizan_wire::http2::hpack::Encoder;
use bartizan_wire::http2::{self, Code, EndStream, Event, Fault, Reason, Sent, Whose};
use bytes::{Buf, Bytes, BytesMut};

use super::sessions::Making;
use super::stream::{Closed, Need, Stream, Unwanted};
use crate::fields::{Fields, Lines};
use crate::forward;
use crate::ingress::{FrameTurn, Turn};
use crate::limits::{
    ORIGIN_CONNECTION_WINDOW_BYTES, ORIGIN_PING_BACKOFF, ORIGIN_PING_PAUSE, ORIGIN_PINGS_MAX, ORIGIN_READ_BYTES_MAX,
    ORIGIN_STREAM_WINDOW_BYTES, ORIGIN_STREAMS_MAX, ORIGIN_TALK_WINDOW_BYTES, ORIGIN_UNASKED_BYTES_MAX, SWEEPS_MAX,
};
use crate::outlet::Outlet;
use crate::page::Problem;
use crate::spare::{Spare, Unread};

const LIMITS: http2::Limits = http2::Limits {
    streams: ORIGIN_STREAMS_MAX,
    stream_window: ORIGIN_STREAM_WINDOW_BYTES,
    connection_window: ORIGIN_CONNECTION_WINDOW_BYTES,
    list_bytes: http1::Limits::RESPONSE.head_bytes,
    fields: http1::Limits::RESPONSE.fields,
};

/// The stream was reset, or its connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamClosed;

type Wire = http2::Connection<Option<Rc<Stream>>>;

pub(in crate::egress) struct Session {
    spare: Rc<Spare>,
    /// In the lane of its zone's origins.
    turn: Rc<Turn>,
    state: RefCell<State>,
}

struct State {
    /// None once the connection is over.
    io: Option<Box<dyn Io>>,
    wire: Wire,
    outlet: Outlet,
    unread: Unread,
    /// Memory for the heads of answers; none while there are no streams.
    heads: Option<BytesMut>,
    /// Streams that wait until there is room to write, and for the window of the connection, in their order.
    for_room: VecDeque<Rc<Stream>>,
    for_window: VecDeque<Rc<Stream>>,
    /// And those that leave what there is of it to others.
    for_share: VecDeque<Rc<Stream>>,
    /// What those with little to send may take of the window before all others.
    reserved: usize,
    /// Whether one has the connection for itself.
    is_whole: bool,
    /// Of the connection's task.
    task: Option<Waker>,
    /// Whether it was told that something is to be written.
    is_called: bool,
    /// Whether no more is read until something was written.
    is_clogged: bool,
    /// Why a stream could not write.
    broken: Option<io::Error>,
    /// When there were more tokens for frames that ask for nothing.
    refilled: Instant,
    /// Its place among all connections to origins.
    pass: Option<Pass>,
    /// How many looks of [`Session::sweep`] have seen it with nothing to do.
    sweeps: u64,
    presence: Presence,
    /// As long as nobody knows what the origin takes: those that wait for that.
    making: Option<Making>,
    /// Nobody wants it any more.
    is_unwanted: bool,
}

/// What is known of whether the origin is there.
struct Presence {
    /// Whether anything came since the last look.
    is_heard: bool,
    /// The last look at which it was, or was asked for nothing.
    seen: Instant,
    /// When it was last asked whether it is there, and whether that is not answered.
    pinged: Option<Instant>,
    is_asked: bool,
    /// A look has seen it silent after that: nothing more is asked of it before it answers.
    is_doubtful: bool,
    /// How often it was asked since it last said anything of a request.
    pings: u32,
}

impl Presence {
    fn new() -> Presence {
        let seen = Instant::now();
        Presence { is_heard: true, seen, pinged: None, is_asked: false, is_doubtful: false, pings: 0 }
    }

    /// Looks whether it is there, after so much silence while it is asked for something.
    fn look(&mut self, now: Instant, (silence, answer): (Duration, Duration), is_wanted: bool) -> Sign {
        if std::mem::take(&mut self.is_heard) || !is_wanted {
            (self.seen, self.is_asked, self.is_doubtful) = (now, false, false);
            return Sign::Enough;
        }
        if let Some(pinged) = self.pinged.filter(|_| self.is_asked) {
            self.is_doubtful = true;
            return if now - pinged >= answer { Sign::Gone } else { Sign::Enough };
        }
        let waited = match (self.pings, self.pinged) {
            (ORIGIN_PINGS_MAX.., Some(pinged)) => now - pinged >= ORIGIN_PING_PAUSE,
            (pings, _) => now - self.seen >= silence * ORIGIN_PING_BACKOFF.saturating_pow(pings),
        };
        if !waited {
            return Sign::Enough;
        }
        self.pings = self.pings.saturating_add(1);
        (self.pinged, self.is_asked) = (Some(now), true);
        Sign::Ask
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Enough,
    Ask,
    Gone,
}

/// Why the connection is over.
enum End {
    /// The origin has closed it, or nothing more is wanted of it.
    Closed,
    Fault(Fault),
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Io(error)
    }
}

impl Session {
    /// Speaks first, and runs as a task of its own, in these turns, until it is over. Those that wait for it are called when the origin
    /// has said what it takes.
    pub(in crate::egress) fn start(
        io: Box<dyn Io>,
        (pass, making): (Pass, Option<Making>),
        spare: Rc<Spare>,
        turn: Rc<Turn>,
    ) -> Rc<Session> {
        let mut outlet = Outlet::default();
        let wire = Wire::client(LIMITS, outlet.open(&spare));
        let state = State {
            io: Some(io),
            wire,
            outlet,
            unread: Unread::default(),
            heads: None,
            for_room: VecDeque::new(),
            for_window: VecDeque::new(),
            for_share: VecDeque::new(),
            reserved: 0,
            is_whole: false,
            task: None,
            is_called: false,
            is_clogged: false,
            broken: None,
            refilled: Instant::now(),
            pass: Some(pass),
            sweeps: 0,
            presence: Presence::new(),
            making,
            is_unwanted: false,
        };
        let session = Rc::new(Session { spare, turn, state: RefCell::new(state) });
        let own = Rc::clone(&session);
        tokio::task::spawn_local(async move {
            match own.turn.take(pin!(poll_fn(|cx| own.poll(cx)))).await {
                End::Closed => {}
                End::Fault(fault) => tracing::debug!(%fault, "an origin that does not speak HTTP/2 as it should"),
                End::Io(error) => tracing::debug!(%error, "a connection to an origin is over"),
            }
            own.close();
        });
        session
    }

    /// Whether a request more may be sent on it, that needs this, whatever becomes of the others. Not before the origin has said what it
    /// takes.
    // Hot: once a request.
    pub(super) fn takes(&self, need: Need) -> bool {
        let state = self.state.borrow();
        let has_room = |bytes| state.wire.window().saturating_sub(state.reserved) >= bytes;
        state.io.is_some()
            && !state.is_unwanted
            && !state.is_whole
            && !state.presence.is_doubtful
            && state.wire.has_begun()
            && state.wire.may_open()
            && match need {
                Need::Stream => true,
                Need::Room(bytes) => has_room(bytes),
                Need::Talk => has_room(ORIGIN_TALK_WINDOW_BYTES),
                Need::Whole => state.wire.streams() == 0,
            }
    }

    /// Whether there will never be one more. An origin that takes none at a time has had its time when nothing is under way.
    pub(super) fn is_left(&self) -> bool {
        let state = self.state.borrow();
        let takes_none = state.wire.has_begun() && state.wire.streams() == 0 && !state.wire.may_open();
        state.io.is_none() || state.is_unwanted || state.wire.is_left() || takes_none
    }

    /// The same; what is left of it ends with what is under way.
    pub(super) fn end_if_left(&self) -> bool {
        let is_left = self.is_left();
        if is_left {
            self.want_no_more();
        }
        is_left
    }

    /// Whether nothing is under way on it.
    pub(super) fn is_idle(&self) -> bool {
        self.state.borrow().wire.streams() == 0
    }

    /// How many looks have seen it idle.
    pub(super) fn sweeps(&self) -> u64 {
        self.state.borrow().sweeps
    }

    /// The visitor that it was made for.
    pub(super) fn source(&self) -> Option<SourceKey> {
        self.state.borrow().pass.as_ref().map(Pass::source)
    }

    /// Ends it when nothing is under way any more.
    pub(super) fn want_no_more(&self) {
        let state = &mut *self.state.borrow_mut();
        state.is_unwanted = true;
        if state.wire.streams() == 0 {
            // At once: who asks for its place takes that now.
            state.io = None;
            state.pass = None;
        }
        state.call();
    }

    /// What has been idle for too long ends. To be called once in [`SWEEP_EVERY`](crate::limits::SWEEP_EVERY).
    pub(super) fn sweep(&self) {
        let state = &mut *self.state.borrow_mut();
        if state.wire.streams() == 0 {
            state.sweeps += 1;
            state.is_unwanted |= state.sweeps >= SWEEPS_MAX;
            state.call();
        }
    }

    /// An origin that says nothing for so long while it is asked for something is asked whether it is there; one that does not answer
    /// that either, for so long, is not.
    pub(super) fn look(&self, now: Instant, times: (Duration, Duration)) {
        let state = &mut *self.state.borrow_mut();
        if state.io.is_none() {
            return;
        }
        match state.presence.look(now, times, state.wire.streams() > 0) {
            Sign::Enough => return,
            Sign::Ask => state.wire.ping(state.outlet.open(&self.spare)),
            Sign::Gone => drop(state.broken.get_or_insert(io::ErrorKind::TimedOut.into())),
        }
        state.call();
    }

    /// Opens a stream. False if that may not be, now.
    pub(super) fn open(
        &self,
        stream: &Rc<Stream>,
        asked: Asked,
        end: EndStream,
        fields: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> bool {
        let state = &mut *self.state.borrow_mut();
        if state.io.is_none() || state.is_unwanted {
            return false;
        }
        let out = state.outlet.open(&self.spare);
        let Some(number) = state.wire.open(Some(Rc::clone(stream)), asked, end, out, fields) else { return false };
        stream.number.set(number);
        state.sweeps = 0;
        match stream.need {
            Need::Room(bytes) => {
                stream.reserved.set(bytes);
                state.reserved += bytes;
            }
            Need::Whole => state.is_whole = true,
            Need::Stream | Need::Talk => {}
        }
        state.call();
        true
    }

    /// So much of a body was taken.
    pub(super) fn took(&self, stream: &Stream, bytes: usize) {
        let wider = stream.take_and_widen(bytes);
        let state = &mut *self.state.borrow_mut();
        let before = state.outlet.gathered();
        state.wire.took_kept(stream.number.get(), bytes, state.outlet.open(&self.spare));
        if let Some(by) = wider {
            state.wire.widen(stream.number.get(), by, state.outlet.open(&self.spare));
        }
        if state.outlet.gathered() > before {
            state.call();
        }
    }

    /// Nobody waits for it any more. What is not over is reset.
    pub(super) fn let_go(&self, stream: &Stream) {
        stream.let_go();
        let state = &mut *self.state.borrow_mut();
        let before = state.outlet.gathered();
        state.wire.reset(stream.number.get(), Code::Cancel, state.outlet.open(&self.spare));
        state.has_sent(stream);
        state.let_go_on();
        if state.outlet.gathered() > before || state.wire.is_left() {
            state.call();
        }
    }

    /// Sends trailers, when there is room.
    pub(super) fn poll_trailers(
        &self,
        stream: &Rc<Stream>,
        fields: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> Poll<Result<(), StreamClosed>> {
        ready!(self.poll_room(stream));
        stream.is_queued.set(false);
        let state = &mut *self.state.borrow_mut();
        let out = state.outlet.open(&self.spare);
        let is_sent = state.wire.send_head(stream.number.get(), EndStream::Set, out, fields);
        state.has_sent(stream);
        state.call();
        state.let_go_on();
        Poll::Ready(if is_sent { Ok(()) } else { Err(StreamClosed) })
    }

    /// Sends a piece of the request's body, as fast as there is room for it; says how much has gone. `end` is for the last of it.
    // Hot: once a frame.
    pub(super) fn poll_data(
        &self,
        stream: &Rc<Stream>,
        piece: &mut Bytes,
        end: EndStream,
    ) -> Poll<Result<usize, StreamClosed>> {
        ready!(self.poll_room(stream));
        let state = &mut *self.state.borrow_mut();
        let mut most = state.outlet.share(piece.len());
        if stream.need == Need::Talk {
            let left = state.wire.window().saturating_sub(state.reserved);
            most = most.min(left).min(state.wire.fair_share(stream.number.get()));
            if most == 0 && !piece.is_empty() && state.wire.has_window() {
                stream.waits_for_window.set(true);
                queue_up(&mut state.for_share, stream);
                state.let_go_on();
                return Poll::Pending;
            }
        }
        let sent = state.wire.send_data(stream.number.get(), piece, end, most, state.outlet.open(&self.spare));
        let polled = match sent {
            Sent::Frame(bytes) => {
                stream.is_queued.set(false);
                piece.advance(bytes);
                let taken = bytes.min(stream.reserved.get());
                stream.reserved.set(stream.reserved.get() - taken);
                state.reserved -= taken;
                if end == EndStream::Set && piece.is_empty() {
                    state.has_sent(stream);
                }
                if state.outlet.has_room() || state.write_records() {
                    state.call();
                }
                Poll::Ready(Ok(bytes))
            }
            Sent::NoRoom(Whose::Stream) => {
                stream.waits_for_window.set(true);
                Poll::Pending
            }
            Sent::NoRoom(Whose::Connection) => {
                queue_up(&mut state.for_window, stream);
                Poll::Pending
            }
            Sent::Closed => Poll::Ready(Err(StreamClosed)),
        };
        state.let_go_on();
        polled
    }

    /// Ready when there is room to write.
    fn poll_room(&self, stream: &Rc<Stream>) -> Poll<()> {
        let state = &mut *self.state.borrow_mut();
        if state.outlet.has_room() || state.write_records() {
            return Poll::Ready(());
        }
        queue_up(&mut state.for_room, stream);
        Poll::Pending
    }

    /// What the connection's task does whenever it runs. Ready when it is over.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<End> {
        self.state.borrow_mut().begin_turn(cx);
        let taken = self.poll_take(cx);
        let state = &mut *self.state.borrow_mut();
        if let Some(error) = state.broken.take() {
            return Poll::Ready(error.into());
        }
        if let Poll::Ready(end) = taken {
            if let End::Fault(fault) = end {
                state.wire.fail(fault, state.outlet.open(&self.spare));
                // It is told if it has room for that.
                let _ = state.poll_leave(cx, &self.spare);
            }
            return Poll::Ready(end);
        }
        let left = match state.poll_leave(cx, &self.spare) {
            Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        if std::mem::take(&mut state.is_clogged) && left {
            // There is room again, and nothing else would wake it to read on.
            cx.waker().wake_by_ref();
        }
        if state.wire.has_begun() {
            // In one turn with what followed of windows.
            state.making.take().into_iter().for_each(|making| making.come_about(state.wire.streams_at_a_time()));
        }
        let is_left = state.is_unwanted || state.wire.is_left();
        if is_left && state.wire.streams() == 0 && left { Poll::Ready(End::Closed) } else { Poll::Pending }
    }

    /// The connection is over: so are its streams.
    fn close(&self) {
        let state = &mut *self.state.borrow_mut();
        state.io = None;
        state.pass = None;
        // It came to nothing before the origin has said anything: others would hear no more.
        state.making.take().into_iter().for_each(|making| making.fail(Problem::Origin(OriginFault::Broken)));
        state.for_room.clear();
        state.for_window.clear();
        state.for_share.clear();
        state.wire.owners().filter_map(Option::take).for_each(|stream| stream.close(Closed::Broken));
    }

    /// Takes what comes.
    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<End> {
        let mut reading = FrameTurn::default();
        loop {
            match self.take_frames(&mut reading) {
                Err(fault) => return Poll::Ready(End::Fault(fault)),
                Ok(Pause::Hungry) => {}
                Ok(Pause::Turn) => {
                    self.turn.use_up();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Pause::Clogged) => {
                    self.state.borrow_mut().is_clogged = true;
                    return Poll::Pending;
                }
            }
            let state = &mut *self.state.borrow_mut();
            let Some(io) = &mut state.io else { return Poll::Ready(End::Closed) };
            match state.unread.poll_read(io, cx, ORIGIN_READ_BYTES_MAX, &self.spare) {
                Poll::Ready(Ok(0)) => return Poll::Ready(End::Closed),
                Poll::Ready(Ok(_)) => state.presence.is_heard = true,
                Poll::Ready(Err(error)) => return Poll::Ready(End::Io(error)),
                Poll::Pending => {
                    if state.wire.streams() == 0
                        && (state.wire.is_in_block() || state.unread.len() > ORIGIN_UNASKED_BYTES_MAX)
                    {
                        tracing::debug!("an origin that nothing is asked of keeps something back");
                        return Poll::Ready(End::Closed);
                    }
                    state.unread.rest(&self.spare);
                    if state.wire.streams() == 0 {
                        state.heads.take().into_iter().for_each(|heads| self.spare.give_read(heads));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Does what the frames say that are here, for as long as a turn lasts.
    fn take_frames(&self, reading: &mut FrameTurn) -> Result<Pause, Fault> {
        let heads = &mut *self.spare.heads.borrow_mut();
        let state = &mut *self.state.borrow_mut();
        loop {
            if state.unread.is_empty() {
                return Ok(Pause::Hungry);
            }
            if state.outlet.is_clogged() {
                return Ok(Pause::Clogged);
            }
            if reading.is_over() {
                return Ok(Pause::Turn);
            }
            let out = state.outlet.open(&self.spare);
            let step = state.wire.next(&state.unread, heads, out)?;
            match step.event {
                Event::Data { owner: Some(stream), at, ends } => {
                    let mut frame = state.unread.split_to(step.used);
                    frame.truncate(at.end);
                    frame.advance(at.start);
                    let bytes = frame.len();
                    state.presence.pings = 0;
                    let received = stream.receive(state.unread.part(frame), ends);
                    let out = state.outlet.open(&self.spare);
                    match received {
                        Ok(()) => state.wire.keep(stream.number.get(), bytes, out),
                        Err(Unwanted) => give_up(&mut state.wire, &stream, out),
                    }
                    continue;
                }
                Event::Answer { owner: Some(stream), ends, head } => {
                    state.presence.pings = 0;
                    let text = self.spare.keep(heads.text(), &mut state.heads);
                    let fields = Fields::Lines(Lines::new(text, heads.take_fields(self.spare.room())));
                    if stream.receive_head(head, fields, ends) == Err(Unwanted) {
                        give_up(&mut state.wire, &stream, state.outlet.open(&self.spare));
                    }
                }
                Event::Trailers { owner: Some(stream) } => {
                    if stream.receive_trailers(forward::trailers(heads.fields())) == Err(Unwanted) {
                        give_up(&mut state.wire, &stream, state.outlet.open(&self.spare));
                    }
                }
                Event::Reset { owner: Some(stream), reason } => {
                    state.has_sent(&stream);
                    stream.close(reason.into());
                }
                Event::Leaving { refused, reason } => {
                    for stream in refused.into_iter().flatten() {
                        state.has_sent(&stream);
                        stream.close(reason.into());
                    }
                }
                Event::Room { owner: Some(stream) } => stream.look_at_window(),
                Event::RoomForAll => {
                    call(&mut state.for_share);
                    state.let_go_on();
                }
                Event::RoomForEach => {
                    state.wire.owners().flatten().for_each(|stream| stream.look_at_window());
                    reading.look_next();
                }
                Event::Hungry => {
                    state.unread.advance(step.used);
                    return Ok(Pause::Hungry);
                }
                // Each stream has an owner, and a server asks for nothing.
                Event::Nothing
                | Event::Data { .. }
                | Event::Answer { .. }
                | Event::Trailers { .. }
                | Event::Reset { .. }
                | Event::Room { .. }
                | Event::Request { .. } => {}
            }
            state.unread.advance(step.used);
        }
    }
}

/// Why no more is taken now.
enum Pause {
    /// All that came was taken.
    Hungry,
    /// It is the turn of others.
    Turn,
    /// The origin has to read first.
    Clogged,
}

impl From<Reason> for Closed {
    fn from(reason: Reason) -> Closed {
        match reason {
            Reason::Refused => Closed::Refused,
            Reason::Http11Required => Closed::Http11Required,
            Reason::Other => Closed::Broken,
        }
    }
}

/// Ends a stream of which no more is wanted.
fn give_up(wire: &mut Wire, stream: &Stream, out: &mut Vec<u8>) {
    wire.reset(stream.number.get(), Code::Cancel, out);
    stream.close(Closed::Broken);
}

impl State {
    fn begin_turn(&mut self, cx: &Context<'_>) {
        self.is_called = false;
        if !self.task.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
        }
        let seconds = self.refilled.elapsed().as_secs();
        if seconds > 0 {
            self.refilled = Instant::now();
            self.wire.refill(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
    }

    /// Nothing more of this request's body is to come, so that others may have what was kept free for it.
    fn has_sent(&mut self, stream: &Stream) {
        let reserved = stream.reserved.take();
        self.reserved -= reserved;
        if reserved > 0 {
            call(&mut self.for_share);
        }
        if stream.need == Need::Whole && stream.is_sending.replace(false) {
            self.is_whole = false;
        }
    }

    /// Something is to be done, soon.
    fn call(&mut self) {
        if !std::mem::replace(&mut self.is_called, true)
            && let Some(task) = &self.task
        {
            task.wake_by_ref();
        }
    }

    /// Writes full records at once. Whether there is room then.
    fn write_records(&mut self) -> bool {
        let (Some(io), Some(task)) = (&mut self.io, &self.task) else { return false };
        if let Err(error) = self.outlet.write_records(io, &mut Context::from_waker(task)) {
            self.broken = Some(error);
            self.call();
            return false;
        }
        self.outlet.has_room()
    }

    /// Writes all that was gathered.
    fn poll_leave(&mut self, cx: &mut Context<'_>, spare: &Spare) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        ready!(self.outlet.poll_leave(io, cx, spare))?;
        self.let_go_on();
        Poll::Ready(Ok(()))
    }

    /// Calls those that wait, if there is room now, in their order. All of them: one whose visitor reads nothing does not come, and the
    /// others would wait for it.
    fn let_go_on(&mut self) {
        if self.outlet.has_room() {
            call(&mut self.for_room);
        }
        // An origin that makes room octet by octet wakes nobody for each. A window that is all there has more (RFC 9113 §6.9.2).
        if self.wire.window() >= CALLED_FROM {
            call(&mut self.for_window);
        }
    }
}

/// From so much of the connection's window on those that wait for it are called.
const CALLED_FROM: usize = 4 * 1024;

fn queue_up(queue: &mut VecDeque<Rc<Stream>>, stream: &Rc<Stream>) {
    if !stream.is_queued.replace(true) {
        queue.push_back(Rc::clone(stream));
    }
}

fn call(queue: &mut VecDeque<Rc<Stream>>) {
    for stream in queue.drain(..) {
        // One that was woken otherwise may have gone on already.
        if stream.is_queued.replace(false) && !stream.is_let_go() {
            stream.wake();
        }
    }
}
