//! Answers that come before the end of an upload, while the visitor goes on sending: they have to arrive (RFC 9113 §8.1,
//! RFC 9112 §9.6). More over HTTP/1.1: see `limits.rs` and `origins.rs`.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use bartizan_plane_http::Limits;

use super::edge::{Edge, STUCK, origin_at, plain, read_answer, read_head, status};
use super::frames::{
    Client, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get, request,
};
use super::origin::Origin;
use super::protocols::run;

/// What one frame may hold at most (RFC 9113 §4.2).
const FRAME_BYTES: usize = 16_384;

/// What a visitor may send ahead on a stream, and what is read of it when nobody wants it.
const WINDOW_BYTES: usize = 256 * 1024;
const LINGER_BYTES_MAX: usize = 256 * 1024;

const NO_ERROR: [u8; 4] = 0_u32.to_be_bytes();

/// The head of an upload that is longer than this.
fn upload(stream: u32, host: &str, length: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(&request("POST", host, &[("content-length", length)])))
}

/// Who ends its upload in its own time, with the answer before it, sees no reset.
#[test]
fn an_upload_that_goes_on_after_its_answer_is_not_reset() {
    let origin = Origin::raw(|mut stream| {
        read_head(&mut stream);
        // Closed with unread bytes: a reset.
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").unwrap();
    });
    let limits = Limits { linger_time: STUCK, ..Limits::default() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], limits);
    for (what, host, length) in
        [("an origin's", "a.test", "100000"), ("our own", "other.test", "100000"), ("a refusal", "a..b", "100000")]
    {
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            client.send(&upload(1, host, length)).await;
            client.send(&frame(DATA, 0, 1, &[b'x'; 10_000])).await;
            // All of the answer.
            assert_eq!(client.next_of(&[HEADERS]).await.expect("a head").stream, 1, "{what}");
            while !client.next_of(&[DATA]).await.expect("a body").ends_stream() {}
            for _ in 0..9 {
                client.send(&frame(DATA, 0, 1, &[b'x'; 10_000])).await;
            }
            client.send(&[frame(DATA, END_STREAM, 1, b""), get(3, "other.test")].concat()).await;
            let next = client.next_of(&[HEADERS, RST_STREAM]).await.expect("the next answer");
            assert_eq!((next.kind, next.stream), (HEADERS, 3), "{what}");
        });
    }
}

/// Over HTTP/1.1 the end of a connection must not destroy the answer of a visitor that sends more than anybody reads
/// before it has a look.
#[test]
fn an_answer_waits_for_a_visitor_that_sends_on() {
    let edge = Edge::with_limits(&[], Limits { linger_time: STUCK, ..Limits::default() });
    let mut client = edge.dial();
    client.write_all(b"POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let ended = loop {
        if let Err(error) = client.write(&[b'x'; 64 * 1024]) {
            break error.kind();
        }
    };
    assert_eq!(ended, ErrorKind::WouldBlock, "a reset");
    assert_eq!(status(&read_answer(&mut client).0), "404");
}

/// An upload that does not end is reset after a while, and no more of it is read than a bound.
#[test]
fn an_unwanted_upload_ends() {
    let limits = Limits { linger_time: Duration::from_millis(500), ..Limits::default() };
    let edge = Edge::with_limits(&[], limits);
    for (what, sends_on) in [("nothing more", false), ("all it may", true)] {
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            // Before these it may send less.
            for kind in [SETTINGS, WINDOW_UPDATE] {
                client.next_of(&[kind]).await.expect("a beginning");
            }
            client.send(&upload(1, "other.test", "100000000")).await;
            let (mut room, mut sent) = (WINDOW_BYTES, 0);
            let reset = loop {
                while sends_on && room > 0 {
                    let piece = room.min(FRAME_BYTES);
                    client.send(&frame(DATA, 0, 1, &vec![b'x'; piece])).await;
                    (room, sent) = (room - piece, sent + piece);
                }
                let frame = client.next().await.expect("a frame");
                match (frame.kind, frame.stream) {
                    (RST_STREAM, 1) => break frame,
                    (WINDOW_UPDATE, 1) => room += u32::from_be_bytes(frame.payload.try_into().unwrap()) as usize,
                    _ => {}
                }
            };
            assert_eq!(reset.payload, NO_ERROR, "{what}");
            assert!(sent <= WINDOW_BYTES + LINGER_BYTES_MAX, "{what}: {sent}");
        });
    }
}
