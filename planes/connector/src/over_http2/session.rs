//! One connection: what its task ([`super::driver`]) and those who serve its streams share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bartizan_quic::stream_window;
use bartizan_wire::http1;
use bartizan_wire::http2::hpack::Encoder;
use bartizan_wire::http2::{self, Code, EndStream, Fault, Sent, Whose};
use futures_util::task::AtomicWaker;
use tokio::sync::watch;

use super::handle::{Closed, Stream};
use crate::limits::{
    CONNECTIONS_MAX, HTTP2_GATHERED_BYTES, HTTP2_LIST_BYTES, HTTP2_OWN_FIELDS, HTTP2_WINDOW_BYTES_MAX, STREAMS_MAX,
};

pub(super) type Wire = http2::Connection<Option<Arc<Stream>>>;

pub(crate) struct Session {
    state: Mutex<State>,
    /// The connection's task.
    pub(super) task: AtomicWaker,
    /// Reads that brought something.
    arrived: AtomicU64,
    /// Why it is over.
    ended: watch::Sender<Option<Arc<str>>>,
    /// It is over, or about to be.
    is_closed: AtomicBool,
}

pub(super) struct State {
    pub(super) wire: Wire,
    /// What is to be written.
    pub(super) out: Vec<u8>,
    /// Streams that wait until there is room to write, and for the window of the connection.
    for_room: VecDeque<Arc<Stream>>,
    for_window: VecDeque<Arc<Stream>>,
    is_over: bool,
}

/// Of what all connections may hold, what one lets come ahead.
fn connection_window(memory: u64) -> u32 {
    let share = memory / CONNECTIONS_MAX as u64;
    let least = 4 * stream_window(memory).into_inner();
    u32::try_from(share.max(least)).unwrap_or(u32::MAX).min(HTTP2_WINDOW_BYTES_MAX)
}

impl Session {
    pub(super) fn new(memory: u64) -> Arc<Session> {
        let limits = http2::Limits {
            streams: STREAMS_MAX,
            stream_window: u32::try_from(stream_window(memory).into_inner()).unwrap_or(u32::MAX),
            connection_window: connection_window(memory),
            list_bytes: HTTP2_LIST_BYTES,
            fields: http1::Limits::REQUEST.fields + HTTP2_OWN_FIELDS,
        };
        let mut out = Vec::new();
        let wire = Wire::new(limits, &mut out);
        let state = State { wire, out, for_room: VecDeque::new(), for_window: VecDeque::new(), is_over: false };
        Arc::new(Session {
            state: Mutex::new(state),
            task: AtomicWaker::new(),
            arrived: AtomicU64::new(0),
            ended: watch::Sender::new(None),
            is_closed: AtomicBool::new(false),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Ends it when what was gathered is written.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.task.wake();
    }

    /// Waits for its end, and says why.
    pub(super) async fn closed(&self) -> Arc<str> {
        let ended = self.ended.subscribe().wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        ended.unwrap_or_else(|| "it is over".into())
    }

    pub(super) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    pub(super) fn hear(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing goes on any more.
    pub(super) fn end(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        let mut state = self.state();
        state.is_over = true;
        state.out = Vec::new();
        state.for_room.clear();
        state.for_window.clear();
        let streams: Vec<_> = state.wire.owners().filter_map(Option::take).collect();
        drop(state);
        streams.into_iter().for_each(|stream| stream.close(Closed::Lost));
    }

    /// It is over, also for the edge.
    pub(super) fn tell_end(&self, why: &str) {
        self.ended.send_replace(Some(why.into()));
    }

    /// So much of what came was taken.
    pub(super) fn took(&self, number: u32, bytes: usize) {
        self.change(|wire, out| wire.took(number, bytes, out));
    }

    /// Ends a stream that is not over.
    pub(super) fn reset(&self, number: u32, code: Code) {
        self.change(|wire, out| wire.reset(number, code, out));
    }

    /// Sends a head.
    pub(super) fn send_head(&self, number: u32, end: EndStream, fields: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        self.change(|wire, out| {
            wire.send_head(number, end, out, fields);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Wire, &mut Vec<u8>)) {
        let mut state = self.state();
        let State { wire, out, is_over, .. } = &mut *state;
        if *is_over {
            return;
        }
        let before = out.len();
        change(wire, out);
        let is_more = out.len() > before;
        drop(state);
        if is_more {
            self.task.wake();
        }
    }

    /// Sends so much of a piece as there is room for.
    // Hot: once a frame.
    pub(super) fn poll_send(
        &self,
        stream: &Arc<Stream>,
        piece: &[u8],
        end: EndStream,
        cx: &Context<'_>,
    ) -> Poll<Result<usize, Closed>> {
        let mut state = self.state();
        let State { wire, out, for_room, for_window, is_over } = &mut *state;
        if let Some(closed) = stream.closed() {
            return Poll::Ready(Err(closed));
        }
        if *is_over {
            return Poll::Ready(Err(Closed::Lost));
        }
        // The end alone takes no room.
        let room = HTTP2_GATHERED_BYTES.saturating_sub(out.len());
        if room == 0 && !piece.is_empty() {
            return wait_in(for_room, stream, cx);
        }
        match wire.send_data(stream.number, piece, end, room, out) {
            Sent::Frame(bytes) => {
                drop(state);
                self.task.wake();
                Poll::Ready(Ok(bytes))
            }
            Sent::NoRoom(Whose::Stream) => {
                stream.write_later(cx);
                Poll::Pending
            }
            Sent::NoRoom(Whose::Connection) => wait_in(for_window, stream, cx),
            // It has ended there.
            Sent::Closed => Poll::Ready(Err(Closed::Reset)),
        }
    }
}

/// From so much of the connection's window on those that wait for it are called: an edge that makes room octet by octet wakes
/// nobody for each. It is less than any window that is all there (65,535 octets, RFC 9113 §6.9.2).
const CALLED_FROM: usize = 4 * 1024;

impl State {
    /// Those that wait may go on, where there is room now.
    pub(super) fn let_go_on(&mut self) -> Vec<Arc<Stream>> {
        let mut ready = Vec::new();
        if self.out.len() < HTTP2_GATHERED_BYTES {
            ready.extend(self.for_room.drain(..));
        }
        if self.wire.window() >= CALLED_FROM {
            ready.extend(self.for_window.drain(..));
        }
        ready
    }

    /// Says why the connection ends.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.wire.fail(fault, &mut self.out);
    }

    /// Gives memory back that nothing is in.
    pub(super) fn rest(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
    }
}

fn wait_in<T>(queue: &mut VecDeque<Arc<Stream>>, stream: &Arc<Stream>, cx: &Context<'_>) -> Poll<T> {
    if stream.wait_in_queue(cx) {
        queue.push_back(Arc::clone(stream));
    }
    Poll::Pending
}
