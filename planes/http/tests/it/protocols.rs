//! TLS, HTTP/2, HTTPS origins.

use std::convert::Infallible;
use std::future::Future;
use std::io::{Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bartizan_exchange::{Body as Answer, Response};
use bartizan_names::{CertificateId, Ssl, Timestamp, ZoneSettings};
use bartizan_tls::{Acceptor, Certificate, ClientStream, Hosts, Roots, client_config, connect};
use http::{HeaderMap, Request, StatusCode, Version};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::edge::{Ca, Edge, STUCK, field, origin_at, plain, status, tunnel};
use super::origin::{Origin, ok, pattern_at};

/// Runs a client on this thread; gets stuck for no longer than it should.
pub(crate) fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stuck = async { tokio::time::timeout(STUCK, client).await.expect("the client is stuck") };
    LocalSet::new().block_on(&runtime, stuck)
}

pub(crate) async fn dial_tls(edge: &Edge, name: &str, alpn: &[&[u8]]) -> std::io::Result<ClientStream<TcpStream>> {
    let config = client_config(&Roots::Pem(edge.ca.pem.clone()), alpn).unwrap();
    connect(&config, name, TcpStream::connect(edge.https).await?).await
}

pub(crate) type H2 = hyper::client::conn::http2::SendRequest<Outgoing>;

pub(crate) async fn dial_h2(edge: &Edge, name: &str) -> H2 {
    let stream = dial_tls(edge, name, &[b"h2"]).await.unwrap();
    assert_eq!(stream.alpn(), Some(&b"h2"[..]));
    let (sender, connection) =
        hyper::client::conn::http2::Builder::new(OnThisThread).handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}

#[derive(Clone)]
pub(crate) struct OnThisThread;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// So many bytes of the pattern, in pieces.
pub(crate) struct Outgoing {
    pub(crate) at: u64,
    pub(crate) end: u64,
}

impl Outgoing {
    pub(crate) fn of(length: u64) -> Outgoing {
        Outgoing { at: 0, end: length }
    }
}

impl Body for Outgoing {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Infallible>>> {
        if self.at == self.end {
            return Poll::Ready(None);
        }
        let piece = pattern_at(self.at);
        let piece = &piece[..piece.len().min((self.end - self.at) as usize)];
        self.at += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes::Bytes::from_static(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.end
    }
}

/// Data and trailers.
pub(crate) async fn read_all(mut body: Incoming) -> (Vec<u8>, HeaderMap) {
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.unwrap().into_data() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => trailers = frame.into_trailers().unwrap(),
        }
    }
    (data, trailers)
}

pub(crate) async fn read_body(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut all = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        all.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    Ok(all)
}

#[test]
fn http1_over_tls() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let answer = run(async {
            let mut stream = dial_tls(&edge, "a.test", alpn).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
        assert!(status(&answer) == "200" && answer.ends_with("\r\n\r\nhello"), "{answer}");
        let seen = origin.take_seen().remove(0);
        for (name, value) in [("x-forwarded-proto", "https"), ("cf-visitor", r#"{"scheme":"https"}"#)] {
            assert_eq!(field(&seen.head, name), Some(value));
        }
    }
    let refused = run(async { dial_tls(&edge, "a.elsewhere", &[]).await.err().unwrap().to_string() });
    assert!(refused.contains("no certificate for the name"), "{refused}");
}

/// RFC 9113 §8.2.3: what HTTP/2 may split is one line for HTTP/1.1, or people are logged out.
/// Whoever answers, and whatever body that brings (RFC 9110 §6.4.1, §8.6).
#[test]
fn what_has_no_body_has_none_in_either_version() {
    let edge = Edge::with_tunnels(&[("a.test", tunnel(), plain())], |request| {
        let status = request.path.as_str()[1..].parse().unwrap();
        Ok(Response { status, headers: HeaderMap::new(), body: Answer::whole("hello"), upgraded: None })
    });
    for (method, path, length, body) in [
        ("GET", "/200", Some("5"), "hello"),
        ("HEAD", "/200", Some("5"), ""),
        ("GET", "/204", None, ""),
        ("HEAD", "/204", None, ""),
        ("GET", "/304", Some("5"), ""),
    ] {
        let mut client = std::net::TcpStream::connect(edge.http).unwrap();
        write!(client, "{method} {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        let (head, said) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!((status(head), field(head, "content-length"), said), (&path[1..], length, body), "{method}");
        run(async {
            let mut sender = dial_h2(&edge, "a.test").await;
            let uri = format!("https://a.test{path}");
            let request = Request::builder().method(method).uri(uri).body(Outgoing::of(0)).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            let stated = answer.headers().get("content-length").cloned();
            let stated = stated.as_ref().map(|length| length.to_str().unwrap());
            assert_eq!((answer.status().as_str(), stated), (&path[1..], length), "{method}");
            assert_eq!(read_body(answer.into_body()).await.unwrap(), body.as_bytes(), "{method} {path}");
        });
    }
}

#[test]
fn cookies_of_http2_are_one_line() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (cookies, expect) in
        [(&[][..], None), (&["a=1"], Some("a=1")), (&["a=1", "b=2; c=3", "d=4"], Some("a=1; b=2; c=3; d=4"))]
    {
        let request = Request::builder().uri("https://a.test/");
        let request = cookies.iter().fold(request, |request, cookie| request.header("cookie", *cookie));
        let status = run(async {
            let mut sender = dial_h2(&edge, "a.test").await;
            sender.send_request(request.body(Outgoing::of(0)).unwrap()).await.unwrap().status()
        });
        assert_eq!(status, 200);
        let seen = origin.take_seen().remove(0);
        assert_eq!(field(&seen.head, "cookie"), expect, "{}", seen.head);
        assert!(seen.head.to_ascii_lowercase().matches("cookie:").count() <= 1, "{}", seen.head);
    }
}

#[test]
fn http2_requests() {
    let origin = Origin::start(|seen| ok(&String::from_utf8_lossy(&seen.body)));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let request = |uri: &str| Request::builder().uri(uri);
    for (request, length, expect) in [
        (request("https://a.test/x?y"), 0, 200),
        (request("https://A.test:8443/x?y"), 0, 200),
        (request("https://a.test/x?y").header("host", "a.test:443"), 0, 200),
        (request("https://a.test/x?y").method("POST"), 3, 200),
        (request("https://a.test/x?y").method("POST").header("content-length", "3"), 3, 200),
        (request("https://b.test/"), 0, 404),
        (request("https://a.test/").header("host", "b.test"), 0, 400),
        (request("https://a.test/").header("host", "a.test").header("host", "a.test"), 0, 400),
        (request("https://a.test/").method("TRACE"), 0, 405),
        (request("a.test:443").method("CONNECT"), 0, 405),
        ((0..129).fold(request("https://a.test/"), |request, _| request.header("x", "y")), 0, 431),
    ] {
        let request = request.body(Outgoing::of(length)).unwrap();
        let (status, version, body) = run(async {
            let mut sender = dial_h2(&edge, "a.test").await;
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.headers()["server"], "bartizan");
            assert_eq!(answer.headers()["cf-ray"].len(), 20);
            (answer.status(), answer.version(), read_body(answer.into_body()).await.unwrap())
        });
        let seen = origin.take_seen();
        assert_eq!((status.as_u16(), version, seen.len()), (expect, Version::HTTP_2, usize::from(expect == 200)));
        if let Some(seen) = seen.first() {
            assert!(seen.head.starts_with(if length > 0 { "POST /x?y " } else { "GET /x?y " }), "{}", seen.head);
            assert_eq!(body, &pattern_at(0)[..length as usize]);
            assert_eq!(field(&seen.head, "x-forwarded-proto"), Some("https"));
            assert!(field(&seen.head, "host").is_some_and(|host| host.starts_with("a.test")), "{}", seen.head);
        }
    }
    assert_eq!(edge.counters().requests.http2, 11);
}

/// Where HTTP/2 is off, it is not offered, not accepted, and not taken from a connection that was made for another name
/// or before the change.
#[test]
fn http2_off() {
    let origin = Origin::start(|_| ok("hello"));
    let off = || ZoneSettings { http2: false, ..plain() };
    let sites =
        |b: ZoneSettings| [("a.test", origin_at(origin.address), plain()), ("b.test", origin_at(origin.address), b)];
    let edge = Edge::start(&sites(off()));
    run(async {
        for (name, expect) in [("a.test", &b"h2"[..]), ("b.test", b"http/1.1"), ("B.test", b"http/1.1")] {
            let stream = dial_tls(&edge, name, &[b"h2", b"http/1.1"]).await.unwrap();
            assert_eq!(stream.alpn(), Some(expect), "{name}");
        }
        let refused = dial_tls(&edge, "b.test", &[b"h2"]).await.err().unwrap().to_string();
        assert!(refused.contains("none of our protocols"), "{refused}");

        let mut sender = dial_h2(&edge, "a.test").await;
        let mut ask = async |host: &str| {
            let request = Request::builder().uri(format!("https://{host}/")).body(Outgoing::of(0)).unwrap();
            sender.send_request(request).await.unwrap().status().as_u16()
        };
        assert_eq!((ask("a.test").await, ask("b.test").await), (200, 421));
        edge.publish(&sites(plain()));
        assert_eq!((ask("a.test").await, ask("b.test").await), (200, 200));
        edge.publish(&sites(off()));
        assert_eq!((ask("a.test").await, ask("b.test").await), (200, 421));
    });
    assert_eq!(origin.seen().len(), 4);
    // Over HTTP/1.1 nothing is different.
    assert_eq!(status(&edge.get("b.test", "/", "")), "200");
}

/// Many at once on one connection, over one thread, each with its own answer.
#[test]
fn http2_streams_do_not_mix() {
    let origin = Origin::start(|seen| ok(seen.head.split(' ').nth(1).unwrap()));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    run(async {
        let sender = dial_h2(&edge, "a.test").await;
        let asking = (0..100).map(|number| {
            let mut sender = sender.clone();
            async move {
                let path = format!("/{number}");
                let request = Request::builder().uri(format!("https://a.test{path}")).body(Outgoing::of(0)).unwrap();
                let answer = sender.send_request(request).await.unwrap();
                assert_eq!(read_body(answer.into_body()).await.unwrap(), path.as_bytes());
            }
        });
        futures_util::future::join_all(asking).await;
    });
    assert_eq!(origin.seen().len(), 100);
}

/// An origin over TLS with one certificate.
fn tls_origin(ca: &Ca, name: &str) -> Origin {
    let certificate = Certificate {
        id: CertificateId::from_bytes([0; 16]),
        zone: None,
        preference: 0,
        not_after: Timestamp::from_unix_micros(0),
        names: vec!["*.test".to_owned()],
        key: ca.issue(&[name]),
    };
    let hosts = Hosts::from_iter([certificate]);
    Origin::raw(move |stream| {
        stream.set_nonblocking(true).unwrap();
        run(async {
            let stream = TcpStream::from_std(stream).unwrap();
            let Ok(mut stream) = Acceptor::new(&[b"http/1.1"]).accept(stream, &hosts).await else { return };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let name = stream.sni().unwrap().to_owned();
            stream.write_all(&ok(&name)).await.unwrap();
            let _ = stream.read_u8().await;
        });
    })
}

/// `full` takes any certificate, `strict` only one for the host from a root that we know.
#[test]
fn origins_over_tls() {
    let settings = |ssl| ZoneSettings { ssl, ..plain() };
    let stranger = Ca::new();
    // The edge's own root is only known once it runs; so its sites come after.
    let edge = Edge::start(&[]);
    let (good, other_name) = (tls_origin(&edge.ca, "a.test"), tls_origin(&edge.ca, "b.test"));
    let other_root = tls_origin(&stranger, "a.test");
    let plain_origin = Origin::start(|_| ok("plain"));
    let no_tls = Origin::raw(|mut stream| {
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    for (ssl, origin, expect) in [
        (Ssl::Full, &good, Ok("a.test")),
        (Ssl::Full, &other_name, Ok("a.test")),
        (Ssl::Full, &other_root, Ok("a.test")),
        (Ssl::Strict, &good, Ok("a.test")),
        (Ssl::Strict, &other_name, Err(502)),
        (Ssl::Strict, &other_root, Err(502)),
        (Ssl::Full, &no_tls, Err(502)),
        (Ssl::Flexible, &plain_origin, Ok("plain")),
        // Such a zone has no TLS: the visitor is sent to plain HTTP.
        (Ssl::Off, &plain_origin, Err(301)),
    ] {
        edge.publish(&[("a.test", origin_at(origin.address), settings(ssl))]);
        let (status, body) = run(async {
            let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
            let answer = dial_h2(&edge, "a.test").await.send_request(request).await.unwrap();
            (answer.status(), read_body(answer.into_body()).await.unwrap())
        });
        match expect {
            Ok(expect) => assert_eq!((status, body.as_slice()), (StatusCode::OK, expect.as_bytes()), "{ssl:?}"),
            Err(expect) => assert_eq!(status.as_u16(), expect, "{ssl:?}"),
        }
    }
    // An authority of the zone's own counts from the next request on, and no longer than it is there.
    let sites = [("a.test", origin_at(other_root.address), settings(Ssl::Strict))];
    let ask = || {
        let (status, _) = run(async {
            let request = Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
            let answer = dial_h2(&edge, "a.test").await.send_request(request).await.unwrap();
            (answer.status(), read_body(answer.into_body()).await.unwrap())
        });
        status.as_u16()
    };
    for (trusted, expect) in
        [(Some((&stranger.pem, 1)), 200), (None, 502), (Some((&edge.ca.pem, 2)), 502), (Some((&stranger.pem, 1)), 200)]
    {
        match trusted {
            Some((pem, sum)) => edge.publish_trusting(&sites, pem, sum),
            None => edge.publish(&sites),
        }
        assert_eq!(ask(), expect, "{trusted:?}");
    }
    // A visitor over plain HTTP takes the origin's plain side along.
    edge.publish(&[("a.test", origin_at(plain_origin.address), settings(Ssl::Strict))]);
    assert!(edge.get("a.test", "/", "").ends_with("plain"));
    assert_eq!(edge.counters().origins.tls, 5);
}
