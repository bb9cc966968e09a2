//! One connection: its task reads frames and writes what was gathered; the tasks of its streams put their answers in
//! between.
//!
//! All of them run on one thread, and each borrows the state for as long as it takes to put a frame.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bartizan_tls::ServerStream;
use bartizan_wire::http1;
use bartizan_wire::http2::hpack::Encoder;
use bartizan_wire::http2::{self, Code, EndStream, Event, Fault, HeadRoom, RequestHead, Sent, Unfinished, Whose};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use tokio::net::TcpStream;

use super::reply;
use super::stream::{Arriving, Stream};
use crate::forward;
use crate::ingress::arrive::{Pace, arrive};
use crate::ingress::block::Block;
use crate::ingress::connection::Connection;
use crate::ingress::deadline::Awaited;
use crate::ingress::refusal::Refusal;
use crate::ingress::stream_reply::StreamClosed;
use crate::ingress::turn::{FrameTurn, let_others_go_first};
use crate::ingress::wire::Wire;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, FIELDS_MAX, HEAD_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX, TURN_READ_BYTES,
};
use crate::outlet::Outlet;
use crate::spare::{Spare, Unread};
use crate::worker::Worker;

type Io = Wire<ServerStream<TcpStream>>;

const LIMITS: http2::Limits = http2::Limits {
    streams: STREAMS_MAX,
    stream_window: STREAM_WINDOW_BYTES,
    connection_window: CONNECTION_WINDOW_BYTES,
    list_bytes: HEAD_BYTES_MAX,
    fields: FIELDS_MAX,
};

/// The end of who does not finish what it began to send.
const TOO_SLOW: Fault = Fault { code: Code::NoError, what: "what was begun does not come to its end" };

pub(super) struct Session {
    pub(super) connection: Rc<Connection>,
    pub(super) worker: Rc<Worker>,
    state: RefCell<State>,
}

struct State {
    /// None once the connection is over.
    io: Option<Io>,
    wire: http2::Connection<Option<Rc<Stream>>>,
    outlet: Outlet,
    unread: Unread,
    /// Memory for the heads of requests; none while there are no streams.
    heads: Option<BytesMut>,
    /// Streams that wait until there is room to write, and for the window of the connection, in their order.
    for_room: VecDeque<Rc<Stream>>,
    for_window: VecDeque<Rc<Stream>>,
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
}

/// Why no more is read now.
enum Pause {
    /// All that came was taken.
    Hungry,
    /// It is the turn of others.
    Turn,
    /// The visitor has to read first.
    Clogged,
}

/// What was done in this turn.
#[derive(Default)]
struct Reading {
    bytes: usize,
    frames: FrameTurn,
}

impl Session {
    pub(super) fn new(io: Io, connection: Rc<Connection>, worker: Rc<Worker>) -> Rc<Session> {
        let mut outlet = Outlet::default();
        let wire = http2::Connection::new(LIMITS, outlet.open(&worker.spare));
        let state = State {
            io: Some(io),
            wire,
            outlet,
            unread: Unread::default(),
            heads: None,
            for_room: VecDeque::new(),
            for_window: VecDeque::new(),
            task: None,
            is_called: false,
            is_clogged: false,
            broken: None,
            refilled: Instant::now(),
        };
        Rc::new(Session { connection, worker, state: RefCell::new(state) })
    }

    /// What the connection's task does whenever it runs. Ready when no more will be served; then [`Session::finish`].
    pub(super) fn poll(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().begin_turn(cx);
        let taken = self.poll_take(cx);
        let state = &mut *self.state.borrow_mut();
        if let Some(error) = state.broken.take() {
            return Poll::Ready(Err(error));
        }
        match taken {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(End::Fault(fault))) => {
                tracing::trace!(peer = %self.connection.peer, %fault, "connection failed");
                state.wire.fail(fault, state.outlet.open(&self.worker.spare));
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(End::Io(error))) => return Poll::Ready(Err(error)),
            Poll::Pending => {}
        }
        let left = state.poll_leave(cx, &self.worker.spare)?;
        if std::mem::take(&mut state.is_clogged) && left.is_ready() {
            // There is room again, and nothing else would wake it to read on.
            cx.waker().wake_by_ref();
        }
        if state.wire.has_left() && left.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Ends all streams, and gives the connection back, with all written that was to be written, if it could be.
    pub(super) async fn finish(&self) -> Option<Io> {
        self.end_streams();
        let written = std::future::poll_fn(|cx| self.state.borrow_mut().poll_leave(cx, &self.worker.spare)).await;
        if let Err(error) = written {
            tracing::trace!(%error, "the end of a connection cannot be written");
        }
        self.state.borrow_mut().io.take()
    }

    /// The connection is over: so are its streams.
    pub(super) fn close(&self) {
        self.end_streams();
        self.state.borrow_mut().io = None;
    }

    fn end_streams(&self) {
        let state = &mut *self.state.borrow_mut();
        state.wire.owners().filter_map(Option::take).for_each(|stream| stream.close());
        state.for_room.clear();
        state.for_window.clear();
    }

    /// Whether the visitor has said that it speaks HTTP/2.
    pub(super) fn has_begun(&self) -> bool {
        self.state.borrow().wire.has_begun()
    }

    /// Tells the visitor to ask for nothing more.
    pub(super) fn leave(&self) {
        self.change(|state, out| state.leave(out));
    }

    /// So much of a body was taken.
    pub(super) fn took(&self, stream: &Stream, bytes: usize) {
        self.change(|wire, out| wire.took(stream.number, bytes, out));
    }

    /// The same of one that goes on, whose sender may have use for more room.
    pub(super) fn took_for_reader(&self, stream: &Stream, bytes: usize) {
        let wider = stream.take_and_widen(bytes, &self.worker);
        self.change(|wire, out| {
            wire.took(stream.number, bytes, out);
            if let Some((by, ahead)) = wider
                && wire.widen(stream.number, by, out)
            {
                wire.widen_all(CONNECTION_WINDOW_BYTES + ahead, out);
            }
        });
    }

    pub(super) fn is_receiving(&self, stream: &Stream) -> bool {
        self.state.borrow_mut().wire.is_receiving(stream.number)
    }

    pub(super) fn reset(&self, stream: &Stream, code: Code) {
        self.change(|wire, out| wire.reset(stream.number, code, out));
    }

    /// Sends an interim answer (RFC 9110 §15.2), if there is room: it is of use for a moment only.
    pub(super) fn send_interim(&self, stream: &Stream, status: StatusCode, fields: &HeaderMap) {
        if !self.state.borrow().outlet.has_room() {
            return;
        }
        self.change(|wire, out| {
            wire.send_head(stream.number, EndStream::Unset, out, |encoder, out| {
                let mut block = Block::of_http2(encoder, out);
                block.status(status.as_u16());
                block.all(fields);
            })
        });
    }

    /// Sends the head of an answer, or trailers, when there is room. The stream's task is woken to try again, as below.
    pub(super) fn poll_head(
        &self,
        stream: &Rc<Stream>,
        end: EndStream,
        fields: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> Poll<Result<(), StreamClosed>> {
        ready!(self.poll_room(stream));
        stream.is_queued.set(false);
        let is_sent = self.change(|wire, out| wire.send_head(stream.number, end, out, fields));
        Poll::Ready(if is_sent { Ok(()) } else { Err(StreamClosed) })
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

    /// Sends a piece of the answer's body, as fast as there is room for it; says how much has gone. `end` is for the last of
    /// it.
    // Hot: once a frame.
    pub(super) fn poll_data(
        &self,
        stream: &Rc<Stream>,
        piece: &mut Bytes,
        end: EndStream,
    ) -> Poll<Result<usize, StreamClosed>> {
        ready!(self.poll_room(stream));
        let state = &mut *self.state.borrow_mut();
        let most = state.outlet.share(piece.len());
        let sent = state.wire.send_data(stream.number, piece, end, most, state.outlet.open(&self.worker.spare));
        let polled = match sent {
            Sent::Frame(bytes) => {
                stream.is_queued.set(false);
                piece.advance(bytes);
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
        state.let_next_go();
        polled
    }

    /// To be called when a stream is done, which may have been called for room that it did not use.
    pub(super) fn let_next_go(&self) {
        self.state.borrow_mut().let_next_go();
    }

    /// Changes something of the protocol that is told to the visitor.
    fn change<T>(&self, change: impl FnOnce(&mut http2::Connection<Option<Rc<Stream>>>, &mut Vec<u8>) -> T) -> T {
        let state = &mut *self.state.borrow_mut();
        let changed = change(&mut state.wire, state.outlet.open(&self.worker.spare));
        state.call();
        changed
    }

    /// Takes what comes. Ready when no more of it is of interest.
    fn poll_take(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut reading = Reading::default();
        let spare = &self.worker.spare;
        loop {
            match self.take_frames(&mut reading)? {
                Pause::Hungry if reading.bytes < TURN_READ_BYTES => {}
                Pause::Hungry | Pause::Turn => {
                    let_others_go_first(cx);
                    return Poll::Pending;
                }
                Pause::Clogged => {
                    self.state.borrow_mut().is_clogged = true;
                    return Poll::Pending;
                }
            }
            let state = &mut *self.state.borrow_mut();
            let Some(io) = &mut state.io else { return Poll::Ready(Ok(())) };
            match state.unread.poll_read(io, cx, TURN_READ_BYTES, spare)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(bytes) => reading.bytes += bytes,
                Poll::Pending => {
                    state.unread.rest(spare);
                    return self.poll_silence(state, cx);
                }
            }
        }
    }

    /// Nothing comes. Ready when more of what was begun should have, or when somebody should have answered.
    fn poll_silence(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let (reading, limits) = (&self.connection.reading, &self.worker.limits);
        if state.wire.streams() == 0 {
            state.heads.take().into_iter().for_each(|heads| self.worker.spare.give_read(heads));
        }
        if let Some(unfinished) = state.wire.unfinished(&state.unread) {
            let awaited = match unfinished {
                Unfinished::Head => Awaited::Head,
                Unfinished::Data => Awaited::Body,
            };
            ready!(reading.poll(cx, awaited, limits));
            self.worker.counters.visitors.too_slow.add(1);
            return Poll::Ready(Err(End::Fault(TOO_SLOW)));
        }
        while state.wire.streams() > 0 {
            let awaited = if state.wire.is_pinging() { Awaited::Pong } else { Awaited::Sign };
            ready!(reading.poll(cx, awaited, limits));
            if awaited == Awaited::Pong {
                return Poll::Ready(Err(End::Io(io::ErrorKind::TimedOut.into())));
            }
            reading.rest();
            state.wire.ping(state.outlet.open(&self.worker.spare));
        }
        reading.rest();
        Poll::Pending
    }

    /// Does what the frames say that are here, for as long as a turn lasts.
    fn take_frames(self: &Rc<Self>, reading: &mut Reading) -> Result<Pause, End> {
        let heads = &mut *self.worker.spare.heads.borrow_mut();
        loop {
            let state = &mut *self.state.borrow_mut();
            if state.unread.is_empty() {
                return Ok(Pause::Hungry);
            }
            if state.outlet.is_clogged() {
                return Ok(Pause::Clogged);
            }
            if reading.frames.is_over() {
                return Ok(Pause::Turn);
            }
            let out = state.outlet.open(&self.worker.spare);
            let was_in_block = state.wire.is_in_block();
            let step = state.wire.next(&state.unread, heads, out).map_err(End::Fault)?;
            let is_progress = step.used > 0 && !(was_in_block && state.wire.is_in_block());
            if is_progress && state.wire.has_begun() {
                self.connection.reading.rest();
            }
            match step.event {
                Event::Data { owner: Some(stream), at, ends } => {
                    let mut frame = state.unread.split_to(step.used);
                    frame.truncate(at.end);
                    frame.advance(at.start);
                    let out = state.outlet.open(&self.worker.spare);
                    match stream.receive(state.unread.part(frame), ends, &self.worker) {
                        Some(0) => {}
                        Some(wasted) => state.wire.took(stream.number, wasted, out),
                        None => {
                            state.wire.reset(stream.number, Code::EnhanceYourCalm, out);
                            stream.close();
                        }
                    }
                    continue;
                }
                Event::Request { stream, ends, head } => self.begin(state, (stream, ends), head, heads),
                Event::Trailers { owner: Some(stream) } => stream.receive_trailers(forward::trailers(heads.fields())),
                Event::Reset { owner: Some(stream), .. } => stream.close(),
                Event::Room { owner: Some(stream) } => stream.look_at_window(),
                Event::RoomForAll => state.let_next_go(),
                Event::RoomForEach => {
                    // Who has none still is not woken: windows that go to and fro would do that a hundred times each.
                    state.wire.owners_with_window().flatten().for_each(|stream| stream.look_at_window());
                    reading.frames.look_next();
                }
                Event::Hungry => {
                    state.unread.advance(step.used);
                    return Ok(Pause::Hungry);
                }
                // A stream without an owner is over.
                Event::Data { .. } | Event::Trailers { .. } | Event::Reset { .. } | Event::Room { .. } => {}
                // A server is answered nothing.
                Event::Nothing | Event::Answer { .. } | Event::Leaving { .. } => {}
            }
            state.unread.advance(step.used);
        }
    }

    /// A request has come.
    fn begin(
        self: &Rc<Self>,
        state: &mut State,
        (number, ends): (u32, bool),
        head: Result<RequestHead, http1::Refusal>,
        heads: &mut HeadRoom,
    ) {
        let guard = self.connection.begin_stream(&self.worker);
        self.worker.counters.requests.http2.add(1);
        let stream = Rc::new(Stream::new(number, ends, Rc::clone(&self.connection)));
        if let Some(owner) = state.wire.owner_of(number) {
            *owner = Some(Rc::clone(&stream));
        }
        // It is kept for as long as nothing is answered, and one that is sent in few octets may be long (RFC 7541 §7.3).
        if !stream.hold(heads.text().len(), &self.worker) {
            state.wire.reset(number, Code::EnhanceYourCalm, state.outlet.open(&self.worker.spare));
            return stream.close();
        }
        let arrived = head.map_err(Refusal::from).and_then(|head| {
            let text = self.worker.spare.keep(heads.text(), &mut state.heads);
            let body = Arriving::new(self, &stream, &guard.under_way, Pace::of(&head)).into_body(head.length);
            arrive((&head, Version::HTTP_2), (text, heads), body, &self.connection, &self.worker)
        });
        reply::spawn(Rc::clone(self), stream, arrived, guard);
    }
}

/// Why no more is read.
enum End {
    Fault(Fault),
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Io(error)
    }
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

    /// Something is to be written, soon.
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
        self.let_next_go();
        Poll::Ready(Ok(()))
    }

    /// Calls the stream that has waited longest, if there is room now. It calls the next when it is done.
    fn let_next_go(&mut self) {
        if self.outlet.has_room() {
            call_first(&mut self.for_room);
        }
        if self.wire.has_window() {
            call_first(&mut self.for_window);
        }
    }
}

fn queue_up(queue: &mut VecDeque<Rc<Stream>>, stream: &Rc<Stream>) {
    if !stream.is_queued.replace(true) {
        queue.push_back(Rc::clone(stream));
    }
}

fn call_first(queue: &mut VecDeque<Rc<Stream>>) {
    while let Some(stream) = queue.pop_front() {
        // One that was woken otherwise may have gone on already.
        if stream.is_queued.replace(false) && !stream.is_over() {
            return stream.wake();
        }
    }
}
