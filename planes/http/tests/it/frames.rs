//! HTTP/2 frame by frame (RFC 9113 §4), for visitors that do what no library would.

use bartizan_tls::ClientStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::edge::Edge;
use super::protocols::dial_tls;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// How a block of fields begins that has the status 200 (RFC 7541, appendix A).
pub(crate) const OK: u8 = 0x88;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as a block that refers to no table (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap().min(126)], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The fields of a request for `/`, and others.
pub(crate) fn request<'f>(method: &'f str, host: &'f str, others: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", host), (":path", "/")];
    pseudo.iter().chain(others).copied().collect()
}

/// A GET as one frame.
pub(crate) fn get(stream: u32, host: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&request("GET", host, &[])))
}

/// A client that sends what it is told. Only PING and SETTINGS it answers by itself.
pub(crate) struct Client<IO = TcpStream> {
    io: ClientStream<IO>,
}

impl Client {
    /// With nothing said yet.
    pub(crate) async fn dial(edge: &Edge, name: &str) -> Client {
        Client::over(dial_tls(edge, name, &[b"h2"]).await.unwrap())
    }

    /// With its preface sent, and these settings.
    pub(crate) async fn begin(edge: &Edge, name: &str, settings: &[(u16, u32)]) -> Client {
        Client::dial(edge, name).await.with_preface(settings).await
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    /// With nothing said yet.
    pub(crate) fn over(io: ClientStream<IO>) -> Client<IO> {
        assert_eq!(io.alpn(), Some(&b"h2"[..]));
        Client { io }
    }

    /// With its preface sent, and these settings.
    pub(crate) async fn with_preface(self, settings: &[(u16, u32)]) -> Client<IO> {
        let mut client = self;
        let pairs = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        let settings = frame(SETTINGS, 0, 0, &pairs.collect::<Vec<u8>>());
        client.send(&[PREFACE, &settings].concat()).await;
        client
    }

    /// Fails silently: what came of it is read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.io.write_all(bytes).await;
        let _ = self.io.flush().await;
    }

    /// The next frame; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        let frame = Frame { kind, flags, stream: u32::from_be_bytes(stream), payload };
        match (kind, flags & ACK) {
            (SETTINGS, 0) => self.send(&self::frame(SETTINGS, ACK, 0, &[])).await,
            (PING, 0) => self.send(&self::frame(PING, ACK, 0, &frame.payload)).await,
            _ => {}
        }
        Some(frame)
    }

    /// The next frame of one of these types.
    pub(crate) async fn next_of(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if kinds.contains(&frame.kind) {
                return Some(frame);
            }
        }
    }

    /// Reads to the end of the connection.
    pub(crate) async fn until_end(&mut self) {
        while self.next().await.is_some() {}
    }

    /// The same without a word.
    pub(crate) async fn silent_until_end(&mut self) {
        while self.io.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    }
}
