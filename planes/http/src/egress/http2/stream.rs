//! What a stream's request and its connection share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Instant;

use bartizan_wire::http1::INTERIM_MAX;
use bartizan_wire::http2::AnswerHead;
use bytes::BytesMut;
use http::{HeaderMap, StatusCode};

use crate::fields::{Fields, bytes_of};
use crate::ingress::{Connection, RequestGuard, UnderWay};
use crate::limits::{ORIGIN_STREAM_WINDOW_BYTES, ORIGIN_STREAM_WINDOW_BYTES_MAX, WINDOW_TIME};
use crate::worker::Worker;

pub(super) struct Stream {
    /// 0 until it is opened.
    pub(super) number: Cell<u32>,
    /// Whose memory holds what comes.
    visitor: Rc<Connection>,
    worker: Rc<Worker>,
    request: Rc<UnderWay>,
    /// How much of it has come and was not taken.
    held: Cell<usize>,
    /// What its window has grown by, which is held for it whether it has come or not.
    ahead: Cell<usize>,
    /// What is counted as the visitor's.
    counted: Cell<usize>,
    /// Since when, and how much, was taken of a window's worth.
    pace: Cell<Option<(Instant, usize)>>,
    /// How its request shares the connection.
    pub(super) need: Need,
    /// What it may take of the window of the connection before all others.
    pub(super) reserved: Cell<usize>,
    /// Until its body has left, or was given up.
    pub(super) is_sending: Cell<bool>,
    task: RefCell<Option<Waker>>,
    /// Whether it waits for its window.
    pub(super) waits_for_window: Cell<bool>,
    /// Whether it is in a queue of its connection.
    pub(super) is_queued: Cell<bool>,
    /// Interim answers that came.
    interim: Cell<usize>,
    /// Nobody waits for anything of it any more.
    is_let_go: Cell<bool>,
    pub(super) intake: RefCell<Intake>,
}

/// What came and was not taken. The stream's window bounds it.
#[derive(Default)]
pub(super) struct Intake {
    pub(super) head: Option<(AnswerHead, Fields)>,
    pub(super) data: BytesMut,
    pub(super) trailers: Option<HeaderMap>,
    /// The origin has sent its last.
    pub(super) is_over: bool,
    pub(super) closed: Option<Closed>,
}

/// What a request needs of the connection that it shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::egress) enum Need {
    /// A stream.
    Stream,
    /// Room for so much.
    Room(usize),
    /// Room for what comes piece by piece, and is answered so.
    Talk,
    /// All of it, for as long as its body takes.
    Whole,
}

/// Why a stream ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::egress) enum Closed {
    /// The origin says that it has done nothing for it.
    Refused,
    /// And that it would over HTTP/1.1.
    Http11Required,
    /// It was reset, or its connection is over.
    Broken,
}

/// What is wrong with what came: its stream is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwanted;

impl Stream {
    pub(super) fn new(request: &RequestGuard, need: Need) -> Rc<Stream> {
        Rc::new(Stream {
            number: Cell::new(0),
            visitor: Rc::clone(&request.connection),
            worker: Rc::clone(&request.worker),
            request: Rc::clone(&request.under_way),
            held: Cell::new(0),
            ahead: Cell::new(0),
            counted: Cell::new(0),
            pace: Cell::new(None),
            need,
            reserved: Cell::new(0),
            is_sending: Cell::new(true),
            task: RefCell::default(),
            waits_for_window: Cell::new(false),
            is_queued: Cell::new(false),
            interim: Cell::new(0),
            is_let_go: Cell::new(false),
            intake: RefCell::default(),
        })
    }

    /// Whoever waits for anything of it is woken by this.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.task.borrow() {
            waker.wake_by_ref();
        }
    }

    /// It has a window again, or less of one.
    pub(super) fn look_at_window(&self) {
        if self.waits_for_window.replace(false) {
            self.wake();
        }
    }

    pub(super) fn let_go(&self) {
        self.is_let_go.set(true);
    }

    pub(super) fn is_let_go(&self) -> bool {
        self.is_let_go.get()
    }

    pub(super) fn close(&self, why: Closed) {
        self.intake.borrow_mut().closed.get_or_insert(why);
        self.wake();
    }

    pub(super) fn receive_head(&self, head: AnswerHead, fields: Fields, ends: bool) -> Result<(), Unwanted> {
        if head.is_interim() {
            self.interim.set(self.interim.get() + 1);
            let status = StatusCode::from_u16(head.status).map_err(|_| Unwanted)?;
            let hold = |bytes| self.visitor.try_to_hold(bytes, &self.worker);
            self.request.interims.pass_on(status, &fields, hold);
            fields.into_room().into_iter().for_each(|room| self.worker.spare.give_room(room));
            self.wake();
            return if self.interim.get() > INTERIM_MAX { Err(Unwanted) } else { Ok(()) };
        }
        self.hold(fields.bytes())?;
        if !ends {
            self.pace.set(Some((Instant::now(), 0)));
        }
        let mut intake = self.intake.borrow_mut();
        intake.head = Some((head, fields));
        intake.is_over = ends;
        drop(intake);
        self.wake();
        Ok(())
    }

    /// An error if its visitor has no memory for it.
    pub(super) fn receive(&self, data: BytesMut, ends: bool) -> Result<(), Unwanted> {
        self.hold(data.len())?;
        let mut intake = self.intake.borrow_mut();
        intake.is_over = ends;
        if intake.data.is_empty() {
            intake.data = data;
        } else {
            intake.data.extend_from_slice(&data);
        }
        drop(intake);
        if ends {
            self.let_go_ahead();
        }
        self.wake();
        Ok(())
    }

    /// An error if its visitor has no memory for them.
    pub(super) fn receive_trailers(&self, trailers: HeaderMap) -> Result<(), Unwanted> {
        self.hold(bytes_of(&trailers))?;
        let mut intake = self.intake.borrow_mut();
        intake.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
        intake.is_over = true;
        drop(intake);
        self.let_go_ahead();
        self.wake();
        Ok(())
    }

    fn hold(&self, bytes: usize) -> Result<(), Unwanted> {
        let held = self.held.get() + bytes;
        let more = held.saturating_sub(self.counted.get());
        if more > 0 && !self.visitor.hold(more, &self.worker) {
            return Err(Unwanted);
        }
        self.counted.set(self.counted.get() + more);
        self.held.set(held);
        Ok(())
    }

    /// So much of it is held no more.
    pub(super) fn release(&self, bytes: usize) {
        self.held.set(self.held.get() - bytes);
        self.count();
    }

    /// So much of a body was taken. How much more the origin may send ahead from now on: none, unless a whole window was taken as fast as
    /// it came, and soon. That is held for it then.
    // Hot: once a piece. A look at the clock for each window.
    pub(super) fn take_and_widen(&self, bytes: usize) -> Option<u32> {
        self.release(bytes);
        let (began, taken) = self.pace.get()?;
        let window = ORIGIN_STREAM_WINDOW_BYTES as usize + self.ahead.get();
        let taken = taken + bytes;
        if taken < window {
            self.pace.set(Some((began, taken)));
            return None;
        }
        let now = Instant::now();
        self.pace.set(Some((now, 0)));
        let by = window.min(ORIGIN_STREAM_WINDOW_BYTES_MAX as usize - window);
        let is_wanted = by > 0 && self.held.get() <= window / 2 && now - began < WINDOW_TIME;
        // An eighth is used for speed, so that a source that does leaves most of what it may have to those who come.
        let memory = &self.worker.memory;
        let is_plenty = || memory.is_plenty_for(memory.used().saturating_mul(3).saturating_add(by));
        if !is_wanted || self.intake.borrow().is_over || !is_plenty() {
            return None;
        }
        let ahead = self.ahead.get() + by;
        let more = ahead.saturating_sub(self.counted.get());
        if more > 0 && !self.visitor.try_to_hold(more, &self.worker) {
            return None;
        }
        self.counted.set(self.counted.get() + more);
        self.ahead.set(ahead);
        u32::try_from(by).ok()
    }

    /// Nothing more comes.
    fn let_go_ahead(&self) {
        self.ahead.set(0);
        self.count();
    }

    /// What is counted and neither here nor to come is not the visitor's any more.
    fn count(&self) {
        let counted = self.held.get().max(self.ahead.get());
        let before = self.counted.replace(counted);
        self.visitor.let_go(before - counted);
    }

    /// So much of the request is kept, if its visitor has memory for it.
    pub(super) fn try_to_keep(&self, bytes: usize) -> bool {
        self.visitor.try_to_hold(bytes, &self.worker)
    }

    pub(super) fn keep_no_more(&self, bytes: usize) {
        self.visitor.let_go(bytes);
    }

    /// What is kept outlives the stream.
    pub(super) fn hand_over(&self, bytes: usize) -> Held {
        Held { visitor: Rc::clone(&self.visitor), bytes }
    }
}

/// So much that is held for a visitor, until this is dropped.
pub(super) struct Held {
    visitor: Rc<Connection>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.visitor.let_go(self.bytes);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.visitor.let_go(self.counted.get());
    }
}
