//! How often a proxied request asks for memory, on kept connections to an origin of HTTP/1.1. All of the process is counted but
//! the client, which has a process of its own; the origin asks for none. So no other test may be in this binary, unless each test
//! has a process of its own.

use std::alloc::System;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bartizan_authority::{NameContent, Proxied, ZoneFacts, Zones};
use bartizan_dial::{Destinations, NameServers, Own, Private, Reach};
use bartizan_exchange::{Io, LocalBoxFuture, Request, Response, Upstream, UpstreamError};
use bartizan_firewall::Firewall;
use bartizan_geo::Geo;
use bartizan_live::Live;
use bartizan_names::{CertificateId, Timestamp};
use bartizan_names::{Host, Name, OriginHost, TunnelId, ZoneId, ZoneName};
use bartizan_plane_http::{Config, Limits, Neighbours, Plane, ServerFacts, Sockets, start};
use bartizan_policy::Policy;
use bartizan_routes::{Routes, Server, Site, Target};
use bartizan_steering::Balancers;
use bartizan_tls::{Certificate, CertifiedKey, Hosts, Roots, client_config, connect};
use rcgen::{CertificateParams, KeyPair};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Set where a client runs: how it speaks, and to where.
const CLIENT: &str = "BARTIZAN_TEST_CLIENT";

/// What a client says when its connection is made and has been used, and when it has asked so often as is counted.
const READY: &str = "ready";
const DONE: &str = "done";

const REQUESTS: usize = 1_000;

const HOST: &str = "www.bench.example";

const REQUEST: &[u8] = b"GET /1k HTTP/1.1\r\nHost: www.bench.example\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n";
const BODY: [u8; 1024] = [b'x'; 1024];

/// Reads until the buffer ends with `end`. False if the connection ends before.
fn read_to(stream: &mut TcpStream, end: &[u8], buffer: &mut [u8]) -> bool {
    let mut filled = 0;
    while !buffer[..filled].ends_with(end) {
        match stream.read(&mut buffer[filled..]).unwrap() {
            0 => return false,
            read => filled += read,
        }
    }
    true
}

fn answer(mut stream: TcpStream) {
    let (whole, mut buffer) = ([ANSWER, &BODY].concat(), [0; 4096]);
    while read_to(&mut stream, b"\r\n\r\n", &mut buffer) {
        stream.write_all(&whole).unwrap();
    }
}

struct NoTunnels;

impl Upstream for NoTunnels {
    fn send(&self, _: TunnelId, _: Request) -> LocalBoxFuture<'_, Result<Response, UpstreamError>> {
        Box::pin(async { Err(UpstreamError::NotConnected) })
    }

    fn open<'a>(
        &'a self,
        _: TunnelId,
        _: &'a Host,
        _: IpAddr,
    ) -> LocalBoxFuture<'a, Result<Box<dyn Io>, UpstreamError>> {
        Box::pin(async { Err(UpstreamError::NotConnected) })
    }
}

/// The HTTP edge with one worker and one host, and where it listens, without TLS and with it.
fn edge(origin: SocketAddr) -> (Plane, [SocketAddr; 2]) {
    let host = Name::parse(HOST).unwrap();
    let apex = ZoneName::new(Name::parse(bartizan_bench::ZONE).unwrap()).unwrap();
    let (mut routes, mut zones) = (Routes::empty().edit(), Zones::empty().edit());
    zones.put_zone(ZoneFacts::new(apex.clone()));
    zones.put_name(&apex, &host, NameContent { sets: Vec::new(), proxied: Proxied::UnlessPaused });
    let policy = Arc::new(Policy::default());
    let site = routes.add_site(Site { zone: ZoneId::from_bytes([0; 16]), apex, policy });
    let target = Server { hosts: [OriginHost::Address(origin.ip())].into(), port: Some(origin.port()) };
    routes.put(site, &host, Target::Origin(target));
    let live = Live::new(Config {
        balancers: Balancers::default(),
        zones: zones.finish(),
        routes: routes.finish(),
        firewall: Firewall::empty(),
        geo: Geo::built_in(),
        hosts: Hosts::from_iter([certificate()]),
        challenges: Arc::default(),
        limits: Limits::default(),
        server: ServerFacts { pop: "LAB".to_owned(), ..ServerFacts::default() },
        clock: bartizan_clock::Clock::default(),
    });
    let [http, https] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [&http, &https].map(|listener| listener.local_addr().unwrap());
    let sockets = Sockets { http: vec![vec![http]], https: vec![vec![https]], quic: None };
    let reach = Reach::new(NameServers::System, Destinations::new(Own::default(), Private::Allowed));
    let neighbours = Neighbours { upstream: Arc::new(NoTunnels), dns: None, access_log: None, taps: None };
    (start(sockets, &live, neighbours, &reach, 1).unwrap(), addresses)
}

fn certificate() -> Certificate {
    let key = KeyPair::generate().unwrap();
    let chain = CertificateParams::new([HOST.to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    Certificate {
        id: CertificateId::from_bytes([0; 16]),
        zone: None,
        preference: 0,
        not_after: Timestamp::from_unix_micros(0),
        names: vec![HOST.to_owned()],
        key: CertifiedKey::from_pem(&chain, &key.serialize_der()).unwrap(),
    }
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Http1,
    Http1OverTls,
    Http2,
}

/// Each, with what one request takes. A change that takes less lowers it.
const SPEECHES: [(Speech, &str, usize); 3] =
    [(Speech::Http1, "HTTP/1.1", 2), (Speech::Http1OverTls, "HTTP/1.1 over TLS", 4), (Speech::Http2, "HTTP/2", 6)];

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

async fn dial(speech: Speech, at: SocketAddr) -> Box<dyn Stream> {
    let alpn: &[&[u8]] = match speech {
        Speech::Http1 => return Box::new(tokio::net::TcpStream::connect(at).await.unwrap()),
        Speech::Http1OverTls => &[b"http/1.1"],
        Speech::Http2 => &[b"h2"],
    };
    let stream = tokio::net::TcpStream::connect(at).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let tls = client_config(&Roots::Unverified, alpn).unwrap();
    Box::new(connect(&tls, HOST, stream).await.unwrap())
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = &(payload.len() as u32).to_be_bytes()[1..];
    [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// The preface, with room for all answers, and the answer to the edge's own (RFC 9113 §3.4).
fn preface() -> Vec<u8> {
    let room = frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, b""), &frame(SETTINGS, ACK, 0, b""), &room]
        .concat()
}

/// The same request in fields that no table keeps (RFC 7541 §6.2.2).
fn http2_request(stream: u32) -> Vec<u8> {
    const GET: u8 = 0x82;
    const HTTPS: u8 = 0x87;
    let mut block = vec![GET, HTTPS];
    for (name, value) in [(4, "/1k"), (1, HOST)] {
        block.extend_from_slice(&[name, value.len() as u8]);
        block.extend_from_slice(value.as_bytes());
    }
    for (name, value) in [("user-agent", "test"), ("accept", "*/*")] {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

/// Reads frames until a stream ends.
async fn read_http2(io: &mut (impl AsyncRead + Unpin)) {
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.unwrap();
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        io.read_exact(&mut payload).await.unwrap();
        if kind == DATA && flags & END_STREAM != 0 {
            return;
        }
    }
}

async fn ask(io: &mut Box<dyn Stream>, speech: Speech, number: u32) {
    if speech == Speech::Http2 {
        io.write_all(&http2_request(2 * number + 1)).await.unwrap();
        io.flush().await.unwrap();
        return read_http2(io).await;
    }
    io.write_all(REQUEST).await.unwrap();
    io.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(&BODY) {
        assert!(io.read_buf(&mut answer).await.unwrap() > 0);
    }
}

/// Asks a few times, and then, when it is told to, so often as is counted.
async fn run_client(speech: Speech, at: SocketAddr) {
    let mut io = dial(speech, at).await;
    if speech == Speech::Http2 {
        io.write_all(&preface()).await.unwrap();
    }
    // Connections are made, and what is kept for good.
    let first = REQUESTS as u32 / 10;
    for number in 0..first {
        ask(&mut io, speech, number).await;
    }
    println!("{READY}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    for number in 0..REQUESTS as u32 {
        ask(&mut io, speech, first + number).await;
    }
    println!("{DONE}");
}

/// What all of its requests take of this process.
fn measure(name: &str, at: SocketAddr) -> Stats {
    let mut client = Command::new(std::env::current_exe().unwrap());
    client.args(["--exact", "allocations::allocations_of_a_request", "--nocapture"]);
    client.env(CLIENT, format!("{name} {at}")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn().unwrap();
    let mut told = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::with_capacity(1024);
    // Beside what the harness prints.
    let mut wait_for = |expect: &str| {
        while !line.trim_end().ends_with(expect) {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "{name}: the client ended before it was {expect}");
        }
    };
    wait_for(READY);
    let region = Region::new(MEMORY);
    client.stdin.take().unwrap().write_all(b"go\n").unwrap();
    wait_for(DONE);
    let stats = region.change();
    assert!(client.wait().unwrap().success());
    stats
}

#[test]
fn allocations_of_a_request() {
    if let Ok(told) = std::env::var(CLIENT) {
        let (name, at) = told.rsplit_once(' ').unwrap();
        let (speech, ..) = SPEECHES.into_iter().find(|(_, own, _)| *own == name).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(run_client(speech, at.parse().unwrap()));
    }
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_plane, [http, https]) = edge(origin.local_addr().unwrap());
    std::thread::spawn(move || {
        origin.incoming().for_each(|stream| drop(std::thread::spawn(|| answer(stream.unwrap()))));
    });
    for (speech, name, most) in SPEECHES {
        let at = if speech == Speech::Http1 { http } else { https };
        let Stats { allocations, reallocations, bytes_allocated, .. } = measure(name, at);
        let each = (allocations + reallocations) as f64 / REQUESTS as f64;
        println!(
            "{name}: {each:.2} a request, of them {reallocations} reallocations of {REQUESTS}; {} bytes",
            bytes_allocated / REQUESTS
        );
        assert!(each.round() as usize <= most, "{name}: {each:.2} allocations");
    }
}
