//! A streaming body.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::HeaderMap;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off: {0}")]
pub struct BodyError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl BodyError {
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BodyError {
        BodyError(source.into())
    }
}

/// What is known of a body's length before it was read. It decides the framing on the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is no body at all.
    Absent,
    /// So many bytes.
    Known(u64),
    /// As many as come.
    Unknown,
}

impl Length {
    /// Whether there is nothing to read, a stated length of nothing included.
    pub fn is_nothing(self) -> bool {
        matches!(self, Length::Absent | Length::Known(0))
    }
}

/// A piece of a body.
#[derive(Debug)]
pub enum Frame {
    Data(Bytes),
    /// Fields behind the data (RFC 9110 §6.5): only such as may be there. Nothing follows.
    Trailers(HeaderMap),
}

/// Counts what is taken of a body, for who does not read it.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: Cell<u64>,
    is_broken: Cell<bool>,
}

impl Meter {
    /// So many bytes more.
    pub fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(bytes as u64));
    }

    /// Bytes of data, without framing and trailers.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether the body ended with an error.
    pub fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    /// For another body.
    pub fn reset(&self) {
        self.bytes.set(0);
        self.is_broken.set(false);
    }

    fn saw(&self, piece: &Result<Frame, BodyError>) {
        match piece {
            Ok(Frame::Data(data)) => self.add(data.len()),
            Ok(Frame::Trailers(_)) => {}
            Err(_) => self.is_broken.set(true),
        }
    }
}

/// A body that is read piece by piece. It has no size limit: it is written as fast as it is read.
pub struct Body {
    length: Length,
    frames: Frames,
    meter: Option<Rc<Meter>>,
}

enum Frames {
    /// All that is left, which may be nothing.
    Here(Option<Bytes>),
    Coming(Pin<Box<dyn Stream<Item = Result<Frame, BodyError>>>>),
}

impl Body {
    pub fn empty() -> Body {
        Body { length: Length::Absent, frames: Frames::Here(None), meter: None }
    }

    /// A body that is here as a whole.
    pub fn whole(data: impl Into<Bytes>) -> Body {
        let data = data.into();
        let length = Length::Known(data.len() as u64);
        Body { length, frames: Frames::Here(Some(data)), meter: None }
    }

    /// A body of data alone.
    pub fn stream(length: Length, data: impl Stream<Item = Result<Bytes, BodyError>> + 'static) -> Body {
        Body::frames(length, data.map(|piece| piece.map(Frame::Data)))
    }

    pub fn frames(length: Length, frames: impl Stream<Item = Result<Frame, BodyError>> + 'static) -> Body {
        Body { length, frames: Frames::Coming(Box::pin(frames)), meter: None }
    }

    /// From now on `meter` counts what is taken of it.
    pub fn meter(&mut self, meter: &Rc<Meter>) {
        self.meter = Some(Rc::clone(meter));
    }

    pub fn length(&self) -> Length {
        self.length
    }

    /// Whether all of it is here, so that it is neither waited for nor breaks off.
    pub fn is_here(&self) -> bool {
        matches!(self.frames, Frames::Here(_))
    }

    /// How much of it is here already; none of what comes piece by piece.
    pub fn bytes_here(&self) -> usize {
        match &self.frames {
            Frames::Here(data) => data.as_ref().map_or(0, Bytes::len),
            Frames::Coming(_) => 0,
        }
    }

    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let polled = match &mut self.frames {
            Frames::Here(data) => Poll::Ready(data.take().map(|data| Ok(Frame::Data(data)))),
            Frames::Coming(frames) => frames.as_mut().poll_next(cx),
        };
        if let (Some(meter), Poll::Ready(Some(piece))) = (&self.meter, &polled) {
            meter.saw(piece);
        }
        polled
    }

    /// The next piece of data; none at the end. For who has no use for trailers.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            match poll_fn(|cx| self.poll_frame(cx)).await? {
                Ok(Frame::Data(data)) => return Some(Ok(data)),
                Ok(Frame::Trailers(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("length", &self.length).finish_non_exhaustive()
    }
}
