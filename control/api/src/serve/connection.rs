//! One connection of the API, from its first byte to its last.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use bartizan_quotas::Place;
use http_body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::clock::{Clock, State};
use super::{LINGER_BYTES_MAX, READ_BYTES_MAX, Shared};
use crate::extract::Peer;

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
        stream = speak(Watched { stream, clock: Arc::clone(&clock) }, peer, &shared) => {
            if let Some(stream) = stream {
                linger(stream, &shared).await;
            }
        }
    }
    shared.counters.closed();
}

/// Speaks HTTP/1.1 to the end; gives the socket back if that was in order.
async fn speak(io: Watched, peer: SocketAddr, shared: &Shared) -> Option<TcpStream> {
    let clock = Arc::clone(&io.clock);
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        clock.begin();
        Box::pin(answer(request.map(Body::new), peer, shared.router.clone(), Arc::clone(&clock)))
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
        Ok(()) => Some(connection.into_parts().io.into_inner().stream),
        Err(error) => {
            tracing::trace!(%peer, %error, "a connection of the API failed");
            None
        }
    }
}

async fn answer(
    mut request: Request,
    peer: SocketAddr,
    router: axum::Router,
    clock: Arc<Clock>,
) -> Result<http::Response<Answer>, std::convert::Infallible> {
    request.extensions_mut().insert(ConnectInfo(Peer(peer)));
    let response: Response = router.oneshot(request).await?;
    Ok(response.map(|body| Answer { body, clock }))
}

/// Says that it is over, and reads what is still being sent.
async fn linger(mut stream: TcpStream, shared: &Shared) {
    let farewell = async {
        stream.shutdown().await?;
        let mut left = LINGER_BYTES_MAX;
        let mut waste = vec![0; READ_BYTES_MAX];
        while left > 0 {
            match stream.read(&mut waste).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    // Whatever is read here is thrown away.
    let _ = tokio::time::timeout(shared.times.linger, farewell).await;
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

/// A socket that tells the clock what happens on it.
struct Watched {
    stream: TcpStream,
    clock: Arc<Clock>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        if into.filled().len() > before {
            self.clock.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The library asks for this when it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.clock.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
