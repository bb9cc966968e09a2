//! The API's listeners: who gets in, and how long each state of a connection may last.
//!
//! ```text
//! accept ─► head ─ complete ─► exchange ─ answer written ─► idle ─ first byte ─► head
//!            │                    │                           │
//!            └─ HEAD_MAX ─────────┴─ EXCHANGE_MAX ────────────┴─ IDLE_MAX ─► closed
//! ```
//! TLS and plain HTTP are spoken on one port; plain HTTP is answered to this machine only ([`crate::front`]).
//! The page, `/metrics` and the probes are served here too, and share these limits. A clock beside the connection ends
//! each state, whether or not bytes trickle in. What is still being sent when an answer is complete is read for a while
//! and thrown away, and what was written is waited for until the client has it (`bartizan_net::say_goodbye`).

mod clock;
mod connection;
mod counters;
mod link;
mod shown;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use bartizan_net::{LeastRate, Patience};
use bartizan_quotas::{Ceiling, Door, Rarely, Shares};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::router::router;
use crate::state::Dependencies;
use counters::Counters;
use shown::Shown;

/// Connections at once, all listeners together, where there are descriptors for so many. Clients of the API are few.
const CONNECTIONS_MAX: usize = 1_024;

/// What one source may have of them: a tool that works on ten resources at once, for some people behind one address. New
/// ones may come as fast as they like: all programs of this machine are one source, and one in a hurry would have the
/// operator refused. Whoever is in a hurry displaces its own idle ones.
const SOURCE: Ceiling = Ceiling { open: 256, per_second: u32::MAX, handshakes: 0 };

/// How long each state may last.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// From the accept, or from the first byte of a later request, to the end of the head.
    head: Duration,
    /// From the end of a head to the last byte of the answer. A body has 30 s of that to arrive; answers are of some
    /// megabytes at most, so this is a least rate too.
    exchange: Duration,
    /// Between requests.
    idle: Duration,
    /// How long what comes after the last answer is read, when its client has all of it.
    linger: Duration,
}

impl Times {
    /// At the end of a connection. The clock goes on beside it.
    fn patience(self) -> Patience {
        let (linger, stall) = (self.linger, self.exchange);
        // What is taken buys no time.
        let rate = LeastRate { stall, bytes_per_second: u32::MAX };
        Patience { linger, rate, bytes_max: LINGER_BYTES_MAX }
    }
}

const TIMES: Times = Times {
    head: Duration::from_secs(10),
    exchange: Duration::from_secs(120),
    idle: Duration::from_secs(120),
    linger: Duration::from_secs(5),
};

/// What is read after the last answer. Who sends more than this is not listening.
const LINGER_BYTES_MAX: usize = 8 << 20;

/// What of a body that nobody wanted is read so that the connection can go on, and how long it is waited for.
const DRAIN_BYTES_MAX: usize = 64 << 10;
const DRAIN_MAX: Duration = Duration::from_millis(100);

/// A request's head, and what of a body is read at once.
const READ_BYTES_MAX: usize = 64 << 10;

/// How long after a failed accept (normally: no file descriptor left) the next is tried.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections have in common.
struct Shared {
    router: Router,
    door: Door,
    counters: Arc<Counters>,
    times: Times,
    /// None where TLS is not spoken.
    shown: Option<Shown>,
    /// Its sender is gone when the API stops.
    stopped: watch::Receiver<()>,
}

/// Serves the API on all `listeners` until `shutdown`, then until the requests in progress are answered.
pub async fn serve(
    listeners: Vec<std::net::TcpListener>,
    mut given: Dependencies,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let counters = Arc::new(Counters::default());
    let others = given.observed.counted.iter().cloned();
    given.observed.counted = others.chain([Arc::clone(&counters) as _]).collect();
    let share = Shares::of(bartizan_net::descriptors_max()).api.min(CONNECTIONS_MAX);
    let door = Door::single(share, SOURCE, Instant::now());
    let shown = Shown::new(given.certs.clone(), given.facts.api_names.clone());
    serve_router(listeners, (router(given), door, counters, TIMES, Some(shown)), shutdown).await
}

async fn serve_router(
    listeners: Vec<std::net::TcpListener>,
    (router, door, counters, times, shown): (Router, Door, Arc<Counters>, Times, Option<Shown>),
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stop, stopped) = watch::channel(());
    let shared = Arc::new(Shared { router, door, counters, times, shown, stopped });
    let mut accepting = JoinSet::new();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        accepting.spawn(accept(TcpListener::from_std(listener)?, Arc::clone(&shared)));
    }
    shutdown.await;
    drop(stop);
    while let Some(ended) = accepting.join_next().await {
        ended.map_err(io::Error::other)?;
    }
    Ok(())
}

/// Accepts until the API stops, then waits for the connections.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut stopped = shared.stopped.clone();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // An error means that the sender is gone, which is the signal.
            _ = stopped.changed() => break,
            // Those that have ended are taken out, so that the set is no longer than what is open.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => match shared.door.enter(peer.ip(), Instant::now()) {
                Ok(place) => {
                    shared.counters.accepted();
                    connections.spawn(connection::serve(stream, peer, place, Arc::clone(&shared)));
                }
                Err(over) => {
                    shared.counters.refused(over);
                    // Fails only on a socket that is gone already.
                    let _ = stream.set_zero_linger();
                }
            },
            Err(error) => {
                static FAILED: Rarely = Rarely::new();
                if let Some(times) = FAILED.turn() {
                    tracing::warn!(%error, times, "the API cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        if shared.door.is_full() {
            // Whoever had to go closes its socket first.
            tokio::task::yield_now().await;
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::SystemTime;

    use axum::routing::{get, post};
    use bartizan_certs::{Ca, Certs};
    use bartizan_observed::Measured;
    use tokio::sync::oneshot;

    use super::*;
    use crate::error::Error;
    use crate::extract::Body;

    /// Longer than anything takes on a machine that is busy with other things.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// So short that a test can wait, and the others so long that it would not.
    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Times = Times { head: PATIENCE, exchange: PATIENCE, idle: PATIENCE, linger: PATIENCE };

    struct Server {
        address: SocketAddr,
        counters: Arc<Counters>,
        stop: Option<oneshot::Sender<()>>,
        runtime: tokio::runtime::Runtime,
        serving: tokio::task::JoinHandle<io::Result<()>>,
    }

    impl Server {
        fn start(share: usize, times: Times) -> Server {
            Server::start_with(share, times, None)
        }

        fn start_with(share: usize, times: Times, shown: Option<Shown>) -> Server {
            async fn take(Body(value): Body<serde_json::Value>) -> Result<String, Error> {
                Ok(value.to_string())
            }
            let router = Router::new()
                .route("/", get(|| async { "ok" }))
                .route("/large", get(|| async { vec![b'x'; 64 << 20] }))
                .route("/take", post(take))
                .route("/refuse", post(|| async { Error::from(crate::error::Fault::NotAllowed) }));
            let listener = bartizan_net::tcp("127.0.0.1:0".parse().unwrap(), bartizan_net::Sharing::Exclusive).unwrap();
            let address = listener.local_addr().unwrap();
            let counters = Arc::new(Counters::default());
            let door = Door::single(share, SOURCE, Instant::now());
            let (stop, stopped) = oneshot::channel::<()>();
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let given = (router, door, Arc::clone(&counters), times, shown);
            let serving = runtime.spawn(serve_router(vec![listener], given, async { drop(stopped.await) }));
            Server { address, counters, stop: Some(stop), runtime, serving }
        }

        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            stream
        }

        fn connect_from(&self, last: u8) -> TcpStream {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
            socket.connect(&self.address.into()).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.into()
        }

        fn wait_until(&self, is_so: impl Fn() -> bool) {
            let end = Instant::now() + PATIENCE;
            while !is_so() {
                assert!(Instant::now() < end, "never");
                std::thread::yield_now();
            }
        }

        fn open(&self) -> u64 {
            let metrics = self.counters.measure();
            metrics.iter().find(|metric| metric.name == "bartizan_api_connections_open").unwrap().samples[0].value
        }

        fn counted(&self, label: &str) -> u64 {
            let metrics = self.counters.measure();
            let samples = metrics.iter().flat_map(|metric| &metric.samples);
            samples.filter(|sample| sample.labels.iter().any(|(_, value)| value == label)).map(|one| one.value).sum()
        }
    }

    fn ask(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 512];
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok()
            && matches!(stream.read(&mut answer), Ok(read) if answer[..read].starts_with(b"HTTP/1.1 200"))
    }

    fn wait_for_the_end(stream: &mut TcpStream) {
        let mut waste = vec![0; 4096];
        loop {
            match stream.read(&mut waste) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A client does what leads to a state, and nothing more. Only the limit of that state is short.
    #[test]
    fn no_state_lasts_for_ever() {
        let head = Times { head: SHORT, ..LONG };
        let exchange = Times { exchange: SHORT, ..LONG };
        for (what, times, sent, too_slow) in [
            ("nothing", head, &b""[..], 1),
            ("a part of a head", head, b"GET / HTT", 1),
            ("no body", exchange, b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 1),
            ("a part of one", exchange, b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{}", 1),
            ("nothing more", Times { idle: SHORT, ..LONG }, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
            (
                "a body that nobody wants",
                Times { linger: SHORT, ..LONG },
                b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
                0,
            ),
        ] {
            let server = Server::start(100, times);
            let mut stream = server.connect();
            stream.write_all(sent).unwrap();
            wait_for_the_end(&mut stream);
            // It is counted when it is closed, and not open any more after that.
            server.wait_until(|| server.open() == 0);
            assert_eq!(server.counted("too_slow"), too_slow, "{what}");
        }
    }

    /// A handshake has the time of a head, which is what it leads to, also if its octets come one by one.
    #[test]
    fn no_handshake_lasts_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let key = || bartizan_seal::Key::load_or_create(&folder.path().join("seal.key")).unwrap();
        let ca = Ca::load_or_create(folder.path(), &key(), SystemTime::now().into()).unwrap();
        let shown = Shown::new(Certs::new(ca, key()), vec!["127.0.0.1".to_owned()]);
        let server = Server::start_with(100, Times { head: SHORT, ..LONG }, Some(shown));
        // Of a record with a ClientHello (RFC 8446 §5.1): its first octet, its head, and the beginning of the message.
        for (number, sent) in
            (1..).zip([&b"\x16"[..], b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"])
        {
            let mut stream = server.connect();
            stream.write_all(sent).unwrap();
            wait_for_the_end(&mut stream);
            server.wait_until(|| server.open() == 0);
            assert_eq!(server.counted("too_slow"), number, "{sent:?}");
        }
        let mut stream = server.connect();
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let pause = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        while stream.write_all(b"a").is_ok() && stream.read(&mut [0]).is_err_and(pause) {}
        server.wait_until(|| server.counted("too_slow") == 4);
    }

    #[test]
    fn a_second_head_has_its_own_time() {
        let server = Server::start(100, Times { head: Duration::from_secs(2), ..LONG });
        let mut stream = server.connect();
        assert!(ask(&mut stream));
        stream.write_all(b"GET / HTT").unwrap();
        wait_for_the_end(&mut stream);
        server.wait_until(|| server.counted("too_slow") == 1);
    }

    /// The time of a head is not extended by its bytes.
    #[test]
    fn a_head_does_not_trickle() {
        let server = Server::start(100, Times { head: SHORT, ..LONG });
        let mut stream = server.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nA: ").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let pause = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        while stream.write_all(b"a").is_ok() && stream.read(&mut [0]).is_err_and(pause) {}
        server.wait_until(|| server.counted("too_slow") == 1);
    }

    #[test]
    fn who_does_not_read_is_closed() {
        let server = Server::start(100, Times { exchange: SHORT, ..LONG });
        let mut stream = server.connect();
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        server.wait_until(|| server.counted("too_slow") == 1);
    }

    /// The answer arrives, whatever is still being sent.
    #[test]
    fn a_large_body_gets_an_answer() {
        let server = Server::start(100, LONG);
        for (framing, status) in [("Content-Length: 4000000", "413"), ("Transfer-Encoding: chunked", "413")] {
            let mut stream = server.connect();
            let head = format!("POST /take HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            let body = match framing.starts_with("Content") {
                true => vec![b'{'; 4_000_000],
                false => [b"3D0900\r\n".as_slice(), &vec![b'{'; 4_000_000], b"\r\n0\r\n\r\n"].concat(),
            };
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap_or_else(|error| panic!("{framing}: {error}"));
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{framing}: {error}"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{framing}: {answer}");
        }
    }

    /// A head has a hundred fields at most, and some 64 KiB; what is more is refused by name (RFC 6585 §5) and not read.
    #[test]
    fn a_head_has_its_bounds() {
        let server = Server::start(100, LONG);
        let fields = |count: usize| (2..count).map(|number| format!("X-{number}: a\r\n")).collect::<String>();
        for (what, rest, status) in [
            ("as many fields as there may be", fields(100), "200"),
            ("one more", fields(101), "431"),
            ("thousands", fields(5_000), "431"),
            ("a long one", format!("X: {}\r\n", "x".repeat(READ_BYTES_MAX - 1_024)), "200"),
            ("one that is too long", format!("X: {}\r\n", "x".repeat(4 * READ_BYTES_MAX)), "431"),
        ] {
            let mut stream = server.connect();
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{rest}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {answer}");
        }
        assert!(ask(&mut server.connect()));
    }

    /// The connection goes on behind a body that nobody wanted, or the answer says that it does not.
    #[test]
    fn a_body_that_nobody_wants() {
        let server = Server::start(100, LONG);
        let head = |length: usize, more: &str| {
            format!("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{more}\r\n")
        };
        for (what, sent, goes_on) in [
            ("a small one", head(2, "") + "{}", true),
            ("none", head(0, ""), true),
            ("one that does not come", head(9, "") + "{}", false),
            ("one that is waited for", head(9, "Expect: 100-continue\r\n"), false),
            ("a large one", head(100_000, "") + &"x".repeat(100_000), false),
        ] {
            let mut stream = server.connect();
            stream.write_all(sent.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let ends_at = |answer: &[u8]| answer.windows(4).position(|four| four == b"\r\n\r\n");
            while ends_at(&answer).is_none() {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).unwrap();
                assert!(read > 0, "{what}");
                answer.extend_from_slice(&piece[..read]);
            }
            let head = String::from_utf8(answer).unwrap().to_lowercase();
            assert!(head.starts_with("http/1.1 403"), "{what}: {head}");
            assert_eq!(!head.contains("connection: close"), goes_on, "{what}: {head}");
            if goes_on {
                // What is left of the first answer comes in front.
                stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
                let mut rest = String::new();
                stream.read_to_string(&mut rest).unwrap();
                assert!(rest.contains("HTTP/1.1 200"), "{what}: {rest}");
            } else {
                wait_for_the_end(&mut stream);
            }
        }
    }

    #[test]
    fn a_source_leaves_room_for_others() {
        let server = Server::start(8, LONG);
        let mut greedy: Vec<TcpStream> = (0..20).map(|_| server.connect_from(1)).collect();
        // They begin a head and go on no further, so they rest, and the first of them made room for the last.
        greedy.iter_mut().for_each(|stream| drop(stream.write_all(b"GET")));
        greedy.iter_mut().take(16).for_each(wait_for_the_end);
        let mut others: Vec<TcpStream> = (2..9).map(|last| server.connect_from(last)).collect();
        assert!(others.iter_mut().all(ask));
        server.wait_until(|| server.counted("displaced") == 19);
        assert_eq!(server.counted("full") + server.counted("crowded"), 0);
    }

    /// A script without keep-alive, or a neighbour on this machine.
    #[test]
    fn a_hurry_is_not_refused() {
        let server = Server::start(100, LONG);
        // Each comes and goes, so the places are free again; more than any that one second allowed.
        for _ in 0..1_500 {
            drop(server.connect());
        }
        assert!(ask(&mut server.connect()));
        assert_eq!(server.counted("source_rate"), 0);
    }

    #[test]
    fn a_request_in_progress_is_answered_at_the_end() {
        let mut server = Server::start(8, LONG);
        let (mut idle, mut busy, mut silent) = (server.connect(), server.connect(), server.connect());
        assert!(ask(&mut idle));
        busy.write_all(b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{").unwrap();
        // Whether its head has been read cannot be seen from outside; an answered request behind it can.
        assert!(ask(&mut idle));
        drop(server.stop.take());
        wait_for_the_end(&mut idle);
        wait_for_the_end(&mut silent);
        busy.write_all(b"}").unwrap();
        let mut answer = String::new();
        busy.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{}"), "{answer}");
        drop((idle, busy));
        server.runtime.block_on(server.serving).unwrap().unwrap();
    }
}
