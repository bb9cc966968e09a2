//! Stand-ins of origins that speak HTTP/2: one of a library, which keeps to the rules, and one that sends what it is told.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream as Blocking};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bartizan_names::{CertificateId, Ssl, Timestamp, ZoneSettings};
use bartizan_tls::{Acceptor, Certificate, Hosts};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::edge::{Ca, plain};
use super::frames::{END_HEADERS, HEADERS, PREFACE, SETTINGS, block, frame};
use super::protocols::{OnThisThread, read_all};

/// In the clear, without a question.
pub(crate) fn h2c() -> ZoneSettings {
    ZoneSettings { origin_h2c: true, ..plain() }
}

/// By TLS, where what is spoken is agreed on.
pub(crate) fn full() -> ZoneSettings {
    ZoneSettings { ssl: Ssl::Full, ..plain() }
}

/// A request as a library understood it.
pub(crate) struct Seen {
    /// As lines, pseudo-fields among them.
    pub(crate) head: String,
    pub(crate) version: Version,
    pub(crate) trailers: HeaderMap,
}

/// What a library answers with.
pub(crate) struct Answering {
    pub(crate) data: Option<Bytes>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}

type Answer = dyn Fn(&str, Bytes) -> Response<Answering> + Send + Sync;

/// `200` with this body.
pub(crate) fn said(data: impl Into<Bytes>) -> Response<Answering> {
    Response::new(Answering { data: Some(data.into()), trailers: None })
}

pub(crate) struct Library {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

/// What an origin of [`Library`] speaks.
pub(crate) enum Speaks {
    H2c,
    /// What these names of ALPN say.
    Tls(Box<Hosts>, &'static [&'static [u8]]),
}

impl Library {
    pub(crate) fn start(
        speaks: Speaks,
        answer: impl Fn(&str, Bytes) -> Response<Answering> + Send + Sync + 'static,
    ) -> Library {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (noted, count, answer) = (Arc::clone(&seen), Arc::clone(&connections), Arc::new(answer) as Arc<Answer>);
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            let speaks = std::rc::Rc::new(speaks);
            local.block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    let (noted, answer, speaks) =
                        (Arc::clone(&noted), Arc::clone(&answer), std::rc::Rc::clone(&speaks));
                    tokio::task::spawn_local(async move { serve(stream, &speaks, noted, answer).await });
                }
            });
        });
        Library { address, seen, connections }
    }

    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, speaks: &Speaks, noted: Arc<Mutex<Vec<Seen>>>, answer: Arc<Answer>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let mut lines = vec![format!("{} {}", head.method, head.uri)];
            lines.extend(head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
            let lines = lines.join("\r\n");
            let (data, trailers) = read_all(body).await;
            noted.lock().unwrap().push(Seen { head: lines.clone(), version: head.version, trailers });
            Ok::<_, Infallible>(answer(&lines, data.into()))
        }
    });
    let mut http2 = hyper::server::conn::http2::Builder::new(OnThisThread);
    http2.max_concurrent_streams(200);
    match speaks {
        Speaks::H2c => drop(http2.serve_connection(TokioIo::new(stream), service).await),
        Speaks::Tls(hosts, alpn) => {
            let Ok(stream) = Acceptor::new(alpn).accept(stream, hosts).await else { return };
            if stream.alpn() == Some(b"h2") {
                let _ = http2.serve_connection(TokioIo::new(stream), service).await;
            } else {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        }
    }
}

pub(crate) fn hosts(ca: &Ca) -> Box<Hosts> {
    Box::new(Hosts::from_iter([Certificate {
        id: CertificateId::from_bytes([0; 16]),
        zone: None,
        preference: 0,
        not_after: Timestamp::from_unix_micros(0),
        names: vec!["*.test".to_owned()],
        key: ca.issue(&["a.test", "b.test"]),
    }]))
}

/// The other end of one connection, that sends what it is told.
pub(crate) struct Liar {
    pub(crate) stream: Blocking,
}

#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Liar {
    /// With the preface read and SETTINGS said.
    pub(crate) fn begin(mut stream: Blocking) -> Option<Liar> {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).ok()?;
        assert_eq!(preface, PREFACE);
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).ok()?;
        Some(Liar { stream })
    }

    pub(crate) fn next(&mut self) -> Option<Heard> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Heard { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    pub(crate) fn next_of(&mut self, kind: u8) -> Option<Heard> {
        std::iter::from_fn(|| self.next()).find(|heard| heard.kind == kind)
    }

    /// Fails silently: what came of it is seen elsewhere.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn until_end(&mut self) {
        while self.next().is_some() {}
    }
}

/// The same frames for another stream.
pub(crate) fn for_stream(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some([a, b, c, _, _, stream @ ..]) = bytes.get_mut(at..at + 9) {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if stream == [0, 0, 0, 1] {
            stream.copy_from_slice(&number.to_be_bytes());
        }
        at += 9 + length;
    }
    bytes
}

pub(crate) fn head(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 1, &block(fields))
}

pub(crate) const OK: (&str, &str) = (":status", "200");
