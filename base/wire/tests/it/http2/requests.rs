//! Which heads are requests (RFC 9113 §8.2, §8.3), and what becomes of them.

use bartizan_wire::http1::{FieldRoom, HeadWriter, Rewrite};
use bartizan_wire::http2::{Event, PREFACE};

use super::{DATA, END_HEADERS, END_STREAM, Edge, GET, HEADERS, SETTINGS, block, frame};

const RESET: &str = "reset 1 Protocol";

fn said(fields: &[(&str, &str)]) -> String {
    Edge::begun().feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields)))
}

fn get(others: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    GET.iter().chain(others).copied().collect()
}

fn with(method: &'static str, path: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)]
}

fn connect(path: &'static str, others: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    with("CONNECT", path).iter().chain(others).copied().collect()
}

#[test]
fn what_is_a_request() {
    for (rule, fields, expect) in [
        ("plain", get(&[]), "request 1"),
        ("§8.2 capitals", get(&[("X-A", "1")]), RESET),
        ("§8.2.1 no name", get(&[("", "1")]), RESET),
        ("§8.2.1 a colon", get(&[("x:a", "1")]), RESET),
        ("§8.2.1 a space", get(&[("x a", "1")]), RESET),
        ("§8.2.1 a value", get(&[("x-a", "1\r2")]), RESET),
        ("§8.2.1 NUL", get(&[("x-a", "\0")]), RESET),
        ("§8.2.1 space around", get(&[("x-a", " 1")]), "request 1 Malformed"),
        ("§8.2.2 Connection", get(&[("connection", "close")]), RESET),
        ("§8.2.2 Keep-Alive", get(&[("keep-alive", "5")]), RESET),
        ("§8.2.2 Proxy-Connection", get(&[("proxy-connection", "x")]), RESET),
        ("§8.2.2 Transfer-Encoding", get(&[("transfer-encoding", "chunked")]), RESET),
        ("§8.2.2 Upgrade", get(&[("upgrade", "x")]), RESET),
        ("§8.2.2 TE", get(&[("te", "gzip")]), RESET),
        ("§8.2.2 TE", get(&[("te", "trailers")]), "request 1"),
        ("§8.3 behind fields", [&[("x", "y")][..], &GET].concat(), RESET),
        ("§8.3 twice", get(&[(":scheme", "https")]), RESET),
        ("§8.3 unknown", get(&[(":x", "y")]), RESET),
        ("§8.3.2 of an answer", get(&[(":status", "200")]), RESET),
        ("§8.3.1 no method", GET[1..].to_vec(), RESET),
        ("§8.3.1 no path", GET[..3].to_vec(), RESET),
        ("§8.3.1 no scheme", [&GET[..1], &GET[2..]].concat(), RESET),
        ("§8.3.1 a method", with("G T", "/"), RESET),
        ("§8.3.1 a scheme", vec![(":method", "GET"), (":scheme", ""), (":authority", "a.test"), (":path", "/")], RESET),
        ("§8.3.1 no host", [&GET[..2], &GET[3..]].concat(), "request 1 NoHost"),
        ("§8.3.1 host by its field", [&GET[..2], &GET[3..], &[("host", "a.test")]].concat(), "request 1"),
        ("§8.3.1 the same", get(&[("host", "A.test:443")]), "request 1"),
        ("§8.3.1 another", get(&[("host", "b.test")]), "request 1 HostDiffers"),
        ("§8.3.1 two", get(&[("host", "a.test"), ("host", "a.test")]), "request 1 SeveralHosts"),
        ("§8.3.1 userinfo", vec![GET[0], GET[1], (":authority", "u@a.test"), GET[3]], "request 1 BadHost"),
        ("§8.3.1 empty path", with("GET", ""), RESET),
        ("§8.3.1 no slash", with("GET", "x"), RESET),
        ("§8.3.1 a space", with("GET", "/ x"), RESET),
        ("§8.3.1 a query", with("GET", "?x"), "request 1 Target"),
        ("§8.3.1 a fragment", with("GET", "/#x"), "request 1 Target"),
        ("§8.3.1 asterisk", with("GET", "*"), "request 1 Target"),
        ("§8.3.1 asterisk", with("OPTIONS", "*"), "request 1"),
        ("§8.5 CONNECT", vec![(":method", "CONNECT"), (":authority", "a.test:443")], "request 1"),
        ("§8.5 with a path", with("CONNECT", "/"), RESET),
        ("RFC 8441 §4", connect("/chat", &[(":protocol", "websocket")]), "request 1"),
        ("RFC 8441 §4 not asked by CONNECT", [&GET[..], &[(":protocol", "websocket")]].concat(), RESET),
        (
            "RFC 8441 §4 without a path",
            vec![(":method", "CONNECT"), (":authority", "a.test"), (":protocol", "websocket")],
            RESET,
        ),
        ("RFC 8441 §4 twice", connect("/", &[(":protocol", "websocket"), (":protocol", "websocket")]), RESET),
        ("RFC 8441 §4 no token", connect("/", &[(":protocol", "web socket")]), RESET),
        ("RFC 8441 §4 behind fields", connect("/", &[("x", "y"), (":protocol", "websocket")]), RESET),
        ("RFC 8441 §4 no path", connect("*", &[(":protocol", "websocket")]), "request 1 Target"),
        ("RFC 9220 §3", connect("/", &[(":protocol", "connect-udp")]), "request 1 UnknownProtocol"),
        (
            "RFC 8441 §5 with a body",
            connect("/", &[(":protocol", "websocket"), ("content-length", "1")]),
            "request 1 BodyOnUpgrade",
        ),
        ("§8.1.1 lengths", get(&[("content-length", "0"), ("content-length", "0")]), "request 1 SeveralLengths"),
        ("§8.1.1 a length", get(&[("content-length", "+0")]), "request 1 BadLength"),
        ("§10.5.1 fields", get(&[("x", "y"); 128]), "request 1"),
        ("§10.5.1 too many", get(&[("x", "y"); 129]), "request 1 TooManyFields"),
        ("§8.2.3 one line of cookies", get(&[("cookie", "a=1"); 300]), "request 1"),
    ] {
        assert_eq!(said(&fields), expect, "{rule}");
    }
}

#[test]
fn what_is_a_trailer() {
    const REQUEST: &str = "request 1 and a body";
    for (fields, is_one) in [
        (&[("x-sum", "7")][..], true),
        (&[], true),
        (&[(":path", "/")], false),
        (&[("X-Sum", "7")], false),
        (&[("connection", "x")], false),
        (&[("x-sum", "7 ")], false),
        (&[("x", "y"); 129], false),
    ] {
        let bytes =
            [frame(HEADERS, END_HEADERS, 1, &block(&GET)), frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))];
        let expect = if is_one { "trailers 1" } else { "gone 1, reset 1 Protocol" };
        assert_eq!(Edge::begun().feed(&bytes.concat()), format!("{REQUEST}, {expect}"), "{fields:?}");
    }
}

/// Nothing but data follows on the stream of a WebSocket (RFC 9113 §8.5).
#[test]
fn a_websocket_has_no_trailers() {
    let head = frame(HEADERS, END_HEADERS, 1, &block(&connect("/chat", &[(":protocol", "WebSocket")])));
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-sum", "7")]));
    let data = frame(DATA, END_STREAM, 1, b"bytes");
    for (after, expect) in [(trailers, "gone 1, reset 1 Protocol"), (data, "data 1 bytes.")] {
        let said = Edge::begun().feed(&[head.clone(), after].concat());
        assert_eq!(said, format!("request 1 and a body, {expect}"));
    }
}

/// A head that came as fields is one that HTTP/1.1 can be written from.
#[test]
fn fields_are_lines() {
    let fields = get(&[
        ("accept", "*/*"),
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("x-b-c", "\u{e9}"),
        ("cookie", "b=2"),
        ("content-length", "3"),
        ("expect", "100-Continue"),
        ("proxy", "x"),
        ("x_y", ""),
    ]);
    let mut edge = Edge::new();
    let bytes = [&PREFACE[..], &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_HEADERS, 1, &block(&fields))];
    let bytes = bytes.concat();
    let step = edge.connection.next(&bytes, &mut edge.heads, &mut edge.out).unwrap();
    assert_eq!(step.used, bytes.len());
    let Event::Request { stream: 1, ends: false, head: Ok(head) } = step.event else { panic!("{:?}", step.event) };
    assert_eq!((head.length, head.expects_continue), (Some(3), true));
    let text = edge.heads.text().to_vec();
    assert_eq!((head.method(&text), head.path(&text), head.host(&text)), (&b"GET"[..], &b"/"[..], "a.test"));
    let room = edge.heads.take_fields(FieldRoom::default());
    let mut out = Vec::new();
    HeadWriter::request(&mut out, "GET", ["/", ""]).copy(room.fields(&text), |_| Rewrite::Keep).end().unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "GET / HTTP/1.1\r\nAccept: */*\r\nX-B-C: \u{e9}\r\nExpect: 100-Continue\r\nX_y: \r\nCookie: a=1; b=2\r\n\r\n"
    );
}
