//! One stream, for who serves it: its two halves, and what they share with the connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bartizan_rpc::over_http2::{ANSWER_FIELD, Answer, META_FIELD};
use bartizan_wire::http2::hpack::Indexing;
use bartizan_wire::http2::{Code, EndStream};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::asked::Asked;
use super::session::Session;

/// What is asked, and the two halves of its stream.
pub(crate) struct Arrived {
    pub(crate) asked: Asked,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

/// Why a stream ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Closed {
    #[error("the edge broke it off")]
    Reset,
    #[error("the connection to the edge was lost")]
    Lost,
}

impl From<Closed> for io::Error {
    fn from(closed: Closed) -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionReset, closed)
    }
}

/// What a stream shares with its connection, whose state is locked first.
pub(crate) struct Stream {
    pub(super) number: u32,
    inner: Mutex<Inner>,
}

/// What came and was not taken is bounded by the windows.
#[derive(Default)]
struct Inner {
    data: BytesMut,
    /// The edge has sent its last.
    is_over: bool,
    closed: Option<Closed>,
    /// Nobody reads what comes.
    is_unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Of who minds that the edge gives it up.
    minds: Option<Waker>,
    /// Whether it is in a queue of its connection.
    is_queued: bool,
}

impl Stream {
    pub(super) fn new(number: u32) -> Arc<Stream> {
        Arc::new(Stream { number, inner: Mutex::default() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what came. Says whether nobody will read it.
    pub(super) fn receive(&self, data: &[u8], ends: bool) -> bool {
        let mut inner = self.inner();
        inner.is_over |= ends;
        let is_unread = inner.is_unread;
        if !is_unread {
            inner.data.extend_from_slice(data);
        }
        let reader = inner.reader.take();
        drop(inner);
        wake([reader]);
        is_unread
    }

    /// Its end before its end, for both halves.
    pub(super) fn close(&self, why: Closed) {
        let mut inner = self.inner();
        inner.closed.get_or_insert(why);
        let wakers = [inner.reader.take(), inner.writer.take(), inner.minds.take()];
        drop(inner);
        wake(wakers);
    }

    pub(super) fn closed(&self) -> Option<Closed> {
        self.inner().closed
    }

    /// It may send more, perhaps.
    pub(super) fn go_on(&self) {
        let mut inner = self.inner();
        inner.is_queued = false;
        let writer = inner.writer.take();
        drop(inner);
        wake([writer]);
    }

    /// The same, without a place in a queue.
    pub(super) fn wake_writer(&self) {
        let writer = self.inner().writer.take();
        wake([writer]);
    }

    pub(super) fn write_later(&self, cx: &Context<'_>) {
        keep(&mut self.inner().writer, cx);
    }

    /// The same in a queue. Says whether it has no place there yet.
    pub(super) fn wait_in_queue(&self, cx: &Context<'_>) -> bool {
        let mut inner = self.inner();
        keep(&mut inner.writer, cx);
        !std::mem::replace(&mut inner.is_queued, true)
    }
}

/// Both halves together. Dropped before its end, the stream is reset.
struct Handle {
    session: Arc<Session>,
    stream: Arc<Stream>,
    /// The answer is whole.
    is_finished: AtomicBool,
}

impl Handle {
    fn reset(&self) {
        // What is left of a request whose answer is whole is not needed (RFC 9113 §8.1).
        let code = if self.is_finished.load(Ordering::Relaxed) { Code::NoError } else { Code::Internal };
        self.session.reset(self.stream.number, code);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.reset();
    }
}

/// The two halves of a stream.
pub(super) fn halves(session: &Arc<Session>, stream: &Arc<Stream>) -> (Reader, Writer) {
    let (session, stream) = (Arc::clone(session), Arc::clone(stream));
    let handle = Arc::new(Handle { session, stream, is_finished: AtomicBool::new(false) });
    (Reader { handle: Arc::clone(&handle), rest: Bytes::new() }, Writer(handle))
}

/// What comes on a stream. Dropped, what is left of it is thrown away.
pub(crate) struct Reader {
    handle: Arc<Handle>,
    /// Of a piece that had no room where it was read to.
    rest: Bytes,
}

impl Reader {
    /// The next piece; none at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Closed> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Closed>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.rest))));
        }
        let Handle { session, stream, .. } = &*self.handle;
        let mut inner = stream.inner();
        if !inner.data.is_empty() {
            let data = std::mem::take(&mut inner.data).freeze();
            drop(inner);
            session.took(stream.number, data.len());
            return Poll::Ready(Ok(Some(data)));
        }
        if inner.is_over {
            return Poll::Ready(Ok(None));
        }
        if let Some(closed) = inner.closed {
            return Poll::Ready(Err(closed));
        }
        keep(&mut inner.reader, cx);
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Handle { session, stream, .. } = &*self.handle;
        let mut inner = stream.inner();
        inner.is_unread = true;
        let unread = std::mem::take(&mut inner.data).len();
        drop(inner);
        if unread > 0 {
            session.took(stream.number, unread);
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut chunk) = std::task::ready!(self.poll_chunk(cx))? else { return Poll::Ready(Ok(())) };
        let bytes = chunk.len().min(to.remaining());
        to.put_slice(&chunk.split_to(bytes));
        self.rest = chunk;
        Poll::Ready(Ok(()))
    }
}

/// What goes out on a stream. Shut down, it has ended; dropped, it has not.
pub(crate) struct Writer(Arc<Handle>);

impl Writer {
    /// The head of the answer.
    pub(crate) fn answer(&self, answer: &Answer) {
        self.0.session.send_head(self.0.stream.number, EndStream::Unset, |encoder, out| {
            encoder.field(b":status", answer.status.to_string().as_bytes(), Indexing::Table, out);
            encoder.field(META_FIELD.as_bytes(), answer.answerer.as_str().as_bytes(), Indexing::Table, out);
            // One visitor is not to find out by a guess what another one got (RFC 7541 §7.1).
            encoder.field(ANSWER_FIELD.as_bytes(), answer.fields.as_bytes(), Indexing::Literal, out);
        });
    }

    /// Sends all of a piece.
    pub(crate) async fn send(&self, mut piece: Bytes) -> Result<(), Closed> {
        while !piece.is_empty() {
            let sent = poll_fn(|cx| self.poll_send(cx, &piece)).await?;
            piece.advance(sent);
        }
        Ok(())
    }

    fn poll_send(&self, cx: &Context<'_>, piece: &[u8]) -> Poll<Result<usize, Closed>> {
        self.0.session.poll_send(&self.0.stream, piece, EndStream::Unset, cx)
    }

    /// Says that nothing more is sent.
    pub(crate) fn finish(&self) {
        if self.0.is_finished.swap(true, Ordering::Relaxed) {
            return;
        }
        let cx = Context::from_waker(Waker::noop());
        // It waits for nothing, and where the stream is over there is nobody to be told.
        let _ = self.0.session.poll_send(&self.0.stream, &[], EndStream::Set, &cx);
    }

    /// An answer that ends early must not look whole.
    pub(crate) fn reset(&self) {
        self.0.reset();
    }

    /// Waits until the edge gives it up.
    pub(crate) fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let stream = Arc::clone(&self.0.stream);
        poll_fn(move |cx| {
            let mut inner = stream.inner();
            if inner.closed.is_some() {
                return Poll::Ready(());
            }
            keep(&mut inner.minds, cx);
            Poll::Pending
        })
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, from).map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

fn wake<const N: usize>(wakers: [Option<Waker>; N]) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}
