//! Where the queries of connections are answered: what a thread has once.
//!
//! Who has sent several at once is answered by itself. Queries that came one at a time, on several connections at about the
//! same time, are answered together ([`Together`]): the waits for memory overlap, and the answers leave one right behind the
//! other, so that a client that has them on several connections is not woken for each.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use bartizan_authority::BATCH_MAX;
use bartizan_live::Reader;
use bartizan_wire::dns::TCP_ANSWER_MAX;
use tokio::task::yield_now;

use super::Visit;
use crate::Config;
use crate::counters::Tally;
use crate::pipeline::{self, End, Exchange, Now, Room, Silence, Transport};
use crate::tap::Tap;

/// What a connection may send before we answer, lengths included: about a hundred pipelined queries. No useful query is
/// as long as this alone.
pub(super) const INPUT_MAX: usize = 4_096;

/// What we collect for one write, before the answer that goes beyond it. A client that reads nothing makes us hold so much
/// and one answer more.
const OUTPUT_MAX: usize = 65_536;

/// New signatures that are made for one write, and for the last answer that needs some: each takes some 20 microseconds of
/// a thread on which others wait.
const SIGNATURES_MAX: u64 = 8;

/// A longer query is not answered together with others. One with every option that clients send has less.
const HANDED_IN_MAX: usize = 512;

/// How often the thread looks at most what else came before queries that came at the same time are answered. A look takes
/// less than a microsecond, and is one that the thread need not take afterwards.
const LOOKS_MAX: u32 = 4;

/// After so many queries in a row that came alone, the thread no longer looks before it answers.
const ALONE_MAX: u32 = 8;

/// Then only once in so many queries, lest a crowd be missed whose queries it always sees one by one.
const ALONE_BETWEEN_LOOKS: u32 = 64;

/// The length in front of each query and each answer (RFC 1035 §4.2.2).
const LENGTH_BYTES: usize = 2;

/// Room for one answer in a batch: an odd number of cache lines, so that answers do not compete for the same few
/// places of the cache.
const REPLY_BYTES: usize = 64 * (TCP_ANSWER_MAX.div_ceil(64) | 1);

/// Held while one connection goes on, never across an `.await`.
pub(super) struct Desk {
    pub(super) config: Reader<Config>,
    worker: Box<pipeline::Worker>,
    /// What a connection has read.
    pub(super) input: Box<[u8]>,
    /// What it is to write.
    output: Box<[u8]>,
    written: usize,
    /// The answers of a batch.
    replies: Box<[u8]>,
    together: Together,
}

/// Queries that are answered together, in the places of their tickets.
struct Together {
    asked: Vec<Asked>,
    /// Of all of them.
    tally: Option<Arc<Tally>>,
    answered_at: Option<Now>,
    waiting: Rc<Waiting>,
    /// How often the thread has looked for more of them.
    looks: u32,
    /// How many there were at the last look.
    seen: usize,
    /// How many in a row had no company.
    alone: u32,
    queries: Box<[u8]>,
    replies: Box<[u8]>,
}

/// One of them, and what became of it.
struct Asked {
    client: SocketAddr,
    transport: Transport,
    keepalive: u16,
    /// Of the query.
    len: usize,
    end: End,
    kept: bool,
    signatures: u64,
}

/// What became of a query that was handed in.
pub(super) struct Answered<'d> {
    /// As it is to be written: nothing if there is no answer.
    pub(super) frame: &'d [u8],
    /// The client asked how long it may be silent.
    pub(super) kept: bool,
    pub(super) signatures: u64,
    pub(super) at: Now,
}

/// For the answer to a query that was handed in. Its place is kept until it is dropped.
pub(super) struct Ticket {
    place: usize,
    waiting: Rc<Waiting>,
}

/// Those who have a ticket.
#[derive(Default)]
struct Waiting {
    /// How many there are: when the last one is gone others may come.
    tickets: Cell<usize>,
    /// Of all but the first. Whoever has an answer first, or ends, wakes them: then there are answers to all, or can be.
    others: RefCell<VecDeque<Waker>>,
}

impl Ticket {
    /// The task is called again when those that came at the same time have been read, or their queries answered.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        if self.place == 0 {
            cx.waker().wake_by_ref();
        } else {
            self.waiting.others.borrow_mut().push_back(cx.waker().clone());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.tickets.set(self.waiting.tickets.get() - 1);
        self.waiting.wake_others();
    }
}

impl Waiting {
    fn wake_others(&self) {
        loop {
            // Nothing is borrowed while it is woken: the end of a task may drop a ticket.
            let other = self.others.borrow_mut().pop_front();
            match other {
                Some(other) => other.wake(),
                None => break,
            }
        }
    }
}

/// What became of an input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// So much of its front has been dealt with.
    pub(super) bytes: usize,
    /// Queries that were answered.
    pub(super) queries: u64,
    /// Signatures that were made for them.
    pub(super) signatures: u64,
    /// The client asked how long it may be silent.
    pub(super) kept: bool,
    pub(super) then: Then,
}

impl Progress {
    fn none(then: Then) -> Progress {
        Progress { bytes: 0, queries: 0, signatures: 0, kept: false, then }
    }

    /// What one write may hold, or cost, is there.
    fn is_enough(&self, written: usize) -> bool {
        written >= OUTPUT_MAX || self.signatures >= SIGNATURES_MAX
    }
}

/// What is in front of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// There may be more complete queries.
    More,
    /// There are more, and it is enough for one write.
    Full,
    /// The next query is not complete.
    Wait,
    /// The next query is longer than any real one, or was none.
    Close,
}

impl Desk {
    pub(super) fn new(config: Reader<Config>, signatures: bartizan_signer::Limits, tap: Option<Tap>) -> Desk {
        Desk {
            config,
            worker: Box::new(pipeline::Worker::new(signatures).tapped(tap)),
            input: vec![0; INPUT_MAX].into(),
            output: vec![0; OUTPUT_MAX + TCP_ANSWER_MAX + LENGTH_BYTES * BATCH_MAX].into(),
            written: 0,
            replies: vec![0; REPLY_BYTES * BATCH_MAX].into(),
            together: Together {
                asked: Vec::with_capacity(BATCH_MAX),
                tally: None,
                answered_at: None,
                waiting: Rc::new(Waiting {
                    others: RefCell::new(VecDeque::with_capacity(BATCH_MAX)),
                    ..Waiting::default()
                }),
                looks: 0,
                seen: 0,
                alone: 0,
                queries: vec![0; HANDED_IN_MAX * BATCH_MAX].into(),
                replies: vec![0; REPLY_BYTES * BATCH_MAX].into(),
            },
        }
    }

    /// Takes the first `filled` bytes of the input if they are one query, to be answered with others that come meanwhile; none
    /// if they are not, or there is no place.
    pub(super) fn hand_in(&mut self, visit: &Visit, filled: usize, keepalive: u16) -> Option<Ticket> {
        let mut frames = Frames(&self.input[..filled]);
        let query = frames.next().filter(|query| frames.0.is_empty() && query.len() <= HANDED_IN_MAX)?;
        self.together.take(visit, query, keepalive)
    }

    /// Whether it is too soon to collect the answer: then the task is woken when it is time.
    ///
    /// The thread looks what else came before it answers, as long as that finds something, if queries have had company lately;
    /// who is alone does not wait for that.
    pub(super) fn is_to_wait(&mut self, ticket: &Ticket, cx: &mut Context<'_>) -> bool {
        let waits = self.together.is_worth_a_look(ticket);
        if waits {
            // It is woken when the thread has looked, behind those for whom something came.
            let _ = pin!(yield_now()).poll(cx);
        }
        waits
    }

    /// What became of a query that was handed in.
    pub(super) fn collect(&mut self, ticket: &Ticket) -> Answered<'_> {
        let Desk { config, worker, together, .. } = self;
        let at = match together.answered_at {
            Some(at) => at,
            None => together.answer(&config.take().value, worker),
        };
        together.answered_at = Some(at);
        together.answered(ticket, at)
    }

    /// What was answered last, as it is to be written.
    pub(super) fn output(&self) -> &[u8] {
        &self.output[..self.written]
    }

    pub(super) fn now(&mut self) -> Now {
        Now::read(&self.config.take().value.clock)
    }

    /// Answers all complete queries in the first `filled` bytes of the input, up to what is enough for one write. A client that
    /// asks for it is told how long it may be silent: `keepalive` tenths of a second.
    ///
    /// Hot: once for what a client sent at once. No allocation.
    pub(super) fn answer(&mut self, visit: &Visit, filled: usize, keepalive: u16, now: Now) -> Progress {
        self.written = 0;
        let mut all = Progress::none(Then::More);
        while all.then == Then::More {
            if all.is_enough(self.written) {
                all.then = Then::Full;
                break;
            }
            let input = all.bytes..filled;
            let is_alone = Frames(&self.input[input.clone()]).nth(1).is_none();
            // Who asks one question at a time has nothing to overlap, and its answer is not moved.
            let done = if is_alone {
                self.answer_one(visit, input, keepalive, now)
            } else {
                self.answer_batch(visit, input, SIGNATURES_MAX - all.signatures, keepalive, now)
            };
            all.bytes += done.bytes;
            all.queries += done.queries;
            all.signatures += done.signatures;
            all.kept |= done.kept;
            all.then = done.then;
        }
        all
    }

    /// Answers the query in front, if it is complete; there is no other complete one.
    fn answer_one(&mut self, visit: &Visit, input: std::ops::Range<usize>, keepalive: u16, now: Now) -> Progress {
        let mut frames = Frames(&self.input[input]);
        let Some(query) = frames.next() else {
            return Progress::none(frames.then());
        };
        let (length, room) = self.output[self.written..].split_at_mut(LENGTH_BYTES);
        let exchange = Exchange::new(visit.client, visit.transport, query, &mut room[..TCP_ANSWER_MAX]);
        let mut exchanges = [Exchange { keepalive: Some(keepalive), ..exchange }];
        let config = &self.config.take().value;
        let worker = &mut self.worker;
        let signatures =
            pipeline::serve_counted(&mut exchanges, config, worker, &visit.tally, now, Room::ALL, |all| all.len());
        let [Exchange { end, kept, .. }] = exchanges;
        let End::Reply { len, .. } = end else { return Progress::none(Then::Close) };
        length.copy_from_slice(&(len as u16).to_be_bytes()); // it was given room for no more
        self.written += LENGTH_BYTES + len;
        Progress { bytes: LENGTH_BYTES + query.len(), queries: 1, signatures, kept, then: frames.then() }
    }

    /// Answers the queries in front, up to a batch or to what is enough for one write, so many signatures among it. No answer
    /// is made that is not written: it would be made again, and what it costs counted again.
    fn answer_batch(
        &mut self,
        visit: &Visit,
        input: std::ops::Range<usize>,
        signatures: u64,
        keepalive: u16,
        now: Now,
    ) -> Progress {
        let Desk { config, worker, input: all, output, written, replies, .. } = self;
        let mut frames = Frames(&all[input]);
        let mut replies = replies.chunks_exact_mut(REPLY_BYTES);
        let mut count = 0;
        let mut exchanges: [Exchange<'_>; BATCH_MAX] = std::array::from_fn(|_| {
            let reply = replies.next().and_then(|reply| reply.get_mut(..TCP_ANSWER_MAX)).unwrap_or_default();
            let query = frames.next();
            count += usize::from(query.is_some());
            let exchange = Exchange::new(visit.client, visit.transport, query.unwrap_or_default(), reply);
            Exchange { keepalive: Some(keepalive), ..exchange }
        });
        let then = if count == BATCH_MAX { Then::More } else { frames.then() };
        let mut done = Progress::none(then);
        let room = Room { bytes: OUTPUT_MAX.saturating_sub(*written), signatures };
        let send = |exchanges: &[Exchange<'_>]| {
            if exchanges.len() < count {
                done.then = Then::Full;
            }
            for (taken, exchange) in exchanges.iter().enumerate() {
                let End::Reply { len, .. } = exchange.end else {
                    done.then = Then::Close;
                    return taken + 1;
                };
                let frame = &mut output[*written..][..LENGTH_BYTES + len];
                frame[..LENGTH_BYTES].copy_from_slice(&(len as u16).to_be_bytes()); // it was given room for no more
                frame[LENGTH_BYTES..].copy_from_slice(&exchange.reply[..len]);
                *written += frame.len();
                done.bytes += LENGTH_BYTES + exchange.query.len();
                done.queries += 1;
                done.kept |= exchange.kept;
            }
            exchanges.len()
        };
        let config = &config.take().value;
        let exchanges = &mut exchanges[..count];
        let signatures = pipeline::serve_counted(exchanges, config, worker, &visit.tally, now, room, send);
        Progress { signatures, ..done }
    }
}

impl Together {
    fn take(&mut self, visit: &Visit, query: &[u8], keepalive: u16) -> Option<Ticket> {
        if self.waiting.tickets.get() == 0 {
            self.asked.clear();
            self.answered_at = None;
            (self.looks, self.seen) = (0, 0);
        }
        let place = self.asked.len();
        if self.tally.as_ref().is_none_or(|tally| place == 0 && !Arc::ptr_eq(tally, &visit.tally)) {
            self.tally = Some(Arc::clone(&visit.tally));
        }
        let is_same = self.tally.as_ref().is_some_and(|tally| Arc::ptr_eq(tally, &visit.tally));
        if self.answered_at.is_some() || place == BATCH_MAX || !is_same {
            return None;
        }
        self.queries[place * HANDED_IN_MAX..][..query.len()].copy_from_slice(query);
        let Visit { client, transport, .. } = *visit;
        let (len, end) = (query.len(), End::Silent(Silence::Short));
        self.asked.push(Asked { client, transport, keepalive, len, end, kept: false, signatures: 0 });
        self.waiting.tickets.set(self.waiting.tickets.get() + 1);
        Some(Ticket { place, waiting: Rc::clone(&self.waiting) })
    }

    /// Whether others may have asked at the same time as the first one, which has this ticket, that have not been read.
    fn is_worth_a_look(&mut self, ticket: &Ticket) -> bool {
        let count = self.asked.len();
        let have_company = self.alone < ALONE_MAX || self.alone.is_multiple_of(ALONE_BETWEEN_LOOKS);
        let is_open = ticket.place == 0 && self.answered_at.is_none() && count < BATCH_MAX;
        // The last look found some, or there was none.
        let worth = is_open && have_company && self.looks < LOOKS_MAX && count > self.seen;
        if worth {
            self.looks += 1;
            self.seen = count;
        }
        worth
    }

    /// Hot: once for what came on several connections at once. No allocation.
    fn answer(&mut self, config: &Config, worker: &mut pipeline::Worker) -> Now {
        let now = Now::read(&config.clock);
        self.alone = if self.asked.len() > 1 { 0 } else { self.alone.wrapping_add(1) };
        match self.asked.len() {
            1 => self.answer_up_to::<1>(config, worker, now),
            2..=4 => self.answer_up_to::<4>(config, worker, now),
            5..=8 => self.answer_up_to::<8>(config, worker, now),
            _ => self.answer_up_to::<BATCH_MAX>(config, worker, now),
        }
        now
    }

    /// The same for `SIZE` queries at most.
    fn answer_up_to<const SIZE: usize>(&mut self, config: &Config, worker: &mut pipeline::Worker, now: Now) {
        let Together { asked, tally, queries, replies, .. } = self;
        let (Some(first), Some(tally)) = (asked.first(), tally) else { return };
        let mut rooms = replies.chunks_exact_mut(REPLY_BYTES);
        let mut exchanges: [Exchange<'_>; SIZE] = std::array::from_fn(|place| {
            let reply = rooms.next().and_then(|room| room.get_mut(LENGTH_BYTES..LENGTH_BYTES + TCP_ANSWER_MAX));
            let Asked { client, transport, keepalive, len, .. } = *asked.get(place).unwrap_or(first);
            let query = &queries[place * HANDED_IN_MAX..][..len];
            let exchange = Exchange::new(client, transport, query, reply.unwrap_or_default());
            Exchange { keepalive: Some(keepalive), ..exchange }
        });
        let all = &mut exchanges[..asked.len().min(SIZE)];
        pipeline::serve_counted(all, config, worker, tally, now, Room::ALL, |all| all.len());
        for (one, exchange) in asked.iter_mut().zip(&exchanges) {
            (one.end, one.kept, one.signatures) = (exchange.end, exchange.kept, exchange.signatures);
        }
        for (one, room) in asked.iter().zip(replies.chunks_exact_mut(REPLY_BYTES)) {
            if let End::Reply { len, .. } = one.end {
                room[..LENGTH_BYTES].copy_from_slice(&(len as u16).to_be_bytes()); // it was given room for no more
            }
        }
    }

    fn answered(&self, ticket: &Ticket, at: Now) -> Answered<'_> {
        let Asked { end, kept, signatures, .. } = self.asked[ticket.place];
        let len = if let End::Reply { len, .. } = end { LENGTH_BYTES + len } else { 0 };
        Answered { frame: &self.replies[ticket.place * REPLY_BYTES..][..len], kept, signatures, at }
    }
}

/// The complete queries at the front of what arrived.
struct Frames<'i>(&'i [u8]);

impl Frames<'_> {
    fn length(&self) -> Option<usize> {
        self.0.first_chunk::<LENGTH_BYTES>().map(|length| usize::from(u16::from_be_bytes(*length)))
    }

    /// What there is to be done where no complete query is in front.
    fn then(&self) -> Then {
        // It can never be complete in our buffer.
        let is_too_long = self.length().is_some_and(|length| length + LENGTH_BYTES > INPUT_MAX);
        if is_too_long { Then::Close } else { Then::Wait }
    }
}

impl<'i> Iterator for Frames<'i> {
    type Item = &'i [u8];

    fn next(&mut self) -> Option<&'i [u8]> {
        let query = self.0.get(LENGTH_BYTES..LENGTH_BYTES + self.length()?)?;
        self.0 = &self.0[LENGTH_BYTES + query.len()..];
        Some(query)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Instant;

    use bartizan_authority::{NameContent, Proxied, RecordSet, ZoneFacts, Zones};
    use bartizan_live::Live;
    use bartizan_names::{Name, RecordType, ZoneName};
    use bartizan_signer::{
        Algorithm, Announcement, Denial, Duties, PrivateKey, Role, Validity, ZoneKey, ZoneKeys, generate,
    };
    use bartizan_wire::dns::{Class, Edns, write_query};

    use super::super::Worker;
    use super::*;
    use crate::counters::Counters;
    use crate::pipeline::Transport;

    /// A query that is refused: there is no zone. Its answer is as long.
    const QUERY: &[u8] = b"\0\x13\0\x07\0\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

    /// A batch ends with the answer that goes beyond what a write may hold; those behind it are not made yet.
    #[test]
    fn no_answer_is_made_twice() {
        let live = Live::new(Config::default());
        let counters = Counters::default();
        let worker = Worker::new(Vec::new(), Vec::new(), live.reader(), &counters, Default::default()).unwrap();
        let (_, _, shared) = worker.open();
        let client = ([192, 0, 2, 1], 53_000).into();
        let tally = Arc::clone(shared.tallies.of(Transport::Tcp, [192, 0, 2, 1].into()));
        let visit = Visit { shared: std::rc::Rc::clone(&shared), client, transport: Transport::Tcp, tally };
        let desk = &mut *shared.desk.borrow_mut();
        let input = QUERY.repeat(10);
        desk.input[..input.len()].copy_from_slice(&input);
        let now = Now { unix: 0, is_doubted: false, monotonic: Instant::now() };
        desk.written = OUTPUT_MAX - 50;
        let made = |desk: &Desk| desk.replies.chunks_exact(REPLY_BYTES).filter(|reply| reply[1] != 0).count();
        let first = desk.answer_batch(&visit, 0..input.len(), SIGNATURES_MAX, 0, now);
        assert_eq!((first.queries, first.bytes, first.then), (3, 3 * QUERY.len(), Then::Full));
        assert_eq!((made(desk), desk.written), (3, OUTPUT_MAX - 50 + 3 * QUERY.len()));
        desk.replies.fill(0);
        desk.written = 0;
        let rest = desk.answer_batch(&visit, first.bytes..input.len(), SIGNATURES_MAX, 0, now);
        assert_eq!((rest.queries, rest.then, made(desk)), (7, Then::Wait, 7));
    }

    /// Whoever asks one thing at a time collects the answer to it, whoever else asked meanwhile.
    #[test]
    fn what_comes_at_the_same_time_is_answered_together() {
        let live = Live::new(Config::default());
        let counters = Counters::default();
        let worker = Worker::new(Vec::new(), Vec::new(), live.reader(), &counters, Default::default()).unwrap();
        let (_, _, shared) = worker.open();
        let visit = |transport| {
            let client = ([192, 0, 2, 1], 53_000).into();
            let tally = Arc::clone(shared.tallies.of(transport, [192, 0, 2, 1].into()));
            Visit { shared: Rc::clone(&shared), client, transport, tally }
        };
        let (tcp, tls) = (visit(Transport::Tcp), visit(Transport::Tls));
        let desk = &mut *shared.desk.borrow_mut();
        let hand_in = |desk: &mut Desk, visit: &Visit, input: &[u8]| {
            desk.input[..input.len()].copy_from_slice(input);
            desk.hand_in(visit, input.len(), 300)
        };
        let query = |id: usize| {
            let mut query = QUERY.to_vec();
            query[2..4].copy_from_slice(&(id as u16).to_be_bytes());
            query
        };
        let too_long = [&[2, 1][..], &[0; 0x201]].concat();
        for input in [&QUERY[..5], &[QUERY, QUERY].concat(), &[QUERY, b"\0"].concat(), &too_long] {
            assert!(hand_in(desk, &tcp, input).is_none(), "{input:?} is not one query that is short");
        }
        for count in [1, 3, BATCH_MAX] {
            let tickets: Vec<Ticket> = (0..count).map(|id| hand_in(desk, &tcp, &query(id)).unwrap()).collect();
            assert!(hand_in(desk, &tls, QUERY).is_none(), "it is counted apart");
            assert!(count < BATCH_MAX || hand_in(desk, &tcp, QUERY).is_none(), "there is no room");
            for (id, ticket) in tickets.iter().enumerate().rev() {
                let Answered { frame, kept, signatures, .. } = desk.collect(ticket);
                assert_eq!((&frame[2..4], frame.len()), (&(id as u16).to_be_bytes()[..], QUERY.len()));
                assert_eq!((frame[5] & 0xf, kept, signatures), (5, false, 0), "it is refused");
            }
            assert!(hand_in(desk, &tcp, QUERY).is_none(), "others have not collected");
        }
        // Nor does it hold up anybody who went without.
        drop(hand_in(desk, &tcp, QUERY));
        let alone = hand_in(desk, &tls, &query(7)).unwrap();
        assert_eq!(desk.collect(&alone).frame[2..4], [0, 7]);
        drop(alone);
        let answer = hand_in(desk, &tcp, b"\0\x0c\0\x07\x80\0\0\0\0\0\0\0\0\0").unwrap();
        assert_eq!(desk.collect(&answer).frame, b"", "an answer gets none");
    }

    /// Counts how often it is called.
    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Who is first looks what else came as long as that finds something, and wakes the others. Who is alone does not look.
    #[test]
    fn who_had_company_looks_for_more() {
        let live = Live::new(Config::default());
        let counters = Counters::default();
        let worker = Worker::new(Vec::new(), Vec::new(), live.reader(), &counters, Default::default()).unwrap();
        let (_, _, shared) = worker.open();
        let client = ([192, 0, 2, 1], 53_000).into();
        let tally = Arc::clone(shared.tallies.of(Transport::Tcp, [192, 0, 2, 1].into()));
        let visit = Visit { shared: Rc::clone(&shared), client, transport: Transport::Tcp, tally };
        let desk = &mut *shared.desk.borrow_mut();
        let hand_in = |desk: &mut Desk| {
            desk.input[..QUERY.len()].copy_from_slice(QUERY);
            desk.hand_in(&visit, QUERY.len(), 300).unwrap()
        };
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        let mut cx = Context::from_waker(&waker);
        let called = || calls.0.load(Ordering::Relaxed);
        let first = hand_in(desk);
        first.wait(&cx);
        assert_eq!(called(), 1, "it is called again itself");
        assert!(desk.is_to_wait(&first, &mut cx));
        assert_eq!(called(), 2, "and when it has looked");
        assert!(!desk.is_to_wait(&first, &mut cx), "nothing more came");
        let second = hand_in(desk);
        second.wait(&cx);
        assert!(!desk.is_to_wait(&second, &mut cx) && called() == 2, "the first one looks");
        assert!(desk.is_to_wait(&first, &mut cx) && !desk.is_to_wait(&first, &mut cx));
        assert_eq!((desk.collect(&first).frame.len(), called()), (QUERY.len(), 3));
        drop(first);
        assert_eq!((desk.collect(&second).frame.len(), called()), (QUERY.len(), 4), "the second one is called");
        drop(second);
        let mut looks = |count| {
            let alone = |_: &u32| {
                let ticket = hand_in(desk);
                let waits = desk.is_to_wait(&ticket, &mut cx);
                desk.collect(&ticket);
                waits
            };
            (0..count).filter(alone).count()
        };
        assert_eq!([looks(ALONE_MAX), looks(ALONE_BETWEEN_LOOKS - ALONE_MAX), looks(1)], [ALONE_MAX as usize, 0, 1]);
        // Whoever ends keeps nobody waiting.
        let (first, second) = (hand_in(desk), hand_in(desk));
        second.wait(&cx);
        let before = called();
        drop(first);
        assert_eq!((called(), desk.collect(&second).frame.len()), (before + 1, QUERY.len()));
    }

    /// A zone of which every name has an address.
    pub(in super::super) fn signed() -> Config {
        let zone = ZoneName::new(Name::parse("signed").unwrap()).unwrap();
        let made = generate(Role::Csk, Algorithm::EcdsaP256Sha256).unwrap();
        let private = PrivateKey::sealed(b"", &made.pkcs8, Arc::new(|_, bytes| Some(bytes.to_vec())));
        let duties = Duties { published: true, signs: true, announced: true };
        let key = ZoneKey { public: made.public, duties, private: Some(private) };
        let keys = ZoneKeys::new(vec![key], Denial::Compact, Announcement::Keys, Validity::default()).unwrap();
        let mut edit = Zones::empty().edit();
        edit.put_zone(ZoneFacts { dnssec: Some(Arc::new(keys)), ..ZoneFacts::new(zone.clone()) });
        let sets = vec![RecordSet { rtype: RecordType::A, ttl: 60, rdata: vec![vec![192, 0, 2, 1]] }];
        edit.put_name(&zone, &Name::parse("*.signed").unwrap(), NameContent { sets, proxied: Proxied::Never });
        Config { zones: edit.finish(), ..Config::default() }
    }

    /// A query with its length for a signed answer that nobody asked for before.
    pub(in super::super) fn signed_query(number: usize) -> Vec<u8> {
        let owner = Name::parse(&format!("n{number}.signed")).unwrap();
        let edns = Edns { dnssec_ok: true, ..Edns::of_size(1232) };
        let query = write_query(1, &owner, RecordType::A, Class::IN, Some(edns));
        [&(query.len() as u16).to_be_bytes()[..], &query].concat()
    }

    /// What takes long is a turn sooner: a few signatures are enough for a write, and kept ones are none.
    #[test]
    fn signatures_are_made_a_few_at_a_time() {
        let live = Live::new(signed());
        let counters = Counters::default();
        let worker = Worker::new(Vec::new(), Vec::new(), live.reader(), &counters, Default::default()).unwrap();
        let (_, _, shared) = worker.open();
        let client = ([192, 0, 2, 1], 53_000).into();
        let tally = Arc::clone(shared.tallies.of(Transport::Tcp, [192, 0, 2, 1].into()));
        let visit = Visit { shared: std::rc::Rc::clone(&shared), client, transport: Transport::Tcp, tally };
        let desk = &mut *shared.desk.borrow_mut();
        let input: Vec<u8> = (0..40).flat_map(signed_query).collect();
        let turns = |desk: &mut Desk| {
            let (mut queries, mut turns, mut from) = (0, 0, 0);
            while queries < 40 {
                let rest = &input[from..];
                desk.input[..rest.len()].copy_from_slice(rest);
                let done = desk.answer(&visit, rest.len(), 0, Now::read(&bartizan_clock::Clock::default()));
                // An answer needs no more than two.
                assert!(done.signatures <= SIGNATURES_MAX + 1, "{done:?}");
                assert_eq!(done.then, if queries + done.queries < 40 { Then::Full } else { Then::Wait });
                (queries, turns, from) = (queries + done.queries, turns + 1, from + done.bytes);
            }
            turns
        };
        let turns_made = turns(desk);
        assert!(turns_made >= 40 / SIGNATURES_MAX, "{turns_made}");
        assert_eq!(turns(desk), 1, "they are kept");
    }
}
