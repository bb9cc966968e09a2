//! Answers for the HTTP library, and the bodies of requests from it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bartizan_exchange::{Body, BodyError, Length, Response};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, StatusCode};
use hyper::body::{Frame, Incoming, SizeHint};

use super::connection::RequestGuard;
use crate::hyper_body::{Outgoing, Pieces};

/// A body, and the guard of its request, which lives as long.
pub(crate) struct Answer {
    body: Outgoing,
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
        let mut answer = hyper::Response::new(Answer { body: Outgoing::new(response.body), guard, stops });
        *answer.status_mut() = response.status;
        *answer.headers_mut() = response.headers;
        answer
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.stops && self.guard.poll_ended(cx).is_ready() {
            return Poll::Ready(Some(Err(BodyError::new("the visitor is let in no more"))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body.
pub(crate) fn body_of(incoming: Incoming, length: Length) -> Body {
    match length {
        Length::Absent => Body::empty(),
        length => Body::stream(length, Pieces::new(incoming)),
    }
}
