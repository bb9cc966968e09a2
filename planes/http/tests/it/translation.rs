//! What becomes of a message between one version of HTTP and the next: RFC 9110 §7 and RFC 9113 §8, rule by rule. The
//! table in the README of this crate names them; here is each as a row.

use std::sync::{Arc, Mutex};

use bartizan_exchange::Response;
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Body as _;

use super::edge::{Edge, field, origin_at, plain, status, text, tunnel};
use super::frames::{
    Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, block, frame, request,
};
use super::origin::{Origin, ok};
use super::protocols::{Outgoing, dial_h2, run};

/// Lines that a head has to have, and names of which it must have none. In lower case.
struct Expect<'r> {
    there: &'r [&'r str],
    gone: &'r [&'r str],
}

impl Expect<'_> {
    fn check(&self, head: &str, rule: &str) {
        let head = head.to_ascii_lowercase();
        let lines: Vec<&str> = head.lines().collect();
        for line in self.there {
            assert!(lines.contains(line), "{rule}: {line} is missing in\n{head}");
        }
        for name in self.gone {
            assert!(!lines.iter().any(|line| line.starts_with(&format!("{name}:"))), "{rule}: {name} is in\n{head}");
        }
    }
}

/// Requests of HTTP/1.1: what the origin gets of them, or none.
#[test]
fn http1_requests() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (rule, first, fields, code, there, gone) in [
        (
            "§7.6.1 named fields",
            "GET /x",
            "Connection: close, X-A\r\nX-A: 1\r\n",
            "200",
            &["get /x http/1.1"][..],
            &["x-a", "connection"][..],
        ),
        (
            "§7.6.1 known fields",
            "GET /x",
            "Keep-Alive: 1\r\nProxy-Connection: x\r\nTrailer: x\r\n",
            "200",
            &[],
            &["keep-alive", "proxy-connection", "trailer"],
        ),
        ("§10.1.4 TE", "GET /x", "TE: trailers\r\n", "200", &[], &["te"]),
        (
            "§7.8 Upgrade",
            "GET /x",
            "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
            "200",
            &[],
            &["upgrade", "http2-settings", "connection"],
        ),
        (
            "RFC 3875 §4.1.18 twins",
            "GET /x",
            "Transfer_Encoding: chunked\r\nContent_Length: 3\r\nProxy: x\r\n",
            "200",
            &[],
            &["transfer_encoding", "content_length", "proxy"],
        ),
        ("§7.1 absolute form", "GET http://a.test/x", "", "200", &["get /x http/1.1", "host: a.test"], &[]),
        ("§7.2 another host", "GET http://b.test/x", "", "400", &[], &[]),
        ("RFC 9112 §3.2.4 asterisk", "OPTIONS *", "", "200", &["options * http/1.1"], &[]),
        ("RFC 9112 §3.2.4 absolute form", "OPTIONS http://a.test", "", "200", &["options * http/1.1"], &[]),
        ("RFC 9112 §3.2.4 asterisk, other method", "GET *", "", "400", &[], &[]),
        ("§9.3.6 CONNECT", "CONNECT a.test:443", "", "405", &[], &[]),
        ("§9.3.8 TRACE", "TRACE /", "", "405", &[], &[]),
        ("§7.6.2 at the last hop", "OPTIONS /x", "Max-Forwards: 0\r\n", "200", &[], &[]),
        ("§7.6.2 before it", "OPTIONS /x", "Max-Forwards: 5\r\n", "200", &["max-forwards: 4"], &[]),
        ("§7.6.2 no number", "OPTIONS /x", "Max-Forwards: x\r\n", "200", &["max-forwards: x"], &[]),
        ("§7.6.2 other methods", "GET /x", "Max-Forwards: 0\r\n", "200", &["max-forwards: 0"], &[]),
        (
            "§7.6.3, RFC 8586",
            "GET /x",
            "Via: 1.0 a\r\nCDN-Loop: b\r\n",
            "200",
            &["via: 1.0 a", "cdn-loop: b, bartizan"],
            &[],
        ),
        (
            "§7.7 no transformation",
            "GET /x",
            "Accept-Encoding: br\r\nCache-Control: no-transform\r\n",
            "200",
            &["accept-encoding: br", "cache-control: no-transform"],
            &[],
        ),
    ] {
        let answer = edge.raw(
            format!(
                "{first} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{fields}\r\n",
                if first.starts_with("CONNECT") { "a.test:443" } else { "a.test" }
            )
            .as_bytes(),
        );
        assert_eq!(status(&answer), code, "{rule}\n{answer}");
        let seen = origin.take_seen();
        let reaches = code == "200" && rule != "§7.6.2 at the last hop";
        assert_eq!(seen.len(), usize::from(reaches), "{rule}");
        seen.iter().for_each(|seen| Expect { there, gone }.check(&seen.head, rule));
    }
}

/// Answers to HTTP/1.1: what a visitor gets of them.
#[test]
fn http1_answers() {
    const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (rule, first, said, code, there, gone, body) in [
        ("§6.6.1 a date", "GET", "200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned(), "200", &["content-length: 2"][..], &[][..], "hi"),
        ("§6.6.1 its date", "GET", format!("200 OK\r\n{DATE}Content-Length: 0\r\n\r\n"), "200", &["date: sun, 06 nov 1994 08:49:37 gmt"], &[], ""),
        ("§7.6.1", "GET", "200 OK\r\nConnection: X-A\r\nX-A: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nAlt-Svc: h3=\":1\"\r\nContent-Length: 0\r\n\r\n".to_owned(), "200", &[], &["x-a", "keep-alive", "upgrade", "alt-svc"], ""),
        ("§15.2 interim answers", "GET", "100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned(), "200", &[], &["link"], "hi"),
        ("§15.2.2 a switch that nobody asked for", "GET", "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(), "502", &[], &["upgrade"], "-"),
        ("§9.3.2 HEAD", "HEAD", "200 OK\r\nContent-Length: 5\r\n\r\n".to_owned(), "200", &["content-length: 5"], &[], ""),
        ("§9.3.2 HEAD, chunked", "HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "200", &[], &["content-length"], ""),
        ("§15.3.5 204", "GET", "204 No Content\r\n\r\n".to_owned(), "204", &[], &["content-length", "transfer-encoding"], ""),
        ("§15.4.5 304", "GET", "304 Not Modified\r\nContent-Length: 5\r\n\r\n".to_owned(), "304", &["content-length: 5"], &[], ""),
        ("RFC 9112 §7.1.2 trailers, asked for", "GET-TE", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n".to_owned(), "200", &["transfer-encoding: chunked"], &[], "2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"),
        ("§6.5.1 trailers, not asked for", "GET", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n".to_owned(), "200", &["transfer-encoding: chunked"], &[], "2\r\nhi\r\n0\r\n\r\n"),
    ] {
        let origin = Origin::start(move |_| format!("HTTP/1.1 {said}").into_bytes());
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        let (method, te) = first.split_once('-').map_or((first, ""), |(method, _)| (method, "TE: trailers\r\n"));
        let connection = if te.is_empty() { "close" } else { "close, TE" };
        let answer =
            edge.raw(format!("{method} / HTTP/1.1\r\nHost: a.test\r\nConnection: {connection}\r\n{te}\r\n").as_bytes());
        assert_eq!(status(&answer), code, "{rule}\n{answer}");
        Expect { there, gone }.check(answer.split("\r\n\r\n").next().unwrap(), rule);
        assert!(field(&answer, "date").is_some(), "{rule}");
        let got = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(body == "-" || got == body, "{rule}\n{got:?}");
    }
}

/// Trailers of a request go on where they may: not those that mean something in front of a body only, and not those that
/// only an edge may set.
#[test]
fn trailers_of_a_request() {
    const TRAILERS: &str = "X-Sum: 7\r\nAuthorization: x\r\nCF-Connecting-IP: 6.6.6.6\r\nTransfer-Encoding: x\r\n";
    let (tell, told) = std::sync::mpsc::channel();
    let origin = Origin::raw(move |mut stream| {
        let head = super::edge::read_head(&mut stream);
        let mut body = Vec::new();
        while !body.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            body.push(byte[0]);
        }
        tell.send((head, String::from_utf8(body).unwrap())).unwrap();
        std::io::Write::write_all(&mut stream, &ok("")).unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{TRAILERS}\r\n"
    );
    assert_eq!(status(&edge.raw(request.as_bytes())), "200");
    assert_eq!(told.recv().unwrap().1, "2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n");
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        let fields = block(&super::frames::request("POST", "a.test", &[]));
        let trailers = block(&[("x-sum", "7"), ("authorization", "x"), ("cf-connecting-ip", "6.6.6.6")]);
        let frames = [
            frame(HEADERS, END_HEADERS, 1, &fields),
            frame(DATA, 0, 1, b"hi"),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
        ];
        client.send(&frames.concat()).await;
        assert_eq!(client.next_of(&[HEADERS]).await.unwrap().payload[0], OK);
    });
    assert_eq!(told.recv().unwrap().1, "2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n");
}

/// How a block of fields begins that has this status (RFC 7541, appendix A).
const OK: u8 = 0x88;
const BAD_REQUEST: u8 = 0x8c;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answer(u8),
    /// A stream error (RFC 9113 §5.4.2), by its code.
    Reset(u32),
    /// A connection error.
    Goaway,
}

/// PROTOCOL_ERROR (RFC 9113 §7).
const MALFORMED: Outcome = Outcome::Reset(1);

/// Requests of HTTP/2 that no library would send. What is malformed is a stream error (RFC 9113 §8.1.1), or 400 where it
/// is one in HTTP/1.1 too; none of these reaches the origin.
#[test]
fn http2_requests_that_are_refused() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let get = |others: &[(&'static str, &'static str)]| request("GET", "a.test", others);
    let with_path = |method: &'static str, path: &'static str| {
        vec![(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)]
    };
    let bad = Outcome::Answer(BAD_REQUEST);
    for (rule, fields, expect) in [
        ("§8.2.2 Connection", get(&[("connection", "x-a")]), MALFORMED),
        ("§8.2.2 Upgrade", get(&[("upgrade", "websocket")]), MALFORMED),
        ("§8.2.2 Transfer-Encoding", get(&[("transfer-encoding", "chunked")]), MALFORMED),
        ("§8.2.2 Keep-Alive", get(&[("keep-alive", "1")]), MALFORMED),
        ("§8.2.2 Proxy-Connection", get(&[("proxy-connection", "x")]), MALFORMED),
        ("§8.2.2 TE", get(&[("te", "gzip")]), MALFORMED),
        ("§8.2.1 capitals", get(&[("X-A", "1")]), MALFORMED),
        ("§8.2.1 space around a value", get(&[("x-a", " 1")]), bad),
        ("§8.2.1 space behind a value", get(&[("x-a", "1\t")]), bad),
        ("§8.2.1 line feed in a value", get(&[("x-a", "1\n2")]), MALFORMED),
        ("§8.3 unknown pseudo-field", get(&[(":x", "1")]), MALFORMED),
        ("§8.3 pseudo-field behind fields", get(&[("x-a", "1"), (":method", "GET")]), MALFORMED),
        ("§8.3.1 no path", with_path("GET", "/")[..3].to_vec(), MALFORMED),
        ("§8.3.1 empty path", with_path("GET", ""), MALFORMED),
        ("§8.3.1 asterisk", with_path("GET", "*"), bad),
        ("§8.3.1 no slash", with_path("GET", "x"), MALFORMED),
        ("§8.3.1 only a query", with_path("GET", "?x"), bad),
        ("§8.3.1 userinfo", request("GET", "u@a.test", &[]), bad),
        ("§8.3.1 another Host", get(&[("host", "b.test")]), bad),
        ("§8.1.1 no body for a length", get(&[("content-length", "3")]), MALFORMED),
        ("§8.1.1 two lengths", get(&[("content-length", "0"), ("content-length", "0")]), bad),
        ("RFC 8441 §4 not offered", get(&[(":protocol", "websocket")]), MALFORMED),
    ] {
        let outcome = run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await;
            match outcome(&mut client).await {
                // What breaks the grammar of fields the library takes for an attack on the whole connection.
                Outcome::Goaway => MALFORMED,
                outcome => outcome,
            }
        });
        assert_eq!(outcome, expect, "{rule}");
        assert!(origin.take_seen().is_empty(), "{rule}");
    }
}

async fn outcome(client: &mut Client) -> Outcome {
    let frame = client.next_of(&[HEADERS, RST_STREAM, GOAWAY]).await.expect("an answer");
    match frame.kind {
        HEADERS => Outcome::Answer(frame.payload[0]),
        RST_STREAM => Outcome::Reset(u32::from_be_bytes(*frame.payload.first_chunk().unwrap())),
        _ => Outcome::Goaway,
    }
}

/// A body that is shorter or longer than its head says is a stream error (RFC 9113 §8.1.1), and the origin does not get
/// a whole request.
#[test]
fn http2_bodies_of_another_length() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (body, expect) in [("hi", MALFORMED), ("hello", MALFORMED), ("abc", Outcome::Answer(OK))] {
        let outcome = run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            let fields = block(&request("POST", "a.test", &[("content-length", "3")]));
            let frames =
                [frame(HEADERS, END_HEADERS, 1, &fields), frame(DATA, END_STREAM, 1, body.as_bytes())].concat();
            client.send(&frames).await;
            outcome(&mut client).await
        });
        assert_eq!(outcome, expect, "{body}");
        assert_eq!(origin.take_seen().len(), usize::from(body.len() == 3), "{body}");
    }
}

#[test]
fn http2_that_is_served_like_http1() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    run(async {
        for (rule, method, path, others, there, gone) in [
            (
                "RFC 9113 §8.2.3",
                "GET",
                "/x",
                &[("cookie", "a=1"), ("cookie", "b=2")][..],
                &["get /x http/1.1", "cookie: a=1; b=2"][..],
                &[][..],
            ),
            ("RFC 9113 §8.2.2", "GET", "/x", &[("te", "trailers")], &["host: a.test"], &["te"]),
            ("RFC 9113 §8.3.1", "OPTIONS", "*", &[], &["options * http/1.1"], &[]),
            ("RFC 9110 §7.6.2", "OPTIONS", "/x", &[("max-forwards", "5")], &["max-forwards: 4"], &[]),
            (
                "RFC 3875 §4.1.18",
                "GET",
                "/x",
                &[("transfer_encoding", "chunked"), ("proxy", "x")],
                &[],
                &["transfer_encoding", "proxy"],
            ),
            ("RFC 8586", "GET", "/x", &[("cdn-loop", "b")], &["cdn-loop: b, bartizan"], &[]),
        ] {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            let pseudo = [(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)];
            let fields: Vec<_> = pseudo.iter().chain(others).copied().collect();
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await;
            assert_eq!(outcome(&mut client).await, Outcome::Answer(OK), "{rule}");
            Expect { there, gone }.check(&origin.take_seen()[0].head, rule);
        }
        // RFC 8441 §3: who does not say so must not be asked for extended CONNECT.
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        let settings = client.next_of(&[SETTINGS]).await.unwrap().payload;
        assert!(settings.chunks(6).all(|pair| pair[..2] != [0, 8]), "{settings:?}");
    });
}

/// Answers to HTTP/2: what a visitor gets of them.
#[test]
fn http2_answers() {
    for (rule, method, said, code, there, gone, body, trailer) in [
        (
            "§6.6.1 a date",
            "GET",
            "200 OK\r\nContent-Length: 2\r\n\r\nhi",
            200,
            &["content-length"][..],
            &[][..],
            "hi",
            None,
        ),
        (
            "RFC 9113 §8.2.2",
            "GET",
            "200 OK\r\nConnection: X-A\r\nX-A: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            &[],
            &["connection", "x-a", "keep-alive", "upgrade", "transfer-encoding", "content-length"],
            "hi",
            None,
        ),
        (
            "§15.2 interim answers",
            "GET",
            "103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            200,
            &[],
            &["link"],
            "hi",
            None,
        ),
        ("§9.3.2 HEAD", "HEAD", "200 OK\r\nContent-Length: 5\r\n\r\n", 200, &["content-length"], &[], "", None),
        ("§15.3.5 204", "GET", "204 No Content\r\n\r\n", 204, &[], &["content-length"], "", None),
        (
            "§15.4.5 304",
            "GET",
            "304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            304,
            &["content-length"],
            &[],
            "",
            None,
        ),
        (
            "RFC 9113 §8.1 trailers",
            "GET",
            "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\nSet-Cookie: x\r\n\r\n",
            200,
            &[],
            &["transfer-encoding"],
            "hi",
            Some("7"),
        ),
    ] {
        let origin = Origin::start(move |_| format!("HTTP/1.1 {said}").into_bytes());
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        run(async {
            let mut sender = dial_h2(&edge, "a.test").await;
            let request = Request::builder().method(method).uri("https://a.test/").body(Outgoing::of(0)).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), code, "{rule}");
            for name in there.iter().chain(&["date"]) {
                assert!(answer.headers().contains_key(*name), "{rule}: {name} is missing");
            }
            for name in gone {
                assert!(!answer.headers().contains_key(*name), "{rule}: {name} is there");
            }
            let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
            let mut got = answer.into_body();
            while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut got).poll_frame(cx)).await {
                match frame.unwrap().into_data() {
                    Ok(piece) => data.extend_from_slice(&piece),
                    Err(frame) => trailers = frame.into_trailers().unwrap(),
                }
            }
            assert_eq!(data, body.as_bytes(), "{rule}");
            assert_eq!(trailers.get("x-sum").map(|sum| sum.to_str().unwrap()), trailer, "{rule}");
            assert_eq!(trailers.len(), usize::from(trailer.is_some()), "{rule}");
        });
    }
}

/// A tunnel gets the same exchange.
#[test]
fn the_same_through_a_tunnel() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let edge = Edge::with_tunnels(&[("a.test", tunnel(), plain())], move |request| {
        let mut lines =
            vec![format!("{} {}", request.method, request.path), format!("host: {}", request.host.received())];
        lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
        noted.lock().unwrap().push(lines.join("\n"));
        let mut headers = HeaderMap::new();
        headers.insert("x-a", http::HeaderValue::from_static("1"));
        headers.insert("connection", http::HeaderValue::from_static("x-a"));
        Ok(Response { headers, status: StatusCode::OK, ..text(200, "hello") })
    });
    let answer = edge.raw(
        b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-B\r\nX-B: 1\r\nTE: trailers\r\nMax-Forwards: 2\r\n\r\n",
    );
    assert!(status(&answer) == "200" && field(&answer, "x-a").is_none(), "{answer}");
    let head = seen.lock().unwrap().pop().unwrap();
    let expect =
        Expect { there: &["options *", "host: a.test", "max-forwards: 1"], gone: &["x-b", "te", "connection"] };
    expect.check(&head, "over HTTP/1.1");
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        let fields = request("GET", "a.test", &[("cookie", "a=1"), ("te", "trailers"), ("cookie", "b=2")]);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await;
        assert_eq!(outcome(&mut client).await, Outcome::Answer(OK));
    });
    let head = seen.lock().unwrap().pop().unwrap();
    Expect { there: &["get /", "host: a.test", "cookie: a=1; b=2"], gone: &["te"] }.check(&head, "over HTTP/2");
}
