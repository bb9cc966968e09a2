//! How often a proxied request over HTTP/1.1 asks for memory, on kept connections. All of the process is counted; client and
//! origin ask for none. So no other test may be in this binary, unless each test has a process of its own.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use bartizan_authority::{NameContent, Proxied, ZoneFacts, Zones};
use bartizan_dial::{Destinations, NameServers, Own, Private, Reach};
use bartizan_exchange::{Io, LocalBoxFuture, Request, Response, Upstream, UpstreamError};
use bartizan_firewall::Firewall;
use bartizan_geo::Geo;
use bartizan_live::Live;
use bartizan_names::{Host, Name, OriginHost, TunnelId, ZoneId, ZoneName};
use bartizan_plane_http::{Config, Limits, Neighbours, Plane, ServerFacts, Sockets, start};
use bartizan_policy::Policy;
use bartizan_routes::{Routes, Server, Site, Target};
use bartizan_tls::Hosts;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REQUESTS: usize = 1_000;

/// What one takes. A change that takes less lowers it.
const ALLOCATIONS_MAX: usize = 2;

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

/// The HTTP edge with one worker and one host, and where it listens.
fn edge(origin: SocketAddr) -> (Plane, SocketAddr) {
    let host = Name::parse("www.bench.example").unwrap();
    let apex = ZoneName::new(Name::parse(bartizan_bench::ZONE).unwrap()).unwrap();
    let (mut routes, mut zones) = (Routes::empty().edit(), Zones::empty().edit());
    zones.put_zone(ZoneFacts::new(apex.clone()));
    zones.put_name(&apex, &host, NameContent { sets: Vec::new(), proxied: Proxied::UnlessPaused });
    let policy = Arc::new(Policy::default());
    let site = routes.add_site(Site { zone: ZoneId::from_bytes([0; 16]), apex, policy });
    let target = Server { hosts: [OriginHost::Address(origin.ip())].into(), port: Some(origin.port()) };
    routes.put(site, &host, Target::Origin(target));
    let live = Live::new(Config {
        zones: zones.finish(),
        routes: routes.finish(),
        firewall: Firewall::empty(),
        geo: Geo::built_in(),
        hosts: Hosts::default(),
        challenges: Arc::default(),
        limits: Limits::default(),
        server: ServerFacts { pop: "LAB".to_owned(), ..ServerFacts::default() },
        clock: bartizan_clock::Clock::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sockets = Sockets { http: vec![vec![listener]], https: Vec::new(), quic: None };
    let reach = Reach::new(NameServers::System, Destinations::new(Own::default(), Private::Allowed));
    let neighbours = Neighbours { upstream: Arc::new(NoTunnels), dns: None, access_log: None };
    (start(sockets, &live, neighbours, &reach, 1).unwrap(), address)
}

#[test]
fn allocations_of_a_request() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_plane, edge) = edge(origin.local_addr().unwrap());
    std::thread::spawn(move || answer(origin.accept().unwrap().0));
    let mut client = TcpStream::connect(edge).unwrap();
    let mut buffer = [0; 4096];
    let mut ask = || {
        client.write_all(REQUEST).unwrap();
        assert!(read_to(&mut client, &BODY, &mut buffer));
    };
    // Connections are made, and what is kept for good.
    (0..REQUESTS / 10).for_each(|_| ask());
    let region = Region::new(MEMORY);
    (0..REQUESTS).for_each(|_| ask());
    let Stats { allocations, reallocations, bytes_allocated, .. } = region.change();
    let each = (allocations + reallocations) as f64 / REQUESTS as f64;
    println!(
        "{each:.2} a request, of them {reallocations} reallocations of {REQUESTS}; {} bytes",
        bytes_allocated / REQUESTS
    );
    assert!(each.round() as usize <= ALLOCATIONS_MAX, "{each:.2} allocations");
}
