//! The API's listeners: a bounded number of connections, none of which may be silent for long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::extract::Peer;
use crate::router::router;
use crate::state::Dependencies;

/// Connections at once, all listeners together. Clients of the API are few; each connection costs a file descriptor.
const CONNECTIONS_MAX: usize = 1_024;

/// How long a connection may neither read nor write a byte: keep-alive, slow headers and slow readers alike.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// How long after a failed accept (normally: no file descriptor left) the next is tried.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Connected<IncomingStream<'_, LimitedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, LimitedListener>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// Serves the API on all `listeners` until `shutdown`, then until the requests in progress are answered.
pub async fn serve(
    listeners: Vec<std::net::TcpListener>,
    given: Dependencies,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = router(given);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopped) = tokio::sync::watch::channel(());
    let mut servers = tokio::task::JoinSet::new();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let listener = LimitedListener { listener: TcpListener::from_std(listener)?, room: Arc::clone(&room) };
        let service = router.clone().into_make_service_with_connect_info::<Peer>();
        let mut stopped = stopped.clone();
        let wait = async move {
            // An error means that the sender is gone, which is the signal.
            let _ = stopped.changed().await;
        };
        servers.spawn(axum::serve(listener, service).with_graceful_shutdown(wait).into_future());
    }
    shutdown.await;
    drop(stop);
    while let Some(served) = servers.join_next().await {
        served.map_err(io::Error::other)??;
    }
    Ok(())
}

/// A listener that accepts a bounded number of connections at a time.
struct LimitedListener {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl axum::serve::Listener for LimitedListener {
    type Io = Patient;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Patient, SocketAddr) {
        loop {
            let permit = Arc::clone(&self.room).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Replies are small and written at once; waiting for more to send only delays them.
                    let _ = stream.set_nodelay(true);
                    return (Patient::new(stream, permit), peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it was silent for [`IDLE_MAX`].
struct Patient {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Patient {
    fn new(stream: TcpStream, permit: Option<OwnedSemaphorePermit>) -> Patient {
        Patient { stream, idle: Box::pin(tokio::time::sleep(IDLE_MAX)), _permit: permit }
    }

    /// Starts the wait anew after progress, or ends the connection when it is over.
    fn watch<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE_MAX);
            return progress;
        }
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_read(context, into);
        self.watch(context, progress)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, data);
        self.watch(context, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
