//! How long an origin may be silent. Any progress starts the time anew: while an upload goes on, the origin is waiting.
//!
//! There are no timers here: the worker looks at what is under way once in `expire_every`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bartizan_exchange::{Body, BodyError, Frame};
use futures_util::Stream;

use crate::ingress::{Awaited, UnderWay};

/// The patience with the origin of one request.
#[derive(Clone)]
pub(crate) struct Patience {
    pub(crate) request: Rc<UnderWay>,
    /// How long it may be silent.
    pub(crate) silence_max: Duration,
}

impl Patience {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.request.answering.poll_within(cx, Awaited::Answer(self.silence_max), self.silence_max)
    }

    /// The request's body, which ends with an error behind so many octets; what is taken from it is progress.
    pub(crate) fn watch(&self, body: Body, left: u64) -> Body {
        if body.is_here() {
            return body;
        }
        Body::frames(body.length(), Watched { body, left, request: Rc::clone(&self.request) })
    }

    /// Waits for `answer` until it is at an end.
    // Hot: once a request. No allocation.
    pub(crate) async fn wait<F: Future>(&self, mut answer: Pin<&mut F>) -> Option<F::Output> {
        // What was taken before is of no account: making the connection may have taken some time since.
        self.request.answering.rest();
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }

    /// Extends it to the answer's body, which ends with an error when it is read and nothing comes for too long. An error
    /// if it is broken already: then the head has not been passed on yet, and need not be.
    pub(crate) async fn extend_to(&self, body: &mut Body) -> Result<(), BodyError> {
        self.request.answering.rest();
        if body.is_here() {
            return Ok(());
        }
        let first = match poll_fn(|cx| Poll::Ready(body.poll_frame(cx))).await {
            Poll::Ready(Some(Err(error))) => return Err(error),
            Poll::Ready(first) => Some(first),
            Poll::Pending => None,
        };
        let length = body.length();
        let coming = std::mem::replace(body, Body::empty());
        *body = Body::frames(length, Patient { first, body: coming, patience: self.clone() });
        Ok(())
    }
}

struct Watched {
    body: Body,
    /// Octets that it may still have.
    left: u64,
    request: Rc<UnderWay>,
}

impl Stream for Watched {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(self.body.poll_frame(cx));
        self.request.answering.rest();
        match &piece {
            Some(Ok(Frame::Data(data))) => match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    self.request.body_is_over.set(true);
                    return Poll::Ready(Some(Err(BodyError::new("more than the zone takes"))));
                }
            },
            Some(Err(_)) => self.request.body_broke.set(true),
            Some(Ok(Frame::Trailers(_))) | None => {}
        }
        Poll::Ready(piece)
    }
}

struct Patient {
    /// What was there at once: a piece, or the end.
    first: Option<Option<Result<Frame, BodyError>>>,
    body: Body,
    patience: Patience,
}

impl Stream for Patient {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        match self.body.poll_frame(cx) {
            Poll::Ready(piece) => {
                self.patience.request.answering.rest();
                Poll::Ready(piece)
            }
            Poll::Pending => self.patience.poll(cx).map(|()| Some(Err(BodyError::new("the origin fell silent")))),
        }
    }
}
