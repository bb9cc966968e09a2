//! An origin: a real HTTP/1.1 server on a free port.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

type Reply = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// A server that does what the path says:
///
/// | path | answer |
/// |---|---|
/// | `/echo` | the request's body, as it comes |
/// | `/bytes/N` | N bytes of [`pattern`] |
/// | `/hello`, `*` | the request's method, path and header fields as text |
/// | `/cookies` | two `Set-Cookie` fields, and hop-by-hop ones |
/// | `/fields/N` | N fields |
/// | `/hold` | 200 after [`Origin::release`] |
/// | `/silent` | a head, and then nothing for ever |
/// | `/break` | half of the announced body; after [`Origin::release`] it breaks off |
/// | `/refuse` | 413 without reading the body |
/// | `/ws` | 101, then the bytes that come |
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    /// One item for each `/hold` that arrived and each `/silent` that was given up by the client.
    pub noted: mpsc::UnboundedReceiver<&'static str>,
}

struct Shared {
    released: Semaphore,
    notes: mpsc::UnboundedSender<&'static str>,
}

/// The bytes that bodies are made of, over and over. The length is a prime, so that no piece of a body looks like
/// another one that begins at a round number.
static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..65_521_u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect());

/// `length` bytes of the pattern from `at`.
pub fn pattern(at: u64, length: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(length as usize);
    while (bytes.len() as u64) < length {
        let from = ((at + bytes.len() as u64) % PATTERN.len() as u64) as usize;
        let count = (PATTERN.len() - from).min(length as usize - bytes.len());
        bytes.extend_from_slice(&PATTERN[from..from + count]);
    }
    bytes.into()
}

/// Whether `bytes`, which begin at `at`, are of the pattern.
pub fn verify_pattern(at: u64, bytes: &[u8]) -> bool {
    pattern(at, bytes.len() as u64) == bytes
}

impl Origin {
    pub async fn start() -> Origin {
        Origin::serve(None).await
    }

    /// Over TLS, with this chain in PEM and key in DER.
    pub async fn start_tls((chain, key): (String, Vec<u8>)) -> Origin {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().expect("PEM");
        let key = PrivateKeyDer::try_from(key).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        Origin::serve(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serve(tls: Option<TlsAcceptor>) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (notes, noted) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { released: Semaphore::new(0), notes });
        let for_all = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&for_all), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, shared).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, shared).await;
                            }
                        }
                    }
                });
            }
        });
        Origin { address, shared, noted }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets one `/hold` or `/break` go on.
    pub fn release(&self) {
        self.shared.released.add_permits(1);
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { answer(request, shared).await }
    });
    // Broken connections are among what is tested.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Reply, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/echo" => Response::new(request.into_body().map_err(std::io::Error::other).boxed_unsync()),
        "/hello" | "*" => text(StatusCode::OK, &describe(&request)),
        "/cookies" => cookies(),
        "/hold" => {
            let _ = shared.notes.send("hold");
            shared.released.acquire().await.expect("never closed").forget();
            text(StatusCode::OK, "released")
        }
        "/silent" => silent(&shared),
        "/break" => broken(shared),
        "/refuse" => text(StatusCode::PAYLOAD_TOO_LARGE, "too large"),
        "/ws" => upgrade(request),
        _ => match path.strip_prefix("/bytes/").and_then(|count| count.parse().ok()) {
            Some(count) => bytes(count),
            None => match path.strip_prefix("/fields/").and_then(|count| count.parse().ok()) {
                Some(count) => fields(count),
                None => text(StatusCode::NOT_FOUND, ""),
            },
        },
    })
}

fn text(status: StatusCode, text: &str) -> Reply {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never: Infallible| match never {});
    let mut reply = Response::new(body.boxed_unsync());
    *reply.status_mut() = status;
    reply
}

fn describe(request: &Request<Incoming>) -> String {
    let mut lines = vec![format!("{} {}", request.method(), request.uri())];
    for (name, value) in request.headers() {
        lines.push(format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    lines.join("\n")
}

fn cookies() -> Reply {
    let mut reply = text(StatusCode::OK, "");
    for (name, value) in
        [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("connection", "x-hop"), ("x-hop", "1"), ("x-end", "2")]
    {
        reply.headers_mut().append(name, value.parse().expect("a valid value"));
    }
    reply
}

fn fields(count: usize) -> Reply {
    let mut reply = text(StatusCode::OK, "");
    for number in 0..count {
        let name = format!("x-{number}");
        reply.headers_mut().insert(http::HeaderName::try_from(name).expect("a name"), number.into());
    }
    reply
}

fn stream(chunks: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Reply {
    Response::new(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync())
}

fn bytes(count: u64) -> Reply {
    const CHUNK: u64 = 60_000;
    let starts = futures_util::stream::iter((0..count).step_by(CHUNK as usize));
    let mut reply = stream(starts.map(move |at| Ok(pattern(at, CHUNK.min(count - at)))));
    reply.headers_mut().insert("content-length", count.into());
    reply
}

/// Notes when the client gives it up.
fn silent(shared: &Shared) -> Reply {
    struct GivenUp(mpsc::UnboundedSender<&'static str>);
    impl Drop for GivenUp {
        fn drop(&mut self) {
            let _ = self.0.send("given up");
        }
    }
    let given_up = GivenUp(shared.notes.clone());
    let first = futures_util::stream::once(async { Ok(Bytes::from_static(b"first")) });
    let never = futures_util::stream::once(async move {
        let _given_up = given_up;
        std::future::pending().await
    });
    stream(first.chain(never))
}

fn broken(shared: Arc<Shared>) -> Reply {
    let half = futures_util::stream::once(async { Ok(Bytes::from_static(b"half ")) });
    let end = futures_util::stream::once(async move {
        shared.released.acquire().await.expect("never closed").forget();
        Err(std::io::Error::other("broken"))
    });
    let mut reply = stream(half.chain(end));
    reply.headers_mut().insert("content-length", 10.into());
    reply
}

fn upgrade(request: Request<Incoming>) -> Reply {
    let asked = request.headers().get("upgrade").is_some_and(|protocol| protocol == "websocket");
    if !asked || !request.headers().contains_key("sec-websocket-key") {
        return text(StatusCode::BAD_REQUEST, "no upgrade");
    }
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
        }
    });
    let mut reply = text(StatusCode::SWITCHING_PROTOCOLS, "");
    for (name, value) in [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", "yes")] {
        reply.headers_mut().insert(name, value.parse().expect("a valid value"));
    }
    reply
}
