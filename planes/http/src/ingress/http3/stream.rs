//! What a stream's task and the body that comes on it share.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{Body, BodyError, Frame, Length};
use bartizan_wire::http1;
use bartizan_wire::http3::{Code, Event, Fault, HeadRoom, RequestHead, RequestStream, Scope, put_block};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use quinn::{ReadError, RecvStream, SendStream, StoppedError, VarInt};
use tokio::io::ReadBuf;

use super::session::Session;
use crate::forward;
use crate::ingress::arrive::Pace;
use crate::ingress::block::Block;
use crate::ingress::deadline::Awaited;
use crate::ingress::requests::UnderWay;
use crate::ingress::stream_reply::StreamClosed;
use crate::limits::{FIELDS_MAX, HEAD_BYTES_MAX, INTERIM_BYTES_MAX, TURN_READ_BYTES};
use crate::worker::Worker;

const LIMITS: bartizan_wire::http3::Limits =
    bartizan_wire::http3::Limits { list_bytes: HEAD_BYTES_MAX, fields: FIELDS_MAX };

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>>>>;

pub(super) struct Stream {
    session: Rc<Session>,
    sending: RefCell<Sending>,
    receiving: RefCell<Receiving>,
    /// What it holds of the memory of its connection.
    held: Cell<usize>,
    is_finished: Cell<bool>,
    fate: RefCell<Fate>,
}

/// What becomes of what we send.
struct Fate {
    stopped: Stopped,
    /// None while it is not known.
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All of it was taken.
    Taken,
    /// The visitor wants no more, or its connection is over.
    Closed,
}

struct Sending {
    io: SendStream,
    /// What was written here and has not left, from here on.
    unsent: Vec<u8>,
    sent: usize,
    /// What is still to come of a frame of data whose head was written.
    in_frame: usize,
    /// What interim answers among it hold of the memory of the connection.
    held: usize,
}

struct Receiving {
    io: RecvStream,
    frames: RequestStream,
    unread: BytesMut,
    /// What is held of memory for what has come and is of no use yet.
    held: usize,
    trailers: Option<HeaderMap>,
    /// What was found ahead of who reads.
    cut: Option<Cut>,
    /// Whether the visitor has ended it, or we read no more of it.
    is_over: bool,
}

/// What came next.
enum Next {
    Data(Bytes),
    End,
}

/// Why no more comes.
pub(super) enum Cut {
    /// The visitor has broken it off.
    Broken,
    Fault(Fault),
    /// There is no memory for it.
    Memory,
}

impl From<ReadError> for Cut {
    fn from(_: ReadError) -> Cut {
        Cut::Broken
    }
}

impl From<Fault> for Cut {
    fn from(fault: Fault) -> Cut {
        Cut::Fault(fault)
    }
}

impl Stream {
    pub(super) fn new(session: &Rc<Session>, send: SendStream, receive: RecvStream) -> Rc<Stream> {
        let stopped = Box::pin(send.stopped());
        Rc::new(Stream {
            session: Rc::clone(session),
            sending: RefCell::new(Sending { io: send, unsent: Vec::new(), sent: 0, in_frame: 0, held: 0 }),
            receiving: RefCell::new(Receiving {
                io: receive,
                frames: RequestStream::new(LIMITS),
                unread: BytesMut::new(),
                held: 0,
                trailers: None,
                cut: None,
                is_over: false,
            }),
            held: Cell::new(0),
            is_finished: Cell::new(false),
            fate: RefCell::new(Fate { stopped, ended: None }),
        })
    }

    /// To be called by its task whenever that runs. Ready when nothing is left to be done on it.
    pub(super) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_ended(cx) {
            Poll::Ready(Ended::Closed) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    /// Ready when the visitor has all that was sent, or wants none of it any more.
    pub(super) fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_ended(cx).map(drop)
    }

    fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Ended> {
        let mut fate = self.fate.borrow_mut();
        if fate.ended.is_none() {
            fate.ended = Some(match ready!(fate.stopped.as_mut().poll(cx)) {
                Ok(None) => Ended::Taken,
                Ok(Some(_)) | Err(_) => Ended::Closed,
            });
        }
        fate.ended.map_or(Poll::Pending, Poll::Ready)
    }

    /// So much more waits. False if there is no memory for it.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        self.note_held(bytes, self.session.connection.hold(bytes, &self.session.worker))
    }

    /// The same for what it could do without.
    fn try_to_hold(&self, bytes: usize) -> bool {
        self.note_held(bytes, self.session.connection.try_to_hold(bytes, &self.session.worker))
    }

    fn note_held(&self, bytes: usize, is_held: bool) -> bool {
        if is_held {
            self.held.set(self.held.get() + bytes);
        }
        is_held
    }

    /// So much waits no more.
    pub(super) fn let_go(&self, bytes: usize) {
        self.held.set(self.held.get() - bytes);
        self.session.connection.let_go(bytes);
    }

    /// Reads its head, and gives it to `arrive`, together with where its fields are.
    pub(super) fn poll_head<T>(
        &self,
        cx: &mut Context<'_>,
        arrive: impl FnOnce(Result<RequestHead, http1::Refusal>, &mut HeadRoom) -> T,
    ) -> Poll<Result<T, Cut>> {
        let spare = &self.session.worker.spare;
        let mut receiving = self.receiving.borrow_mut();
        loop {
            if !receiving.unread.is_empty() {
                let heads = &mut *spare.heads.borrow_mut();
                let Receiving { frames, unread, .. } = &mut *receiving;
                let step = frames.next(unread, heads)?;
                unread.advance(step.used);
                self.session.spend(step.idle)?;
                if let Event::Head(head) = step.event {
                    // It may look whether a body follows.
                    drop(receiving);
                    let arrived = arrive(head, heads);
                    self.receiving.borrow_mut().recount(self);
                    return Poll::Ready(Ok(arrived));
                }
                continue;
            }
            match ready!(self.poll_read(&mut receiving, cx))? {
                0 => {
                    receiving.finish()?;
                    // Without a head there is no end.
                    return Poll::Ready(Err(Cut::Broken));
                }
                _ => continue,
            }
        }
    }

    /// What the body has next.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Next, Cut>> {
        let spare = &self.session.worker.spare;
        let mut receiving = self.receiving.borrow_mut();
        if let Some(cut) = receiving.cut.take() {
            return Poll::Ready(Err(cut));
        }
        loop {
            if receiving.is_over {
                return Poll::Ready(Ok(Next::End));
            }
            if !receiving.unread.is_empty() {
                let heads = &mut *spare.heads.borrow_mut();
                let Receiving { frames, unread, trailers, held, .. } = &mut *receiving;
                let step = frames.next(unread, heads)?;
                self.session.spend(step.idle)?;
                let mut piece = unread.split_to(step.used);
                match step.event {
                    Event::Data(at) => {
                        piece.truncate(at.end);
                        piece.advance(at.start);
                        // It is counted as that from now on.
                        *held -= piece.len();
                        receiving.recount(self);
                        return Poll::Ready(Ok(Next::Data(piece.freeze())));
                    }
                    Event::Trailers => {
                        *trailers = Some(forward::trailers(heads.fields())).filter(|trailers| !trailers.is_empty());
                    }
                    Event::Hungry | Event::Head(_) => {}
                }
                receiving.recount(self);
                continue;
            }
            if ready!(self.poll_read(&mut receiving, cx))? == 0 {
                receiving.finish()?;
            }
        }
    }

    /// Reads once, and says how much: nothing at the end.
    fn poll_read(&self, receiving: &mut Receiving, cx: &mut Context<'_>) -> Poll<Result<usize, Cut>> {
        let Session { connection, worker, .. } = &*self.session;
        ready!(connection.turn.poll_move(cx));
        let mut scratch = worker.spare.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch[..TURN_READ_BYTES]);
        ready!(receiving.io.poll_read_buf(cx, &mut buffer))?;
        let read = buffer.filled();
        connection.turn.moved(read.len());
        worker.counters.visitors.bytes_in.add(read.len() as u64);
        if !self.hold(read.len()) {
            return Poll::Ready(Err(Cut::Memory));
        }
        receiving.held += read.len();
        receiving.unread.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }

    /// Whether the visitor has not ended it.
    pub(super) fn is_receiving(&self) -> bool {
        !self.receiving.borrow().is_over
    }

    /// Reads on and drops what comes. Ready when no more does, or when it was more than so much.
    pub(super) fn poll_waste(&self, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        loop {
            match ready!(self.poll_next(cx)) {
                Ok(Next::Data(data)) => {
                    self.let_go(data.len());
                    *left = left.saturating_sub(data.len());
                    if *left == 0 {
                        return Poll::Ready(());
                    }
                }
                Ok(Next::End) => return Poll::Ready(()),
                Err(cut) => {
                    self.cut(&cut);
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Reads no more of it.
    pub(super) fn stop(&self, code: Code) {
        let mut receiving = self.receiving.borrow_mut();
        if !std::mem::replace(&mut receiving.is_over, true) {
            // Fails only if it is over.
            let _ = receiving.io.stop(VarInt::from_u32(code as u32));
        }
    }

    /// Sends no more of it.
    pub(super) fn reset(&self, code: Code) {
        self.stop(code);
        let mut sending = self.sending.borrow_mut();
        sending.unsent.clear();
        self.let_go(std::mem::take(&mut sending.held));
        let _ = sending.io.reset(VarInt::from_u32(code as u32));
    }

    /// What came was no request.
    pub(super) fn cut(&self, cut: &Cut) {
        match cut {
            Cut::Broken => self.receiving.borrow_mut().is_over = true,
            Cut::Memory => self.reset(Code::ExcessiveLoad),
            Cut::Fault(fault) => {
                tracing::trace!(peer = %self.session.connection.peer, %fault, "not HTTP/3");
                match fault.scope {
                    Scope::Stream => self.reset(fault.code),
                    Scope::Connection => self.session.fail(fault.code),
                }
            }
        }
    }

    /// Sends an interim answer (RFC 9110 §15.2), if there is room: it is of use for a moment only.
    pub(super) fn send_interim(&self, status: StatusCode, fields: &HeaderMap) {
        let mut sending = self.sending.borrow_mut();
        if sending.unsent.len() >= INTERIM_BYTES_MAX || sending.in_frame > 0 {
            return;
        }
        let before = sending.unsent.len();
        sending.put_block(|mut block| {
            block.status(status.as_u16());
            block.all(fields);
        });
        let bytes = sending.unsent.len() - before;
        if self.try_to_hold(bytes) {
            sending.held += bytes;
        } else {
            sending.unsent.truncate(before);
        }
    }

    /// Writes what waits. Ready when all of it has left.
    fn poll_leave_of(&self, sending: &mut Sending, cx: &mut Context<'_>) -> Poll<Result<(), StreamClosed>> {
        let left = sending.poll_leave(cx, &self.session);
        if left.is_ready() {
            self.let_go(std::mem::take(&mut sending.held));
        }
        left
    }

    /// Writes the head of an answer, or trailers, once there is room.
    pub(super) fn poll_block(
        &self,
        cx: &mut Context<'_>,
        fields: impl FnOnce(Block<'_>),
    ) -> Poll<Result<(), StreamClosed>> {
        let mut sending = self.sending.borrow_mut();
        ready!(self.poll_leave_of(&mut sending, cx))?;
        sending.put_block(fields);
        // What has not left yet is waited for by what comes next.
        let _ = self.poll_leave_of(&mut sending, cx)?;
        Poll::Ready(Ok(()))
    }

    /// Writes a piece of a body, and says how much has gone.
    // Hot: once a piece.
    pub(super) fn poll_data(&self, cx: &mut Context<'_>, piece: &mut Bytes) -> Poll<Result<usize, StreamClosed>> {
        let mut sending = self.sending.borrow_mut();
        if sending.in_frame == 0 && !piece.is_empty() {
            ready!(self.poll_leave_of(&mut sending, cx))?;
            bartizan_wire::http3::put_data_head(piece.len(), &mut sending.unsent);
            sending.in_frame = piece.len();
        }
        ready!(self.poll_leave_of(&mut sending, cx))?;
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let written = ready!(sending.poll_write(cx, &self.session, piece))?;
        sending.in_frame -= written;
        piece.advance(written);
        Poll::Ready(Ok(written))
    }

    /// Ready when all has left that was written.
    pub(super) fn poll_leave(&self, cx: &mut Context<'_>) -> Poll<Result<(), StreamClosed>> {
        self.poll_leave_of(&mut self.sending.borrow_mut(), cx)
    }

    /// All was written.
    pub(super) fn finish(&self) {
        // Fails only if it is over.
        let _ = self.sending.borrow_mut().io.finish();
        self.is_finished.set(true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_finished.get() {
            // Or the library would end it as if it were whole.
            self.reset(Code::RequestCancelled);
        }
        self.session.connection.let_go(self.held.get());
    }
}

impl Receiving {
    /// What was used waits no more.
    fn recount(&mut self, stream: &Stream) {
        // While a head is not complete it is all of what came.
        let waits = if self.frames.has_head() { self.unread.len() } else { self.held };
        stream.let_go(self.held - waits);
        self.held = waits;
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.is_over = true;
        self.frames.finish()
    }
}

impl Sending {
    fn put_block(&mut self, fields: impl FnOnce(Block<'_>)) {
        let mut block = Vec::new();
        fields(Block::of_http3(&mut block));
        put_block(&block, &mut self.unsent);
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>, session: &Session) -> Poll<Result<(), StreamClosed>> {
        while self.sent < self.unsent.len() {
            let unsent = std::mem::take(&mut self.unsent);
            let polled = self.poll_write(cx, session, &unsent[self.sent..]);
            self.unsent = unsent;
            self.sent += ready!(polled)?;
        }
        self.unsent.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        session: &Session,
        bytes: &[u8],
    ) -> Poll<Result<usize, StreamClosed>> {
        let mut polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        if polled.is_pending() && session.make_room() {
            polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        }
        let written = ready!(polled).map_err(|_| StreamClosed)?;
        session.connection.turn.moved(written);
        session.worker.counters.visitors.bytes_out.add(written as u64);
        Poll::Ready(Ok(written))
    }
}

/// The body of a request, for who reads it. Its visitor may not hold it back for ever.
pub(super) struct Arriving {
    stream: Rc<Stream>,
    under_way: Rc<UnderWay>,
    pace: Pace,
    /// How much the reader was given last. Until it comes for more, that may wait for the origin.
    lent: usize,
    /// Whether the windows are those of a connection with a body.
    has_window: bool,
}

impl Arriving {
    pub(super) fn new(stream: &Rc<Stream>, under_way: &Rc<UnderWay>, pace: Pace) -> Arriving {
        let (stream, under_way) = (Rc::clone(stream), Rc::clone(under_way));
        Arriving { stream, under_way, pace, lent: 0, has_window: false }
    }

    /// Nothing has to come where the visitor has ended the stream with its head, which most do.
    pub(super) fn into_body(self, length: Option<u64>) -> Body {
        // What is here, and whether that is all, is known after a look; it brings no part of a body.
        if length.is_none_or(|length| length == 0) && self.stream.has_nothing_more() {
            return if length.is_none() { Body::empty() } else { Body::whole(Bytes::new()) };
        }
        Body::frames(length.map_or(Length::Unknown, Length::Known), self)
    }

    /// The reader is done with what it was given.
    fn take_back(&mut self) {
        self.stream.let_go(std::mem::take(&mut self.lent));
    }

    fn worker(&self) -> &Worker {
        &self.stream.session.worker
    }
}

impl Stream {
    /// Whether the visitor has ended it already, with nothing behind the head.
    fn has_nothing_more(&self) -> bool {
        let mut receiving = self.receiving.borrow_mut();
        if !receiving.unread.is_empty() || receiving.is_over {
            return receiving.is_over;
        }
        // Nobody is woken by it: the reader looks again.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let ended = match self.poll_read(&mut receiving, &mut cx) {
            Poll::Ready(Ok(0)) => receiving.finish().map_err(Cut::from),
            Poll::Ready(Err(cut)) => Err(cut),
            Poll::Ready(Ok(_)) | Poll::Pending => return false,
        };
        receiving.cut = ended.err();
        receiving.cut.is_none()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.take_back();
        if self.has_window {
            self.stream.session.end_body();
        }
    }
}

impl futures_util::Stream for Arriving {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.take_back();
        // A WebSocket is quiet most of the time, and has to do with less.
        if this.pace != Pace::Free && !std::mem::replace(&mut this.has_window, true) {
            this.stream.session.begin_body();
        }
        match this.stream.poll_next(cx) {
            Poll::Ready(Ok(Next::Data(data))) => {
                this.lent = data.len();
                this.under_way.reading.moved(data.len(), &this.worker().limits);
                Poll::Ready(Some(Ok(Frame::Data(data))))
            }
            Poll::Ready(Ok(Next::End)) => {
                this.under_way.reading.rest();
                let trailers = this.stream.receiving.borrow_mut().trailers.take();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::Trailers(trailers))))
            }
            Poll::Ready(Err(cut)) => {
                this.stream.cut(&cut);
                Poll::Ready(Some(Err(BodyError::new("the visitor has given up"))))
            }
            Poll::Pending => {
                if this.pace == Pace::Free {
                    return Poll::Pending;
                }
                if this.pace.is_to_be_asked_for() {
                    this.stream.send_interim(StatusCode::CONTINUE, &HeaderMap::new());
                    let _ = this.stream.poll_leave(cx);
                }
                ready!(this.under_way.reading.poll(cx, Awaited::Body, &this.worker().limits));
                this.worker().counters.visitors.too_slow.add(1);
                Poll::Ready(Some(Err(BodyError::new("the visitor sends too slowly"))))
            }
        }
    }
}
