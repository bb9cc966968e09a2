//! Streams after the handshake: plain bytes in and out, and what was agreed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client;

use crate::server::Server;
use crate::{Agreed, Client, ClientCertificate, HandshakeEnd};

/// A client that was let in.
pub struct ServerStream<IO> {
    /// Boxed: over a kilobyte, which every future that a stream moves through would hold again.
    server: Box<Server<IO>>,
    name: Option<Box<str>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> ServerStream<IO> {
    pub(crate) fn new(server: Box<Server<IO>>, name: Option<String>) -> ServerStream<IO> {
        ServerStream { server, name: name.map(String::into_boxed_str) }
    }

    /// The client, if it was asked for a certificate: in this handshake, or in that of the session that it took up again.
    pub fn client(&self) -> Option<Client> {
        let chain = self.server.tls().peer_certificates().unwrap_or_default();
        Some(Client::new(self.server.client_of()?, ClientCertificate::of(chain)))
    }

    /// The protocol agreed on (RFC 7301), if any.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.server.tls().alpn_protocol()
    }

    /// The name that the client asked for, in lower case.
    pub fn sni(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether an earlier session was taken up again.
    pub fn resumed(&self) -> bool {
        matches!(self.server.tls().handshake_kind(), Some(rustls::HandshakeKind::Resumed))
    }

    /// What a policy may have something to say about.
    pub fn agreed(&self) -> Option<Agreed> {
        Agreed::on(self.server.tls())
    }

    /// If the client sends data before the handshake is over: when it is. Only of an acceptor that takes such data.
    pub fn handshake_end(&self) -> Option<HandshakeEnd> {
        self.server.handshake_end().cloned()
    }

    /// Goes on with the handshake, which reading does too. Ready when it is over; what came before stays to be read.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.server.poll_handshake(cx)
    }

    /// The connection below.
    pub fn io(&self) -> &IO {
        self.server.io()
    }
}

/// A server that we reached.
pub struct ClientStream<IO>(Box<client::TlsStream<IO>>);

impl<IO> ClientStream<IO> {
    pub(crate) fn new(stream: client::TlsStream<IO>) -> ClientStream<IO> {
        ClientStream(Box::new(stream))
    }

    /// The protocol agreed on (RFC 7301), if any.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.0.get_ref().1.alpn_protocol()
    }

    /// Whether an earlier session was taken up again.
    pub fn resumed(&self) -> bool {
        matches!(self.0.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed))
    }

    /// The connection below.
    pub fn io(&self) -> &IO {
        self.0.get_ref().0
    }
}

/// Reading and writing are those of the stream inside.
macro_rules! bytes_through {
    ($stream:ident, $inner:tt) => {
        impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for $stream<IO> {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$inner).poll_read(cx, buffer)
            }
        }

        impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for $stream<IO> {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$inner).poll_write(cx, bytes)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$inner).poll_write_vectored(cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                self.$inner.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$inner).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$inner).poll_shutdown(cx)
            }
        }
    };
}

bytes_through!(ServerStream, server);
bytes_through!(ClientStream, 0);
