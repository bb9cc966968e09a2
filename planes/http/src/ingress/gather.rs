//! What one turn of an HTTP/2 connection writes, in one piece.
//!
//! The library writes each frame with data on its own and flushes it: a TLS record and a call of the system for each of
//! the answers that are ready at the same time. Here they are gathered, and written when the connection's task has done
//! what there was to do ([`in_turns`]). Nothing waits for a timer, or for what is not here yet.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::turn::let_others_go_first;
use crate::limits::{GATHER_BYTES_MAX, TURN_READ_BYTES, TURN_READ_BYTES_MIN, TURN_READ_TIME, TURN_WRITES};
use crate::spare::Spare;

/// How many slices are handed on in one write. The library has two: the head of a frame, and its data.
const SLICES_MAX: usize = 4;

/// The connection below, and what is to be written to it.
pub(crate) struct Gather<IO> {
    io: IO,
    /// Room for as much as one TLS record takes; none while nothing is in it.
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    /// Whether something was written and not flushed.
    is_dirty: bool,
    /// Whether there was no room below at the last write.
    is_full: bool,
    /// Whether the library waits for what was gathered to leave.
    is_awaited: bool,
    /// What this turn has read, how often it has written, and when it began.
    read: usize,
    writes: u32,
    began: Instant,
    spare: Rc<Spare>,
}

impl<IO> Gather<IO> {
    fn begin_turn(&mut self) {
        (self.read, self.writes, self.began) = (0, 0, Instant::now());
    }

    /// Whether the rest is for another turn. Most turns read little, and need no look at the clock.
    fn has_read_enough(&self) -> bool {
        self.read >= TURN_READ_BYTES || (self.read > 0 && self.began.elapsed() >= TURN_READ_TIME)
    }

    fn has_written_enough(&mut self) -> bool {
        self.writes += 1;
        self.writes > TURN_WRITES
    }
}

impl<IO: AsyncWrite + Unpin> Gather<IO> {
    pub(crate) fn new(io: IO, spare: Rc<Spare>) -> Gather<IO> {
        let out = Vec::new();
        Gather {
            io,
            out,
            written: 0,
            is_dirty: false,
            is_full: false,
            is_awaited: false,
            read: 0,
            writes: 0,
            began: Instant::now(),
            spare,
        }
    }

    /// The connection, with all written that was gathered, if it could be.
    pub(crate) async fn finish(mut self) -> IO {
        if let Err(error) = poll_fn(|cx| self.poll_leave(cx)).await {
            tracing::trace!(%error, "the end of a connection cannot be written");
        }
        self.io
    }

    /// Writes what was gathered, and flushes it.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        if self.is_dirty {
            let flushed = Pin::new(&mut self.io).poll_flush(cx)?;
            self.is_full = flushed.is_pending();
            ready!(flushed);
            self.is_dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let polled = Pin::new(&mut self.io).poll_write(cx, &self.out[self.written..])?;
            self.wrote(polled)?;
            self.written += ready!(polled);
        }
        if !self.out.is_empty() {
            self.written = 0;
            self.out.clear();
            self.spare.give_text(std::mem::take(&mut self.out));
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, polled: Poll<usize>) -> io::Result<()> {
        self.is_full = polled.is_pending();
        self.is_dirty = true;
        if polled == Poll::Ready(0) { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    // Hot: a few times an answer. No allocation but for the first buffers of a worker.
    fn poll_take(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if length >= GATHER_BYTES_MAX {
            return self.poll_pass(cx, slices);
        }
        if self.out.len() == GATHER_BYTES_MAX {
            ready!(self.poll_out(cx))?;
        }
        if self.out.capacity() == 0 {
            self.out = self.spare.text();
        }
        let mut left = length.min(GATHER_BYTES_MAX - self.out.len());
        let taken = left;
        for slice in slices {
            let part = &slice[..slice.len().min(left)];
            self.out.extend_from_slice(part);
            left -= part.len();
        }
        if self.out.len() == GATHER_BYTES_MAX {
            // These were taken, whether there is room for them or not.
            let _ = self.poll_out(cx)?;
        }
        Poll::Ready(Ok(taken))
    }

    /// Writes what is large without a copy, after what was gathered.
    fn poll_pass(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let before = &self.out[self.written..];
            let mut all = [IoSlice::new(&[]); SLICES_MAX];
            let parts = std::iter::once(IoSlice::new(before)).chain(slices.iter().map(|slice| IoSlice::new(slice)));
            let count = all.iter_mut().zip(parts).map(|(place, part)| *place = part).count();
            let first = usize::from(before.is_empty());
            let gathered = before.len();
            let polled = Pin::new(&mut self.io).poll_write_vectored(cx, &all[first..count])?;
            self.wrote(polled)?;
            let written = ready!(polled);
            if written < gathered {
                self.written += written;
                continue;
            }
            self.written = self.out.len();
            ready!(self.poll_out(cx))?;
            if written > gathered {
                return Poll::Ready(Ok(written - gathered));
            }
        }
    }
}

/// The library's half of a connection that is got back when the library is done with it. Each poll borrows it, as there is
/// one task.
pub(crate) struct Lent<IO>(Rc<RefCell<Gather<IO>>>);

impl<IO> Lent<IO> {
    pub(crate) fn new(gather: &Rc<RefCell<Gather<IO>>>) -> Lent<IO> {
        Lent(Rc::clone(gather))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Lent<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gather = &mut *self.0.borrow_mut();
        if gather.has_read_enough() {
            let_others_go_first(cx);
            return Poll::Pending;
        }
        // As much again as was read, once it is seen that it did not take too long.
        let most = gather.read.max(TURN_READ_BYTES_MIN).min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut gather.io).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        gather.read += read;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Lent<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gather = self.0.borrow_mut();
        if gather.has_written_enough() {
            let_others_go_first(cx);
            return Poll::Pending;
        }
        let polled = gather.poll_take(cx, slices);
        gather.is_awaited |= polled.is_pending() && !gather.out.is_empty();
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// At the end of the turn, unless there was no room below: then the library is to wait.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gather = self.0.borrow_mut();
        if !gather.is_full {
            return Poll::Ready(Ok(()));
        }
        let polled = gather.poll_leave(cx);
        gather.is_awaited |= polled.is_pending();
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gather = self.0.borrow_mut();
        let polled = gather.poll_leave(cx)?;
        gather.is_awaited |= polled.is_pending();
        ready!(polled);
        Pin::new(&mut gather.io).poll_shutdown(cx)
    }
}

/// Drives what writes to `gather`; what was written leaves each time when there is nothing more to do, or enough is done.
pub(crate) async fn in_turns<IO, F>(mut work: Pin<&mut F>, gather: &RefCell<Gather<IO>>) -> io::Result<F::Output>
where
    IO: AsyncWrite + Unpin,
    F: Future,
{
    poll_fn(|cx| {
        gather.borrow_mut().begin_turn();
        poll_once(work.as_mut(), gather, cx)
    })
    .await
}

fn poll_once<IO, F>(
    mut work: Pin<&mut F>,
    gather: &RefCell<Gather<IO>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<F::Output>>
where
    IO: AsyncWrite + Unpin,
    F: Future,
{
    loop {
        let polled = work.as_mut().poll(cx);
        let mut gather = gather.borrow_mut();
        let left = gather.poll_leave(cx);
        // It had not left when the library asked, and has now: nothing else would wake it.
        let again = std::mem::take(&mut gather.is_awaited) && left.is_ready();
        match (polled, left) {
            (Poll::Ready(output), _) => return Poll::Ready(Ok(output)),
            (Poll::Pending, Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
            (Poll::Pending, _) if again => {}
            (Poll::Pending, _) => return Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
