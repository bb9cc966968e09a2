//! WebSocket by extended CONNECT, over HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bartizan_exchange::{Body, Response, Upgrade, UpstreamError};
use bartizan_names::ZoneSettings;
use bartizan_plane_http::Limits;
use bartizan_seal::sha1;
use bartizan_wire::http2::hpack::Decoder;
use bartizan_wire::http3::qpack;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode};
use quinn::{ReadError, RecvStream, SendStream, VarInt};
use tokio::io::AsyncWriteExt;

use super::edge::{Edge, STUCK, field, origin_at, plain, read_head, tunnel};
use super::frames::{self, Client, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, WINDOW_UPDATE};
use super::http3::{self, Visitor};
use super::origin::{Origin, ok};
use super::protocols::run;

const VERSIONS: [Over; 2] = [Over::Http2, Over::Http3];

/// CANCEL, H3_REQUEST_CANCELLED.
const CANCELLED: [u64; 2] = [8, 0x10c];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Http2,
    Http3,
}

/// A stream that was asked to become a WebSocket.
enum Socket {
    Http2(Client),
    Http3 { visitor: Visitor, send: SendStream, receive: RecvStream, unread: Vec<u8> },
}

/// What came next on it.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Bytes(Vec<u8>),
    End,
    Reset(u64),
}

impl Socket {
    /// Asks for a WebSocket, with more fields; says the status, too.
    async fn open(edge: &Edge, over: Over, more: &[(&str, &str)]) -> (String, HeaderMap, Socket) {
        let pseudo = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/chat"),
            ("sec-websocket-version", "13"),
        ];
        Socket::ask(edge, over, &pseudo.iter().chain(more).copied().collect::<Vec<_>>()).await
    }

    async fn ask(edge: &Edge, over: Over, fields: &[(&str, &str)]) -> (String, HeaderMap, Socket) {
        let mut socket = match over {
            Over::Http2 => {
                let mut client = Client::begin(edge, "a.test", &[]).await;
                client.send(&frames::frame(HEADERS, END_HEADERS, 1, &frames::block(fields))).await;
                Socket::Http2(client)
            }
            Over::Http3 => {
                let visitor = Visitor::connect(edge, "a.test").await.unwrap();
                let (send, receive) = visitor.send(&http3::block(fields)).await;
                Socket::Http3 { visitor, send, receive, unread: Vec::new() }
            }
        };
        let (status, fields) = socket.head().await;
        (status, fields, socket)
    }

    async fn head(&mut self) -> (String, HeaderMap) {
        let (mut status, mut fields) = (String::new(), HeaderMap::new());
        let mut take = |name: &[u8], value: &[u8]| match name {
            b":status" => status = String::from_utf8_lossy(value).into_owned(),
            name => {
                let name = http::HeaderName::from_bytes(name).unwrap();
                fields.append(name, HeaderValue::from_bytes(value).unwrap());
            }
        };
        match self {
            Socket::Http2(client) => {
                let Some(frame) = client.next_of(&[HEADERS, RST_STREAM]).await else { panic!("the connection ended") };
                if frame.kind == RST_STREAM {
                    return (format!("reset {}", frame.payload[3]), HeaderMap::new());
                }
                Decoder::new(4_096).decode(&frame.payload, 1 << 16, &mut take).unwrap();
            }
            Socket::Http3 { .. } => {
                let block = loop {
                    match self.frame() {
                        Some((1, block)) => break block,
                        Some(_) => {}
                        None => match self.more().await {
                            Ok(true) => {}
                            Ok(false) => panic!("no head"),
                            Err(code) => return (format!("reset {code:#x}"), HeaderMap::new()),
                        },
                    }
                };
                qpack::decode(&block, 1 << 16, &mut Vec::new(), &mut take).unwrap();
            }
        }
        (status, fields)
    }

    /// A whole frame of HTTP/3 that is here.
    fn frame(&mut self) -> Option<(u64, Vec<u8>)> {
        let Socket::Http3 { unread, .. } = self else { panic!("not HTTP/3") };
        let integer = |bytes: &[u8]| {
            let length = 1 << (bytes.first()? >> 6);
            let bytes = bytes.get(..length)?;
            Some((
                bytes[1..].iter().fold(u64::from(bytes[0] & 0x3f), |value, byte| value << 8 | u64::from(*byte)),
                length,
            ))
        };
        let (kind, first) = integer(unread)?;
        let (length, second) = integer(&unread[first..])?;
        let payload = unread.get(first + second..first + second + length as usize)?.to_vec();
        unread.drain(..first + second + length as usize);
        Some((kind, payload))
    }

    /// Whether more came of HTTP/3.
    async fn more(&mut self) -> Result<bool, u64> {
        let Socket::Http3 { receive, unread, .. } = self else { panic!("not HTTP/3") };
        match receive.read_chunk(1 << 20, true).await {
            Ok(Some(chunk)) => {
                unread.extend_from_slice(&chunk.bytes);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(ReadError::Reset(code)) => Err(code.into_inner()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        match self {
            Socket::Http2(client) => {
                for piece in bytes.chunks(16_384) {
                    client.send(&frames::frame(DATA, 0, 1, piece)).await;
                }
            }
            Socket::Http3 { send, .. } => {
                let mut frame = Vec::new();
                bartizan_wire::http3::put_data_head(bytes.len(), &mut frame);
                frame.extend_from_slice(bytes);
                send.write_all(&frame).await.unwrap();
            }
        }
    }

    /// Says that it says no more.
    async fn end(&mut self) {
        match self {
            Socket::Http2(client) => client.send(&frames::frame(DATA, END_STREAM, 1, b"")).await,
            Socket::Http3 { send, .. } => send.finish().unwrap(),
        }
    }

    async fn reset(&mut self) {
        match self {
            Socket::Http2(client) => client.send(&frames::frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await,
            Socket::Http3 { send, receive, .. } => {
                let code = VarInt::from_u32(0x10c);
                let _ = (send.reset(code), receive.stop(code));
            }
        }
    }

    /// Goes, and says so.
    async fn leave(self) {
        if let Socket::Http3 { visitor, .. } = self {
            visitor.leave().await;
        }
    }

    async fn hear(&mut self) -> Heard {
        loop {
            match self {
                Socket::Http2(client) => {
                    let Some(frame) = client.next_of(&[DATA, RST_STREAM]).await else { return Heard::End };
                    if frame.kind == RST_STREAM {
                        return Heard::Reset(u64::from(frame.payload[3]));
                    }
                    if !frame.payload.is_empty() {
                        let more = (frame.payload.len() as u32).to_be_bytes();
                        let room = [0, 1].map(|stream| frames::frame(WINDOW_UPDATE, 0, stream, &more));
                        client.send(&room.concat()).await;
                        return Heard::Bytes(frame.payload);
                    }
                    if frame.ends_stream() {
                        return Heard::End;
                    }
                }
                Socket::Http3 { .. } => match self.frame() {
                    Some((0, payload)) => return Heard::Bytes(payload),
                    Some(_) => {}
                    None => match self.more().await {
                        Ok(true) => {}
                        Ok(false) => return Heard::End,
                        Err(code) => return Heard::Reset(code),
                    },
                },
            }
        }
    }

    /// So many bytes.
    async fn hear_all(&mut self, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < length {
            match self.hear().await {
                Heard::Bytes(bytes) => all.extend(bytes),
                other => panic!("{other:?} after {} of {length}", all.len()),
            }
        }
        all
    }
}

fn edge(origin: &Origin, limits: Limits) -> Edge {
    Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], limits, |_| Err(UpstreamError::NotConnected))
}

/// What who speaks WebSocket says to a key.
fn accept(key: &[u8]) -> String {
    let text = [key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    STANDARD.encode(sha1(&text))
}

/// An origin that agrees, says `first` in the same write, and does `then`.
fn agreeing(first: &'static str, then: impl Fn(TcpStream) + Send + Sync + 'static) -> Origin {
    Origin::raw(move |mut stream| {
        let head = read_head(&mut stream);
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        for (name, value) in [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13")] {
            assert_eq!(field(&head, name), Some(value), "{head}");
        }
        assert_eq!(head.to_ascii_lowercase().matches("sec-websocket-key").count(), 1, "{head}");
        let key = field(&head, "sec-websocket-key").unwrap();
        assert_eq!(STANDARD.decode(key).map(|key| key.len()), Ok(16), "{head}");
        let agree = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat";
        let accept = accept(key.as_bytes());
        write!(stream, "HTTP/1.1 101 Switching Protocols\r\n{agree}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n{first}")
            .unwrap();
        then(stream);
    })
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4_096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..read]).unwrap();
    }
}

#[test]
fn bytes_pass_both_ways() {
    let origin = agreeing("\x01\x02first", echo);
    let behind = |request: bartizan_exchange::Request| {
        assert_eq!((request.method.as_str(), request.upgrade), ("GET", Upgrade::WebSocket));
        let accept = accept(request.headers["sec-websocket-key"].as_bytes());
        let (near, mut far) = tokio::io::duplex(1 << 16);
        tokio::task::spawn_local(async move {
            far.write_all(b"\x01\x02first").await.unwrap();
            let (mut read, mut write) = tokio::io::split(far);
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
        let headers = [("sec-websocket-accept", &*accept), ("sec-websocket-protocol", "chat")]
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
        Ok(Response {
            status: StatusCode::SWITCHING_PROTOCOLS,
            headers: headers.into_iter().collect(),
            body: Body::empty(),
            upgraded: Some(Box::new(near)),
        })
    };
    for target in [origin_at(origin.address), tunnel()] {
        let edge = Edge::over_quic(&[("a.test", target, plain())], Limits::default(), behind);
        for over in VERSIONS {
            run(async {
                // A key of its own means nothing.
                let more = [("sec-websocket-protocol", "chat"), ("sec-websocket-key", "bWluZQ==")];
                let (status, fields, mut socket) = Socket::open(&edge, over, &more).await;
                assert_eq!(status, "200", "{over:?}");
                let told =
                    ["sec-websocket-accept", "upgrade", "connection", "content-length", "sec-websocket-protocol"]
                        .map(|name| fields.get(name).map(|value| value.to_str().unwrap()));
                assert_eq!(told, [None, None, None, None, Some("chat")], "{over:?}");
                assert_eq!(socket.hear_all(7).await, b"\x01\x02first", "{over:?}");
                for message in [&b"GET / HTTP/1.1\nHost: a\nHost: b\n\n"[..], b"\0\r\n\r\n", b"x", &[7; 100_000]] {
                    socket.say(message).await;
                    assert!(socket.hear_all(message.len()).await == message, "{over:?}");
                }
                // One side has said all; the other ends after that.
                socket.say(b"bye").await;
                socket.end().await;
                assert_eq!(socket.hear_all(3).await, b"bye", "{over:?}");
                assert_eq!(socket.hear().await, Heard::End, "{over:?}");
                socket.leave().await;
            });
        }
        edge.wait_until(|totals| totals.ends.upgraded == 2 && totals.visitors.open == 0);
        assert_eq!(edge.counters().requests.status_1xx, 2);
        assert_eq!(edge.gauge("bartizan_http_buffer_bytes"), 0);
    }
}

/// What is said before the answer is here waits for it.
#[test]
fn bytes_ahead_of_the_answer() {
    let origin = agreeing("", |stream| {
        std::thread::sleep(Duration::from_millis(100));
        echo(stream);
    });
    let edge = edge(&origin, Limits::default());
    run(async {
        let mut client = Client::begin(&edge, "a.test", &[]).await;
        let pseudo = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/chat"),
            ("sec-websocket-version", "13"),
        ];
        let head = frames::frame(HEADERS, END_HEADERS, 1, &frames::block(&pseudo));
        client.send(&[head, frames::frame(DATA, END_STREAM, 1, b"early")].concat()).await;
        let mut socket = Socket::Http2(client);
        assert_eq!(socket.head().await.0, "200");
        assert_eq!(socket.hear_all(5).await, b"early");
        assert_eq!(socket.hear().await, Heard::End);
    });
}

/// Any 2xx would be taken for a WebSocket: there is one only where an origin has agreed and knows to what.
#[test]
fn without_an_agreement_there_is_none() {
    for (said, expect) in [
        ("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno", "426"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
        ("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "302"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", "502"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "502"),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "502"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nsmuggled",
            "502",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "502"),
    ] {
        let origin = Origin::start(move |_| said.as_bytes().to_vec());
        let edge = edge(&origin, Limits::default());
        for over in VERSIONS {
            run(async {
                let (status, ..) = Socket::open(&edge, over, &[]).await;
                assert_eq!(status, expect, "{over:?} {said}");
            });
        }
    }
}

/// What is asked for wrongly, or is not to be had.
#[test]
fn what_is_not_asked_for_so() {
    let origin = Origin::start(|_| ok("hello"));
    let off = ZoneSettings { websockets: false, ..plain() };
    let sites = [("a.test", origin_at(origin.address), plain()), ("b.test", origin_at(origin.address), off)];
    let edge = Edge::over_quic(&sites, Limits::default(), |_| Err(UpstreamError::NotConnected));
    let ask = |changed: &[(&'static str, &'static str)], without: &str| {
        let usual = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/chat"),
        ];
        let changes = |name: &str| changed.iter().any(|(changed, _)| *changed == name) || name == without;
        let left = usual.into_iter().filter(|(name, _)| !changes(name));
        let (pseudo, fields): (Vec<_>, Vec<_>) = changed.iter().copied().partition(|(name, _)| name.starts_with(':'));
        left.chain(pseudo).chain(fields).collect::<Vec<_>>()
    };
    for (fields, expect) in [
        (ask(&[(":authority", "b.test")], ""), ["403", "403"]),
        (ask(&[(":protocol", "connect-udp")], ""), ["501", "501"]),
        (ask(&[(":protocol", "webtransport")], ""), ["501", "501"]),
        (ask(&[("content-length", "3")], ""), ["400", "400"]),
        (ask(&[(":path", "*")], ""), ["400", "400"]),
        (ask(&[(":method", "GET")], ""), ["reset 1", "reset 0x10e"]),
        (ask(&[], ":path"), ["reset 1", "reset 0x10e"]),
        (ask(&[], ":scheme"), ["reset 1", "reset 0x10e"]),
        (ask(&[("connection", "upgrade")], ""), ["reset 1", "reset 0x10e"]),
        (ask(&[("upgrade", "websocket")], ""), ["reset 1", "reset 0x10e"]),
    ] {
        for (over, expect) in VERSIONS.into_iter().zip(expect) {
            run(async {
                assert_eq!(Socket::ask(&edge, over, &fields).await.0, expect, "{over:?} {fields:?}");
            });
        }
    }
    assert_eq!(origin.seen().len(), 0);
}

/// Each way to end is seen on the other side, and leaves nothing behind.
#[test]
fn ends_of_websockets() {
    for over in VERSIONS {
        let reset = CANCELLED[over as usize];
        // The origin has said all first; what the visitor says after that arrives.
        let (told, heard) = std::sync::mpsc::channel();
        let origin = agreeing("", move |mut stream| {
            stream.write_all(b"all").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            told.send(rest).unwrap();
        });
        let edge = self::edge(&origin, Limits::default());
        run(async {
            let (_, _, mut socket) = Socket::open(&edge, over, &[]).await;
            assert_eq!(socket.hear_all(3).await, b"all", "{over:?}");
            assert_eq!(socket.hear().await, Heard::End, "{over:?}");
            socket.say(b"late").await;
            socket.end().await;
            let heard = tokio::task::spawn_blocking(move || heard.recv_timeout(STUCK)).await.unwrap();
            assert_eq!(heard.as_deref(), Ok(&b"late"[..]), "{over:?}");
        });
        // The visitor is gone: so is the connection behind it.
        let (told, heard) = std::sync::mpsc::channel();
        let origin = agreeing("", move |mut stream| {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            told.send(rest).unwrap();
        });
        let edge = self::edge(&origin, Limits::default());
        run(async {
            let (_, _, mut socket) = Socket::open(&edge, over, &[]).await;
            socket.say(b"some").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            socket.reset().await;
            let heard = tokio::task::spawn_blocking(move || heard.recv_timeout(STUCK)).await.unwrap();
            assert_eq!(heard.as_deref(), Ok(&b"some"[..]), "{over:?}");
        });
        // The origin breaks off: what was not read makes a reset of it.
        let origin = agreeing("", |stream| assert_eq!(stream.peek(&mut [0]).ok(), Some(1)));
        let edge = self::edge(&origin, Limits::default());
        run(async {
            let (_, _, mut socket) = Socket::open(&edge, over, &[]).await;
            socket.say(b"x").await;
            assert_eq!(socket.hear().await, Heard::Reset(reset), "{over:?}");
        });
        // Nothing moves.
        let origin = agreeing("", echo);
        let limits = Limits { websocket_idle_time: Duration::from_millis(300), ..Limits::default() };
        let edge = self::edge(&origin, limits);
        run(async {
            let (_, _, mut socket) = Socket::open(&edge, over, &[]).await;
            socket.say(b"x").await;
            assert_eq!(socket.hear().await, Heard::Bytes(b"x".to_vec()), "{over:?}");
            assert_eq!(socket.hear().await, Heard::Reset(reset), "{over:?}");
        });
        // A rule blocks the visitor.
        let edge = self::edge(&origin, Limits::default());
        run(async {
            let (_, _, socket) = Socket::open(&edge, over, &[]).await;
            edge.publish_rules(&["block account 127.0.0.1"]);
            while edge.counters().ends.blocked == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(socket);
        });
        edge.wait_until(|totals| totals.ends.blocked == 1 && totals.visitors.open == 0);
    }
}

/// Who does not read what is said is ended, with little of it in memory.
#[test]
fn a_visitor_that_does_not_hear() {
    let origin = agreeing("", |mut stream| while stream.write_all(&[7; 8_192]).is_ok() {});
    let limits =
        Limits { stall_time: Duration::from_millis(400), expire_every: Duration::from_millis(50), ..Limits::default() };
    for over in VERSIONS {
        let edge = edge(&origin, limits);
        run(async {
            let (status, _, socket) = Socket::open(&edge, over, &[]).await;
            assert_eq!(status, "200");
            while edge.counters().visitors.starved == 0 {
                assert!(edge.gauge("bartizan_http_buffer_bytes") < 1 << 20);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            socket.leave().await;
        });
        edge.wait_until(|totals| totals.visitors.open == 0 && totals.ends.too_slow == 1);
        assert_eq!(edge.gauge("bartizan_http_buffer_bytes"), 0);
    }
}

/// Those on which nobody says anything take little of the memory that there is for all.
#[test]
fn many_that_are_quiet() {
    let origin = agreeing("", echo);
    let edge = edge(&origin, Limits::default());
    for over in VERSIONS {
        run(async {
            let mut sockets = Vec::new();
            for _ in 0..20 {
                let (status, _, socket) = Socket::open(&edge, over, &[]).await;
                assert_eq!(status, "200");
                sockets.push(socket);
            }
            let each = edge.gauge("bartizan_http_buffer_bytes") / 20;
            assert!(each <= 256 << 10, "{over:?}: {each}");
            for mut socket in sockets {
                socket.say(b"here").await;
                assert_eq!(socket.hear_all(4).await, b"here");
                socket.leave().await;
            }
        });
        edge.wait_until(|totals| totals.visitors.open == 0);
    }
}
