//! Settings of zones that say what visitors may send, and what their browsers are told.

use bartizan_names::{Ssl, TransportSecurity, ZoneSettings};
use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::edge::{Edge, field, origin_at, plain, status, tunnel};
use super::origin::{Origin, ok};
use super::protocols::{Outgoing, dial_h2, dial_tls, run};

const MAX: u64 = 200_000;

/// An answer over TLS and HTTP/1.1.
fn get_tls(edge: &Edge, host: &str, path: &str) -> String {
    run(async {
        let mut stream = dial_tls(edge, host, &[]).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
}

/// In place of what the origin says, with the edge's own pages too, and never where it could not be kept.
#[test]
fn promises() {
    let origin = Origin::start(|_| {
        b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nx-content-type-options: none\r\nContent-Length: 0\r\n\r\n"
            .to_vec()
    });
    let year = TransportSecurity { enabled: true, max_age: 31_536_000, ..TransportSecurity::default() };
    let whole = TransportSecurity { include_subdomains: true, preload: true, nosniff: true, ..year };
    let taken_back = TransportSecurity { max_age: 0, ..year };
    let sniffed = TransportSecurity { nosniff: true, ..TransportSecurity::default() };
    let off = ZoneSettings { ssl: Ssl::Off, ..plain() };
    for (settings, promise, over_tls, in_the_clear) in [
        (plain(), TransportSecurity::default(), (Some("max-age=1"), Some("none")), (None, Some("none"))),
        (plain(), year, (Some("max-age=31536000"), Some("none")), (None, Some("none"))),
        (
            plain(),
            whole,
            (Some("max-age=31536000; includeSubDomains; preload"), Some("nosniff")),
            (None, Some("nosniff")),
        ),
        (plain(), taken_back, (Some("max-age=0"), Some("none")), (None, Some("none"))),
        (plain(), sniffed, (Some("max-age=1"), Some("nosniff")), (None, Some("nosniff"))),
        // The redirect to plain HTTP.
        (off, whole, (None, Some("nosniff")), (None, Some("nosniff"))),
    ] {
        let settings = ZoneSettings { security_header: promise, ..settings };
        let edge = Edge::start(&[("a.test", origin_at(origin.address), settings)]);
        for (answer, expect) in [(get_tls(&edge, "a.test", "/"), over_tls), (edge.get("a.test", "/", ""), in_the_clear)]
        {
            for (name, expect) in [("strict-transport-security", expect.0), ("x-content-type-options", expect.1)] {
                assert_eq!(field(&answer, name), expect, "{promise:?} {answer}");
                let lines = answer.to_ascii_lowercase().matches(&format!("\r\n{name}: ")).count();
                assert_eq!(lines, usize::from(expect.is_some()), "{answer}");
            }
        }
    }
    let settings = ZoneSettings { security_header: whole, ..plain() };
    let edge = Edge::start(&[("a.test", tunnel(), settings)]);
    let page = get_tls(&edge, "a.test", "/");
    assert_eq!((status(&page), field(&page, "x-content-type-options")), ("530", Some("nosniff")), "{page}");
    let promised = "max-age=31536000; includeSubDomains; preload";
    assert_eq!(field(&page, "strict-transport-security"), Some(promised), "{page}");
    let headers = run(async {
        let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
        dial_h2(&edge, "a.test").await.send_request(request).await.unwrap().headers().clone()
    });
    assert_eq!(headers["strict-transport-security"], promised);
    assert_eq!(headers["x-content-type-options"], "nosniff");
    // Of a host that is nobody's nothing is known.
    assert_eq!(field(&get_tls(&edge, "b.test", "/"), "strict-transport-security"), None);
}

/// Where the origin has certificates of its own, its authority asks it by plain HTTP.
#[test]
fn an_authority_comes_to_the_origin_by_plain_http() {
    let origin = Origin::start(|seen| ok(seen.head.split(' ').nth(1).unwrap()));
    let settings = ZoneSettings { always_use_https: true, ..plain() };
    let edge = Edge::start(&[("a.test", origin_at(origin.address), settings)]);
    for (path, expect) in [
        ("/.well-known/acme-challenge/token", "200"),
        ("/.well-known/acme-challenge/", "200"),
        ("/.well-known/acme-challenge", "301"),
        ("/.well-known/other", "301"),
        ("/x/.well-known/acme-challenge/token", "301"),
        ("/?/.well-known/acme-challenge/token", "301"),
    ] {
        assert_eq!(status(&edge.get("a.test", path, "")), expect, "{path}");
    }
    assert_eq!(origin.seen().len(), 2);
}

fn sized(max_upload: u64) -> ZoneSettings {
    ZoneSettings { max_upload, ..plain() }
}

/// One that says its length is refused before anything of it is asked for; one that does not, where it gets too long.
#[test]
fn uploads_that_are_too_large() {
    let origin = Origin::start(|seen| ok(&seen.body.len().to_string()));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), sized(MAX))]);
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n";
    let body = |length: u64| "x".repeat(length as usize);
    let chunks = |count: u64| format!("{:x}\r\n{}\r\n", MAX / 4, body(MAX / 4)).repeat(count as usize);
    for (request, expect) in [
        (format!("{head}Content-Length: {MAX}\r\n\r\n{}", body(MAX)), "200"),
        (format!("{head}Content-Length: {}\r\n\r\n", MAX + 1), "413"),
        (format!("{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n", MAX + 1), "413"),
        (format!("{head}Content-Length: 18446744073709551615\r\n\r\n"), "413"),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks(4)), "200"),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n{}1\r\nx\r\n0\r\n\r\n", chunks(4)), "413"),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunks(5)), "413"),
    ] {
        let answer = edge.raw(request.as_bytes());
        assert_eq!(status(&answer), expect, "{answer}");
        let seen = origin.take_seen();
        assert_eq!(seen.iter().filter(|seen| seen.body.len() as u64 == MAX).count(), usize::from(expect == "200"));
        assert_eq!(seen.len(), usize::from(expect == "200"), "no origin has a whole request of it");
        assert_eq!(answer.contains("max_upload"), expect == "413", "{answer}");
    }
    run(async {
        let mut sender = dial_h2(&edge, "a.test").await;
        for (length, stated, expect) in
            [(MAX, None, 200), (MAX + 1, None, 413), (MAX + 1, Some(MAX + 1), 413), (1, None, 200)]
        {
            let request = Request::builder().method("POST").uri("https://a.test/");
            let request = stated.iter().fold(request, |request, stated| request.header("content-length", *stated));
            let answer = sender.send_request(request.body(Outgoing::of(length)).unwrap()).await.unwrap();
            assert_eq!(answer.status().as_u16(), expect, "{length} {stated:?}");
        }
    });
    assert_eq!(edge.counters().origins, Default::default(), "no origin is at fault");
}
