//! What a stream's request and its connection share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use bartizan_wire::http1::INTERIM_MAX;
use bartizan_wire::http2::AnswerHead;
use bytes::BytesMut;
use http::{HeaderMap, StatusCode};

use crate::fields::{Fields, bytes_of};
use crate::ingress::{Connection, RequestGuard, UnderWay};
use crate::worker::Worker;

pub(super) struct Stream {
    /// 0 until it is opened.
    pub(super) number: Cell<u32>,
    /// Whose memory holds what comes.
    visitor: Rc<Connection>,
    worker: Rc<Worker>,
    request: Rc<UnderWay>,
    /// How much of it that is.
    held: Cell<usize>,
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

/// Why a stream ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The origin says that it has done nothing for it.
    Refused,
    /// It was reset, or its connection is over.
    Broken,
}

/// What is wrong with what came: its stream is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwanted;

impl Stream {
    pub(super) fn new(request: &RequestGuard) -> Rc<Stream> {
        Rc::new(Stream {
            number: Cell::new(0),
            visitor: Rc::clone(&request.connection),
            worker: Rc::clone(&request.worker),
            request: Rc::clone(&request.under_way),
            held: Cell::new(0),
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
        self.wake();
        Ok(())
    }

    fn hold(&self, bytes: usize) -> Result<(), Unwanted> {
        if !self.visitor.hold(bytes, &self.worker) {
            return Err(Unwanted);
        }
        self.held.set(self.held.get() + bytes);
        Ok(())
    }

    /// So much of it is held no more.
    pub(super) fn release(&self, bytes: usize) {
        self.held.set(self.held.get() - bytes);
        self.visitor.let_go(bytes);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.visitor.let_go(self.held.get());
    }
}
