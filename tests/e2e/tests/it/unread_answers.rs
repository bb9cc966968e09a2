//! Answers that nobody reads take memory, which is bounded elsewhere; here it comes back when those who asked are gone.

use std::net::SocketAddr;

use bartizan_e2e::{Edge, wait};
use bartizan_tls::{ClientStream, Roots, client_config, connect};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::crowds::memory;
use crate::dns_encrypted::wire;

/// Connections, and what each asks for at once: as many answers as HTTP/2 has streams, of 56 KB.
const CONNECTIONS: u8 = 30;
const ANSWERS: u32 = 100;
const TEXTS: usize = 28;
const TEXT_BYTES: usize = 2_000;

/// What has to be in memory at least, and what may be left of it.
const PEAK_MIN: usize = CONNECTIONS as usize * ANSWERS as usize * TEXTS * TEXT_BYTES * 3 / 4;
const LEFT_MAX: usize = 48 << 20;

/// Of HTTP/2 (RFC 9113 §6, §6.5.2).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW: [u8; 2] = [0, 4];
const WINDOW: [u8; 4] = (1_u32 << 30).to_be_bytes();

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Asks for all answers, and reads none.
async fn ask(edge: &Edge, number: u8, host: &str, query: &[u8]) -> ClientStream<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(32 * 1024).expect("a small buffer");
    socket.bind(SocketAddr::from(([127, 0, 1, number], 0))).expect("an address of this machine");
    let ca = std::fs::read_to_string(edge.ca()).expect("the authority");
    let config = client_config(&Roots::Pem(ca), &[b"h2"]).expect("roots");
    let stream = socket.connect(edge.https()).await.expect("a connection");
    let mut stream = connect(&config, host, stream).await.expect("TLS");
    let settings = [&INITIAL_WINDOW[..], &WINDOW].concat();
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let head: Vec<u8> = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", host),
        (":path", "/dns-query"),
        ("content-type", "application/dns-message"),
    ]
    .iter()
    .flat_map(|(name, value)| [vec![0], text(name), text(value)].concat())
    .collect();
    let mut all = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(SETTINGS, 0, 0, &settings),
        &frame(WINDOW_UPDATE, 0, 0, &WINDOW),
    ]
    .concat();
    for answer in 0..ANSWERS {
        all.extend(frame(HEADERS, END_HEADERS, 2 * answer + 1, &head));
        all.extend(frame(DATA, END_STREAM, 2 * answer + 1, query));
    }
    stream.write_all(&all).await.expect("it is taken");
    stream.flush().await.expect("it is taken");
    stream
}

#[test]
fn memory_comes_back_from_readers_that_never_read() {
    let mut edge = Edge::start();
    let name = format!("long.{}", edge.domain());
    for number in 0..TEXTS {
        let content = format!("{number:02}{}", "x".repeat(TEXT_BYTES - 2));
        edge.record(&json!({"type": "TXT", "name": name, "content": content}));
    }
    let query = [&b"\0\0\x01\0\0\x01\0\0\0\0\0\0"[..], &wire(&name), b"\0\x10\0\x01"].concat();
    wait::until("the whole set", || {
        let reply = edge.dig(&["+tcp", &name, "TXT"]);
        (reply.text.len() > TEXTS * TEXT_BYTES).then_some(())
    });
    let before = memory(&mut edge);
    let host = format!("ns1.{}", edge.domain());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let crowd: Vec<_> = runtime.block_on(async {
        let mut crowd = Vec::new();
        for number in 1..=CONNECTIONS {
            crowd.push(ask(&edge, number, &host, &query).await);
        }
        crowd
    });
    wait::until("answers in memory", || (memory(&mut edge) > before + PEAK_MIN).then_some(()));
    let reply = edge.dig(&[&name, "SOA"]);
    assert_eq!(reply.status, "NOERROR", "others are served: {}", reply.text);
    drop(crowd);
    wait::until("memory that comes back", || (memory(&mut edge) < before + LEFT_MAX).then_some(()));
}
