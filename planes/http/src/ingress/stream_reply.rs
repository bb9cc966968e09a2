//! The answer of one stream of HTTP/2 or HTTP/3: how it comes about, and how it is written for as long as its visitor takes
//! it; or what follows it where the stream becomes a WebSocket.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{Body, BodyError, Frame, Io, Length};
use bartizan_wire::http1::{Asked, Content};
use bartizan_wire::http2::EndStream;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::block::Block;
use super::connection::RequestGuard;
use super::deadline::Awaited;
use super::interim::Interims;
use super::refusal::Refusal;
use super::stream_relay::relay;
use crate::answered::Answered;
use crate::arrived::Arrived;
use crate::fields::{Fields, bytes_of};
use crate::forward;
use crate::limits::ORIGIN_READ_BYTES_MIN;
use crate::page::Problem;
use crate::pipeline;
use crate::worker::Worker;

/// The stream was reset, or its connection has ended, before its answer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamClosed;

/// The way of one answer to its visitor.
pub(super) trait Channel {
    fn worker(&self) -> &Worker;

    /// Sends the head of an answer, or trailers, when there is room.
    fn poll_head(
        &self,
        cx: &mut Context<'_>,
        end: EndStream,
        fields: impl FnOnce(Block<'_>),
    ) -> Poll<Result<(), StreamClosed>>;

    /// Sends a piece of the answer's body, as fast as there is room for it; says how much has gone. `end` is for the last of
    /// it.
    fn poll_data(&self, cx: &mut Context<'_>, piece: &mut Bytes, end: EndStream) -> Poll<Result<usize, StreamClosed>>;

    /// Ready when all of it has left that waited here for room.
    fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<Result<(), StreamClosed>>;

    /// So much of the answer waits. False if there is no memory for it.
    fn hold(&self, bytes: usize) -> bool;

    fn let_go(&self, bytes: usize);
}

/// Why an answer is not whole.
pub(super) enum Cut {
    /// The visitor is not there, or wants it no more.
    Closed,
    /// The visitor does not take it.
    Starved,
    /// It broke off, or the visitor is let in no more.
    Broken,
    /// The WebSocket that followed it did not come to its end.
    Lost,
}

impl From<StreamClosed> for Cut {
    fn from(StreamClosed: StreamClosed) -> Cut {
        Cut::Closed
    }
}

/// Answers a request. `give` sends what is to be said before the answer, whenever there is something.
pub(super) async fn answer(
    mut give: impl FnMut(&mut Context<'_>, &Interims),
    worker: &Worker,
    arrived: Result<Arrived, Refusal>,
    guard: &RequestGuard,
) -> Answer {
    let mut arrived = match arrived {
        Ok(arrived) => arrived,
        Err(refusal) => {
            let answered = pipeline::refuse(Problem::Refused(refusal), &HeaderMap::new(), guard);
            return Answer { answered, asked: Asked::Other, said: None };
        }
    };
    let interims = &guard.under_way.interims;
    interims.take_maps();
    let answered = {
        let mut serving = pin!(pipeline::serve(&mut arrived, guard));
        poll_fn(|cx| {
            let polled = serving.as_mut().poll(cx);
            give(cx, interims);
            polled
        })
        .await
    };
    let asked = Asked::by(arrived.method.as_str());
    let said = arrived.by_connect.take().map(|by_connect| by_connect.said);
    arrived.let_go(&worker.spare);
    Answer { answered, asked, said }
}

/// An answer, and to what.
pub(super) struct Answer {
    answered: Answered,
    asked: Asked,
    /// What comes on the stream of who asked for a WebSocket by CONNECT.
    said: Option<Body>,
}

impl Answer {
    /// Writes it, and what follows.
    pub(super) async fn write(self, guard: &RequestGuard, way: &impl Channel) -> Result<(), Cut> {
        let Answer { mut answered, asked, said } = self;
        if let (Some(far), Some(said)) = (answered.upgraded.take(), said) {
            // In a box, since few streams have it.
            return Box::pin(switch(answered, (said, far), guard, way)).await;
        }
        Reply::new(answered, asked, guard).write(way).await
    }
}

/// Agrees to a WebSocket, and carries it to its end.
async fn switch(
    mut answered: Answered,
    ends: (Body, Box<dyn Io>),
    guard: &RequestGuard,
    way: &impl Channel,
) -> Result<(), Cut> {
    // RFC 8441 §5: what is a 101 over HTTP/1.1.
    answered.status = StatusCode::OK;
    write_head(&mut answered, (None, EndStream::Unset, 0), guard, way).await?;
    poll_fn(|cx| {
        let polled = way.poll_finish(cx);
        patience(polled, guard, way, cx)
    })
    .await?;
    guard.under_way.answered.set(true);
    relay(ends, guard, way).await
}

/// Writes the head of an answer, with this length if it is stated. So much waits behind a head that has no room, which itself is
/// there as well.
// Hot: once an answer. No allocation.
async fn write_head(
    answered: &mut Answered,
    (length, end, behind): (Option<u64>, EndStream, usize),
    guard: &RequestGuard,
    way: &impl Channel,
) -> Result<(), Cut> {
    // It is given back with the stream if this ends before.
    let mut waiting = 0;
    poll_fn(|cx| {
        let polled = way.poll_head(cx, end, |mut block| {
            block.status(answered.status.as_u16());
            let mut block = forward::to_visitor(answered, &way.worker().dates, block);
            if let Some(length) = length {
                block.length(length);
            }
        });
        if polled.is_pending() && waiting == 0 {
            waiting = behind + answered.fields.bytes();
            if !way.hold(waiting) {
                waiting = 0;
                return Poll::Ready(Err(Cut::Starved));
            }
        }
        patience(polled, guard, way, cx)
    })
    .await?;
    way.let_go(waiting);
    guard.under_way.writing.rest();
    let fields = std::mem::replace(&mut answered.fields, Fields::Map(HeaderMap::new()));
    fields.into_room().into_iter().for_each(|room| way.worker().spare.give_room(room));
    Ok(())
}

/// What waits for the visitor waits so long.
pub(super) fn patience<T>(
    polled: Poll<Result<T, StreamClosed>>,
    guard: &RequestGuard,
    way: &impl Channel,
    cx: &Context<'_>,
) -> Poll<Result<T, Cut>> {
    match polled {
        Poll::Ready(sent) => Poll::Ready(sent.map_err(Cut::from)),
        Poll::Pending => {
            ready!(guard.under_way.writing.poll(cx, Awaited::Room, &way.worker().limits));
            Poll::Ready(Err(Cut::Starved))
        }
    }
}

/// An answer that is being written.
struct Reply<'g> {
    answered: Answered,
    body: Body,
    /// What the head states.
    length: Option<u64>,
    /// What is left of a known length.
    left: Option<u64>,
    piece: Bytes,
    /// Whether the answer stops when its request is told to end. Our own page that says so goes out whole.
    stops: bool,
    guard: &'g RequestGuard,
}

impl<'g> Reply<'g> {
    fn new(mut answered: Answered, asked: Asked, guard: &'g RequestGuard) -> Reply<'g> {
        let body = std::mem::replace(&mut answered.body, Body::empty());
        let stated = match body.length() {
            Length::Absent => Some(0),
            Length::Known(length) => Some(length),
            Length::Unknown => None,
        };
        let (body, length, left) = match Content::of(asked, answered.status.as_u16()) {
            Content::Framed => (body, stated, stated),
            // None that is not known.
            Content::Withheld => (Body::empty(), stated.filter(|_| body.length() != Length::Absent), Some(0)),
            Content::Never => (Body::empty(), None, Some(0)),
        };
        let stops = !guard.has_ended();
        Reply { answered, body, length, left, piece: Bytes::new(), stops, guard }
    }

    // Hot: once an answer. No allocation but in a body.
    async fn write(&mut self, way: &impl Channel) -> Result<(), Cut> {
        let is_over = self.left == Some(0);
        let head = (self.length, EndStream::when(is_over), self.bytes_behind_head());
        write_head(&mut self.answered, head, self.guard, way).await?;
        if !is_over {
            self.write_body(way).await?;
        }
        poll_fn(|cx| {
            let polled = way.poll_finish(cx);
            patience(polled, self.guard, way, cx)
        })
        .await
    }

    /// What the body holds before anything of it was asked for: all of what is here, or what may be read of the rest.
    fn bytes_behind_head(&self) -> usize {
        if self.body.is_here() { self.body.bytes_here() } else { self.guard.connection.piece_bytes() }
    }

    async fn write_body(&mut self, way: &impl Channel) -> Result<(), Cut> {
        loop {
            let trailers = match poll_fn(|cx| self.poll_piece(cx)).await? {
                Next::Data => None,
                Next::End => Some(HeaderMap::new()),
                Next::Trailers(fields) => Some(fields),
            };
            match trailers {
                Some(fields) if !fields.is_empty() => return self.write_trailers(&fields, way).await,
                Some(_) => return self.write_piece(EndStream::Set, way).await,
                None => {}
            }
            let end = EndStream::when(self.left == Some(0));
            self.write_piece(end, way).await?;
            if end == EndStream::Set {
                return Ok(());
            }
        }
    }

    /// The next piece of the body, taken to [`Reply::piece`] and held to the length that was announced.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Cut>> {
        if self.stops && self.guard.poll_ended(cx).is_ready() {
            return Poll::Ready(Err(Cut::Broken));
        }
        let frame = match ready!(self.body.poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            None => {
                return Poll::Ready(if self.left.is_none_or(|left| left == 0) {
                    Ok(Next::End)
                } else {
                    Err(Cut::Broken)
                });
            }
            Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
        };
        Poll::Ready(match frame {
            Frame::Data(data) => {
                let left = self.left.map(|left| left.checked_sub(data.len() as u64));
                self.left = left.flatten();
                self.piece = data;
                if left == Some(None) { Err(broken(&BodyError::new("longer than announced"))) } else { Ok(Next::Data) }
            }
            Frame::Trailers(_) if self.left.is_some_and(|left| left > 0) => Err(Cut::Broken),
            Frame::Trailers(fields) => Ok(Next::Trailers(fields)),
        })
    }

    async fn write_piece(&mut self, end: EndStream, way: &impl Channel) -> Result<(), Cut> {
        // It is given back with the stream if this ends before the piece.
        let mut waiting = 0;
        loop {
            if self.piece.is_empty() && end == EndStream::Unset {
                return Ok(());
            }
            let bytes = poll_fn(|cx| {
                if self.stops && self.guard.poll_ended(cx).is_ready() {
                    return Poll::Ready(Err(Cut::Broken));
                }
                let polled = way.poll_data(cx, &mut self.piece, end);
                if polled.is_pending() && waiting == 0 {
                    waiting = self.piece.len();
                    if !way.hold(waiting) {
                        waiting = 0;
                        return Poll::Ready(Err(Cut::Starved));
                    }
                }
                patience(polled, self.guard, way, cx)
            })
            .await?;
            if self.piece.is_empty() || bytes >= ORIGIN_READ_BYTES_MIN {
                self.guard.under_way.writing.rest();
            }
            if self.piece.is_empty() {
                way.let_go(waiting);
                return Ok(());
            }
            // A frame of the largest size is a step of its own.
            yield_once().await;
        }
    }

    async fn write_trailers(&mut self, fields: &HeaderMap, way: &impl Channel) -> Result<(), Cut> {
        // It is given back with the stream if this ends before.
        let mut waiting = 0;
        poll_fn(|cx| {
            let polled = way.poll_head(cx, EndStream::Set, |mut block| block.all(fields));
            if polled.is_pending() && waiting == 0 {
                waiting = bytes_of(fields);
                if !way.hold(waiting) {
                    return Poll::Ready(Err(Cut::Starved));
                }
            }
            patience(polled, self.guard, way, cx)
        })
        .await?;
        way.let_go(waiting);
        Ok(())
    }
}

/// What the body has next.
enum Next {
    Data,
    Trailers(HeaderMap),
    End,
}

fn broken(error: &BodyError) -> Cut {
    tracing::trace!(%error, "an answer broke off");
    Cut::Broken
}

pub(super) async fn yield_once() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
