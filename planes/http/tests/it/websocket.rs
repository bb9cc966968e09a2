//! Connections that stop being HTTP (RFC 6455): not a byte is copied before the origin's 101 was understood.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::edge::{Edge, field, origin_at, plain, read_answer, read_head, status};
use super::origin::{Origin, ok};

pub(crate) const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Agrees, says `first` in the same write, then echoes.
pub(crate) fn echo(first: &'static str) -> Origin {
    Origin::raw(move |mut stream: TcpStream| {
        let head = read_head(&mut stream);
        assert_eq!(field(&head, "upgrade"), Some("websocket"), "{head}");
        assert_eq!(field(&head, "connection"), Some("Upgrade"), "{head}");
        assert_eq!(field(&head, "sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="), "{head}");
        let agree = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        write!(stream, "HTTP/1.1 101 Switching Protocols\r\n{agree}\r\n\r\n{first}").unwrap();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..read]).unwrap();
        }
    })
}

#[test]
fn bytes_pass_both_ways_after_the_switch() {
    for first in ["", "\x01\x02first"] {
        let origin = echo(first);
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        let mut client = edge.dial();
        client.write_all(ASK.as_bytes()).unwrap();
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ] {
            assert_eq!(field(&head, name), Some(value), "{head}");
        }
        let mut heard = vec![0; first.len()];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(heard, first.as_bytes());
        // No HTTP any more: what would be refused as a request is only bytes, and larger than any buffer.
        for message in [&b"GET / HTTP/1.1\nHost: a\nHost: b\n\n"[..], b"\0\r\n\r\n", &[7; 100_000]] {
            let mut writer = client.try_clone().unwrap();
            let sent = message.to_vec();
            let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
            let mut back = vec![0; message.len()];
            client.read_exact(&mut back).unwrap();
            assert_eq!(back, message);
            writing.join().unwrap();
        }
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(edge.counters().requests.status_1xx, 1);
    }
}

/// An origin that does not agree keeps it HTTP, for the bytes that the visitor sent too early as well.
#[test]
fn without_a_101_it_stays_http() {
    let agree_to_other = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    for (answer, expect) in [
        ("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno", "426"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nUpgrade: websocket\r\n\r\nno", "200"),
        (agree_to_other, "502"),
    ] {
        let origin = Origin::start(move |seen| match seen.head.contains("/chat") {
            true => answer.as_bytes().to_vec(),
            false => ok("next"),
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        let mut client = edge.dial();
        write!(client, "{ASK}GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        let (head, _) = read_answer(&mut client);
        assert_eq!((status(&head), field(&head, "upgrade")), (expect, None), "{head}");
        assert_eq!(read_answer(&mut client).1, b"next", "{answer}");
    }
}

/// Nobody asked: a 101 is then a broken answer.
#[test]
fn a_101_that_nobody_asked_for() {
    let origin = echo_unasked();
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    assert_eq!(status(&edge.get("a.test", "/", "")), "502");
    // `Upgrade` without `Connection: upgrade`, or to something else, asks for nothing that we pass on.
    for fields in ["Upgrade: websocket\r\n", "Upgrade: h2c\r\nConnection: upgrade\r\n"] {
        assert_eq!(status(&edge.get("a.test", "/", fields)), "502", "{fields}");
    }
}

fn echo_unasked() -> Origin {
    Origin::start(|seen| {
        assert_eq!(field(&seen.head, "upgrade"), None, "{}", seen.head);
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nsmuggled".to_vec()
    })
}
