//! A connector that comes over HTTP/2 as stock ones do, with the library of somebody else. It answers by itself what the path
//! says.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bartizan_rpc::over_http2::{
    ANSWER_FIELD, Answerer, CONFIGURATION, CONTROL_STREAM, META_FIELD, TCP_FIELD, UPGRADE_FIELD, WEBSOCKET,
    encode_fields,
};
use bartizan_rpc::{Refused, Registered, RegistrationClient, RpcThread, connect_registration};
use bartizan_tls::{ClientStream, client_config};
use bartizan_tunnel_tests::{Edge, pattern, within};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::raw::Kind;

type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Bytes that wait between a stream and who works it.
const PIPE_BYTES: usize = 64 * 1024;

/// A registered connection.
pub(crate) struct Http2Connector {
    pub(crate) control: RegistrationClient,
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: JoinHandle<()>,
    /// What was asked of it that is worth a note, and the configurations that it got.
    pub(crate) noted: mpsc::UnboundedReceiver<String>,
}

pub(crate) struct Shared {
    /// Nothing is read any more, nor written.
    paused: AtomicBool,
    control: std::sync::Mutex<Option<tokio::sync::oneshot::Sender<DuplexStream>>>,
    notes: mpsc::UnboundedSender<String>,
    /// Lets one `/hold` or `/break` go on.
    pub(crate) released: Semaphore,
    /// Rung to take nothing more.
    pub(crate) leave: Notify,
}

impl Shared {
    pub(crate) fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }
}

impl Http2Connector {
    pub(crate) async fn connect(edge: &Edge, kind: &Kind<'_>) -> Http2Connector {
        let (connector, answer) = Http2Connector::ask(edge, kind).await;
        answer.unwrap();
        connector
    }

    /// With the edge's answer.
    pub(crate) async fn ask(edge: &Edge, kind: &Kind<'_>) -> (Http2Connector, Result<Registered, Refused>) {
        let io = dial(edge, "h2.cftunnel.com").await;
        let (notes, noted) = mpsc::unbounded_channel();
        let (came, control) = tokio::sync::oneshot::channel();
        let shared = Arc::new(Shared {
            paused: AtomicBool::new(false),
            control: std::sync::Mutex::new(Some(came)),
            notes,
            released: Semaphore::new(0),
            leave: Notify::new(),
        });
        let io = Pausable { io, shared: Arc::clone(&shared) };
        let for_all = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&for_all);
            async move {
                let is_head = request.method() == http::Method::HEAD;
                let reply = answer(request, shared).await;
                Ok::<_, Infallible>(if is_head { reply.map(|_| nothing()) } else { reply })
            }
        });
        let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http2
            .initial_stream_window_size(kind.window)
            .initial_connection_window_size(kind.connection_window.min(1 << 20))
            .max_concurrent_streams(kind.streams)
            .max_header_list_size(1 << 20);
        let serving = http2.serve_connection(TokioIo::new(io), service);
        // Broken connections are among what is tested.
        let leaving = Arc::clone(&shared);
        let connection = tokio::spawn(async move {
            let mut serving = std::pin::pin!(serving);
            tokio::select! {
                _ = serving.as_mut() => return,
                () = leaving.leave.notified() => serving.as_mut().graceful_shutdown(),
            }
            let _ = serving.await;
        });
        let stream = within("the control stream", control).await.unwrap();
        let (read, write) = tokio::io::split(stream);
        let rpc = RpcThread::start("http2-connector").unwrap();
        let control = connect_registration(&rpc, read, write).await.unwrap();
        let answer = within("the registration", control.register(kind.registration())).await.unwrap();
        (Http2Connector { control, shared, connection, noted }, answer)
    }

    pub(crate) async fn note(&mut self) -> String {
        within("a note", self.noted.recv()).await.unwrap()
    }
}

/// A connection to the edge, with this name.
pub(crate) async fn dial(edge: &Edge, name: &str) -> ClientStream<TcpStream> {
    shake_hands(edge, TcpStream::connect(edge.address).await.unwrap(), name).await
}

pub(crate) async fn shake_hands(edge: &Edge, tcp: TcpStream, name: &str) -> ClientStream<TcpStream> {
    let tls = client_config(&edge.authority.roots(), &[]).unwrap();
    tcp.set_nodelay(true).unwrap();
    within("the handshake", bartizan_tls::connect(&tls, name, tcp)).await.unwrap()
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Reply {
    let field = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    match field(UPGRADE_FIELD).as_deref() {
        Some(CONTROL_STREAM) => {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            if let Some(came) = shared.control.lock().unwrap().take() {
                let _ = came.send(near);
            }
            return Response::new(both_ways(request.into_body(), far));
        }
        Some(CONFIGURATION) => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8(body.to_vec()).unwrap();
            let said = if text.contains("bad") {
                r#"{"lastAppliedVersion":-1,"err":{}}"#
            } else {
                r#"{"lastAppliedVersion":0,"err":null}"#
            };
            let _ = shared.notes.send(text);
            return text_of(StatusCode::OK, said);
        }
        Some(WEBSOCKET) => {
            let fields = [("Sec-WebSocket-Accept", "yes"), ("Upgrade", "websocket"), ("Connection", "Upgrade")];
            let body = request.into_body().map_err(io::Error::other).boxed_unsync();
            return origin(200, &fields, body);
        }
        Some(other) => panic!("an upgrade to {other}"),
        None => {}
    }
    if field(TCP_FIELD).is_some() {
        let authority = request.uri().authority().unwrap().to_string();
        if authority.ends_with(":1") {
            return connector(StatusCode::BAD_GATEWAY, Answerer::Connector);
        }
        let _ = shared.notes.send(authority);
        return origin(200, &[], request.into_body().map_err(io::Error::other).boxed_unsync());
    }
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/echo" => origin(200, &[], request.into_body().map_err(io::Error::other).boxed_unsync()),
        "/hello" => {
            let mut lines = vec![format!("{} {}", request.method(), request.uri())];
            lines.extend(
                request
                    .headers()
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))),
            );
            whole(200, &[], lines.join("\n"))
        }
        "/cookies" => {
            let fields =
                [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Connection", "x-hop"), ("X-Hop", "1"), ("X-End", "2")];
            whole(200, &fields, String::new())
        }
        "/status/204" => origin(204, &[], Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync()),
        "/refuse" => whole(413, &[], "too large".to_owned()),
        "/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("cf-ray", "forged".parse().unwrap());
            let frames = [Ok(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(trailers))];
            origin(200, &[], StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
        }
        "/uploaded-trailers" => {
            let collected = request.into_body().collect().await.unwrap();
            let trailers = format!("{:?}", collected.trailers());
            whole(200, &[], trailers)
        }
        "/unread" => {
            let _ = shared.notes.send("unread".to_owned());
            let _request = request;
            shared.released.acquire().await.unwrap().forget();
            whole(200, &[], "released".to_owned())
        }
        "/hold" => {
            let _ = shared.notes.send("hold".to_owned());
            shared.released.acquire().await.unwrap().forget();
            whole(200, &[], "released".to_owned())
        }
        "/break" => {
            let half = futures_util::stream::once(async { Ok(Frame::data(Bytes::from_static(b"half "))) });
            let end = futures_util::stream::once(async move {
                shared.released.acquire().await.unwrap().forget();
                Err(io::Error::other("broken"))
            });
            origin(200, &[("Content-Length", "10")], StreamBody::new(half.chain(end)).boxed_unsync())
        }
        "/nonsense" => Response::builder()
            .header(META_FIELD, Answerer::Origin.as_str())
            .header(ANSWER_FIELD, "!")
            .body(nothing())
            .unwrap(),
        "/nobody" => Response::builder().status(200).body(nothing()).unwrap(),
        "/down" => connector(StatusCode::BAD_GATEWAY, Answerer::Connector),
        "/busy" => connector(StatusCode::BAD_GATEWAY, Answerer::Limited),
        "/large" => whole(200, &[("X-Large", &"x".repeat(110_000))], String::new()),
        _ => match path.strip_prefix("/bytes/").and_then(|count| count.parse::<u64>().ok()) {
            Some(count) => {
                const CHUNK: u64 = 60_000;
                let starts = futures_util::stream::iter((0..count).step_by(CHUNK as usize));
                let frames = starts.map(move |at| Ok(Frame::data(pattern(at, CHUNK.min(count - at)))));
                origin(200, &[("Content-Length", &count.to_string())], StreamBody::new(frames).boxed_unsync())
            }
            None => whole(404, &[], String::new()),
        },
    }
}

fn nothing() -> UnsyncBoxBody<Bytes, io::Error> {
    Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// What an origin said.
fn origin(status: u16, fields: &[(&str, &str)], body: UnsyncBoxBody<Bytes, io::Error>) -> Reply {
    let encoded = encode_fields(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let mut reply = Response::builder().status(status).header(META_FIELD, Answerer::Origin.as_str());
    for (name, value) in fields.iter().filter(|(name, _)| *name == "Content-Length") {
        reply = reply.header(*name, *value);
    }
    reply.header(ANSWER_FIELD, encoded).body(body).unwrap()
}

fn whole(status: u16, fields: &[(&str, &str)], text: String) -> Reply {
    let length = text.len().to_string();
    let fields: Vec<_> = fields.iter().copied().chain([("Content-Length", &*length)]).collect();
    origin(status, &fields, Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed_unsync())
}

/// What the connector says itself.
fn connector(status: StatusCode, answerer: Answerer) -> Reply {
    Response::builder().status(status).header(META_FIELD, answerer.as_str()).body(nothing()).unwrap()
}

fn text_of(status: StatusCode, text: &'static str) -> Reply {
    let body = Full::new(Bytes::from_static(text.as_bytes())).map_err(|never: Infallible| match never {});
    Response::builder().status(status).body(body.boxed_unsync()).unwrap()
}

/// The body of an answer that is what comes out of a pipe, into which goes what comes.
fn both_ways(mut body: Incoming, pipe: DuplexStream) -> UnsyncBoxBody<Bytes, io::Error> {
    let (read, mut write) = tokio::io::split(pipe);
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data()
                && write.write_all(&data).await.is_err()
            {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    let frames = futures_util::stream::unfold(read, |mut read| async {
        let mut piece = vec![0; PIPE_BYTES];
        match read.read(&mut piece).await {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                piece.truncate(count);
                Some((Ok(Frame::data(Bytes::from(piece))), read))
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A connection that may stand still.
struct Pausable<IO> {
    io: IO,
    shared: Arc<Shared>,
}

impl<IO> Pausable<IO> {
    fn is_paused(&self, cx: &Context<'_>) -> bool {
        let is_paused = self.shared.paused.load(Ordering::SeqCst);
        if is_paused {
            // Nothing else wakes it, and nobody needs it soon.
            let waker = cx.waker().clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                waker.wake();
            });
        }
        is_paused
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Pausable<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_paused(cx) { Poll::Pending } else { Pin::new(&mut self.io).poll_read(cx, to) }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Pausable<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_paused(cx) { Poll::Pending } else { Pin::new(&mut self.io).poll_write(cx, from) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
