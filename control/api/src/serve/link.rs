//! The bytes of a connection, in clear or over TLS: both are spoken on one port, and the first byte says which.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bartizan_tls::ServerStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::shown::Shown;
use crate::front::Way;

/// A record of the handshake (RFC 8446 §5.1). No method of HTTP begins with it.
const HANDSHAKE: u8 = 0x16;

pub(super) enum Link {
    Clear(TcpStream),
    Tls(ServerStream<TcpStream>),
}

impl Link {
    /// Waits for the first byte, and for the end of the handshake if it is one. None where there is nobody to talk to. The
    /// caller sets the deadline.
    pub(super) async fn open(stream: TcpStream, shown: Option<&Shown>) -> Option<(Link, Way)> {
        let mut first = [0];
        let begins = stream.peek(&mut first).await.ok()? > 0;
        match shown {
            Some(shown) if begins && first[0] == HANDSHAKE => {
                Some((Link::Tls(shown.accept(stream).await?), Way::Encrypted))
            }
            _ => {
                // Who is dialled at a loopback address dials from this machine.
                let here = stream.local_addr().is_ok_and(|own| own.ip().to_canonical().is_loopback());
                Some((Link::Clear(stream), if here { Way::Loopback } else { Way::Open }))
            }
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Link::Clear(stream) => stream,
            Link::Tls(stream) => stream.io(),
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Clear(stream) => Pin::new(stream).poll_read(context, into),
            Link::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Link::Clear(stream) => Pin::new(stream).poll_write(context, data),
            Link::Tls(stream) => Pin::new(stream).poll_write(context, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Link::Clear(stream) => Pin::new(stream).poll_write_vectored(context, data),
            Link::Tls(stream) => Pin::new(stream).poll_write_vectored(context, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Link::Clear(stream) => stream.is_write_vectored(),
            Link::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Clear(stream) => Pin::new(stream).poll_flush(context),
            Link::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Link::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Link::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
