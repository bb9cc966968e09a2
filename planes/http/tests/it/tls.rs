//! TLS as the zone of a host wants it: versions, and requests ahead of the end of the handshake (RFC 8470).

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{OldestTls, ZoneSettings};
use bartizan_plane_http::{Limits, Visitors};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::edge::{Edge, STUCK, dial, field, origin_at, plain, read_answer, status};
use super::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, block, frame, get, request};
use super::origin::{Origin, Seen, ok};

pub(crate) const HTTP1: &[&[u8]] = &[b"http/1.1"];
pub(crate) const HTTP2: &[&[u8]] = &[b"h2"];

fn early() -> ZoneSettings {
    ZoneSettings { early_data: true, ..plain() }
}

/// A client that remembers sessions, and sends early data with them.
fn config(edge: &Edge, alpn: &[&[u8]], version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    config_with(edge, alpn, version, None)
}

/// The same with a certificate to show, if there is one.
pub(crate) fn config_with(
    edge: &Edge,
    alpn: &[&[u8]],
    version: &'static SupportedProtocolVersion,
    shows: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(edge.ca.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
    let mut config = match shows {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_early_data = true;
    Arc::new(config)
}

/// A visitor whose every flight is sent when the test says so.
pub(crate) struct Visitor {
    pub(crate) tls: ClientConnection,
    socket: TcpStream,
    sent: Vec<u8>,
}

impl Visitor {
    pub(crate) fn dial(edge: &Edge, config: &Arc<ClientConfig>, name: &str) -> Visitor {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        Visitor { tls, socket: dial(edge.https), sent: Vec::new() }
    }

    /// Sends what waits to be sent.
    fn send(&mut self) {
        let before = self.sent.len();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.sent).unwrap();
        }
        self.socket.write_all(&self.sent[before..]).unwrap();
    }

    /// The first flight, with these bytes ahead of the end of the handshake.
    pub(crate) fn send_early(&mut self, bytes: &[u8]) {
        let written = self.tls.early_data().expect("a session that allows it").write(bytes).unwrap();
        assert_eq!(written, bytes.len());
        self.send();
    }

    /// Takes what has come, up to the end of the server's part of the handshake. The visitor's own is not sent.
    fn receive_handshake(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        if self.tls.read_tls(&mut self.socket)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.tls.process_new_packets().map(drop).map_err(io::Error::other)
    }

    /// Shakes hands and asks.
    pub(crate) fn ask(&mut self, bytes: &[u8]) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.send();
            self.receive()?;
        }
        self.tls.writer().write_all(bytes)?;
        self.send();
        Ok(())
    }

    /// Asks by HTTP/1.1; the status of the answer.
    pub(crate) fn get(&mut self, host: &str) -> io::Result<String> {
        self.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        Ok(status(&read_answer(self).0).to_owned())
    }

    fn read_http1(&mut self) {
        assert_eq!(status(&read_answer(self).0), "200");
    }

    /// Reads frames to the end of these streams.
    pub(crate) fn read_streams(&mut self, streams: &[u32]) {
        let mut left = streams.to_vec();
        while !left.is_empty() {
            let mut head = [0; 9];
            self.read_exact(&mut head).unwrap();
            let [a, b, c, kind, flags, of @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.read_exact(&mut payload).unwrap();
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                left.retain(|stream| *stream != u32::from_be_bytes(of));
            }
        }
    }
}

/// Reads, and sends nothing.
impl Read for Visitor {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.receive()?,
                read => return read,
            }
        }
    }
}

/// The path of a request and its `Early-Data`.
fn told(seen: &Seen) -> String {
    let path = seen.head.split(' ').nth(1).unwrap();
    format!("{path} {}", field(&seen.head, "early-data").unwrap_or("-"))
}

fn told_since(origin: &Origin) -> Vec<String> {
    origin.take_seen().iter().map(told).collect()
}

#[test]
fn what_changes_nothing_is_answered_at_once() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), early())]);
    let config = config(&edge, HTTP1, &TLS13);
    assert_eq!(Visitor::dial(&edge, &config, "a.test").get("a.test").unwrap(), "200");
    assert_eq!(told_since(&origin), ["/ -"]);
    for method in ["GET", "OPTIONS"] {
        let mut visitor = Visitor::dial(&edge, &config, "a.test");
        visitor.send_early(format!("{method} /early HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes());
        // The visitor's part of the handshake has not left yet.
        let (head, body) = read_answer(&mut visitor);
        assert_eq!((status(&head), &body[..]), ("200", &b"hello"[..]), "{method}");
        assert!(visitor.tls.is_early_data_accepted());
        assert_eq!(visitor.get("a.test").unwrap(), "200", "{method}");
        assert_eq!(told_since(&origin), ["/early 1", "/ -"], "{method}");
    }
    // What is in force is asked at each handshake.
    edge.publish(&[("a.test", origin_at(origin.address), plain())]);
    let mut visitor = Visitor::dial(&edge, &config, "a.test");
    visitor.send_early(b"GET /early HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(visitor.get("a.test").unwrap(), "200");
    assert!(!visitor.tls.is_early_data_accepted());
    assert_eq!(told_since(&origin), ["/ -"]);
    let Visitors { handshakes_full, handshakes_resumed, handshakes_early, .. } = edge.counters().visitors;
    assert_eq!((handshakes_full, handshakes_resumed, handshakes_early), (2, 0, 2));
}

/// A request that nobody should repeat waits until it is known to be no copy.
#[test]
fn what_may_not_come_twice_waits() {
    let origin = Origin::start(|_| ok("hello"));
    let sites = [("a.test", origin_at(origin.address), early()), ("b.test", origin_at(origin.address), plain())];
    let edge = Edge::start(&sites);
    let config = config(&edge, HTTP1, &TLS13);
    assert_eq!(Visitor::dial(&edge, &config, "a.test").get("a.test").unwrap(), "200");
    let websocket = "GET /wait HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    for bytes in [
        "POST /wait HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\npay",
        "DELETE /wait HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /wait HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\npay",
        "GET /wait HTTP/1.1\r\nHost: b.test\r\n\r\n", // of a zone that does not want it
        websocket,
    ] {
        origin.take_seen();
        let mut visitor = Visitor::dial(&edge, &config, "a.test");
        visitor.send_early(bytes.as_bytes());
        visitor.receive_handshake().unwrap();
        assert!(visitor.tls.is_early_data_accepted());
        // The worker has had its turn.
        assert_eq!(status(&edge.get("a.test", "/turn", "")), "200");
        assert_eq!(told_since(&origin), ["/turn -"], "{bytes}");
        visitor.send();
        assert_eq!(status(&read_answer(&mut visitor).0), "200", "{bytes}");
        assert_eq!(told_since(&origin), ["/wait -"], "{bytes}");
    }
}

/// A body is read on whichever side of the end of the handshake it comes.
#[test]
fn a_body_across_the_end_of_the_handshake() {
    let origin = Origin::start(|seen| ok(std::str::from_utf8(&seen.body).unwrap()));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), early())]);
    let config = config(&edge, HTTP1, &TLS13);
    assert_eq!(Visitor::dial(&edge, &config, "a.test").get("a.test").unwrap(), "200");
    let mut visitor = Visitor::dial(&edge, &config, "a.test");
    visitor.send_early(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n01234");
    visitor.receive_handshake().unwrap();
    visitor.ask(b"56789").unwrap();
    assert_eq!(read_answer(&mut visitor).1, b"0123456789");
}

#[test]
fn an_early_request_whose_handshake_never_ends() {
    let origin = Origin::start(|_| ok("hello"));
    let limits = Limits { handshake_time: Duration::from_millis(500), ..Limits::default() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), early())], limits);
    let config = config(&edge, HTTP1, &TLS13);
    assert_eq!(Visitor::dial(&edge, &config, "a.test").get("a.test").unwrap(), "200");
    origin.take_seen();
    let mut visitor = Visitor::dial(&edge, &config, "a.test");
    visitor.send_early(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\npay");
    assert_eq!(status(&read_answer(&mut visitor).0), "425");
    assert_eq!(origin.seen().len(), 0);
}

/// Whoever was answered early has no longer for the rest of the handshake than others.
#[test]
fn a_handshake_that_never_ends_after_its_early_answer() {
    let origin = Origin::start(|_| ok("hello"));
    let limits = Limits {
        handshake_time: Duration::from_millis(500),
        linger_time: Duration::from_millis(100),
        expire_every: Duration::from_millis(20),
        idle_time: STUCK * 2,
        stall_time: STUCK * 2,
        ..Limits::default()
    };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), early())], limits);
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for (alpn, ask, read) in [
        (HTTP1, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec(), Visitor::read_http1 as fn(&mut Visitor)),
        (HTTP2, [&begin[..], &get(1, "a.test")].concat(), |visitor| visitor.read_streams(&[1])),
    ] {
        let config = config(&edge, alpn, &TLS13);
        let mut first = Visitor::dial(&edge, &config, "a.test");
        first.ask(&ask).unwrap();
        read(&mut first);
        drop(first);
        let before = edge.counters().visitors.handshakes_failed;
        let mut visitor = Visitor::dial(&edge, &config, "a.test");
        visitor.send_early(&ask);
        read(&mut visitor);
        assert!(visitor.tls.is_early_data_accepted());
        let end = visitor.read_to_end(&mut Vec::new());
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof));
        edge.wait_until(|totals| totals.visitors.handshakes_failed == before + 1 && totals.visitors.open == 0);
    }
}

/// The very bytes, sent again by whoever saw them, reach nobody.
#[test]
fn a_copy_of_an_early_request() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), early())]);
    let config = config(&edge, HTTP1, &TLS13);
    assert_eq!(Visitor::dial(&edge, &config, "a.test").get("a.test").unwrap(), "200");
    let mut visitor = Visitor::dial(&edge, &config, "a.test");
    visitor.send_early(b"GET /early HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(status(&read_answer(&mut visitor).0), "200");
    assert_eq!(told_since(&origin), ["/ -", "/early 1"]);
    let copy = visitor.sent.clone();
    for times in 1..4 {
        let mut stranger = dial(edge.https);
        stranger.write_all(&copy).unwrap();
        stranger.shutdown(Shutdown::Write).unwrap();
        io::copy(&mut stranger, &mut io::sink()).unwrap();
        edge.wait_until(|totals| totals.visitors.handshakes_failed == times);
        assert_eq!(told_since(&origin), [""; 0]);
    }
}

/// Each stream for itself.
#[test]
fn early_streams() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), early())]);
    let config = config(&edge, HTTP2, &TLS13);
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let mut visitor = Visitor::dial(&edge, &config, "a.test");
    visitor.ask(&[&begin[..], &get(1, "a.test")].concat()).unwrap();
    visitor.read_streams(&[1]);
    drop(visitor);
    assert_eq!(told_since(&origin), ["/ -"]);

    let post = block(&request("POST", "a.test", &[]));
    let post = [frame(HEADERS, END_HEADERS, 3, &post), frame(DATA, END_STREAM, 3, b"pay")].concat();
    let mut visitor = Visitor::dial(&edge, &config, "a.test");
    visitor.send_early(&[&begin[..], &post, &get(5, "a.test")].concat());
    visitor.read_streams(&[5]);
    assert!(visitor.tls.is_early_data_accepted());
    assert_eq!(told_since(&origin), ["/ 1"]);
    visitor.ask(&get(7, "a.test")).unwrap();
    visitor.read_streams(&[3, 7]);
    assert_eq!(told_since(&origin), ["/ -", "/ -"]);
}

/// A connection is not good for each host that its certificate is for, and not for ever.
#[test]
fn a_host_that_wants_more_of_tls() {
    let origin = Origin::start(|_| ok("hello"));
    let strict = || ZoneSettings { min_tls_version: OldestTls::Tls13, ..plain() };
    let sites =
        |a: ZoneSettings| [("a.test", origin_at(origin.address), a), ("b.test", origin_at(origin.address), strict())];
    let edge = Edge::start(&sites(plain()));
    let (old, new) = (config(&edge, HTTP1, &TLS12), config(&edge, HTTP1, &TLS13));
    let (mut before, mut after) = (Visitor::dial(&edge, &old, "a.test"), Visitor::dial(&edge, &new, "a.test"));
    let mut ask = |host: &str| [&mut before, &mut after].map(|visitor| visitor.get(host).unwrap());
    assert_eq!(ask("a.test"), ["200", "200"]);
    assert_eq!(ask("b.test"), ["421", "200"]);
    let refused = |name: &str| Visitor::dial(&edge, &old, name).get(name).unwrap_err().to_string();
    assert!(refused("b.test").contains("ProtocolVersion"), "{}", refused("b.test"));
    edge.publish(&sites(strict()));
    assert_eq!(ask("a.test"), ["421", "200"]);
    assert!(refused("a.test").contains("ProtocolVersion"), "{}", refused("a.test"));
}
