//! One stream: its request is answered, and the answer written for as long as its visitor takes it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{Body, BodyError, Frame, Length};
use bartizan_wire::http1::{Asked, Content};
use bartizan_wire::http2::{Code, EndStream};
use bytes::Bytes;
use http::HeaderMap;
use tokio::time::timeout;

use super::block::Block;
use super::session::{Session, StreamClosed};
use super::stream::Stream;
use crate::answered::Answered;
use crate::arrived::Arrived;
use crate::fields::Fields;
use crate::forward;
use crate::ingress::connection::RequestGuard;
use crate::ingress::deadline::Awaited;
use crate::ingress::refusal::Refusal;
use crate::limits::ORIGIN_READ_BYTES_MIN;
use crate::page::Problem;
use crate::pipeline;

/// Runs the stream as a task of its own, which ends when the stream does.
pub(super) fn spawn(session: Rc<Session>, stream: Rc<Stream>, arrived: Result<Arrived, Refusal>, guard: RequestGuard) {
    let work = Box::pin(serve(Rc::clone(&session), Rc::clone(&stream), arrived, guard));
    let turn = Rc::clone(&session.connection.turn);
    tokio::task::spawn_local(turn.take_unless(work, move |cx| {
        ready!(stream.poll_closed(cx));
        session.let_next_go();
        Poll::Ready(())
    }));
}

/// Why an answer is not whole.
enum Cut {
    /// The visitor is not there, or wants it no more.
    Closed,
    /// The visitor does not take it.
    Starved,
    /// It broke off, or the visitor is let in no more.
    Broken,
}

impl From<StreamClosed> for Cut {
    fn from(StreamClosed: StreamClosed) -> Cut {
        Cut::Closed
    }
}

async fn serve(session: Rc<Session>, stream: Rc<Stream>, arrived: Result<Arrived, Refusal>, guard: RequestGuard) {
    let (answered, asked) = answer(&session, &stream, arrived, &guard).await;
    let mut reply = Reply::new(answered, asked, &guard);
    let written = reply.write(&session, &stream).await;
    drop(reply);
    stream.has_been_answered();
    match written {
        Ok(()) => guard.under_way.answered.set(true),
        Err(Cut::Closed) => {}
        Err(Cut::Broken) => session.reset(&stream, Code::Internal),
        Err(Cut::Starved) => {
            session.worker.counters.visitors.starved.add(1);
            session.reset(&stream, Code::Cancel);
        }
    }
    // The visitor has its answer, and what is left to do is not its request any more.
    drop(guard);
    session.let_next_go();
    if session.is_receiving(&stream) {
        // In a box, since few streams have it.
        Box::pin(read_unwanted(&session, &stream)).await;
    }
}

async fn answer(
    session: &Session,
    stream: &Stream,
    arrived: Result<Arrived, Refusal>,
    guard: &RequestGuard,
) -> (Answered, Asked) {
    let mut arrived = match arrived {
        Ok(arrived) => arrived,
        Err(refusal) => {
            return (pipeline::refuse(Problem::Refused(refusal), &HeaderMap::new(), guard), Asked::Other);
        }
    };
    let interims = &guard.under_way.interims;
    interims.take_maps();
    let answered = {
        let mut serving = pin!(pipeline::serve(&mut arrived, guard));
        poll_fn(|cx| {
            let polled = serving.as_mut().poll(cx);
            interims.give(|status, fields| session.send_interim(stream, status, fields));
            polled
        })
        .await
    };
    let asked = Asked::by(arrived.method.as_str());
    arrived.let_go(&session.worker.spare);
    (answered, asked)
}

/// Reads on after the answer what its visitor still sends of the request, so much and so long. The stream is reset at
/// the end of that (NO_ERROR, RFC 9113 §8.1), and at once there are clients that take the reset for the loss of the
/// answer, which that section forbids.
async fn read_unwanted(session: &Session, stream: &Stream) {
    session.took(stream, stream.want_no_more());
    let reading = poll_fn(|_| if stream.has_ended() { Poll::Ready(()) } else { Poll::Pending });
    // Whether it has ended or not.
    let _ = timeout(session.worker.limits.linger_time, reading).await;
    session.reset(stream, Code::NoError);
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
    async fn write(&mut self, session: &Session, stream: &Rc<Stream>) -> Result<(), Cut> {
        let is_over = self.left == Some(0);
        poll_fn(|cx| {
            let polled = session.poll_head(stream, EndStream::when(is_over), |encoder, out| {
                let (answered, length) = (&self.answered, self.length);
                let block = Block::of(answered.status.as_u16(), encoder, out);
                let mut block = forward::to_visitor(answered, &session.worker.dates, block);
                if let Some(length) = length {
                    block.length(length);
                }
            });
            self.poll_patience(polled, session, cx)
        })
        .await?;
        self.guard.under_way.writing.rest();
        let fields = std::mem::replace(&mut self.answered.fields, Fields::Map(HeaderMap::new()));
        fields.into_room().into_iter().for_each(|room| session.worker.spare.give_room(room));
        if !is_over { self.write_body(session, stream).await } else { Ok(()) }
    }

    async fn write_body(&mut self, session: &Session, stream: &Rc<Stream>) -> Result<(), Cut> {
        loop {
            let trailers = match poll_fn(|cx| self.poll_piece(cx)).await? {
                Next::Data => None,
                Next::End => Some(HeaderMap::new()),
                Next::Trailers(fields) => Some(fields),
            };
            match trailers {
                Some(fields) if !fields.is_empty() => return self.write_trailers(&fields, session, stream).await,
                Some(_) => return self.write_piece(EndStream::Set, session, stream).await,
                None => {}
            }
            let end = EndStream::when(self.left == Some(0));
            self.write_piece(end, session, stream).await?;
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

    async fn write_piece(&mut self, end: EndStream, session: &Session, stream: &Rc<Stream>) -> Result<(), Cut> {
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
                let polled = session.poll_data(stream, &mut self.piece, end);
                if polled.is_pending() && waiting == 0 {
                    waiting = self.piece.len();
                    if !stream.hold(waiting, &session.worker) {
                        waiting = 0;
                        return Poll::Ready(Err(Cut::Starved));
                    }
                }
                self.poll_patience(polled, session, cx)
            })
            .await?;
            if self.piece.is_empty() || bytes >= ORIGIN_READ_BYTES_MIN {
                self.guard.under_way.writing.rest();
            }
            if self.piece.is_empty() {
                stream.let_go(waiting);
                return Ok(());
            }
            // A frame of the largest size is a step of its own.
            yield_once().await;
        }
    }

    async fn write_trailers(&mut self, fields: &HeaderMap, session: &Session, stream: &Rc<Stream>) -> Result<(), Cut> {
        poll_fn(|cx| {
            let polled = session.poll_head(stream, EndStream::Set, |encoder, out| {
                let mut block = Block::trailers(encoder, out);
                fields.iter().for_each(|(name, value)| block.field(name.as_str().as_bytes(), value.as_bytes()));
            });
            self.poll_patience(polled, session, cx)
        })
        .await
    }

    /// What waits for the visitor waits so long.
    fn poll_patience<T>(
        &self,
        polled: Poll<Result<T, StreamClosed>>,
        session: &Session,
        cx: &Context<'_>,
    ) -> Poll<Result<T, Cut>> {
        match polled {
            Poll::Ready(sent) => Poll::Ready(sent.map_err(Cut::from)),
            Poll::Pending => {
                ready!(self.guard.under_way.writing.poll(cx, Awaited::Room, &session.worker.limits));
                Poll::Ready(Err(Cut::Starved))
            }
        }
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

async fn yield_once() {
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
