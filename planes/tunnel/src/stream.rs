//! Streams to connectors: which connection, opened, and both halves as one.
//!
//! Everything here runs on the caller's thread; only stream handles reach into the plane's own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bartizan_exchange::{DialError, UpstreamError};
use bartizan_live::Live;
use bartizan_names::TunnelId;
use bartizan_rpc::OUR_FEATURE;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::registry::{Lease, Link, Table};

/// For a stream on a connection. It costs no round trip unless the connector is out of streams.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// Connections that are tried for one request, if a stream cannot even be opened.
const TRIES: usize = 2;
/// How long an origin behind a stock connector may be silent before it gets the client's end.
const HELD_SILENCE: Duration = Duration::from_secs(5);
/// What a stream that is given up is reset with.
const GIVEN_UP: VarInt = VarInt::from_u32(0);

/// The connections of all tunnels, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Links {
    table: Live<Table>,
    /// Where the search for the least loaded connection begins, so that idle ones take turns.
    turn: AtomicUsize,
}

/// A stream to a connector, and the right to use it.
pub(crate) struct Stream {
    pub(crate) send: Sending,
    pub(crate) receive: RecvStream,
    pub(crate) lease: Lease,
}

/// There is no stream.
#[derive(Debug)]
pub(crate) enum OpenError {
    NotConnected,
    TimedOut,
    Broken(quinn::ConnectionError),
    Full,
}

/// Every connection carries as many requests as it may.
#[derive(Debug, thiserror::Error)]
#[error("all connections of this tunnel are at their limit of requests")]
pub(crate) struct Full;

impl From<OpenError> for UpstreamError {
    fn from(error: OpenError) -> UpstreamError {
        match error {
            OpenError::NotConnected => UpstreamError::NotConnected,
            OpenError::TimedOut => UpstreamError::TimedOut,
            OpenError::Broken(error) => UpstreamError::Broken(error.into()),
            OpenError::Full => UpstreamError::Broken(Box::new(Full)),
        }
    }
}

impl From<OpenError> for DialError {
    fn from(error: OpenError) -> DialError {
        match error {
            OpenError::NotConnected => DialError::NotConnected,
            OpenError::TimedOut => DialError::TimedOut,
            OpenError::Broken(error) => DialError::Broken(error.into()),
            OpenError::Full => DialError::Broken(Box::new(Full)),
        }
    }
}

impl Links {
    pub(crate) fn new(table: Live<Table>) -> Links {
        Links { table, turn: AtomicUsize::new(0) }
    }

    /// Opens a stream to one of the tunnel's connectors.
    pub(crate) async fn open(&self, tunnel: TunnelId) -> Result<Stream, OpenError> {
        let links = self.of(tunnel).ok_or(OpenError::NotConnected)?;
        let mut failed: Option<(*const Link, OpenError)> = None;
        for _ in 0..TRIES {
            let not = failed.as_ref().map(|(link, _)| *link);
            let wanted = |link: &Link| not != Some(std::ptr::from_ref(link));
            let Some(lease) = self.choose(&links, wanted, Link::in_flight).and_then(Link::lease) else { break };
            let error = match timeout(OPEN_MAX, lease.link().quic.open_bi()).await {
                Ok(Ok((send, receive))) => return Ok(Stream { send: Sending::new(send), receive, lease }),
                Ok(Err(error)) => OpenError::Broken(error),
                Err(_) => OpenError::TimedOut,
            };
            failed = Some((lease.link(), error));
        }
        match failed {
            Some((_, error)) => Err(error),
            None if links.iter().any(|link| link.is_open()) => Err(OpenError::Full),
            None => Err(OpenError::NotConnected),
        }
    }

    pub(crate) fn of(&self, tunnel: TunnelId) -> Option<Arc<[Arc<Link>]>> {
        self.table.snapshot().value.get(&tunnel).cloned()
    }

    /// The open connection with the smallest `load` among those that are `wanted`.
    pub(crate) fn choose<'l>(
        &self,
        links: &'l [Arc<Link>],
        wanted: impl Fn(&Link) -> bool,
        load: impl Fn(&Link) -> usize,
    ) -> Option<&'l Arc<Link>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % links.len().max(1);
        let (later, first) = links.split_at(turn);
        let candidates = first.iter().chain(later);
        candidates.filter(|link| link.is_open() && wanted(link)).min_by_key(|link| load(link))
    }
}

/// A sending half that is reset if it is dropped before its end, where the library would end it as if all were said.
pub(crate) struct Sending {
    pub(crate) stream: SendStream,
    finished: bool,
}

impl Sending {
    const fn new(stream: SendStream) -> Sending {
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
    send: Sending,
    receive: RecvStream,
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
        Duplex { send, receive, half_close: HalfClose::Open, lease }
    }
}

impl Duplex {
    fn tell_end(&mut self) {
        self.send.finish();
        self.half_close = HalfClose::Told;
    }

    /// Whether the end that is held back has to be told now: the origin said something, said that it ended, or nothing.
    fn mind_held_end(&mut self, cx: &mut Context<'_>, read: &Poll<io::Result<()>>, bytes: usize) {
        let HalfClose::Held(silence) = &mut self.half_close else { return };
        let told = match read {
            Poll::Ready(Ok(())) if bytes > 0 => {
                silence.as_mut().reset(Instant::now() + HELD_SILENCE);
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

impl AsyncRead for Duplex {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let read = AsyncRead::poll_read(Pin::new(&mut self.receive), cx, to);
        self.mind_held_end(cx, &read, to.filled().len() - before);
        read
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send.stream), cx, from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let HalfClose::Open = self.half_close {
            if self.lease.link().has_feature(OUR_FEATURE) {
                self.tell_end();
            } else {
                self.half_close = HalfClose::Held(Box::pin(sleep(HELD_SILENCE)));
            }
        }
        Poll::Ready(Ok(()))
    }
}
