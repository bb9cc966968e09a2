//! A stream to the edge, over whichever transport: what comes is an [`Intake`], what goes out an [`Outlet`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bartizan_quic as quic;
use bartizan_rpc::over_http2::Answer;
use bartizan_rpc::{ConnectRequest, Entry, encode_response};
use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::over_http2::{Closed, Reader, Writer};
use crate::untaken::{Carried, client_of};

/// What comes on a stream behind the head of its request.
pub(crate) enum Arriving {
    Quic(RecvStream, Arc<Carried>),
    Http2(Reader),
}

impl Arriving {
    /// For an origin that may take it slower than it comes. `length` is what has to come, where that is known.
    pub(crate) fn intake(self, request: &ConnectRequest, length: Option<u64>) -> Intake {
        match self {
            Arriving::Quic(stream, on) => {
                Intake::Quic(quic::Intake::new(stream, length, &on.unread, client_of(request)))
            }
            Arriving::Http2(reader) => Intake::Http2(reader),
        }
    }
}

/// What comes on a stream. Dropped, what is left of it is thrown away.
pub(crate) enum Intake {
    Quic(quic::Intake),
    Http2(Reader),
}

/// Why there is no more to read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error(transparent)]
    Quic(#[from] quinn::ReadError),
    #[error(transparent)]
    Http2(#[from] Closed),
    #[error("it was read too slowly, and others needed the memory")]
    Shed,
}

impl From<quic::IntakeError> for IntakeError {
    fn from(error: quic::IntakeError) -> IntakeError {
        match error {
            quic::IntakeError::Stream(error) => IntakeError::Quic(error),
            quic::IntakeError::Shed => IntakeError::Shed,
        }
    }
}

impl Intake {
    /// The next piece; none at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, IntakeError> {
        Ok(match self {
            Intake::Quic(stream) => stream.chunk().await?,
            Intake::Http2(reader) => reader.chunk().await?,
        })
    }

    /// Tells when it is ended, whoever is busy with what came before. Over HTTP/2 the windows alone bound it.
    pub(crate) fn shed(&self) -> Shed {
        match self {
            Intake::Quic(stream) => Shed(Some(stream.shed())),
            Intake::Http2(_) => Shed(None),
        }
    }
}

impl AsyncRead for Intake {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Intake::Quic(stream) => Pin::new(stream).poll_read(cx, to),
            Intake::Http2(reader) => Pin::new(reader).poll_read(cx, to),
        }
    }
}

/// Ready when a stream is ended because it was read too slowly. One for each stream.
pub(crate) struct Shed(Option<quic::Shed>);

impl Future for Shed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |shed| Pin::new(shed).poll(cx))
    }
}

/// The head of an answer, as its transport has it.
pub(crate) enum Head {
    Quic(Bytes),
    Http2(Answer),
}

/// What goes out on a stream. Dropped before its end, it does not look whole.
pub(crate) enum Outlet {
    Quic(SendStream),
    Http2(Writer),
}

/// The edge takes no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Quic(#[from] quinn::WriteError),
    #[error(transparent)]
    Http2(#[from] Closed),
}

impl Outlet {
    /// Writes the head of an answer down. With an `error` there is none of an origin.
    pub(crate) fn head<'e, I: Iterator<Item = Entry<'e>>>(&self, error: &str, entries: impl Fn() -> I) -> Head {
        match self {
            Outlet::Quic(_) => Head::Quic(encode_response(error, entries).into()),
            Outlet::Http2(_) => Head::Http2(Answer::of(error, entries)),
        }
    }

    /// Sends the head of the answer, and what is there of its body: together, so that a short answer is one packet.
    pub(crate) async fn begin(&mut self, head: Head, data: Bytes) -> Result<(), WriteError> {
        match (self, head) {
            (Outlet::Quic(stream), Head::Quic(head)) => stream.write_all_chunks(&mut [head, data]).await?,
            (Outlet::Http2(writer), Head::Http2(head)) => {
                writer.answer(&head);
                writer.send(data).await?;
            }
            // A head is written down for the stream that it is sent on.
            (Outlet::Quic(_), Head::Http2(_)) | (Outlet::Http2(_), Head::Quic(_)) => {}
        }
        Ok(())
    }

    /// Says that the connection which was asked for is there.
    pub(crate) async fn agree(&mut self) -> Result<(), WriteError> {
        let head = self.head("", std::iter::empty);
        self.begin(head, Bytes::new()).await
    }

    pub(crate) async fn write_chunk(&mut self, data: Bytes) -> Result<(), WriteError> {
        match self {
            Outlet::Quic(stream) => stream.write_chunk(data).await?,
            Outlet::Http2(writer) => writer.send(data).await?,
        }
        Ok(())
    }

    /// Says that nothing more is sent.
    pub(crate) fn finish(&mut self) {
        match self {
            // It fails when the edge has lost interest.
            Outlet::Quic(stream) => drop(stream.finish()),
            Outlet::Http2(writer) => writer.finish(),
        }
    }

    /// The same, and waits until the edge has all of it: written is not delivered, and until then the connection must not be
    /// closed. Over HTTP/2 it is not, before all is written.
    pub(crate) async fn deliver(mut self) {
        self.finish();
        if let Outlet::Quic(stream) = &mut self {
            let _ = stream.stopped().await;
        }
    }

    /// What was sent is not whole.
    pub(crate) fn reset(&mut self) {
        match self {
            Outlet::Quic(stream) => drop(stream.reset(0_u32.into())),
            Outlet::Http2(writer) => writer.reset(),
        }
    }

    /// Waits until the edge wants nothing more.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let (quic, http2) = match self {
            Outlet::Quic(stream) => (Some(stream.stopped()), None),
            Outlet::Http2(writer) => (None, Some(writer.given_up())),
        };
        async move {
            if let Some(stopped) = quic {
                let _ = stopped.await;
            }
            if let Some(given_up) = http2 {
                given_up.await;
            }
        }
    }
}

impl AsyncWrite for Outlet {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Outlet::Quic(stream) => AsyncWrite::poll_write(Pin::new(stream), cx, from),
            Outlet::Http2(writer) => Pin::new(writer).poll_write(cx, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Outlet::Quic(stream) => Pin::new(stream).poll_flush(cx),
            Outlet::Http2(writer) => Pin::new(writer).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Outlet::Quic(stream) => Pin::new(stream).poll_shutdown(cx),
            Outlet::Http2(writer) => Pin::new(writer).poll_shutdown(cx),
        }
    }
}
