//! What a stream's task and its connection share, and the body that comes on it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bartizan_exchange::{Body, BodyError, Frame, Length};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

use super::session::Session;
use crate::ingress::arrive::Pace;
use crate::ingress::connection::Connection;
use crate::ingress::deadline::Awaited;
use crate::ingress::requests::UnderWay;
use crate::limits::{LINGER_BYTES_MAX, STREAM_WINDOW_BYTES, STREAM_WINDOW_BYTES_MAX, WINDOW_TIME};
use crate::worker::Worker;

pub(super) struct Stream {
    pub(super) number: u32,
    connection: Rc<Connection>,
    /// What it holds of the memory of its connection.
    held: Cell<usize>,
    /// What is here of its body, with what its reader was given last.
    waiting: Cell<usize>,
    /// How much more it may send ahead than at first. That is held for it, whether it is here or not.
    ahead: Cell<usize>,
    /// When the first octet of a window was taken, and how much of it was.
    pace: Cell<Option<(Instant, usize)>>,
    task: RefCell<Option<Waker>>,
    /// Whether it was reset, or its connection has ended.
    is_closed: Cell<bool>,
    /// Whether nothing more is written on it.
    is_answered: Cell<bool>,
    /// Whether it waits for its window.
    pub(super) waits_for_window: Cell<bool>,
    /// Whether it is in a queue of its connection.
    pub(super) is_queued: Cell<bool>,
    intake: RefCell<Intake>,
    /// How much of its body is still read and dropped, once nobody wants it.
    waste_bytes_left: Cell<Option<usize>>,
}

/// What came of the body and was not taken. Its windows bound it.
#[derive(Default)]
struct Intake {
    data: BytesMut,
    trailers: Option<HeaderMap>,
    is_over: bool,
    reader: Option<Waker>,
}

impl Stream {
    pub(super) fn new(number: u32, has_ended: bool, connection: Rc<Connection>) -> Stream {
        Stream {
            number,
            connection,
            held: Cell::new(0),
            waiting: Cell::new(0),
            ahead: Cell::new(0),
            pace: Cell::new(None),
            task: RefCell::default(),
            is_closed: Cell::new(false),
            is_answered: Cell::new(false),
            waits_for_window: Cell::new(false),
            is_queued: Cell::new(false),
            intake: RefCell::new(Intake { is_over: has_ended, ..Intake::default() }),
            waste_bytes_left: Cell::new(None),
        }
    }

    /// To be called by its task whenever that runs. Ready when the stream is closed, and nothing is left to be done.
    pub(super) fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_closed.get() {
            return Poll::Ready(());
        }
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn has_been_answered(&self) {
        self.is_answered.set(true);
    }

    /// Whether it waits for no room any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed.get() || self.is_answered.get()
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.task.borrow() {
            waker.wake_by_ref();
        }
    }

    /// It has a window again.
    pub(super) fn look_at_window(&self) {
        if self.waits_for_window.replace(false) {
            self.wake();
        }
    }

    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.wake();
        self.wake_reader();
    }

    fn wake_reader(&self) {
        if let Some(waker) = self.intake.borrow_mut().reader.take() {
            waker.wake();
        }
    }

    /// So much more waits, of what comes or of the answer. False if there is no memory for it.
    pub(super) fn hold(&self, bytes: usize, worker: &Worker) -> bool {
        let is_held = self.connection.hold(bytes, worker);
        if is_held {
            self.held.set(self.held.get() + bytes);
        }
        is_held
    }

    /// So much waits no more.
    pub(super) fn let_go(&self, bytes: usize) {
        self.held.set(self.held.get() - bytes);
        self.connection.let_go(bytes);
    }

    /// So much more of its body is here. False if there is no memory for it.
    fn hold_body(&self, bytes: usize, worker: &Worker) -> bool {
        let waiting = self.waiting.get() + bytes;
        let more = waiting.saturating_sub(self.held_for_body());
        let is_held = more == 0 || self.hold(more, worker);
        if is_held {
            self.waiting.set(waiting);
        }
        is_held
    }

    /// So much of it was taken, and is not used any more.
    fn let_go_body(&self, bytes: usize) {
        let before = self.held_for_body();
        self.waiting.set(self.waiting.get() - bytes);
        self.let_go(before - self.held_for_body());
    }

    /// No more than what is here comes of it.
    fn let_go_ahead(&self) {
        let before = self.held_for_body();
        self.ahead.set(0);
        self.let_go(before - self.held_for_body());
    }

    fn held_for_body(&self) -> usize {
        self.waiting.get().max(self.ahead.get())
    }

    /// So much of its body is taken. How much more may be sent ahead from now on, and how much that is in all: none, unless a whole
    /// window was taken as fast as it came, and soon. That is held for it then.
    // Hot: once a piece. A look at the clock for each window.
    pub(super) fn take_and_widen(&self, bytes: usize, worker: &Worker) -> Option<(u32, u32)> {
        if self.has_ended() {
            return None;
        }
        let Some((began, taken)) = self.pace.get() else {
            self.pace.set(Some((Instant::now(), bytes)));
            return None;
        };
        let (window, taken) = (STREAM_WINDOW_BYTES as usize + self.ahead.get(), taken + bytes);
        if taken < window {
            self.pace.set(Some((began, taken)));
            return None;
        }
        let now = Instant::now();
        self.pace.set(Some((now, 0)));
        let by = window.min(STREAM_WINDOW_BYTES_MAX as usize - window);
        // An eighth is used for speed, so that a source that does leaves most of what it may have to those who come.
        let is_plenty = || worker.memory.is_plenty_for(worker.memory.used().saturating_mul(3).saturating_add(by));
        if by == 0 || now - began >= WINDOW_TIME || !is_plenty() {
            return None;
        }
        let ahead = self.ahead.get() + by;
        let more = ahead.saturating_sub(self.held_for_body());
        if !self.connection.try_to_hold(more, worker) {
            return None;
        }
        self.held.set(self.held.get() + more);
        self.ahead.set(ahead);
        Some((u32::try_from(by).ok()?, u32::try_from(ahead).ok()?))
    }

    /// Takes what came. Says how much of it is not kept, which makes room at once; none if there is no memory for it.
    pub(super) fn receive(&self, data: BytesMut, ends: bool, worker: &Worker) -> Option<usize> {
        let length = data.len();
        let is_wanted = self.waste_bytes_left.get().is_none();
        if is_wanted && !self.hold_body(length, worker) {
            return None;
        }
        let mut intake = self.intake.borrow_mut();
        intake.is_over |= ends;
        if is_wanted && intake.data.is_empty() {
            intake.data = data;
        } else if is_wanted {
            intake.data.extend_from_slice(&data);
        }
        drop(intake);
        if ends {
            self.let_go_ahead();
        }
        self.wake_reader();
        if is_wanted {
            return Some(0);
        }
        if ends {
            self.wake();
        }
        Some(self.waste(length))
    }

    pub(super) fn receive_trailers(&self, trailers: HeaderMap) {
        let mut intake = self.intake.borrow_mut();
        intake.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
        intake.is_over = true;
        drop(intake);
        self.let_go_ahead();
        self.wake_reader();
        if self.waste_bytes_left.get().is_some() {
            self.wake();
        }
    }

    /// From now on what comes is dropped. Says how much was here.
    pub(super) fn want_no_more(&self) -> usize {
        self.waste_bytes_left.set(Some(LINGER_BYTES_MAX));
        let here = std::mem::take(&mut self.intake.borrow_mut().data).len();
        self.let_go_body(here);
        self.let_go_ahead();
        self.waste(here)
    }

    /// Of so much that was dropped, how much makes room for more: none once it was too much, so that its sender stops and has
    /// a look at its answer.
    fn waste(&self, bytes: usize) -> usize {
        let left = self.waste_bytes_left.get().unwrap_or_default().checked_sub(bytes);
        self.waste_bytes_left.set(Some(left.unwrap_or_default()));
        if left.is_some() { bytes } else { 0 }
    }

    /// Whether all of the body has come.
    pub(super) fn has_ended(&self) -> bool {
        self.intake.borrow().is_over
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.let_go(self.held.get());
    }
}

/// The body of a request, for who reads it. Its visitor may not hold it back for ever.
pub(super) struct Arriving {
    session: Rc<Session>,
    stream: Rc<Stream>,
    under_way: Rc<UnderWay>,
    pace: Pace,
    /// How much the reader was given last. Until it comes for more, that may wait for the origin.
    lent: usize,
}

impl Arriving {
    pub(super) fn new(session: &Rc<Session>, stream: &Rc<Stream>, under_way: &Rc<UnderWay>, pace: Pace) -> Arriving {
        let (session, stream, under_way) = (Rc::clone(session), Rc::clone(stream), Rc::clone(under_way));
        Arriving { session, stream, under_way, pace, lent: 0 }
    }

    pub(super) fn into_body(self, length: Option<u64>) -> Body {
        match (length, self.stream.has_ended()) {
            (None, true) => Body::empty(),
            (Some(_), true) => Body::whole(Bytes::new()),
            (length, false) => Body::frames(length.map_or(Length::Unknown, Length::Known), self),
        }
    }

    /// The reader is done with what it was given.
    fn take_back(&mut self) {
        self.stream.let_go_body(std::mem::take(&mut self.lent));
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.take_back();
    }
}

impl futures_util::Stream for Arriving {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.take_back();
        let limits = &this.session.worker.limits;
        let mut intake = this.stream.intake.borrow_mut();
        if !intake.data.is_empty() {
            let data = std::mem::take(&mut intake.data).freeze();
            drop(intake);
            // More may come while the origin takes this, or each window's worth would wait for the way there and back.
            this.session.took_for_reader(&this.stream, data.len());
            this.lent = data.len();
            this.under_way.reading.moved(data.len(), limits);
            return Poll::Ready(Some(Ok(Frame::Data(data))));
        }
        if intake.is_over {
            this.under_way.reading.rest();
            return Poll::Ready(intake.trailers.take().map(|trailers| Ok(Frame::Trailers(trailers))));
        }
        if this.stream.is_closed.get() {
            return Poll::Ready(Some(Err(BodyError::new("the visitor has given up"))));
        }
        intake.reader = Some(cx.waker().clone());
        drop(intake);
        if this.pace == Pace::Free {
            return Poll::Pending;
        }
        if this.pace.is_to_be_asked_for() {
            this.session.send_interim(&this.stream, StatusCode::CONTINUE, &HeaderMap::new());
        }
        ready!(this.under_way.reading.poll(cx, Awaited::Body, limits));
        this.session.worker.counters.visitors.too_slow.add(1);
        Poll::Ready(Some(Err(BodyError::new("the visitor sends too slowly"))))
    }
}
