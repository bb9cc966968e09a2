//! One stream, for who asked: on its own thread, whichever that is.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bartizan_exchange::Frame;
use bartizan_wire::http2::EndStream;
use bartizan_wire::http2::hpack::{Encoder, Indexing};
use bytes::{Buf, Bytes};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::Session;
use super::stream::{Closed, Head, Stream, bytes_of};

/// Dropped before its end, its stream is reset.
pub(crate) struct Handle {
    session: Arc<Session>,
    stream: Arc<Stream>,
    number: u32,
}

impl Handle {
    pub(super) fn new(session: Arc<Session>, stream: Arc<Stream>, number: u32) -> Handle {
        Handle { session, stream, number }
    }

    /// Waits for the head of the answer.
    pub(crate) async fn head(&self) -> Result<Head, Closed> {
        poll_fn(|cx| {
            let mut intake = self.stream.intake();
            if let Some(head) = intake.head.take() {
                intake.release(head.fields.len());
                return Poll::Ready(Ok(head));
            }
            if let Some(closed) = intake.closed {
                return Poll::Ready(Err(closed));
            }
            intake.read_later(cx);
            Poll::Pending
        })
        .await
    }

    /// The next piece of the answer; none at its end.
    pub(crate) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Closed>> {
        let mut intake = self.stream.intake();
        if !intake.data.is_empty() {
            let data = std::mem::take(&mut intake.data).freeze();
            intake.release(data.len());
            drop(intake);
            self.session.took(self.number, data.len());
            return Poll::Ready(Ok(Some(Frame::Data(data))));
        }
        if intake.is_over {
            let trailers = intake.trailers.take();
            intake.release(trailers.as_ref().map_or(0, bytes_of));
            return Poll::Ready(Ok(trailers.map(Frame::Trailers)));
        }
        if let Some(closed) = intake.closed {
            return Poll::Ready(Err(closed));
        }
        intake.read_later(cx);
        Poll::Pending
    }

    /// Sends so much of a piece as there is room for.
    pub(crate) fn poll_send(&self, cx: &Context<'_>, piece: &[u8]) -> Poll<Result<usize, Closed>> {
        self.session.poll_send(&self.stream, piece, EndStream::Unset, cx)
    }

    /// The same of a chunk, from which it is taken.
    pub(crate) async fn send(&self, chunk: &mut Bytes) -> Result<(), Closed> {
        let bytes = poll_fn(|cx| self.poll_send(cx, chunk)).await?;
        chunk.advance(bytes);
        Ok(())
    }

    /// Says that nothing more is sent.
    pub(crate) fn finish(&self) {
        let cx = Context::from_waker(std::task::Waker::noop());
        // It waits for nothing, and where the stream is over there is nobody to be told.
        let _ = self.session.poll_send(&self.stream, &[], EndStream::Set, &cx);
    }

    /// The same, with fields.
    pub(crate) fn finish_with(&self, trailers: &HeaderMap) {
        self.session.send_trailers(self.number, |encoder: &mut Encoder, out: &mut Vec<u8>| {
            for (name, value) in trailers {
                encoder.field(name.as_str().as_bytes(), value.as_bytes(), Indexing::Literal, out);
            }
        });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.session.let_go(self.number);
    }
}

/// What comes on a stream.
pub(crate) struct Reader {
    handle: Arc<Handle>,
    /// Of a piece that had no room where it was read to.
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(handle: &Arc<Handle>) -> Reader {
        Reader { handle: Arc::clone(handle), rest: Bytes::new() }
    }

    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, Closed> {
        poll_fn(|cx| self.handle.poll_frame(cx)).await
    }
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match std::task::ready!(self.handle.poll_frame(cx))? {
                Some(Frame::Data(data)) => self.rest = data,
                Some(Frame::Trailers(_)) | None => return Poll::Ready(Ok(())),
            }
        }
        let bytes = self.rest.len().min(to.remaining());
        to.put_slice(&self.rest.split_to(bytes));
        Poll::Ready(Ok(()))
    }
}

/// What goes out on it. Shut down, it has ended; dropped, it has not.
pub(crate) struct Writer(pub(super) Arc<Handle>);

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_send(cx, from).map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.finish();
        Poll::Ready(Ok(()))
    }
}
