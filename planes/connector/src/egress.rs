//! Requests go out to origins: HTTP/1.1 over TCP or TLS, with a pool of idle connections for each origin.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_dial::{Failure, OriginDialer};
use bartizan_names::OriginHost;
use bartizan_rpc::{MESSAGE_BYTES_MAX, METADATA_MAX};
use bartizan_tls::ClientConfig;
use bartizan_wire::http1::Limits;
use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// What an edge takes of an origin by its address it takes through a tunnel as well: a field costs up to 40 bytes there,
/// beside its text.
const _: () = assert!(Limits::RESPONSE.head_bytes + 40 * Limits::RESPONSE.fields <= MESSAGE_BYTES_MAX);
const _: () = assert!(Limits::RESPONSE.fields < METADATA_MAX);

/// For a connection whose answer was read to become ready for the next request.
const REUSE_MAX: Duration = Duration::from_secs(1);

/// A request's body: none, or what comes off a stream.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// The body of a request that has none.
pub(crate) fn no_body() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// What an origin is, and how to talk to it.
pub(crate) struct Settings {
    /// The service as configured, for people.
    pub(crate) name: String,
    pub(crate) host: OriginHost,
    pub(crate) port: u16,
    pub(crate) tls: Option<Tls>,
    pub(crate) host_header: Option<HeaderValue>,
    pub(crate) connect_max: Duration,
    pub(crate) handshake_max: Duration,
    pub(crate) idle_max: Duration,
    pub(crate) idle_connections_max: usize,
}

/// TLS towards an origin.
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    /// Instead of the service's host.
    pub(crate) server_name: Option<String>,
    /// The name asked for is the one to verify. Such connections serve one name each, and are not kept.
    pub(crate) match_host: bool,
}

/// An origin and its idle connections.
pub(crate) struct Origin {
    settings: Settings,
    /// The freshest is last. Locked for a push or a pop only.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// The origin did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginError {
    #[error("cannot connect: {0}")]
    Connect(#[from] Failure),
    #[error("no connection within {0:?}")]
    ConnectTime(Duration),
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    #[error("no TLS handshake within {0:?}")]
    HandshakeTime(Duration),
    #[error("it broke off before it answered: {}", cause_of(.0))]
    Exchange(#[from] hyper::Error),
}

/// The library's own text hides what happened in its sources.
fn cause_of(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// An answer, and the connection that it comes over.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: Used,
}

/// A connection that carries an exchange.
pub(crate) struct Used(SendRequest<RequestBody>);

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

impl Origin {
    pub(crate) fn new(settings: Settings) -> Origin {
        Origin { settings, idle: Mutex::default() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(crate) fn host_header(&self) -> Option<&HeaderValue> {
        self.settings.host_header.as_ref()
    }

    /// Sends a request over an idle connection, or over a new one. `asked` is the host that was asked for.
    ///
    /// A kept connection may have been closed by the origin in the very moment. Then a request that was not sent, or
    /// one that may be repeated (RFC 9110 §9.2.2) and has no body, goes over the next one.
    pub(crate) async fn send(
        &self,
        head: Parts,
        mut body: RequestBody,
        asked: &str,
        origins: &OriginDialer,
    ) -> Result<Answer, OriginError> {
        let repeatable = body.is_end_stream() && head.method.is_idempotent();
        while let Some(mut sender) = self.take_idle() {
            match sender.try_send_request(Request::from_parts(head.clone(), body)).await {
                Ok(response) => return Ok(Answer { response, connection: Used(sender) }),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => body = unsent.into_body(),
                    None if repeatable => body = no_body(),
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut sender = self.connect(asked, origins).await?;
        let response = sender.send_request(Request::from_parts(head, body)).await?;
        Ok(Answer { response, connection: Used(sender) })
    }

    /// Keeps a connection whose exchange is over for the next one, if it can be used again.
    pub(crate) async fn keep(&self, Used(mut sender): Used) {
        let one_name = self.settings.tls.as_ref().is_some_and(|tls| tls.match_host);
        if one_name || self.settings.idle_connections_max == 0 {
            return;
        }
        if !matches!(timeout(REUSE_MAX, sender.ready()).await, Ok(Ok(()))) {
            return;
        }
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| !idle.sender.is_closed() && now.duration_since(idle.since) < self.settings.idle_max);
        if idle.len() >= self.settings.idle_connections_max {
            idle.remove(0);
        }
        idle.push(Idle { sender, since: now });
    }

    fn take_idle(&self) -> Option<SendRequest<RequestBody>> {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(last) = idle.pop() {
            if last.sender.is_ready() && now.duration_since(last.since) < self.settings.idle_max {
                return Some(last.sender);
            }
        }
        None
    }

    async fn connect(&self, asked: &str, origins: &OriginDialer) -> Result<SendRequest<RequestBody>, OriginError> {
        let Settings { connect_max, handshake_max, .. } = self.settings;
        let host = std::slice::from_ref(&self.settings.host);
        let dialling = timeout(connect_max, origins.connect_to(host, self.settings.port));
        let tcp = dialling.await.map_err(|_| OriginError::ConnectTime(connect_max))??;
        let Some(tls) = &self.settings.tls else { return handshake(tcp).await };
        let name = match &tls.server_name {
            _ if tls.match_host => asked.to_owned(),
            Some(name) => name.clone(),
            None => self.settings.host.to_string(),
        };
        let stream = timeout(handshake_max, bartizan_tls::connect(&tls.config, &name, tcp))
            .await
            .map_err(|_| OriginError::HandshakeTime(handshake_max))?
            .map_err(OriginError::Handshake)?;
        handshake(stream).await
    }
}

async fn handshake<IO>(io: IO) -> Result<SendRequest<RequestBody>, OriginError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(Limits::RESPONSE.fields)
        .max_buf_size(Limits::RESPONSE.head_bytes)
        .handshake(TokioIo::new(io))
        .await?;
    // It ends with its exchange, or when the idle sender is dropped; what went wrong the exchange tells.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}
