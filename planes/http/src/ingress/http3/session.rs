//! One connection: its task takes streams in, and those of its streams answer them.
//!
//! All of them run on one thread. QUIC itself is driven by tasks of the library's own, on the same thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bartizan_wire::http3::{Code, Fault, PeerStream, PeerStreams, Scope, put_goaway, put_settings};
use bytes::{Bytes, BytesMut};
use quinn::{FrameStats, RecvStream, SendStream, VarInt};
use tokio::time::{Instant, timeout};

use super::reply;
use super::stream::Stream;
use super::windows::{Level, Windows};
use crate::ingress::cancel::Cancel;
use crate::ingress::connection::Connection;
use crate::limits::{
    HEAD_BYTES_MAX, IDLE_FRAMES_A_REQUEST, IDLE_FRAMES_A_SECOND, IDLE_FRAMES_MAX, PEER_STREAM_READ_BYTES,
    QUIC_GOODBYE_TIME, QUIC_LOOK_TIME, STREAMS_MAX,
};
use crate::worker::Worker;

/// What went wrong while the connection asks for more than it is good for.
const FLOOD: Fault = Fault { code: Code::ExcessiveLoad, scope: Scope::Connection, what: "frames that ask for nothing" };

pub(super) struct Session {
    pub(super) connection: Rc<Connection>,
    pub(super) worker: Rc<Worker>,
    quic: quinn::Connection,
    /// Ours. Dropped, it would end, which it must not (RFC 9114 §6.2.1).
    control: RefCell<Option<SendStream>>,
    peer_streams: RefCell<PeerStreams>,
    /// Memory for the heads of requests; none while there are no streams.
    heads: RefCell<Option<BytesMut>>,
    /// Streams that are open, and bodies that come on them.
    streams: Cell<usize>,
    bodies: Cell<usize>,
    windows: Windows,
    /// Frames that ask for nothing and may still come, and when there were more of them.
    tokens: Cell<u32>,
    refilled: Cell<Instant>,
    /// Of the next request that the visitor makes, and of the first that is not served.
    next: Cell<u64>,
    goaway: Cell<Option<u64>>,
    /// Streams that were not served since.
    rejected: Cell<u32>,
    /// Why it ends.
    code: Cell<Code>,
    /// Triggered when there is nothing more to do for it.
    over: Cancel,
}

impl Session {
    pub(super) fn new(quic: quinn::Connection, connection: Rc<Connection>, worker: Rc<Worker>) -> Rc<Session> {
        Rc::new(Session {
            connection,
            worker,
            quic,
            control: RefCell::default(),
            peer_streams: RefCell::default(),
            heads: RefCell::default(),
            streams: Cell::new(0),
            bodies: Cell::new(0),
            windows: Windows::default(),
            tokens: Cell::new(IDLE_FRAMES_MAX),
            refilled: Cell::new(Instant::now()),
            next: Cell::new(0),
            goaway: Cell::new(None),
            rejected: Cell::new(0),
            code: Cell::new(Code::No),
            over: Cancel::default(),
        })
    }

    /// Takes streams in until the connection is over.
    pub(super) async fn run(self: &Rc<Self>) {
        let mut looked = self.quic.stats().frame_rx;
        let mut look = tokio::time::interval(QUIC_LOOK_TIME);
        loop {
            tokio::select! {
                biased;
                () = poll_fn(|cx| self.over.poll(cx)) => return,
                stream = self.quic.accept_uni() => match stream {
                    Ok(stream) => self.take_peer_stream(stream),
                    Err(_) => return,
                },
                stream = self.quic.accept_bi() => match stream {
                    Ok((send, receive)) => self.take_request(send, receive),
                    Err(_) => return,
                },
                _ = look.tick() => {
                    let now = self.quic.stats().frame_rx;
                    if self.spend(idle_frames(&looked, &now)).is_err() {
                        self.fail(FLOOD.code);
                    }
                    looked = now;
                }
            }
        }
    }

    /// Says what we want to be said first, on a stream of ours.
    pub(super) async fn begin(self: Rc<Self>) {
        let Ok(Ok(mut control)) = timeout(self.worker.limits.head_time, self.quic.open_uni()).await else {
            // It takes none of our streams (RFC 9114 §6.2).
            return self.fail(Code::StreamCreation);
        };
        let mut settings = Vec::new();
        put_settings(HEAD_BYTES_MAX, &mut settings);
        if control.write_all(&settings).await.is_ok() {
            *self.control.borrow_mut() = Some(control);
        }
    }

    fn take_request(self: &Rc<Self>, mut send: SendStream, mut receive: RecvStream) {
        let number = u64::from(send.id());
        self.next.set(number + 4);
        if self.goaway.get().is_some_and(|first| number >= first) {
            let code = VarInt::from_u32(Code::RequestRejected as u32);
            // They fail only if the stream is over.
            let _ = (receive.stop(code), send.reset(code));
            self.rejected.set(self.rejected.get() + 1);
            if self.rejected.get() > STREAMS_MAX {
                self.fail(Code::ExcessiveLoad);
            }
            return;
        }
        self.streams.set(self.streams.get() + 1);
        if !self.adapt_windows() {
            return self.streams.set(self.streams.get() - 1);
        }
        reply::spawn(Rc::clone(self), Stream::new(self, send, receive));
    }

    /// A stream's task has ended.
    pub(super) fn end_stream(&self) {
        self.streams.set(self.streams.get() - 1);
        if self.streams.get() == 0 {
            self.heads.take().into_iter().for_each(|heads| self.worker.spare.give_read(heads));
            if self.goaway.get().is_some() {
                self.over.trigger();
            }
        }
        self.adapt_windows();
    }

    pub(super) fn begin_body(&self) {
        self.bodies.set(self.bodies.get() + 1);
        self.adapt_windows();
    }

    pub(super) fn end_body(&self) {
        self.bodies.set(self.bodies.get() - 1);
        self.adapt_windows();
    }

    /// False if the connection ends for want of memory.
    fn adapt_windows(&self) -> bool {
        if self.over.is_triggered() {
            return false;
        }
        let level = match (self.streams.get(), self.bodies.get()) {
            (0, _) => Level::Rest,
            (_, 0) => Level::Busy,
            _ => Level::Body,
        };
        let is_held = self.windows.adapt(level, &self.quic, &self.connection, &self.worker);
        if !is_held {
            self.worker.counters.visitors.memory.add(1);
            self.fail(Code::ExcessiveLoad);
        }
        is_held
    }

    /// What is to be sent has no room. Says whether there is some now.
    pub(super) fn make_room(&self) -> bool {
        self.windows.carry_more(&self.quic, &self.connection, &self.worker)
    }

    fn take_peer_stream(self: &Rc<Self>, stream: RecvStream) {
        let reading = Rc::clone(self).read_peer_stream(stream);
        let turn = Rc::clone(&self.connection.turn);
        let session = Rc::clone(self);
        tokio::task::spawn_local(turn.take_unless(Box::pin(reading), move |cx| {
            // Its streams end with the connection, which wakes this.
            let _ = cx;
            if session.over.is_triggered() { Poll::Ready(()) } else { Poll::Pending }
        }));
    }

    async fn read_peer_stream(self: Rc<Self>, mut stream: RecvStream) {
        let mut peer = PeerStream::default();
        let began = Instant::now();
        let mut bytes = [0; PEER_STREAM_READ_BYTES];
        loop {
            let head_time = self.worker.limits.head_time;
            let reading = stream.read(&mut bytes);
            let read = if peer.is_known() {
                reading.await
            } else {
                // Of a type that does not come nothing can be said.
                match timeout(head_time.saturating_sub(began.elapsed()), reading).await {
                    Ok(read) => read,
                    Err(_) => break,
                }
            };
            let Ok(Some(length)) = read else {
                if let Err(fault) = peer.finish() {
                    self.fault(&fault);
                }
                return;
            };
            let taken = peer.take(&bytes[..length], &mut self.peer_streams.borrow_mut());
            if let Err(fault) = taken.and_then(|idle| self.spend(idle)) {
                return self.fault(&fault);
            }
            if peer.is_unwanted() {
                break;
            }
        }
        let _ = stream.stop(VarInt::from_u32(Code::StreamCreation as u32));
    }

    fn fault(&self, fault: &Fault) {
        tracing::trace!(peer = %self.connection.peer, %fault, "not HTTP/3");
        self.fail(fault.code);
    }

    /// Frames that ask for nothing were taken.
    pub(super) fn spend(&self, frames: u32) -> Result<(), Fault> {
        if frames == 0 {
            return Ok(());
        }
        let seconds = self.refilled.get().elapsed().as_secs();
        if seconds > 0 {
            self.refilled.set(Instant::now());
            let more = IDLE_FRAMES_A_SECOND.saturating_mul(u32::try_from(seconds).unwrap_or(u32::MAX));
            self.add_tokens(more);
        }
        let left = self.tokens.get().checked_sub(frames).ok_or(FLOOD)?;
        self.tokens.set(left);
        Ok(())
    }

    /// A request was made.
    pub(super) fn refill(&self) {
        self.add_tokens(IDLE_FRAMES_A_REQUEST);
    }

    fn add_tokens(&self, more: u32) {
        self.tokens.set(self.tokens.get().saturating_add(more).min(IDLE_FRAMES_MAX));
    }

    /// Copies a head to where it stays for as long as its request.
    pub(super) fn keep(&self, text: &[u8]) -> Bytes {
        self.worker.spare.keep(text, &mut self.heads.borrow_mut())
    }

    /// Ends it at once, and says why.
    pub(super) fn fail(&self, code: Code) {
        self.code.set(code);
        self.over.trigger();
    }

    /// Tells the visitor to ask for nothing more.
    pub(super) async fn leave(&self) {
        if self.goaway.get().is_some() {
            return;
        }
        let first = self.next.get();
        self.goaway.set(Some(first));
        if self.streams.get() == 0 {
            self.over.trigger();
        }
        let control = self.control.borrow_mut().take();
        if let Some(mut control) = control {
            let mut goaway = Vec::new();
            put_goaway(first, &mut goaway);
            // Who takes nothing does not hear it, which is as good.
            let _ = timeout(QUIC_GOODBYE_TIME, control.write_all(&goaway)).await;
            *self.control.borrow_mut() = Some(control);
        }
    }

    /// The connection is over: so are its streams.
    pub(super) fn close(&self) {
        self.over.trigger();
        self.quic.close(VarInt::from_u32(self.code.get() as u32), b"");
        self.windows.let_go(&self.connection);
    }
}

/// Frames of QUIC that a peer has sent since and that bring nothing.
fn idle_frames(before: &FrameStats, now: &FrameStats) -> u32 {
    let all = |stats: &FrameStats| {
        [
            stats.ping,
            stats.data_blocked,
            stats.stream_data_blocked,
            stats.streams_blocked_bidi,
            stats.streams_blocked_uni,
            stats.max_streams_bidi,
            stats.max_streams_uni,
            stats.new_connection_id,
            stats.retire_connection_id,
            stats.path_challenge,
            stats.path_response,
            stats.new_token,
        ]
        .iter()
        .fold(0_u64, |sum, count| sum.saturating_add(*count))
    };
    u32::try_from(all(now).saturating_sub(all(before))).unwrap_or(u32::MAX)
}
