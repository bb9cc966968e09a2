//! How long an origin may be silent. Any progress starts the time anew: while an upload goes on, the origin is waiting.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bartizan_exchange::{Body, BodyError, Frame};
use futures_util::Stream;
use tokio::time::{Instant, Sleep};

/// How a request's body is getting on.
pub(crate) struct Progress {
    /// When something was last taken from it.
    moved: Cell<Option<Instant>>,
    broken: Cell<bool>,
}

impl Progress {
    pub(crate) fn new() -> Rc<Progress> {
        Rc::new(Progress { moved: Cell::new(None), broken: Cell::new(false) })
    }

    /// The same body; `progress` is told of what is taken from it.
    pub(crate) fn watch(progress: &Rc<Progress>, body: Body) -> Body {
        if body.is_here() {
            return body;
        }
        Body::frames(body.length(), Watched { body, progress: Rc::clone(progress) })
    }

    /// Whether the visitor failed to deliver it.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }
}

struct Watched {
    body: Body,
    progress: Rc<Progress>,
}

impl Stream for Watched {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll_frame(cx);
        if let Poll::Ready(piece) = &polled {
            self.progress.moved.set(Some(Instant::now()));
            if matches!(piece, Some(Err(_))) {
                self.progress.broken.set(true);
            }
        }
        polled
    }
}

/// Waits for `answer` until `limit` has passed without progress.
pub(crate) async fn within<F: Future>(
    progress: &Progress,
    limit: Duration,
    mut answer: Pin<&mut F>,
) -> Option<F::Output> {
    let start = Instant::now();
    // What was taken before is of no account: making the connection may have taken some time since.
    progress.moved.set(None);
    let mut clock = pin!(tokio::time::sleep_until(start + limit));
    loop {
        tokio::select! {
            biased;
            output = &mut answer => return Some(output),
            () = &mut clock => {
                let due = progress.moved.get().unwrap_or(start) + limit;
                if due <= Instant::now() {
                    return None;
                }
                clock.as_mut().reset(due);
            }
        }
    }
}

/// The same body. It ends with an error when it is read and nothing comes for `limit`. An error if it is broken already:
/// then the head has not been passed on yet, and need not be.
pub(crate) async fn patient(mut body: Body, limit: Duration) -> Result<Body, BodyError> {
    if body.is_here() {
        return Ok(body);
    }
    let first = match poll_fn(|cx| Poll::Ready(body.poll_frame(cx))).await {
        Poll::Ready(Some(Err(error))) => return Err(error),
        Poll::Ready(first) => Some(first),
        Poll::Pending => None,
    };
    Ok(Body::frames(body.length(), Patient { first, body, limit, clock: None, waiting: false }))
}

struct Patient {
    /// What was there at once: a piece, or the end.
    first: Option<Option<Result<Frame, BodyError>>>,
    body: Body,
    limit: Duration,
    /// Made at the first wait: many bodies arrive whole and never need it.
    clock: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Stream for Patient {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(first);
        }
        if let Poll::Ready(piece) = this.body.poll_frame(cx) {
            this.waiting = false;
            return Poll::Ready(piece);
        }
        let clock = this.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.limit)));
        if !this.waiting {
            clock.as_mut().reset(Instant::now() + this.limit);
            this.waiting = true;
        }
        clock.as_mut().poll(cx).map(|()| Some(Err(BodyError::new("the origin fell silent"))))
    }
}
