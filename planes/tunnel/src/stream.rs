//! Streams to connectors, and both halves of one as a connection.
//!
//! Everything here runs on the caller's thread; only stream handles reach into the plane's own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bartizan_quic::Intake;
use bartizan_rpc::OUR_FEATURE;
use futures_util::FutureExt;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::counters::count;
use crate::link::Lease;
use crate::untaken::Outlet;

/// What a stream that is given up is reset with.
const GIVEN_UP: VarInt = VarInt::from_u32(0);

/// A stream to a connector, and the right to use it.
pub(crate) struct Stream {
    pub(crate) send: Sending,
    pub(crate) receive: RecvStream,
    pub(crate) lease: Lease,
}

/// A sending half that is reset if it is dropped before its end, where the library would end it as if all were said.
pub(crate) struct Sending {
    pub(crate) stream: SendStream,
    finished: bool,
}

impl Sending {
    pub(crate) const fn new(stream: SendStream) -> Sending {
        Sending { stream, finished: false }
    }

    pub(crate) fn finish(&mut self) {
        // It fails when the connector stopped the stream, and then it has ended too.
        let _ = self.stream.finish();
        self.finished = true;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.stream.reset(GIVEN_UP);
        }
    }
}

/// Both halves of a stream whose heads are over: what is behind a 101, or a TCP connection.
pub(crate) struct Duplex {
    outlet: Outlet,
    intake: Intake,
    half_close: HalfClose,
    lease: Lease,
}

/// How the client's end is told to the connector.
///
/// Stock connectors take the end of either direction for the end of both, and cut off what the origin was about to say.
/// So they get it when the origin has ended too, or has been silent for so long that it seems to wait for it.
enum HalfClose {
    /// The client has not ended.
    Open,
    /// The client has ended, and the connector does not know yet.
    Held(Pin<Box<Sleep>>),
    Told,
}

impl From<Stream> for Duplex {
    fn from(Stream { send, receive, lease }: Stream) -> Duplex {
        let outlet = Outlet::new(send, lease.source(), lease.link());
        let intake = Intake::new(receive, None, &lease.link().unread, lease.source());
        Duplex { outlet, intake, half_close: HalfClose::Open, lease }
    }
}

impl Duplex {
    fn tell_end(&mut self) {
        self.outlet.finish();
        self.half_close = HalfClose::Told;
    }

    /// Whether the end that is held back has to be told now: the origin said something, said that it ended, or nothing.
    fn mind_held_end(&mut self, cx: &mut Context<'_>, read: &Poll<io::Result<()>>, bytes: usize) {
        let HalfClose::Held(silence) = &mut self.half_close else { return };
        let told = match read {
            Poll::Ready(Ok(())) if bytes > 0 => {
                silence.as_mut().reset(Instant::now() + self.lease.link().limits.held_time);
                false
            }
            Poll::Ready(_) => true,
            Poll::Pending => silence.as_mut().poll(cx).is_ready(),
        };
        if told {
            self.tell_end();
        }
    }
}

impl Drop for Duplex {
    /// The end of both directions here is not their end: what the client said last is in flight until the connector has
    /// it, and until then the connection is not to be closed.
    fn drop(&mut self) {
        if let HalfClose::Told = self.half_close
            && let Some(delivered) = self.outlet.delivered()
        {
            let mut delivered = Box::pin(delivered);
            if delivered.as_mut().now_or_never().is_none() {
                let lease = self.lease.again();
                self.lease.link().run(async move {
                    if timeout(lease.link().limits.deliver_time, delivered).await.is_err() {
                        count(&lease.link().counters.undelivered);
                    }
                });
            }
        }
    }
}

impl AsyncRead for Duplex {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let read = Pin::new(&mut self.intake).poll_read(cx, to);
        self.mind_held_end(cx, &read, to.filled().len() - before);
        read
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.outlet.poll_write(cx, from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let HalfClose::Open = self.half_close {
            if self.lease.link().has_feature(OUR_FEATURE) {
                self.tell_end();
            } else {
                self.half_close = HalfClose::Held(Box::pin(sleep(self.lease.link().limits.held_time)));
            }
        }
        Poll::Ready(Ok(()))
    }
}
