//! Every state of a visitor's connection ends: a client does nothing more at that state, and the edge ends it. The table
//! of states is in the README of this crate; each row has its test here.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bartizan_names::{Ssl, ZoneSettings};
use bartizan_plane_http::{Limits, Totals};

use super::edge::{Edge, STUCK, dial, origin_at, plain, read_answer, read_head, status, text, tunnel};
use super::frames::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, get, request,
};
use super::origin::{Origin, ok};
use super::protocols::{Outgoing, dial_h2, run};

/// As those that people live with, in a shorter life.
fn short() -> Limits {
    let time = Duration::from_millis(500);
    Limits {
        head_time: time,
        idle_time: time,
        stall_time: time,
        // Before the time for a body, which counts as a failure.
        linger_time: time / 2,
        websocket_idle_time: time,
        expire_every: Duration::from_millis(20),
        ..Limits::default()
    }
}

/// An origin that takes a request and never answers; it says when its connection is gone.
fn silent() -> (Origin, mpsc::Receiver<()>) {
    let (gone, left) = mpsc::channel();
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        let _ = gone.send(());
    });
    (origin, left)
}

/// An origin whose answer has no end, and that says when nobody takes it any more.
fn endless() -> (Origin, mpsc::Receiver<()>) {
    let (gone, left) = mpsc::channel();
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
        let _ = gone.send(());
    });
    (origin, left)
}

/// Reads until the edge has ended the connection.
fn until_end(client: &mut TcpStream) {
    let mut waste = [0; 65_536];
    loop {
        match client.read(&mut waste) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "it never ends");
                return;
            }
        }
    }
}

#[test]
fn http1_at_every_state() {
    let (origin, _left) = silent();
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], short());
    let mut before = 0;
    for (state, bytes, too_slow) in [
        ("nothing said", "", false),
        ("a head begun", "GET / HTTP/1.1\r\nHo", true),
        ("an answer taken", "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", false),
        ("a body begun", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf", true),
        ("a chunk begun", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", true),
        ("a body that nobody wants", "POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 10\r\n\r\nhalf", false),
        ("a request refused", "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", false),
    ] {
        let mut client = edge.dial();
        client.write_all(bytes.as_bytes()).unwrap();
        until_end(&mut client);
        edge.wait_until(|totals| totals.visitors.open == 0);
        assert_eq!(edge.counters().visitors.too_slow > before, too_slow, "{state}");
        before = edge.counters().visitors.too_slow;
    }
}

#[test]
fn http1_whose_answer_is_not_read() {
    let (origin, left) = endless();
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], short());
    let mut client = edge.dial();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    left.recv_timeout(STUCK).unwrap();
    edge.wait_until(|totals| totals.visitors.too_slow > 0);
}

/// And before it: while its head is not there it is 504, and then the answer breaks off.
#[test]
fn an_origin_that_falls_silent_in_its_answer() {
    let impatient = ZoneSettings { proxy_read_timeout: Duration::from_millis(100), ..plain() };
    for (said, expect) in [
        ("", "504"),
        ("HTTP/1.1 200 OK\r\nContent-Len", "504"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "200"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", "200"),
        ("HTTP/1.1 200 OK\r\n\r\nuntil close", "200"),
    ] {
        let (gone, left) = mpsc::channel();
        let origin = Origin::raw(move |mut stream| {
            read_head(&mut stream);
            stream.write_all(said.as_bytes()).unwrap();
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            let _ = gone.send(());
        });
        let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), impatient.clone())], short());
        let mut client = edge.dial();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        assert_eq!(status(&read_head(&mut client)), expect, "{said:?}");
        left.recv_timeout(STUCK).expect("the origin is let go");
        until_end(&mut client);
    }
}

/// An origin that takes no connection is not waited for, nor one that says nothing of TLS.
#[test]
fn an_origin_to_which_no_connection_comes_about() {
    let limits = Limits { connect_time: short().head_time, ..Limits::default() };
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    run(async {
        // Its queue is full.
        let full = tokio::net::TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = full.listen(0).unwrap();
        let mut waiting = Vec::new();
        let dial = || tokio::net::TcpStream::connect(full.local_addr().unwrap());
        while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), dial()).await {
            waiting.push(stream.unwrap());
        }
        let over_tls = ZoneSettings { ssl: Ssl::Full, ..plain() };
        let sites = [
            ("a.test", origin_at(mute.local_addr().unwrap()), over_tls),
            ("b.test", origin_at(full.local_addr().unwrap()), plain()),
        ];
        let edge = Edge::with_limits(&sites, limits);
        for host in ["a.test", "b.test"] {
            let mut sender = dial_h2(&edge, host).await;
            let request = http::Request::builder().uri(format!("https://{host}/")).body(Outgoing::of(0)).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), 504, "{host}");
        }
        assert_eq!(edge.counters().origins.connect_timed_out, 2);
    });
}

/// A byte now and then is no progress: each wait is short, and all of them together are too long.
#[test]
fn bytes_that_trickle() {
    let (origin, _left) = silent();
    let limits = Limits { handshake_time: short().head_time, idle_time: STUCK * 2, ..short() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], limits);
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\n";
    for (what, to, said, trickle) in [
        ("a head", edge.http, String::new(), "GET / HTTP/1.1\r\nHost: a.test\r\nX: "),
        ("a body", edge.http, format!("{post}Content-Length: 1000000\r\n\r\n"), ""),
        ("a chunk", edge.http, format!("{post}Transfer-Encoding: chunked\r\n\r\n"), "fff\r\n"),
        ("trailers", edge.http, format!("{post}Transfer-Encoding: chunked\r\n\r\n0\r\n"), "X: "),
        // A record with a ClientHello (RFC 8446 §5.1).
        ("a handshake", edge.https, String::new(), "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03"),
    ] {
        let mut client = dial(to);
        client.write_all(said.as_bytes()).unwrap();
        client.set_read_timeout(Some(limits.stall_time / 6)).unwrap();
        let mut bytes = trickle.bytes().chain(std::iter::repeat_n(b'x', 100));
        loop {
            let byte = bytes.next().unwrap_or_else(|| panic!("{what}: it never ends"));
            let sent = client.write_all(&[byte]);
            match client.read(&mut [0; 1024]) {
                Err(error) if sent.is_ok() && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => break,
            }
        }
    }
    edge.wait_until(|totals| totals.visitors.too_slow == 4 && totals.visitors.handshakes_failed == 1);
}

/// The time for the next request begins when the answer is over, however long that took.
#[test]
fn http1_kept_after_a_long_answer() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        released.lock().unwrap().recv().unwrap();
        stream.write_all(&ok("late")).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], short());
    let mut client = edge.dial();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    // One that came later ends by the limit for idle connections. So that has passed.
    for _ in 0..2 {
        until_end(&mut edge.dial());
    }
    release.send(()).unwrap();
    assert_eq!(read_answer(&mut client).1, b"late");
    until_end(&mut client);
}

/// Who leaves while its request is answered is noticed, also if it had begun another one.
#[test]
fn http1_that_pipelines_and_leaves() {
    let (origin, left) = silent();
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nG").unwrap();
    client.shutdown(Shutdown::Both).unwrap();
    left.recv_timeout(STUCK).unwrap();
}

/// However many requests one connection has ready, and however fast they are answered: others have their turn in between.
#[test]
fn http1_that_pipelines_does_not_hold_up_another() {
    const MANY: usize = 500;
    let order = Arc::new(Mutex::new(Vec::new()));
    let (hold, held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (seen, released) = (Arc::clone(&order), Mutex::new(released));
    // What is behind a tunnel here runs on the thread of the worker, which does nothing else meanwhile.
    let edge = Edge::with_tunnels(&[("a.test", tunnel(), plain())], move |request| {
        match request.path.as_str() {
            "/hold" => {
                hold.send(()).unwrap();
                released.lock().unwrap().recv().unwrap();
            }
            path => seen.lock().unwrap().push(path.to_owned()),
        }
        Ok(text(200, "ok"))
    });
    let asked = |path: &str, number: usize| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n").repeat(number);
    let [mut holder, mut many, mut other] = [(); 3].map(|()| {
        let mut client = edge.dial();
        client.write_all(asked("/first", 1).as_bytes()).unwrap();
        assert_eq!(status(&read_answer(&mut client).0), "200");
        client
    });
    holder.write_all(asked("/hold", 1).as_bytes()).unwrap();
    held.recv_timeout(STUCK).unwrap();
    many.write_all(asked("/many", MANY).as_bytes()).unwrap();
    other.write_all(asked("/other", 1).as_bytes()).unwrap();
    order.lock().unwrap().clear();
    release.send(()).unwrap();
    for _ in 0..MANY {
        assert_eq!(status(&read_answer(&mut many).0), "200");
    }
    assert_eq!(status(&read_answer(&mut other).0), "200");
    let order = order.lock().unwrap();
    let before = order.iter().position(|path| path == "/other").unwrap();
    assert!(order.len() == MANY + 1 && before <= 64, "{before} of {} before another's", order.len());
}

#[test]
fn websockets_on_which_nothing_moves() {
    let (gone, left) = mpsc::channel();
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(switch).unwrap();
        let _ = stream.read(&mut [0]);
        gone.send(()).unwrap();
    });
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], short());
    let mut client = edge.dial();
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    write!(client, "GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n").unwrap();
    assert_eq!(status(&read_head(&mut client)), "101");
    until_end(&mut client);
    left.recv_timeout(STUCK).unwrap();
}

#[test]
fn tls_at_every_state() {
    let edge = Edge::with_limits(&[], Limits { handshake_time: short().head_time, ..short() });
    // The header of a record with a ClientHello (RFC 8446 §5.1), and the first of its octets.
    for bytes in [&b""[..], b"\x16\x03", b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut client = dial(edge.https);
        client.write_all(bytes).unwrap();
        until_end(&mut client);
    }
    edge.wait_until(|totals| totals.visitors.handshakes_failed == 3);
}

#[test]
fn http2_at_every_state() {
    let (origin, left) = silent();
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], short());
    let settings = frame(SETTINGS, 0, 0, &[]);
    let begun = [PREFACE, &settings].concat();
    let fields = block(&request("POST", "a.test", &[]));
    for (state, bytes) in [
        ("nothing said", vec![]),
        ("a preface begun", PREFACE[..10].to_vec()),
        ("no settings", PREFACE.to_vec()),
        ("nothing asked", begun.clone()),
        ("a frame begun", [&begun, &get(1, "a.test")[..20]].concat()),
        ("fields begun", [&begun[..], &frame(HEADERS, END_STREAM, 1, &fields)].concat()),
        ("an answer taken", [&begun[..], &get(1, "other.test")].concat()),
        ("a body not begun", [&begun[..], &frame(HEADERS, END_HEADERS, 1, &fields)].concat()),
        ("a body begun", [&begun[..], &frame(HEADERS, END_HEADERS, 1, &fields), &frame(DATA, 0, 1, b"half")].concat()),
    ] {
        run(async {
            let mut client = Client::dial(&edge, "a.test").await;
            client.send(&bytes).await;
            let end = tokio::time::timeout(STUCK / 2, client.silent_until_end()).await;
            end.unwrap_or_else(|_| panic!("{state}: it never ends"));
            if bytes.starts_with(&begun) {
                // As somebody who answers PING and SETTINGS, and does nothing else.
                let mut client = Client::dial(&edge, "a.test").await;
                client.send(&bytes).await;
                let end = tokio::time::timeout(STUCK / 2, client.until_end()).await;
                end.unwrap_or_else(|_| panic!("{state}, answering: it never ends"));
            }
        });
    }
    // Those with a body had reached the origin.
    for _ in 0..4 {
        left.recv_timeout(STUCK).unwrap();
    }
    edge.wait_until(|totals| totals.visitors.open == 0);
}

/// A preface, a block of fields, and a frame have the time of a head from their first byte to their last, whether or not bytes
/// trickle, and whatever else goes on.
#[test]
fn http2_that_does_not_finish_what_it_begins() {
    let (origin, _left) = silent();
    // Nothing else would end it.
    let never = STUCK * 2;
    let limits = Limits { idle_time: never, stall_time: never, ping_every: never, ..short() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], limits);
    let begun = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let fields = block(&request("GET", "a.test", &[]));
    let block_of = |stream| frame(HEADERS, END_STREAM, stream, &fields);
    let more_of = |stream| frame(CONTINUATION, 0, stream, &[0; 1000]);
    let (settings, head) = (frame(SETTINGS, 0, 0, &[0; 600]), frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0; 1000]));
    let mut ended = 0;
    for (state, bytes, rest) in [
        ("nothing said", vec![], [PREFACE, &settings].concat()),
        ("a preface", PREFACE[..10].to_vec(), [&PREFACE[10..], &settings].concat()),
        ("its SETTINGS", PREFACE.to_vec(), settings),
        ("a frame", [&begun, &head[..5]].concat(), head[5..].to_vec()),
        ("a block", [&begun[..], &block_of(1)].concat(), more_of(1)),
        ("a block beside an answer", [&begun[..], &get(1, "a.test"), &block_of(3)].concat(), more_of(3)),
    ] {
        run(async {
            let mut client = Client::dial(&edge, "a.test").await;
            client.send(&bytes).await;
            let end = tokio::time::timeout(STUCK / 2, client.silent_until_end()).await;
            end.unwrap_or_else(|_| panic!("{state}: it never ends"));
            let mut client = Client::dial(&edge, "a.test").await;
            client.send(&bytes).await;
            let mut trickle = rest.chunks(1);
            loop {
                client.send(trickle.next().unwrap_or_else(|| panic!("{state}, byte by byte: it never ends"))).await;
                if tokio::time::timeout(limits.head_time / 5, client.silent_until_end()).await.is_ok() {
                    break;
                }
            }
        });
        ended += 2;
        edge.wait_until(|totals| totals.visitors.too_slow == ended && totals.visitors.open == 0);
    }
}

/// A frame of data that nobody waits for has the time of a body.
#[test]
fn http2_data_that_does_not_end() {
    let edge = Edge::with_limits(&[], Limits { idle_time: STUCK * 2, head_time: STUCK * 2, ..short() });
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        let fields = block(&request("POST", "other.test", &[]));
        let half = &frame(DATA, 0, 1, &[0; 1000])[..500];
        client.send(&[&frame(HEADERS, END_HEADERS, 1, &fields), half].concat()).await;
        let end = tokio::time::timeout(STUCK / 2, client.silent_until_end()).await;
        end.expect("it ends");
    });
    edge.wait_until(|totals| totals.visitors.too_slow == 1);
}

/// Nor is a frame of an octet, or a window of one.
#[test]
fn http2_that_trickles() {
    let ((silent, _left), (endless, left)) = (silent(), endless());
    let sites = [("a.test", origin_at(silent.address), plain()), ("b.test", origin_at(endless.address), plain())];
    let limits = Limits { idle_time: STUCK * 2, ..short() };
    let edge = Edge::with_limits(&sites, limits);
    run(async {
        // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
        let mut client = Client::begin(&edge, "a.test", &[(4, 0)]).await;
        client.send(&get(1, "b.test")).await;
        while edge.counters().visitors.starved == 0 {
            client.send(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())).await;
            tokio::time::sleep(limits.stall_time / 6).await;
        }
        let upload = frame(HEADERS, END_HEADERS, 3, &block(&request("POST", "a.test", &[])));
        client.send(&upload).await;
        while edge.counters().visitors.too_slow == 0 {
            client.send(&frame(DATA, 0, 3, b"x")).await;
            tokio::time::sleep(limits.stall_time / 6).await;
        }
    });
    left.recv_timeout(STUCK).expect("the origin is let go");
}

/// A stream whose reader gives no window holds its connection to the origin, until it is reset; others go on.
#[test]
fn http2_streams_that_starve() {
    let ((origin, left), other) = (endless(), Origin::start(|_| ok("hello")));
    let sites = [("a.test", origin_at(origin.address), plain()), ("b.test", origin_at(other.address), plain())];
    let edge = Edge::with_limits(&sites, short());
    run(async {
        // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
        let mut client = Client::begin(&edge, "a.test", &[(4, 0)]).await;
        client.send(&get(1, "a.test")).await;
        let reset = client.next_of(&[RST_STREAM]).await.expect("a reset");
        assert_eq!(reset.stream, 1);
        // One that is taken is not.
        client.send(&[get(3, "b.test"), frame(WINDOW_UPDATE, 0, 3, &5_u32.to_be_bytes())].concat()).await;
        assert_eq!(client.next_of(&[DATA]).await.expect("data").payload, b"hello");
    });
    left.recv_timeout(STUCK).unwrap();
    edge.wait_until(|totals| totals.visitors.starved == 1);
}

/// What was answered and is not taken does not hold the connection open.
#[test]
fn http2_whose_visitor_stays_after_goaway() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], short());
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[(4, 1)]).await;
        client.send(&get(1, "a.test")).await;
        client.until_end().await;
    });
    edge.wait_until(|totals| totals.visitors.starved > 0 && totals.visitors.open == 0);
}

/// Who asks and never reads is not answered without end: no more of what it sends is taken, and then its time is over.
#[test]
fn http2_whose_pings_are_answered_to_nobody() {
    const ROUNDS: u32 = 2_000;
    let written = Arc::new(AtomicUsize::new(0));
    let (gone, left) = mpsc::channel();
    let origin = Origin::raw({
        let written = Arc::clone(&written);
        move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
            while let Ok(bytes) = stream.write(&[b'x'; 65_536]) {
                written.fetch_add(bytes, Ordering::Relaxed);
            }
            let _ = gone.send(());
        }
    });
    // Longer than it takes to send and to take all that is sent here.
    let limits = Limits { stall_time: STUCK / 8, unfinished_max: 2 * ROUNDS, ..short() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], limits);
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[(4, 0x7fff_ffff)]).await;
        // Answers that fill all there is between us.
        let room = frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes());
        client.send(&[room, get(1, "a.test")].concat()).await;
        while settled(&edge, || written.load(Ordering::Relaxed)).await == 0 {}
        // Each allows ten PINGs, and none is answered before it is cancelled.
        let pings = frame(PING, 0, 0, &[0; 8]).repeat(10);
        let round = |stream| [get(stream, "other.test"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]), pings.clone()];
        let all = (1..=ROUNDS).flat_map(|number| round(2 * number + 1)).collect::<Vec<_>>().concat();
        let sending = tokio::task::spawn_local(async move {
            client.send(&all).await;
            client
        });
        let taken = settled(&edge, || edge.counters().requests.http2).await;
        assert_eq!(edge.counters().visitors.too_slow, 0, "this was too slow to see anything");
        // Each is answered by some 180 bytes, of which TLS holds 64 KB beside what we do.
        assert!((2..900).contains(&taken), "{taken} of {ROUNDS} were taken");
        left_without_being_read(&edge).await;
        drop(sending.await.unwrap());
    });
    left.recv_timeout(STUCK).unwrap();
}

/// A figure that has stayed the same while other requests took turns on the same worker.
async fn settled<T: PartialEq>(edge: &Edge, figure: impl Fn() -> T) -> T {
    let mut last = figure();
    loop {
        let address = edge.http;
        let others = tokio::task::spawn_blocking(move || {
            for _ in 0..50 {
                let mut other = dial(address);
                other.write_all(b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").unwrap();
                assert_eq!(status(&read_head(&mut other)), "404");
            }
        });
        others.await.unwrap();
        let now = figure();
        if now == last {
            return now;
        }
        last = now;
    }
}

async fn left_without_being_read(edge: &Edge) {
    while edge.counters().visitors.too_slow == 0 {
        tokio::task::yield_now().await;
    }
}

/// Frames that ask for nothing are answered so often, and then the connection ends (ENHANCE_YOUR_CALM, RFC 9113 §10.5).
#[test]
fn http2_that_asks_for_nothing() {
    let edge = Edge::with_limits(&[], Limits::default());
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        client.send(&frame(PING, 0, 0, &[0; 8]).repeat(1_100)).await;
        assert_eq!(client.next_of(&[GOAWAY]).await.expect("an end").payload[4..], 0xb_u32.to_be_bytes());
        client.until_end().await;
    });
}

/// Who is silent while it waits for an answer is asked whether it is there, and one that is not does not hold an origin.
#[test]
fn http2_that_is_not_there() {
    let (origin, left) = silent();
    let time = Duration::from_millis(200);
    let limits = Limits {
        ping_every: time,
        ping_answer_time: time,
        expire_every: Duration::from_millis(20),
        ..Limits::default()
    };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], limits);
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        client.send(&get(1, "a.test")).await;
        // It answers each.
        for _ in 0..3 {
            client.next_of(&[PING]).await.expect("a question");
        }
        assert_eq!(edge.counters().visitors.open, 1);
        client.silent_until_end().await;
    });
    left.recv_timeout(STUCK).expect("the origin is let go");
}

/// Nor does a visitor that never says whether it knows of the GOAWAY.
#[test]
fn http2_whose_visitor_does_not_know_that_we_leave() {
    let edge = Edge::with_limits(&[], short());
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        client.silent_until_end().await;
    });
    edge.wait_until(|totals| totals.visitors.too_slow == 1 && totals.visitors.open == 0);
}

/// A connection has so many requests, so many that it cancels, and costs so many connections to origins.
#[test]
fn http2_that_asks_too_often() {
    for (what, limits, cancels) in [
        ("requests", Limits { requests_max: 10, ..Limits::default() }, false),
        ("cancelled requests", Limits { unfinished_max: 10, ..Limits::default() }, true),
        ("connections to origins", Limits { dials_max: 10, ..Limits::default() }, true),
    ] {
        let (origin, _left) = silent();
        let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], limits);
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            // It neither reads nor stops: so it answers no PING, by which a polite visitor would know of the GOAWAY. Each
            // request is cancelled some requests later.
            for number in 0..2_000_u32 {
                let host = if cancels { "a.test" } else { "other.test" };
                client.send(&get(2 * number + 1, host)).await;
                if cancels && number >= 5 {
                    let cancel = 8_u32.to_be_bytes();
                    client.send(&frame(RST_STREAM, 0, 2 * (number - 5) + 1, &cancel)).await;
                }
                // Each has been taken up before the next.
                let taken_up = |totals: &Totals| totals.requests.http2 > u64::from(number) || totals.visitors.open == 0;
                edge.wait_until(taken_up);
            }
            assert!(client.next_of(&[GOAWAY]).await.is_some(), "{what}");
            client.until_end().await;
        });
        let totals = edge.counters();
        assert_eq!(totals.visitors.worn, 1, "{what}");
        assert!(totals.requests.http2 < 300, "{what}: {}", totals.requests.http2);
        assert!(origin.connections() < 300, "{what}: {}", origin.connections());
    }
}

/// The memory of this process.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A visitor that asks for as many answers as it may, allows all of them, and reads nothing.
#[test]
fn http2_answers_that_nobody_reads_are_small() {
    let (origin, left) = endless();
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], Limits::default());
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[(4, 0x7fff_ffff)]).await;
        client.send(&frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())).await;
        // One answer is begun, so that what every connection needs is there.
        client.send(&get(1, "a.test")).await;
        client.next_of(&[DATA]).await.unwrap();
        let before = resident_bytes();
        for number in 1..128_u32 {
            client.send(&get(2 * number + 1, "a.test")).await;
        }
        while origin.connections() < 128 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let grown = settled(&edge, resident_bytes).await.saturating_sub(before);
        // Of it the threads of 128 origins have a part.
        assert!(grown < 6 * 1024 * 1024, "{grown} bytes");
    });
    drop(left);
}

/// An origin that has answered and resets its connection with the rest of the request unread: what it said counts.
#[test]
fn an_early_answer_before_a_reset() {
    let origin = Origin::raw(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for round in 0..20 {
        let mut client = edge.dial();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 500000\r\n\r\n").unwrap();
        // The visitor goes on for as long as it is let.
        let mut writing = client.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            let _ = writing.write_all(&[b'x'; 500_000]);
        });
        let (head, body) = read_answer(&mut client);
        assert_eq!((status(&head), body.as_slice()), ("413", &b"big"[..]), "round {round}");
        drop(client);
        writer.join().unwrap();
    }
}

/// Reading goes on for a while after the answer, so that no reset destroys it, but not for ever.
#[test]
fn an_unwanted_body_is_read_within_a_bound() {
    let edge = Edge::with_limits(&[], Limits { linger_time: STUCK, ..Limits::default() });
    let mut client = edge.dial();
    client.write_all(b"POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 100000000\r\n\r\n").unwrap();
    assert_eq!(status(&read_answer(&mut client).0), "404");
    let mut sent = 0;
    while client.write_all(&[b'x'; 65_536]).is_ok() {
        sent += 65_536;
        assert!(sent < 50_000_000, "it reads on");
    }
}
