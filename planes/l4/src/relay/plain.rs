//! From socket to socket: the first bytes are copied, which is cheap to begin; the rest goes by splice(2), which is
//! cheap for many bytes.
//!
//! A direction that is idle holds neither a buffer nor a pipe: both belong to the worker.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bartizan_net::Pipe;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

use super::copy::{Copied, Rest, poll_copy};
use super::{Broken, Outcome, Stage, is_pause, outcome_of};
use crate::limits::{SPLICE_AFTER_BYTES, TURN_BYTES};
use crate::session::{Session, Way};
use crate::worker::Worker;

pub(super) async fn relay(
    client: &mut TcpStream,
    origin: &mut TcpStream,
    session: &Session,
    worker: &Worker,
    held_max: usize,
) -> Outcome {
    let means = Means { worker, session, held_max };
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let traffic = &session.traffic;
    poll_fn(|cx| {
        if let Poll::Ready(end) = session.cancel.poll(cx) {
            return Poll::Ready(Outcome::Ended(end));
        }
        let upwards = up.poll(cx, client, origin, &means, Way::In);
        let downwards = down.poll(cx, origin, client, &means, Way::Out);
        outcome_of(upwards, downwards, traffic)
    })
    .await
}

/// What a direction moves bytes with.
struct Means<'w> {
    worker: &'w Worker,
    session: &'w Session,
    held_max: usize,
}

/// One direction of a connection.
#[derive(Default)]
struct Direction {
    held: Held,
    taken: u64,
    stage: Stage,
}

/// Where bytes are that were read and not yet written.
#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Rest(Rest),
    /// A pipe that may be empty, and is kept to be filled again at once.
    Pipe(Pipe),
}

impl Direction {
    /// Moves what can be moved now; ready when the end has been handed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        means: &Means<'_>,
        way: Way,
    ) -> Poll<Result<(), Broken>> {
        let took = |bytes| means.session.traffic.took(way, bytes);
        let mut turn = 0;
        loop {
            ready!(self.poll_give(cx, to, means.session, &took))?;
            match self.stage {
                Stage::Done => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    // The other side may have gone already. Then there is nothing left to end.
                    let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                    self.stage = Stage::Done;
                }
                Stage::Reading if turn >= TURN_BYTES => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Stage::Reading => match self.poll_take(cx, from, to, means)? {
                    Poll::Ready(0) => {
                        self.held = Held::Nothing;
                        self.stage = Stage::Ending;
                    }
                    Poll::Ready(read) => {
                        took(read);
                        turn += read;
                        self.taken += read as u64;
                    }
                    Poll::Pending => {
                        // An empty pipe goes back, so that others can use it.
                        self.held = Held::Nothing;
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// Writes what is held; ready when nothing is.
    fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut TcpStream,
        session: &Session,
        took: &impl Fn(usize),
    ) -> Poll<Result<(), Broken>> {
        match &mut self.held {
            Held::Nothing => return Poll::Ready(Ok(())),
            Held::Rest(rest) => {
                ready!(rest.poll_write(cx, to))?;
                session.let_go(rest.len());
                self.held = Held::Nothing;
            }
            Held::Pipe(pipe) => {
                while pipe.held() > 0 {
                    ready!(to.poll_write_ready(cx)).map_err(|_| Broken::To)?;
                    match to.try_io(Interest::WRITABLE, || pipe.drain(&*to)) {
                        // Bytes moved, though nothing new was read.
                        Ok(_) => took(0),
                        Err(error) if is_pause(&error) => {}
                        Err(_) => return Poll::Ready(Err(Broken::To)),
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes more when nothing is held. Zero is the end.
    // Hot: once for each burst of bytes. No allocation unless the reader is slow.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        means: &Means<'_>,
    ) -> Poll<Result<usize, Broken>> {
        if self.taken >= SPLICE_AFTER_BYTES
            && matches!(self.held, Held::Nothing)
            && let Some(pipe) = means.worker.pipes.take()
        {
            self.held = Held::Pipe(pipe);
        }
        if let Held::Pipe(pipe) = &mut self.held {
            loop {
                ready!(from.poll_read_ready(cx)).map_err(|_| Broken::From)?;
                match from.try_io(Interest::READABLE, || pipe.fill(&*from, means.held_max)) {
                    Ok(read) => return Poll::Ready(Ok(read)),
                    Err(error) if is_pause(&error) => {}
                    Err(_) => return Poll::Ready(Err(Broken::From)),
                }
            }
        }
        let Copied { read, rest } = ready!(poll_copy(cx, from, to, &means.worker.scratch, means.held_max))?;
        rest.iter().for_each(|rest| means.session.hold_or_end(rest.len()));
        self.held = rest.map_or(Held::Nothing, Held::Rest);
        Poll::Ready(Ok(read))
    }
}
