//! How answers lie in TLS records (RFC 8446 §5.1): each is a write of the edge's, and costs as one.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bartizan_dial::NameServers;
use bartizan_plane_http::Limits;
use bartizan_tls::{ClientStream, Roots, client_config, connect};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::edge::{Edge, origin_at, plain, text, tunnel};
use super::frames::{Client, DATA, GOAWAY, get};
use super::origin::{Origin, ok};
use super::protocols::run;

/// What an answer has.
const BODY: &str = match std::str::from_utf8(&[b'x'; 1024]) {
    Ok(body) => body,
    Err(_) => "",
};

/// A connection that counts the records that come.
struct Counted {
    io: TcpStream,
    /// Of the record that is being read: its header, and what is left of the rest.
    head: Vec<u8>,
    left: usize,
    records: Rc<Cell<usize>>,
}

impl Counted {
    fn saw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let of_rest = self.left.min(bytes.len());
            bytes = &bytes[of_rest..];
            self.left -= of_rest;
            if let (0, [first, rest @ ..]) = (self.left, bytes) {
                bytes = rest;
                self.head.push(*first);
                if let [_, _, _, high, low] = self.head[..] {
                    self.left = usize::from(u16::from_be_bytes([high, low]));
                    self.head.clear();
                    self.records.set(self.records.get() + 1);
                }
            }
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.saw(&buffer.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

async fn dial(edge: &Edge, alpn: &[u8]) -> (ClientStream<Counted>, Rc<Cell<usize>>) {
    let records = Rc::new(Cell::new(0));
    let io = TcpStream::connect(edge.https).await.unwrap();
    let counted = Counted { io, head: Vec::new(), left: 0, records: Rc::clone(&records) };
    let config = client_config(&Roots::Pem(edge.ca.pem.clone()), &[alpn]).unwrap();
    (connect(&config, "a.test", counted).await.unwrap(), records)
}

async fn dial_http2(edge: &Edge) -> (Client<Counted>, Rc<Cell<usize>>) {
    let (io, records) = dial(edge, b"h2").await;
    (Client::over(io).with_preface(&[]).await, records)
}

/// Asks so many times at once.
async fn ask<IO: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<IO>, streams: impl Iterator<Item = u32>) {
    let requests: Vec<u8> = streams.flat_map(|stream| get(stream, "a.test")).collect();
    client.send(&requests).await;
}

/// Reads until so many answers are over, and says how many octets their bodies had.
async fn answers<IO: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<IO>, count: usize) -> usize {
    let (mut over, mut octets) = (0, 0);
    while over < count {
        let frame = client.next_of(&[DATA]).await.expect("an answer");
        octets += frame.payload.len();
        over += usize::from(frame.ends_stream());
    }
    octets
}

/// Over HTTP/1.1 a head and what is there of its body leave together.
#[test]
fn an_answer_is_one_record() {
    let origin = Origin::start(|_| ok(BODY));
    for (what, target) in [("by address", origin_at(origin.address)), ("through a tunnel", tunnel())] {
        let edge = Edge::with_tunnels(&[("a.test", target, plain())], |_| Ok(text(200, BODY)));
        run(async {
            let (mut io, records) = dial(&edge, b"http/1.1").await;
            // With the first comes what TLS has to say (RFC 8446 §4.6.1).
            for most in [usize::MAX, 1, 1] {
                let before = records.get();
                io.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
                io.flush().await.unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(BODY.as_bytes()) {
                    assert!(io.read_buf(&mut answer).await.unwrap() > 0);
                }
                assert!(records.get() - before <= most, "{what}: {} records", records.get() - before);
            }
        });
    }
}

/// What is ready together leaves together, and one alone leaves at once.
#[test]
fn answers_share_records() {
    const ASKED: usize = 32;
    let edge = Edge::with_tunnels(&[("a.test", tunnel(), plain())], |_| Ok(text(200, BODY)));
    run(async {
        let (mut client, records) = dial_http2(&edge).await;
        // Settings and windows are behind us after the first.
        ask(&mut client, std::iter::once(1)).await;
        assert_eq!(answers(&mut client, 1).await, BODY.len());
        let before = records.get();
        ask(&mut client, (3..).step_by(2).take(ASKED)).await;
        assert_eq!(answers(&mut client, ASKED).await, ASKED * BODY.len());
        let together = records.get() - before;
        // Some 36 KB at 16 KB a record, in two or three turns; one after the other they are as many as were asked for.
        assert!(together <= ASKED / 3, "{together} records");
        for stream in [101, 103] {
            let before = records.get();
            ask(&mut client, std::iter::once(stream)).await;
            assert_eq!(answers(&mut client, 1).await, BODY.len());
            assert_eq!(records.get() - before, 1);
        }
    });
}

/// What is under way when the edge ends a connection arrives before its end.
#[test]
fn answers_arrive_before_the_end() {
    const ASKED: usize = 60;
    let limits = Limits { requests_max: 8, linger_time: Duration::from_millis(200), ..Limits::default() };
    let sites = [("a.test", tunnel(), plain())];
    let edge = Edge::with(&sites, NameServers::System, limits, |_| Ok(text(200, BODY)));
    run(async {
        let (mut client, _) = dial_http2(&edge).await;
        ask(&mut client, (1..).step_by(2).take(ASKED)).await;
        let (mut answered, mut octets, mut goaways) = (0, 0, 0);
        while let Some(frame) = client.next_of(&[DATA, GOAWAY]).await {
            match frame.kind {
                DATA => {
                    octets += frame.payload.len();
                    answered += usize::from(frame.ends_stream());
                }
                _ => goaways += 1,
            }
        }
        assert_eq!((answered, octets), (ASKED, ASKED * BODY.len()));
        assert!(goaways > 0);
    });
}
