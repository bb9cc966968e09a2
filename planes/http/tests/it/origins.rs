//! Connections to origins: which answers count, and after which another request may follow.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::edge::{Edge, origin_at, plain, read_head, status};
use super::frames::{Client, HEADERS, OK, RST_STREAM, get};
use super::origin::Origin;
use super::protocols::run;

/// RFC 9112 §9.5: an origin may answer before it has read the body and close. Its answer counts, although the upload
/// fails.
#[test]
fn an_early_answer_counts_although_the_upload_fails() {
    let origin = Origin::raw(|mut stream| {
        read_head(&mut stream);
        // Closed with unread bytes: a reset.
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let body = vec![b'x'; 200_000];
    for round in 0..20 {
        let mut client = edge.dial();
        write!(client, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        client.write_all(&body).unwrap();
        let head = read_head(&mut client);
        assert_eq!(status(&head), "413", "round {round}\n{head}");
        let mut text = [0; 3];
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"big");
    }
}

/// An answer that could be read in two ways is none.
#[test]
fn answers_that_are_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 099 Low\r\nContent-Length: 5\r\n\r\nhello",
        "ICY 200 OK\r\n",
    ] {
        let origin = Origin::start(move |_| answer.as_bytes().to_vec());
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        assert_eq!(status(&edge.get("a.test", "/", "")), "502", "{answer:?}");
    }
}

/// What breaks before a byte of the answer was passed on is no answer.
#[test]
fn a_body_that_breaks_at_its_beginning() {
    for body in ["zz\r\n", "2\r\nabc\r\n", "\r\n", "-1\r\n", "10000000000000000\r\n"] {
        let said = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let origin = Origin::start(move |_| said.clone().into_bytes());
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        // Two bytes of data are good before the third is too much: they are passed on, and then the answer breaks off.
        let expect = if body.starts_with('2') { "200" } else { "502" };
        let answer = edge.get("a.test", "/", "");
        assert_eq!(status(&answer), expect, "{body:?}\n{answer}");
        assert!(expect == "502" || !answer.ends_with("0\r\n\r\n"), "{body:?}\n{answer}");
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            client.send(&get(1, "a.test")).await;
            if expect == "200" {
                // What has not left yet, the head among it, goes down with the stream.
                assert!(client.next_of(&[RST_STREAM]).await.is_some(), "{body:?}");
            } else {
                assert_ne!(client.next_of(&[HEADERS]).await.expect("a page").payload[0], OK, "{body:?}");
            }
        });
    }
}

/// A visitor of HTTP/1.0 knows the end of a body by the end of the connection: one that is cut does not end like that
/// (RFC 9112 §8).
#[test]
fn what_is_cut_has_no_clean_end() {
    let origin = Origin::raw(|mut stream: TcpStream| {
        let head = read_head(&mut stream);
        let end = if head.starts_with("GET /whole") { "0\r\n\r\n" } else { "" };
        write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{end}").unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (path, is_whole) in [("/whole", true), ("/cut", false)] {
        let mut client = edge.dial();
        write!(client, "GET {path} HTTP/1.0\r\nHost: a.test\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        assert_eq!(client.read_to_end(&mut answer).is_ok(), is_whole, "{path}");
        assert!(!is_whole || answer.ends_with(b"\r\n\r\nhello"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// After which answers the connection is used again. What follows an answer that is over is never taken for the next.
#[test]
fn which_connections_are_kept() {
    for (answer, body, connections) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n", "hello", 1),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", "hello", 1),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", 1),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 2),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", "hello", 2),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            "hello",
            2,
        ),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "", 2),
    ] {
        let origin = Origin::start(move |_| answer.as_bytes().to_vec());
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        for _ in 0..2 {
            let page = edge.get("a.test", "/", "");
            let (_, found) = page.split_once("\r\n\r\n").unwrap();
            let found = found.replace("5\r\nhello\r\n0\r\n\r\n", "hello");
            assert_eq!(found, body, "{answer:?}\n{page}");
        }
        assert_eq!(origin.connections(), connections, "{answer:?}");
    }
}

/// A body without a length or chunks ends with the origin's connection.
#[test]
fn a_body_that_ends_with_its_connection() {
    let origin = Origin::raw(|mut stream: TcpStream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nall of it").unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let answer = edge.get("a.test", "/", "");
    assert!(answer.contains("all of it") && answer.ends_with("0\r\n\r\n"), "{answer}");
}
