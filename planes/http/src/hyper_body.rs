//! Our bodies as hyper's, and hyper's as ours. Beside `ingress`, which uses it, no module knows hyper.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{self as exchange, Body, BodyError, Length};
use bytes::Bytes;
use futures_util::Stream;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

/// A body for hyper, held to the length that was announced for it.
pub(crate) struct Outgoing {
    body: Body,
    /// What is left of a known length.
    left: Option<u64>,
}

impl Outgoing {
    pub(crate) fn new(body: Body) -> Outgoing {
        let left = match body.length() {
            Length::Absent => Some(0),
            Length::Known(length) => Some(length),
            Length::Unknown => None,
        };
        Outgoing { body, left }
    }

    /// Whether nothing may follow what was read.
    pub(crate) fn may_be_over(&self) -> bool {
        self.left.is_none_or(|left| left == 0)
    }
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = ready!(self.body.poll_frame(cx));
        match (&piece, &mut self.left) {
            (Some(Ok(exchange::Frame::Data(data))), Some(left)) => match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Some(Err(BodyError::new("longer than announced")))),
            },
            (None | Some(Ok(exchange::Frame::Trailers(_))), Some(left)) if *left > 0 => {
                return Poll::Ready(Some(Err(BodyError::new("shorter than announced"))));
            }
            _ => {}
        }
        Poll::Ready(piece.map(|piece| {
            piece.map(|frame| match frame {
                exchange::Frame::Data(data) => Frame::data(data),
                exchange::Frame::Trailers(fields) => Frame::trailers(fields),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A body from hyper.
pub(crate) struct Pieces(Incoming);

impl Pieces {
    pub(crate) fn new(incoming: Incoming) -> Pieces {
        Pieces(incoming)
    }

    /// Whether nothing follows, known without reading.
    pub(crate) fn are_over(&self) -> bool {
        self.0.is_end_stream()
    }
}

impl Stream for Pieces {
    type Item = Result<exchange::Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::new(error)))),
                None => return Poll::Ready(None),
            };
            match frame.into_data().map_err(Frame::into_trailers) {
                Ok(data) => return Poll::Ready(Some(Ok(exchange::Frame::Data(data)))),
                Err(Ok(fields)) => return Poll::Ready(Some(Ok(exchange::Frame::Trailers(fields)))),
                // Of no type that HTTP has.
                Err(Err(_)) => {}
            }
        }
    }
}
