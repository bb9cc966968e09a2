//! Bytes in, status out; what is refused never reaches the origin (design §5, RFC 9112).

use super::edge::{Edge, origin_at, plain, status};
use super::frames::{Client, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, block, frame};
use super::origin::{Origin, ok};
use super::protocols::run;

#[test]
fn requests_that_could_be_read_two_ways() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let many = |count: usize| "X: y\r\n".repeat(count);
    let long = "y".repeat(33_000);
    let h = "Host: a.test\r\nConnection: close\r\n"; // two fields
    for (bytes, expect) in [
        // What is served, so that the rest of the table means something.
        (format!("GET / HTTP/1.1\r\n{h}\r\n"), "200"),
        (format!("\r\nGET / HTTP/1.1\r\n{h}\r\n"), "200"),
        (format!("GET / HTTP/1.0\r\n{h}\r\n"), "200"),
        (format!("GET http://a.test/ HTTP/1.1\r\n{h}\r\n"), "200"),
        (format!("GET HTTP://A.test:80?q HTTP/1.1\r\n{h}\r\n"), "200"),
        (format!("OPTIONS * HTTP/1.1\r\n{h}\r\n"), "200"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabc"), "200"),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: x\r\n\r\n"), "200"),
        (format!("GET / HTTP/1.1\r\n{h}{}\r\n", many(126)), "200"),
        (format!("GET / HTTP/1.1\r\n{h}X: {}\r\n\r\n", &long[..32_000]), "200"),
        ("GET / HTTP/1.1\r\nHost: A.Test:8080\r\nConnection: close\r\n\r\n".into(), "200"),
        // Length and framing.
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 3, 3\r\n\r\nabc"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: +3\r\n\r\nabc"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: -1\r\n\r\nabc"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 0x3\r\n\r\nabc"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 3 3\r\n\r\nabc"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length:\r\n\r\nabc"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 18446744073709551619\r\n\r\nabc"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), "400"),
        (
            format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            "400",
        ),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.0\r\n{h}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400"),
        (
            format!("GET / HTTP/1.1\r\n{h}Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc"),
            "400",
        ),
        // Lines.
        ("GET / HTTP/1.1\nHost: a.test\n\n".into(), "400"),
        (format!("GET / HTTP/1.1\r\n{h}X: y\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{h}X: y\r\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{h}X: y\rZ: x\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{h}X: a\r\n b\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n X: a\r\n{h}\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{h}X : y\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{h}X\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{h}: y\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{h}X: \0\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{h}X(y): z\r\n\r\n"), "400"),
        (format!("\r\n\r\nGET / HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET  / HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET /\tx HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET /\x01 HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET / x HTTP/1.1\r\n{h}\r\n"), "400"),
        ("GET /\r\n\r\n".into(), "400"),
        (format!("GET / HTTP/1.2\r\n{h}\r\n"), "400"),
        (format!("GET / HTTP/2.0\r\n{h}\r\n"), "400"),
        (format!("GET / http/1.1\r\n{h}\r\n"), "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "400"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\n\n".into(), "400"),
        // Hosts and targets.
        ("GET / HTTP/1.1\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.0\r\n\r\n".into(), "400"),
        (format!("GET / HTTP/1.1\r\n{h}Host: a.test\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\nHost: x@a.test\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\nHost: a.test:80x\r\n\r\n".into(), "400"),
        ("GET / HTTP/1.1\r\nHost: a.test:\r\n\r\n".into(), "400"),
        (format!("GET http://b.test/ HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET http://a.test:81/ HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET http://x@a.test/ HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET ftp://a.test/ HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET a.test/ HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET /#fragment HTTP/1.1\r\n{h}\r\n"), "400"),
        (format!("GET * HTTP/1.1\r\n{h}\r\n"), "400"),
        // Methods that make a proxy or a mirror of us.
        (format!("CONNECT a.test:443 HTTP/1.1\r\n{h}\r\n"), "405"),
        (format!("CONNECT / HTTP/1.1\r\n{h}\r\n"), "405"),
        (format!("TRACE / HTTP/1.1\r\n{h}\r\n"), "405"),
        // Sizes.
        (format!("GET / HTTP/1.1\r\n{h}{}\r\n", many(127)), "431"),
        (format!("GET / HTTP/1.1\r\n{h}X: {long}\r\n\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\n{h}\r\n"), "431"),
        (long.clone(), "431"),
    ] {
        let answer = edge.raw(bytes.as_bytes());
        assert_eq!(status(&answer), expect, "{:?}\n{answer}", &bytes[..bytes.len().min(200)]);
        let seen = origin.take_seen();
        assert_eq!(seen.len(), usize::from(expect == "200"), "{:?} {seen:?}", &bytes[..bytes.len().min(200)]);
        if expect != "200" {
            assert!(
                answer.to_ascii_lowercase().contains("connection: close") && answer.contains("bartizan"),
                "{answer}"
            );
        }
    }
}

/// What is a request in one version is one in the other, and the origin gets the same head.
#[test]
fn both_versions_have_one_grammar() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let method = |method| (method, "/x", "a.test", ("x-a", "1"));
    let path = |path| ("GET", path, "a.test", ("x-a", "1"));
    let host = |host| ("GET", "/x", host, ("x-a", "1"));
    let field = |name, value| ("GET", "/x", "a.test", (name, value));
    let served = [
        method("GET"),
        method("M-SEARCH"),
        method("get"),
        path("/"),
        path("/x?y=/?"),
        path("//x/../%2e%2e/%zz"),
        path("/x;y=\"{1}\"|~'"),
        path("/?"),
        path("/\u{e9}"),
        host("a.test:8443"),
        host("A.Test."),
        field("x_a", "1"),
        field("x.a~!", "1"),
        field("x-a", "a\tb"),
        field("x-a", "caf\u{e9}"),
        field("x-a", ""),
    ];
    let refused = [
        method("G@T"),
        method("CONNECT"),
        method("TRACE"),
        path("x"),
        path("*"),
        path("?x"),
        path("/#x"),
        path("/\u{1}"),
        path("/\u{7f}"),
        path("/<x>"),
        path("/\\^`"),
        host(""),
        host("a.test:"),
        host("a.test:80x"),
        host("a.test:65536"),
        host("a.test, b.test"),
        host("a.test b.test"),
        host("u@a.test"),
        host("a/b@c"),
        host("a..test"),
        host(".a.test"),
        host("a%2etest"),
        host("[::1"),
        field("x-a", "1\u{1}"),
        field("x-a", "1\u{7f}"),
        field("x-a", "1\r2"),
        field("x-a", "1\u{0}2"),
        field("x a", "1"),
        field("x(a", "1"),
        field("host", "b.test"),
        field("content-length", "1, 1"),
        field("content-length", "+0"),
    ];
    // What is another by the way that a request came, and by its number.
    let own = ["cf-ray", "cf-visitor", "x-forwarded-proto", "forwarded", "content-length"];
    let take = || {
        let lines = |head: String| {
            let mut lines: Vec<String> = head.lines().map(str::to_ascii_lowercase).collect();
            lines.retain(|line| !own.iter().any(|name| line.starts_with(&format!("{name}:"))));
            lines[1..].sort();
            lines
        };
        origin.take_seen().into_iter().map(|seen| lines(seen.head)).collect::<Vec<_>>()
    };
    let rows = served.map(|row| (1, row)).into_iter().chain(refused.map(|row| (0, row)));
    for (count, row) in rows {
        let (method, path, host, (name, value)) = row;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{name}: {value}\r\n\r\n");
        let answer = edge.raw(request.as_bytes());
        let by_http1 = take();
        let pseudo = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), (name, value)];
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&pseudo))).await;
            client.next_of(&[HEADERS, RST_STREAM, GOAWAY]).await.expect("an answer");
        });
        assert_eq!(by_http1.len(), count, "{row:?} {answer}");
        assert_eq!(take(), by_http1, "{row:?}");
    }
}

/// A broken body is noticed after its head has gone on: the visitor gets 400, the origin no end.
#[test]
fn bodies_that_break_their_framing() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let h = "Host: a.test\r\nTransfer-Encoding: chunked\r\n";
    for body in [
        "3\nabc\n0\n\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "g\r\n",
        "-3\r\nabc\r\n",
        "10000000000000000\r\n",
        "0\r\nX: y\n\r\n",
    ] {
        let answer = edge.raw(format!("POST / HTTP/1.1\r\n{h}\r\n{body}").as_bytes());
        assert_eq!(status(&answer), "400", "{body:?}\n{answer}");
        assert!(origin.take_seen().is_empty(), "{body:?}");
    }
}

/// On a connection with several requests, the good ones are answered first, then the bad one, then the end.
#[test]
fn later_requests_are_screened_too() {
    let origin = Origin::start(|seen| ok(seen.head.split(' ').nth(1).unwrap()));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let post = "POST /post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 40\r\n\r\nGET /inside HTTP/1.1\r\nHost: b.test\r\n\r\n..";
    let chunked = "POST /chunked HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let bad = "GET /bad HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n";
    for (bytes, paths) in [
        (format!("{}{}{bad}", get("/1"), get("/2")), &["/1", "/2"][..]),
        (format!("{post}{bad}{}", get("/after")), &["/post"]),
        (format!("{chunked}{post}{chunked}{bad}"), &["/chunked", "/post", "/chunked"]),
        (format!("{chunked}0\r\n\r\n"), &["/chunked"]),
        (format!("{post}\n"), &["/post"]),
    ] {
        let answer = edge.raw(bytes.as_bytes());
        let statuses: Vec<&str> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
        let mut expect = vec!["200"; paths.len()];
        expect.push("400");
        assert_eq!(statuses, expect, "{bytes:?}\n{answer}");
        let seen: Vec<String> =
            origin.take_seen().iter().map(|seen| seen.head.split(' ').nth(1).unwrap().to_owned()).collect();
        assert_eq!(seen, paths, "{bytes:?}");
    }
    assert_eq!(edge.counters().requests.screened_out, 5);
}
