//! Streams to connectors, and both halves of one as a connection.
//!
//! Everything here runs on the caller's thread; only stream handles reach into the plane's own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bartizan_exchange::Frame;
use bartizan_quic::{Intake, IntakeError};
use bartizan_rpc::OUR_FEATURE;
use futures_util::FutureExt;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::counters::count;
use crate::http2::{Closed, Reader, Slot};
use crate::link::{Lease, Opened};
use crate::untaken::Outlet;

/// What a stream that is given up is reset with.
const GIVEN_UP: VarInt = VarInt::from_u32(0);

/// A stream to a connector, and the right to use it.
pub(crate) enum Stream {
    Quic(QuicStream),
    /// One that begins with the head of what is asked.
    Http2(Slot, Lease),
}

pub(crate) struct QuicStream {
    pub(crate) send: Sending,
    pub(crate) receive: RecvStream,
    pub(crate) lease: Lease,
}

impl Stream {
    pub(crate) fn new(opened: Opened, lease: Lease) -> Stream {
        match opened {
            Opened::Quic(send, receive) => Stream::Quic(QuicStream { send: Sending::new(send), receive, lease }),
            Opened::Http2(slot) => Stream::Http2(slot, lease),
        }
    }

    pub(crate) fn lease(&self) -> &Lease {
        match self {
            Stream::Quic(stream) => &stream.lease,
            Stream::Http2(_, lease) => lease,
        }
    }
}

/// The reading half of a stream.
pub(crate) enum Inlet {
    Quic(Intake),
    Http2(Reader),
}

/// Why there is no more to read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InletError {
    #[error(transparent)]
    Quic(#[from] IntakeError),
    #[error(transparent)]
    Http2(#[from] Closed),
}

impl Inlet {
    /// The next piece; none at the end.
    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, InletError> {
        Ok(match self {
            Inlet::Quic(intake) => intake.chunk().await?.map(Frame::Data),
            Inlet::Http2(reader) => reader.frame().await?,
        })
    }
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
    intake: Inlet,
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

impl From<QuicStream> for Duplex {
    fn from(QuicStream { send, receive, lease }: QuicStream) -> Duplex {
        let outlet = Outlet::of_quic(send, lease.source(), lease.link());
        let intake = Intake::new(receive, None, &lease.link().unread, lease.source());
        Duplex::new(outlet, Inlet::Quic(intake), lease)
    }
}

impl Duplex {
    pub(crate) const fn new(outlet: Outlet, intake: Inlet, lease: Lease) -> Duplex {
        Duplex { outlet, intake, half_close: HalfClose::Open, lease }
    }

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
        let read = match &mut self.intake {
            Inlet::Quic(intake) => Pin::new(intake).poll_read(cx, to),
            Inlet::Http2(reader) => Pin::new(reader).poll_read(cx, to),
        };
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
