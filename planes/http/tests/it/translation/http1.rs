//! Of visitors over HTTP/1.1.

use super::super::edge::{Edge, field, origin_at, plain, status};
use super::super::origin::Origin;
use super::{Expect, Way};

/// Requests of HTTP/1.1: what the origin gets of them, or none.
#[test]
fn http1_requests() {
    let ways = Way::both();
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
        ("several cookies", "GET /x", "Cookie: a=1\r\nCookie: b=2\r\n", "200", &["cookie: a=1", "cookie: b=2"], &[]),
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
        let host = if first.starts_with("CONNECT") { "a.test:443" } else { "a.test" };
        let request = format!("{first} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
        for way in &ways {
            let rule = format!("{rule} {}", way.name);
            let answer = way.edge.raw(request.as_bytes());
            assert_eq!(status(&answer), code, "{rule}\n{answer}");
            let heads = way.take_heads();
            let reaches = code == "200" && !rule.starts_with("§7.6.2 at the last hop");
            assert_eq!(heads.len(), usize::from(reaches), "{rule}");
            heads.iter().for_each(|head| Expect { there, gone }.check(head, &rule));
        }
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
        ("RFC 6797 §7.2 in the clear", "GET", "200 OK\r\nConnection: X-A\r\nX-A: 1\r\nStrict-Transport-Security: max-age=9\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nhi".to_owned(), "200", &["set-cookie: a=1", "set-cookie: b=2", "content-length: 2"], &["strict-transport-security", "x-a", "connection: x-a"], "hi"),
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
