//! Connections of visitors over HTTP/1.1: what may follow what, and who is let go when.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;

use super::edge::{Edge, STUCK, field, origin_at, plain, read_answer, read_head, status};
use super::origin::{Origin, ok};
use super::websocket::ASK;

/// Which requests keep the connection, and how the visitor is told (RFC 9112 §9.3).
#[test]
fn what_keeps_a_connection() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (version, fields, said, is_kept) in [
        ("1.1", "", None, true),
        ("1.1", "Connection: keep-alive\r\n", None, true),
        ("1.1", "Connection: x, Close\r\n", Some("close"), false),
        ("1.0", "", Some("close"), false),
        ("1.0", "Connection: Keep-Alive\r\n", Some("keep-alive"), true),
    ] {
        let mut client = edge.dial();
        write!(client, "GET / HTTP/{version}\r\nHost: a.test\r\n{fields}\r\n").unwrap();
        let (head, body) = read_answer(&mut client);
        assert_eq!((field(&head, "connection"), body.as_slice()), (said, &b"hello"[..]), "{version} {fields}");
        if is_kept {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
            assert_eq!(read_answer(&mut client).1, b"hello", "{version} {fields}");
        } else {
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "{version} {fields}");
        }
    }
}

/// 1.0 has no chunks: a body without a length ends with the connection.
#[test]
fn a_body_without_a_length_by_version() {
    let origin = Origin::start(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec()
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (version, coding, connection) in [("1.0", None, Some("close")), ("1.1", Some("chunked"), Some("close"))] {
        let request = format!("GET / HTTP/{version}\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        let answer = edge.raw(request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!((field(head, "transfer-encoding"), field(head, "connection")), (coding, connection), "{head}");
        assert_eq!(field(head, "content-length"), None);
        match coding {
            None => assert_eq!(body, "abcde"),
            // How the pieces are gathered is our affair.
            Some(_) => assert!(body.ends_with("0\r\n\r\n") && body.contains("abc"), "{body:?}"),
        }
    }
}

/// RFC 9110 §6.6.1.
#[test]
fn every_answer_has_one_date() {
    let origin = Origin::start(|seen| match seen.head.contains("/dated") {
        true => b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n".to_vec(),
        false => ok("hello"),
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (host, path) in [("a.test", "/dated"), ("a.test", "/"), ("other.test", "/")] {
        let answer = edge.get(host, path, "");
        assert_eq!(answer.matches("Date: ").count(), 1, "{answer}");
        let date = field(&answer, "date").unwrap();
        assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
        assert_eq!(date.contains("1994"), path == "/dated");
    }
}

/// An origin that answers before it has read the request's body.
fn hasty(answer: &'static str) -> Origin {
    Origin::raw(move |mut stream: TcpStream| {
        read_head(&mut stream);
        let _ = stream.write_all(answer.as_bytes());
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

/// RFC 9112 §9.5: what a visitor still sends after an early answer is taken within a bound, and the next request follows.
#[test]
fn what_follows_an_early_answer() {
    let origin = hasty("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for (length, is_kept) in [(100_000, true), (1_000_000, false)] {
        let mut client = edge.dial();
        write!(client, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\nhalf").unwrap();
        let (head, body) = read_answer(&mut client);
        assert_eq!((status(&head), body.as_slice()), ("413", &b"big"[..]), "{length}");
        let rest = vec![b'x'; length - 4];
        let sent = client.write_all(&rest).and_then(|()| write!(client, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"));
        if is_kept {
            sent.unwrap();
            assert_eq!(status(&read_answer(&mut client).0), "404", "{length}");
        } else {
            let mut after = Vec::new();
            let _ = client.read_to_end(&mut after);
            assert!(after.is_empty(), "{}", String::from_utf8_lossy(&after));
        }
    }
}

/// A visitor that waits for a 100 and gets its answer instead may send the body or not: nothing can follow.
#[test]
fn an_answer_instead_of_a_100() {
    let edge = Edge::start(&[]);
    let answer = edge.raw(b"PUT / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!((status(&answer), field(&answer, "connection")), ("404", Some("close")), "{answer}");
}

/// A body that is there already needs no 100.
#[test]
fn no_100_for_a_body_that_is_here() {
    let origin = Origin::start(|seen| ok(&String::from_utf8_lossy(&seen.body)));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    client
        .write_all(b"PUT / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        .unwrap();
    let (head, body) = read_answer(&mut client);
    assert_eq!((status(&head), body.as_slice()), ("200", &b"hello"[..]));
}

/// Whoever hangs up while its answer is awaited, or half written, takes the connection to the origin along.
#[test]
fn a_visitor_that_leaves_frees_its_origin() {
    for half in ["", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"] {
        let (tell, told) = mpsc::channel();
        let origin = Origin::raw(move |mut stream: TcpStream| {
            read_head(&mut stream);
            stream.write_all(half.as_bytes()).unwrap();
            tell.send("asked").unwrap();
            let _ = stream.read(&mut [0]);
            tell.send("gone").unwrap();
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        let mut client = edge.dial();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        assert_eq!(told.recv_timeout(STUCK), Ok("asked"));
        client.shutdown(Shutdown::Both).unwrap();
        assert_eq!(told.recv_timeout(STUCK), Ok("gone"), "{half:?}");
    }
}

/// What a visitor sends behind its request for WebSocket belongs to WebSocket, if the origin agrees.
#[test]
fn bytes_in_front_of_a_101() {
    let origin = super::websocket::echo("");
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let mut client = edge.dial();
    write!(client, "{ASK}early").unwrap();
    assert_eq!(status(&read_head(&mut client)), "101");
    let mut back = [0; 5];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"early");
}
