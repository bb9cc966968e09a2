//! Which connections go on, when some always have more to be answered.
//!
//! A connection goes on when something came. Once it has had a turn's worth of answers, it waits in the lane of its source,
//! and so does whatever comes for others of that source meanwhile. In each round one connection of each source goes on;
//! before the next one the thread looks what came, and that goes first.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bartizan_quotas::SourceKey;

/// Connections that wait, by their source. Those that ended meanwhile are woken in vain.
#[derive(Default)]
pub(super) struct Rounds {
    lanes: RefCell<HashMap<SourceKey, VecDeque<Waiting>>>,
    /// Wakes who begins the rounds when the first connection waits.
    bell: Cell<Option<Waker>>,
}

struct Waiting {
    state: Rc<Cell<State>>,
    waker: Waker,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    Waits,
    Called,
}

/// The turn of one connection.
pub(super) struct Turn {
    source: SourceKey,
    state: Rc<Cell<State>>,
}

impl Turn {
    pub(super) fn new(from: IpAddr) -> Turn {
        Turn { source: SourceKey::widest(from), state: Rc::default() }
    }

    /// Whether it may go on; if not, it is woken when it may.
    pub(super) fn begin(&self, rounds: &Rounds, cx: &Context<'_>) -> bool {
        match self.state.get() {
            State::Waits => return false,
            State::Free if rounds.lanes.borrow().contains_key(&self.source) => {
                self.wait(rounds, cx);
                return false;
            }
            State::Free | State::Called => {}
        }
        self.state.set(State::Free);
        true
    }

    /// It has had its turn, and is woken for the next one. To be called once in a turn.
    pub(super) fn wait(&self, rounds: &Rounds, cx: &Context<'_>) {
        self.state.set(State::Waits);
        let waiting = Waiting { state: Rc::clone(&self.state), waker: cx.waker().clone() };
        rounds.lanes.borrow_mut().entry(self.source).or_default().push_back(waiting);
        rounds.bell.take().into_iter().for_each(Waker::wake);
    }
}

impl Rounds {
    /// Lets those that wait go on, round by round, for ever.
    pub(super) async fn run(&self) {
        loop {
            poll_fn(|cx| self.poll_waiting(cx)).await;
            // Comes back when the thread has looked what came, behind those for whom something did.
            tokio::task::yield_now().await;
            self.lanes.borrow_mut().retain(|_, lane| {
                if let Some(Waiting { state, waker }) = lane.pop_front() {
                    state.set(State::Called);
                    waker.wake();
                }
                !lane.is_empty()
            });
        }
    }

    fn poll_waiting(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.lanes.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.bell.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::time::{Duration, Instant};

    use bartizan_live::Live;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
    use tokio::task::{LocalSet, spawn_local};

    use super::super::connection::Connection;
    use super::super::{Visit, Worker};
    use crate::Config;
    use crate::counters::Counters;
    use crate::pipeline::Transport;

    use super::*;

    /// A query that is refused: there is no zone. Its answer is as long.
    const QUERY: &[u8] = b"\0\x13\0\x07\0\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    const FLOODERS: usize = 8;
    /// What each of them asks in all.
    const ASKED: usize = 20_000;

    /// Asks without a pause, and takes all answers, which it counts together with others.
    struct Flood {
        unread: usize,
        taken: Rc<Cell<usize>>,
    }

    impl AsyncRead for Flood {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let whole = ASKED * QUERY.len();
            while self.unread > 0 && read.remaining() > 0 {
                let at = (whole - self.unread) % QUERY.len();
                read.put_slice(&QUERY[at..=at]);
                self.unread -= 1;
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Flood {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.taken.set(self.taken.get() + bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Whoever asks once is answered after a turn or two of a source that asks without a pause, however many connections
    /// that has.
    #[test]
    fn who_asks_without_a_pause_holds_up_nobody() {
        let live = Live::new(Config::default());
        let counters = Counters::default();
        let worker = Worker::new(Vec::new(), Vec::new(), live.reader(), &counters, Default::default()).unwrap();
        let (_, runtime, shared) = worker.open();
        let local = LocalSet::new();
        let rounds = Rc::clone(&shared);
        local.spawn_local(async move { rounds.rounds.run().await });
        let stay = |source: u8, stream: Box<dyn Stream>| {
            let client = ([192, 0, 2, source], 53_000).into();
            let place = shared.door.enter([192, 0, 2, source].into(), Instant::now()).unwrap();
            let tally = std::sync::Arc::clone(shared.tallies.of(Transport::Tcp, [192, 0, 2, source].into()));
            let visit = Visit { shared: Rc::clone(&shared), client, transport: Transport::Tcp, tally };
            local.spawn_local(async move { Connection::new(visit, stream).stay(&place, Duration::ZERO).await })
        };
        let taken = Rc::<Cell<usize>>::default();
        let flood = || Flood { unread: ASKED * QUERY.len(), taken: Rc::clone(&taken) };
        let floods: Vec<_> = (0..FLOODERS).map(|_| stay(1, Box::new(flood()))).collect();
        let (mut client, server) = tokio::io::duplex(512);
        stay(2, Box::new(server));
        let counted = Rc::clone(&taken);
        runtime.block_on(local.run_until(async move {
            let lone = spawn_local(async move {
                // They are at it.
                while counted.get() == 0 {
                    tokio::task::yield_now().await;
                }
                for _ in 0..20 {
                    let before = counted.get();
                    client.write_all(QUERY).await.unwrap();
                    client.read_exact(&mut [0; QUERY.len()]).await.unwrap();
                    let meanwhile = (counted.get() - before) / QUERY.len();
                    // A read has 195.
                    assert!(meanwhile <= 4 * 200, "{meanwhile}");
                }
                assert!(counted.get() < FLOODERS * ASKED * QUERY.len());
            });
            lone.await.unwrap();
            for flood in floods {
                flood.await.unwrap();
            }
        }));
        assert_eq!(taken.get(), FLOODERS * ASKED * QUERY.len());
    }

    trait Stream: AsyncRead + AsyncWrite + Unpin {}

    impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}
}
