//! The task of one connection: reads what comes, hands over what is asked, and writes what was gathered.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bartizan_wire::http2::{Code, Event, Fault, HeadRoom};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::asked::Asked;
use super::handle::{Arrived, Closed, Stream, halves};
use super::session::{Session, State};
use crate::limits::{GOODBYE_MAX, HTTP2_CLOGGED_BYTES, HTTP2_READ_BYTES, HTTP2_READS_A_TURN, KEEP_ALIVE};

pub(super) struct Driver<IO> {
    session: Arc<Session>,
    io: IO,
    arrivals: mpsc::Sender<Arrived>,
    /// The silence after which it is lost.
    idle: Duration,
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
    /// The edge has closed it.
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
    pub(super) fn new(session: Arc<Session>, io: IO, arrivals: mpsc::Sender<Arrived>, idle: Duration) -> Driver<IO> {
        let now = Instant::now();
        Driver {
            session,
            io,
            arrivals,
            idle,
            unread: BytesMut::new(),
            heads: HeadRoom::default(),
            leaving: Vec::new(),
            written: 0,
            tick: Box::pin(sleep(KEEP_ALIVE)),
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
        let is_silent = matches!(end, End::Silent);
        let why = match end {
            End::Closed => "the edge closed the connection".to_owned(),
            End::Ours => "the connector closed it".to_owned(),
            End::Silent => format!("nothing came for {:?}", self.idle),
            End::Fault(fault) => {
                self.session.state().fail(fault);
                // It is told if it has room for that.
                let _ = poll_fn(|cx| Poll::Ready(self.poll_leave(cx))).await;
                format!("the edge does not speak HTTP/2 as it should: {fault}")
            }
            End::Io(error) => error.to_string(),
        };
        self.session.end();
        if !is_silent {
            // What was written has to arrive: a socket with bytes unread would be reset.
            let _ = timeout(GOODBYE_MAX, self.say_goodbye()).await;
        }
        self.session.tell_end(&why);
    }

    async fn say_goodbye(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await?;
        loop {
            self.unread.clear();
            self.unread.reserve(HTTP2_READ_BYTES);
            if self.io.read_buf(&mut self.unread).await? == 0 {
                return Ok(());
            }
        }
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
            self.tick.as_mut().reset(now + KEEP_ALIVE);
            if now.duration_since(self.heard) >= self.idle {
                return Err(End::Silent);
            }
            let mut state = self.session.state();
            let seconds = now.duration_since(self.refilled).as_secs();
            if seconds > 0 {
                self.refilled += Duration::from_secs(seconds);
                state.wire.refill(u32::try_from(seconds).unwrap_or(u32::MAX));
            }
            if !std::mem::take(&mut self.is_heard) && !state.wire.is_pinging() {
                let State { wire, out, .. } = &mut *state;
                wire.ping(out);
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
            let mut reading = std::pin::pin!(self.io.read_buf(&mut self.unread));
            match ready!(reading.as_mut().poll(cx)) {
                Ok(0) => return Poll::Ready(End::Closed),
                Ok(_) => {
                    (self.heard, self.is_heard) = (Instant::now(), true);
                    self.session.hear();
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
            // Locked anew for each step, so that others have their turns.
            let mut state = self.session.state();
            if state.out.len() > HTTP2_CLOGGED_BYTES {
                break Taken::Clogged;
            }
            let State { wire, out, .. } = &mut *state;
            let input = &self.unread[used..];
            let step = wire.next(input, &mut self.heads, out)?;
            used += step.used;
            match step.event {
                Event::Request { stream, ends, head } => {
                    let asked = match head {
                        Ok(head) => Asked::read(head, self.heads.text(), self.heads.fields(), ends),
                        Err(_) => Asked::Unfit("the head of the request is not valid"),
                    };
                    let shared = Stream::new(stream);
                    shared.receive(&[], ends);
                    if let Some(owner) = wire.owner_of(stream) {
                        *owner = Some(Arc::clone(&shared));
                    }
                    // As many as there may be streams have room.
                    let place = self.arrivals.try_reserve();
                    if place.is_err() {
                        wire.reset(stream, Code::RefusedStream, out);
                    }
                    drop(state);
                    if let Ok(place) = place {
                        let (reader, writer) = halves(&self.session, &shared);
                        place.send(Arrived { asked, reader, writer });
                    }
                }
                Event::Data { owner: Some(stream), at, ends } => {
                    let data = &input[at];
                    if stream.receive(data, ends) {
                        wire.took(stream.number, data.len(), out);
                    }
                }
                // What follows a body has no place in a request to HTTP/1.1.
                Event::Trailers { owner: Some(stream) } => {
                    stream.receive(&[], true);
                }
                Event::Reset { owner: Some(stream), .. } => stream.close(Closed::Reset),
                Event::Room { owner: Some(stream) } => stream.wake_writer(),
                Event::RoomForAll => state.let_go_on().iter().for_each(|stream| stream.go_on()),
                Event::RoomForEach => wire.owners().flatten().for_each(|stream| stream.wake_writer()),
                Event::Hungry => break Taken::All,
                // Each stream has an owner, and who answers asks for nothing. An edge that goes away closes the connection.
                Event::Nothing
                | Event::Data { .. }
                | Event::Answer { .. }
                | Event::Trailers { .. }
                | Event::Reset { .. }
                | Event::Leaving { .. }
                | Event::Room { .. } => {}
            }
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
        }
    }
}

/// What was done with what is here.
enum Taken {
    All,
    /// Nothing more is taken until something was written.
    Clogged,
}
