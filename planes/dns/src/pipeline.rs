//! The only way queries become answers. Read it to learn the order of the steps.
//!
//! ```text
//! port ─► parse ─┐                                  ┌─► options ─► cookie ─► find ─► rate ─► write ─┐
//! port ─► parse ─┼─ load what all of them ask for ──┼─► options ─► cookie ─► find ─► rate ─► write ─┼─ tap, send, count
//! port ─► parse ─┘  (waits for memory overlap)      └─► options ─► cookie ─► find ─► rate ─► write ─┘
//! ```
//! What is decided without records comes before the look-up ([`arrive`]), for all of a batch; the rest behind it
//! ([`leave`]), where a step may look at the answer. A step passes the exchange on or ends it, and calls no other.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Instant;

use bartizan_authority::{Authority, BATCH_MAX, Question, Scratch, Signing, Step, Trail};
use bartizan_clock::Clock;
use bartizan_dns_guard::{Held, Rates};
use bartizan_signer::{Limits, Signer};
use bartizan_wire::dns::{Added, Query, Rcode};

use crate::Config;
use crate::counters;
use crate::stage::rate::{Addressee, Counted};
use crate::stage::{admit, cookie, options, parse, write};
use crate::steer::{Steering, draw};
use crate::tap::{self, Meaning, Tap};

/// How a query came, which decides how long its answer may be (RFC 1035 §4.2.1, RFC 6891 §6.2.3, RFC 7766).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    /// RFC 7858.
    Tls,
    /// RFC 8484: in a request that another plane has.
    Https,
}

impl Transport {
    /// Whether nobody on the way reads what passes, but for how long it is.
    fn is_encrypted(self) -> bool {
        matches!(self, Transport::Tls | Transport::Https)
    }
}

/// One query, who sent it, and room for its answer.
#[derive(Debug)]
pub struct Exchange<'b> {
    pub client: SocketAddr,
    pub transport: Transport,
    pub query: &'b [u8],
    /// How long its connection may be silent if the client asks, in tenths of a second; none over UDP, where it would mean
    /// nothing (RFC 7828 §3.2.1).
    pub keepalive: Option<u16>,
    /// Whether it did, and was told.
    pub kept: bool,
    /// At least 512 bytes, so that every error fits; a shorter one may get no answer.
    pub reply: &'b mut [u8],
    pub end: End,
    /// How many signatures were made for it.
    pub signatures: u64,
}

impl<'b> Exchange<'b> {
    pub fn new(client: SocketAddr, transport: Transport, query: &'b [u8], reply: &'b mut [u8]) -> Exchange<'b> {
        let end = End::Silent(Silence::Short);
        Exchange { client, transport, query, keepalive: None, kept: false, reply, end, signatures: 0 }
    }
}

/// How an exchange ends, for who sends the answers.
///
/// What cannot be said at once gets a variant of its own here when there is something of the kind: an answer that comes
/// *later* (a query that was handed to another server, under a number by which the ingress finds the client again) and
/// one that is a *stream* of messages (a transfer). Over TCP, answers may leave in another order than queries came
/// (RFC 7766 §6.2.1.1), so neither holds up others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing must be sent.
    Silent(Silence),
    /// This many bytes of the reply are to be sent.
    Reply { len: usize, rcode: Rcode, truncated: bool },
}

/// Why a query gets no answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Too short to have an id that an answer could repeat, or no room for an answer.
    Short,
    /// It is an answer itself.
    Response,
    /// From a port at which something else answers whatever comes.
    Port,
    /// Its network has had all the answers that it may have without a proof of who asks.
    Rate,
}

/// When a batch is answered. Read once, and handed down: nothing below this plane has a clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Seconds since 1970, for what is said to others: what the process believes.
    pub unix: u64,
    /// Whether the clock says something else.
    pub is_doubted: bool,
    /// For what is measured here. It never goes back.
    pub monotonic: Instant,
}

impl Now {
    pub fn read(clock: &Clock) -> Now {
        let monotonic = Instant::now();
        let reading = clock.read_at(monotonic);
        Now { unix: reading.at().unix_seconds(), is_doubted: reading.doubt().is_some(), monotonic }
    }
}

/// What a thread that answers queries alone owns. Nothing in it is shared, so nothing waits.
#[derive(Debug)]
pub struct Worker {
    scratch: Scratch,
    added: Added,
    signing: Signing,
    rates: Rates,
    /// Of the numbers that servers are chosen by.
    draws: u64,
    /// When it began, from which it measures.
    began: Instant,
    /// Where it counts what was asked, if somebody wants to know.
    tap: Option<Tap>,
    /// What could not be counted there since the last look.
    untold: usize,
}

impl Worker {
    /// `signatures` is what it may keep and make of them.
    pub fn new(signatures: Limits) -> Worker {
        // Secret and random, as the hasher of the standard library has to be.
        let random = || RandomState::new().hash_one(());
        Worker {
            scratch: Scratch::default(),
            added: Added::default(),
            signing: Signing::new(Signer::new(random(), signatures)),
            rates: Rates::new([random(), random()]),
            draws: random(),
            began: Instant::now(),
            tap: None,
            untold: 0,
        }
    }

    /// Counts what is asked of it there.
    pub(crate) fn tapped(self, tap: Option<Tap>) -> Worker {
        Worker { tap, ..self }
    }

    /// What was held back so far because its network had enough.
    pub(crate) fn held(&self) -> &Held {
        self.rates.held()
    }
}

impl Default for Worker {
    fn default() -> Worker {
        Worker::new(Limits::default())
    }
}

/// How much is answered at once: up to what goes beyond it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Of all answers together.
    pub(crate) bytes: usize,
    /// New ones: each takes as long as ten answers.
    pub(crate) signatures: u64,
}

impl Room {
    pub(crate) const ALL: Room = Room { bytes: usize::MAX, signatures: u64::MAX };

    fn is_used_up(self) -> bool {
        self.bytes == 0 || self.signatures == 0
    }

    fn take(&mut self, bytes: usize, signatures: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.signatures = self.signatures.saturating_sub(signatures);
    }
}

/// Answers queries as far as there is room, hands those to `send`, and counts: those that it took, from the first one, and
/// what they cost. Gives how many signatures were made.
/// Every ingress comes this way, so that nothing is answered uncounted.
///
/// Hot: once a batch.
pub(crate) fn serve_counted(
    exchanges: &mut [Exchange<'_>],
    config: &Config,
    worker: &mut Worker,
    tally: &counters::Tally,
    now: Now,
    room: Room,
    send: impl FnOnce(&[Exchange<'_>]) -> usize,
) -> u64 {
    let answered = serve_within(exchanges, config, worker, now, room);
    let exchanges = &exchanges[..answered];
    let taken = send(exchanges);
    tally.add_ends(exchanges.iter().take(taken).map(|exchange| exchange.end));
    if now.is_doubted {
        tally.add(counters::Event::ClockDoubted, 1);
    }
    tally.add(counters::Event::Untold, std::mem::take(&mut worker.untold));
    let signed = worker.signing.signer.take_tally();
    tally.add_signed(signed);
    signed.made
}

/// Answers queries with one snapshot; each finds its end in its exchange.
///
/// Hot: once a batch. No allocation, no lock, no log.
pub fn serve(exchanges: &mut [Exchange<'_>], config: &Config, worker: &mut Worker, now: Now) {
    serve_within(exchanges, config, worker, now, Room::ALL);
}

/// The same as far as there is room. Gives how many were answered.
fn serve_within(
    exchanges: &mut [Exchange<'_>],
    config: &Config,
    worker: &mut Worker,
    now: Now,
    mut room: Room,
) -> usize {
    worker.signing.signer.set_time(now.unix, now.monotonic.saturating_duration_since(worker.began));
    let mut trail = Trail::off();
    match exchanges {
        // Who is asked seldom has nothing to overlap, and need not make room for it.
        [_] => serve_batch::<1>(exchanges, config, worker, now, &mut room, &mut trail),
        _ => exchanges
            .chunks_mut(BATCH_MAX)
            .map(|batch| serve_batch::<BATCH_MAX>(batch, config, worker, now, &mut room, &mut trail))
            .sum(),
    }
}

/// Answers one query on the same way, and tells what was decided.
pub(crate) fn trace(exchange: &mut Exchange<'_>, config: &Config, worker: &mut Worker, now: Now) -> Vec<Step> {
    let mut trail = Trail::on();
    worker.signing.signer.set_time(now.unix, now.monotonic.saturating_duration_since(worker.began));
    let mut room = Room::ALL;
    serve_batch::<1>(std::slice::from_mut(exchange), config, worker, now, &mut room, &mut trail);
    trail.into_steps()
}

/// Answers `SIZE` queries at most, until the answers fill the room. Gives how many.
fn serve_batch<const SIZE: usize>(
    batch: &mut [Exchange<'_>],
    config: &Config,
    worker: &mut Worker,
    now: Now,
    room: &mut Room,
    trail: &mut Trail,
) -> usize {
    let Worker { scratch, added, signing, rates, draws, began, tap, untold } = worker;
    let clock = now.monotonic.saturating_duration_since(*began).as_nanos() as u64; // 584 years
    let counted = Counted { limits: &config.limits, rates, clock };
    let mut turn = Turn { config, added, signing, trail, counted, draws, meaning: Meaning::default(), now };
    let outside = config.zones.has_aliases().then(|| config.outside.snapshot());
    let authority = Authority {
        zones: &config.zones,
        addresses: &config.addresses,
        outside: outside.as_ref().map(|outside| &outside.value),
        steer: None,
        identity: &config.identity,
    };
    let mut questions: [Option<Question<'_, '_>>; SIZE] = std::array::from_fn(|_| None);
    for ((exchange, question), place) in batch.iter_mut().zip(&mut questions).zip(scratch.places()) {
        match arrive(exchange, now) {
            ControlFlow::Continue(query) => *question = Some(authority.ask(query, place)),
            ControlFlow::Break(end) => exchange.end = turn.counted.admit_fault(exchange, end),
        }
    }
    let questions = &mut questions[..batch.len()];
    authority.load(questions);
    // What is asked alone has nothing to overlap.
    if SIZE > 1 {
        authority.load_signatures(questions, &turn.signing.signer);
        turn.counted.load(
            batch
                .iter()
                .zip(&*questions)
                .filter_map(|(exchange, question)| question.as_ref().map(|question| (exchange, question.place()))),
        );
    }
    let mut answered = 0;
    let mut meanings = [Meaning::default(); SIZE];
    for ((exchange, question), meaning) in batch.iter_mut().zip(&*questions).zip(&mut meanings) {
        if room.is_used_up() {
            break;
        }
        let made = turn.signing.signer.made();
        if let Some(question) = question {
            exchange.end = match leave(exchange, question, authority, &mut turn) {
                ControlFlow::Continue(end) | ControlFlow::Break(end) => end,
            };
            *meaning = std::mem::take(&mut turn.meaning);
        }
        let bytes = if let End::Reply { len, .. } = exchange.end { len } else { 0 };
        exchange.signatures = turn.signing.signer.made() - made;
        room.take(bytes, exchange.signatures);
        answered += 1;
    }
    if let Some(tap) = tap {
        *untold += tap::record(tap, &batch[..answered], questions, &meanings, &config.zones, now.monotonic);
    }
    answered
}

/// What the steps of a batch are given beside the exchange.
struct Turn<'w> {
    config: &'w Config,
    added: &'w mut Added,
    signing: &'w mut Signing,
    trail: &'w mut Trail,
    counted: Counted<'w>,
    draws: &'w mut u64,
    /// What the last answer means.
    meaning: Meaning,
    now: Now,
}

/// What is decided before anything is looked up.
fn arrive<'b>(exchange: &mut Exchange<'b>, now: Now) -> ControlFlow<End, Query<'b>> {
    admit::port(exchange)?; // may be silent: a port that no client asks from
    parse::query(exchange, now) // may answer: FORMERR, NOTIMP, BADVERS, NOTAUTH (TSIG); may be silent
}

/// What is decided with the records at hand.
fn leave<'c>(
    exchange: &mut Exchange<'_>,
    question: &Question<'_, 'c>,
    authority: Authority<'c>,
    turn: &mut Turn<'_>,
) -> ControlFlow<End, End> {
    let (head, transport, client) = (&question.query.head, exchange.transport, exchange.client.ip());
    let Turn { config, added, signing, trail, counted, draws, meaning, now } = turn;
    let asked = options::collect(exchange, head, authority.identity, added); // what the answer says in its OPT record
    let visitor = asked.subnet.and_then(|subnet| subnet.address()).unwrap_or(client);
    let steering = Steering::new(config, visitor, draw(draws));
    let authority = Authority { steer: Some(&steering), ..authority };
    let proof = cookie::check(asked.cookie, client, config.cookies.as_ref(), now.unix, added); // whether to believe the address
    let addressee = Addressee::of(exchange, proof);
    let Some(mut answer) = write::begin(exchange, head, added) else {
        return ControlFlow::Break(End::Silent(Silence::Short));
    };
    if head.edns.is_some_and(|edns| edns.dnssec_ok) {
        signing.signer.set_source(addressee.source()); // whose ration of new signatures it is
    }
    let verdict = authority.answer(question, signing, &mut answer, trail);
    *meaning = Meaning::of(&verdict); // also of what is not sent
    if steering.depends_on_client() {
        answer.narrow(); // others are told something else
    }
    let verdict = counted.admit(addressee, &mut answer, verdict)?; // may shorten it: TC, BADCOOKIE; may be silent
    if asked.padding && transport.is_encrypted() {
        answer.pad(); // RFC 7830 §4, 8467 §4.1
    }
    ControlFlow::Continue(write::end(&mut answer, verdict, transport))
}
