//! What visitors send and connectors do not take: it must not hold up what others begin.
//!
//! ```text
//! a body, or the client's half of a connection ─► Outlet ─► stream ─► connector: its origin reads slowly
//! the head of a request ─► written at once; or a second has passed, and nothing at all goes out ─► make room
//! ```
//! A connector takes so much on one connection before its origins have read it, for all streams together, and how much that
//! is the edge cannot choose. When slow origins have taken up all of it, no request can begin on that connection. The edge
//! sees this by the head of one that waits while the connector is heard, and no stream gets a byte out. Then of the streams
//! that wait as long, one is reset, of the source that has most of them, which gives its part back.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bartizan_quotas::SourceKey;
use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;
use quinn::{SendStream, WriteError};
use tokio::time::{Instant, timeout};

use crate::counters::count;
use crate::http2::{Closed, Handle};
use crate::limits::{HEAD_WAIT, ROOM_EVERY};
use crate::link::Link;
use crate::stream::Sending;

/// Writes the head of a request, for which there is room unless what came before is not taken.
// Hot: once a request. There is nothing to wait for, nearly always.
pub(crate) async fn write_head(stream: &mut SendStream, head: Bytes, link: &Link) -> Result<(), WriteError> {
    let mut write = pin!(stream.write_chunk(head));
    if let Some(written) = write.as_mut().now_or_never() {
        return written;
    }
    let Some(quic) = link.carrier.quic() else { return write.await };
    loop {
        let before = quic.stats();
        if let Ok(written) = timeout(HEAD_WAIT, write.as_mut()).await {
            return written;
        }
        let now = quic.stats();
        // Where something goes out it is the network that is slow, and where nothing comes in it is gone.
        let is_taken = now.frame_tx.stream != before.frame_tx.stream;
        let is_heard = now.udp_rx.datagrams != before.udp_rx.datagrams;
        if is_heard && !is_taken && link.untaken.make_room(Instant::now()) {
            count(&link.counters.made_room);
        }
    }
}

/// The writing half of a stream, for whoever has much to write. Dropped before its end, it is reset.
pub(crate) enum Outlet {
    Quic(Watched),
    /// Who makes room there is found by the connection itself.
    Http2(Arc<Handle>),
}

/// One that may make room for others.
pub(crate) struct Watched(Arc<Untaken>);

/// Why no more can be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutletError {
    #[error(transparent)]
    Stream(#[from] WriteError),
    #[error(transparent)]
    Http2(Closed),
    #[error("nothing of it was taken, and others could not begin")]
    MadeRoom,
}

impl From<OutletError> for io::Error {
    fn from(error: OutletError) -> io::Error {
        match error {
            OutletError::Stream(error) => error.into(),
            OutletError::Http2(closed) => closed.into(),
            OutletError::MadeRoom => io::Error::new(io::ErrorKind::ConnectionReset, error),
        }
    }
}

impl Outlet {
    pub(crate) fn of_quic(stream: Sending, source: SourceKey, link: &Link) -> Outlet {
        Outlet::Quic(Watched(link.untaken.watch(stream, source)))
    }

    pub(crate) fn of_http2(handle: &Arc<Handle>) -> Outlet {
        Outlet::Http2(Arc::clone(handle))
    }

    /// Writes as much of a chunk as is taken, once some of it is; what is not stays in it.
    pub(crate) async fn write(&self, chunk: &mut Bytes) -> Result<(), OutletError> {
        let watched = match self {
            Outlet::Quic(watched) => watched,
            Outlet::Http2(handle) => return Ok(handle.send(chunk).await?),
        };
        poll_fn(|cx| {
            watched.poll(cx, |stream, cx| {
                // It waits nowhere but in the stream.
                let write = stream.write_chunks(std::slice::from_mut(chunk));
                pin!(write).poll_unpin(cx).map_ok(drop).map_err(OutletError::from)
            })
        })
        .await
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Outlet::Quic(watched) => watched
                .poll(cx, |stream, cx| pin!(stream.write(from)).poll_unpin(cx).map_err(OutletError::from))
                .map_err(io::Error::from),
            Outlet::Http2(handle) => handle.poll_send(cx, from).map_err(io::Error::from),
        }
    }

    pub(crate) fn finish(&self) {
        match self {
            Outlet::Quic(watched) => {
                if let Some(stream) = &mut watched.0.state().stream {
                    stream.finish();
                }
            }
            Outlet::Http2(handle) => handle.finish(),
        }
    }

    /// The same behind a body. Over QUIC there is no place for them.
    pub(crate) fn finish_with(&self, trailers: &HeaderMap) {
        match self {
            Outlet::Quic(_) => self.finish(),
            Outlet::Http2(handle) => handle.finish_with(trailers),
        }
    }

    /// Resolves when the connector has all that was written, or has given it up. None where that is not told: over HTTP/2 it has
    /// all when the connection has, which is closed in that order.
    pub(crate) fn delivered(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        match self {
            Outlet::Quic(watched) => watched.0.state().stream.as_ref().map(|stream| stream.stream.stopped().map(drop)),
            Outlet::Http2(_) => None,
        }
    }
}

impl From<Closed> for OutletError {
    fn from(closed: Closed) -> OutletError {
        match closed {
            Closed::MadeRoom => OutletError::MadeRoom,
            closed => OutletError::Http2(closed),
        }
    }
}

impl Watched {
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        next: impl FnOnce(&mut SendStream, &mut Context<'_>) -> Poll<Result<T, OutletError>>,
    ) -> Poll<Result<T, OutletError>> {
        let mut state = self.0.state();
        let Some(stream) = &mut state.stream else { return Poll::Ready(Err(OutletError::MadeRoom)) };
        let polled = next(&mut stream.stream, cx);
        if polled.is_ready() {
            state.waits = None;
        } else {
            let since = state.waits.take().map_or_else(Instant::now, |(since, _)| since);
            state.waits = Some((since, cx.waker().clone()));
        }
        polled
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let stream = self.0.state().stream.take();
        drop(stream);
    }
}

struct Untaken {
    from: SourceKey,
    /// Locked by its writer for each piece, and by who makes room.
    state: Mutex<State>,
}

struct State {
    /// None when its writer is gone, or it made room.
    stream: Option<Sending>,
    /// Since when its writer waits, and who is to be told when it need not any more.
    waits: Option<(Instant, Waker)>,
}

impl Untaken {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits_since(&self) -> Option<Instant> {
        let state = self.state();
        state.stream.as_ref()?;
        state.waits.as_ref().map(|(since, _)| *since)
    }
}

/// The streams of one connection on which much is written.
#[derive(Default)]
pub(crate) struct AllUntaken(Mutex<Streams>);

#[derive(Default)]
struct Streams {
    streams: Vec<Arc<Untaken>>,
    /// When room was made last.
    made: Option<Instant>,
}

impl AllUntaken {
    fn watch(&self, stream: Sending, from: SourceKey) -> Arc<Untaken> {
        let untaken = Arc::new(Untaken { from, state: Mutex::new(State { stream: Some(stream), waits: None }) });
        let streams = &mut self.streams().streams;
        if streams.len() == streams.capacity() {
            // Those that ended, so that it has no more room than streams are open at a time.
            streams.retain(|untaken| Arc::strong_count(untaken) > 1);
        }
        streams.push(Arc::clone(&untaken));
        untaken
    }

    /// Resets a stream, if one has waited long enough and none was reset just now. Says whether it did.
    fn make_room(&self, now: Instant) -> bool {
        let mut streams = self.streams();
        if streams.made.is_some_and(|made| now.duration_since(made) < ROOM_EVERY) {
            return false;
        }
        streams.streams.retain(|untaken| Arc::strong_count(untaken) > 1);
        let waits = |untaken: &Arc<Untaken>| Some((untaken.from, now.duration_since(untaken.waits_since()?)));
        let waiting: Vec<_> = streams.streams.iter().map(waits).collect();
        let Some(longest) = choose(&waiting) else { return false };
        let mut state = streams.streams[longest].state();
        let (stream, waits) = (state.stream.take(), state.waits.take());
        drop(state);
        streams.made = Some(now);
        drop(stream);
        if let Some((_, waker)) = waits {
            waker.wake();
        }
        true
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for AllUntaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllUntaken").field("streams", &self.streams().streams.len()).finish()
    }
}

/// Which of these makes room: of those that waited long enough, the one that waited longest of the source that has most.
fn choose(waiting: &[Option<(SourceKey, std::time::Duration)>]) -> Option<usize> {
    let long = || {
        let all = waiting.iter().enumerate().filter_map(|(at, waits)| waits.map(|(from, time)| (at, from, time)));
        all.filter(|(_, _, time)| *time >= HEAD_WAIT)
    };
    let mut sources: HashMap<SourceKey, usize> = HashMap::new();
    long().for_each(|(_, from, _)| *sources.entry(from).or_default() += 1);
    long().max_by_key(|(_, from, time)| (sources[from], *time)).map(|(at, _, _)| at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_has_most_that_waits_makes_room() {
        let millis = Duration::from_millis;
        // Source and waiting time of each; which goes.
        for (waiting, goes) in [
            (&[][..], None),
            (&[None, Some((1, 999))], None),
            (&[None, Some((1, 1_000)), Some((1, 900))], Some(1)),
            (&[Some((1, 9_000)), Some((2, 2_000)), Some((2, 3_000))], Some(2)),
            (&[Some((1, 9_000)), Some((2, 2_000)), Some((2, 300))], Some(0)),
        ] {
            let waiting: Vec<_> =
                waiting.iter().map(|waits| waits.map(|(from, time)| (SourceKey::V4(from), millis(time)))).collect();
            assert_eq!(choose(&waiting), goes, "{waiting:?}");
        }
    }
}
