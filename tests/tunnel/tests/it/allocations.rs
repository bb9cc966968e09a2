//! How often a request through a tunnel asks for memory, at the edge's end and the connector's together, QUIC included, on
//! kept connections. All of the process is counted, so it is one of its own; the origin asks for none.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use bartizan_exchange::Request;
use bartizan_tunnel_tests::{Connector, Edge, facts, get, options, tunnel};
use http::{HeaderName, HeaderValue};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Set where no other test runs.
const ALONE: &str = "BARTIZAN_TEST_ALONE";

const REQUESTS: usize = 500;

/// What one takes, and some for packets that are cut otherwise. A change that takes less lowers it.
const ALLOCATIONS_MAX: usize = 66;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: test\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    Content-Type: text/plain\r\nCache-Control: no-store\r\nVary: Accept\r\nContent-Length: 1024\r\n\r\n";

/// What an edge sends of a browser's request.
const FIELDS: [(&str, &str); 12] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) test"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, br"),
    ("referer", "https://a.example/"),
    ("cookie", "session=0123456789abcdef"),
    ("cf-connecting-ip", "192.0.2.1"),
    ("cf-ray", "0123456789abcdef-LAB"),
    ("cf-visitor", "{\"scheme\":\"https\"}"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-proto", "https"),
    ("cdn-loop", "bartizan"),
];

fn request() -> Request {
    let mut request = get("a.example/page?number=1");
    for (name, value) in FIELDS {
        request.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    request
}

fn answer(mut stream: TcpStream) {
    let (whole, mut buffer) = ([ANSWER, &[b'x'; 1024]].concat(), [0; 4096]);
    let mut filled = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]) {
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            stream.write_all(&whole).unwrap();
            filled = 0;
        }
    }
}

#[test]
fn allocations_of_a_request() {
    if std::env::var_os(ALONE).is_some() {
        return tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(count());
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", "allocations::allocations_of_a_request", "--nocapture"]).env(ALONE, "1");
    assert!(alone.status().unwrap().success());
}

async fn count() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", origin.local_addr().unwrap());
    std::thread::spawn(move || origin.incoming().for_each(|stream| drop(stream.map(answer))));
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let mut options = options(&edge, tunnel(1), &url);
    options.connections = 1;
    let _connector = Connector::start(options);
    edge.connections(1).await;
    let ask = async |count: usize| {
        for _ in 0..count {
            let mut answer = edge.send(tunnel(1), request()).await.unwrap();
            let mut bytes = 0;
            while let Some(piece) = answer.body.next().await {
                bytes += piece.unwrap().len();
            }
            assert_eq!((answer.status.as_u16(), bytes), (200, 1024));
        }
    };
    let counted = |region: Region<'_, System>| {
        let stats = region.change();
        (stats.allocations + stats.reallocations) as f64 / REQUESTS as f64
    };
    // Connections are made, and what is kept for good.
    ask(REQUESTS / 10).await;
    let region = Region::new(MEMORY);
    (0..REQUESTS).for_each(|_| drop(request()));
    let of_the_test = counted(region);
    let region = Region::new(MEMORY);
    ask(REQUESTS).await;
    let each = counted(region) - of_the_test;
    println!("{each:.2} a request");
    assert!(each.round() as usize <= ALLOCATIONS_MAX, "{each:.2} allocations");
}
