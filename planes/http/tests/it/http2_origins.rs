//! Origins that speak HTTP/2: one of a library, which keeps to the rules, and one that sends what it is told.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream as Blocking};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bartizan_names::{CertificateId, OriginHttp, Ssl, Timestamp, ZoneSettings};
use bartizan_plane_http::Limits;
use bartizan_tls::{Acceptor, Certificate, Hosts};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::edge::{Ca, Edge, STUCK, field, origin_at, plain, read_head, status};
use super::frames::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, get, request,
};
use super::origin::Origin;
use super::protocols::{OnThisThread, Outgoing, dial_h2, dial_tls, read_all, read_body, run};
use super::translation::Expect;

/// In the clear, without a question.
fn h2c() -> ZoneSettings {
    ZoneSettings { origin_h2c: true, ..plain() }
}

/// By TLS, where what is spoken is agreed on.
fn full() -> ZoneSettings {
    ZoneSettings { ssl: Ssl::Full, ..plain() }
}

/// A request as a library understood it.
struct Seen {
    /// As lines, pseudo-fields among them.
    head: String,
    version: Version,
    trailers: HeaderMap,
}

/// What a library answers with.
struct Answering {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}

type Answer = dyn Fn(&str, Bytes) -> Response<Answering> + Send + Sync;

/// `200` with this body.
fn said(data: impl Into<Bytes>) -> Response<Answering> {
    Response::new(Answering { data: Some(data.into()), trailers: None })
}

struct Library {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

/// What an origin of [`Library`] speaks.
enum Speaks {
    H2c,
    /// What these names of ALPN say.
    Tls(Box<Hosts>, &'static [&'static [u8]]),
}

impl Library {
    fn start(speaks: Speaks, answer: impl Fn(&str, Bytes) -> Response<Answering> + Send + Sync + 'static) -> Library {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (noted, count, answer) = (Arc::clone(&seen), Arc::clone(&connections), Arc::new(answer) as Arc<Answer>);
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            let speaks = std::rc::Rc::new(speaks);
            local.block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    let (noted, answer, speaks) =
                        (Arc::clone(&noted), Arc::clone(&answer), std::rc::Rc::clone(&speaks));
                    tokio::task::spawn_local(async move { serve(stream, &speaks, noted, answer).await });
                }
            });
        });
        Library { address, seen, connections }
    }

    fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, speaks: &Speaks, noted: Arc<Mutex<Vec<Seen>>>, answer: Arc<Answer>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let mut lines = vec![format!("{} {}", head.method, head.uri)];
            lines.extend(head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
            let lines = lines.join("\r\n");
            let (data, trailers) = read_all(body).await;
            noted.lock().unwrap().push(Seen { head: lines.clone(), version: head.version, trailers });
            Ok::<_, Infallible>(answer(&lines, data.into()))
        }
    });
    let mut http2 = hyper::server::conn::http2::Builder::new(OnThisThread);
    http2.max_concurrent_streams(200);
    match speaks {
        Speaks::H2c => drop(http2.serve_connection(TokioIo::new(stream), service).await),
        Speaks::Tls(hosts, alpn) => {
            let Ok(stream) = Acceptor::new(alpn).accept(stream, hosts).await else { return };
            if stream.alpn() == Some(b"h2") {
                let _ = http2.serve_connection(TokioIo::new(stream), service).await;
            } else {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        }
    }
}

fn hosts(ca: &Ca) -> Box<Hosts> {
    Box::new(Hosts::from_iter([Certificate {
        id: CertificateId::from_bytes([0; 16]),
        zone: None,
        preference: 0,
        not_after: Timestamp::from_unix_micros(0),
        names: vec!["*.test".to_owned()],
        key: ca.issue(&["a.test", "b.test"]),
    }]))
}

/// What goes out over HTTP/2 of requests over either version (RFC 9113 §8).
#[test]
fn requests_as_http2() {
    let origin = Library::start(Speaks::H2c, |_, body| said(body));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    for (rule, method, fields, body, there, gone) in [
        ("§8.3.1 pseudo-fields", "GET", "", "", &["get http://a.test/x?y"][..], &["host", "content-length"][..]),
        (
            "§8.2.2 of the connection",
            "GET",
            "Keep-Alive: 5\r\nX-B: 1\r\n",
            "",
            &["x-b: 1"],
            &["connection", "keep-alive"],
        ),
        (
            "§8.2.2 a field that Connection names",
            "GET",
            "X-A: 1\r\nConnection: close, X-A\r\n",
            "",
            &[],
            &["x-a", "connection"],
        ),
        ("§8.2.1 lower case", "GET", "X-Long-Name: V\r\n", "", &["x-long-name: v"], &[]),
        ("§8.2.3 cookies", "GET", "Cookie: a=1; b=2\r\n", "", &["cookie: a=1; b=2"], &[]),
        ("§8.2.2 TE", "GET", "TE: gzip, trailers\r\n", "", &["te: trailers"], &[]),
        ("§8.2.2 TE without trailers", "GET", "TE: gzip\r\n", "", &[], &["te"]),
        ("RFC 9110 §10.1.1", "POST", "Expect: 100-continue\r\n", "hi", &["content-length: 2"], &["expect"]),
        ("§8.1.1 a length", "POST", "", "hi", &["post http://a.test/x?y", "content-length: 2"], &["transfer-encoding"]),
        (
            "§8.1 no length",
            "PUT",
            "Transfer-Encoding: chunked\r\n",
            "2\r\nhi\r\n0\r\n\r\n",
            &[],
            &["content-length", "transfer-encoding"],
        ),
        ("RFC 9110 §9.3.7", "OPTIONS", "Max-Forwards: 5\r\n", "", &["max-forwards: 4"], &[]),
        (
            "design §2.5",
            "GET",
            "X-Forwarded-For: 9.9.9.9\r\n",
            "",
            &["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"],
            &[],
        ),
    ] {
        let length = if body.is_empty() || fields.contains("chunked") {
            String::new()
        } else {
            "Content-Length: 2\r\n".to_owned()
        };
        let close = if fields.contains("close") { "" } else { "Connection: close\r\n" };
        let answer =
            edge.raw(format!("{method} /x?y HTTP/1.1\r\nHost: a.test\r\n{close}{fields}{length}\r\n{body}").as_bytes());
        assert_eq!(status(answer.rsplit("HTTP/1.1 100 Continue\r\n\r\n").next().unwrap()), "200", "{rule}: {answer}");
        let seen = origin.take_seen().remove(0);
        assert_eq!(seen.version, Version::HTTP_2, "{rule}");
        Expect { there, gone }.check(&seen.head, rule);
    }
    for (rule, others, there, gone) in [
        ("§8.2.3 cookies", &[("cookie", "a=1"), ("cookie", "b=2")][..], &["cookie: a=1; b=2"][..], &[][..]),
        ("§8.2.2 TE", &[("te", "trailers")], &["te: trailers", "x-forwarded-proto: https"], &[]),
        ("RFC 8586", &[("cdn-loop", "b")], &["cdn-loop: b, bartizan"], &[]),
        ("RFC 3875 §4.1.18", &[("transfer_encoding", "chunked")], &["get http://a.test/"], &["transfer_encoding"]),
    ] {
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&request("GET", "a.test", others)))).await;
            assert_eq!(client.next_of(&[HEADERS]).await.unwrap().payload[0], super::frames::OK, "{rule}");
        });
        Expect { there, gone }.check(&origin.take_seen().remove(0).head, rule);
    }
    assert_eq!((origin.connections(), edge.counters().requests.to_http2), (1, 16));
}

/// Trailers both ways, from either version to HTTP/2 and back.
#[test]
fn trailers_both_ways() {
    let origin = Library::start(Speaks::H2c, |_, body| {
        let trailers = [("x-sum", "8"), ("set-cookie", "x")];
        let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Response::new(Answering { data: Some(body), trailers: Some(HeaderMap::from_iter(trailers)) })
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close, TE\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = edge.raw(format!("{head}2\r\nhi\r\n0\r\nX-Sum: 7\r\nHost: b.test\r\n\r\n").as_bytes());
    assert!(answer.ends_with("2\r\nhi\r\n0\r\nx-sum: 8\r\n\r\n"), "{answer}");
    let of_http1 = origin.take_seen().remove(0).trailers;
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-sum", "7"), ("age", "1")]));
        let begun = frame(HEADERS, END_HEADERS, 1, &block(&request("POST", "a.test", &[("te", "trailers")])));
        client.send(&[begun, frame(DATA, 0, 1, b"hi"), trailers].concat()).await;
        let mut said = Vec::new();
        while !said.last().is_some_and(super::frames::Frame::ends_stream) {
            said.push(client.next_of(&[HEADERS, DATA, RST_STREAM]).await.unwrap());
        }
        assert_eq!(said.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [HEADERS, DATA, HEADERS]);
    });
    let of_http2 = origin.take_seen().remove(0).trailers;
    let expect = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
    assert_eq!((of_http1, of_http2), (expect.clone(), expect));
}

/// What an origin is offered, and what comes of it.
#[test]
fn what_is_agreed_on() {
    let edge = Edge::start(&[]);
    const OFFERS: [&[&[u8]]; 3] = [&[b"h2", b"http/1.1"], &[b"http/1.1"], &[b"h2"]];
    let [of_both, old, new] =
        OFFERS.map(|alpn| Library::start(Speaks::Tls(hosts(&edge.ca), alpn), |_, _| said("hello")));
    let old_only = || ZoneSettings { origin_max_http_version: OriginHttp::Http1, ..full() };
    let strict = || ZoneSettings { ssl: Ssl::Strict, ..full() };
    const GRPC: &str = "application/grpc+proto";
    for (origin, settings, content_type, expect) in [
        (&of_both, full(), "text/plain", Some(Version::HTTP_2)),
        (&of_both, strict(), "text/plain", Some(Version::HTTP_2)),
        (&of_both, old_only(), "text/plain", Some(Version::HTTP_11)),
        (&of_both, full(), "text/plain", Some(Version::HTTP_2)),
        (&old, full(), "text/plain", Some(Version::HTTP_11)),
        (&new, full(), "text/plain", Some(Version::HTTP_2)),
        // It speaks nothing that we would.
        (&new, old_only(), "text/plain", None),
        (&new, old_only(), GRPC, Some(Version::HTTP_2)),
        (&old, old_only(), GRPC, Some(Version::HTTP_11)),
        (&of_both, old_only(), "application/grpc-web", Some(Version::HTTP_11)),
    ] {
        edge.publish(&[("a.test", origin_at(origin.address), settings.clone())]);
        for _ in 0..2 {
            let answer = run(async {
                let request = Request::builder().uri("https://a.test/").header("content-type", content_type);
                let request = request.body(Outgoing::of(0)).unwrap();
                dial_h2(&edge, "a.test").await.send_request(request).await.unwrap().status().as_u16()
            });
            assert_eq!(answer, if expect.is_some() { 200 } else { 502 }, "{content_type} {settings:?}");
            assert_eq!(origin.take_seen().first().map(|seen| seen.version), expect, "{content_type} {settings:?}");
        }
    }
    assert_eq!(of_both.connections(), 3, "one for each: full, strict, HTTP/1.1");
}

/// Many at once share one connection, also those that came before it was there; another host has its own.
#[test]
fn one_connection_for_many_requests() {
    let edge = Edge::start(&[]);
    let origin = Library::start(Speaks::Tls(hosts(&edge.ca), &[b"h2", b"http/1.1"]), |head, _| {
        said(head.split([' ', '\r']).nth(1).unwrap().to_owned())
    });
    let sites = ["a.test", "b.test"].map(|host| (host, origin_at(origin.address), full()));
    edge.publish(&sites);
    for (host, connections) in [("a.test", 1), ("a.test", 1), ("b.test", 2)] {
        run(async {
            let sender = dial_h2(&edge, host).await;
            let asking = (0..100).map(|number| {
                let mut sender = sender.clone();
                async move {
                    let uri = format!("https://{host}/{number}");
                    let request = Request::builder().uri(&uri).body(Outgoing::of(0)).unwrap();
                    let answer = sender.send_request(request).await.unwrap();
                    assert_eq!(read_body(answer.into_body()).await.unwrap(), uri.as_bytes());
                }
            });
            futures_util::future::join_all(asking).await;
        });
        assert_eq!(origin.connections(), connections, "{host}");
    }
}

/// Large bodies both ways, with no length said, and whole: on a connection each, for none waits for another's window.
#[test]
fn large_bodies() {
    let origin = Library::start(Speaks::H2c, |_, body| said(body));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let sender = dial_h2(&edge, "a.test").await;
        let asking = (0..4).map(|_| {
            let mut sender = sender.clone();
            async move {
                let request = Request::builder().method("POST").uri("https://a.test/").body(Outgoing::of(3_000_000));
                let answer = sender.send_request(request.unwrap()).await.unwrap();
                read_body(answer.into_body()).await.unwrap()
            }
        });
        for body in futures_util::future::join_all(asking).await {
            assert_eq!(body.len(), 3_000_000);
            let mut at = 0;
            while at < body.len() {
                let piece = super::origin::pattern_at(at as u64);
                let piece = &piece[..piece.len().min(body.len() - at)];
                assert_eq!(&body[at..at + piece.len()], piece);
                at += piece.len();
            }
        }
    });
    assert!((1..=4).contains(&origin.connections()));
}

/// Who takes nothing of its answers holds up nobody else on the same connection to the origin.
#[test]
fn who_takes_nothing_holds_up_nobody() {
    let origin = Library::start(Speaks::H2c, |_, _| said(vec![b'x'; 8_000_000]));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut slow = Client::begin(&edge, "a.test", &[]).await;
        let asked: Vec<u8> = (0..100).flat_map(|number| get(2 * number + 1, "a.test")).collect();
        slow.send(&asked).await;
        for _ in 0..100 {
            slow.next_of(&[HEADERS]).await.unwrap();
        }
        // More than the window of the connection to the origin waits for it now.
        let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
        let answer = dial_h2(&edge, "a.test").await.send_request(request).await.unwrap();
        assert_eq!(read_body(answer.into_body()).await.unwrap().len(), 8_000_000);
    });
    assert_eq!(origin.connections(), 1);
}

/// What is to become a WebSocket is asked for in HTTP/1.1.
#[test]
fn websockets_go_by_http1() {
    let edge = Edge::start(&[]);
    let hosts = hosts(&edge.ca);
    let origin = Origin::raw(move |stream| {
        stream.set_nonblocking(true).unwrap();
        run(async {
            let stream = TcpStream::from_std(stream).unwrap();
            let Ok(mut stream) = Acceptor::new(&[b"h2", b"http/1.1"]).accept(stream, &hosts).await else { return };
            assert_eq!(stream.alpn(), Some(&b"http/1.1"[..]));
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi";
            stream.write_all(switch).await.unwrap();
            let _ = stream.read_u8().await;
        });
    });
    edge.publish(&[("a.test", origin_at(origin.address), full())]);
    run(async {
        let mut stream = dial_tls(&edge, "a.test", &[]).await.unwrap();
        let head = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhi") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert_eq!(status(&String::from_utf8(answer).unwrap()), "101");
    });
}

/// The other end of one connection, that sends what it is told.
struct Liar {
    stream: Blocking,
}

#[derive(Debug)]
struct Heard {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Liar {
    /// With the preface read and SETTINGS said.
    fn begin(mut stream: Blocking) -> Option<Liar> {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).ok()?;
        assert_eq!(preface, PREFACE);
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).ok()?;
        Some(Liar { stream })
    }

    fn next(&mut self) -> Option<Heard> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Heard { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    fn next_of(&mut self, kind: u8) -> Option<Heard> {
        std::iter::from_fn(|| self.next()).find(|heard| heard.kind == kind)
    }

    /// Fails silently: what came of it is seen elsewhere.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn until_end(&mut self) {
        while self.next().is_some() {}
    }
}

/// Answers each request with these bytes, which are for the stream 1 as they are here.
fn liar(bytes: Vec<u8>) -> Origin {
    Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        while let Some(heard) = liar.next_of(HEADERS) {
            liar.send(&for_stream(heard.stream, &bytes));
        }
    })
}

/// The same frames for another stream.
fn for_stream(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some([a, b, c, _, _, stream @ ..]) = bytes.get_mut(at..at + 9) {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if stream == [0, 0, 0, 1] {
            stream.copy_from_slice(&number.to_be_bytes());
        }
        at += 9 + length;
    }
    bytes
}

fn head(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 1, &block(fields))
}

const OK: (&str, &str) = (":status", "200");

/// What visitors get of what origins say over HTTP/2: `-` where nothing whole comes.
#[test]
fn answers_of_http2() {
    let data = |text: &str| frame(DATA, END_STREAM, 1, text.as_bytes());
    let many =
        |count: usize| (0..count).map(|_| head(0, &[(":status", "103"), ("link", "x")])).collect::<Vec<_>>().concat();
    let bomb = || {
        let long = "x".repeat(120);
        let fields = vec![("x-a", long.as_str()); 500];
        let fields = block(&[&[OK][..], &fields].concat());
        let mut pieces = fields.chunks(16_000);
        let first = frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
        let rest: Vec<_> = pieces.flat_map(|piece| frame(CONTINUATION, 0, 1, piece)).collect();
        [first, rest, frame(CONTINUATION, END_HEADERS, 1, &[])].concat()
    };
    for (rule, bytes, expect, body) in [
        ("a body", [head(0, &[OK, ("content-length", "2")]), data("hi")].concat(), "200", "hi"),
        ("a body of no length", [head(0, &[OK]), data("hi")].concat(), "200", "hi"),
        ("no body", head(END_STREAM, &[OK]), "200", ""),
        ("§15.3.5 204", head(END_STREAM, &[(":status", "204")]), "204", ""),
        ("§15.4.5 304", head(END_STREAM, &[(":status", "304"), ("content-length", "5")]), "304", ""),
        ("§15.2 interim answers", [many(8), head(0, &[OK]), data("hi")].concat(), "200", "hi"),
        ("§15.2 too many of them", [many(9), head(0, &[OK]), data("hi")].concat(), "502", "-"),
        ("§8.6 101", head(END_STREAM, &[(":status", "101")]), "502", "-"),
        ("§8.2.2", head(END_STREAM, &[OK, ("connection", "close")]), "502", "-"),
        ("§8.3.2 no status", head(END_STREAM, &[("x-a", "1")]), "502", "-"),
        ("§8.1.1 shorter", [head(0, &[OK, ("content-length", "3")]), data("hi")].concat(), "502", "-"),
        ("§8.1.1 longer", [head(0, &[OK, ("content-length", "1")]), data("hi")].concat(), "502", "-"),
        ("§8.1.1 none for a length", head(END_STREAM, &[OK, ("content-length", "1")]), "502", "-"),
        ("§8.1 data first", data("hi"), "502", "-"),
        ("§6.4 reset", frame(RST_STREAM, 0, 1, &[0, 0, 0, 2]), "502", "-"),
        ("§6.8 none was served", frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]), "502", "-"),
        ("§8.7 refused twice", frame(RST_STREAM, 0, 1, &[0, 0, 0, 7]), "502", "-"),
        ("§8.4 pushed", frame(5, END_HEADERS, 1, &[0, 0, 0, 2]), "502", "-"),
        ("§4.2 too large", [&[1, 0, 0, DATA, 0, 0, 0, 0, 1][..], &[0; 65_536]].concat(), "502", "-"),
        ("§6.5.2 a list that is too long", bomb(), "502", "-"),
        (
            "§6.10 without end",
            [frame(HEADERS, 0, 1, &block(&[OK])), frame(CONTINUATION, 0, 1, &[]).repeat(100)].concat(),
            "502",
            "-",
        ),
        ("§10.5 SETTINGS", frame(SETTINGS, 0, 0, &[]).repeat(2_000), "502", "-"),
        ("§10.5 PING", frame(PING, 0, 0, &[0; 8]).repeat(5_000), "502", "-"),
        ("§10.5 windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(5_000), "502", "-"),
        ("HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec(), "502", "-"),
    ] {
        let origin = liar(bytes);
        let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
        let answer = edge.raw(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        let mut last = &answer[..];
        while status(last) == "103" {
            last = last.split_once("\r\n\r\n").unwrap().1;
        }
        assert_eq!(status(last), expect, "{rule}: {answer}");
        if body != "-" {
            let said = last.split_once("\r\n\r\n").unwrap().1;
            let said = said.strip_prefix("2\r\n").map_or(said, |rest| &rest[..2]);
            assert_eq!(said, body, "{rule}: {answer}");
        }
        // Over HTTP/2 it is the same.
        let of_http2 = run(async {
            let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
            dial_h2(&edge, "a.test").await.send_request(request).await.unwrap().status().as_u16().to_string()
        });
        assert_eq!(of_http2, expect, "{rule}");
    }
}

/// An answer that breaks off in its middle is no whole one.
#[test]
fn answers_that_break_off() {
    for (how, end) in [
        ("reset", frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])),
        ("longer", frame(DATA, 0, 1, &[b'x'; 200])),
        ("a fault", frame(DATA, 0, 0, b"x")),
    ] {
        let (go, told) = std::sync::mpsc::channel();
        let (told, end) = (Mutex::new(told), end);
        let origin = Origin::raw(move |stream| {
            let Some(mut liar) = Liar::begin(stream) else { return };
            liar.next_of(HEADERS).unwrap();
            liar.send(&[head(0, &[OK, ("content-length", "100")]), frame(DATA, 0, 1, b"hello")].concat());
            told.lock().unwrap().recv_timeout(STUCK).unwrap();
            liar.send(&end);
            liar.until_end();
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
        let mut client = edge.dial();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        let said = read_head(&mut client);
        assert_eq!((status(&said), field(&said, "content-length")), ("200", Some("100")), "{how}");
        go.send(()).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"hello", "{how}");
    }
}

/// Of a request for which nothing was done another connection gets all, if it can be had whole once more.
#[test]
fn what_is_refused_is_sent_again() {
    let refused = || frame(RST_STREAM, 0, 1, &[0, 0, 0, 7]);
    let left = || frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]);
    for (what, method, body, first, expect) in [
        ("refused", "GET", "", refused(), ["200", "2"]),
        ("refused, not idempotent", "POST", "", refused(), ["200", "2"]),
        ("a goodbye", "GET", "", left(), ["200", "2"]),
        ("a goodbye, not idempotent", "POST", "", left(), ["200", "2"]),
        ("with a body that was sent", "POST", "hi", left(), ["200", "2"]),
        ("reset, idempotent", "GET", "", frame(RST_STREAM, 0, 1, &[0, 0, 0, 2]), ["200", "2"]),
        ("reset, idempotent, with a body", "PUT", "hi", frame(RST_STREAM, 0, 1, &[0, 0, 0, 2]), ["200", "2"]),
        ("reset, not idempotent", "POST", "", frame(RST_STREAM, 0, 1, &[0, 0, 0, 2]), ["502", "1"]),
        ("a fault, not idempotent", "POST", "", frame(DATA, 0, 0, b"x"), ["502", "1"]),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let origin = Origin::raw(move |stream| {
            let Some(mut liar) = Liar::begin(stream) else { return };
            while let Some(heard) = liar.next_of(HEADERS) {
                // The first request of all makes the connection, the second is refused.
                let answer = match count.fetch_add(1, Ordering::SeqCst) {
                    1 => {
                        let mut first = first.clone();
                        if first[3] == RST_STREAM {
                            first[5..9].copy_from_slice(&heard.stream.to_be_bytes());
                        }
                        if first[3] == GOAWAY {
                            first[9..13].copy_from_slice(&1_u32.to_be_bytes());
                        }
                        first
                    }
                    _ => frame(HEADERS, END_HEADERS | END_STREAM, heard.stream, &block(&[OK])),
                };
                liar.send(&answer);
            }
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
        assert_eq!(status(&edge.get("a.test", "/", "")), "200");
        let length = if method != "GET" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        let request = format!("{method} / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{length}\r\n{body}");
        let answer = edge.raw(request.as_bytes());
        let times = (asked.load(Ordering::SeqCst) - 1).to_string();
        assert_eq!([status(&answer), &times], expect, "{what}");
    }
}

/// Reads a body on whichever stream it comes, and gives room for more. None if the connection ends before.
fn take_body(liar: &mut Liar) -> Option<(u32, Vec<u8>)> {
    let mut body = Vec::new();
    loop {
        let heard = liar.next()?;
        if heard.kind == DATA {
            body.extend_from_slice(&heard.payload);
            let more = u32::try_from(heard.payload.len()).unwrap();
            if more > 0 {
                let more = more.to_be_bytes();
                let connection = frame(WINDOW_UPDATE, 0, 0, &more);
                liar.send(&[connection, frame(WINDOW_UPDATE, 0, heard.stream, &more)].concat());
            }
        }
        if (heard.kind == DATA || heard.kind == HEADERS) && heard.flags & END_STREAM != 0 {
            return Some((heard.stream, body));
        }
    }
}

/// A body of which all was sent is sent again, as it was, if it is small enough to be kept; with what follows it.
#[test]
fn bodies_that_are_sent_again() {
    for (length, trailers, refusals, expect) in [
        (3, false, 1, ["200", "2"]),
        (60_000, false, 1, ["200", "2"]),
        (60_000, true, 1, ["200", "2"]),
        (60_000, false, 2, ["200", "3"]),
        (60_000, false, 3, ["502", "3"]),
        (70_000, false, 1, ["502", "1"]),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (count, note) = (Arc::clone(&asked), Arc::clone(&taken));
        let origin = Origin::raw(move |stream| {
            let Some(mut liar) = Liar::begin(stream) else { return };
            while let Some((stream, body)) = take_body(&mut liar) {
                note.lock().unwrap().push(body);
                let answer = match count.fetch_add(1, Ordering::SeqCst) < refusals {
                    true => frame(RST_STREAM, 0, stream, &[0, 0, 0, 7]),
                    false => frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[OK])),
                };
                liar.send(&answer);
            }
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
        let body = super::origin::pattern_at(0).iter().cycle().take(length).copied().collect::<Vec<u8>>();
        let mut request = b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n".to_vec();
        if trailers {
            request.extend(format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n").bytes());
            request.extend(&body);
            request.extend(b"\r\n0\r\nX-T: 1\r\n\r\n");
        } else {
            request.extend(format!("Content-Length: {length}\r\n\r\n").bytes());
            request.extend(&body);
        }
        let answer = edge.raw(&request);
        let times = asked.load(Ordering::SeqCst).to_string();
        assert_eq!([status(&answer), &times], expect, "{length} {refusals}");
        assert!(taken.lock().unwrap().iter().all(|taken| *taken == body), "{length} {refusals}");
        assert_eq!(edge.counters().requests.retried, asked.load(Ordering::SeqCst) as u64 - 1);
    }
}

/// An origin that wants HTTP/1.1 for something (RFC 9113 §7) gets that, and all that is asked for some time after it.
#[test]
fn who_wants_http1() {
    for on_stream in [true, false] {
        let edge = Edge::start(&[]);
        let hosts = hosts(&edge.ca);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&seen);
        let origin = Origin::raw(move |stream| {
            stream.set_nonblocking(true).unwrap();
            run(async {
                let stream = TcpStream::from_std(stream).unwrap();
                let Ok(mut stream) = Acceptor::new(&[b"h2", b"http/1.1"]).accept(stream, &hosts).await else { return };
                if stream.alpn() == Some(b"h2") {
                    let mut preface = [0; 24];
                    stream.read_exact(&mut preface).await.unwrap();
                    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
                    stream.flush().await.unwrap();
                    loop {
                        let mut head = [0; 9];
                        if stream.read_exact(&mut head).await.is_err() {
                            return;
                        }
                        let [a, b, c, kind, _, number @ ..] = head;
                        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                        stream.read_exact(&mut payload).await.unwrap();
                        if kind == HEADERS {
                            note.lock().unwrap().push("h2".to_owned());
                            let answer = match on_stream {
                                true => frame(RST_STREAM, 0, u32::from_be_bytes(number), &[0, 0, 0, 0xd]),
                                false => frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xd]),
                            };
                            stream.write_all(&answer).await.unwrap();
                            stream.flush().await.unwrap();
                        }
                    }
                }
                let mut head = Vec::new();
                loop {
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                    let length = field(&text, "content-length").map_or(0, |length| length.parse().unwrap());
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).await.unwrap();
                    note.lock().unwrap().push(format!("http/1.1 {}", String::from_utf8(body).unwrap()));
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        });
        edge.publish(&[("a.test", origin_at(origin.address), full())]);
        for body in ["one", "two"] {
            let answer = run(async {
                let mut stream = dial_tls(&edge, "a.test", &[]).await.unwrap();
                let head = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 3\r\n\r\n";
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                String::from_utf8(answer).unwrap()
            });
            assert_eq!(status(&answer), "200", "{body}");
        }
        assert_eq!(*seen.lock().unwrap(), ["h2", "http/1.1 one", "http/1.1 two"]);
    }
}

/// A crowd that comes to an origin which nobody knows: as many connections as its limit of streams asks for, and no more.
#[test]
fn a_crowd_of_first_requests() {
    const CROWD: usize = 40;
    for (streams, most) in [(None, 1), (Some(10_u32), 4), (Some(1), CROWD)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let origin = Origin::raw(move |mut stream| {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).unwrap();
            let settings = streams.map(|most| [&[0, 3], &most.to_be_bytes()[..]].concat()).unwrap_or_default();
            stream.write_all(&frame(SETTINGS, 0, 0, &settings)).unwrap();
            let mut liar = Liar { stream };
            let (mut open, mut held) = (0, Vec::new());
            while let Some(heard) = liar.next_of(HEADERS) {
                open += 1;
                assert!(open <= streams.unwrap_or(100));
                count.fetch_add(1, Ordering::SeqCst);
                held.extend(frame(HEADERS, END_HEADERS | END_STREAM, heard.stream, &block(&[OK])));
                // Nobody is answered before all have asked.
                let mut other = Liar { stream: liar.stream.try_clone().unwrap() };
                let (count, answer) = (Arc::clone(&count), std::mem::take(&mut held));
                std::thread::spawn(move || {
                    let start = std::time::Instant::now();
                    while count.load(Ordering::SeqCst) < CROWD && start.elapsed() < STUCK {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    other.send(&answer);
                });
            }
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
        run(async {
            let sender = dial_h2(&edge, "a.test").await;
            let asking = (0..CROWD).map(|_| {
                let mut sender = sender.clone();
                async move {
                    let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
                    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
                }
            });
            futures_util::future::join_all(asking).await;
        });
        assert_eq!(origin.connections(), most, "{streams:?}");
    }
}

/// An origin that nothing comes of keeps a crowd no longer than one request, and gets one connection.
#[test]
fn a_crowd_does_not_wait_for_long() {
    let origin = Origin::raw(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let limits = Limits { connect_time: std::time::Duration::from_secs(2), ..Limits::default() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), full())], limits);
    let start = std::time::Instant::now();
    run(async {
        let sender = dial_h2(&edge, "a.test").await;
        let asking = (0..20).map(|_| {
            let mut sender = sender.clone();
            async move {
                let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
                sender.send_request(request).await.unwrap().status().as_u16()
            }
        });
        let statuses = futures_util::future::join_all(asking).await;
        assert!(statuses.iter().all(|status| *status == 504), "{statuses:?}");
    });
    assert_eq!(origin.connections(), 1);
    assert!(start.elapsed() < STUCK);
}

/// What nobody reads of one body holds up no other: a large one has a connection for itself, and a small one is sent where all of it has
/// room.
#[test]
fn bodies_do_not_wait_for_each_other() {
    // Gives no window back, and answers what came whole.
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        while let Some(heard) = liar.next() {
            if (heard.kind == DATA || heard.kind == HEADERS) && heard.flags & END_STREAM != 0 {
                liar.send(&frame(HEADERS, END_HEADERS | END_STREAM, heard.stream, &block(&[OK])));
            }
        }
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let sender = dial_h2(&edge, "a.test").await;
        let ask = |body: u64, length: Option<u64>| {
            let mut sender = sender.clone();
            let request = Request::builder().method(if body > 0 { "POST" } else { "GET" }).uri("https://a.test/");
            let request = length.into_iter().fold(request, |request, length| request.header("content-length", length));
            let request = request.body(Outgoing::of(body)).unwrap();
            async move { sender.send_request(request).await.unwrap().status().as_u16() }
        };
        // Two that are stuck, and all that comes behind them.
        let stuck = [ask(200_000, None), ask(200_000, Some(200_000))].map(tokio::task::spawn_local);
        while origin.connections() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        for _ in 0..10 {
            assert_eq!(ask(20_000, Some(20_000)).await, 200);
            assert_eq!(ask(0, None).await, 200);
        }
        assert!(stuck.iter().all(|stuck| !stuck.is_finished()));
    });
    // Three of 20,000 use up the first window of a connection, of which none is given back.
    assert_eq!(origin.connections(), 2 + 4);
}

/// Streams of gRPC share a connection, and go on in both directions while one of them is not read.
#[test]
fn streams_of_grpc_share_a_connection() {
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        // The first is never read; each message of the others is answered by one.
        while let Some(heard) = liar.next() {
            match heard.kind {
                HEADERS => liar.send(&frame(HEADERS, END_HEADERS, heard.stream, &block(&[OK]))),
                DATA if heard.stream > 1 && !heard.payload.is_empty() => {
                    let more = u32::try_from(heard.payload.len()).unwrap().to_be_bytes();
                    liar.send(&frame(WINDOW_UPDATE, 0, 0, &more));
                    liar.send(&frame(WINDOW_UPDATE, 0, heard.stream, &more));
                    liar.send(&frame(DATA, 0, heard.stream, &heard.payload));
                }
                _ => {}
            }
        }
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        let call = block(&request("POST", "a.test", &[("content-type", "application/grpc"), ("te", "trailers")]));
        client.send(&frame(HEADERS, END_HEADERS, 1, &call)).await;
        client.next_of(&[HEADERS]).await.unwrap();
        client.send(&frame(DATA, 0, 1, &[b'x'; 10_000]).repeat(10)).await;
        for number in [3, 5, 7, 9] {
            client.send(&frame(HEADERS, END_HEADERS, number, &call)).await;
            client.next_of(&[HEADERS]).await.unwrap();
        }
        for round in 0..20 {
            for number in [3, 5, 7, 9] {
                client.send(&frame(DATA, 0, number, &[round; 500])).await;
                let mut said = 0;
                while said < 500 {
                    let heard = client.next_of(&[DATA, RST_STREAM]).await.unwrap();
                    assert_eq!((heard.kind, heard.stream), (DATA, number));
                    assert!(heard.payload.iter().all(|byte| *byte == round));
                    said += heard.payload.len();
                }
            }
        }
    });
    assert_eq!(origin.connections(), 1);
}

/// An origin that falls silent is noticed, and what may be repeated is asked of it by another connection; one that is there is waited for.
#[test]
fn origins_that_fall_silent() {
    let limits = Limits {
        origin_silence_time: std::time::Duration::from_secs(2),
        origin_ping_time: std::time::Duration::from_secs(5),
        ..Limits::default()
    };
    let first = std::sync::atomic::AtomicBool::new(true);
    let origin = Origin::raw(move |stream| {
        let is_first = first.swap(false, Ordering::SeqCst);
        let Some(mut liar) = Liar::begin(stream) else { return };
        let answer = |liar: &mut Liar, stream| {
            liar.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[OK])));
        };
        let Some(heard) = liar.next_of(HEADERS) else { return };
        if is_first {
            answer(&mut liar, heard.stream);
            // From now on it is gone, and its connection is not.
            return liar.until_end();
        }
        // It thinks, and says only that it is there.
        let ping = liar.next_of(PING).unwrap();
        liar.send(&frame(PING, 1, 0, &ping.payload));
        answer(&mut liar, heard.stream);
        liar.until_end();
    });
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), h2c())], limits);
    for connections in [1, 2] {
        assert_eq!(status(&edge.get("a.test", "/", "")), "200");
        assert_eq!(origin.connections(), connections);
    }
}

/// Who takes an answer as fast as it comes gets a wider window.
#[test]
fn windows_grow_for_who_takes_them() {
    const LEAST: u64 = 64 * 1024;
    let granted = Arc::new(Mutex::new((0_u64, 0_u64)));
    let note = Arc::clone(&granted);
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        let Some(asked) = liar.next_of(HEADERS) else { return };
        liar.send(&for_stream(asked.stream, &head(0, &[OK])));
        let (mut may, mut sent) = (LEAST, 0);
        loop {
            while sent < may {
                let bytes = (may - sent).min(16_384);
                liar.send(&frame(DATA, 0, asked.stream, &vec![b'x'; bytes as usize]));
                sent += bytes;
            }
            let Some(heard) = liar.next() else { return };
            if heard.kind == WINDOW_UPDATE && heard.stream == asked.stream {
                may += u64::from(u32::from_be_bytes(heard.payload.try_into().unwrap()));
            }
            *note.lock().unwrap() = (sent, may);
        }
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut sender = dial_h2(&edge, "a.test").await;
        let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
        let mut body = sender.send_request(request).await.unwrap().into_body();
        let start = std::time::Instant::now();
        let mut read = 0;
        // What is granted beyond what has been read is the window.
        while granted.lock().unwrap().1 < read + 16 * LEAST {
            assert!(start.elapsed() < STUCK, "{:?} of {read}", granted.lock().unwrap());
            let piece = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
            read += piece.into_data().unwrap().len() as u64;
        }
    });
}

/// However many readers stop after they were quick, each holds what it may and loses nothing, and others go on.
#[test]
fn readers_that_stop_are_within_the_memory() {
    const MEMORY: usize = 4 << 20;
    const WHOLE: usize = 4_000_000;
    let origin = Library::start(Speaks::H2c, |_, _| said(vec![b'x'; WHOLE]));
    let limits = Limits { memory: MEMORY, ..Limits::default() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), h2c())], limits);
    let ask = || {
        let mut client = edge.dial();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        client
    };
    let mut readers: Vec<(Blocking, usize)> = (0..10).map(|_| (ask(), 0)).collect();
    for (client, read) in &mut readers {
        let mut piece = [0; 16 * 1024];
        while *read < 400_000 {
            *read += client.read(&mut piece).unwrap();
        }
    }
    let held = || edge.gauge("bartizan_http_buffer_bytes") as usize;
    let mut all = Vec::new();
    ask().read_to_end(&mut all).unwrap();
    assert!(all.len() > WHOLE, "{} {} {:?}", all.len(), held(), edge.counters());
    assert!(held() <= MEMORY / 2, "{}", held());
    for (client, read) in &mut readers {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(*read + rest.len() > WHOLE, "{}", *read + rest.len());
    }
    assert_eq!(edge.counters().visitors.memory, 0);
    let start = std::time::Instant::now();
    while held() > 0 {
        assert!(start.elapsed() < STUCK, "it comes back");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// What is wrong on one stream ends that alone, and not the others.
#[test]
fn errors_of_streams_are_theirs_alone() {
    let (go, told) = std::sync::mpsc::channel();
    let told = Mutex::new(told);
    // With how often each is asked for: what nothing was done for, what may be repeated, and what has a head that was passed on.
    let faults = [
        ("reset", 2, frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])),
        ("refused", 3, frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])),
        ("data first", 2, frame(DATA, END_STREAM, 1, b"hi")),
        ("no status", 2, head(END_STREAM, &[("x-a", "1")])),
        ("connection fields", 2, head(END_STREAM, &[OK, ("connection", "close")])),
        ("longer than said", 1, [head(0, &[OK, ("content-length", "1")]), frame(DATA, 0, 1, b"hi")].concat()),
        ("shorter than said", 1, [head(0, &[OK, ("content-length", "9")]), frame(DATA, END_STREAM, 1, b"hi")].concat()),
        ("101", 2, head(END_STREAM, &[(":status", "101")])),
        ("interim answers", 2, head(0, &[(":status", "103")]).repeat(20)),
        ("a window that grows by nothing", 2, frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
        ("a window that is too large", 2, frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]).repeat(2)),
        ("trailers that do not end", 1, [head(0, &[OK]), head(0, &[("x-a", "1")])].concat()),
    ];
    let bytes = faults.clone().map(|(_, times, bytes)| (times, bytes));
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        let first = liar.next_of(HEADERS).unwrap();
        liar.send(&for_stream(first.stream, &[head(0, &[OK]), frame(DATA, 0, 1, b"a")].concat()));
        for fault in &bytes {
            for _ in 0..fault.0 {
                let Some(asked) = liar.next_of(HEADERS) else { return };
                liar.send(&for_stream(asked.stream, &fault.1));
            }
        }
        told.lock().unwrap().recv_timeout(STUCK).unwrap();
        liar.send(&for_stream(first.stream, &frame(DATA, END_STREAM, 1, b"b")));
        liar.until_end();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut sender = dial_h2(&edge, "a.test").await;
        let ask = || Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
        let whole = sender.send_request(ask()).await.unwrap();
        for (fault, ..) in &faults {
            let answer = sender.send_request(ask()).await;
            let is_whole = match answer {
                Ok(answer) if answer.status() == 200 => read_body(answer.into_body()).await.is_ok(),
                Ok(answer) => {
                    assert_eq!(answer.status(), 502, "{fault}");
                    false
                }
                Err(_) => false,
            };
            assert!(!is_whole, "{fault}");
        }
        go.send(()).unwrap();
        assert_eq!(read_body(whole.into_body()).await.unwrap(), b"ab");
    });
    assert_eq!(origin.connections(), 1);
}

/// A visitor that gives up is told of to the origin, on that stream alone.
#[test]
fn a_visitor_that_gives_up() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        while let Some(heard) = liar.next() {
            if matches!(heard.kind, HEADERS | RST_STREAM) {
                tell.lock().unwrap().send((heard.kind, heard.stream, heard.payload.len())).unwrap();
            }
            if heard.kind == HEADERS && heard.stream > 1 {
                liar.send(&frame(HEADERS, END_HEADERS | END_STREAM, heard.stream, &block(&[OK])));
            }
        }
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        client.send(&get(1, "a.test")).await;
        assert_eq!(told.recv_timeout(STUCK).map(|(kind, stream, _)| (kind, stream)), Ok((HEADERS, 1)));
        client.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
        assert_eq!(told.recv_timeout(STUCK), Ok((RST_STREAM, 1, 4)));
        client.send(&get(3, "a.test")).await;
        assert_eq!(client.next_of(&[HEADERS]).await.unwrap().payload[0], super::frames::OK);
        assert_eq!(told.recv_timeout(STUCK).map(|(kind, stream, _)| (kind, stream)), Ok((HEADERS, 3)));
    });
    assert_eq!(origin.connections(), 1);
}

/// Who sends without end on a stream that was given up is let go of.
#[test]
fn an_origin_that_does_not_stop() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        let Some(asked) = liar.next_of(HEADERS) else { return };
        liar.send(&for_stream(asked.stream, &head(0, &[OK])));
        let Some(given_up) = liar.next_of(RST_STREAM) else { return };
        let late = frame(DATA, 0, given_up.stream, b"x").repeat(1_000);
        let sent = (0..10_000).find(|_| liar.stream.write_all(&late).is_err());
        tell.lock().unwrap().send(sent.is_some()).unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        client.send(&get(1, "a.test")).await;
        client.next_of(&[HEADERS]).await.unwrap();
        client.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
    });
    assert_eq!(told.recv_timeout(STUCK), Ok(true), "it could send ten million frames");
}

/// What a connection on which nothing is asked would keep, it does not keep: it ends.
#[test]
fn an_origin_that_keeps_something_back() {
    let (whole, rest) = (frame(HEADERS, 0, 1, &block(&[("x-a", "1")])), [b'x'; 3_000]);
    let large = [&16_000_u32.to_be_bytes()[1..], &[DATA, 0, 0, 0, 0, 1], &rest].concat();
    let small = frame(PING, 0, 0, &[0; 8])[..12].to_vec();
    for (what, said, ends) in
        [("a block", whole, true), ("a large frame", large, true), ("a small frame", small, false)]
    {
        let (tell, told) = std::sync::mpsc::channel();
        let tell = Mutex::new(tell);
        let origin = Origin::raw(move |stream| {
            let Some(mut liar) = Liar::begin(stream) else { return };
            let Some(asked) = liar.next_of(HEADERS) else { return };
            // The block is of a stream that the edge gave up: nobody is to blame for what comes late.
            liar.send(&for_stream(asked.stream, &head(0, &[OK])));
            liar.next_of(RST_STREAM);
            liar.send(&for_stream(asked.stream, &said));
            liar.stream.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
            let ended = loop {
                let mut byte = [0];
                match liar.stream.read(&mut byte) {
                    Ok(0) => break true,
                    Ok(_) => {}
                    Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
                }
            };
            tell.lock().unwrap().send(ended).unwrap();
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), h2c())]);
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            client.send(&get(1, "a.test")).await;
            client.next_of(&[HEADERS]).await.unwrap();
            client.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
        });
        assert_eq!(told.recv_timeout(STUCK), Ok(ends), "{what}");
    }
}

/// A head that an origin may find too large goes by HTTP/1.1, where it ends nobody else's request.
#[test]
fn large_heads_go_by_http1() {
    let edge = Edge::start(&[]);
    let origin = Library::start(Speaks::Tls(hosts(&edge.ca), &[b"h2", b"http/1.1"]), |_, _| said("hello"));
    edge.publish(&[("a.test", origin_at(origin.address), full())]);
    for (what, fields, path, expect) in [
        ("usual", vec![100; 20], 10, Version::HTTP_2),
        ("a long field", vec![5_000], 10, Version::HTTP_11),
        ("many", vec![1_000; 9], 10, Version::HTTP_11),
        ("below", vec![1_000; 6], 10, Version::HTTP_2),
        ("a long path", vec![], 5_000, Version::HTTP_11),
    ] {
        let answer = run(async {
            let request = Request::builder().uri(format!("https://a.test/{}", "p".repeat(path)));
            let fields = fields.iter().enumerate();
            let request = fields
                .fold(request, |request, (number, length)| request.header(format!("x-{number}"), "v".repeat(*length)));
            let request = request.body(Outgoing::of(0)).unwrap();
            dial_h2(&edge, "a.test").await.send_request(request).await.unwrap().status().as_u16()
        });
        assert_eq!(answer, 200, "{what}");
        assert_eq!(origin.take_seen().remove(0).version, expect, "{what}");
    }
}
