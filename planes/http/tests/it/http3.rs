//! HTTP/3 (RFC 9114), for visitors that do as a library does and for those that do what none would.

use std::cell::Cell;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use std::time::{Duration, Instant};

use bartizan_exchange::{Response, UpstreamError};
use bartizan_lab::flood::{Path, is_alone, memory};
use bartizan_names::{OldestTls, Tls13, ZoneSettings};
use bartizan_plane_http::{Limits, Totals};
use bartizan_wire::http3::qpack::{self, Encoder, Secrecy};
use bartizan_wire::http3::{put_block, put_data_head};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, RecvStream, SendStream, TokenMemoryCache, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::UdpSocket;

use super::edge::{Edge, STUCK, field, origin_at, plain, read_head, text, tunnel};
use super::origin::{Origin, ok, pattern_at};
use super::protocols::run;

/// Codes (RFC 9114 §8.1, RFC 9204 §6).
const NO: u64 = 0x100;
const EXCESSIVE_LOAD: u64 = 0x107;
const REJECTED: u64 = 0x10b;
const MESSAGE: u64 = 0x10e;
const DECOMPRESSION: u64 = 0x200;

/// What a control stream begins with: SETTINGS without a setting.
const SETTINGS: [u8; 3] = [0, 4, 0];

/// A visitor's connection.
pub(crate) struct Visitor {
    quic: quinn::Connection,
    /// It drives the connection for as long as it lives.
    endpoint: Endpoint,
    _control: SendStream,
}

pub(crate) struct Answer {
    pub(crate) status: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: Vec<(String, String)>,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

fn client(edge: &Edge) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(edge.ca.pem.as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h3".to_vec()];
    config.enable_early_data = true;
    config
}

fn endpoint(tls: &Arc<rustls::ClientConfig>, transport: TransportConfig) -> Endpoint {
    endpoint_with(tls, transport, Arc::default())
}

/// One that keeps what proves its address here.
fn endpoint_with(
    tls: &Arc<rustls::ClientConfig>,
    transport: TransportConfig,
    tokens: Arc<TokenMemoryCache>,
) -> Endpoint {
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(Arc::clone(tls)).unwrap()));
    config.transport_config(Arc::new(transport)).token_store(tokens);
    endpoint.set_default_client_config(config);
    endpoint
}

impl Visitor {
    pub(crate) async fn connect(edge: &Edge, name: &str) -> Result<Visitor, ConnectionError> {
        Visitor::with(edge, name, TransportConfig::default()).await
    }

    /// With this TLS.
    pub(crate) async fn as_told(edge: &Edge, name: &str, tls: &Arc<rustls::ClientConfig>) -> Visitor {
        let endpoint = endpoint(tls, TransportConfig::default());
        let quic = endpoint.connect(edge.https, name).unwrap().await.unwrap();
        Visitor::over(endpoint, quic).await.unwrap()
    }

    async fn with(edge: &Edge, name: &str, transport: TransportConfig) -> Result<Visitor, ConnectionError> {
        let endpoint = endpoint(&Arc::new(client(edge)), transport);
        let quic = endpoint.connect(edge.https, name).unwrap().await?;
        Visitor::over(endpoint, quic).await
    }

    async fn over(endpoint: Endpoint, quic: quinn::Connection) -> Result<Visitor, ConnectionError> {
        let mut control = quic.open_uni().await?;
        control.write_all(&SETTINGS).await.unwrap();
        Ok(Visitor { quic, endpoint, _control: control })
    }

    /// Opens a stream and writes this.
    pub(crate) async fn send(&self, bytes: &[u8]) -> (SendStream, RecvStream) {
        let (mut send, receive) = self.quic.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        (send, receive)
    }

    async fn ask(&self, method: &str, host: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut bytes = request(method, host, more);
        if !body.is_empty() {
            put_data_head(body.len(), &mut bytes);
            bytes.extend_from_slice(body);
        }
        let (mut send, receive) = self.quic.open_bi().await.unwrap();
        let sending = async {
            // Who gets an answer before it has sent all may be told to stop.
            if send.write_all(&bytes).await.is_ok() {
                send.finish().unwrap();
            }
        };
        let (answer, ()) = tokio::join!(read(receive), sending);
        answer
    }

    pub(crate) async fn get(&self, host: &str) -> Answer {
        self.ask("GET", host, &[], b"").await
    }

    /// Says that it goes.
    pub(crate) async fn leave(self) {
        self.quic.close(VarInt::from_u32(0x100), b"");
        self.endpoint.wait_idle().await;
    }

    /// The code by which the edge ends it.
    async fn ended(&self) -> u64 {
        match self.quic.closed().await {
            ConnectionError::ApplicationClosed(closed) => closed.error_code.into_inner(),
            other => panic!("{other}"),
        }
    }
}

pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let (mut block, mut frame) = (Vec::new(), Vec::new());
    Encoder.begin(&mut block);
    fields.iter().for_each(|(name, value)| Encoder.field(name.as_bytes(), value.as_bytes(), Secrecy::Open, &mut block));
    put_block(&block, &mut frame);
    frame
}

fn request(method: &str, host: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", host), (":path", "/")];
    block(&pseudo.iter().chain(more).copied().collect::<Vec<_>>())
}

/// All frames of a stream.
async fn frames(mut receive: RecvStream) -> Vec<(u64, Vec<u8>)> {
    let bytes = receive.read_to_end(1 << 26).await.expect("all of an answer");
    let mut rest = &bytes[..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let kind = integer(&mut rest);
        let length = integer(&mut rest) as usize;
        frames.push((kind, rest[..length].to_vec()));
        rest = &rest[length..];
    }
    frames
}

fn integer(bytes: &mut &[u8]) -> u64 {
    let length = 1 << (bytes[0] >> 6);
    let (this, rest) = bytes.split_at(length);
    *bytes = rest;
    this[1..].iter().fold(u64::from(this[0] & 0x3f), |value, byte| value << 8 | u64::from(*byte))
}

async fn read(receive: RecvStream) -> Answer {
    let mut answer = Answer { status: String::new(), fields: Vec::new(), body: Vec::new(), trailers: Vec::new() };
    for (kind, payload) in frames(receive).await {
        match kind {
            0 => answer.body.extend(payload),
            1 => {
                let (mut fields, mut unfolded) = (Vec::new(), Vec::new());
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                qpack::decode(&payload, 1 << 20, &mut unfolded, |name, value| fields.push((text(name), text(value))))
                    .unwrap();
                match fields.first() {
                    Some((name, value)) if name == ":status" => {
                        answer.status = value.clone();
                        answer.fields = fields;
                    }
                    _ => answer.trailers = fields,
                }
            }
            _ => {}
        }
    }
    answer
}

/// Waits until the counters are as they should be, while the client goes on.
async fn until(edge: &Edge, are_right: impl Fn(&Totals) -> bool) {
    let start = Instant::now();
    while !are_right(&edge.counters()) {
        assert!(start.elapsed() < STUCK, "{:?}", edge.counters());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn nowhere() -> impl Fn(bartizan_exchange::Request) -> Result<Response, UpstreamError> + Send + Sync {
    |_| Err(UpstreamError::NotConnected)
}

#[test]
fn requests_to_origins_and_tunnels() {
    let origin = Origin::start(|seen| {
        if seen.head.starts_with("POST") { ok(&seen.body.len().to_string()) } else { ok("from an origin") }
    });
    let sites = [("a.test", origin_at(origin.address), plain()), ("b.test", tunnel(), plain())];
    let edge = Edge::over_quic(&sites, Limits::default(), |_| Ok(text(200, "from a tunnel")));
    run(async {
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        for (host, expect) in [("a.test", "from an origin"), ("b.test", "from a tunnel")] {
            let answer = visitor.ask("GET", host, &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")], b"").await;
            assert_eq!((&*answer.status, &*answer.body), ("200", expect.as_bytes()), "{host}");
            let told = ["server", "alt-svc"].map(|name| answer.field(name).to_owned());
            assert_eq!(told, ["bartizan".to_owned(), format!("h3=\":{}\"; ma=86400", edge.https.port())], "{host}");
        }
        let body = pattern_at(0);
        let answer = visitor.ask("POST", "a.test", &[], body).await;
        assert_eq!(String::from_utf8_lossy(&answer.body), body.len().to_string());
        let stated = body.len().to_string();
        let answer = visitor.ask("POST", "a.test", &[("content-length", &stated)], body).await;
        assert_eq!(String::from_utf8_lossy(&answer.body), stated);
    });
    let [get, chunked, whole] = &origin.seen()[..] else { panic!() };
    assert_eq!((field(&get.head, "cookie"), field(&get.head, "x")), (Some("a=1; b=2"), Some("y")));
    assert_eq!((field(&get.head, "x-forwarded-proto"), field(&get.head, "early-data")), (Some("https"), None));
    assert!(chunked.body == pattern_at(0) && whole.body == pattern_at(0));
    edge.wait_until(|totals| totals.ends.answered == 4);
    let totals = edge.counters();
    assert_eq!((totals.requests.http3, totals.visitors.handshakes_quic, totals.visitors.accepted), (4, 1, 1));
}

/// Much at once, both ways, on many streams, through windows that are smaller.
#[test]
fn bodies_do_not_mix() {
    let origin = Origin::start(|seen| {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.body.len()).as_bytes(), &seen.body].concat()
    });
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), nowhere());
    run(async {
        let owned = Visitor::connect(&edge, "a.test").await.unwrap();
        let visitor = &owned;
        let ask = |number: u64| async move {
            let body: Vec<u8> = (0..20).flat_map(|at| pattern_at(number * 977 + at)).copied().collect();
            let answer = visitor.ask("POST", "a.test", &[], &body).await;
            assert!(answer.body == body, "{number}: {} of {}", answer.body.len(), body.len());
        };
        futures_util::future::join_all((0..12).map(ask)).await;
        owned.leave().await;
    });
    edge.wait_until(|totals| totals.ends.answered == 12 && totals.visitors.open == 0);
    assert_eq!(edge.gauge("bartizan_http_buffer_bytes"), 0);
}

#[test]
fn trailers_both_ways() {
    let (told, heard) = std::sync::mpsc::channel();
    let origin = Origin::raw(move |mut stream| {
        let head = read_head(&mut stream);
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            rest.push(byte[0]);
        }
        told.send(head + &String::from_utf8_lossy(&rest)).unwrap();
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\nSet-Cookie: a=1\r\n\r\n",
            )
            .unwrap();
    });
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), nowhere());
    run(async {
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        let mut bytes = request("POST", "a.test", &[("te", "trailers")]);
        put_data_head(3, &mut bytes);
        bytes.extend_from_slice(b"abc");
        bytes.extend(block(&[("x-mine", "7"), ("content-length", "9")]));
        let (mut send, receive) = visitor.send(&bytes).await;
        send.finish().unwrap();
        let answer = read(receive).await;
        assert_eq!(answer.body, b"abc");
        assert_eq!(answer.trailers, [("x-sum".to_owned(), "6".to_owned())]);
    });
    let seen = heard.recv().unwrap();
    assert!(seen.ends_with("3\r\nabc\r\n0\r\nx-mine: 7\r\n\r\n"), "{seen}");
}

/// A name whose zone has HTTP/3 or TLS 1.3 off is not served, nor on a connection of another; nobody is told of it.
#[test]
fn http3_off() {
    let origin = Origin::start(|_| ok("hello"));
    let off = || ZoneSettings { http3: false, ..plain() };
    let old = || ZoneSettings { tls_1_3: Tls13::Off, min_tls_version: OldestTls::Tls12, ..plain() };
    let sites =
        |b: ZoneSettings| [("a.test", origin_at(origin.address), plain()), ("b.test", origin_at(origin.address), b)];
    let edge = Edge::over_quic(&sites(off()), Limits::default(), nowhere());
    run(async {
        let refused = async |name: &str| match Visitor::connect(&edge, name).await.map(drop).unwrap_err() {
            ConnectionError::ConnectionClosed(closed) => closed.error_code.to_string(),
            other => other.to_string(),
        };
        assert!(refused("b.test").await.contains("120"), "{}", refused("b.test").await);
        assert!(refused("other.test").await.contains("112"));
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        assert_eq!(visitor.get("b.test").await.status, "421");
        edge.publish(&sites(old()));
        assert!(refused("b.test").await.contains("120"));
        let answer = visitor.get("b.test").await;
        assert_eq!((&*answer.status, answer.field("alt-svc")), ("200", ""));
        edge.publish(&sites(plain()));
        let answer = visitor.get("b.test").await;
        assert!(answer.status == "200" && !answer.field("alt-svc").is_empty());
    });
    assert!(edge.counters().visitors.handshakes_failed >= 3);
}

/// As over the other versions: who is blocked gets a page, and loses what is under way.
#[test]
fn access_rules() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), nowhere());
    run(async {
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        assert_eq!(visitor.get("a.test").await.status, "200");
        edge.publish_rules(&["block account 127.0.0.1"]);
        let another = loop {
            // The connection of before ends with the change.
            match Visitor::connect(&edge, "a.test").await {
                Ok(visitor) => break visitor,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(another.get("a.test").await.status, "403");
        assert_eq!(visitor.ended().await, NO);
    });
}

/// What a visitor may not do ends its stream or its connection, says why, and reaches no origin.
#[test]
fn what_is_not_http3() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), nowhere());
    let frame = |kind: u8, payload: &[u8]| [&[kind, payload.len() as u8], payload].concat();
    run(async {
        for (bytes, expect) in [
            // A stream's own errors.
            (request("GET", "a.test", &[("connection", "close")]), Err(MESSAGE)),
            (request("GET", "", &[]), Ok("400")),
            (request("CONNECT", "a.test", &[]), Err(MESSAGE)),
            (request("TRACE", "a.test", &[]), Ok("405")),
            (request("GET", "a.test", &[("x", &"y".repeat(40_000))]), Ok("431")),
        ] {
            let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
            let (mut send, mut receive) = visitor.send(&bytes).await;
            let _ = send.finish();
            let answer = match receive.read_chunk(1, true).await {
                Ok(_) => Ok(()),
                Err(quinn::ReadError::Reset(code)) => Err(code.into_inner()),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(answer, expect.map(drop), "{}", String::from_utf8_lossy(&bytes[..60.min(bytes.len())]));
            assert!(visitor.quic.close_reason().is_none());
        }
        // Those of a connection.
        for (uni, bi, expect) in [
            (vec![], frame(1, &[2, 0, 0x80]), DECOMPRESSION),
            (vec![], frame(1, &[0, 0, 0x80]), DECOMPRESSION),
            (vec![], frame(4, b""), 0x105),
            (vec![], frame(6, b"01234567"), 0x105),
            (vec![], frame(0, b"abc"), 0x105),
            // Half a frame, then the end of the stream.
            (vec![], vec![1, 9, 0], 0x106),
            (vec![0], vec![], 0x103),
            (vec![1, 0], vec![], 0x103),
            (vec![2, 0x3f, 0xe1, 0x1f], vec![], 0x201),
            (vec![3, 0x81], vec![], 0x202),
        ] {
            let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
            if !uni.is_empty() {
                let mut stream = visitor.quic.open_uni().await.unwrap();
                let _ = (stream.write_all(&uni).await, stream.finish());
            }
            // Dropped, the other half would take the request back. Its end may have come already.
            let Ok((mut send, _receive)) = visitor.quic.open_bi().await else {
                assert_eq!(visitor.ended().await, expect, "{uni:x?}");
                continue;
            };
            if !bi.is_empty() {
                let _ = (send.write_all(&bi).await, send.finish());
            }
            let ended = tokio::time::timeout(STUCK / 10, visitor.ended()).await;
            assert_eq!(ended, Ok(expect), "{uni:x?} {bi:x?}");
        }
    });
    assert_eq!(origin.seen().len(), 0);
}

/// What asks for nothing, and what is taken back: bounded, counted, and no harm to others.
#[test]
fn floods() {
    let origin = Origin::start(|_| ok("hello"));
    let limits = Limits { unfinished_max: 50, requests_max: 500, ..Limits::default() };
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], limits, nowhere());
    run(async {
        let other = Visitor::connect(&edge, "a.test").await.unwrap();
        // Frames that nobody knows, and empty ones.
        for bytes in [[0x21, 0].repeat(2_000), [request("GET", "a.test", &[]), [0, 0].repeat(2_000)].concat()] {
            let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
            let (mut send, _receive) = visitor.quic.open_bi().await.unwrap();
            let _ = send.write_all(&bytes).await;
            assert_eq!(visitor.ended().await, EXCESSIVE_LOAD);
        }
        // Streams of a kind that nobody knows.
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        let flood = async {
            while let Ok(mut stream) = visitor.quic.open_uni().await {
                let _ = stream.write_all(&[0x21, 1]).await;
            }
        };
        tokio::join!(flood, async { assert_eq!(visitor.ended().await, EXCESSIVE_LOAD) });
        // Rapid reset: requests that are taken back at once, whole or half.
        for bytes in [request("GET", "a.test", &[]), vec![1]] {
            let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
            let flood = async {
                while let Ok((mut send, mut receive)) = visitor.quic.open_bi().await {
                    let _ = send.write_all(&bytes).await;
                    let _ = (send.reset(VarInt::from_u32(0x10c)), receive.stop(VarInt::from_u32(0x10c)));
                }
            };
            tokio::join!(flood, async {
                let code = visitor.ended().await;
                assert!([NO, EXCESSIVE_LOAD].contains(&code), "{code:x}");
            });
        }
        assert_eq!(other.get("a.test").await.status, "200");
        other.leave().await;
    });
    assert_eq!(edge.counters().visitors.worn, 2);
    edge.wait_until(|totals| totals.visitors.open == 0);
    assert_eq!(edge.gauge("bartizan_http_buffer_bytes"), 0);
}

/// A head, a body, an answer that is not taken, and silence: each state ends.
#[test]
fn at_every_state() {
    let origin = Origin::start(|seen| {
        let length = if seen.head.starts_with("GET") { 4_000_000 } else { 2 };
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes(), &vec![b'x'; length]].concat()
    });
    let limits = Limits {
        head_time: Duration::from_millis(300),
        stall_time: Duration::from_millis(400),
        idle_time: Duration::from_millis(1_500),
        expire_every: Duration::from_millis(50),
        linger_time: Duration::from_millis(100),
        ..Limits::default()
    };
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], limits, nowhere());
    run(async {
        // Half a head: the stream is reset, the connection stays until it was idle too long.
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        let (_send, mut receive) = visitor.send(&request("GET", "a.test", &[])[..9]).await;
        let ended = receive.read_chunk(1, true).await;
        assert!(matches!(ended, Err(quinn::ReadError::Reset(_))), "{ended:?}");
        assert_eq!(edge.counters().visitors.too_slow, 1);
        assert_eq!(visitor.ended().await, NO, "idle");
        // Half a body.
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        let (_send, receive) = visitor.send(&request("POST", "a.test", &[("content-length", "9")])).await;
        assert_eq!(read(receive).await.status, "400");
        assert_eq!(edge.counters().visitors.too_slow, 2);
        // An answer that is not read: a window's worth, and no more.
        let mut small = TransportConfig::default();
        small.stream_receive_window(VarInt::from_u32(1_000));
        let visitor = Visitor::with(&edge, "a.test", small).await.unwrap();
        let (mut send, mut receive) = visitor.send(&request("GET", "a.test", &[])).await;
        send.finish().unwrap();
        until(&edge, |totals| totals.visitors.starved == 1).await;
        let ended = receive.read_to_end(1 << 20).await;
        assert!(ended.is_err(), "an answer that looks whole");
    });
    edge.wait_until(|totals| totals.visitors.open == 0);
    assert_eq!(edge.gauge("bartizan_http_buffer_bytes"), 0);
}

/// What uploads may send ahead is counted before it is allowed. Who finds none left goes on in small steps.
#[test]
fn windows_are_counted() {
    let origin = Origin::raw(|mut stream| {
        let head = read_head(&mut stream);
        if head.starts_with("POST") {
            // It takes nothing.
            std::thread::sleep(STUCK);
        }
        let _ = stream.write_all(&ok("hello"));
    });
    const MEMORY: usize = 2 << 20;
    let limits = Limits { memory: MEMORY, ..Limits::default() };
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], limits, nowhere());
    run(async {
        let mut visitors = Vec::new();
        for _ in 0..8 {
            let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
            let (mut send, receive) = visitor.send(&request("POST", "a.test", &[])).await;
            let mut bytes = Vec::new();
            put_data_head(1 << 24, &mut bytes);
            send.write_all(&bytes).await.unwrap();
            let upload = tokio::task::spawn_local(async move { while send.write_all(&[b'x'; 8_192]).await.is_ok() {} });
            visitors.push((visitor, receive, upload));
        }
        until(&edge, |_| edge.gauge("bartizan_http_buffer_bytes") as usize > MEMORY / 4).await;
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        assert_eq!(visitor.get("a.test").await.status, "200");
        assert!(edge.gauge("bartizan_http_buffer_bytes") as usize <= MEMORY);
        for (visitor, ..) in visitors {
            visitor.leave().await;
        }
        visitor.leave().await;
    });
    edge.wait_until(|totals| totals.visitors.open == 0);
    assert_eq!(edge.gauge("bartizan_http_buffer_bytes"), 0);
}

/// Interim answers that their visitors do not read are counted, and no more is kept of them than there is memory for.
#[test]
fn interim_answers_that_nobody_reads_are_counted() {
    const STREAMS: usize = 100;
    const LINK: usize = 12_000;
    let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(LINK));
    let origin = Origin::raw(move |mut stream| {
        let head = read_head(&mut stream);
        if !head.starts_with("HEAD") {
            let _ = stream.write_all(hint.as_bytes());
            std::thread::sleep(STUCK);
        }
        let _ = stream.write_all(&ok("hello"));
    });
    // All of them come to 1.2 MB.
    for (memory, least) in [(usize::MAX, STREAMS * LINK / 2), (512 * 1024, 64 * 1024)] {
        let limits = Limits { memory, ..Limits::default() };
        let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], limits, nowhere());
        run(async {
            let mut transport = TransportConfig::default();
            transport.stream_receive_window(VarInt::from_u32(16));
            let visitor = Visitor::with(&edge, "a.test", transport).await.unwrap();
            let mut streams = Vec::new();
            for _ in 0..STREAMS {
                let (mut send, receive) = visitor.send(&request("GET", "a.test", &[])).await;
                send.finish().unwrap();
                streams.push((send, receive));
            }
            until(&edge, |_| edge.gauge("bartizan_http_buffer_bytes") as usize >= least).await;
            assert!(edge.gauge("bartizan_http_buffer_bytes") as usize <= memory);
            visitor.leave().await;
        });
        edge.wait_until(|totals| totals.visitors.open == 0);
        assert_eq!(edge.gauge("bartizan_http_buffer_bytes"), 0);
    }
}

/// A way to the edge on which nothing comes back until that is allowed.
struct Relay {
    address: SocketAddr,
    opened: Arc<AtomicBool>,
}

impl Relay {
    async fn to(edge: SocketAddr) -> Relay {
        let (near, far) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        far.connect(edge).await.unwrap();
        let address = near.local_addr().unwrap();
        let opened = Arc::new(AtomicBool::new(false));
        let is_open = Arc::clone(&opened);
        tokio::task::spawn_local(async move {
            let (mut forth, mut back, mut visitor, mut held) = ([0; 2_048], [0; 2_048], None, Vec::new());
            loop {
                tokio::select! {
                    received = near.recv_from(&mut forth) => {
                        let (length, from) = received.unwrap();
                        visitor = Some(from);
                        far.send(&forth[..length]).await.unwrap();
                    }
                    received = far.recv(&mut back) => held.push(back[..received.unwrap()].to_vec()),
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                }
                if let (true, Some(visitor)) = (is_open.load(Ordering::SeqCst), visitor) {
                    for packet in held.drain(..) {
                        near.send_to(&packet, visitor).await.unwrap();
                    }
                }
            }
        });
        Relay { address, opened }
    }
}

/// Who comes back may ask in its first flight, where the zone wants it; what changes something waits for the end of the
/// handshake.
#[test]
fn early_data() {
    let origin = Origin::start(|_| ok("hello"));
    let wants = ZoneSettings { early_data: true, ..plain() };
    let sites = [("a.test", origin_at(origin.address), wants), ("b.test", origin_at(origin.address), plain())];
    let edge = Edge::over_quic(&sites, Limits::default(), nowhere());
    let tls = Arc::new(client(&edge));
    // Whether the visitor shows that its address is its own, and whether it is answered at once.
    for (name, method, is_proven, is_early) in [
        ("a.test", "GET", true, true),
        ("a.test", "POST", true, false),
        ("b.test", "GET", true, false),
        ("a.test", "GET", false, false),
    ] {
        let case = format!("{name} {method} {is_proven}");
        run(async {
            let tokens = Arc::new(TokenMemoryCache::default());
            let first = endpoint_with(&tls, TransportConfig::default(), Arc::clone(&tokens));
            let quic = first.connect(edge.https, name).unwrap().await.unwrap();
            let visitor = Visitor::over(first, quic).await.unwrap();
            assert_eq!(visitor.get(name).await.status, "200");
            origin.take_seen();

            let relay = Relay::to(edge.https).await;
            let tokens = if is_proven { tokens } else { Arc::default() };
            let again = endpoint_with(&tls, TransportConfig::default(), tokens);
            let Ok((quic, accepted)) = again.connect(relay.address, name).unwrap().into_0rtt() else {
                return assert_eq!(name, "b.test", "no session with early data");
            };
            let asked = edge.counters().requests.http3;
            let visitor = Visitor::over(again, quic).await.unwrap();
            let asking = async { assert_eq!(visitor.ask(method, name, &[], b"").await.status, "200", "{case}") };
            let opening = async {
                if is_early {
                    until(&edge, |_| !origin.seen().is_empty()).await;
                } else if is_proven {
                    until(&edge, |totals| totals.requests.http3 == asked + 1).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    assert_eq!(origin.seen().len(), 0, "{case}: it may be a copy");
                } else {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    assert_eq!(edge.counters().requests.http3, asked, "{case}: it may be from another address");
                    assert_eq!(origin.seen().len(), 0, "{case}");
                }
                relay.opened.store(true, Ordering::SeqCst);
            };
            tokio::join!(asking, opening);
            assert!(accepted.await, "{case}");
            let [seen] = &origin.take_seen()[..] else { panic!("{case}") };
            assert_eq!(field(&seen.head, "early-data"), is_early.then_some("1"), "{case}");
        });
    }
}

/// Who only begins, from an address that may not be its own, takes a bounded part of the machine, and not for long.
#[test]
fn quic_handshakes_that_do_not_end() {
    let origin = Origin::start(|_| ok("hello"));
    let limits = Limits { handshake_time: Duration::from_millis(1_500), ..Limits::default() };
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], limits, nowhere());
    let tls = Arc::new(client(&edge));
    run(async {
        let mut silent = Vec::new();
        for _ in 0..80 {
            // Nothing of what the edge says arrives.
            let relay = Relay::to(edge.https).await;
            let endpoint = endpoint(&tls, TransportConfig::default());
            let connecting = endpoint.connect(relay.address, "a.test").unwrap();
            silent.push((relay, endpoint, connecting));
        }
        until(&edge, |totals| totals.visitors.addresses_asked > 0).await;
        // Whose address is its own gets in meanwhile.
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        assert_eq!(visitor.get("a.test").await.status, "200");
        until(&edge, |totals| totals.visitors.handshakes_failed >= 64).await;
        visitor.leave().await;
    });
    let visitors = edge.counters().visitors;
    assert!(visitors.accepted - visitors.handshakes_quic < 80, "{visitors:?}");
}

/// Who is not there any more, with an answer on its way, is noticed.
#[test]
fn a_visitor_that_is_gone() {
    let origin = Origin::start(|_| ok(&"x".repeat(1 << 20)));
    let limits = Limits {
        ping_every: Duration::from_millis(300),
        ping_answer_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], limits, nowhere());
    run(async {
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        let mut asked = visitor.send(&request("GET", "a.test", &[])).await;
        asked.0.finish().unwrap();
        until(&edge, |totals| totals.requests.http3 == 1).await;
        // What drives it ends with this, and says nothing.
        std::mem::forget((visitor, asked));
    });
    edge.wait_until(|totals| totals.visitors.open == 0 && totals.ends.left == 1);
    assert_eq!(edge.gauge("bartizan_http_buffer_bytes"), 0);
}

/// At a stop: who has nothing under way is told at once, others when they are done, and new requests go elsewhere.
#[test]
fn a_stop() {
    let (go, gone) = std::sync::mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        gone.lock().unwrap().recv_timeout(STUCK).unwrap();
        let _ = stream.write_all(&ok("at last"));
    });
    let mut edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), nowhere());
    run(async {
        let idle = Visitor::connect(&edge, "a.test").await.unwrap();
        let busy = Visitor::connect(&edge, "a.test").await.unwrap();
        let (mut send, receive) = busy.send(&request("GET", "a.test", &[])).await;
        send.finish().unwrap();
        until(&edge, |totals| totals.requests.http3 == 1).await;
        let draining = std::thread::spawn(move || edge.drain(STUCK));
        assert_eq!(idle.ended().await, NO);
        // Until it knows it may ask: it is told that nothing was done.
        let rejected = loop {
            let Ok((mut send, mut receive)) = busy.quic.open_bi().await else { panic!("closed") };
            let _ = send.write_all(&request("GET", "a.test", &[])).await;
            match tokio::time::timeout(Duration::from_millis(100), receive.read_chunk(1, true)).await {
                Ok(Err(quinn::ReadError::Reset(code))) => break code.into_inner(),
                _ => go.send(()).unwrap(),
            }
        };
        assert_eq!(rejected, REJECTED);
        go.send(()).unwrap();
        assert_eq!(read(receive).await.body, b"at last");
        (0..9).for_each(|_| _ = go.send(()));
        assert_eq!(busy.ended().await, NO);
        tokio::task::spawn_blocking(|| draining.join().unwrap()).await.unwrap();
    });
}

/// An answer that breaks off does not look whole.
#[test]
fn an_answer_that_breaks_off() {
    let origin = Origin::raw(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), nowhere());
    run(async {
        let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
        let (mut send, mut receive) = visitor.send(&request("GET", "a.test", &[])).await;
        send.finish().unwrap();
        assert!(receive.read_to_end(1 << 20).await.is_err());
    });
    edge.wait_until(|totals| totals.ends.broken == 1);
}

/// Who sends datagrams as fast as it can, by copies of one of its own, holds no memory by that, wherever it sends them from;
/// others are served.
#[test]
fn a_source_that_floods() {
    const TIME: Duration = Duration::from_millis(1_500);
    if !is_alone("http3::a_source_that_floods") {
        return;
    }
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), nowhere());
    let [own, other] = ["127.0.0.2", "127.0.0.3"].map(|address| address.parse().unwrap());
    for from in [None, Some(other)] {
        let path = Path::to(edge.https, own);
        let before = memory();
        run(async {
            let hostile = endpoint(&Arc::new(client(&edge)), TransportConfig::default());
            let quic = hostile.connect(path.address, "a.test").unwrap().await.unwrap();
            let hostile = Visitor::over(hostile, quic).await.unwrap();
            assert_eq!(hostile.get("a.test").await.status, "200");
            let flooding = std::thread::spawn(move || path.pour(from, TIME));
            let visitor = Visitor::connect(&edge, "a.test").await.unwrap();
            while !flooding.is_finished() {
                assert_eq!(visitor.get("a.test").await.status, "200");
            }
            assert!(flooding.join().unwrap() > 10_000, "this is no flood");
        });
        // Without a bound it is 250 MB and more.
        let more = memory().saturating_sub(before);
        assert!(more < 150 << 20, "{more} more from {from:?}");
    }
    edge.wait_until(|totals| totals.visitors.datagrams_dropped > 0);
}

/// A path that takes so long each way, and says how many octets from the server were on it at most.
async fn long_path(to: SocketAddr, delay: Duration) -> (SocketAddr, Rc<Cell<usize>>) {
    let (near, far) =
        (Rc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = near.local_addr().unwrap();
    let (on_it, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (late, mut later) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>, SocketAddr)>();
    let (to_client, under_way) = (Rc::clone(&near), Rc::clone(&on_it));
    tokio::task::spawn_local(async move {
        while let Some((at, datagram, client)) = later.recv().await {
            tokio::time::sleep_until(at.into()).await;
            under_way.set(under_way.get() - datagram.len());
            let _ = to_client.send_to(&datagram, client).await;
        }
    });
    let (seen, mut client) = (Rc::clone(&most), None);
    tokio::task::spawn_local(async move {
        let (mut forth, mut back) = ([0; 2_048], [0; 2_048]);
        loop {
            tokio::select! {
                Ok((length, from)) = near.recv_from(&mut forth) => {
                    client = Some(from);
                    let _ = far.send_to(&forth[..length], to).await;
                }
                Ok(length) = far.recv(&mut back) => {
                    let Some(client) = client else { continue };
                    on_it.set(on_it.get() + length);
                    seen.set(on_it.get().max(seen.get()));
                    let _ = late.send((Instant::now() + delay, back[..length].to_vec(), client));
                }
            }
        }
    });
    (address, most)
}

/// Who is far away gets as much a round trip as its path carries, not as much as we keep for who is near.
#[test]
fn a_far_visitor_is_sent_as_much_as_its_path_carries() {
    const BODY: usize = 4 << 20;
    let origin = Origin::start(|_| ok(&"x".repeat(BODY)));
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), nowhere());
    run(async {
        let (address, most) = long_path(edge.https, Duration::from_millis(60)).await;
        let far = endpoint(&Arc::new(client(&edge)), TransportConfig::default());
        let quic = far.connect(address, "a.test").unwrap().await.unwrap();
        let far = Visitor::over(far, quic).await.unwrap();
        assert_eq!(far.get("a.test").await.body.len(), BODY);
        assert!(most.get() > 512 * 1024, "{}", most.get());
        far.leave().await;
        until(&edge, |totals| totals.visitors.open == 0).await;
    });
    // What it held is free again.
    assert_eq!(edge.gauge("bartizan_http_buffer_bytes"), 0);
}
