//! Copying through the worker's buffer: the only way for TLS and tunnels, and the cheapest way for few bytes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bartizan_exchange::Io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Broken, Outcome, Stage, is_end, outcome_of};
use crate::limits::TURN_BYTES;
use crate::session::{Session, Way};
use crate::worker::Worker;

/// Bytes that were read and that a slow reader has not taken yet.
pub(super) struct Rest {
    bytes: Box<[u8]>,
    written: usize,
}

impl Rest {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes what is taken; ready when nothing is left.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> Poll<Result<(), Broken>> {
        while self.written < self.bytes.len() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.bytes[self.written..]));
            match written {
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken::To)),
                Ok(written) => self.written += written,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// One read, and one try to write it.
pub(super) struct Copied {
    /// Zero at the end.
    pub(super) read: usize,
    pub(super) rest: Option<Rest>,
}

/// Ready when something was read, or there is nothing more to read.
// Hot: once for each burst of bytes. No allocation unless the reader is slow.
pub(super) fn poll_copy(
    cx: &mut Context<'_>,
    from: &mut (impl AsyncRead + Unpin + ?Sized),
    to: &mut (impl AsyncWrite + Unpin + ?Sized),
    scratch: &RefCell<Box<[u8]>>,
    most: usize,
) -> Poll<Result<Copied, Broken>> {
    let mut scratch = scratch.borrow_mut();
    let most = most.min(scratch.len());
    let mut buffer = ReadBuf::new(&mut scratch[..most]);
    match ready!(Pin::new(from).poll_read(cx, &mut buffer)) {
        Ok(()) => {}
        Err(error) if is_end(&error) => {}
        Err(_) => return Poll::Ready(Err(Broken::From)),
    }
    let bytes = buffer.filled();
    if bytes.is_empty() {
        return Poll::Ready(Ok(Copied { read: 0, rest: None }));
    }
    let written = match Pin::new(to).poll_write(cx, bytes) {
        Poll::Pending => 0,
        Poll::Ready(Ok(written)) if written > 0 => written,
        Poll::Ready(_) => return Poll::Ready(Err(Broken::To)),
    };
    let rest = (written < bytes.len()).then(|| Rest { bytes: bytes[written..].into(), written: 0 });
    Poll::Ready(Ok(Copied { read: bytes.len(), rest }))
}

pub(super) async fn relay(
    client: &mut dyn Io,
    origin: &mut dyn Io,
    session: &Session,
    worker: &Worker,
    held_max: usize,
) -> Outcome {
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let traffic = &session.traffic;
    poll_fn(|cx| {
        if let Poll::Ready(end) = session.cancel.poll(cx) {
            return Poll::Ready(Outcome::Ended(end));
        }
        let means = (worker, held_max);
        let upwards = up.poll(cx, client, origin, means, (session, Way::In));
        let downwards = down.poll(cx, origin, client, means, (session, Way::Out));
        outcome_of(upwards, downwards, traffic)
    })
    .await
}

/// One direction of a connection.
#[derive(Default)]
struct Direction {
    rest: Option<Rest>,
    stage: Stage,
}

impl Direction {
    /// Moves what can be moved now; ready when the end has been handed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut dyn Io,
        to: &mut dyn Io,
        (worker, held_max): (&Worker, usize),
        (session, way): (&Session, Way),
    ) -> Poll<Result<(), Broken>> {
        let mut turn = 0;
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.poll_write(cx, to))?;
                session.let_go(rest.len());
                self.rest = None;
                session.traffic.took(way, 0);
            }
            match self.stage {
                Stage::Done => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    // The other side may have gone already. Then there is nothing left to end.
                    let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                    self.stage = Stage::Done;
                }
                Stage::Reading if turn >= TURN_BYTES => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Stage::Reading => match poll_copy(cx, from, to, &worker.scratch, held_max)? {
                    Poll::Ready(Copied { read: 0, .. }) => self.stage = Stage::Ending,
                    Poll::Ready(Copied { read, rest }) => {
                        session.traffic.took(way, read);
                        turn += read;
                        rest.iter().for_each(|rest| session.hold_or_end(rest.len()));
                        self.rest = rest;
                    }
                    Poll::Pending => {
                        // What was written may still be in a TLS record that is not full.
                        let _ = Pin::new(to).poll_flush(cx).map_err(|_| Broken::To)?;
                        return Poll::Pending;
                    }
                },
            }
        }
    }
}
