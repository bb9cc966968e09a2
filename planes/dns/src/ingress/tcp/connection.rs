//! A connection: what it sends is read, answered and written in one go, as far as that needs no wait.
//!
//! ```text
//! read ─► answer all that is complete ─► write ─┬─ all of it ─► read …
//!      └─ one query: hand it in, and let ─┘     └─ a part: keep the rest, and write on when there is room ─► read …
//!         others do so ─► collect the answer
//! ```
//! It is read into memory of the thread and answered there: a connection that waits has nothing but what is not complete
//! yet, or what its client does not read.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bartizan_net::{LeastRate, Patience, say_goodbye, undelivered};
use bartizan_quotas::{Held, Place};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{self, Sleep};

use super::desk::{Answered, Progress, Then, Ticket};
use super::rounds::{HANDED_IN, TURN_QUERIES, Turn, cost};
use super::{LINGER_BYTES_MAX, Limits, Visit};
use crate::counters::Event;
use crate::pipeline::Transport;

pub(super) struct Connection<S> {
    visit: Visit,
    stream: S,
    /// When it ends, however busy it is, and whether it has: then what was read whole is answered, and no more is read.
    end: Instant,
    is_over: bool,
    /// What was read and is not answered.
    unanswered: Vec<u8>,
    then: Then,
    /// For an answer that it has not collected.
    ticket: Option<Ticket>,
    unwritten: Option<Unwritten>,
    held: Held,
    /// Complete queries since the connection began.
    answered: u64,
    /// The client was told how long it may be silent.
    kept: bool,
    idle: Idle,
    turn: Turn,
    /// What it did in this turn, in queries.
    used: u64,
}

/// What the client has not taken yet.
struct Unwritten {
    bytes: Vec<u8>,
    /// So much of it has been taken.
    taken: usize,
    since: Instant,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// By the client, or by an error of the network.
    Theirs,
    Ours,
    /// Its place was needed.
    Displaced,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(visit: Visit, turn: Turn, stream: S) -> Connection<S> {
        Connection {
            end: Instant::now() + visit.shared.limits.life,
            is_over: false,
            visit,
            stream,
            unanswered: Vec::new(),
            then: Then::Wait,
            ticket: None,
            unwritten: None,
            held: Held::default(),
            answered: 0,
            kept: false,
            idle: Idle::default(),
            turn,
            used: 0,
        }
    }

    /// Serves it after that time, to its end, which comes when the client has all answers.
    pub(super) async fn run(mut self, place: &Place, wait: Duration, socket: impl Fn(&S) -> &TcpStream) {
        let closed = self.stay(place, wait).await;
        let Limits { linger, write: stall, .. } = self.visit.shared.limits;
        let has_all = || undelivered(socket(&self.stream)).is_ok_and(|octets| octets == 0);
        match closed {
            // Another waits for it.
            Closed::Displaced => return,
            Closed::Theirs if self.visit.transport == Transport::Tcp && has_all() => return,
            // It has been waited for.
            _ if self.unwritten.is_some() => return,
            // Over TLS a client is told that it has had all (RFC 8446 §6.1).
            Closed::Theirs | Closed::Ours => {}
        }
        // What is taken buys no time.
        let rate = LeastRate { stall, bytes_per_second: u32::MAX };
        let patience = Patience { linger, rate, bytes_max: LINGER_BYTES_MAX };
        // In a box, so that others have no room for it.
        let goodbye = Box::pin(say_goodbye(self.stream, socket, &patience, yield_now));
        tokio::select! {
            () = place.displaced() => {}
            () = goodbye => {}
        }
    }

    /// Serves it after that time until one of the two has enough, and counts how it ended before the other side sees it.
    pub(super) async fn stay(&mut self, place: &Place, wait: Duration) -> Closed {
        let tally = Arc::clone(&self.visit.tally);
        let closed = tokio::select! {
            biased;
            () = place.displaced() => Closed::Displaced,
            closed = self.serve(place, wait) => closed,
        };
        match closed {
            Closed::Theirs => {}
            Closed::Ours => tally.add(Event::ConnectionClosed, 1),
            Closed::Displaced => tally.add(Event::ConnectionDisplaced, 1),
        }
        closed
    }

    async fn serve(&mut self, place: &Place, wait: Duration) -> Closed {
        let shared = Rc::clone(&self.visit.shared);
        if !wait.is_zero() && shared.stopping.unless_begun(time::sleep(wait)).await.is_none() {
            return Closed::Ours;
        }
        let tick = pin!(time::sleep(shared.limits.tick));
        let mut ticks = Ticks { tick, is_set: false };
        let go_on = |cx: &mut Context<'_>, is_stopping| match is_stopping {
            false => self.poll_on(cx, place, &mut ticks),
            true => self.poll_last(cx),
        };
        shared.stopping.with_notice(go_on).await
    }

    /// Answers what has been read whole, and reads no more.
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            if let Err(closed) = ready!(self.poll_write_on(cx)) {
                return Poll::Ready(closed);
            }
            if self.then != Then::Full && self.ticket.is_none() {
                return Poll::Ready(Closed::Ours);
            }
            if let Err(closed) = ready!(self.poll_exchange(cx)) {
                return Poll::Ready(closed);
            }
        }
    }

    /// Goes on as far as there is no wait, for a turn: some queries, fewer if they need signatures, or one read that has more,
    /// up to some 200; or so many reads that complete none.
    ///
    /// Hot: once for what a client sent at once.
    fn poll_on(&mut self, cx: &mut Context<'_>, place: &Place, ticks: &mut Ticks<'_>) -> Poll<Closed> {
        let (mut last, before) = (None, self.answered);
        // What was handed in has had its turn.
        if self.ticket.is_some() {
            match self.poll_exchange(cx) {
                Poll::Ready(Ok(now)) => last = Some(now),
                Poll::Ready(Err(closed)) => return Poll::Ready(closed),
                Poll::Pending if self.ticket.is_some() => return Poll::Pending,
                Poll::Pending => {}
            }
            self.turn.end(cx, std::mem::take(&mut self.used));
        }
        let may_go_on = self.turn.begin(cx);
        while may_go_on && self.used < TURN_QUERIES {
            // Whoever always has more to say lets no tick pass.
            self.is_over |= last.is_some_and(|now| now >= self.end);
            let polled = if self.is_over { self.poll_last(cx).map(Err) } else { self.poll_exchange(cx) };
            match polled {
                Poll::Ready(Ok(now)) => last = Some(now),
                Poll::Ready(Err(closed)) => return Poll::Ready(closed),
                Poll::Pending => break,
            }
        }
        if self.answered > before
            && let Some(now) = last
        {
            place.rest(now);
        }
        if !may_go_on {
            return Poll::Pending;
        }
        self.turn.end(cx, std::mem::take(&mut self.used));
        // It is called again at once, and looks at the time then.
        if self.ticket.is_some() {
            return Poll::Pending;
        }
        let now = last.unwrap_or_else(Instant::now);
        while ticks.poll(cx, now).is_ready() {
            if self.has_had_enough(now) {
                return Poll::Ready(Closed::Ours);
            }
            ticks.set(now + self.visit.shared.limits.tick);
        }
        Poll::Pending
    }

    /// Writes what is left, or else reads, answers and writes; or hands in, and is called again. Gives when it was answered.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<Instant, Closed>> {
        let shared = Rc::clone(&self.visit.shared);
        if let Some(ticket) = &self.ticket
            && shared.desk.borrow_mut().is_to_wait(ticket, cx)
        {
            return Poll::Pending;
        }
        if let Some(ticket) = self.ticket.take() {
            return self.poll_collect(cx, &ticket);
        }
        if self.unwritten.is_some() {
            ready!(self.poll_write_on(cx))?;
        }
        if self.then == Then::Close {
            return Poll::Ready(Err(Closed::Ours));
        }
        let desk = &mut *shared.desk.borrow_mut();
        let Connection { visit, stream, unanswered, .. } = self;
        let mut filled = unanswered.len();
        // Before it is read on, there was room for all answers.
        if self.then != Then::Full {
            let mut read = ReadBuf::new(&mut desk.input[filled..]);
            ready!(Pin::new(stream).poll_read(cx, &mut read)).map_err(|_| Closed::Theirs)?;
            filled += match read.filled().len() {
                0 => return Poll::Ready(Err(Closed::Theirs)),
                count => count,
            };
        }
        desk.input[..unanswered.len()].copy_from_slice(unanswered);
        self.ticket = desk.hand_in(visit, filled, visit.keepalive());
        if let Some(ticket) = &self.ticket {
            *unanswered = Vec::new();
            // Before others of the source hand in as well: what it will cost is known when all of them are answered.
            self.used += HANDED_IN;
            ticket.wait(cx);
            return Poll::Pending;
        }
        let now = desk.now();
        let Progress { bytes, queries, signatures, kept, then } = desk.answer(visit, filled, visit.keepalive(), now);
        unanswered.clear();
        unanswered.extend_from_slice(&desk.input[bytes..filled]);
        if unanswered.is_empty() {
            *unanswered = Vec::new();
        }
        self.answered += queries;
        self.kept |= kept;
        self.then = then;
        // What is enough for a write is a turn, however few ask for it.
        self.used += if then == Then::Full { TURN_QUERIES } else { cost(queries, signatures) };
        self.poll_write(cx, desk.output(), now.monotonic).map_ok(|()| now.monotonic)
    }

    /// Writes the answer to what was handed in.
    fn poll_collect(&mut self, cx: &mut Context<'_>, ticket: &Ticket) -> Poll<Result<Instant, Closed>> {
        let shared = Rc::clone(&self.visit.shared);
        let desk = &mut *shared.desk.borrow_mut();
        let Answered { frame, kept, signatures, at } = desk.collect(ticket);
        self.then = if frame.is_empty() { Then::Close } else { Then::Wait };
        self.answered += u64::from(!frame.is_empty());
        self.kept |= kept;
        match cost(1, signatures) {
            less if less < HANDED_IN => self.turn.give_back(HANDED_IN - less),
            more => self.used += more - HANDED_IN,
        }
        self.poll_write(cx, frame, at.monotonic).map_ok(|()| at.monotonic)
    }

    /// Writes answers, and keeps what the client does not take.
    fn poll_write(&mut self, cx: &mut Context<'_>, answers: &[u8], now: Instant) -> Poll<Result<(), Closed>> {
        if answers.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut taken = 0;
        let written = poll_write_all(Pin::new(&mut self.stream), cx, answers, &mut taken);
        if written.is_pending() {
            let (rest, visit) = (&answers[taken..], &self.visit);
            if self.held.add(rest.len(), &visit.shared.memory, visit.client.ip()).is_err() {
                return Poll::Ready(Err(Closed::Ours));
            }
            self.unwritten = Some(Unwritten { bytes: rest.to_vec(), taken: 0, since: now });
        }
        written
    }

    fn poll_write_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if let Some(Unwritten { bytes, taken, .. }) = &mut self.unwritten {
            ready!(poll_write_all(Pin::new(&mut self.stream), cx, bytes, taken))?;
        }
        if let Some(Unwritten { bytes, .. }) = self.unwritten.take() {
            self.held.sub(bytes.len());
        }
        Poll::Ready(Ok(()))
    }

    /// Whether there is an end of patience at a tick.
    fn has_had_enough(&mut self, now: Instant) -> bool {
        let write = self.visit.shared.limits.write;
        match &self.unwritten {
            // However many answers are left, they have together as long as one.
            Some(unwritten) => now.saturating_duration_since(unwritten.since.min(self.end)) >= write,
            None => {
                let idle = self.idle.tick(self.answered) >= self.visit.patience(self.kept);
                idle || now >= self.end && self.then != Then::Full
            }
        }
    }
}

/// Writes bytes from `taken` on, of which more is taken then.
fn poll_write_all(
    mut stream: Pin<&mut (impl AsyncWrite + ?Sized)>,
    cx: &mut Context<'_>,
    bytes: &[u8],
    taken: &mut usize,
) -> Poll<Result<(), Closed>> {
    while *taken < bytes.len() {
        match ready!(stream.as_mut().poll_write(cx, &bytes[*taken..])) {
            Ok(0) | Err(_) => return Poll::Ready(Err(Closed::Theirs)),
            Ok(count) => *taken += count,
        }
    }
    // TLS keeps what does not fill a record.
    stream.poll_flush(cx).map_err(|_| Closed::Theirs)
}

impl Visit {
    /// How many ticks may pass without a complete query.
    fn patience(&self, kept: bool) -> u32 {
        let Limits { idle_ticks, idle_ticks_kept, idle_ticks_crowded, .. } = self.shared.limits;
        match (self.shared.door.is_crowded(), kept) {
            (true, _) => idle_ticks_crowded,
            (false, true) => idle_ticks_kept,
            (false, false) => idle_ticks,
        }
    }

    /// What a client is told of it, in tenths of a second.
    fn keepalive(&self) -> u16 {
        let tick = u64::try_from(self.shared.limits.tick.as_millis()).unwrap_or(u64::MAX);
        let patience = tick.saturating_mul(self.patience(true).into()) / 100;
        u16::try_from(patience).unwrap_or(u16::MAX)
    }
}

/// The ticks of a connection. The timer is looked at when it is due and when it was set, and not with each query.
struct Ticks<'t> {
    tick: Pin<&'t mut Sleep>,
    /// The runtime knows whom it is to wake.
    is_set: bool,
}

impl Ticks<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if self.is_set && now < self.tick.deadline().into_std() {
            return Poll::Pending;
        }
        self.is_set = true;
        self.tick.as_mut().poll(cx)
    }

    fn set(&mut self, deadline: Instant) {
        self.tick.as_mut().reset(deadline.into());
        self.is_set = false;
    }
}

/// How long a connection has not completed a query.
#[derive(Default)]
struct Idle {
    answered: u64,
    ticks: u32,
}

impl Idle {
    fn tick(&mut self, answered: u64) -> u32 {
        self.ticks = if answered == self.answered { self.ticks + 1 } else { 0 };
        self.answered = answered;
        self.ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_ticks_are_counted_from_the_last_query() {
        let mut idle = Idle::default();
        let counted: Vec<u32> = [0, 0, 1, 1, 1, 4, 4].into_iter().map(|answered| idle.tick(answered)).collect();
        assert_eq!(counted, [1, 2, 0, 1, 2, 0, 1]);
    }
}
