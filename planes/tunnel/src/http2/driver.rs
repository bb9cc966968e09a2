//! The task of one connection: reads what comes, and writes what was gathered.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bartizan_wire::http2::{Code, Event, Fault, HeadRoom, Reason};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};

use super::session::Session;
use super::stream::Closed;
use crate::counters::{Counters, count};
use crate::limits::{
    GOODBYE_MAX, HTTP2_CLOGGED_BYTES, HTTP2_IDLE_MAX, HTTP2_LOOK, HTTP2_READ_BYTES, HTTP2_READS_A_TURN, ROOM_EVERY,
};

pub(super) struct Driver<IO> {
    session: Arc<Session>,
    io: IO,
    counters: Arc<Counters>,
    unread: BytesMut,
    heads: HeadRoom,
    /// What is being written, and how much of it was.
    leaving: Vec<u8>,
    written: usize,
    tick: Pin<Box<Sleep>>,
    /// When there were more tokens for frames that ask for nothing.
    refilled: Instant,
    /// When something came last, and whether anything has since the last tick.
    heard: Instant,
    is_heard: bool,
    /// Nothing is read until something was written.
    is_clogged: bool,
    /// Until when it may take to write the last.
    last: Option<Pin<Box<Sleep>>>,
}

/// Why the connection is over.
enum End {
    /// The connector has closed it.
    Closed,
    /// We have.
    Ours,
    /// Nothing came for too long.
    Silent,
    Fault(Fault),
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            // Without a goodbye of TLS, which is usual.
            io::ErrorKind::UnexpectedEof => End::Closed,
            _ => End::Io(error),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub(super) fn new(session: Arc<Session>, io: IO, counters: Arc<Counters>) -> Driver<IO> {
        let now = Instant::now();
        Driver {
            session,
            io,
            counters,
            unread: BytesMut::new(),
            heads: HeadRoom::default(),
            leaving: Vec::new(),
            written: 0,
            tick: Box::pin(sleep(HTTP2_LOOK)),
            refilled: now,
            heard: now,
            is_heard: false,
            is_clogged: false,
            last: None,
        }
    }

    /// Until it is over.
    pub(super) async fn run(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        let (why, is_silent) = match end {
            End::Closed => ("the connector closed it".to_owned(), false),
            End::Ours => ("closed by the edge".to_owned(), false),
            End::Silent => ("nothing came any more".to_owned(), true),
            End::Fault(fault) => {
                self.session.state().fail(fault);
                // It is told if it has room for that.
                let _ = poll_fn(|cx| Poll::Ready(self.poll_leave(cx))).await;
                (format!("it does not speak HTTP/2 as it should: {fault}"), false)
            }
            End::Io(error) => (error.to_string(), false),
        };
        self.session.end();
        if !is_silent {
            // What was written has to arrive: a socket with bytes unread would be reset.
            let _ = tokio::time::timeout(GOODBYE_MAX, self.say_goodbye()).await;
        }
        self.session.tell_end(&why, is_silent);
    }

    async fn say_goodbye(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await?;
        self.unread.clear();
        while self.read_once().await? > 0 {
            self.unread.clear();
        }
        Ok(())
    }

    async fn read_once(&mut self) -> io::Result<usize> {
        self.unread.reserve(HTTP2_READ_BYTES);
        tokio::io::AsyncReadExt::read_buf(&mut self.io, &mut self.unread).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.session.task.register(cx.waker());
        if let Err(end) = self.poll_tick(cx) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = self.poll_take(cx) {
            return Poll::Ready(end);
        }
        match self.poll_leave(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(error.into()),
            Poll::Ready(Ok(())) if self.session.is_closed() => Poll::Ready(End::Ours),
            Poll::Ready(Ok(())) => {
                if std::mem::take(&mut self.is_clogged) {
                    // There is room again, and nothing else would wake it to read on.
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Poll::Pending if self.session.is_closed() => {
                let last = self.last.get_or_insert_with(|| Box::pin(sleep(GOODBYE_MAX)));
                last.as_mut().poll(cx).map(|()| End::Ours)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while self.tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.session.make_room(now.into_std()) {
                count(&self.counters.made_room);
            }
            let next = if self.session.is_short_of_window() { ROOM_EVERY } else { HTTP2_LOOK };
            self.tick.as_mut().reset(now + next);
            let quiet = now.duration_since(self.heard);
            if quiet >= HTTP2_IDLE_MAX {
                return Err(End::Silent);
            }
            let mut state = self.session.state();
            let seconds = now.duration_since(self.refilled).as_secs();
            if seconds > 0 {
                self.refilled += Duration::from_secs(seconds);
                state.wire.refill(u32::try_from(seconds).unwrap_or(u32::MAX));
            }
            if !std::mem::take(&mut self.is_heard) && !state.wire.is_pinging() {
                let state = &mut *state;
                state.wire.ping(&mut state.out);
            }
            state.rest();
            drop(state);
            if self.unread.is_empty() {
                (self.unread, self.heads) = (BytesMut::new(), HeadRoom::default());
            }
            if self.written == self.leaving.len() {
                (self.leaving, self.written) = (Vec::new(), 0);
            }
        }
        Ok(())
    }

    /// Takes what comes, for a turn.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..HTTP2_READS_A_TURN {
            match self.take_frames() {
                Err(fault) => return Poll::Ready(End::Fault(fault)),
                Ok(Taken::All) => {}
                // It has to read first.
                Ok(Taken::Clogged) => {
                    self.is_clogged = true;
                    return Poll::Pending;
                }
            }
            self.unread.reserve(HTTP2_READ_BYTES);
            let mut reading = std::pin::pin!(tokio::io::AsyncReadExt::read_buf(&mut self.io, &mut self.unread));
            match ready!(reading.as_mut().poll(cx)) {
                Ok(0) => return Poll::Ready(End::Closed),
                Ok(bytes) => {
                    (self.heard, self.is_heard) = (Instant::now(), true);
                    self.session.hear(bytes);
                }
                Err(error) => return Poll::Ready(error.into()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what the frames say that are here.
    fn take_frames(&mut self) -> Result<Taken, Fault> {
        let mut used = 0;
        let taken = loop {
            // Locked anew for each step, so that callers have their turns.
            let mut state = self.session.state();
            let state = &mut *state;
            if state.out.len() > HTTP2_CLOGGED_BYTES {
                break Taken::Clogged;
            }
            let input = &self.unread[used..];
            let step = state.wire.next(input, &mut self.heads, &mut state.out)?;
            match step.event {
                Event::Data { owner: Some(stream), at, ends } => {
                    let number = stream.intake().number;
                    let data = &input[at];
                    match stream.receive(data, ends) {
                        Ok(()) => state.keep(number, data.len()),
                        Err(_) => give_up(state, &stream, number),
                    }
                    if ends {
                        self.session.ring_for_room();
                    }
                }
                Event::Answer { owner: Some(stream), ends, head } if !head.is_interim() => {
                    if stream.receive_head(head, self.heads.fields(), ends).is_err() {
                        let number = stream.intake().number;
                        give_up(state, &stream, number);
                    }
                    if ends {
                        self.session.ring_for_room();
                    }
                }
                Event::Trailers { owner: Some(stream) } => {
                    if stream.receive_trailers(self.heads.fields()).is_err() {
                        let number = stream.intake().number;
                        give_up(state, &stream, number);
                    }
                    self.session.ring_for_room();
                }
                Event::Reset { owner: Some(stream), reason } => {
                    stream.close(if reason == Reason::Refused { Closed::Refused } else { Closed::Reset });
                    self.session.ring_for_room();
                }
                Event::Leaving { refused, .. } => {
                    refused.into_iter().flatten().for_each(|stream| stream.close(Closed::Refused));
                    self.session.leave();
                }
                Event::Room { owner: Some(stream) } => stream.wake_writer(),
                Event::RoomForAll => state.let_go_on().iter().for_each(|stream| stream.go_on()),
                Event::RoomForEach => {
                    state.wire.owners().flatten().for_each(|stream| stream.wake_writer());
                    self.session.ring_for_all();
                }
                Event::Hungry => {
                    used += step.used;
                    break Taken::All;
                }
                // Each stream has an owner until it is over, and who answers asks for nothing.
                Event::Nothing
                | Event::Data { .. }
                | Event::Answer { .. }
                | Event::Trailers { .. }
                | Event::Reset { .. }
                | Event::Room { .. }
                | Event::Request { .. } => {}
            }
            used += step.used;
        };
        self.unread.advance(used);
        Ok(taken)
    }

    /// Writes all that was gathered.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.leaving.len() {
                self.leaving.clear();
                self.written = 0;
                let mut state = self.session.state();
                std::mem::swap(&mut state.out, &mut self.leaving);
                let ready = state.let_go_on();
                drop(state);
                ready.iter().for_each(|stream| stream.go_on());
                if self.leaving.is_empty() {
                    return Pin::new(&mut self.io).poll_flush(cx);
                }
            }
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.leaving[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            self.session.note_sent(written);
        }
    }
}

/// What was done with what is here.
enum Taken {
    All,
    /// Nothing more is taken until something was written.
    Clogged,
}

/// Ends a stream for which there is no memory.
fn give_up(state: &mut super::session::State, stream: &super::stream::Stream, number: u32) {
    state.wire.reset(number, Code::Cancel, &mut state.out);
    stream.close(Closed::Shed);
}
