//! Connections that outlive a request, on both sides, and their end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bartizan_plane_http::Limits;

use super::edge::{Edge, STUCK, dial, origin_at, plain, read_answer, read_head, status};
use super::frames::Client;
use super::origin::{Origin, ok};
use super::protocols::run;

#[test]
fn connections_to_origins_are_kept() {
    let origin = Origin::start(|_| ok("hello"));
    let edge =
        Edge::start(&[("a.test", origin_at(origin.address), plain()), ("b.test", origin_at(origin.address), plain())]);
    for round in 0..20 {
        let host = ["a.test", "b.test"][round % 2];
        assert!(edge.get(host, "/", "").ends_with("hello"));
    }
    assert_eq!((origin.seen().len(), origin.connections()), (20, 1));
}

/// An answer that was not read to its end takes its connection with it.
#[test]
fn a_connection_in_the_middle_of_an_answer_is_not_kept() {
    let origin = Origin::start(|seen| match seen.head.contains(" /endless ") {
        true => format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(500_000)).into_bytes(),
        false => ok("hello"),
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    client.write_all(b"GET /endless HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert_eq!(status(&read_head(&mut client)), "200");
    drop(client);
    assert!(edge.get("a.test", "/", "").ends_with("hello"));
    assert_eq!(origin.connections(), 2);
}

/// An origin that answers one request a connection and closes the next time it is asked: a kept connection that is
/// dead without our knowing.
fn origin_that_hangs_up() -> (Origin, mpsc::Receiver<String>) {
    let (tell, heads) = mpsc::channel();
    let origin = Origin::raw(move |mut stream: TcpStream| {
        tell.send(read_head(&mut stream)).unwrap();
        stream.write_all(&ok("hello")).unwrap();
        // Waits for the second request, and goes without a word.
        tell.send(read_head(&mut stream)).unwrap();
    });
    (origin, heads)
}

/// What may be made twice is; what may not is not, and the visitor is told.
#[test]
fn a_request_on_a_dead_connection() {
    for (request, expect, connections) in [
        ("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "200", 2),
        ("DELETE / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "200", 2),
        ("PUT / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "200", 2),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "502", 1),
        ("PUT / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", "502", 1),
    ] {
        let (origin, heads) = origin_that_hangs_up();
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        assert!(edge.get("a.test", "/", "").ends_with("hello"));
        heads.recv_timeout(STUCK).unwrap();
        let answer = edge.raw(request.as_bytes());
        assert_eq!((status(&answer), origin.connections()), (expect, connections), "{request}\n{answer}");
        assert_eq!(edge.counters().requests.retried, u64::from(connections > 1), "{request}");
    }
}

/// An origin may answer before it has read the request's body; the visitor gets that answer.
#[test]
fn an_early_answer() {
    let origin = Origin::raw(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").unwrap();
        // Reads on, so that no reset destroys the answer.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nhalf").unwrap();
    let (head, body) = read_answer(&mut client);
    assert_eq!((status(&head), body.as_slice()), ("413", &b"big"[..]));
}

#[test]
fn expect_continue_is_answered_by_the_edge() {
    let origin = Origin::start(|seen| ok(&String::from_utf8_lossy(&seen.body)));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    client.write_all(b"PUT / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").unwrap();
    assert_eq!(status(&read_head(&mut client)), "100");
    client.write_all(b"hello").unwrap();
    assert_eq!(read_answer(&mut client).1, b"hello");
    assert!(!origin.seen()[0].head.to_ascii_lowercase().contains("expect"));
}

/// Draining lets the request under way finish, closes what is idle, and accepts nothing new.
#[test]
fn draining_finishes_what_is_open() {
    let (arrived, waiting) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        arrived.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        stream.write_all(&ok("late")).unwrap();
    });
    let mut edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let address = edge.http;
    let mut idle = edge.dial();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").unwrap();
    assert_eq!(status(&read_answer(&mut idle).0), "404");
    let mut busy = edge.dial();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    waiting.recv_timeout(STUCK).unwrap();
    let draining = std::thread::spawn(move || edge.drain(STUCK));
    // The idle connection ends: so draining has begun.
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    drop(idle);
    assert!(TcpStream::connect(address).is_err());
    release.send(()).unwrap();
    let (head, body) = read_answer(&mut busy);
    assert_eq!((status(&head), body.as_slice()), ("200", &b"late"[..]));
    assert_eq!(busy.read(&mut [0]).unwrap(), 0);
    drop(busy);
    draining.join().unwrap();
}

/// Whoever has just been let in gets an answer to what it asks, over whichever version; the rest end soon.
#[test]
fn draining_takes_what_is_on_its_way() {
    let origin = Origin::start(|_| ok("hello"));
    let mut edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let address = edge.http;
    let (mut plain, mut silent) = (edge.dial(), edge.dial());
    let mut tls = dial(edge.https);
    let mut kept = edge.dial();
    let ask = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    kept.write_all(ask).unwrap();
    assert_eq!(read_answer(&mut kept).1, b"hello");
    edge.wait_until(|totals| totals.visitors.open == 4);
    let draining = std::thread::spawn(move || edge.drain(STUCK));
    // One that has asked before is told at once: so draining has begun.
    assert_eq!(kept.read(&mut [0]).unwrap(), 0);
    assert!(TcpStream::connect(address).is_err());
    plain.write_all(ask).unwrap();
    assert_eq!(read_answer(&mut plain).1, b"hello");
    assert_eq!(plain.read(&mut [0]).unwrap(), 0);
    tls.write_all(&bartizan_lab::client_hello("a.test")).unwrap();
    assert_eq!(tls.read(&mut [0]).unwrap(), 1);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    drop((tls, kept));
    draining.join().unwrap();
}

/// Who has asked for nothing, whatever it has begun, does not hold up a stop.
#[test]
fn draining_does_not_wait_for_handshakes() {
    let never = 2 * STUCK;
    let limits = Limits {
        handshake_time: never,
        head_time: never,
        linger_time: Duration::from_millis(100),
        ..Limits::default()
    };
    let stop = |edge: &mut Edge, what: &str| {
        let start = Instant::now();
        edge.drain(STUCK);
        assert!(start.elapsed() < STUCK / 2, "{what}");
    };
    for (what, bytes) in [("nothing said", &b""[..]), ("half a ClientHello", b"\x16\x03\x01\x02\x00\x01\x00")] {
        let mut edge = Edge::with_limits(&[], limits);
        let mut client = dial(edge.https);
        client.write_all(bytes).unwrap();
        edge.wait_until(|totals| totals.visitors.open == 1);
        stop(&mut edge, what);
    }
    let mut edge = Edge::with_limits(&[], limits);
    let _client = run(Client::dial(&edge, "a.test"));
    edge.wait_until(|totals| totals.visitors.handshakes_full == 1);
    stop(&mut edge, "no preface");
}

#[test]
fn the_end_of_the_grace_period_ends_everything() {
    let (arrived, waiting) = mpsc::channel();
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        arrived.send(()).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let mut edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut busy = edge.dial();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    waiting.recv_timeout(STUCK).unwrap();
    edge.drain(Duration::ZERO);
    assert!(matches!(busy.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn requests_and_connections_are_counted() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    edge.get("a.test", "/", "");
    edge.get("b.test", "/", "");
    edge.raw(b"nonsense\r\n\r\n");
    let mut open = edge.dial();
    open.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    read_answer(&mut open);
    let totals = edge.counters();
    assert_eq!((totals.requests.status_2xx, totals.requests.status_4xx, totals.requests.http1), (2, 2, 4));
    assert_eq!(totals.visitors.accepted, 4);
    assert!(totals.visitors.open >= 1 && totals.visitors.bytes_in > 100 && totals.visitors.bytes_out > 500);
}
