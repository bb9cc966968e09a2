//! Of visitors over HTTP/2.

use http::Request;

use super::super::edge::{Edge, origin_at, plain};
use super::super::frames::{
    Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, OK, RST_STREAM, SETTINGS, block, frame, request,
};
use super::super::origin::{Origin, ok};
use super::super::protocols::{Outgoing, dial_h2, read_all, run};
use super::{Expect, Way};

/// How a block of fields begins that has the status 400 (RFC 7541, appendix A).
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
        ("§8.2.1 colon in a name", get(&[("x:a", "1")]), MALFORMED),
        ("§8.2.1 space in a name", get(&[("x a", "1")]), MALFORMED),
        ("§8.2.1 no name", get(&[("", "1")]), MALFORMED),
        ("§8.2.1 capitals", get(&[("X-A", "1")]), MALFORMED),
        ("§8.2.1 space around a value", get(&[("x-a", " 1")]), bad),
        ("§8.2.1 space behind a value", get(&[("x-a", "1\t")]), bad),
        ("§8.2.1 line feed in a value", get(&[("x-a", "1\n2")]), MALFORMED),
        ("§8.2.1 NUL in a value", get(&[("x-a", "1\0")]), MALFORMED),
        ("§8.3 pseudo-field twice", get(&[(":path", "/")]), MALFORMED),
        ("§8.3 pseudo-field of answers", get(&[(":status", "200")]), MALFORMED),
        ("§8.3 unknown pseudo-field", get(&[(":x", "1")]), MALFORMED),
        ("§8.3 pseudo-field behind fields", get(&[("x-a", "1"), (":method", "GET")]), MALFORMED),
        ("§8.3.1 no path", with_path("GET", "/")[..3].to_vec(), MALFORMED),
        ("§8.3.1 no method", with_path("GET", "/")[1..].to_vec(), MALFORMED),
        ("§8.3.1 no scheme", [&with_path("GET", "/")[..1], &with_path("GET", "/")[2..]].concat(), MALFORMED),
        ("§8.3.1 no host", [&with_path("GET", "/")[..2], &with_path("GET", "/")[3..]].concat(), bad),
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
            outcome(&mut client).await
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

/// Trailers that are none are a stream error, and the origin does not get a whole request.
#[test]
fn http2_trailers_that_are_refused() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (rule, trailers, flags) in [
        ("§8.1 pseudo-field", (":path", "/"), END_HEADERS | END_STREAM),
        ("§8.1 not the end", ("x-sum", "7"), END_HEADERS),
        ("§8.2.1 capitals", ("X-Sum", "7"), END_HEADERS | END_STREAM),
        ("§8.2.2 a field of the connection", ("connection", "x-sum"), END_HEADERS | END_STREAM),
    ] {
        let outcome = run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            let frames = [
                frame(HEADERS, END_HEADERS, 1, &block(&request("POST", "a.test", &[]))),
                frame(DATA, 0, 1, b"hi"),
                frame(HEADERS, flags, 1, &block(&[trailers])),
            ];
            client.send(&frames.concat()).await;
            outcome(&mut client).await
        });
        assert_eq!(outcome, MALFORMED, "{rule}");
        assert!(origin.take_seen().is_empty(), "{rule}");
    }
}

#[test]
fn http2_that_is_served_like_http1() {
    let ways = Way::both();
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
            let pseudo = [(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)];
            let fields: Vec<_> = pseudo.iter().chain(others).copied().collect();
            for way in &ways {
                let rule = format!("{rule} {}", way.name);
                let mut client = Client::begin(&way.edge, "a.test", &[]).await;
                client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await;
                assert_eq!(outcome(&mut client).await, Outcome::Answer(OK), "{rule}");
                Expect { there, gone }.check(&way.take_heads()[0], &rule);
            }
        }
        // RFC 9110 §7.6.2: at its last hop a request is answered by who has it.
        let last = [&request("OPTIONS", "a.test", &[])[..], &[("max-forwards", "0")]].concat();
        for way in &ways {
            let mut client = Client::begin(&way.edge, "a.test", &[]).await;
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&last))).await;
            assert_eq!(outcome(&mut client).await, Outcome::Answer(OK), "{}", way.name);
            assert_eq!(way.take_heads(), [""; 0], "{}", way.name);
        }
        // RFC 8441 §3: who does not say so must not be asked for a WebSocket.
        let mut client = Client::begin(&ways[0].edge, "a.test", &[]).await;
        let settings = client.next_of(&[SETTINGS]).await.unwrap().payload;
        assert!(settings.chunks(6).any(|pair| pair == [0, 8, 0, 0, 0, 1]), "{settings:?}");
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
            "RFC 6797 §7.2 over TLS",
            "GET",
            "200 OK\r\nStrict-Transport-Security: max-age=9\r\nContent-Length: 2\r\n\r\nhi",
            200,
            &["strict-transport-security"],
            &[],
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
            let (data, trailers) = read_all(answer.into_body()).await;
            assert_eq!(data, body.as_bytes(), "{rule}");
            assert_eq!(trailers.get("x-sum").map(|sum| sum.to_str().unwrap()), trailer, "{rule}");
            assert_eq!(trailers.len(), usize::from(trailer.is_some()), "{rule}");
        });
    }
}
