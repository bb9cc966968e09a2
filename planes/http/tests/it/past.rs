//! Uploads over plain HTTP to a plain origin, which go from socket to socket: what comes before, behind and between is where
//! it belongs, and who stops or leaves ends it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bartizan_plane_http::Limits;

use super::edge::{Edge, STUCK, origin_at, plain, read_answer, read_head, status};
use super::origin::{Origin, ok, pattern_at};

/// More than what is gathered, and more than one step.
const LENGTH: usize = 1_000_003;

fn pattern(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let piece = pattern_at(bytes.len() as u64);
        bytes.extend_from_slice(&piece[..piece.len().min(length - bytes.len())]);
    }
    bytes
}

fn post(length: usize) -> Vec<u8> {
    format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// Of one request after the other on a connection, whatever their pieces.
#[test]
fn each_body_is_its_own() {
    let origin = Origin::start(|seen| ok(&seen.body.len().to_string()));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let lengths = [LENGTH, 0, 32 * 1024, 32 * 1024 + 1, 3 * LENGTH, 1, LENGTH];
    // With the next head right behind a body, and with pauses within it.
    for pause in [None, Some(Duration::from_millis(2))] {
        let mut client = edge.dial();
        let mut sender = client.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            let all: Vec<u8> = lengths.iter().flat_map(|length| [post(*length), pattern(*length)].concat()).collect();
            let pieces = pause.map_or(all.len(), |_| 150_001);
            for piece in all.chunks(pieces) {
                sender.write_all(piece).unwrap();
                pause.into_iter().for_each(std::thread::sleep);
            }
        });
        for length in lengths {
            let (head, body) = read_answer(&mut client);
            assert_eq!((status(&head), body), ("200", length.to_string().into_bytes()));
        }
        sending.join().unwrap();
        for (seen, length) in origin.take_seen().into_iter().zip(lengths) {
            assert!(seen.body == pattern(length), "the body of {length} octets is another one");
        }
    }
    let all = 2 * lengths.iter().sum::<usize>() as u64;
    let counted = edge.counters().visitors.bytes_in;
    assert!((all..all + 4_096).contains(&counted), "{counted} of {all}");
}

/// More at once than there are pipes, to an origin that takes nothing until all have sent what they can.
#[test]
fn many_wait_for_a_slow_origin() {
    const MANY: usize = 20;
    let (all_there, go_on) = channel::<()>();
    let go_on = std::sync::Arc::new(std::sync::Mutex::new(go_on));
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        // Ends when all of them are let go.
        let _ = go_on.lock().unwrap().recv();
        let mut body = vec![0; 4 * LENGTH];
        stream.read_exact(&mut body).unwrap();
        let said = if body == pattern(4 * LENGTH) { "whole" } else { "other" };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n{said}").unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let clients: Vec<_> = (0..MANY)
        .map(|_| {
            let mut client = edge.dial();
            std::thread::spawn(move || {
                client.write_all(&[post(4 * LENGTH), pattern(4 * LENGTH)].concat()).unwrap();
                read_answer(&mut client).1
            })
        })
        .collect();
    edge.wait_until(|totals| totals.visitors.bytes_in > (MANY * LENGTH / 8) as u64);
    drop(all_there);
    for client in clients {
        assert_eq!(client.join().unwrap(), b"whole");
    }
}

/// An origin that takes the head and some of a body, says so, and goes on as it is told.
fn takes_some(then: impl Fn(TcpStream) + Send + Sync + 'static) -> (Origin, Receiver<()>) {
    let (told, there) = channel();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        stream.read_exact(&mut vec![0; LENGTH / 4]).unwrap();
        told.lock().unwrap().send(()).unwrap();
        then(stream);
    });
    (origin, there)
}

#[test]
fn an_answer_before_the_end() {
    let (origin, _there) = takes_some(|mut stream| {
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").unwrap();
        // Closed with bytes unread, it would take its answer back.
        while stream.read(&mut [0; 65_536]).is_ok_and(|read| read > 0) {}
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    // The rest of it is sent when the answer is on its way; it is thrown away within limits.
    client.write_all(&[post(LENGTH), pattern(LENGTH / 2)].concat()).unwrap();
    let (head, body) = read_answer(&mut client);
    assert_eq!((status(&head), &*body), ("413", &b"big"[..]));
    drop(client);
    edge.wait_until(|totals| totals.visitors.open == 0);
}

/// Who leaves in the middle of a body takes the request along; who stops is left when the time is over.
#[test]
fn who_does_not_go_on() {
    let time = Duration::from_millis(500);
    for (what, limits, leaves) in [
        ("it leaves", Limits::default(), true),
        ("it stops", Limits { stall_time: time, expire_every: time / 10, ..Limits::default() }, false),
    ] {
        let (ended, end) = channel();
        let ended = std::sync::Mutex::new(ended);
        let (origin, there) = takes_some(move |mut stream| {
            // However it is told.
            let rest =
                std::iter::from_fn(|| stream.read(&mut [0; 65_536]).ok().filter(|read| *read > 0)).sum::<usize>();
            ended.lock().unwrap().send(LENGTH / 4 + rest).unwrap();
        });
        let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], limits);
        let mut client = edge.dial();
        client.write_all(&[post(LENGTH), pattern(LENGTH / 2)].concat()).unwrap();
        there.recv_timeout(STUCK).unwrap();
        if leaves {
            client.shutdown(Shutdown::Both).unwrap();
        }
        let got = end.recv_timeout(STUCK).unwrap_or_else(|_| panic!("{what}: the origin waits on"));
        assert!(got <= LENGTH / 2, "{what}: {got} of {}", LENGTH / 2);
        edge.wait_until(|totals| totals.visitors.open == 0);
        assert_eq!(edge.counters().visitors.too_slow > 0, !leaves, "{what}");
    }
}
