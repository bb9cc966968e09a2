//! Connections, in the clear and over TLS: one thread, one current-thread runtime (RFC 7766, 7858). Here they come in;
//! then each goes on by itself (`connection.rs`), and all are answered at one desk (`desk.rs`); those that have much to
//! ask take turns (`rounds.rs`).
//!
//! All complete queries in a connection's buffer are answered by one write, without delay (RFC 7766 §6.2.1.1). A
//! connection that completes no query for some time is closed; that time is longer for a client that asks for it (RFC
//! 7828), and shorter when there are many connections, and when there is no place left, whoever has completed none for
//! longest goes first (RFC 7766 §6.2.3). None lasts for ever, however busy it is (RFC 9210 §4.2). However it ends, what was
//! answered arrives (`bartizan_net::say_goodbye`), unless its place is needed.

mod connection;
mod desk;
mod rounds;
mod stopping;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_live::Reader;
use bartizan_quotas::{Ceiling, Door, Memory, MemoryShares, Place, Rarely, Shares, Throttle};
use bartizan_tls::{Acceptor, ServerStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time;

use self::connection::Connection;
use self::desk::Desk;
use self::rounds::{Rounds, Turn};
use self::stopping::Stopping;
use crate::Config;
use crate::counters::{Counters, Event, Family, Tally};
use crate::pipeline::Transport;

/// Limits of connections, in number and in time.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at a time. One that waits holds about a kilobyte.
    connections: usize,
    /// Bytes of answers that all of them together may not have taken yet.
    memory: usize,
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
    /// How long a client that has all answers may take to end, when we have.
    linger: Duration,
    /// When the plane is to end, what all connections together may take for it.
    leave: Duration,
}

/// "A few seconds" of silence are what RFC 7766 §6.2.3 recommends.
const LIMITS: Limits = Limits {
    connections: 1_024,
    memory: usize::MAX,
    // A handshake takes a few hundred microseconds of this thread: a source has 64 of them under way, one at a time has a turn.
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
    linger: Duration::from_secs(1),
    // Less than what a container engine waits before it kills, with what the other planes take.
    leave: Duration::from_secs(5),
};

/// What is read and thrown away after our end.
const LINGER_BYTES_MAX: usize = 64 << 10;

/// DNS over TLS in ALPN (RFC 7301; IANA).
const ALPN: &[u8] = b"dot";

/// For what no client did.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Connections of a listener that are accepted before the thread looks what else came: each takes some ten microseconds.
const ACCEPTS_A_TURN: usize = 4;

/// A pause after an error of the system when accepting, for instance when there are no file descriptors left.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Listeners of this plane, before their thread runs.
pub(crate) struct Worker {
    listeners: Vec<(StdListener, Transport)>,
    config: Reader<Config>,
    tallies: Tallies,
    counters: Counters,
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
    desk: RefCell<Desk>,
    tallies: Tallies,
    acceptor: Acceptor,
    door: Door,
    memory: Memory,
    turns: Throttle,
    rounds: Rc<Rounds>,
    stopping: Stopping,
    limits: Limits,
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
            counters: counters.clone(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            limits: Limits {
                connections: LIMITS.connections.min(share),
                memory: MemoryShares::of(bartizan_net::memory_max()).dns,
                ..LIMITS
            },
            signatures,
        })
    }

    /// Accepts and answers until `stopped` resolves; then what has been read is answered, and has to arrive.
    pub(crate) fn run(self, stopped: oneshot::Receiver<()>) {
        let (listeners, runtime, shared) = self.open();
        let local = LocalSet::new();
        for (listener, transport) in listeners {
            let accepting = accept(listener, transport, Rc::clone(&shared));
            let shared = Rc::clone(&shared);
            local.spawn_local(async move { shared.stopping.unless_begun(accepting).await });
        }
        let rounds = Rc::clone(&shared);
        local.spawn_local(async move { rounds.stopping.unless_begun(rounds.rounds.run()).await });
        runtime.block_on(async {
            // An error means that the plane was dropped, which is an end too.
            let _ = local.run_until(stopped).await;
            shared.stopping.begin();
            // Who takes longer is dropped.
            let _ = time::timeout(shared.limits.leave, local).await;
        });
    }

    /// What its thread has of it.
    fn open(self) -> (Vec<(StdListener, Transport)>, tokio::runtime::Runtime, Rc<Shared>) {
        let memory = Memory::new(self.limits.memory, Instant::now());
        self.counters.memory(&memory);
        let shared = Rc::new(Shared {
            desk: RefCell::new(Desk::new(self.config, self.signatures, self.counters.tap())),
            tallies: self.tallies,
            acceptor: Acceptor::new(&[ALPN]),
            door: Door::single(self.limits.connections, self.limits.source, Instant::now()),
            memory,
            turns: Throttle::new(self.limits.turns.0, self.limits.turns.1),
            rounds: Rc::default(),
            stopping: Stopping::default(),
            limits: self.limits,
        });
        (self.listeners, self.runtime, shared)
    }
}

async fn accept(listener: StdListener, transport: Transport, shared: Rc<Shared>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot accept DNS connections"),
    };
    let mut accepted = 0_usize;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                admit(stream, peer, transport, &shared);
                accepted += 1;
                // When it is full, whoever had to go closes its socket first.
                if shared.door.is_full() || accepted.is_multiple_of(ACCEPTS_A_TURN) {
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

impl Visit {
    /// Serves it after that time, in which it has its place.
    async fn run(self, stream: TcpStream, place: Place, wait: Duration) {
        // Pipelined answers would otherwise wait for acknowledgements: 40 ms a round.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let turn = Turn::new(&self.shared.rounds, self.client.ip());
        match self.transport {
            // In a box, so that others have no room for it.
            Transport::Tls => Box::pin(self.run_tls(stream, turn, place, wait)).await,
            _ => Connection::new(self, turn, stream).run(&place, wait, |stream| stream).await,
        }
    }

    async fn run_tls(self, stream: TcpStream, turn: Turn, place: Place, wait: Duration) {
        let shaken = tokio::select! {
            biased;
            () = place.displaced() => return self.tally.add(Event::ConnectionDisplaced, 1),
            shaken = self.shared.stopping.unless_begun(self.shake_hands(stream, &turn, wait)) => shaken.flatten(),
        };
        let Some(stream) = shaken else { return };
        Connection::new(self, turn, stream).run(&place, Duration::ZERO, ServerStream::io).await;
    }

    /// TLS with a client; none if it does not come about.
    async fn shake_hands(&self, stream: TcpStream, turn: &Turn, wait: Duration) -> Option<ServerStream<TcpStream>> {
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
        let hosts = self.shared.desk.borrow_mut().config.take().value.hosts.clone();
        let handshake = self.shared.acceptor.accept_in_turn(stream, &hosts, turn.next());
        match time::timeout(self.shared.limits.handshake, handshake).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::trace!(client = %self.client, %error, "handshake failed"),
            Err(_) => {}
        }
        self.tally.add(Event::HandshakeFailed, 1);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::thread::{self, JoinHandle};

    use bartizan_live::Live;
    use bartizan_names::{CertificateId, Timestamp};
    use bartizan_net::{Sharing, tcp};
    use bartizan_observed::Measured;
    use bartizan_tls::{Certificate, CertifiedKey, Hosts};
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
            dial_from(source, self.address)
        }

        fn connect_to_tls(&self) -> TcpStream {
            let stream = TcpStream::connect(self.tls).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        }

        fn counted(&self, outcome: &str) -> u64 {
            count(&self.counters, outcome)
        }

        fn stop(self) {
            drop(self.stop);
            self.thread.join().unwrap();
        }
    }

    fn dial_from(source: u8, server: SocketAddr) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, source], 0)).into()).unwrap();
        socket.connect(&server.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn count(counters: &Counters, outcome: &str) -> u64 {
        let samples = counters.measure().into_iter().flat_map(|metric| metric.samples);
        let counted = samples.filter(|sample| sample.labels.iter().any(|(_, value)| value == outcome));
        counted.map(|sample| sample.value).sum()
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
            assert_eq!(count(&counters, "handshake_failed"), 1, "{sent:?}");
        }
    }

    /// What begins and has no end is closed as what does not begin.
    #[test]
    fn an_octet_now_and_then_is_no_progress() {
        let time = Duration::from_millis(200);
        let limits = Limits { tick: time / 2, idle_ticks: 2, handshake: time, ..LIMITS };
        for (is_tls, first, label) in
            [(false, &b"\x01\xf4"[..], "closed_by_us"), (true, b"\x16\x03\x01\x02\0\x01", "handshake_failed")]
        {
            let server = Server::start(limits);
            let mut stream = if is_tls { server.connect_to_tls() } else { server.connect() };
            stream.write_all(first).unwrap();
            stream.set_read_timeout(Some(time / 6)).unwrap();
            let pause = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
            while stream.write_all(b"\0").is_ok() && stream.read(&mut [0]).is_err_and(pause) {}
            let counters = server.counters.clone();
            server.stop();
            assert_eq!(count(&counters, label), 1, "{label}");
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

    /// However many come at once, the thread looks what else came after a few of them.
    #[test]
    fn a_few_are_accepted_at_a_time() {
        let listener = tcp("127.0.0.1:0".parse().unwrap(), Sharing::Exclusive).unwrap();
        let address = listener.local_addr().unwrap();
        let (live, counters) = (Live::new(Config::default()), Counters::default());
        let worker = Worker::new(vec![listener], Vec::new(), live.reader(), &counters, Default::default()).unwrap();
        let _clients: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
        let (listeners, runtime, shared) = worker.open();
        let local = LocalSet::new();
        for (listener, transport) in listeners {
            local.spawn_local(accept(listener, transport, Rc::clone(&shared)));
        }
        let counted = runtime.block_on(local.run_until(async {
            let mut counted = vec![0];
            while counted.last() != Some(&40) {
                tokio::task::yield_now().await;
                counted.push(count(&counters, "accepted"));
            }
            counted
        }));
        assert!(counted.is_sorted_by(|before, after| after - before <= ACCEPTS_A_TURN as u64), "{counted:?}");
    }

    /// Whoever begins a handshake is answered after two of a source that began many.
    #[test]
    fn handshakes_take_turns_by_source() {
        let made = rcgen::generate_simple_self_signed(vec!["ns1.example".to_owned()]).unwrap();
        let certificate = Certificate {
            id: CertificateId::from_bytes([0; 16]),
            zone: None,
            preference: 0,
            not_after: Timestamp::from_unix_micros(0),
            names: vec!["ns1.example".to_owned()],
            key: CertifiedKey::from_pem(&made.cert.pem(), &made.signing_key.serialize_der()).unwrap(),
        };
        let mut config = Config { hosts: Hosts::from_iter([certificate]), ..Config::default() };
        config.hosts.set_default("ns1.example");
        let (live, counters) = (Live::new(config), Counters::default());
        let worker = Worker::new(Vec::new(), Vec::new(), live.reader(), &counters, Default::default()).unwrap();
        let (_, runtime, shared) = worker.open();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hello = runtime.block_on(hello(made.cert.pem()));
        let dial = |source: u8| {
            let mut client = dial_from(source, address);
            client.write_all(&hello).unwrap();
            client.set_nonblocking(true).unwrap();
            client
        };
        let many: Vec<_> = (0..40).map(|_| dial(1)).collect();
        let other = dial(2);
        let was_answered = |client: &TcpStream| client.peek(&mut [0]).is_ok();
        let local = LocalSet::new();
        let rounds = Rc::clone(&shared.rounds);
        local.spawn_local(async move { rounds.run().await });
        runtime.block_on(local.run_until(async {
            for _ in 0..41 {
                let (stream, peer) = listener.accept().unwrap();
                stream.set_nonblocking(true).unwrap();
                admit(tokio::net::TcpStream::from_std(stream).unwrap(), peer, Transport::Tls, &shared);
            }
            while !was_answered(&other) {
                tokio::task::yield_now().await;
            }
        }));
        let before = many.iter().filter(|client| was_answered(client)).count();
        assert!(before <= 4, "{before}");
    }

    /// What a client of TLS says first.
    async fn hello(roots: String) -> Vec<u8> {
        let config = bartizan_tls::client_config(&bartizan_tls::Roots::Pem(roots), &[ALPN]).unwrap();
        let (client, mut server) = tokio::io::duplex(16_384);
        let mut hello = vec![0; 16_384];
        let length = tokio::select! {
            read = tokio::io::AsyncReadExt::read(&mut server, &mut hello) => read.unwrap(),
            // No name is sent.
            _ = bartizan_tls::connect(&config, "127.0.0.1", client) => unreachable!("nobody answers"),
        };
        hello.truncate(length);
        hello
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

    /// A client that reads little at a time, and nothing until it is told to.
    fn connect_slowly(server: &Server) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.connect(&server.address.into()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.into()
    }

    /// Of what has been read all is answered, and arrives, though more was sent that nobody will read.
    #[test]
    fn answers_arrive_though_the_plane_stops() {
        let server = Server::start(Limits { leave: Duration::from_secs(60), ..LIMITS });
        let mut stream = connect_slowly(&server);
        // Until our answers fill all buffers on the way and we stop reading.
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let many = QUERY.repeat(1_000);
        while stream.write_all(&many).is_ok() {}
        let mut idle = server.connect();
        ask(&mut idle);
        drop(server.stop);
        // Nobody waits for it.
        wait_for_the_end(&mut idle);
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        drop(stream);
        server.thread.join().unwrap();
        let metrics = server.counters.measure();
        assert!(metrics.iter().any(|metric| metric.name == "bartizan_dns_buffer_bytes"));
        let answered = count(&server.counters, "REFUSED") - 1;
        assert!(answered > 1_000 && answers.len() as u64 == answered * QUERY.len() as u64, "{answered}");
    }

    /// The end of its life is no reason to drop what is under way.
    #[test]
    fn answers_arrive_though_the_life_is_over() {
        let life = Duration::from_secs(3);
        let slow = Limits { tick: life / 30, idle_ticks: u32::MAX, life, write: Duration::from_secs(60), ..LIMITS };
        let server = Server::start(slow);
        let mut stream = connect_slowly(&server);
        // Until our answers fill all buffers on the way and we stop reading.
        stream.set_write_timeout(Some(life / 6)).unwrap();
        let many = QUERY.repeat(1_000);
        while stream.write_all(&many).is_ok() {}
        // It came later, and ends when its life is over.
        wait_for_the_end(&mut server.connect());
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        let answered = server.counted("REFUSED");
        assert!(answered > 1_000 && answers.len() as u64 == answered * QUERY.len() as u64, "{answered}");
        server.stop();
    }

    #[test]
    fn an_end_of_ours_destroys_no_answer() {
        const QUERIES: usize = 20_000;
        let server = Server::start(LIMITS);
        let mut stream = connect_slowly(&server);
        stream.write_all(&QUERY.repeat(QUERIES)).unwrap();
        // Longer than any query; what follows is read by nobody.
        stream.write_all(&[0xff; 10_000]).unwrap();
        while server.counted("closed_by_us") == 0 {
            thread::yield_now();
        }
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        assert_eq!(answers.len(), QUERIES * QUERY.len());
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
}
