//! One connection: what its task ([`super::driver`]) and the callers of its streams share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bartizan_quic::stream_window;
use bartizan_quotas::SourceKey;
use bartizan_wire::http1::{self, Asked};
use bartizan_wire::http2::hpack::Encoder;
use bartizan_wire::http2::{self, Code, EndStream, Fault, Sent, Whose};
use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, watch};

use super::handle::Handle;
use super::held::Share;
use super::stream::{Closed, Intake, Stream};
use crate::limits::{
    HEAD_WAIT, HTTP2_ANSWER_LIST_BYTES, HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_GATHERED_BYTES, HTTP2_OWN_STREAMS,
    HTTP2_STRANGER_LIST_BYTES, ROOM_EVERY, STRANGER_WINDOW_BYTES,
};

/// What a connector may have taken of a stream and not told: Go's library tells it in pieces of four kilobytes.
const UNTOLD_BYTES: usize = 8 * 1024;

pub(super) type Wire = http2::Connection<Option<Arc<Stream>>>;

pub(crate) struct Session {
    state: Mutex<State>,
    /// The connection's task.
    pub(super) task: AtomicWaker,
    /// Rings when a stream more may have room.
    room: Notify,
    /// Reads that brought something.
    arrived: AtomicU64,
    /// Octets that were written, and read.
    sent: AtomicU64,
    received: AtomicU64,
    /// The connector takes no more streams.
    left: watch::Sender<bool>,
    /// Why it is over.
    ended: watch::Sender<Option<Arc<str>>>,
    silent: OnceLock<()>,
    /// It is over, or about to be.
    is_closed: AtomicBool,
    share: Share,
}

pub(super) struct State {
    pub(super) wire: Wire,
    /// What is to be written.
    pub(super) out: Vec<u8>,
    /// Streams that may be opened by those who asked.
    reserved: usize,
    /// Streams that wait until there is room to write, and for the window of the connection.
    for_room: VecDeque<Arc<Stream>>,
    for_window: VecDeque<Arc<Stream>>,
    /// When a stream began to wait for the window, or data went out after that.
    stuck_since: Option<Instant>,
    /// When room was made last.
    made_room: Option<Instant>,
    /// The connector is known: what it sends is held in memory that is counted, and takes up no window of all.
    is_trusted: bool,
    pub(super) is_over: bool,
}

/// The right to one stream more.
pub(crate) struct Slot(Arc<Session>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state().reserved -= 1;
        self.0.room.notify_one();
    }
}

/// There is no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Gone {
    #[error("the connection to the connector is over")]
    Over,
    #[error("the connector takes fewer requests than before")]
    Fewer,
}

impl Session {
    /// It speaks first. `memory` is what all may hold, and `streams` how many requests there may be at a time.
    pub(super) fn new(memory: u64, streams: usize, share: Share) -> Arc<Session> {
        let limits = http2::Limits {
            streams: u32::try_from(streams).unwrap_or(u32::MAX).saturating_add(HTTP2_OWN_STREAMS),
            stream_window: u32::try_from(stream_window(memory).into_inner()).unwrap_or(u32::MAX),
            connection_window: STRANGER_WINDOW_BYTES,
            list_bytes: HTTP2_STRANGER_LIST_BYTES,
            fields: http1::Limits::RESPONSE.fields,
        };
        let mut out = Vec::new();
        let wire = Wire::client(limits, &mut out);
        let state = State {
            wire,
            out,
            reserved: 0,
            for_room: VecDeque::new(),
            for_window: VecDeque::new(),
            stuck_since: None,
            made_room: None,
            is_trusted: false,
            is_over: false,
        };
        Arc::new(Session {
            state: Mutex::new(state),
            task: AtomicWaker::new(),
            room: Notify::new(),
            arrived: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            left: watch::Sender::new(false),
            ended: watch::Sender::new(None),
            silent: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            share,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connector is known now.
    pub(crate) fn trust(&self) {
        let mut state = self.state();
        let State { wire, out, is_trusted, .. } = &mut *state;
        *is_trusted = true;
        wire.trust(HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_ANSWER_LIST_BYTES, http1::Limits::RESPONSE.fields, out);
        // What was held of it until now.
        let streams: Vec<_> = wire.owners().flatten().map(|stream| stream.intake().number).collect();
        streams.into_iter().for_each(|number| wire.keep(number, usize::MAX, out));
        drop(state);
        self.task.wake();
    }

    /// Waits for room for one more stream.
    pub(crate) async fn reserve(self: &Arc<Session>) -> Result<Slot, Gone> {
        loop {
            let ring = self.room.notified();
            tokio::pin!(ring);
            ring.as_mut().enable();
            {
                let mut state = self.state();
                if self.is_closed() || state.wire.is_left() {
                    return Err(Gone::Over);
                }
                if state.wire.room() > state.reserved {
                    state.reserved += 1;
                    return Ok(Slot(Arc::clone(self)));
                }
            }
            ring.await;
        }
    }

    /// Whether it is over, or ends.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Waits until nothing new may begin on it, ever.
    pub(crate) async fn until_left(&self) {
        // The session has the sender, so the wait does not fail. The same below.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }

    /// Ends it when what was gathered is written. What is under way on it breaks off.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.task.wake();
    }

    /// Waits for its end, and says why.
    pub(crate) async fn closed(&self) -> Arc<str> {
        let ended = self.ended.subscribe().wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        ended.unwrap_or_else(|| "it is over".into())
    }

    /// Whether it ended since nothing came any more.
    pub(crate) fn was_silent(&self) -> bool {
        self.silent.get().is_some()
    }

    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    pub(super) fn hear(&self, bytes: usize) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn note_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Octets that were sent, and that came.
    pub(crate) fn carried(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
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
        self.left.send_replace(true);
        self.room.notify_waiters();
    }

    /// It is over, also for the connector.
    pub(super) fn tell_end(&self, why: &str, silent: bool) {
        if silent {
            let _ = self.silent.set(());
        }
        self.ended.send_replace(Some(why.into()));
    }

    pub(super) fn ring_for_room(&self) {
        self.room.notify_one();
    }

    /// There may be room for many.
    pub(super) fn ring_for_all(&self) {
        self.room.notify_waiters();
    }

    pub(super) fn leave(&self) {
        self.left.send_replace(true);
        self.room.notify_waiters();
    }

    /// So much of what came was taken.
    pub(super) fn took(&self, number: u32, bytes: usize) {
        let mut state = self.state();
        let State { wire, out, is_trusted, .. } = &mut *state;
        let before = out.len();
        match is_trusted {
            true => wire.took_kept(number, bytes, out),
            false => wire.took(number, bytes, out),
        }
        let is_more = out.len() > before;
        drop(state);
        if is_more {
            self.task.wake();
        }
    }

    /// Nobody waits for a stream any more. What is not over is reset.
    pub(super) fn let_go(&self, number: u32) {
        let mut state = self.state();
        let State { wire, out, .. } = &mut *state;
        let before = out.len();
        wire.reset(number, Code::Cancel, out);
        let is_more = out.len() > before;
        drop(state);
        if is_more {
            self.task.wake();
        }
        self.room.notify_one();
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
        let State { wire, out, for_room, for_window, stuck_since, is_over, .. } = &mut *state;
        let mut intake = stream.intake();
        if let Some(closed) = intake.closed {
            return Poll::Ready(Err(closed));
        }
        if *is_over {
            return Poll::Ready(Err(Closed::Lost));
        }
        // The end alone takes no room.
        let room = HTTP2_GATHERED_BYTES.saturating_sub(out.len());
        if room == 0 && !piece.is_empty() {
            return wait_in(for_room, stream, &mut intake, cx);
        }
        let number = intake.number;
        let share = share_of_window(wire.window(), wire.untaken_on(number) as usize);
        if share == Some(0) && !piece.is_empty() {
            return wait_in(for_window, stream, &mut intake, cx);
        }
        let most = share.map_or(room, |share| share.min(room));
        match wire.send_data(number, piece, end, most, out) {
            Sent::Frame(bytes) => {
                if bytes > 0 && stuck_since.is_some() {
                    *stuck_since = (!for_window.is_empty()).then(Instant::now);
                }
                drop(intake);
                drop(state);
                self.task.wake();
                Poll::Ready(Ok(bytes))
            }
            Sent::NoRoom(Whose::Stream) => {
                intake.write_later(cx);
                Poll::Pending
            }
            Sent::NoRoom(Whose::Connection) => {
                stuck_since.get_or_insert_with(Instant::now);
                wait_in(for_window, stream, &mut intake, cx)
            }
            // It has ended there, with a whole answer or without.
            Sent::Closed => Poll::Ready(Err(Closed::Reset)),
        }
    }

    /// Sends fields behind a body, and ends the stream.
    pub(super) fn send_trailers(&self, number: u32, fields: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        let mut state = self.state();
        let State { wire, out, .. } = &mut *state;
        wire.send_head(number, EndStream::Set, out, fields);
        drop(state);
        self.task.wake();
    }

    /// Resets a stream if others wait for the window and nothing has gone out for long: the one that has most of the window,
    /// of the source that has. Says whether it did.
    pub(super) fn make_room(&self, now: Instant) -> bool {
        let mut state = self.state();
        let State { wire, out, stuck_since, made_room, .. } = &mut *state;
        let is_stuck = stuck_since.is_some_and(|since| now.duration_since(since) >= HEAD_WAIT);
        if !is_stuck || made_room.is_some_and(|made| now.duration_since(made) < ROOM_EVERY) {
            return false;
        }
        let untaken: Vec<_> = wire
            .untaken()
            .filter_map(|(owner, bytes)| Some((Arc::clone(owner.as_ref()?), bytes)))
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        let counted: Vec<_> = untaken.iter().map(|(stream, bytes)| (stream.source(), *bytes)).collect();
        let Some(largest) = largest(&counted) else { return false };
        let stream = Arc::clone(&untaken[largest].0);
        *made_room = Some(now);
        wire.reset(stream.intake().number, Code::Cancel, out);
        drop(state);
        stream.close(Closed::MadeRoom);
        self.task.wake();
        self.room.notify_one();
        true
    }

    /// Whether somebody waits for the window.
    pub(super) fn is_short_of_window(&self) -> bool {
        self.state().stuck_since.is_some()
    }

    pub(super) fn share(&self) -> &Share {
        &self.share
    }
}

/// From so much of the connection's window on those that wait for it are called: a connector that makes room octet by octet wakes
/// nobody for each. It is less than any window that is all there (65,535 octets, RFC 9113 §6.9.2), so it comes about where
/// what was sent is taken.
const CALLED_FROM: usize = 4 * 1024;

impl State {
    /// Those that wait may go on, where there is room now. All of them: one whose caller does not come holds up nobody.
    pub(super) fn let_go_on(&mut self) -> Vec<Arc<Stream>> {
        let mut ready = Vec::new();
        if self.out.len() < HTTP2_GATHERED_BYTES {
            ready.extend(self.for_room.drain(..));
        }
        if self.wire.window() >= CALLED_FROM {
            ready.extend(self.for_window.drain(..));
            if self.for_window.is_empty() {
                self.stuck_since = None;
            }
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

    pub(super) fn keep(&mut self, number: u32, bytes: usize) {
        if self.is_trusted {
            self.wire.keep(number, bytes, &mut self.out);
        }
    }
}

impl Slot {
    /// Sends the head of a request, which `fields` writes. Of `source` is what comes back.
    // Hot: once a request.
    pub(crate) fn open(
        self,
        source: SourceKey,
        asked: Asked,
        end: EndStream,
        fields: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> Result<Handle, Gone> {
        let session = Arc::clone(&self.0);
        let stream = Arc::new(Stream::new(session.share().holding(source)));
        let mut state = session.state();
        if session.is_closed() {
            drop(state);
            return Err(Gone::Over);
        }
        let State { wire, out, .. } = &mut *state;
        let opened = wire.open(Some(Arc::clone(&stream)), asked, end, out, fields);
        let is_left = wire.is_left();
        if let Some(number) = opened {
            stream.intake().number = number;
        }
        drop(state);
        session.task.wake();
        // The stream is counted in its place.
        drop(self);
        if is_left {
            session.leave();
        }
        match opened {
            Some(number) => Ok(Handle::new(session, stream, number)),
            None => Err(Gone::Fewer),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("streams", &self.state().wire.streams()).finish_non_exhaustive()
    }
}

fn wait_in<T>(
    queue: &mut VecDeque<Arc<Stream>>,
    stream: &Arc<Stream>,
    intake: &mut Intake,
    cx: &Context<'_>,
) -> Poll<T> {
    intake.write_later(cx);
    if !std::mem::replace(&mut intake.is_queued, true) {
        queue.push_back(Arc::clone(stream));
    }
    Poll::Pending
}

/// How much more of the connection's window a stream may take that has `untaken` of it already, where that is not for the window
/// to say: no more than it leaves. A connector of the stock kind takes a megabyte of all streams before its origins have
/// read it, and one that reads nothing must not have it all. Nothing if it has to wait for what is its own.
fn share_of_window(left: usize, untaken: usize) -> Option<usize> {
    match untaken.saturating_sub(UNTOLD_BYTES) {
        // Nothing of it waits: if nothing is left, it is others that it waits for.
        0 if left <= 2 * http2::FRAME_BYTES_MAX => None,
        untaken if untaken >= left => Some(0),
        _ if left <= 2 * http2::FRAME_BYTES_MAX => None,
        untaken => Some((left - untaken) / 2),
    }
}

/// The largest of the source that has most.
fn largest(untaken: &[(SourceKey, u32)]) -> Option<usize> {
    let mut sources: HashMap<SourceKey, u64> = HashMap::new();
    untaken.iter().for_each(|(source, bytes)| *sources.entry(*source).or_default() += u64::from(*bytes));
    (0..untaken.len()).max_by_key(|at| (sources[&untaken[*at].0], untaken[*at].1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_takes_no_more_of_the_window_than_it_leaves() {
        for (left, untaken, expect) in [
            (1_048_576, 0, Some(524_288)),
            (524_288, 532_480, Some(0)),
            (700_000, 308_192, Some(200_000)),
            (32_768, 20_000, None),
            (32_768, 900_000, Some(0)),
            (0, 900_000, Some(0)),
            (0, 0, None),
            (0, 8_192, None),
        ] {
            assert_eq!(share_of_window(left, untaken), expect, "{left} {untaken}");
        }
    }

    #[test]
    fn who_has_most_of_the_window_makes_room() {
        for (untaken, expect) in [
            (&[][..], None),
            (&[(1, 5)], Some(0)),
            (&[(1, 50), (2, 30), (2, 40)], Some(2)),
            (&[(1, 90), (2, 30), (2, 40)], Some(0)),
        ] {
            let untaken: Vec<_> = untaken.iter().map(|(from, bytes)| (SourceKey::V4(*from), *bytes)).collect();
            assert_eq!(largest(&untaken), expect, "{untaken:?}");
        }
    }
}
