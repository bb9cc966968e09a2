//! One connection of the API, from its first byte to its last.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use bartizan_net::say_goodbye;
use bartizan_quotas::Place;
use http::{HeaderValue, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tower::ServiceExt;

use super::clock::{Clock, State};
use super::link::Link;
use super::{DRAIN_BYTES_MAX, DRAIN_MAX, READ_BYTES_MAX, Shared};
use crate::extract::{Patience, Peer, Stopping};
use crate::front::Way;

pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, place: Place, shared: Arc<Shared>) {
    // Replies are small and written at once; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let clock = Clock::start(shared.times, place);
    let clock = Arc::new(clock);
    tokio::select! {
        biased;
        () = clock.displaced() => shared.counters.displaced(),
        state = clock.overdue() => if state != State::Idle {
            shared.counters.too_slow();
        },
        () = visit(stream, peer, &clock, &shared) => {}
    }
    shared.counters.closed();
}

async fn visit(stream: TcpStream, peer: SocketAddr, clock: &Arc<Clock>, shared: &Shared) {
    let Some(link) = open_and_speak(stream, peer, clock, shared).await else { return };
    say_goodbye(link, Link::socket, &shared.times.patience(), yield_now).await;
}

async fn open_and_speak(stream: TcpStream, peer: SocketAddr, clock: &Arc<Clock>, shared: &Shared) -> Option<Link> {
    let mut stopped = shared.stopped.clone();
    let (link, way) = tokio::select! {
        opened = Link::open(stream, shared.shown.as_ref()) => opened?,
        // Nothing was asked.
        _ = stopped.changed() => return None,
    };
    speak(Watched { link, clock: Arc::clone(clock) }, (peer, way), shared).await
}

/// Speaks HTTP/1.1 to the end; gives the link back if that was in order.
async fn speak(io: Watched, (peer, way): (SocketAddr, Way), shared: &Shared) -> Option<Link> {
    let clock = Arc::clone(&io.clock);
    let service = service_fn(|request: http::Request<Incoming>| {
        clock.begin();
        let stopping = Stopping(shared.stopped.clone());
        Box::pin(answer(request, (peer, way, stopping), shared.router.clone(), Arc::clone(&clock)))
    });
    let mut connection = http1::Builder::new()
        // The clock does it, for all states.
        .header_read_timeout(None)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(io), service);
    let mut stopped = shared.stopped.clone();
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        _ = stopped.changed() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    match ended {
        Ok(()) => Some(connection.into_parts().io.into_inner().link),
        // It was answered, and more of the head may be on its way: closed at once, the answer would be lost.
        Err(error) if error.is_parse() => Some(connection.into_parts().io.into_inner().link),
        Err(error) => {
            tracing::trace!(%peer, %error, "a connection of the API failed");
            None
        }
    }
}

async fn answer(
    mut request: http::Request<Incoming>,
    (peer, way, stopping): (SocketAddr, Way, Stopping),
    router: axum::Router,
    clock: Arc<Clock>,
) -> Result<http::Response<Answer>, std::convert::Infallible> {
    request.extensions_mut().insert(ConnectInfo(Peer(peer)));
    request.extensions_mut().insert(way);
    request.extensions_mut().insert(stopping);
    request.extensions_mut().insert(Patience::new({
        let clock = Arc::clone(&clock);
        move || clock.renew()
    }));
    let left = Left::default();
    let may_wait = request.headers().contains_key(header::EXPECT);
    let request = request.map(|body| Body::new(Question { body: Some(body), ended: false, left: Arc::clone(&left) }));
    let mut response: Response = router.oneshot(request).await?;
    let unread = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(body) = unread
        && (may_wait || !is_drained(body).await)
    {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer { body, clock }))
}

/// What of a request nobody has read.
type Left = Arc<Mutex<Option<Incoming>>>;

/// Reads what nobody wanted, if it is little and on its way, so that the connection can go on: some clients send `{}` with
/// every GET. Else the answer says that the connection ends (RFC 9112 §9.3).
async fn is_drained(body: Incoming) -> bool {
    let all = Limited::new(body, DRAIN_BYTES_MAX).collect();
    matches!(tokio::time::timeout(DRAIN_MAX, all).await, Ok(Ok(_)))
}

/// A request's body. Dropped before its end, it leaves what is left.
struct Question {
    body: Option<Incoming>,
    ended: bool,
    left: Left,
}

impl http_body::Body for Question {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        // What has failed is read no further.
        self.ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.ended && !self.is_end_stream() {
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}

/// An answer's body. Dropped, it was composed to its end, or nobody wants it.
struct Answer {
    body: Body,
    clock: Arc<Clock>,
}

impl http_body::Body for Answer {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.clock.answered();
    }
}

/// A link that tells the clock what happens on it.
struct Watched {
    link: Link,
    clock: Arc<Clock>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.link).poll_read(context, into))?;
        if into.filled().len() > before {
            self.clock.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }

    /// The library asks for this when it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.link).poll_flush(context))?;
        self.clock.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(context)
    }
}
