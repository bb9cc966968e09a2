//! The way past: a body of known length over plain TCP goes from the visitor's socket to the origin's without a copy.
//!
//! ```text
//! visitor ── Intake: fill ─► pipe ─► drain: Upload ── origin
//! ```
//! Nothing looks at such bytes, so they need not be here. Who sends the request opens the way when all before is written, who
//! reads it fills the pipe instead of handing a piece over, and there is a piece or a pipe on the way, never both. Where no
//! pipe is free, or the system has none, bytes are copied as all others are.

use std::cell::{Cell, RefCell};
use std::io;
use std::task::{Context, Poll, ready};

use bartizan_net::{Pipe, Pipes};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::limits::PAST_BYTES_MIN;

/// Of one request.
#[derive(Default)]
pub(crate) struct Past {
    way: Cell<Way>,
    /// One with bytes in it.
    pipe: RefCell<Option<Pipe>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Closed,
    Open,
    /// The system does not move the bytes of these sockets.
    Barred,
}

impl Past {
    /// The origin's side takes what is still to come in this way too.
    pub(crate) fn open(&self) {
        if self.way.get() == Way::Closed {
            self.way.set(Way::Open);
        }
    }

    /// What is in the pipe is lost.
    pub(crate) fn close(&self) {
        self.way.set(Way::Closed);
        self.pipe.take();
    }

    /// Whether so many bytes may go this way.
    pub(crate) fn takes(&self, left: u64) -> bool {
        left >= PAST_BYTES_MIN && self.way.get() == Way::Open
    }

    /// Whether some are on their way.
    pub(crate) fn is_busy(&self) -> bool {
        self.pipe.borrow().is_some()
    }

    /// Takes what the visitor has sent, so much at most; says how much. None: it has to be read, for whatever reason.
    pub(crate) fn poll_fill(
        &self,
        from: &TcpStream,
        most: usize,
        pipes: &Pipes,
        cx: &mut Context<'_>,
    ) -> Poll<Option<usize>> {
        loop {
            if ready!(from.poll_read_ready(cx)).is_err() {
                return Poll::Ready(None);
            }
            let Some(mut pipe) = pipes.take() else { return Poll::Ready(None) };
            match from.try_io(Interest::READABLE, || pipe.fill(from, most)) {
                Ok(bytes @ 1..) => {
                    self.pipe.replace(Some(pipe));
                    return Poll::Ready(Some(bytes));
                }
                Err(error) if is_pause(&error) => {}
                // To read tells what it is.
                Ok(0) => return Poll::Ready(None),
                Err(error) => {
                    tracing::debug!(%error, "bytes of a visitor have to be copied");
                    self.way.set(Way::Barred);
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// Gives the origin what is in the pipe; says how much it took. To be called while there is some.
    pub(crate) fn poll_drain(&self, to: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut held = self.pipe.borrow_mut();
        let Some(pipe) = &mut *held else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || pipe.drain(to)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Err(error) if is_pause(&error) => {}
                Ok(bytes) => {
                    if pipe.held() == 0 {
                        // It goes back, so that others can use it.
                        *held = None;
                    }
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, far)
    }

    #[test]
    fn only_what_is_much_and_only_when_it_is_open() {
        let past = Past::default();
        assert!(!past.takes(u64::MAX));
        past.open();
        assert!(past.takes(PAST_BYTES_MIN) && !past.takes(PAST_BYTES_MIN - 1));
        past.close();
        assert!(!past.takes(u64::MAX));
    }

    /// No more than may go, in its order; and what is in the pipe at the end is nobody else's.
    #[test]
    fn bytes_go_past() {
        runtime().block_on(async {
            let ((from, mut visitor), (to, mut origin)) = (connection().await, connection().await);
            let (past, pipes) = (Past::default(), Pipes::new(1));
            past.open();
            visitor.write_all(b"hello world").await.unwrap();
            for expect in [&b"hello"[..], b" worl"] {
                let filled = poll_fn(|cx| past.poll_fill(&from, 5, &pipes, cx)).await;
                assert!(filled == Some(5) && past.is_busy() && pipes.take().is_none());
                assert_eq!(poll_fn(|cx| past.poll_drain(&to, cx)).await.unwrap(), 5);
                assert!(!past.is_busy());
                let mut got = [0; 5];
                origin.read_exact(&mut got).await.unwrap();
                assert_eq!(got, expect);
            }
            assert_eq!(poll_fn(|cx| past.poll_fill(&from, 5, &pipes, cx)).await, Some(1));
            past.close();
            assert!(!past.is_busy() && pipes.take().is_some());
        });
    }

    /// Where there is no pipe, or an end, that is for who reads to see.
    #[test]
    fn what_has_to_be_read() {
        runtime().block_on(async {
            let (from, mut visitor) = connection().await;
            let past = Past::default();
            past.open();
            visitor.write_all(b"x").await.unwrap();
            assert_eq!(poll_fn(|cx| past.poll_fill(&from, 5, &Pipes::new(0), cx)).await, None);
            let pipes = Pipes::new(1);
            assert_eq!(poll_fn(|cx| past.poll_fill(&from, 5, &pipes, cx)).await, Some(1));
            past.close();
            drop(visitor);
            assert_eq!(poll_fn(|cx| past.poll_fill(&from, 5, &pipes, cx)).await, None);
            assert!(pipes.take().is_some());
        });
    }
}
