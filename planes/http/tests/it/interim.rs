//! Interim answers of origins (RFC 9110 §15.2): they go on at once, to whoever may be told.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc;

use bartizan_wire::http2::hpack::{Decoder, List};

use super::edge::{Edge, origin_at, plain, read_answer, read_head, status};
use super::frames::{Client, DATA, END_HEADERS, END_STREAM, HEADERS, block, frame, get, request};
use super::origin::{Origin, ok};
use super::protocols::run;

const HINTS: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                     HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nlink: </b>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
                     Alt-Svc: h3=\":1\"\r\nContent-Length: 9\r\nSet-Cookie: early=1\r\nServer: origin\r\n\
                     WWW-Authenticate: Basic\r\nStrict-Transport-Security: max-age=9\r\nClear-Site-Data: \"*\"\r\n\
                     Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Own: 1\r\nreferrer-policy: origin\r\n\
                     Content-Security-Policy: default-src 'self'\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// All heads that come up to the final one.
fn heads(client: &mut TcpStream) -> Vec<String> {
    let mut heads = vec![read_head(client)];
    while heads.last().is_some_and(|head| status(head).starts_with('1')) {
        heads.push(read_head(client));
    }
    heads
}

#[test]
fn who_is_told_of_interim_answers() {
    let origin = Origin::start(|_| [HINTS, ANSWER].concat().into_bytes());
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nlink: </b>\r\n\
                 referrer-policy: origin\r\nContent-Security-Policy: default-src 'self'\r\n\r\n";
    for (version, told) in [("1.1", &["HTTP/1.1 102 Processing\r\n\r\n", hints][..]), ("1.0", &[])] {
        let mut client = edge.dial();
        // Twice, over one connection: no request gets what belongs to another.
        for _ in 0..2 {
            write!(client, "GET / HTTP/{version}\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n").unwrap();
            let heads = heads(&mut client);
            let (last, before) = heads.split_last().unwrap();
            assert_eq!((before, status(last)), (&told.iter().map(ToString::to_string).collect::<Vec<_>>()[..], "200"));
            let mut body = [0; 2];
            client.read_exact(&mut body).unwrap();
            assert_eq!(&body, b"hi", "{version}");
        }
    }
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        let mut decoder = Decoder::new(4096);
        for stream in [1, 3] {
            client.send(&get(stream, "a.test")).await;
            let mut heads = Vec::new();
            for _ in 0..3 {
                let head = client.next_of(&[HEADERS]).await.expect("a head");
                assert!(head.stream == stream && !head.ends_stream());
                let mut lines = Vec::new();
                let mut line = |name: &[u8], value: &[u8]| {
                    lines.push([name, value].map(String::from_utf8_lossy).join(": "));
                };
                assert!(matches!(decoder.decode(&head.payload, usize::MAX, &mut line), Ok(List::Whole)));
                heads.push(lines);
            }
            assert_eq!(heads[0], [":status: 102"]);
            let hints = [
                ":status: 103",
                "link: </a>; rel=preload",
                "link: </b>",
                "referrer-policy: origin",
                "content-security-policy: default-src 'self'",
            ];
            assert_eq!(heads[1], hints);
            assert_eq!(heads[2][0], ":status: 200");
        }
    });
}

/// While the origin thinks, and while a body is on its way that the visitor holds back until it is asked for it.
#[test]
fn interim_answers_go_on_at_once() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        stream.write_all(HINTS.as_bytes()).unwrap();
        told.lock().unwrap().recv().unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"body");
        stream.write_all(ANSWER.as_bytes()).unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    write!(client, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").unwrap();
    // The edge's own among them, in any place.
    let mut before: Vec<String> = (0..3).map(|_| status(&read_head(&mut client)).to_owned()).collect();
    before.sort();
    assert_eq!(before, ["100", "102", "103"]);
    client.write_all(b"body").unwrap();
    tell.send(()).unwrap();
    let (head, body) = read_answer(&mut client);
    assert_eq!((status(&head), body.as_slice()), ("200", &b"hi"[..]));
}

/// A few are passed on; an endless number is no answer, and what has no room is left out.
#[test]
fn so_many_interim_answers_and_so_large() {
    for (count, link, told, expect) in
        [(0, 1, 0, "200"), (8, 1, 8, "200"), (9, 1, 8, "502"), (1, 20_000, 0, "200"), (3, 7_000, 2, "200")]
    {
        let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(link));
        // In one piece, so that none is written before the last is here.
        let origin = Origin::start(move |_| [hint.repeat(count), ANSWER.to_owned()].concat().into_bytes());
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        let mut client = edge.dial();
        write!(client, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        let heads = heads(&mut client);
        let (last, before) = heads.split_last().unwrap();
        assert_eq!(status(last), expect, "{count} of {link}");
        // Of some the origin's pieces may have come apart.
        assert!(before.len() == told || (count == 3 && before.len() == 3), "{count} of {link}: {}", before.len());
    }
}

/// Who waits to be asked for its body is asked when somebody wants it, and not otherwise (RFC 9110 §10.1.1).
#[test]
fn who_waits_to_be_asked_over_http2() {
    let origin = Origin::start(|seen| ok(&String::from_utf8_lossy(&seen.body)));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (host, expect) in [("a.test", &["100", "200"][..]), ("other.test", &["404"])] {
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            let fields = request("POST", host, &[("content-length", "4"), ("expect", "100-continue")]);
            client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
            let mut decoder = Decoder::new(4096);
            for expect in expect {
                let head = client.next_of(&[HEADERS]).await.expect("a head");
                let mut status = None;
                let list = decoder.decode(&head.payload, usize::MAX, |_, value| {
                    status.get_or_insert(String::from_utf8(value.to_vec()).unwrap());
                });
                assert!(matches!(list, Ok(List::Whole)));
                assert_eq!(status.as_deref(), Some(*expect), "{host}");
                if *expect == "100" {
                    client.send(&frame(DATA, END_STREAM, 1, b"body")).await;
                }
            }
            if host == "a.test" {
                assert_eq!(client.next_of(&[DATA]).await.expect("a body").payload, b"body");
            }
        });
    }
}
