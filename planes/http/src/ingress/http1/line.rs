//! The bytes of a visitor's connection: counted, and waited for with a limit.
//!
//! One task reads and writes at the same time, so each borrows the connection only during a poll.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::ingress::connection::Connection;
use crate::ingress::deadline::Awaited;
use crate::ingress::goodbye::Carrier;
use crate::limits::READ_BYTES;
use crate::past::Past;
use crate::spare::Unread;
use crate::worker::Worker;

pub(super) struct Line<IO> {
    io: RefCell<IO>,
    pub(super) connection: Rc<Connection>,
    pub(super) worker: Rc<Worker>,
    /// The most that was read and not used in this exchange, and what waits to be written.
    read: Held,
    unwritten: Held,
}

/// What one of its buffers holds: less than a megabyte.
type Held = Cell<u32>;

impl<IO: Carrier> Line<IO> {
    /// Goes on with the handshake, as reading does, if it is not over. Ready when it has failed.
    pub(super) fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.connection.handshake_end().is_none() {
            return Poll::Pending;
        }
        match ready!(self.io.borrow_mut().poll_handshake(cx)) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    /// As reading the body, but what comes goes `past` us: says how much, of so much that is `left`. None: it has to be read.
    pub(super) fn poll_past(&self, cx: &mut Context<'_>, past: &Past, left: u64) -> Poll<Option<usize>> {
        let (connection, worker) = (&self.connection, &self.worker);
        let io = self.io.borrow();
        let Some(socket) = io.plain() else { return Poll::Ready(None) };
        ready!(connection.turn.poll_move(cx));
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(connection.turn.most());
        let Poll::Ready(passed) = past.poll_fill(socket, most, &worker.spare.pipes, cx) else {
            // If it comes too slowly, to read tells that.
            return connection.reading.poll(cx, Awaited::Body, &worker.limits).map(|()| None);
        };
        if let Some(bytes) = passed {
            connection.turn.moved(bytes);
            connection.reading.moved(bytes, &worker.limits);
            worker.counters.visitors.bytes_in.add(bytes as u64);
        }
        Poll::Ready(passed)
    }
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Some,
    End,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Line<IO> {
    pub(super) fn new(io: IO, connection: Rc<Connection>, worker: Rc<Worker>) -> Line<IO> {
        Line { io: RefCell::new(io), connection, worker, read: Held::default(), unwritten: Held::default() }
    }

    /// An exchange is over, of which nothing is left but this.
    pub(super) fn rest(&self, unread: &Unread) -> io::Result<()> {
        self.hold(&self.read, unread.len())
    }

    /// A buffer holds so much now.
    // Hot: a few times a request.
    fn hold(&self, held: &Held, bytes: usize) -> io::Result<()> {
        let before = held.get() as usize;
        if bytes < before {
            self.connection.let_go(before - bytes);
        } else if bytes > before && !self.connection.hold(bytes - before, &self.worker) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        held.set(bytes as u32);
        Ok(())
    }

    pub(super) fn into_io(self) -> IO {
        self.io.into_inner()
    }

    /// Reads and appends to `into`. The bytes pass through a buffer that all connections of a worker share, so that a
    /// waiting connection holds none. `awaited`: what we wait for; none if there is no limit.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        into: &mut Unread,
        awaited: Option<Awaited>,
    ) -> Poll<io::Result<Read>> {
        let visitors = &self.worker.counters.visitors;
        let reading = &self.connection.reading;
        ready!(self.connection.turn.poll_move(cx));
        let read = match into.poll_read(&mut *self.io.borrow_mut(), cx, READ_BYTES, &self.worker.spare) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                let Some(awaited) = awaited else {
                    reading.rest();
                    return Poll::Pending;
                };
                ready!(reading.poll(cx, awaited, &self.worker.limits));
                if awaited == Awaited::Request {
                    // Nothing was asked for: this is an orderly end and not a failure.
                    return Poll::Ready(Ok(Read::End));
                }
                visitors.too_slow.add(1);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        };
        self.connection.turn.moved(read);
        self.hold(&self.read, into.len().max(self.read.get() as usize))?;
        match awaited {
            // A head that only grew is no progress.
            Some(Awaited::Head) => {}
            Some(Awaited::Body) => reading.moved(read, &self.worker.limits),
            Some(_) | None => reading.rest(),
        }
        if read == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        visitors.bytes_in.add(read as u64);
        Poll::Ready(Ok(Read::Some))
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.connection.turn.poll_move(cx));
        let polled = {
            let mut io = self.io.borrow_mut();
            let io = Pin::new(&mut *io);
            match slices {
                [one] => io.poll_write(cx, one),
                several => io.poll_write_vectored(cx, several),
            }
        };
        match polled {
            Poll::Ready(Ok(bytes)) => {
                self.connection.turn.moved(bytes);
                self.connection.writing.moved(bytes, &self.worker.limits);
                self.worker.counters.visitors.bytes_out.add(bytes as u64);
                Poll::Ready(if bytes == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes) })
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let waiting = slices.iter().map(|slice| slice.len()).sum::<usize>();
                self.hold(&self.unwritten, waiting.max(self.unwritten.get() as usize))?;
                self.poll_patience(cx).map(Err)
            }
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut *self.io.borrow_mut()).poll_flush(cx);
        match polled {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_patience(cx).map(Err),
        }
    }

    /// Ready when the visitor has read nothing for too long.
    fn poll_patience(&self, cx: &Context<'_>) -> Poll<io::Error> {
        ready!(self.connection.writing.poll(cx, Awaited::Room, &self.worker.limits));
        self.worker.counters.visitors.too_slow.add(1);
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// Writes all of it, in as few calls as the system allows.
    pub(super) async fn write(&self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Removes empty slices from the front.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let written = std::future::poll_fn(|cx| self.poll_write(cx, slices)).await?;
            IoSlice::advance_slices(&mut slices, written);
        }
        self.hold(&self.unwritten, 0)?;
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }
}
