//! What visitors make the edge hold, who send more than is taken, or take less than there is: it is counted for each source
//! and for all, bounded, and comes back.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bartizan_dial::NameServers;
use bartizan_exchange::{Body, Length, Response};
use bartizan_plane_http::Limits;
use bartizan_tls::{Roots, client_config, connect};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpSocket;

use super::dns_over_https::{LONG, LONG_BYTES};
use super::edge::{Edge, NAME_SERVER, STUCK, origin_at, plain, read_head, tunnel};
use super::frames::{Client, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, WINDOW_UPDATE, block, frame, request};
use super::origin::Origin;
use super::protocols::run;

const MEMORY: usize = 2 << 20;

/// What a source gets of that, alone.
const OF_A_SOURCE: usize = MEMORY / 2;

/// What one frame may hold at most (RFC 9113 §4.2).
const FRAME_BYTES: usize = 16_384;

/// Of an upload, within the window of its stream.
const UPLOAD_FRAMES: usize = 15;

/// ENHANCE_YOUR_CALM (RFC 9113 §7).
const CALM: [u8; 4] = 0xb_u32.to_be_bytes();

fn limits() -> Limits {
    Limits { memory: MEMORY, ..Limits::default() }
}

fn held(edge: &Edge) -> usize {
    edge.gauge("bartizan_http_buffer_bytes") as usize
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < STUCK, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn dial_from(last: u8, edge: &Edge) -> Client {
    dial(last, edge, "a.test").await.with_preface(&[]).await
}

async fn dial(last: u8, edge: &Edge, host: &str) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    // What is not read fills little beside our own buffers.
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
    let config = client_config(&Roots::Pem(edge.ca.pem.clone()), &[b"h2"]).unwrap();
    let stream = connect(&config, host, socket.connect(edge.https).await.unwrap()).await.unwrap();
    Client::over(stream)
}

/// As much as its window lets through.
async fn upload(client: &mut Client, stream: u32) {
    client.send(&frame(HEADERS, END_HEADERS, stream, &block(&request("POST", "a.test", &[])))).await;
    for _ in 0..UPLOAD_FRAMES {
        client.send(&frame(DATA, 0, stream, &[b'x'; FRAME_BYTES])).await;
    }
}

/// An origin that answers and takes nothing of what it is sent.
#[test]
fn uploads_that_nobody_takes() {
    let behind = |request: bartizan_exchange::Request| {
        let body = request.body;
        let pending = futures_util::stream::poll_fn(move |_| {
            let _ = &body;
            std::task::Poll::Pending
        });
        let body = Body::stream(Length::Unknown, pending);
        Ok(Response { status: StatusCode::OK, headers: HeaderMap::new(), body, upgraded: None })
    };
    let edge = Edge::with(&[("a.test", tunnel(), plain())], NameServers::System, limits(), behind);
    run(async {
        let mut greedy = dial_from(1, &edge).await;
        for number in 0..4 {
            upload(&mut greedy, 2 * number + 1).await;
        }
        // It has nearly all that it may have, which is what its windows let through.
        wait_for("an upload is held", || held(&edge) > OF_A_SOURCE * 3 / 4);
        assert_eq!(edge.counters().visitors.memory, 0);
        let mut more = dial_from(1, &edge).await;
        upload(&mut more, 1).await;
        let reset = more.next_of(&[RST_STREAM]).await.expect("no more is held");
        assert_eq!((reset.stream, reset.payload), (1, CALM.to_vec()));
        assert!(held(&edge) <= OF_A_SOURCE, "{}", held(&edge));
        let refused = edge.counters().visitors.memory;
        // What was refused is given back meanwhile.
        let mut before = held(&edge);
        wait_for("nothing changes any more", || {
            std::thread::sleep(Duration::from_millis(200));
            std::mem::replace(&mut before, held(&edge)) == before
        });
        let mut other = dial_from(2, &edge).await;
        upload(&mut other, 1).await;
        let whole = UPLOAD_FRAMES * FRAME_BYTES - FRAME_BYTES;
        wait_for("another source has its own part", || held(&edge) >= before + whole);
        assert_eq!(edge.counters().visitors.memory, refused);
    });
    wait_for("it comes back", || held(&edge) == 0);
}

/// Heads that do not end, and answers that nobody reads.
#[test]
fn requests_that_do_not_end() {
    let origin = Origin::raw(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
    });
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], limits());
    let half = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}", "x".repeat(30_000));
    for (what, bytes) in [("half a head", half.as_str()), ("an answer", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")] {
        let before = edge.counters().visitors.memory;
        // More than there are blocks for one source.
        let mut greedy = Vec::new();
        for _ in 0..2 * OF_A_SOURCE / 65_536 {
            let mut client = edge.dial();
            // Some are ended already.
            let _ = client.write_all(bytes.as_bytes());
            greedy.push(client);
        }
        wait_for(what, || edge.counters().visitors.memory > before);
        assert!((OF_A_SOURCE / 2..=OF_A_SOURCE).contains(&held(&edge)), "{what}: {}", held(&edge));
        drop(greedy);
        wait_for("it comes back", || held(&edge) == 0);
    }
}

/// Answers that are whole before anything of them is asked for, of who allows all of them to come and reads nothing.
#[test]
fn whole_answers_that_nobody_reads() {
    const INITIAL_WINDOW: u16 = 4;
    const ANSWERS: u32 = 100;
    let edge = Edge::with_limits(&[], limits());
    let query = format!("long{}", "x".repeat(20));
    assert!(query.as_bytes().starts_with(LONG) && ANSWERS as usize * LONG_BYTES > 2 * MEMORY);
    let mut head = request("POST", NAME_SERVER, &[("content-type", "application/dns-message")]);
    head[3].1 = "/dns-query";
    run(async {
        let client = dial(1, &edge, NAME_SERVER).await;
        let mut greedy = client.with_preface(&[(INITIAL_WINDOW, 1 << 30)]).await;
        greedy.send(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())).await;
        for number in 0..ANSWERS {
            let stream = 2 * number + 1;
            greedy.send(&frame(HEADERS, END_HEADERS, stream, &block(&head))).await;
            greedy.send(&frame(DATA, END_STREAM, stream, query.as_bytes())).await;
        }
        wait_for("no more is held", || edge.counters().visitors.memory > 0);
        wait_for("all it may have is held", || held(&edge) > OF_A_SOURCE * 3 / 4);
        assert!(held(&edge) <= OF_A_SOURCE, "{}", held(&edge));
        // Others are refused before there is anything to take.
        wait_for("some were answered, and nobody took it", || {
            let visitors = edge.counters().visitors;
            (1..=visitors.memory).contains(&visitors.starved)
        });
        // Whoever reads has them.
        let mut other = dial(2, &edge, NAME_SERVER).await.with_preface(&[]).await;
        other.send(&frame(HEADERS, END_HEADERS, 1, &block(&head))).await;
        other.send(&frame(DATA, END_STREAM, 1, query.as_bytes())).await;
        let mut bytes = 0;
        while let Some(data) = other.next_of(&[DATA]).await {
            bytes += data.payload.len();
            if data.ends_stream() {
                break;
            }
        }
        assert_eq!(bytes, LONG_BYTES);
    });
    wait_for("it comes back", || held(&edge) == 0);
}

/// Heads that are kept for as long as nobody answers.
#[test]
fn long_heads_of_requests_that_wait() {
    let silent = |_| {
        let body = Body::stream(Length::Unknown, futures_util::stream::pending());
        Ok(Response { status: StatusCode::OK, headers: HeaderMap::new(), body, upgraded: None })
    };
    let edge = Edge::with(&[("a.test", tunnel(), plain())], NameServers::System, limits(), silent);
    let long = "x".repeat(120);
    let fields: Vec<_> = (0..100).map(|_| ("x-long", long.as_str())).collect();
    let head = block(&request("GET", "a.test", &fields));
    run(async {
        let mut greedy = dial_from(1, &edge).await;
        for number in 0..120 {
            greedy.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head)).await;
        }
        let reset = greedy.next_of(&[RST_STREAM]).await.expect("no more is held");
        assert_eq!(reset.payload, CALM.to_vec());
        assert!((OF_A_SOURCE * 3 / 4..=OF_A_SOURCE).contains(&held(&edge)), "{}", held(&edge));
    });
    wait_for("it comes back", || held(&edge) == 0);
}

/// Heads of answers that nobody reads, from an origin and from a tunnel.
#[test]
fn long_heads_of_answers_that_nobody_reads() {
    const FIELDS: usize = 10;
    const VALUE_BYTES: usize = 5_000;
    // No table takes it in (RFC 7541 §4.4), nor is it shorter by its code.
    let long = "~".repeat(VALUE_BYTES);
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", format!("X-Long: {long}\r\n").repeat(FIELDS));
    let origin = Origin::raw(move |mut stream| {
        while read_head(&mut stream).ends_with("\r\n\r\n") {
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let behind = move |_| {
        let value = http::HeaderValue::from_str(&long).unwrap();
        let mut map = HeaderMap::new();
        for _ in 0..FIELDS {
            map.append(http::HeaderName::from_static("x-long"), value.clone());
        }
        Ok(Response { status: StatusCode::OK, headers: map, body: Body::empty(), upgraded: None })
    };
    let sites = [("a.test", origin_at(origin.address), plain()), ("b.test", tunnel(), plain())];
    let edge = Edge::with(&sites, NameServers::System, limits(), behind);
    for (host, last) in [("a.test", 1), ("b.test", 2)] {
        run(async {
            let mut greedy = dial(last, &edge, host).await.with_preface(&[]).await;
            let head = block(&request("GET", host, &[]));
            let asked = |number: u32| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head);
            // At once: no more is read when much waits, which bounds it as well.
            greedy.send(&(0..120).flat_map(asked).collect::<Vec<u8>>()).await;
            // How many are read before that is seen depends on the moment: some.
            wait_for("heads are counted", || held(&edge) > 2 * FIELDS * VALUE_BYTES);
            assert!(held(&edge) <= OF_A_SOURCE, "{host}: {}", held(&edge));
        });
        wait_for("it comes back", || held(&edge) == 0);
    }
}
