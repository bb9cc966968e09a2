//! Large bodies, both ways: every byte arrives, and who reads slowly slows the writer down.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Request;
use hyper::body::Body as _;

use super::edge::{Edge, STUCK, origin_at, plain, read_head, status};
use super::frames::{Client, DATA, END_HEADERS, HEADERS, WINDOW_UPDATE, block, frame, request};
use super::origin::{Origin, ok, pattern_at};
use super::protocols::{Outgoing, dial_h2, run};

const LENGTH: u64 = 64 * 1024 * 1024;

/// Compares bytes that begin at `at` with the pattern; gives where they end.
fn check_piece(mut piece: &[u8], mut at: u64) -> u64 {
    while !piece.is_empty() {
        let expect = pattern_at(at);
        let (here, rest) = piece.split_at(piece.len().min(expect.len()));
        assert!(here == &expect[..here.len()], "bytes differ behind {at}");
        at += here.len() as u64;
        piece = rest;
    }
    at
}

/// Reads so many bytes and compares each.
fn check_pattern(from: &mut impl Read, length: u64) {
    let mut buffer = vec![0; 128 * 1024];
    let mut at = 0;
    while at < length {
        let read = from.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the body ended at {at}");
        at = check_piece(&buffer[..read], at);
    }
    assert_eq!(at, length);
}

fn write_pattern(to: &mut impl Write, length: u64, written: &AtomicU64) {
    let mut at = 0;
    while at < length {
        let piece = pattern_at(at);
        let piece = &piece[..piece.len().min((length - at) as usize)];
        if to.write_all(piece).is_err() {
            return;
        }
        at += piece.len() as u64;
        written.store(at, Ordering::SeqCst);
    }
}

/// Sends `LENGTH` bytes to whoever asks.
fn source() -> (Origin, Arc<AtomicU64>) {
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let origin = Origin::raw(move |mut stream: TcpStream| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").unwrap();
        write_pattern(&mut stream, LENGTH, &count);
    });
    (origin, written)
}

/// Takes `LENGTH` bytes.
fn sink() -> Origin {
    Origin::raw(|mut stream: TcpStream| {
        read_head(&mut stream);
        check_pattern(&mut stream, LENGTH);
        stream.write_all(&ok("all of it")).unwrap();
        let _ = stream.read(&mut [0]);
    })
}

#[test]
fn download_over_http1() {
    let (origin, _) = source();
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert_eq!(status(&read_head(&mut client)), "200");
    check_pattern(&mut client, LENGTH);
}

#[test]
fn upload_over_http1() {
    let origin = sink();
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    write!(client, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n").unwrap();
    write_pattern(&mut client, LENGTH, &AtomicU64::new(0));
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("all of it"), "{answer}");
}

#[test]
fn both_ways_over_http2() {
    let ((down, _), up) = (source(), sink());
    let edge =
        Edge::start(&[("down.test", origin_at(down.address), plain()), ("up.test", origin_at(up.address), plain())]);
    run(async {
        let mut sender = dial_h2(&edge, "down.test").await;
        let request = Request::builder().uri("https://down.test/").body(Outgoing::of(0)).unwrap();
        let mut body = sender.send_request(request).await.unwrap().into_body();
        let mut at = 0;
        while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
            at = check_piece(&frame.unwrap().into_data().unwrap_or_default(), at);
        }
        assert_eq!(at, LENGTH);
        let request = Request::builder().method("POST").uri("https://up.test/").header("content-length", LENGTH);
        let answer = sender.send_request(request.body(Outgoing::of(LENGTH)).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
    });
}

/// Many at once over one connection, with windows that all of them have to wait for: each gets its own, and none is forgotten.
#[test]
fn many_at_once_over_http2() {
    const STREAMS: u64 = 40;
    let origin = Origin::start(|seen| {
        let length = seen.head.split(['/', ' ']).nth(2).unwrap().parse::<u64>().unwrap();
        let mut body = Vec::new();
        write_pattern(&mut body, length, &AtomicU64::new(0));
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes(), &body].concat()
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    run(async {
        let sender = dial_h2(&edge, "a.test").await;
        let asking = (1..=STREAMS).map(|number| {
            let mut sender = sender.clone();
            async move {
                let length = number * 20_000;
                let request = Request::builder().uri(format!("https://a.test/{length}")).body(Outgoing::of(0)).unwrap();
                let mut body = sender.send_request(request).await.unwrap().into_body();
                let mut at = 0;
                while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
                    at = check_piece(&frame.unwrap().into_data().unwrap_or_default(), at);
                }
                assert_eq!(at, length);
            }
        });
        futures_util::future::join_all(asking).await;
    });
}

/// A visitor that does not read: what the origin gets rid of is bounded by buffers, not by the body.
#[test]
fn a_slow_reader_slows_the_origin() {
    let (origin, written) = source();
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert_eq!(status(&read_head(&mut client)), "200");
    // Other requests take turns with it on the same worker; after many, the origin would be far ahead.
    let mut last = u64::MAX;
    while written.load(Ordering::SeqCst) != last {
        last = written.load(Ordering::SeqCst);
        for _ in 0..50 {
            assert_eq!(status(&edge.get("other.test", "/", "")), "404");
        }
    }
    // The kernel's buffers of two connections, 4 to 6 MB each on loopback, and ours.
    assert!(last < LENGTH / 2, "{last}");
    check_pattern(&mut client, LENGTH);
}

/// Of whom a body is taken as fast as it comes may send more ahead, on the stream and on the connection; and gives it back with it.
#[test]
fn windows_of_uploads_grow() {
    const FIRST: u64 = 256 * 1024;
    let origin = Origin::raw(|mut stream| {
        let mut buffer = vec![0; 128 * 1024];
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let held = || edge.gauge("bartizan_http_buffer_bytes");
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        client.send(&frame(HEADERS, END_HEADERS, 1, &block(&request("POST", "a.test", &[])))).await;
        let (mut of_all, mut of_stream, mut sent) = (65_535, FIRST, 0);
        // What it may send ahead, at most. It is told of some of that at a time, now for one and now for the other.
        let mut widest = [0, 0];
        let start = std::time::Instant::now();
        while widest[0] <= 5 * FIRST || widest[1] <= 4 * FIRST {
            assert!(start.elapsed() < STUCK / 2, "{widest:?} of {sent}");
            while of_all.min(of_stream) - sent >= 16_384 {
                client.send(&frame(DATA, 0, 1, &[b'x'; 16_384])).await;
                sent += 16_384;
            }
            let more = client.next_of(&[WINDOW_UPDATE]).await.unwrap();
            let by = u64::from(u32::from_be_bytes(more.payload.try_into().unwrap()));
            if more.stream == 0 {
                of_all += by
            } else {
                of_stream += by
            }
            widest = [widest[0].max(of_all - sent), widest[1].max(of_stream - sent)];
        }
        assert!(held() >= 7 * FIRST, "{}", held());
    });
    let start = std::time::Instant::now();
    while held() > 0 {
        assert!(start.elapsed() < STUCK, "it comes back: {}", held());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
