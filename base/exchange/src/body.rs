//! A streaming body.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

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

/// A body that is read piece by piece. It has no size limit: it is written as fast as it is read.
pub struct Body {
    length: Length,
    data: Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>>>>,
}

impl Body {
    pub fn empty() -> Body {
        Body { length: Length::Absent, data: Box::pin(futures_util::stream::empty()) }
    }

    /// A body that is here as a whole.
    pub fn whole(data: impl Into<Bytes>) -> Body {
        let data = data.into();
        let length = Length::Known(data.len() as u64);
        Body { length, data: Box::pin(futures_util::stream::once(async move { Ok(data) })) }
    }

    pub fn stream(length: Length, data: impl Stream<Item = Result<Bytes, BodyError>> + 'static) -> Body {
        Body { length, data: Box::pin(data) }
    }

    pub fn length(&self) -> Length {
        self.length
    }

    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.data.next().await
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.data.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("length", &self.length).finish_non_exhaustive()
    }
}
