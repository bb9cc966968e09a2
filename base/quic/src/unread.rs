//! What the other end sent and nobody has read yet, and what becomes of it when it is too much.
//!
//! ```text
//! stream ─► Intake (whoever reads, on its own thread) ─► visitor, or origin
//!              │ how much was read, whether there was nothing to read
//! look, four times a second: what is read slower than it comes ─► more than may be held? ─► shed: the slowest end
//! ```
//! A stream that is read slower than it comes fills its window here. No other stream waits for it: the window of a
//! connection has room for all that may be held ([`connection_window`]), or grows with what is counted. So memory is the only thing that is short, and it
//! is shared out by source: while there is enough for all, nobody is ended for being slow. When there is not, streams of those
//! sources are ended that hold more than their part, the slowest first. That is the last resort: what a stream may hold is
//! as much less as the machine has ([`stream_window`]), so that a few hundred slow readers have room.
//!
//! How much QUIC holds of a stream the library does not tell. What is counted is what may be there at most: all that came on
//! the connection since the stream was empty, less what was read of it, and no more than its window or than is left of its
//! length. A connector that sends more than it says, or leaves a gap so that nothing can be read, fills the window of its own
//! connection, which grows with what is counted alone ([`Looks::among`]).
//!
//! Both ends of a tunnel have it: the edge for visitors who do not read, the connector for origins that do not.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bartizan_quotas::SourceKey;
use bytes::Bytes;
use futures_util::FutureExt;
use quinn::{ReadError, RecvStream, VarInt};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// So many streams that are read slowly have room for what they hold: ordinary visitors are slower than a connector.
const SLOW_STREAMS: u64 = 256;

/// What the other end may send on one stream before we have read it, where the machine has 4 GB: 100 Mbit/s at a round trip
/// of 160 ms. Smaller machines give less (13 Mbit/s with 512 MB), and at least 10 Mbit/s at 100 ms.
const STREAM_WINDOW_BYTES_MAX: u32 = 2 * 1024 * 1024;
const STREAM_WINDOW_BYTES_MIN: u32 = 128 * 1024;

/// What it may send on all of one connection, at least, in windows of a stream. It has as much as all may hold, so that it is
/// nothing that a slow reader could take from others.
const CONNECTION_WINDOW_STREAMS_MIN: u64 = 8;

/// What it may send on all of one connection beside what is counted as unread, in windows of a stream: what is on its way to
/// those who read. It is less where the connections are many, of one owner or of all, so that those that lie about what they send
/// hold no more together than may be held, and those of one owner no more than four times this.
const BESIDE_STREAMS: u64 = 8;
const BESIDE_OF_OWNER_STREAMS: u64 = 4 * BESIDE_STREAMS;
const BESIDE_BYTES_MIN: u64 = 512 * 1024;

/// What is of this length is not looked at: with as many streams as a connection may carry they hold 8 MB.
const SMALL_BYTES: u64 = 4 * 1024;

/// Bytes that are read from a stream at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// How often it is looked at what is unread: a fast network brings some tens of megabytes meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks over which it is told how fast somebody reads: a minute. Whoever reads slowly reads in bursts.
const PACE_LOOKS: u64 = 256;

/// What the other end may send on one stream before it is read, where all together may hold so much. Beyond it the other end
/// waits, and so does who sends there: whoever reads slowly costs no more than this.
pub fn stream_window(memory: u64) -> VarInt {
    let share = u32::try_from(memory / SLOW_STREAMS).unwrap_or(u32::MAX);
    VarInt::from_u32(share.clamp(STREAM_WINDOW_BYTES_MIN, STREAM_WINDOW_BYTES_MAX))
}

/// The same on one connection: all that may be held, and a quarter more for what comes between two looks.
pub fn connection_window(memory: u64) -> VarInt {
    let least = CONNECTION_WINDOW_STREAMS_MIN * stream_window(memory).into_inner();
    let bytes = memory.saturating_add(memory / 4).max(least);
    VarInt::from_u64(bytes).unwrap_or(VarInt::MAX)
}

/// The same where the other end is not believed in what it says of its lengths: so much of the connection is `counted`, and there
/// are so many connections, of its owner and of all. What goes on beside, and as much again as is counted for what comes between
/// two looks; so whoever sends more than it says fills the window of its own connection, which does not grow for it.
fn window_beside(counted: u64, memory: u64, of_owner: usize, connections: usize) -> u64 {
    let stream = stream_window(memory).into_inner();
    let beside = (memory / connections.max(1) as u64)
        .min(BESIDE_OF_OWNER_STREAMS * stream / of_owner.max(1) as u64)
        .clamp(BESIDE_BYTES_MIN, BESIDE_STREAMS * stream);
    counted.saturating_mul(2).min(memory.saturating_add(memory / 4)).saturating_add(beside)
}

/// What such a connection begins with, before the first look.
pub fn first_window(memory: u64) -> VarInt {
    VarInt::from_u64(window_beside(0, memory, 1, 1)).unwrap_or(VarInt::MAX)
}

/// The reading half of a stream, for whoever reads it. Dropped, what is left of it is thrown away.
pub enum Intake {
    /// Of what is not worth a look.
    Small(RecvStream),
    Watched(Watched),
}

/// Why there is no more to read.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error(transparent)]
    Stream(#[from] ReadError),
    #[error("it was read too slowly, and others needed the memory")]
    Shed,
}

impl From<IntakeError> for io::Error {
    fn from(error: IntakeError) -> io::Error {
        match error {
            IntakeError::Stream(error) => error.into(),
            IntakeError::Shed => io::Error::new(io::ErrorKind::ConnectionReset, error),
        }
    }
}

impl Intake {
    /// `length` is what has to come, where that is known; `unread` is of the stream's connection, and `from` whose visitor
    /// it is.
    // Hot: once an answer, after its head. Small ones cost nothing.
    pub fn new(stream: RecvStream, length: Option<u64>, unread: &AllUnread, from: SourceKey) -> Intake {
        if length.is_some_and(|length| length <= SMALL_BYTES) {
            return Intake::Small(stream);
        }
        Intake::Watched(unread.watch(stream, from, length))
    }

    /// The next piece; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, IntakeError> {
        match self {
            Intake::Small(stream) => Ok(stream.read_chunk(CHUNK_BYTES, true).await?.map(|chunk| chunk.bytes)),
            Intake::Watched(watched) => std::future::poll_fn(|cx| watched.poll_chunk(cx)).await,
        }
    }

    /// Tells when it is ended, whoever is busy with what came before.
    pub fn shed(&self) -> Shed {
        match self {
            Intake::Small(_) => Shed(None),
            Intake::Watched(Watched(unread)) => Shed(Some(Arc::clone(unread))),
        }
    }
}

impl AsyncRead for Intake {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Intake::Small(stream) => AsyncRead::poll_read(Pin::new(stream), cx, to),
            Intake::Watched(watched) => watched.poll_read(cx, to).map_err(io::Error::from),
        }
    }
}

/// Ready when a stream is ended because it was read too slowly. One for each stream.
pub struct Shed(Option<Arc<Unread>>);

impl Future for Shed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(unread) = &self.0 else { return Poll::Pending };
        let mut state = unread.state();
        if state.is_shed {
            return Poll::Ready(());
        }
        if !state.minds.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.minds = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A stream that is looked at, for its reader.
pub struct Watched(Arc<Unread>);

impl Watched {
    fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, IntakeError>> {
        let next = |stream: &mut RecvStream, cx: &mut Context<'_>| poll_chunk(stream, cx);
        self.poll(cx, |ahead| (ahead, None), next, |chunk| chunk.as_ref().map_or(0, Bytes::len))
    }

    fn poll_read(&self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<Result<(), IntakeError>> {
        let to = std::cell::RefCell::new(to);
        let take = |ahead: Ahead| match ahead {
            Ok(Some(mut chunk)) => {
                let mut to = to.borrow_mut();
                let first = chunk.split_to(chunk.len().min(to.remaining()));
                to.put_slice(&first);
                (Ok(first.len()), (!chunk.is_empty()).then_some(Ok(Some(chunk))))
            }
            Ok(None) => (Ok(0), None),
            Err(error) => (Err(error), None),
        };
        let next = |stream: &mut RecvStream, cx: &mut Context<'_>| {
            let mut to = to.borrow_mut();
            let before = to.filled().len();
            stream.poll_read_buf(cx, &mut to).map_ok(|()| to.filled().len() - before)
        };
        self.poll(cx, take, next, |read| *read).map_ok(drop)
    }

    /// `take` takes what the look found, or a part of it; `next` reads, of which so many bytes are counted.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(Ahead) -> (Result<T, ReadError>, Option<Ahead>),
        next: impl FnOnce(&mut RecvStream, &mut Context<'_>) -> Poll<Result<T, ReadError>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<Result<T, IntakeError>> {
        let mut state = self.0.state();
        let polled = if let Some(ahead) = state.ahead.take() {
            let (taken, rest) = take(ahead);
            state.ahead = rest;
            Poll::Ready(taken)
        } else {
            let Some(stream) = &mut state.stream else { return Poll::Ready(Err(IntakeError::Shed)) };
            next(stream, cx)
        };
        state.seen.was_empty |= polled.is_pending();
        state.waits = polled.is_pending().then(|| cx.waker().clone());
        if let Poll::Ready(Ok(read)) = &polled {
            state.seen.read += bytes(read) as u64;
        }
        polled.map_err(IntakeError::from)
    }
}

/// What the look found: a piece, the end, or why there is none.
type Ahead = Result<Option<Bytes>, ReadError>;

/// It waits nowhere but in the stream, so that a new one goes on where the last one was dropped.
fn poll_chunk(stream: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Ahead> {
    std::pin::pin!(stream.read_chunk(CHUNK_BYTES, true)).poll_unpin(cx).map_ok(|chunk| chunk.map(|chunk| chunk.bytes))
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut state = self.0.state();
        (state.stream, state.ahead) = (None, None);
    }
}

/// A stream of which something may be unread.
struct Unread {
    from: SourceKey,
    length: Option<u64>,
    /// Locked by its reader for each piece, and by the look for a moment.
    state: Mutex<State>,
}

struct State {
    /// None when its reader is gone, or it was shed.
    stream: Option<RecvStream>,
    is_shed: bool,
    /// What the look found, and its reader has not taken yet.
    ahead: Option<Ahead>,
    /// Its reader, if there was nothing for it.
    waits: Option<Waker>,
    /// Who wants to know when it is shed.
    minds: Option<Waker>,
    seen: Seen,
}

impl State {
    /// Whether its reader waits for more to come. One that was told that there is more, and does not come for it, does not:
    /// it is busy with what it has, and reads slowly.
    fn still_waits(&mut self) -> bool {
        let (Some(stream), Some(waker)) = (&mut self.stream, &self.waits) else { return false };
        // With the reader's own waker, which stays the one to be told.
        match poll_chunk(stream, &mut Context::from_waker(waker)) {
            Poll::Pending => true,
            Poll::Ready(found) => {
                (self.ahead, self.waits) = (Some(found), None);
                false
            }
        }
    }
}

/// How a stream is read.
#[derive(Default)]
struct Seen {
    read: u64,
    /// Whether there was nothing to read at some time since the last look.
    was_empty: bool,
    /// At the last look.
    read_before: u64,
    /// The most that may have been unread then.
    held: u64,
    /// What was read of late, each look's part fading with the time.
    pace: u64,
    looks: u64,
}

impl Seen {
    /// Whether its reader waits, so many bytes came on its connection since the last look, and it holds so many at most. How
    /// much of it may be here and is read too slowly.
    fn look(&mut self, waits: bool, came: u64, most: u64) -> u64 {
        let read = self.read - std::mem::replace(&mut self.read_before, self.read);
        let keeps_up = std::mem::take(&mut self.was_empty) || waits;
        let unread = match (waits, keeps_up) {
            (true, _) => 0,
            (false, true) => came,
            (false, false) => (self.held + came).saturating_sub(read),
        };
        self.held = unread.min(most);
        self.pace = self.pace - self.pace / PACE_LOOKS + read;
        self.looks = (self.looks + 1).min(PACE_LOOKS);
        if keeps_up { 0 } else { self.held }
    }

    /// Bytes a look.
    fn pace(&self) -> u64 {
        self.pace / self.looks.max(1)
    }
}

impl Unread {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Throws away what is held, and tells the connector to send no more, unless its reader has come meanwhile.
    fn shed(&self) -> bool {
        let mut state = self.state();
        if state.waits.is_some() {
            return false;
        }
        // What the look found goes too, or it would seem that the stream had ended there.
        state.ahead = None;
        state.is_shed = state.stream.take().is_some();
        let (is_shed, minds) = (state.is_shed, state.minds.take());
        drop(state);
        if let Some(waker) = minds {
            waker.wake();
        }
        is_shed
    }
}

/// The streams of one connection that are looked at.
#[derive(Default)]
pub struct AllUnread(Mutex<Streams>);

#[derive(Default)]
struct Streams {
    streams: Vec<Arc<Unread>>,
    /// Bytes that had come on the connection at the last look.
    came: u64,
    /// The connection's window, once it was set.
    window: Option<u64>,
}

impl AllUnread {
    fn watch(&self, stream: RecvStream, from: SourceKey, length: Option<u64>) -> Watched {
        let state = State {
            stream: Some(stream),
            is_shed: false,
            ahead: None,
            waits: None,
            minds: None,
            seen: Seen::default(),
        };
        let unread = Arc::new(Unread { from, length, state: Mutex::new(state) });
        let streams = &mut self.streams().streams;
        if streams.len() == streams.capacity() {
            // Those that ended since the last look, so that it has no more room than streams that are open at a time.
            streams.retain(|unread| Arc::strong_count(unread) > 1);
        }
        streams.push(Arc::clone(&unread));
        Watched(unread)
    }

    /// Adds what is read too slowly to `slow`, and says how much it is. `came` is what has come on the connection since it began;
    /// no stream holds more than `window`.
    fn look(&self, came: impl FnOnce() -> u64, window: u64, slow: &mut Vec<Slow>) -> u64 {
        let mut streams = self.streams();
        streams.streams.retain(|unread| Arc::strong_count(unread) > 1);
        if streams.streams.is_empty() {
            streams.streams = Vec::new();
            streams.came = came();
            return 0;
        }
        let total = came();
        let came = total - std::mem::replace(&mut streams.came, total).min(total);
        let mut counted = 0;
        for unread in &streams.streams {
            let mut state = unread.state();
            if state.stream.is_none() {
                continue;
            }
            let left = unread.length.map_or(u64::MAX, |length| length.saturating_sub(state.seen.read));
            let waits = state.still_waits();
            let held = state.seen.look(waits, came, left.min(window));
            if held > 0 {
                counted += held;
                slow.push(Slow { from: unread.from, held, pace: state.seen.pace(), unread: Arc::clone(unread) });
            }
        }
        counted
    }

    /// The window that the connection is to have now, if it is another than before. It shrinks in large steps only, since each
    /// wakes the connection.
    fn resize(&self, window: u64) -> Option<VarInt> {
        let own = &mut self.streams().window;
        let is_other = own.is_none_or(|own| own < window || own / 2 >= window);
        is_other.then(|| {
            *own = Some(window);
            VarInt::from_u64(window).unwrap_or(VarInt::MAX)
        })
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for AllUnread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllUnread").field("streams", &self.streams().streams.len()).finish()
    }
}

/// A stream that is read slower than it comes.
struct Slow<U = Arc<Unread>> {
    from: SourceKey,
    held: u64,
    pace: u64,
    unread: U,
}

/// When to look: for as long as there is a plane.
pub fn looks() -> Interval {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look
}

/// What a look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Bytes that were unread at most, and read slower than they came.
    pub found: u64,
    /// What is left of them.
    pub held: u64,
    /// Streams that were ended for it.
    pub ended: u64,
}

/// A connection that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Looks<'c> {
    pub unread: &'c AllUnread,
    pub quic: &'c quinn::Connection,
    /// How many connections its owner has, and all have; none where what the other end says is believed.
    pub among: Option<(usize, usize)>,
}

/// Looks at the streams of all connections, and ends some if more is unread than may be held.
pub fn look<'c>(connections: impl Iterator<Item = Looks<'c>>, memory: u64) -> Looked {
    // It has no more room than is needed.
    let mut slow = Vec::new();
    let window = stream_window(memory).into_inner();
    for Looks { unread, quic, among } in connections {
        let counted = unread.look(|| quic.stats().udp_rx.bytes, window, &mut slow);
        let other = among.and_then(|(of_owner, all)| unread.resize(window_beside(counted, memory, of_owner, all)));
        if let Some(window) = other {
            quic.set_receive_window(window);
        }
    }
    let found = slow.iter().map(|slow| slow.held).sum::<u64>();
    let (mut held, mut ended) = (found, 0);
    if held > memory {
        held = shed(&mut slow, memory, |unread| {
            let is_shed = unread.shed();
            ended += u64::from(is_shed);
            is_shed
        });
    }
    Looked { found, held, ended }
}

/// Ends streams until no more than `most` bytes are held, and says how many are. A source's part is the same for all that
/// hold something.
fn shed<U>(slow: &mut [Slow<U>], most: u64, mut end: impl FnMut(&U) -> bool) -> u64 {
    let mut sources: HashMap<SourceKey, u64> = HashMap::new();
    slow.iter().for_each(|slow| *sources.entry(slow.from).or_default() += slow.held);
    let mut held: u64 = sources.values().sum();
    let mut holders = sources.len() as u64;
    slow.sort_by_key(|slow| slow.pace);
    for slow in slow {
        if held <= most {
            break;
        }
        let Some(of_source) = sources.get_mut(&slow.from).filter(|held| **held > most / holders.max(1)) else {
            continue;
        };
        if end(&slow.unread) {
            *of_source -= slow.held;
            held -= slow.held;
            holders -= u64::from(*of_source == 0);
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = STREAM_WINDOW_BYTES_MAX as u64;

    #[test]
    fn small_machines_give_small_windows() {
        for (memory, window) in [(0, 128 << 10), (16 << 20, 128 << 10), (64 << 20, 256 << 10), (512 << 20, 2 << 20)] {
            assert_eq!(stream_window(memory).into_inner(), window, "{memory}");
        }
        assert_eq!(stream_window(u64::MAX).into_inner(), WINDOW);
        for memory in [0, 1 << 20, 64 << 20, 1 << 40] {
            let all = connection_window(memory).into_inner();
            assert!(all >= memory && all >= 8 * stream_window(memory).into_inner(), "{memory}");
        }
    }

    #[test]
    fn what_a_connection_has_room_for() {
        const M: u64 = 1 << 20;
        // What is counted of it, what all may hold, connections of its owner and of all; its window.
        for (counted, all, of_owner, connections, expect) in [
            (0, 3_000 * M, 1, 1, 16 * M),
            (0, 3_000 * M, 4, 4, 16 * M),
            // What is counted has room, and as much again.
            (100 * M, 3_000 * M, 4, 4, 216 * M),
            // No more than all may hold, and a quarter.
            (3_000 * M, 3_000 * M, 4, 4, 3_766 * M),
            // Of an owner with many.
            (0, 3_000 * M, 32, 32, 2 * M),
            // Many that are nothing to each other.
            (0, 3_000 * M, 4, 1_000, 3 * M),
            // A small machine.
            (0, 64 * M, 4, 4, 2 * M),
            (0, 16 * M, 100, 1_000, M / 2),
        ] {
            let window = window_beside(counted, all, of_owner, connections);
            assert_eq!(window, expect, "{counted} {all} {of_owner} {connections}");
        }
        let unread = AllUnread::default();
        for (window, is_told) in [(8, true), (8, false), (9, true), (5, false), (4, true), (4, false), (5, true)] {
            assert_eq!(unread.resize(window).is_some(), is_told, "{window}");
        }
    }

    #[test]
    fn what_may_be_unread_of_a_stream() {
        let mut seen = Seen::default();
        // What came on its connection, what was read, whether its reader waits, or waited; what it holds, slow or not.
        for (came, read, waits, was_empty, held, slow) in [
            // It begins with what came beside it.
            (50_000, 0, false, false, 50_000, 50_000),
            (50_000, 30_000, false, false, 70_000, 70_000),
            (0, 70_000, true, true, 0, 0),
            // It waits still.
            (90_000, 0, true, false, 0, 0),
            // It was empty, and more came since: that is no slow reader yet.
            (90_000, 10_000, false, true, 90_000, 0),
            (10_000, 10_000, false, false, 90_000, 90_000),
            // Others on the connection get more than a window.
            (9_000_000, 0, false, false, WINDOW, WINDOW),
            (0, WINDOW, false, false, 0, 0),
        ] {
            seen.read += read;
            seen.was_empty |= was_empty;
            let told = seen.look(waits, came, WINDOW);
            assert_eq!((seen.held, told), (held, slow), "{came} {read} {waits} {was_empty}");
        }
        assert_eq!(seen.look(false, 9_000_000, 5_000), 5_000, "no more than is left of the answer");
    }

    #[test]
    fn whoever_read_in_bursts_is_faster_than_who_read_once() {
        let (mut bursts, mut once) = (Seen::default(), Seen::default());
        once.read = 300_000;
        for look in 0..2_000 {
            // 40 KB a second, in pieces.
            bursts.read += if look % 8 == 0 { 80_000 } else { 0 };
            bursts.look(false, 0, 0);
            once.look(false, 0, 0);
            assert!(look < 60 || bursts.pace() > once.pace(), "{look}: {} {}", bursts.pace(), once.pace());
        }
        assert!((8_000..12_000).contains(&bursts.pace()), "{}", bursts.pace());
    }

    #[test]
    fn who_holds_more_than_its_part_makes_room_slowest_first() {
        // Source, bytes held and pace of each; the bound; who is ended, in this order, and what is held then.
        for (streams, most, ended, held) in [
            (&[(1, 10, 5), (1, 10, 1)][..], 20, &[][..], 20),
            // One source: its slowest.
            (&[(1, 10, 5), (1, 10, 1), (1, 10, 3)], 20, &[1], 20),
            (&[(1, 10, 5), (1, 10, 1), (1, 10, 3)], 5, &[1, 2, 0], 0),
            // The slowest of all has no more than its part.
            (&[(1, 10, 5), (1, 10, 6), (1, 10, 7), (2, 10, 0)], 20, &[0, 1], 20),
            // Many that hold the same: the slowest.
            (&[(1, 10, 4), (2, 10, 2), (3, 10, 3), (4, 10, 9)], 20, &[1, 2], 20),
            // Two greedy ones beside one that is not.
            (&[(1, 10, 4), (1, 10, 2), (2, 10, 3), (2, 10, 1), (3, 2, 0)], 25, &[3, 1], 22),
            (&[], 0, &[], 0),
        ] {
            let slow = |(index, (from, held, pace)): (usize, &(u32, u64, u64))| Slow {
                from: SourceKey::V4(*from),
                held: *held,
                pace: *pace,
                unread: index,
            };
            let mut all: Vec<Slow<usize>> = streams.iter().enumerate().map(slow).collect();
            let mut gone = Vec::new();
            let left = shed(&mut all, most, |index| {
                gone.push(*index);
                true
            });
            assert_eq!((gone.as_slice(), left), (ended, held), "{streams:?} in {most}");
        }
        // A reader that came meanwhile stays.
        let mut one = [Slow { from: SourceKey::V4(1), held: 9, pace: 0, unread: () }];
        assert_eq!(shed(&mut one, 1, |()| false), 9);
    }
}
