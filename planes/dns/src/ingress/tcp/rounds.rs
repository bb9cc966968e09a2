//! Which connections go on, when some have more to be done than others can wait for.
//!
//! A connection goes on when something came. Once it has had a turn, or the connections of its source have together while
//! others have connections too, it waits in the lane of its source, and so does whatever comes for others of that source
//! meanwhile. In each round one connection of some sources goes on; before the next one the thread looks what came, and that
//! goes first.
//!
//! What is counted is work, not time: nobody is slow because the system ran something else.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bartizan_quotas::SourceKey;

/// A turn, in queries. That takes some hundred microseconds, or up to a millisecond with a read and a write for each.
pub(super) const TURN_QUERIES: u64 = 32;

/// What a new signature counts for.
const SIGNATURE_QUERIES: u64 = 4;

/// What a query that is handed in counts for until it is answered: it may need a signature.
pub(super) const HANDED_IN: u64 = 1 + SIGNATURE_QUERIES;

/// Sources of which a connection goes on in one round. A handshake is a turn too, of some 200 microseconds.
const SOURCES_A_ROUND: usize = 4;

/// Whose connections go on, on one thread.
#[derive(Default)]
pub(super) struct Rounds {
    /// Those that have connections.
    sources: RefCell<HashMap<SourceKey, Weak<Source>>>,
    /// Those whose connections wait, in the order of their turns. None is in it twice.
    waiting: RefCell<VecDeque<Rc<Source>>>,
    /// Wakes who begins the rounds when the first connection waits.
    bell: Cell<Option<Waker>>,
}

struct Source {
    key: SourceKey,
    rounds: Weak<Rounds>,
    /// What its connections have had since one of them was called, in queries.
    used: Cell<u64>,
    /// Its connections that wait. It is among those that do as long as there are any.
    lane: RefCell<VecDeque<Waiting>>,
}

/// Those that ended meanwhile are passed over.
struct Waiting {
    state: Weak<Cell<State>>,
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
    rounds: Rc<Rounds>,
    source: Rc<Source>,
    state: Rc<Cell<State>>,
}

impl Turn {
    pub(super) fn new(rounds: &Rc<Rounds>, from: IpAddr) -> Turn {
        let key = SourceKey::widest(from);
        let mut sources = rounds.sources.borrow_mut();
        let known = sources.get(&key).and_then(Weak::upgrade);
        let source = known.unwrap_or_else(|| {
            let (used, lane) = Default::default();
            let source = Rc::new(Source { key, rounds: Rc::downgrade(rounds), used, lane });
            sources.insert(key, Rc::downgrade(&source));
            source
        });
        Turn { rounds: Rc::clone(rounds), source, state: Rc::default() }
    }

    /// Whether it may go on; if not, it is woken when it may.
    pub(super) fn begin(&self, cx: &Context<'_>) -> bool {
        match self.state.get() {
            State::Waits => return false,
            State::Free if self.must_wait() => {
                self.wait(cx);
                return false;
            }
            State::Free | State::Called => {}
        }
        self.state.set(State::Free);
        true
    }

    /// Says what it did. What is a turn waits for the next one.
    pub(super) fn end(&self, cx: &Context<'_>, used: u64) {
        self.source.used.set(self.source.used.get().saturating_add(used));
        if used >= TURN_QUERIES {
            self.wait(cx);
        }
    }

    /// What it did was less than had been said.
    pub(super) fn give_back(&self, unused: u64) {
        self.source.used.set(self.source.used.get().saturating_sub(unused));
    }

    /// Comes back when it is its turn, which it uses up.
    pub(super) async fn next(&self) {
        poll_fn(|cx| match self.state.get() {
            State::Free => {
                self.wait(cx);
                Poll::Pending
            }
            State::Waits => Poll::Pending,
            State::Called => Poll::Ready(()),
        })
        .await;
        self.state.set(State::Free);
        self.source.used.set(TURN_QUERIES);
    }

    fn must_wait(&self) -> bool {
        let has_had_a_turn = || self.source.used.get() >= TURN_QUERIES && self.rounds.sources.borrow().len() > 1;
        !self.source.lane.borrow().is_empty() || has_had_a_turn()
    }

    fn wait(&self, cx: &Context<'_>) {
        self.state.set(State::Waits);
        let waiting = Waiting { state: Rc::downgrade(&self.state), waker: cx.waker().clone() };
        let mut lane = self.source.lane.borrow_mut();
        if lane.is_empty() {
            self.rounds.waiting.borrow_mut().push_back(Rc::clone(&self.source));
            self.rounds.bell.take().into_iter().for_each(Waker::wake);
        }
        lane.push_back(waiting);
    }
}

/// What an exchange counts for: no less than a query, as it may complete none.
pub(super) fn cost(queries: u64, signatures: u64) -> u64 {
    queries.max(1) + signatures * SIGNATURE_QUERIES
}

impl Rounds {
    /// Lets those that wait go on, round by round, for ever.
    pub(super) async fn run(&self) {
        loop {
            poll_fn(|cx| self.poll_waiting(cx)).await;
            // Comes back when the thread has looked what came, behind those for whom something did.
            tokio::task::yield_now().await;
            self.call();
        }
    }

    fn poll_waiting(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.waiting.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.bell.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn call(&self) {
        let count = self.waiting.borrow().len().min(SOURCES_A_ROUND);
        for _ in 0..count {
            let Some(source) = self.waiting.borrow_mut().pop_front() else { return };
            source.used.set(0);
            source.call_next();
            if !source.lane.borrow().is_empty() {
                self.waiting.borrow_mut().push_back(source);
            }
        }
    }
}

impl Source {
    fn call_next(&self) {
        let mut lane = self.lane.borrow_mut();
        while let Some(Waiting { state, waker }) = lane.pop_front() {
            if let Some(state) = state.upgrade() {
                state.set(State::Called);
                return waker.wake();
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(rounds) = self.rounds.upgrade() {
            rounds.sources.borrow_mut().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::time::{Duration, Instant};

    use bartizan_live::Live;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
    use tokio::task::{JoinHandle, LocalSet};

    use super::super::connection::{Closed, Connection};
    use super::super::desk::tests::{signed, signed_query};
    use super::super::{Shared, Visit, Worker};
    use crate::Config;
    use crate::counters::Counters;
    use crate::pipeline::Transport;

    use super::*;

    /// A query that is refused: there is no zone. Its answer is as long.
    const QUERY: &[u8] = b"\0\x13\0\x07\0\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    /// What a connection of a flood asks in all, if nothing ends it.
    const ASKED_MAX: usize = 5_000;

    /// What all connections of a flood asked, and the answers that they took, in queries.
    #[derive(Default)]
    struct Flood {
        asked: Cell<usize>,
        answered: Cell<usize>,
        is_over: Cell<bool>,
    }

    fn add(count: &Cell<usize>, more: usize) {
        count.set(count.get() + more);
    }

    /// Asks without a pause, and takes all answers. Its last query is whole.
    struct Pipeline {
        all: Rc<Flood>,
        sent: usize,
        taken: usize,
    }

    impl AsyncRead for Pipeline {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let begun = self.sent % QUERY.len();
            let is_over = self.all.is_over.get() || self.sent >= ASKED_MAX * QUERY.len();
            let rest = (QUERY.len() - begun) % QUERY.len();
            let len = if is_over { rest } else { read.remaining() };
            read.put_slice(&QUERY.iter().cycle().skip(begun).take(len).copied().collect::<Vec<u8>>());
            let before = self.sent / QUERY.len();
            self.sent += len;
            add(&self.all.asked, self.sent / QUERY.len() - before);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pipeline {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let before = self.taken / QUERY.len();
            self.taken += bytes.len();
            add(&self.all.answered, self.taken / QUERY.len() - before);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    trait Stream: AsyncRead + AsyncWrite + Unpin {}

    impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

    /// Connections without sockets, and who lets them go on.
    struct Thread {
        runtime: tokio::runtime::Runtime,
        local: LocalSet,
        shared: Rc<Shared>,
    }

    impl Thread {
        fn new() -> Thread {
            Thread::of(Config::default())
        }

        fn of(config: Config) -> Thread {
            let live = Live::new(config);
            let counters = Counters::default();
            let worker = Worker::new(Vec::new(), Vec::new(), live.reader(), &counters, Default::default()).unwrap();
            let (_, runtime, shared) = worker.open();
            let local = LocalSet::new();
            let rounds = Rc::clone(&shared.rounds);
            local.spawn_local(async move { rounds.run().await });
            Thread { runtime, local, shared }
        }

        /// A connection from 192.0.2.`source`.
        fn stay(&self, source: u8, stream: Box<dyn Stream>) -> JoinHandle<Closed> {
            let client = ([192, 0, 2, source], 53_000).into();
            let place = self.shared.door.enter([192, 0, 2, source].into(), Instant::now()).unwrap();
            let tally = std::sync::Arc::clone(self.shared.tallies.of(Transport::Tcp, [192, 0, 2, source].into()));
            let visit = Visit { shared: Rc::clone(&self.shared), client, transport: Transport::Tcp, tally };
            let turn = Turn::new(&self.shared.rounds, [192, 0, 2, source].into());
            self.local
                .spawn_local(async move { Connection::new(visit, turn, stream).stay(&place, Duration::ZERO).await })
        }

        /// Somebody else asks some times, once the flood is at it, which is over then. Gives how many answers the flood got
        /// while each of these was awaited.
        fn ask_beside(&self, flood: &Rc<Flood>) -> Vec<usize> {
            let (mut client, server) = tokio::io::duplex(512);
            self.stay(2, Box::new(server));
            let flood = Rc::clone(flood);
            self.runtime.block_on(self.local.run_until(async move {
                while flood.answered.get() == 0 {
                    tokio::task::yield_now().await;
                }
                let mut meanwhile = Vec::new();
                for _ in 0..10 {
                    let before = flood.answered.get();
                    client.write_all(QUERY).await.unwrap();
                    client.read_exact(&mut [0; QUERY.len()]).await.unwrap();
                    meanwhile.push(flood.answered.get() - before);
                }
                flood.is_over.set(true);
                meanwhile
            }))
        }

        fn finish<T>(&self, tasks: Vec<JoinHandle<T>>) -> Vec<T> {
            let all = async {
                let mut ended = Vec::new();
                for task in tasks {
                    ended.push(task.await.unwrap());
                }
                ended
            };
            self.runtime.block_on(self.local.run_until(all))
        }
    }

    /// Whoever asks once is answered after a turn or two of a source that asks without a pause, however many connections
    /// that has. These are all answered too, in the end.
    #[test]
    fn who_asks_without_a_pause_holds_up_nobody() {
        let (thread, flood) = (Thread::new(), Rc::<Flood>::default());
        let pipeline = || Pipeline { all: Rc::clone(&flood), sent: 0, taken: 0 };
        let floods: Vec<_> = (0..8).map(|_| thread.stay(1, Box::new(pipeline()))).collect();
        // A read has 195.
        assert!(thread.ask_beside(&flood).iter().all(|meanwhile| *meanwhile <= 4 * 200));
        assert_eq!(thread.finish(floods), [Closed::Theirs; 8]);
        assert!(flood.answered.get() < 8 * ASKED_MAX, "it was not at it all the time");
        assert_eq!(flood.answered, flood.asked);
    }

    /// Nor do many sources that do so, once each has had the turn that a newcomer has: in each round some of them go on.
    #[test]
    fn many_who_ask_without_a_pause_hold_up_nobody() {
        let (thread, flood) = (Thread::new(), Rc::<Flood>::default());
        let pipeline = || Pipeline { all: Rc::clone(&flood), sent: 0, taken: 0 };
        let floods: Vec<_> = (3..203).map(|source| thread.stay(source, Box::new(pipeline()))).collect();
        let meanwhile = thread.ask_beside(&flood);
        // In turn with all of them it would be some 200 times 195.
        assert!(meanwhile[1..].iter().all(|meanwhile| *meanwhile <= 2 * SOURCES_A_ROUND * 200), "{meanwhile:?}");
        thread.finish(floods);
        assert_eq!(flood.answered, flood.asked);
    }

    /// Nor does a source that asks a little on each of many connections.
    #[test]
    fn who_has_many_connections_holds_up_nobody() {
        let (thread, flood) = (Thread::new(), Rc::<Flood>::default());
        let asking: Vec<_> = (0..200)
            .map(|_| {
                let (mut client, server) = tokio::io::duplex(64);
                thread.stay(1, Box::new(server));
                let all = Rc::clone(&flood);
                thread.local.spawn_local(async move {
                    while !all.is_over.get() {
                        add(&all.asked, 1);
                        client.write_all(QUERY).await.unwrap();
                        client.read_exact(&mut [0; QUERY.len()]).await.unwrap();
                        add(&all.answered, 1);
                    }
                })
            })
            .collect();
        let meanwhile = thread.ask_beside(&flood);
        // In turn with all connections it would be some 200.
        assert!(meanwhile.iter().sum::<usize>() <= 10 * 2 * TURN_QUERIES as usize, "{meanwhile:?}");
        thread.finish(asking);
        assert_eq!(flood.answered, flood.asked);
    }

    /// Nor by queries that need a signature, which are answered together: few of them are a turn.
    #[test]
    fn who_has_signatures_made_on_many_connections_holds_up_nobody() {
        let (thread, flood) = (Thread::of(signed()), Rc::<Flood>::default());
        let asking: Vec<_> = (0..200)
            .map(|_| {
                let (mut client, server) = tokio::io::duplex(2_048);
                thread.stay(1, Box::new(server));
                let all = Rc::clone(&flood);
                thread.local.spawn_local(async move {
                    while !all.is_over.get() {
                        add(&all.asked, 1);
                        client.write_all(&signed_query(all.asked.get())).await.unwrap();
                        let len = client.read_u16().await.unwrap();
                        client.read_exact(&mut vec![0; len.into()]).await.unwrap();
                        add(&all.answered, 1);
                    }
                })
            })
            .collect();
        let meanwhile = thread.ask_beside(&flood);
        // A turn is seven of them, where it is 32 without a signature.
        let turn = TURN_QUERIES.div_ceil(HANDED_IN) as usize;
        assert!(meanwhile.iter().all(|meanwhile| *meanwhile <= 2 * turn), "{meanwhile:?}");
        thread.finish(asking);
        assert_eq!(flood.answered, flood.asked);
    }

    /// Of those that wait, one of each source goes on in a round, and of some sources only.
    #[test]
    fn a_round_is_short() {
        let rounds = Rc::<Rounds>::default();
        let cx = &mut Context::from_waker(Waker::noop());
        let turn = |source: u8| Turn::new(&rounds, [192, 0, 2, source].into());
        let mut turns: Vec<(u8, Turn)> = [1, 1, 2, 3, 4, 5, 6].map(|source| (source, turn(source))).into();
        turns.iter().for_each(|(_, turn)| turn.end(cx, TURN_QUERIES));
        let mut round = || {
            rounds.call();
            turns
                .extract_if(.., |(_, turn)| turn.state.get() == State::Called)
                .map(|(source, _)| source)
                .collect::<Vec<_>>()
        };
        assert_eq!([round(), round(), round()], [vec![1, 2, 3, 4], vec![1, 5, 6], vec![]]);
        // Neither does one that has ended keep its source, nor is its turn lost for the next one.
        assert!(rounds.sources.borrow().is_empty());
        let [gone, one, other] = [turn(1), turn(1), turn(2)];
        [&gone, &one].into_iter().for_each(|turn| turn.end(cx, TURN_QUERIES));
        drop(gone);
        rounds.call();
        assert!(one.begin(cx) && other.begin(cx));
    }

    /// What the connections of a source did counts together, once others have connections too.
    #[test]
    fn turns_of_a_source_are_shared() {
        let rounds = Rc::<Rounds>::default();
        let cx = &mut Context::from_waker(Waker::noop());
        let turn = |source: u8| Turn::new(&rounds, [192, 0, 2, source].into());
        let [one, another] = [turn(1), turn(1)];
        one.end(cx, TURN_QUERIES - 1);
        another.end(cx, 1);
        assert!(one.begin(cx) && another.begin(cx), "nobody else is there");
        let other = turn(2);
        assert_eq!([&one, &another, &other].map(|turn| turn.begin(cx)), [false, false, true]);
        rounds.call();
        assert_eq!([&one, &another].map(|turn| turn.begin(cx)), [true, false]);
        rounds.call();
        assert!(another.begin(cx));
    }
}
