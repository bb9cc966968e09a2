//! One HTTP/1.1 connection to an origin, through hyper.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bartizan_exchange::{Body, Io, Length, Request};
use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::hyper_body::{Outgoing, Pieces};
use crate::limits::{HTTP1_BUFFER_BYTES, ORIGIN_FIELDS_MAX, ORIGIN_HEAD_BYTES_MAX};

/// Dropped, it closes.
pub(crate) struct Link {
    sender: http1::SendRequest<Outgoing>,
    /// The connection itself, after it was switched to another protocol.
    rest: oneshot::Receiver<Rest>,
}

type Rest = http1::Parts<TokioIo<Box<dyn Io>>>;

/// A request as hyper's type.
pub(crate) type Composed = hyper::Request<Outgoing>;

/// An answer's head, and the pieces of its body.
pub(crate) type Answered = (http::response::Parts, Pieces);

/// The connection broke before the answer's head was there.
pub(crate) struct Lost {
    /// The request, if not a byte of it had left.
    pub(crate) unsent: Option<Composed>,
}

impl Link {
    /// Speaks HTTP over a new connection.
    pub(crate) async fn open(io: Box<dyn Io>) -> Option<Link> {
        let (sender, mut connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_headers(ORIGIN_FIELDS_MAX)
            .max_header_size(ORIGIN_HEAD_BYTES_MAX)
            .max_buf_size(HTTP1_BUFFER_BYTES)
            .handshake(TokioIo::new(io))
            .await
            .ok()?;
        let (keep, rest) = oneshot::channel();
        tokio::task::spawn_local(async move {
            if let Err(error) = poll_fn(|cx| connection.poll_without_shutdown(cx)).await {
                tracing::trace!(%error, "origin connection failed");
            }
            // The receiver may be gone; then the connection is dropped here, which closes it.
            let _ = keep.send(connection.into_parts());
        });
        Some(Link { sender, rest })
    }

    /// Whether the origin has closed it, as far as we know.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) async fn send(&mut self, request: Composed) -> Result<Answered, Lost> {
        // A link from the pool may still be finishing its last exchange.
        if self.sender.ready().await.is_err() {
            return Err(Lost { unsent: Some(request) });
        }
        match self.sender.try_send_request(request).await {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                Ok((head, Pieces::new(body)))
            }
            Err(mut error) => {
                tracing::debug!(error = %error.error(), "no answer from the origin");
                Err(Lost { unsent: error.take_message() })
            }
        }
    }

    /// The bytes behind a 101.
    pub(crate) async fn into_io(self) -> Option<Box<dyn Io>> {
        let rest = self.rest.await.ok()?;
        let io = rest.io.into_inner();
        Some(if rest.read_buf.is_empty() { io } else { Box::new(Rewound { first: rest.read_buf, io }) })
    }
}

/// Our request as hyper's: in origin form (RFC 9112 §3.2.1), with `Host` and with framing.
pub(crate) fn compose(request: Request) -> Composed {
    let Request { method, host, path, mut headers, body, upgrade } = request;
    if let Ok(host) = HeaderValue::try_from(host) {
        headers.insert(HOST, host);
    }
    if let Length::Known(length) = body.length() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if upgrade == bartizan_exchange::Upgrade::WebSocket {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    let mut composed = hyper::Request::new(Outgoing::new(body));
    *composed.method_mut() = method;
    *composed.uri_mut() = Uri::from(path);
    *composed.headers_mut() = headers;
    composed
}

/// A copy of it, for requests without a body.
pub(crate) fn copy(request: &Composed) -> Composed {
    let mut copy = hyper::Request::new(Outgoing::new(Body::empty()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// How long an answer's body is. For answers that have a length but no body, the length that they state.
pub(crate) fn length_of(method: &Method, status: StatusCode, headers: &HeaderMap, pieces: &Pieces) -> Length {
    if *method != Method::HEAD && status != StatusCode::NOT_MODIFIED {
        return pieces.length();
    }
    let stated = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    stated.map_or(Length::Absent, Length::Known)
}

/// Whether a 101 switches to WebSocket and to nothing else (RFC 6455 §4.1).
pub(crate) fn agrees_to_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// A connection of which the first bytes were read already.
struct Rewound {
    first: Bytes,
    io: Box<dyn Io>,
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let now = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..now]);
        self.first.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
