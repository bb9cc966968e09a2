//! What is said to origins over HTTP/2 and by them: of requests and answers, each alone.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bartizan_names::{OriginHttp, Ssl, ZoneSettings};
use bartizan_tls::Acceptor;
use http::{HeaderMap, Request, Response, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::edge::{Edge, STUCK, field, origin_at, read_head, status};
use super::frames::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    block, frame, request,
};
use super::http2_origin::{Answering, Liar, Library, OK, Speaks, for_stream, full, h2c, head, hosts, said};
use super::origin::Origin;
use super::protocols::{Outgoing, dial_h2, dial_tls, run};
use super::translation::Expect;

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

/// Answers each request with these bytes, which are for the stream 1 as they are here.
fn liar(bytes: Vec<u8>) -> Origin {
    Origin::raw(move |stream| {
        let Some(mut liar) = Liar::begin(stream) else { return };
        while let Some(heard) = liar.next_of(HEADERS) {
            liar.send(&for_stream(heard.stream, &bytes));
        }
    })
}

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

/// While the connection for it comes about, what is kept of a body to be sent again is counted.
#[test]
fn what_waits_to_be_sent_again_is_counted() {
    const LENGTH: usize = 60_000;
    let edge = Edge::start(&[]);
    let hosts = hosts(&edge.ca);
    let (go, told) = std::sync::mpsc::channel::<()>();
    let (told, first) = (Mutex::new(told), AtomicBool::new(true));
    let origin = Origin::raw(move |stream| {
        if !first.swap(false, Ordering::SeqCst) {
            // No handshake comes about.
            let _ = told.lock().unwrap().recv_timeout(STUCK);
            return;
        }
        stream.set_nonblocking(true).unwrap();
        run(async {
            let stream = TcpStream::from_std(stream).unwrap();
            let Ok(mut stream) = Acceptor::new(&[b"h2"]).accept(stream, &hosts).await else { return };
            stream.read_exact(&mut [0; 24]).await.unwrap();
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            stream.flush().await.unwrap();
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let [a, b, c, kind, flags, ..] = head;
                let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                stream.read_exact(&mut payload).await.unwrap();
                if kind == DATA && flags & END_STREAM != 0 {
                    break;
                }
            }
            // All of it was sent, and nothing was done for it.
            stream.write_all(&frame(GOAWAY, 0, 0, &[0; 8])).await.unwrap();
            stream.flush().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
    });
    edge.publish(&[("a.test", origin_at(origin.address), full())]);
    let held = || edge.gauge("bartizan_http_buffer_bytes") as usize;
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !holds() {
            assert!(start.elapsed() < STUCK, "{what}: {} of {} connections", held(), origin.connections());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    let asking = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            run(async {
                let mut stream = dial_tls(&edge, "a.test", &[]).await.unwrap();
                let head =
                    format!("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n");
                stream.write_all(&[head.as_bytes(), &[b'x'; LENGTH]].concat()).await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                String::from_utf8(answer).unwrap()
            })
        });
        until("it is dialled again", &|| origin.connections() == 2);
        assert!(held() >= LENGTH, "{}", held());
        drop(go);
        asking.join().unwrap()
    });
    assert_eq!(status(&asking), "502", "{asking}");
    until("nothing is held", &|| held() == 0);
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
