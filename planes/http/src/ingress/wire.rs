//! The bytes of a visitor on their way to and from the HTTP library: screened, counted, and waited for with a limit.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connection::Connection;
use super::screen::{Screen, State, Upgraded};
use crate::counters::Counters;
use crate::limits::{BODY_STALL_TIME, HEAD_BYTES_MAX, HEAD_TIME, IDLE_TIME, WRITE_STALL_TIME};

/// What the library gets in place of a refused head: a request that the service recognises and answers with the error.
/// So the answers to earlier requests are written first, and the connection is closed afterwards.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// The protocol on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// It has its own framing and its own idle timeout, and the connection ends with it.
    Http2,
}

/// How long a visitor may take to send or read something.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    request: Duration,
    head: Duration,
    body: Duration,
    room: Duration,
}

impl Patience {
    pub(crate) const USUAL: Patience =
        Patience { request: IDLE_TIME, head: HEAD_TIME, body: BODY_STALL_TIME, room: WRITE_STALL_TIME };

    fn with(&self, awaited: Awaited) -> Duration {
        match awaited {
            Awaited::Request => self.request,
            Awaited::Head => self.head,
            Awaited::Body => self.body,
            Awaited::Room => self.room,
        }
    }
}

pub(crate) struct Wire<IO> {
    io: IO,
    connection: Rc<Connection>,
    counters: Arc<Counters>,
    screen: Screen,
    /// Bytes that were read but may not pass yet; empty, and without memory, most of the time.
    held: Vec<u8>,
    /// Of them, from the front, so many may.
    cleared: usize,
    patience: Patience,
    reading: Clock,
    writing: Clock,
}

impl<IO> Wire<IO> {
    pub(crate) fn new(io: IO, protocol: Protocol, connection: Rc<Connection>, counters: Arc<Counters>) -> Wire<IO> {
        let screen = match protocol {
            Protocol::Http1 => Screen::new(),
            Protocol::Http2 => Screen::open(),
        };
        Wire {
            io,
            connection,
            counters,
            screen,
            held: Vec::new(),
            cleared: 0,
            patience: Patience::USUAL,
            reading: Clock::default(),
            writing: Clock::default(),
        }
    }

    /// After the last request: the bytes as they come, without the library.
    pub(crate) fn into_io(self) -> IO {
        self.io
    }

    /// What we wait for the visitor to send. None: the visitor waits for us, or there is no limit.
    fn awaited(&self) -> Option<Awaited> {
        match self.screen.state() {
            State::Head { .. } if !self.held.is_empty() => Some(Awaited::Head),
            State::Head { .. } if self.connection.is_busy() => None,
            State::Head { .. } => Some(Awaited::Request),
            State::Length(_) | State::Chunks(_) => Some(Awaited::Body),
            State::Switching | State::Raw | State::Refused(_) | State::BadBody => None,
        }
    }

    /// Learns whether the request for another protocol was granted.
    fn settle_switch(&mut self) {
        if self.screen.state() != State::Switching {
            return;
        }
        let upgraded = if self.connection.is_upgraded() {
            Upgraded::Yes
        } else if self.connection.answered() == self.screen.requests() {
            Upgraded::No
        } else {
            return;
        };
        self.screen.switched(upgraded);
        self.screen_held();
    }

    /// Shows the screen what is held.
    fn screen_held(&mut self) {
        self.cleared = self.screen.admit(&self.held);
        self.stand_in();
    }

    /// Puts the stand-in behind what may pass, once a head was refused.
    fn stand_in(&mut self) {
        let State::Refused(refusal) = self.screen.state() else { return };
        self.held.truncate(self.cleared);
        self.held.extend_from_slice(STAND_IN);
        self.cleared = self.held.len();
        self.connection.refuse(self.screen.requests() + 1, refusal);
        self.counters.requests.screened_out.add(1);
    }

    fn give_cleared(&mut self, buffer: &mut ReadBuf<'_>) {
        let now = self.cleared.min(buffer.remaining());
        buffer.put_slice(&self.held[..now]);
        self.held.drain(..now);
        self.cleared -= now;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Screens what was just read into `buffer` behind `before`; takes out what may not pass.
    fn screen_read(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let read = &buffer.filled()[before..];
        if self.held.is_empty() {
            // The usual case: a whole head or a piece of a body, which passes without a copy.
            let passed = self.screen.admit(read);
            if passed < read.len() {
                self.held.extend_from_slice(&read[passed..]);
            }
            buffer.set_filled(before + passed);
            self.stand_in();
        } else {
            self.held.extend_from_slice(read);
            buffer.set_filled(before);
            self.screen_held();
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.settle_switch();
            if this.cleared > 0 {
                this.give_cleared(buffer);
                return Poll::Ready(Ok(()));
            }
            match this.screen.state() {
                State::BadBody => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                // The stand-in is being answered. An end of the stream now would look as if the visitor had left.
                State::Refused(_) => return Poll::Pending,
                State::Switching => {
                    this.connection.wait_for_answer(cx.waker());
                    if this.held.len() > HEAD_BYTES_MAX {
                        // The visitor sends too much before the answer.
                        return Poll::Pending;
                    }
                }
                _ => {}
            }
            let before = buffer.filled().len();
            match Pin::new(&mut this.io).poll_read(cx, buffer) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    let Some(awaited) = this.awaited() else {
                        this.reading.rest();
                        return Poll::Pending;
                    };
                    ready!(this.reading.wait(cx, awaited, &this.patience));
                    if awaited == Awaited::Request {
                        // Nothing was asked for: this is an orderly end and not a failure.
                        return Poll::Ready(Ok(()));
                    }
                    this.counters.visitors.too_slow.add(1);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            let read = buffer.filled().len() - before;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            this.counters.visitors.bytes_in.add(read as u64);
            this.screen_read(buffer, before);
            if !matches!(this.screen.state(), State::Head { .. }) || this.held.is_empty() {
                // There was progress. A head that only grew does not count as such.
                this.reading.rest();
            }
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> Wire<IO> {
    /// Counts what was written, or looks at the clock.
    fn written(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.writing.rest();
                self.counters.visitors.bytes_out.add(bytes as u64);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.writing.wait(cx, Awaited::Room, &self.patience));
                self.counters.visitors.too_slow.add(1);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.written(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_flush(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => this.written(cx, Poll::Pending).map_ok(drop),
        }
    }

    /// Takes the connection back at its end. HTTP/1.1 is closed so that the visitor can read our last answer.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.screen.state() {
            State::Raw => Pin::new(&mut self.get_mut().io).poll_shutdown(cx),
            _ => self.poll_flush(cx),
        }
    }
}

/// What a visitor is waited for to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Request,
    Head,
    Body,
    Room,
}

/// Runs while the same thing is waited for.
#[derive(Default)]
struct Clock {
    running: Option<Awaited>,
    /// Kept when at rest: to set a timer again costs less than to make one.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    /// Ready when the time for `awaited` is over.
    fn wait(&mut self, cx: &mut Context<'_>, awaited: Awaited, patience: &Patience) -> Poll<()> {
        let limit = patience.with(awaited);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if self.running != Some(awaited) {
            timer.as_mut().reset(tokio::time::Instant::now() + limit);
            self.running = Some(awaited);
        }
        timer.as_mut().poll(cx)
    }

    fn rest(&mut self) {
        self.running = None;
    }
}

#[cfg(test)]
mod tests {
    use bartizan_routes::Scheme;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// A wire that has no patience for one thing, and its visitor, who sends `bytes` and then nothing.
    async fn wire(patience: Patience, bytes: &[u8]) -> (Wire<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (mut near, far) = duplex(64);
        near.write_all(bytes).await.unwrap();
        let peer: std::net::SocketAddr = "192.0.2.1:1".parse().unwrap();
        let source = bartizan_firewall::Source { address: peer.ip(), country: None, asn: None };
        let connection = Rc::new(Connection::new(peer, (source, 0), Scheme::Http));
        let mut wire = Wire::new(far, Protocol::Http1, connection, Arc::default());
        wire.patience = patience;
        (wire, near)
    }

    #[tokio::test]
    async fn patience_ends() {
        let short = Duration::from_millis(1);
        let usual = Patience::USUAL;
        let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
        for (patience, bytes, passed, end) in [
            // Silence before a request is an orderly end, anything else is not.
            (Patience { request: short, ..usual }, &b""[..], 0, None),
            (Patience { head: short, ..usual }, b"GET / HT", 0, Some(io::ErrorKind::TimedOut)),
            (Patience { body: short, ..usual }, post, post.len(), Some(io::ErrorKind::TimedOut)),
        ] {
            let (mut wire, _visitor) = wire(patience, bytes).await;
            let mut read = vec![0; passed];
            wire.read_exact(&mut read).await.unwrap();
            assert_eq!(read, &bytes[..passed]);
            assert_eq!(wire.read(&mut [0; 10]).await.err().map(|error| error.kind()), end, "{bytes:?}");
        }
        let (mut wire, _visitor) = wire(Patience { room: short, ..usual }, b"").await;
        let written = wire.write_all(&[0; 1000]).await;
        assert_eq!(written.err().map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
    }
}
