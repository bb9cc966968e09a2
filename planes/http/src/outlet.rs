//! What is written to a connection of HTTP/2, gathered.
//!
//! Answers that are ready at the same time leave together, in a TLS record for each 16 KB and not for each frame. Full
//! records leave at once; what is less, when the connection's task has done what there was to do. Nothing waits for a
//! timer, or for what is not here yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bartizan_wire::http2::FRAME_HEAD_BYTES;
use tokio::io::AsyncWrite;

use crate::limits::{GATHER_BYTES_MAX, UNWRITTEN_BYTES_MAX};
use crate::spare::Spare;

/// A frame of data that would be smaller because the record is nearly full goes into the next one.
const LEAST_BYTES: usize = 1024;

#[derive(Default)]
pub(crate) struct Outlet {
    /// No memory while nothing is in it.
    bytes: Vec<u8>,
    /// How much of it is written.
    written: usize,
    /// Whether something was written and not flushed.
    is_dirty: bool,
    /// Whether there was no room below at the last write.
    is_full: bool,
}

impl Outlet {
    /// Where frames are put.
    pub(crate) fn open(&mut self, spare: &Spare) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = spare.text();
        }
        &mut self.bytes
    }

    /// How much is gathered.
    pub(crate) fn gathered(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether there is room for more of answers.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_full && self.bytes.len() < GATHER_BYTES_MAX
    }

    /// How much data the next frame should have, of so much that there is.
    pub(crate) fn share(&self, wanted: usize) -> usize {
        let left = GATHER_BYTES_MAX.saturating_sub(self.bytes.len() + FRAME_HEAD_BYTES);
        if left < LEAST_BYTES { wanted.min(GATHER_BYTES_MAX - FRAME_HEAD_BYTES) } else { wanted.min(left) }
    }

    /// Whether so much waits to be taken by the visitor that no more of what it sends should be answered.
    pub(crate) fn is_clogged(&self) -> bool {
        self.bytes.len() - self.written > UNWRITTEN_BYTES_MAX
    }

    /// Writes full records, if there are any.
    pub(crate) fn write_records<IO>(&mut self, io: &mut IO, cx: &mut Context<'_>) -> io::Result<()>
    where
        IO: AsyncWrite + Unpin,
    {
        let end = self.bytes.len() / GATHER_BYTES_MAX * GATHER_BYTES_MAX;
        // What has not left is written later.
        let _ = self.poll_write(io, cx, end)?;
        Ok(())
    }

    /// Writes all of it, and flushes that.
    pub(crate) fn poll_leave<IO>(&mut self, io: &mut IO, cx: &mut Context<'_>, spare: &Spare) -> Poll<io::Result<()>>
    where
        IO: AsyncWrite + Unpin,
    {
        ready!(self.poll_write(io, cx, self.bytes.len()))?;
        if self.is_dirty {
            let flushed = Pin::new(io).poll_flush(cx)?;
            self.is_full = flushed.is_pending();
            ready!(flushed);
            self.is_dirty = false;
        }
        spare.give_text(std::mem::take(&mut self.bytes));
        Poll::Ready(Ok(()))
    }

    /// Writes as far as `end`.
    fn poll_write<IO>(&mut self, io: &mut IO, cx: &mut Context<'_>, end: usize) -> Poll<io::Result<()>>
    where
        IO: AsyncWrite + Unpin,
    {
        while self.written < end {
            let polled = Pin::new(&mut *io).poll_write(cx, &self.bytes[self.written..end])?;
            self.is_full = polled.is_pending();
            match ready!(polled) {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
            self.is_dirty = true;
        }
        self.bytes.drain(..std::mem::take(&mut self.written));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
