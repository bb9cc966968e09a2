//! Connections, in the clear and over TLS: one thread, one current-thread runtime (RFC 7766, 7858).
//!
//! All complete queries in a connection's buffer are answered by one write, without delay (RFC 7766 §6.2.1.1). A
//! connection that completes no query for some time is closed; that time is longer for a client that asks for it (RFC
//! 7828), and shorter when there are many connections, and when there is no place left, whoever has completed none for
//! longest goes first (RFC 7766 §6.2.3). None lasts for ever, however busy it is (RFC 9210 §4.2).

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_authority::BATCH_MAX;
use bartizan_live::Reader;
use bartizan_quotas::{Ceiling, Door, Place, Rarely, Shares, Throttle};
use bartizan_tls::{Acceptor, ServerStream};
use bartizan_wire::dns::TCP_ANSWER_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{self, MissedTickBehavior};

use crate::counters::{Counters, Event, Family, Tally};
use crate::pipeline::{self, End, Exchange, Transport};
use crate::{Config, egress};

/// What a connection may send before we answer, lengths included: about a hundred pipelined queries. No useful query is
/// as long as this alone.
const INPUT_MAX: usize = 4_096;

/// What we collect for one write, before the answer that goes beyond it. A connection that asks for large answers
/// holds so much and one answer more.
const OUTPUT_MAX: usize = 65_536;

/// Room for one answer in a batch: an odd number of cache lines, so that answers do not compete for the same few
/// places of the cache.
const REPLY_BYTES: usize = 64 * (TCP_ANSWER_MAX.div_ceil(64) | 1);

/// Limits of connections, in number and in time.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at a time. With its buffer each holds some six kilobytes: eight megabytes in all.
    connections: usize,
    /// From one source. Resolvers need one or two (RFC 7766 §6.2.2); many may share an address.
    source: Ceiling,
    /// So many of a source are served in such a time. Others wait for their turn: whoever is in a hurry may be honest.
    turns: (u32, Duration),
    /// Whose connections take turns.
    takes_turns: fn(IpAddr) -> bool,
    /// How often a connection looks whether it has been used.
    tick: Duration,
    /// So many ticks without a complete query close a connection.
    idle_ticks: u32,
    /// The same for a client that asked how long it may stay. It is told this.
    idle_ticks_kept: u32,
    idle_ticks_crowded: u32,
    /// After so long it is closed, and its client opens another.
    life: Duration,
    /// How long a client may take to read what we write at once.
    write: Duration,
    /// And for its part of a TLS handshake.
    handshake: Duration,
}

/// "A few seconds" of silence are what RFC 7766 §6.2.3 recommends.
const LIMITS: Limits = Limits {
    connections: 1_024,
    // A handshake takes a few hundred microseconds of this thread: a source has 64 of them under way, and others come between.
    source: Ceiling { open: 256, per_second: u32::MAX, handshakes: 64 },
    turns: (500, Duration::from_secs(1)),
    // All programs of this machine are one source.
    takes_turns: |source| !source.to_canonical().is_loopback(),
    tick: Duration::from_secs(1),
    idle_ticks: 10,
    // A resolver that asks in this way has more to ask soon, or none of its own would be kept.
    idle_ticks_kept: 30,
    idle_ticks_crowded: 1,
    // So rare that its cost does not count, and short enough that no client stays for days with what was true at its start.
    life: Duration::from_secs(30 * 60),
    write: Duration::from_secs(10),
    handshake: Duration::from_secs(10),
};

/// DNS over TLS in ALPN (RFC 7301; IANA).
const ALPN: &[u8] = b"dot";

/// For what no client did.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A pause after an error of the system when accepting, for instance when there are no file descriptors left.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Listeners of this plane, before their thread runs.
pub(crate) struct Worker {
    listeners: Vec<(StdListener, Transport)>,
    config: Reader<Config>,
    tallies: Tallies,
    runtime: tokio::runtime::Runtime,
    limits: Limits,
    signatures: bartizan_signer::Limits,
}

/// For each transport and family.
struct Tallies {
    tcp: [Arc<Tally>; 2],
    tls: [Arc<Tally>; 2],
}

impl Tallies {
    fn of(&self, transport: Transport, peer: IpAddr) -> &Arc<Tally> {
        let tallies = if transport == Transport::Tls { &self.tls } else { &self.tcp };
        &tallies[usize::from(!peer.is_ipv4())]
    }
}

/// What all connections of the thread use in turn.
struct Shared {
    answering: RefCell<Answering>,
    tallies: Tallies,
    acceptor: Acceptor,
    door: Door,
    turns: Throttle,
    limits: Limits,
}

/// Held while a batch is answered, never across an `.await`.
struct Answering {
    config: Reader<Config>,
    worker: Box<pipeline::Worker>,
    replies: Box<[u8]>,
}

impl Worker {
    pub(crate) fn new(
        tcp: Vec<StdListener>,
        tls: Vec<StdListener>,
        config: Reader<Config>,
        counters: &Counters,
        signatures: bartizan_signer::Limits,
    ) -> io::Result<Worker> {
        let tcp = tcp.into_iter().map(|listener| (listener, Transport::Tcp));
        let listeners: Vec<_> = tcp.chain(tls.into_iter().map(|listener| (listener, Transport::Tls))).collect();
        for (listener, _) in &listeners {
            listener.set_nonblocking(true)?;
        }
        let both = |transport| [Family::V4, Family::V6].map(|family| counters.worker(transport, family));
        let share = Shares::of(bartizan_net::descriptors_max()).dns;
        Ok(Worker {
            listeners,
            config,
            tallies: Tallies { tcp: both(Transport::Tcp), tls: both(Transport::Tls) },
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            limits: Limits { connections: LIMITS.connections.min(share), ..LIMITS },
            signatures,
        })
    }

    /// Accepts and answers until `stopped` resolves; then all connections are dropped.
    pub(crate) fn run(self, stopped: oneshot::Receiver<()>) {
        let shared = Rc::new(Shared {
            answering: RefCell::new(Answering {
                config: self.config,
                worker: Box::new(pipeline::Worker::new(self.signatures)),
                replies: vec![0; REPLY_BYTES * BATCH_MAX].into(),
            }),
            tallies: self.tallies,
            acceptor: Acceptor::new(&[ALPN]),
            door: Door::single(self.limits.connections, self.limits.source, Instant::now()),
            turns: Throttle::new(self.limits.turns.0, self.limits.turns.1),
            limits: self.limits,
        });
        let local = LocalSet::new();
        for (listener, transport) in self.listeners {
            local.spawn_local(accept(listener, transport, Rc::clone(&shared)));
        }
        // An error means that the plane was dropped, which is an end too.
        let _ = self.runtime.block_on(local.run_until(stopped));
    }
}

async fn accept(listener: StdListener, transport: Transport, shared: Rc<Shared>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot accept DNS connections"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                admit(stream, peer, transport, &shared);
                if shared.door.is_full() {
                    // Whoever had to go closes its socket first.
                    tokio::task::yield_now().await;
                }
            }
            Err(error) => {
                static FAILED: Rarely = Rarely::new();
                if let Some(times) = FAILED.turn() {
                    tracing::warn!(%error, times, "a DNS connection cannot be accepted");
                }
                shared.tallies.of(transport, NOBODY).add(Event::ReceiveFailed, 1);
                time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

fn admit(stream: TcpStream, client: SocketAddr, transport: Transport, shared: &Rc<Shared>) {
    let peer = client.ip();
    let tally = Arc::clone(shared.tallies.of(transport, peer));
    let place = match shared.door.enter(peer, Instant::now()) {
        Ok(place) => place,
        Err(over) => {
            tally.refused(over);
            // Fails only on a socket that is gone already.
            let _ = stream.set_zero_linger();
            return;
        }
    };
    tally.add(Event::Connection, 1);
    let takes_turns = (shared.limits.takes_turns)(peer);
    let wait = if takes_turns { shared.turns.turn(peer, Instant::now()) } else { Duration::ZERO };
    if !wait.is_zero() {
        tally.add(Event::ConnectionDelayed, 1);
    }
    let visit = Visit { shared: Rc::clone(shared), client, transport, tally };
    tokio::task::spawn_local(visit.run(stream, place, wait));
}

/// A client that has a place.
struct Visit {
    shared: Rc<Shared>,
    client: SocketAddr,
    transport: Transport,
    tally: Arc<Tally>,
}

struct Connection<S> {
    visit: Visit,
    stream: S,
    /// Complete queries since the connection began.
    answered: u64,
    /// The client was told how long it may be silent.
    kept: bool,
}

/// Why a connection ends.
enum Closed {
    /// By the client, or by an error of the network.
    Theirs,
    Ours,
    /// Its place was needed.
    Displaced,
}

impl Visit {
    /// Serves it after that time, in which it has its place.
    async fn run(self, stream: TcpStream, place: Place, wait: Duration) {
        // Pipelined answers would otherwise wait for acknowledgements: 40 ms a round.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        match self.transport {
            // In a box, so that others have no room for it.
            Transport::Tls => Box::pin(self.run_tls(stream, place, wait)).await,
            _ => {
                Connection::new(self, stream).stay(&place, wait).await;
            }
        }
    }

    async fn run_tls(self, stream: TcpStream, place: Place, wait: Duration) {
        let shaken = tokio::select! {
            biased;
            () = place.displaced() => return self.tally.add(Event::ConnectionDisplaced, 1),
            shaken = self.shake_hands(stream, wait) => shaken,
        };
        let Some(stream) = shaken else { return };
        let limit = self.shared.limits.tick;
        let mut connection = Connection::new(self, stream);
        match connection.stay(&place, Duration::ZERO).await {
            Closed::Displaced => {}
            // A client is told that it has had all (RFC 8446 §6.1), if it listens.
            Closed::Theirs | Closed::Ours => drop(time::timeout(limit, connection.stream.shutdown()).await),
        }
    }

    /// TLS with a client; none if it does not come about.
    async fn shake_hands(&self, stream: TcpStream, wait: Duration) -> Option<ServerStream<TcpStream>> {
        if !wait.is_zero() {
            time::sleep(wait).await;
        }
        let _permit = match self.shared.door.shake_hands(self.client.ip(), Instant::now()) {
            Ok(permit) => permit,
            Err(over) => {
                self.tally.refused(over);
                // Fails only on a socket that is gone already.
                let _ = stream.set_zero_linger();
                return None;
            }
        };
        let certificates = self.shared.answering.borrow_mut().config.take().value.certificates.clone();
        let handshake = self.shared.acceptor.accept(stream, &certificates);
        match time::timeout(self.shared.limits.handshake, handshake).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::trace!(client = %self.client, %error, "handshake failed"),
            Err(_) => {}
        }
        self.tally.add(Event::HandshakeFailed, 1);
        None
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(visit: Visit, stream: S) -> Connection<S> {
        Connection { visit, stream, answered: 0, kept: false }
    }

    /// Serves it after that time until one of the two has enough, and counts how it ended before the other side sees it.
    async fn stay(&mut self, place: &Place, wait: Duration) -> Closed {
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
        if !wait.is_zero() {
            time::sleep(wait).await;
        }
        let mut input = Box::new([0; INPUT_MAX]);
        let mut filled = 0;
        let mut output = Vec::new();
        let mut idle = Idle::default();
        let Limits { life, tick, .. } = self.visit.shared.limits;
        let end = Instant::now() + life;
        let mut ticks = time::interval_at(time::Instant::now() + tick, tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                read = self.stream.read(&mut input[filled..]) => match read {
                    Ok(0) | Err(_) => return Closed::Theirs,
                    Ok(count) => filled += count,
                },
                _ = ticks.tick() => {
                    if idle.tick(self.answered) >= self.patience(self.kept) || Instant::now() >= end {
                        return Closed::Ours;
                    }
                    continue;
                }
            }
            let answered = self.answered;
            if let ControlFlow::Break(closed) = self.answer_all(&mut input[..], &mut filled, &mut output).await {
                return closed;
            }
            let now = Instant::now();
            if self.answered > answered {
                place.rest(now);
            }
            // Whoever always has more to say lets no tick pass.
            if now >= end {
                return Closed::Ours;
            }
        }
    }

    /// How many ticks may pass without a complete query.
    fn patience(&self, kept: bool) -> u32 {
        let limits = &self.visit.shared.limits;
        match (self.visit.shared.door.is_crowded(), kept) {
            (true, _) => limits.idle_ticks_crowded,
            (false, true) => limits.idle_ticks_kept,
            (false, false) => limits.idle_ticks,
        }
    }

    /// What a client is told of it, in tenths of a second.
    fn keepalive(&self) -> u16 {
        let patience = self.visit.shared.limits.tick.saturating_mul(self.patience(true));
        u16::try_from(patience.as_millis() / 100).unwrap_or(u16::MAX)
    }

    /// Answers every complete query in `input[..filled]` and moves what is left to the front.
    async fn answer_all(&mut self, input: &mut [u8], filled: &mut usize, output: &mut Vec<u8>) -> ControlFlow<Closed> {
        let mut done = 0;
        loop {
            let keepalive = self.keepalive();
            let batch = self.visit.answer_batch(keepalive, &input[done..*filled], output);
            done += batch.bytes;
            self.answered += batch.queries;
            self.kept |= batch.kept;
            if !output.is_empty() {
                self.write(output).await?;
            }
            match batch.then {
                Then::More => {}
                Then::Wait => break,
                Then::Close => return ControlFlow::Break(Closed::Ours),
            }
        }
        input.copy_within(done..*filled, 0);
        *filled -= done;
        ControlFlow::Continue(())
    }

    async fn write(&mut self, output: &mut Vec<u8>) -> ControlFlow<Closed> {
        let writing = async {
            self.stream.write_all(output).await?;
            // TLS keeps what does not fill a record.
            self.stream.flush().await
        };
        let written = time::timeout(self.visit.shared.limits.write, writing).await;
        output.clear();
        // Between answers a connection holds no more than a small one needs.
        output.shrink_to(INPUT_MAX);
        match written {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => ControlFlow::Break(Closed::Theirs),
            Err(_) => ControlFlow::Break(Closed::Ours),
        }
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

/// What became of the beginning of an input.
struct Batch {
    /// So much of it has been dealt with.
    bytes: usize,
    queries: u64,
    /// The client asked how long it may be silent.
    kept: bool,
    then: Then,
}

/// What a connection does after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// There may be more complete queries.
    More,
    /// The next query is not complete.
    Wait,
    /// The next query is longer than any real one.
    Close,
}

impl Visit {
    /// Answers the queries at the front of `input`, up to a batch or to what one write may hold.
    ///
    /// Hot: once for what a client sent at once.
    fn answer_batch(&self, keepalive: u16, input: &[u8], output: &mut Vec<u8>) -> Batch {
        let mut answering = self.shared.answering.borrow_mut();
        let Answering { config, worker, replies } = &mut *answering;
        let mut frames = Frames(input);
        let mut exchanges: [Exchange<'_>; BATCH_MAX] = {
            let mut replies = replies.chunks_exact_mut(REPLY_BYTES);
            std::array::from_fn(|_| {
                let reply = replies.next().and_then(|reply| reply.get_mut(..TCP_ANSWER_MAX)).unwrap_or_default();
                Exchange { keepalive: Some(keepalive), ..Exchange::new(self.client, self.transport, &[], reply) }
            })
        };
        let mut count = 0;
        for (exchange, query) in exchanges.iter_mut().zip(&mut frames) {
            exchange.query = query;
            count += 1;
        }
        let mut then = match count {
            BATCH_MAX => Then::More,
            _ if frames.is_too_long() => Then::Close,
            _ => Then::Wait,
        };
        let mut bytes = 0;
        let mut written = 0;
        let mut kept = false;
        pipeline::serve_counted(&mut exchanges[..count], &config.take().value, worker, &self.tally, |exchanges| {
            for exchange in exchanges {
                match exchange.end {
                    End::Silent(_) => {
                        then = Then::Close;
                        return written + 1;
                    }
                    // What is not written now is answered again when the client has read this, and counted then.
                    End::Reply { len, .. } if written > 0 && output.len() + len > OUTPUT_MAX => {
                        then = Then::More;
                        break;
                    }
                    End::Reply { len, .. } => egress::push_frame(output, &exchange.reply[..len]),
                }
                bytes += LENGTH_BYTES + exchange.query.len();
                kept |= exchange.kept;
                written += 1;
            }
            written
        });
        Batch { bytes, queries: written as u64, kept, then }
    }
}

/// The length in front of each query.
const LENGTH_BYTES: usize = 2;

/// The complete queries at the front of what arrived.
struct Frames<'i>(&'i [u8]);

impl Frames<'_> {
    fn length(&self) -> Option<usize> {
        self.0.first_chunk::<LENGTH_BYTES>().map(|length| usize::from(u16::from_be_bytes(*length)))
    }

    /// Whether the next query can never be complete in our buffer.
    fn is_too_long(&self) -> bool {
        self.length().is_some_and(|length| length + LENGTH_BYTES > INPUT_MAX)
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
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::thread::{self, JoinHandle};

    use bartizan_live::Live;
    use bartizan_net::{Sharing, tcp};
    use bartizan_observed::Measured;
    use socket2::{Domain, Socket, Type};

    use super::*;

    /// A query that is refused: there is no zone.
    const QUERY: &[u8] = b"\0\x13\0\x07\0\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

    /// A worker with limits that a test can reach.
    struct Server {
        address: SocketAddr,
        /// Where it speaks TLS.
        tls: SocketAddr,
        counters: Counters,
        stop: oneshot::Sender<()>,
        thread: JoinHandle<()>,
    }

    impl Server {
        fn start(limits: Limits) -> Server {
            let live = Live::new(Config::default());
            let listener = tcp("127.0.0.1:0".parse().unwrap(), Sharing::Exclusive).unwrap();
            let address = listener.local_addr().unwrap();
            let counters = Counters::default();
            let tls_listener = tcp("127.0.0.1:0".parse().unwrap(), Sharing::Exclusive).unwrap();
            let tls = tls_listener.local_addr().unwrap();
            let mut worker =
                Worker::new(vec![listener], vec![tls_listener], live.reader(), &counters, Default::default()).unwrap();
            worker.limits = limits;
            let (stop, stopped) = oneshot::channel();
            Server { address, tls, counters, stop, thread: thread::spawn(|| worker.run(stopped)) }
        }

        fn connect(&self) -> TcpStream {
            self.connect_from(1)
        }

        /// From 127.0.0.`source`.
        fn connect_from(&self, source: u8) -> TcpStream {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, source], 0)).into()).unwrap();
            socket.connect(&self.address.into()).unwrap();
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        }

        fn connect_to_tls(&self) -> TcpStream {
            let stream = TcpStream::connect(self.tls).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        }

        fn counted(&self, outcome: &str) -> u64 {
            let metrics = self.counters.measure();
            metrics
                .iter()
                .flat_map(|metric| &metric.samples)
                .filter(|sample| sample.labels.iter().any(|(_, value)| value == outcome))
                .map(|sample| sample.value)
                .sum()
        }

        fn stop(self) {
            drop(self.stop);
            self.thread.join().unwrap();
        }
    }

    fn ask(stream: &mut TcpStream) {
        stream.write_all(QUERY).unwrap();
        let mut answer = [0; QUERY.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[5] & 0x0f, 5);
    }

    fn wait_for_the_end(stream: &mut TcpStream) {
        // An end or a reset: the other side is gone.
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let server = Server::start(Limits { connections: 4, ..LIMITS });
        let mut first = server.connect_from(1);
        ask(&mut first);
        let mut second = server.connect_from(1);
        ask(&mut second);
        // It has as many as are left free, so one more costs it its own, the one that has not asked for longest.
        ask(&mut first);
        let mut third = server.connect_from(1);
        ask(&mut third);
        wait_for_the_end(&mut second);
        // Newcomers have places left, and when all are taken, that of the idlest of all.
        let asking = |source| {
            let mut stream = server.connect_from(source);
            ask(&mut stream);
            stream
        };
        let mut others: Vec<TcpStream> = (2..5).map(asking).collect();
        wait_for_the_end(&mut first);
        [&mut third].into_iter().chain(&mut others).for_each(ask);
        assert_eq!((server.counted("displaced"), server.counted("closed_by_us")), (2, 0));
        server.stop();
    }

    /// A source that has as many as it may have is refused, with a reset, if none of them rests; others are not.
    #[test]
    fn a_source_has_a_ceiling() {
        let source = Ceiling { open: 0, ..LIMITS.source };
        let server = Server::start(Limits { source, ..LIMITS });
        let error = server.connect_from(1).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(server.counted("source_open"), 1);
        server.stop();
    }

    /// Who comes too often waits for its turn, and is not refused. Others do not wait, nor does this machine itself.
    #[test]
    fn who_comes_often_waits() {
        let once = Limits { turns: (1, Duration::from_secs(3_600)), ..LIMITS };
        let server = Server::start(Limits { takes_turns: |_| true, ..once });
        ask(&mut server.connect_from(1));
        let mut late = server.connect_from(1);
        late.write_all(QUERY).unwrap();
        ask(&mut server.connect_from(2));
        // It came before the other one, and is there still.
        assert_eq!((server.counted("delayed"), server.counted("accepted")), (1, 3));
        late.set_nonblocking(true).unwrap();
        assert_eq!(late.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        server.stop();
        let server = Server::start(once);
        (0..3).for_each(|_| ask(&mut server.connect_from(1)));
        assert_eq!(server.counted("delayed"), 0);
        server.stop();
        let server = Server::start(Limits { takes_turns: |_| true, turns: (50, Duration::from_secs(1)), ..LIMITS });
        (0..60).for_each(|_| ask(&mut server.connect_from(1)));
        server.stop();
    }

    #[test]
    fn who_completes_no_query_is_closed() {
        let short = Limits { tick: Duration::from_millis(20), ..LIMITS };
        for (limits, sent) in [
            (Limits { idle_ticks: 2, ..short }, &b""[..]),
            // A byte now and then does not count: the query is never complete.
            (Limits { idle_ticks: 2, ..short }, &QUERY[..9]),
            // None lasts for ever.
            (Limits { idle_ticks: u32::MAX, life: Duration::from_millis(50), ..short }, b""),
            // Patience for hours, but not when places are scarce.
            (Limits { idle_ticks: u32::MAX, idle_ticks_crowded: 2, connections: 1, ..short }, b""),
        ] {
            let server = Server::start(limits);
            let mut stream = server.connect();
            // On a busy machine it may be closed before we write; that is the same end.
            let _ = stream.write_all(sent);
            wait_for_the_end(&mut stream);
            assert_eq!(server.counted("closed_by_us"), 1);
            server.stop();
        }
    }

    /// A client that begins no handshake, or does not go on with it, or has something else to say.
    #[test]
    fn who_does_not_shake_hands_is_closed() {
        // A record that is to have 512 bytes (RFC 8446 §5.1).
        for sent in [&b""[..], b"\x16\x03\x01\x02\0\x01", QUERY] {
            let server = Server::start(Limits { handshake: Duration::from_millis(50), ..LIMITS });
            let mut stream = server.connect_to_tls();
            let _ = stream.write_all(sent);
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            let counters = server.counters.clone();
            server.stop();
            let failed = counters.measure().into_iter().flat_map(|metric| metric.samples);
            let failed = failed.filter(|sample| sample.labels.iter().any(|(_, value)| value == "handshake_failed"));
            assert_eq!(failed.map(|sample| sample.value).sum::<u64>(), 1, "{sent:?}");
        }
    }

    #[test]
    fn handshakes_of_a_source_are_bounded() {
        let server = Server::start(Limits { source: Ceiling { handshakes: 0, ..LIMITS.source }, ..LIMITS });
        let error = server.connect_to_tls().read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(server.counted("source_handshakes"), 1);
        // In the clear it may ask.
        ask(&mut server.connect());
        server.stop();
    }

    /// Also whoever asks again and again.
    #[test]
    fn no_connection_lasts_for_ever() {
        let server = Server::start(Limits { life: Duration::from_millis(200), ..LIMITS });
        let mut stream = server.connect();
        let mut answer = [0; QUERY.len()];
        while stream.write_all(QUERY).is_ok() && stream.read_exact(&mut answer).is_ok() {}
        assert_eq!(server.counted("closed_by_us"), 1);
        server.stop();
    }

    /// Who asks how long it may be silent is told, and has that time; others have less.
    #[test]
    fn who_asks_to_stay_may() {
        let tick = Duration::from_millis(100);
        let server = Server::start(Limits { tick, idle_ticks: 3, idle_ticks_kept: u32::MAX, ..LIMITS });
        let (mut staying, mut other) = (server.connect(), server.connect());
        // An OPT record with the option, which has no data in a query.
        let mut query = QUERY.to_vec();
        (query[1], query[13]) = (query[1] + 15, 1);
        query.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0b\0\0");
        staying.write_all(&query).unwrap();
        let mut answer = [0; QUERY.len() + 11 + 6 + 6];
        staying.read_exact(&mut answer).unwrap();
        // 6,553.5 seconds is the most that can be told.
        assert!(answer.windows(6).any(|option| option == b"\0\x0b\0\x02\xff\xff"), "{answer:?}");
        ask(&mut other);
        wait_for_the_end(&mut other);
        ask(&mut staying);
        assert_eq!(server.counted("closed_by_us"), 1);
        server.stop();
    }

    #[test]
    fn who_does_not_read_is_closed() {
        let server = Server::start(Limits { write: Duration::from_millis(50), ..LIMITS });
        let mut stream = server.connect();
        // Until our answers fill all buffers on the way and we stop reading; then we are gone.
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        let many = QUERY.repeat(1_000);
        while stream.write_all(&many).is_ok() {}
        assert_eq!(server.counted("closed_by_us"), 1);
        server.stop();
    }

    #[test]
    fn idle_ticks_are_counted_from_the_last_query() {
        let mut idle = Idle::default();
        let counted: Vec<u32> = [0, 0, 1, 1, 1, 4, 4].into_iter().map(|answered| idle.tick(answered)).collect();
        assert_eq!(counted, [1, 2, 0, 1, 2, 0, 1]);
    }
}
