//! Answers for the HTTP library, and the bodies of requests from it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{self as exchange, Body, BodyError, Length};
use bartizan_wire::http1::{Asked, Content};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::time::timeout;

use super::connection::RequestGuard;
use super::deadline::Awaited;
use super::requests::UnderWay;
use crate::Limits;
use crate::answered::Answered;
use crate::forward::{self, FIELDS_TO_VISITOR, trailers_to_origin};
use crate::hyper_body::{Outgoing, Pieces};
use crate::limits::{LINGER_BYTES_MAX, ORIGIN_READ_BYTES_MIN, TAIL_BYTES};
use crate::worker::Worker;

/// A body, and the guard of its request, which lives as long.
pub(crate) struct Answer {
    body: Outgoing,
    /// The end of the last piece, if it was handed over without it.
    tail: Option<Bytes>,
    guard: RequestGuard,
    /// Whether the answer stops when its request is told to end. Our own page that says so goes out whole.
    stops: bool,
}

impl Answer {
    /// Our answer as the library's. `method` is the request's.
    pub(crate) fn respond(
        mut answered: Answered,
        method: &Method,
        guard: RequestGuard,
        worker: &Worker,
    ) -> hyper::Response<Answer> {
        let headers = HeaderMap::with_capacity(answered.fields.count() + FIELDS_TO_VISITOR);
        let mut headers = forward::to_visitor(&answered, &worker.dates, headers);
        let mut body = std::mem::replace(&mut answered.body, Body::empty());
        let content = Content::of(Asked::by(method.as_str()), answered.status.as_u16());
        if let (Content::Withheld, Length::Known(length)) = (content, body.length()) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if content != Content::Framed {
            body = Body::empty();
        }
        let stops = !guard.has_ended();
        let body = Outgoing::new(body);
        guard.under_way.answered.set(body.is_end_stream());
        let mut answer = hyper::Response::new(Answer { body, tail: None, guard, stops });
        *answer.status_mut() = answered.status;
        *answer.headers_mut() = headers;
        if let Some(room) = answered.fields.into_room() {
            worker.spare.give_room(room);
        }
        answer
    }

    /// The next piece. The library asks for it when the one before the last has left; so the end of a large piece that may
    /// be the last is handed over alone, and what is not written yet when the answer is over is small.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(tail) = self.tail.take() {
            return Poll::Ready(Some(Ok(Frame::data(tail))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)?);
        Poll::Ready(frame.map(|frame| {
            Ok(match frame.into_data() {
                Ok(mut data) if data.len() > ORIGIN_READ_BYTES_MIN && self.body.may_be_over() => {
                    // A copy, for a part would keep the whole.
                    self.tail = Some(Bytes::copy_from_slice(&data.split_off(data.len() - TAIL_BYTES)));
                    Frame::data(data)
                }
                Ok(data) => Frame::data(data),
                Err(other) => other,
            })
        }))
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let under_way = &this.guard.under_way;
        under_way.untaken.set(0);
        under_way.writing.rest();
        if this.stops && this.guard.poll_ended(cx).is_ready() {
            return Poll::Ready(Some(Err(BodyError::new("the visitor is let in no more"))));
        }
        let piece = ready!(this.poll_piece(cx));
        let under_way = &this.guard.under_way;
        match &piece {
            Some(Ok(frame)) => under_way.untaken.set(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(_)) => {}
            None => under_way.answered.set(true),
        }
        if this.is_end_stream() {
            under_way.answered.set(true);
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body, which its visitor may not hold back for ever. What is left of it when it is dropped is for
/// [`read_unwanted`].
pub(crate) struct Arriving {
    pieces: Option<Pieces>,
    under_way: Rc<UnderWay>,
    worker: Rc<Worker>,
}

impl Arriving {
    pub(crate) fn new(incoming: Incoming, guard: &RequestGuard, worker: &Rc<Worker>) -> Arriving {
        let pieces = Some(Pieces::new(incoming));
        Arriving { pieces, under_way: Rc::clone(&guard.under_way), worker: Rc::clone(worker) }
    }

    /// Whether nothing follows, known without reading.
    pub(crate) fn is_over(&self) -> bool {
        self.pieces.as_ref().is_none_or(Pieces::are_over)
    }

    pub(crate) fn into_body(self, length: Length) -> Body {
        match length {
            Length::Absent => Body::empty(),
            length => Body::frames(length, self),
        }
    }
}

impl Stream for Arriving {
    type Item = Result<exchange::Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Arriving { pieces, under_way, worker } = &mut *self;
        let Some(arriving) = pieces else { return Poll::Ready(None) };
        match Pin::new(arriving).poll_next(cx) {
            Poll::Ready(mut piece) => {
                match &mut piece {
                    Some(Ok(exchange::Frame::Data(data))) => under_way.reading.moved(data.len(), &worker.limits),
                    Some(Ok(exchange::Frame::Trailers(fields))) => trailers_to_origin(fields),
                    Some(Err(_)) | None => *pieces = None,
                }
                Poll::Ready(piece)
            }
            Poll::Pending => {
                ready!(under_way.reading.poll(cx, Awaited::Body, &worker.limits));
                worker.counters.visitors.too_slow.add(1);
                Poll::Ready(Some(Err(BodyError::new("the visitor sends too slowly"))))
            }
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.is_over() {
            self.under_way.unwanted.replace(self.pieces.take());
        }
    }
}

/// Reads on after the answer what its visitor still sends of the request, so much and so long. The stream is reset at
/// the end of that (NO_ERROR, RFC 9113 §8.1), and at once there are clients that take the reset for the loss of the
/// answer, which that section forbids.
pub(crate) async fn read_unwanted(mut pieces: Pieces, limits: &Limits) {
    let mut left = LINGER_BYTES_MAX;
    let reading = async {
        while let Some(Ok(frame)) = pieces.next().await {
            match frame {
                exchange::Frame::Data(data) if data.len() < left => left -= data.len(),
                // No more of it is read, so that it gets no room to send more. It may read its answer.
                exchange::Frame::Data(_) => std::future::pending().await,
                exchange::Frame::Trailers(_) => {}
            }
        }
    };
    // Whether it has ended or not.
    let _ = timeout(limits.linger_time, reading).await;
}
