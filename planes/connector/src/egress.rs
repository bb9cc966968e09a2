//! Requests go out to origins: HTTP/1.1 over TCP or TLS, with a pool of idle connections for each origin.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_dial::{Failure, OriginDialer};
use bartizan_names::OriginFault;
use bartizan_rpc::{MESSAGE_BYTES_MAX, METADATA_MAX};
use bartizan_tls::ClientConfig;
use bartizan_wire::http1::Limits;
use http::HeaderValue;
use tokio::time::timeout;

use crate::OriginRequest;
use crate::link::{Answer, Asking, Io, Link, LinkError, Lost};

/// HTTP/2 over TLS (RFC 9113 §3.2).
pub(crate) const HTTP2_ALPN: &[u8] = b"h2";

/// What an edge takes of an origin by its address it takes through a tunnel as well: a field costs up to 40 bytes there,
/// beside its text.
const _: () = assert!(Limits::RESPONSE.head_bytes + 40 * Limits::RESPONSE.fields <= MESSAGE_BYTES_MAX);
const _: () = assert!(Limits::RESPONSE.fields < METADATA_MAX);

/// What an origin is, and how to talk to it.
pub(crate) struct Settings {
    /// The same as text, for people.
    pub(crate) name: String,
    pub(crate) origin: bartizan_names::Origin,
    pub(crate) tls: Option<Tls>,
    pub(crate) host_header: Option<HeaderValue>,
    pub(crate) connect_max: Duration,
    pub(crate) handshake_max: Duration,
    pub(crate) idle_max: Duration,
    pub(crate) idle_connections_max: usize,
    pub(crate) http2: Http2,
    /// The rule's own words for all of this.
    pub(crate) said: (String, OriginRequest),
}

/// Whether a service is said to speak HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http2 {
    Spoken,
    NotSaid,
}

/// TLS towards an origin.
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    /// The same, that offers HTTP/2 alone.
    pub(crate) http2: Arc<ClientConfig>,
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
    link: Link,
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
    #[error("no answer: {0}")]
    Exchange(#[from] LinkError),
    #[error("it changed the protocol, which nobody asked for")]
    Switched,
    #[error("it does not agree to HTTP/2")]
    NotHttp2,
}

impl OriginError {
    /// What an edge would see itself, if it had asked.
    pub(crate) fn fault(&self) -> OriginFault {
        match self {
            OriginError::Connect(failure) => (*failure).into(),
            OriginError::ConnectTime(_) | OriginError::HandshakeTime(_) => OriginFault::ConnectTimedOut,
            OriginError::Handshake(_) => OriginFault::Tls,
            OriginError::Exchange(_) | OriginError::Switched | OriginError::NotHttp2 => OriginFault::Broken,
        }
    }
}

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

    pub(crate) fn host_header(&self) -> Option<&[u8]> {
        self.settings.host_header.as_ref().map(HeaderValue::as_bytes)
    }

    /// Sends a request over an idle connection, or over a new one. `asked` is the host that was asked for.
    ///
    /// A kept connection may have been closed by the origin in the very moment. Then a request of which nothing was sent,
    /// or one that may be repeated (RFC 9110 §9.2.2) and has no body, goes over a new one.
    pub(crate) async fn send(
        &self,
        mut request: Asking,
        is_idempotent: bool,
        asked: &str,
        origins: &OriginDialer,
    ) -> Result<Answer, OriginError> {
        if let Some(link) = self.take_idle() {
            let spare = request.copy().filter(|_| is_idempotent);
            match link.ask(request).await {
                Ok(answer) => return Ok(answer),
                Err(Lost { unsent, error }) => request = unsent.or(spare).ok_or(error)?,
            }
        }
        let link = self.connect(asked, origins).await?;
        link.ask(request).await.map_err(|lost| lost.error.into())
    }

    /// Keeps the connection of an answer that was read to its end for the next one, if it can be used again; instead of
    /// the one that was idle for longest, if there are enough.
    pub(crate) fn keep(&self, answer: Answer) {
        let one_name = self.settings.tls.as_ref().is_some_and(|tls| tls.match_host);
        if one_name || self.settings.idle_connections_max == 0 {
            return;
        }
        let Some(link) = answer.into_link() else { return };
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= self.settings.idle_connections_max {
            idle.remove(0);
        }
        idle.push(Idle { link, since: now });
    }

    fn take_idle(&self) -> Option<Link> {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut last) = idle.pop() {
            if now.duration_since(last.since) < self.settings.idle_max && !last.link.is_closed() {
                return Some(last.link);
            }
        }
        None
    }

    /// Closes what has been idle for too long, or was closed by the origin.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|idle| now.duration_since(idle.since) < self.settings.idle_max && !idle.link.is_closed());
    }

    /// Whether it is said to speak HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.settings.http2 == Http2::Spoken
    }

    /// Whether a rule says the same of this one and of the other.
    pub(crate) fn is_same(&self, other: &Origin) -> bool {
        self.settings.said == other.settings.said
    }

    /// A connection over which somebody else speaks HTTP/2. `asked` is the host that was asked for.
    pub(crate) async fn open(&self, asked: &str, origins: &OriginDialer) -> Result<Box<dyn Io>, OriginError> {
        self.connect_by(asked, origins, Speech::Http2).await
    }

    async fn connect(&self, asked: &str, origins: &OriginDialer) -> Result<Link, OriginError> {
        self.connect_by(asked, origins, Speech::Http1).await.map(Link::new)
    }

    async fn connect_by(
        &self,
        asked: &str,
        origins: &OriginDialer,
        speech: Speech,
    ) -> Result<Box<dyn Io>, OriginError> {
        let Settings { origin, connect_max, handshake_max, .. } = &self.settings;
        let (connect_max, handshake_max) = (*connect_max, *handshake_max);
        let dialling = timeout(connect_max, origins.connect_to(None, &origin.hosts, origin.port));
        let tcp = dialling.await.map_err(|_| OriginError::ConnectTime(connect_max))??;
        let Some(tls) = &self.settings.tls else { return Ok(Box::new(tcp)) };
        let name = match &tls.server_name {
            _ if tls.match_host => asked.to_owned(),
            Some(name) => name.clone(),
            // A service is one host.
            None => origin.hosts.iter().map(ToString::to_string).collect(),
        };
        let config = match speech {
            Speech::Http1 => &tls.config,
            Speech::Http2 => &tls.http2,
        };
        let stream = timeout(handshake_max, bartizan_tls::connect(config, &name, tcp))
            .await
            .map_err(|_| OriginError::HandshakeTime(handshake_max))?
            .map_err(OriginError::Handshake)?;
        if speech == Speech::Http2 && stream.alpn() != Some(HTTP2_ALPN) {
            return Err(OriginError::NotHttp2);
        }
        Ok(Box::new(stream))
    }
}

/// What is spoken over a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Http1,
    Http2,
}
