//! A server's end of a TLS connection: the library's state and the bytes below it.
//!
//! ```text
//! ClientHello ─► handshake ──────────────────────────────► plain bytes
//!                    └─► early data (RFC 8446 §2.3) ─► plain bytes, while the handshake goes on
//! ```
//! Early data is why this is not the library's own stream: that gives out nothing before the handshake is over.

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::{ProtocolVersion, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::HandshakeEnd;

pub(crate) struct Server<IO> {
    io: IO,
    tls: ServerConnection,
    /// Whether the client said that it sends no more.
    read_ended: bool,
    write_ended: bool,
    /// What happened after bytes that were read, to be told by the next read.
    failed: Option<io::Error>,
    early: Option<Box<Early>>,
    /// The host that it is served as, where that asks its clients for a certificate. Here, for each stream is moved through
    /// many futures.
    client_of: Option<Box<str>>,
}

/// What came ahead of the end of the handshake.
#[derive(Default)]
struct Early {
    bytes: Vec<u8>,
    /// So many of them are read.
    read: usize,
    end: HandshakeEnd,
}

impl Early {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.read..]
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Server<IO> {
    /// The ClientHello was answered, and of that nothing has left yet.
    pub(crate) fn new(io: IO, mut tls: ServerConnection, client_of: Option<Box<str>>) -> Server<IO> {
        let early = tls.early_data().map(|_| Box::default());
        Server { io, tls, read_ended: false, write_ended: false, failed: None, early, client_of }
    }

    pub(crate) fn tls(&self) -> &ServerConnection {
        &self.tls
    }

    pub(crate) fn client_of(&self) -> Option<&str> {
        self.client_of.as_deref()
    }

    pub(crate) fn io(&self) -> &IO {
        &self.io
    }

    /// Told apart only as long as the handshake, or what came ahead of its end, is not over.
    pub(crate) fn handshake_end(&self) -> Option<&HandshakeEnd> {
        self.early.as_ref().map(|early| &early.end).filter(|end| !end.is_reached())
    }

    /// Ready when there are plain bytes of the client, or could be: the handshake is over, or early data has come.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What came together with the ClientHello.
        self.process(cx)?;
        loop {
            if self.has_sessions_alone() {
                return Poll::Ready(Ok(()));
            }
            let sent = self.poll_send(cx)?;
            if self.early.as_ref().is_some_and(|early| !early.unread().is_empty()) {
                return Poll::Ready(Ok(()));
            }
            if !self.tls.is_handshaking() {
                return sent.map(Ok);
            }
            ready!(self.poll_receive_more(cx))?;
        }
    }

    /// Whether the handshake is over and all that is left of it are new sessions (RFC 8446 §4.6.1). They leave with what is
    /// written next: until then their client has no use for them, and they would cost a packet.
    fn has_sessions_alone(&self) -> bool {
        let is_tls13 = self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        is_tls13 && self.early.is_none() && !self.tls.is_handshaking()
    }

    /// Ready when the handshake is over. Early data stays where it is.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.is_handshaking() {
            let _ = self.poll_send(cx)?;
            ready!(self.poll_receive_more(cx))?;
        }
        self.poll_send(cx)
    }

    fn poll_receive_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.poll_receive(cx))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Takes what the client has sent; none is its end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = match self.tls.read_tls(&mut Below { io: &mut self.io, cx }) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        };
        self.process(cx)?;
        Poll::Ready(Ok(read))
    }

    fn process(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Err(error) = self.tls.process_new_packets() {
            // The alert that says why. The client may be gone, which is no matter then.
            let _ = self.poll_send(cx);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        let Some(early) = &mut self.early else { return Ok(()) };
        if let Some(mut data) = self.tls.early_data() {
            // The library bounds how much there is.
            data.read_to_end(&mut early.bytes)?;
        }
        if !self.tls.is_handshaking() && !early.end.is_reached() {
            early.end.reach();
        }
        Ok(())
    }

    /// Writes what TLS has to say.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_records(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Reads what came ahead of the end of the handshake, as long as there is any.
    fn poll_read_early(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<Since>> {
        loop {
            let Some(early) = &mut self.early else { return Poll::Ready(Ok(Since::Handshake)) };
            let unread = early.unread();
            if !unread.is_empty() {
                let taken = unread.len().min(buffer.remaining());
                buffer.put_slice(&unread[..taken]);
                early.read += taken;
                return Poll::Ready(Ok(Since::Hello));
            }
            // The end of the handshake brings something to send: new sessions.
            let _ = self.poll_send(cx)?;
            if !self.tls.is_handshaking() {
                self.early = None;
                continue;
            }
            ready!(self.poll_receive_more(cx))?;
        }
    }
}

/// Since when the client sends what is read next.
enum Since {
    Hello,
    Handshake,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Server<IO> {
    /// Reads what is there. Ready with zero: the client has said that it sends no more.
    fn poll_read_some(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        while self.tls.wants_read() {
            match self.poll_receive(cx)? {
                Poll::Ready(0) | Poll::Pending => break,
                Poll::Ready(_) => {}
            }
        }
        let mut reader = self.tls.reader();
        let taken = match reader.fill_buf() {
            Ok(plain) => {
                let taken = plain.len().min(buffer.remaining());
                buffer.put_slice(&plain[..taken]);
                taken
            }
            // Nothing came, as we were told above: we are woken when something does.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        };
        reader.consume(taken);
        Poll::Ready(Ok(taken))
    }

    /// Hands records to the connection below.
    fn poll_write_records(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Below { io: &mut self.io, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Server<IO> {
    /// Reads as much as there is room for.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.early.is_some()
            && let Since::Hello = ready!(this.poll_read_early(cx, buffer))?
        {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        while buffer.remaining() > 0 && !this.read_ended {
            let has_read = buffer.filled().len() > before;
            match this.poll_read_some(cx, buffer) {
                Poll::Ready(Ok(taken)) => this.read_ended = taken == 0,
                Poll::Pending if has_read => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) if has_read => {
                    this.failed = Some(error);
                    break;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Server<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let taken = self.tls.writer().write_vectored(slices)?;
            let sent = self.poll_write_records(cx)?;
            // Nothing is taken only while older records wait.
            match (taken, sent) {
                (0, Poll::Ready(())) => {}
                (0, Poll::Pending) => return Poll::Pending,
                _ => return Poll::Ready(Ok(taken)),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_ended {
            self.tls.send_close_notify();
            self.write_ended = true;
        }
        ready!(self.poll_write_records(cx))?;
        match ready!(Pin::new(&mut self.io).poll_shutdown(cx)) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            ended => Poll::Ready(ended),
        }
    }
}

/// The connection below, as the library reads and writes it: what would have to wait is an error.
struct Below<'b, 'c, IO> {
    io: &'b mut IO,
    cx: &'b mut Context<'c>,
}

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<IO: AsyncRead + Unpin> Read for Below<'_, '_, IO> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        now(Pin::new(&mut *self.io).poll_read(self.cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl<IO: AsyncWrite + Unpin> Write for Below<'_, '_, IO> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        now(Pin::new(&mut *self.io).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}
