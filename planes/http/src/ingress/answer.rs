//! Answers for the HTTP library, and the bodies of requests from it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{self as exchange, Body, BodyError, Length, Response};
use bytes::Bytes;
use futures_util::Stream;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, StatusCode};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::connection::RequestGuard;
use super::deadline::Awaited;
use super::requests::UnderWay;
use crate::forward::trailers_to_origin;
use crate::hyper_body::{Outgoing, Pieces};
use crate::limits::{ORIGIN_READ_BYTES_MIN, TAIL_BYTES};
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
    /// Our answer as the library's. `method` is the request's: an answer to `HEAD` has a length and no body (RFC 9110
    /// §9.3.2).
    pub(crate) fn respond(mut response: Response, method: &Method, guard: RequestGuard) -> hyper::Response<Answer> {
        if *method == Method::HEAD || response.status == StatusCode::NOT_MODIFIED {
            if let Length::Known(length) = response.body.length() {
                response.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            response.body = Body::empty();
        }
        let stops = !guard.has_ended();
        let body = Outgoing::new(response.body);
        guard.under_way.answered.set(body.is_end_stream());
        let mut answer = hyper::Response::new(Answer { body, tail: None, guard, stops });
        *answer.status_mut() = response.status;
        *answer.headers_mut() = response.headers;
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

/// A request's body.
pub(crate) fn body_of(incoming: Incoming, length: Length, guard: &RequestGuard, worker: &Rc<Worker>) -> Body {
    match length {
        Length::Absent => Body::empty(),
        length => Body::frames(
            length,
            Arriving {
                pieces: Pieces::new(incoming),
                under_way: Rc::clone(&guard.under_way),
                worker: Rc::clone(worker),
            },
        ),
    }
}

/// A body that its visitor may not hold back for ever.
struct Arriving {
    pieces: Pieces,
    under_way: Rc<UnderWay>,
    worker: Rc<Worker>,
}

impl Stream for Arriving {
    type Item = Result<exchange::Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Arriving { under_way, worker, .. } = this;
        match Pin::new(&mut this.pieces).poll_next(cx) {
            Poll::Ready(mut piece) => {
                match &mut piece {
                    Some(Ok(exchange::Frame::Data(data))) => under_way.reading.moved(data.len(), &worker.limits),
                    Some(Ok(exchange::Frame::Trailers(fields))) => trailers_to_origin(fields),
                    Some(Err(_)) | None => {}
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
