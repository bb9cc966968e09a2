//! A request's body on its way from the connection to its reader, one piece at a time, so that a slow reader slows the
//! visitor down.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bartizan_exchange::{BodyError, Frame};
use futures_util::Stream;

/// The slot through which pieces are handed over.
#[derive(Default)]
pub(super) struct Handover {
    piece: RefCell<Option<Piece>>,
    /// Whether the reader waits for the next piece.
    wanted: Cell<bool>,
    abandoned: Cell<bool>,
    /// Whether the last piece was taken.
    over: Cell<bool>,
    taker: RefCell<Option<Waker>>,
    giver: RefCell<Option<Waker>>,
}

/// Data, trailers, or how the body ended.
pub(super) type Piece = Option<Result<Frame, BodyError>>;

impl Handover {
    /// Whether the reader is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    /// Ready when the reader wants a piece. Also wakes the task when the reader is dropped.
    pub(super) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        if self.wanted.get() {
            return Poll::Ready(());
        }
        self.giver.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    pub(super) fn give(&self, piece: Piece) {
        self.piece.replace(Some(piece));
        self.pass();
    }

    /// What came goes another way. The reader is told to look there.
    pub(super) fn pass(&self) {
        self.wanted.set(false);
        if let Some(waker) = self.taker.take() {
            waker.wake();
        }
    }
}

/// The reader's end.
pub(super) struct Pieces(pub(super) Rc<Handover>);

impl Stream for Pieces {
    type Item = Result<Frame, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Handover { piece, wanted, over, taker, giver, .. } = &*self.0;
        if let Some(piece) = piece.take() {
            over.set(!matches!(piece, Some(Ok(Frame::Data(_)))));
            return Poll::Ready(piece);
        }
        if over.get() {
            return Poll::Ready(None);
        }
        taker.replace(Some(cx.waker().clone()));
        wanted.set(true);
        if let Some(waker) = giver.take() {
            waker.wake();
        }
        Poll::Pending
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.0.abandoned.set(true);
        if let Some(waker) = self.0.giver.take() {
            waker.wake();
        }
    }
}
