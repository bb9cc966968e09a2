//! Requests go out to connectors, on the caller's thread.
//!
//! ```text
//! choose a connection ─► open a stream ─► head ─► body ──────►┐ at the same time
//!                                          answer's head ◄────┘─► answer's body
//! ```

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bartizan_exchange::{
    Body, BodyError, Io, Length, LocalBoxFuture, Request, Response, Upgrade, Upstream, UpstreamError,
};
use bartizan_names::{Host, OriginFault, TunnelId};
use bartizan_net::{Account, LeastRate};
use bartizan_quic::{Intake, IntakeError};
use bartizan_quotas::SourceKey;
use bartizan_rpc::{
    ConnectKind, ConnectResponse, Entry, HeadError, Metadata, encode_request, plain_text, read_response,
};
use bartizan_wire::http1::{Asked, Content, is_end_to_end};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use quinn::RecvStream;
use tokio::time::{Instant, timeout};

use crate::counters::{Counters, count};
use crate::limits::LOGGED_BYTES_MAX;
use crate::link::{Lease, Link};
use crate::links::{Links, Repeat};
use crate::stream::{Duplex, Sending, Stream};
use crate::untaken::{Outlet, OutletError, write_head};

/// The way to what lies behind tunnels.
#[derive(Debug)]
pub(crate) struct Egress {
    links: Links,
    counters: Arc<Counters>,
}

impl Egress {
    pub(crate) const fn new(links: Links, counters: Arc<Counters>) -> Egress {
        Egress { links, counters }
    }
}

impl Upstream for Egress {
    fn send(&self, tunnel: TunnelId, request: Request) -> LocalBoxFuture<'_, Result<Response, UpstreamError>> {
        Box::pin(async move {
            let Request { visitor, method, body, upgrade, .. } = &request;
            // RFC 9110 §9.2.2; and what was taken of a body is gone.
            let may_repeat = body.length().is_nothing() && method.is_idempotent();
            let repeat = if may_repeat { Repeat::Allowed } else { Repeat::Forbidden };
            let (method, upgrade) = (method.clone(), *upgrade);
            let whom = (tunnel, SourceKey::widest(*visitor));
            let head = Bytes::from(encode(&request));
            let mut body = Some(request.body);
            let answer = self.links.carry(whom, repeat, |stream| {
                // A second time only if there is none.
                let body = body.take().unwrap_or_else(Body::empty);
                let (head, method) = (head.clone(), method.clone());
                async move {
                    match upgrade {
                        Upgrade::None => exchange(stream, head, &method, body).await,
                        Upgrade::WebSocket => switch(stream, head, &method).await,
                    }
                }
            });
            let answer = answer.await?;
            count(&self.counters.requests);
            if answer.is_err() {
                count(&self.counters.failed);
            }
            answer
        })
    }

    fn open<'a>(
        &'a self,
        tunnel: TunnelId,
        host: &'a Host,
        visitor: IpAddr,
    ) -> LocalBoxFuture<'a, Result<Box<dyn Io>, UpstreamError>> {
        Box::pin(async move {
            let named = || std::iter::once(Entry::new(Metadata::HOST, host.as_str().as_bytes()));
            let head = Bytes::from(encode_request(&format!("http://{}", host.as_str()), ConnectKind::Tcp, named));
            let whom = (tunnel, SourceKey::widest(visitor));
            // Nothing was said yet, so another connector may be asked.
            let opened = self.links.carry(whom, Repeat::Allowed, |stream| open(stream, head.clone())).await?;
            count(if opened.is_ok() { &self.counters.tcp_connections } else { &self.counters.tcp_failed });
            opened.map(|duplex| Box::new(duplex) as Box<dyn Io>)
        })
    }
}

/// A stream that becomes a connection to a service, if the connector agrees.
async fn open(mut stream: Stream, head: Bytes) -> Result<Duplex, UpstreamError> {
    uploaded(begin(&mut stream.send, head, stream.lease.link()).await, stream.lease.link())?;
    let answer = in_time(read_response(&mut stream.receive), stream.lease.link()).await?;
    let answer = answer.map_err(AnswerError::from)?;
    refused(&answer)?;
    Ok(Duplex::from(stream))
}

/// Whether the connector says that there is no answer.
fn refused(answer: &ConnectResponse) -> Result<(), UpstreamError> {
    if answer.error.is_empty() {
        return Ok(());
    }
    let why = plain_text(answer.error.as_bytes(), LOGGED_BYTES_MAX);
    Err(UpstreamError::Origin(OriginFault::read(answer.text(Metadata::FAULT)), why))
}

/// The connector's answer is malformed.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("it has no valid status")]
    Status,
    #[error("its field {0:?} is not valid")]
    Field(String),
}

impl From<AnswerError> for UpstreamError {
    fn from(error: AnswerError) -> UpstreamError {
        match error {
            // A connector resets a stream on which its origin breaks off. That may overtake what came before.
            AnswerError::Head(HeadError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                UpstreamError::Origin(OriginFault::Broken, "it broke off its answer".to_owned())
            }
            error => UpstreamError::Broken(Box::new(error)),
        }
    }
}

/// Why a request's body did not go out whole.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    /// The client has gone: the exchange is over.
    #[error(transparent)]
    Client(#[from] BodyError),
    /// The connector reads no more of it, which is allowed: an answer may still come.
    #[error(transparent)]
    Connector(#[from] quinn::WriteError),
    #[error("the connector took nothing of the request's body for too long")]
    Stalled,
    /// The same, when others could not begin. It is counted where it was found.
    #[error("the connector took nothing of the request's body, and others could not begin")]
    MadeRoom,
}

type Upload = Pin<Box<dyn Future<Output = Result<(), UploadError>>>>;

/// A request and its answer, both as streams.
async fn exchange(stream: Stream, head: Bytes, method: &Method, body: Body) -> Result<Response, UpstreamError> {
    let Stream { mut send, mut receive, lease } = stream;
    let is_nothing = body.is_here() && body.length().is_nothing();
    let (answer, uploading) = if is_nothing {
        // Nearly always. The head is out at once.
        let written = begin(&mut send, head, lease.link()).await;
        if written.is_ok() {
            send.finish();
        }
        uploaded(written, lease.link())?;
        (in_time(read_response(&mut receive), lease.link()).await?, None)
    } else {
        let mut upload: Upload = Box::pin(upload(send, head, body, (lease.source(), Arc::clone(lease.link()))));
        let mut answer = std::pin::pin!(read_response(&mut receive));
        tokio::select! {
            biased;
            result = &mut upload => {
                uploaded(result, lease.link())?;
                (in_time(answer, lease.link()).await?, None)
            }
            // An answer may come before the request has ended; the rest goes out while the answer is read.
            answer = &mut answer => (answer, Some(upload)),
        }
    };
    let answer = answer.map_err(AnswerError::from)?;
    let Head { status, headers, length } = noted(decode(answer, Upgrade::None), lease.link())?;
    let body = download(receive, method, (status, length), uploading, lease);
    Ok(Response { status, headers, body, upgraded: None })
}

/// Whether an answer is to be waited for.
fn uploaded(result: Result<(), UploadError>, link: &Link) -> Result<(), UpstreamError> {
    match result {
        Ok(()) | Err(UploadError::Connector(_)) => Ok(()),
        Err(UploadError::Stalled) => {
            count(&link.counters.uploads_stalled);
            Err(UpstreamError::TimedOut)
        }
        Err(UploadError::MadeRoom) => Err(UpstreamError::TimedOut),
        Err(error @ UploadError::Client(_)) => Err(UpstreamError::Broken(error.into())),
    }
}

/// Waits for the head of an answer when all of the request is out.
async fn in_time<T>(answer: impl Future<Output = T>, link: &Link) -> Result<T, UpstreamError> {
    timeout(link.limits.answer_time, answer).await.map_err(|_| {
        count(&link.counters.answers_late);
        UpstreamError::TimedOut
    })
}

/// A request whose stream becomes a connection of its own, if the origin agrees.
async fn switch(stream: Stream, head: Bytes, method: &Method) -> Result<Response, UpstreamError> {
    let Stream { mut send, mut receive, lease } = stream;
    uploaded(begin(&mut send, head, lease.link()).await, lease.link())?;
    let answer = in_time(read_response(&mut receive), lease.link()).await?;
    let Head { status, headers, length } =
        noted(decode(answer.map_err(AnswerError::from)?, Upgrade::WebSocket), lease.link())?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let io = Duplex::from(Stream { send, receive, lease });
        return Ok(Response { status, headers, body: Body::empty(), upgraded: Some(Box::new(io)) });
    }
    send.finish();
    let body = download(receive, method, (status, length), None, lease);
    Ok(Response { status, headers, body, upgraded: None })
}

/// The head of a request. Without a framing field the stock connector drops the body in silence.
fn encode(request: &Request) -> Vec<u8> {
    let kind = match request.upgrade {
        Upgrade::None => ConnectKind::Http,
        Upgrade::WebSocket => ConnectKind::WebSocket,
    };
    let length = match request.body.length() {
        Length::Known(bytes) => bytes.to_string(),
        Length::Absent | Length::Unknown => String::new(),
    };
    let framing = match request.body.length() {
        Length::Absent => None,
        Length::Known(_) => Some(Entry::header(b"Content-Length", length.as_bytes())),
        Length::Unknown => Some(Entry::header(b"Transfer-Encoding", b"chunked")),
    };
    let host = request.host.as_str();
    let first = [
        Entry::new(Metadata::METHOD, request.method.as_str().as_bytes()),
        // A connector chooses the rule by it, and stock ones compare it as it comes.
        Entry::new(Metadata::HOST, host.as_bytes()),
    ];
    let fields = || request.headers.iter().map(|(name, value)| Entry::header(name.as_ref(), value.as_bytes()));
    let entries = || first.into_iter().chain(framing).chain(fields());
    encode_request(&format!("http://{host}{}", request.path), kind, entries)
}

async fn begin(send: &mut Sending, head: Bytes, link: &Link) -> Result<(), UploadError> {
    let written = timeout(link.limits.stall_time, write_head(&mut send.stream, head, link)).await;
    Ok(written.map_err(|_| UploadError::Stalled)??)
}

async fn upload(
    mut send: Sending,
    head: Bytes,
    mut body: Body,
    (source, link): (SourceKey, Arc<Link>),
) -> Result<(), UploadError> {
    begin(&mut send, head, &link).await?;
    let outlet = Outlet::new(send, source, &link);
    let (rate, mut account) = (LeastRate::with_stall(link.limits.stall_time), Account::default());
    while let Some(chunk) = body.next().await {
        let mut left = chunk?;
        while !left.is_empty() {
            let (began, bytes) = (Instant::now(), left.len());
            let written = timeout(account.left(rate.stall), outlet.write(&mut left)).await;
            written.map_err(|_| UploadError::Stalled)?.map_err(|error| match error {
                OutletError::Stream(error) => UploadError::Connector(error),
                OutletError::MadeRoom => UploadError::MadeRoom,
            })?;
            account.waited(began.elapsed());
            account.moved(bytes - left.len(), rate);
        }
    }
    outlet.finish();
    Ok(())
}

struct Head {
    status: StatusCode,
    headers: HeaderMap,
    /// The `Content-Length`, if there is one.
    length: Option<u64>,
}

/// The same, kept for whoever asks how the service behind the connection does.
fn noted(decoded: Result<Head, UpstreamError>, link: &Link) -> Result<Head, UpstreamError> {
    link.facts.service.note(match &decoded {
        Err(UpstreamError::Origin(fault, _)) => Some(*fault),
        _ => None,
    });
    decoded
}

/// `asked` is what may become of the connection: there is no other answer of the class 1xx (RFC 9110 §15.2).
fn decode(answer: ConnectResponse, asked: Upgrade) -> Result<Head, UpstreamError> {
    refused(&answer)?;
    let is_last = |status: &StatusCode| match *status {
        StatusCode::SWITCHING_PROTOCOLS => asked == Upgrade::WebSocket,
        status => !status.is_informational(),
    };
    let status = answer.text(Metadata::STATUS).and_then(|status| status.parse().ok()).filter(is_last);
    let status = status.ok_or(AnswerError::Status)?;
    let named = |name| headers_of(&answer).filter(move |(own, _)| own.eq_ignore_ascii_case(name));
    let options: Vec<&Bytes> = named("Connection").map(|(_, value)| value).collect();
    let stated = named("Content-Length").next().and_then(|(_, length)| str::from_utf8(length).ok()?.parse().ok());
    let mut headers = HeaderMap::with_capacity(answer.metadata.len());
    for (name, value) in headers_of(&answer) {
        // What is the connector's and ours alone.
        if !is_end_to_end(name.as_bytes(), options.iter().map(|value| &***value)) {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| AnswerError::Field(name.to_owned()))?;
        let value =
            HeaderValue::from_maybe_shared(value.clone()).map_err(|_| AnswerError::Field(name.as_str().to_owned()))?;
        headers.append(name, value);
    }
    Ok(Head { status, headers, length: stated })
}

fn headers_of(answer: &ConnectResponse) -> impl Iterator<Item = (&str, &Bytes)> {
    answer.metadata.iter().filter_map(|entry| Some((entry.header_name()?, &entry.value)))
}

/// The body of an answer, and what is left of the request's.
struct Download {
    intake: Intake,
    /// The bytes that must come, where that is known.
    left: Option<u64>,
    /// The request's body is sent on while the answer's is read.
    upload: Option<Upload>,
    lease: Lease,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer's body has another length than its head says")]
struct WrongLength;

/// What follows the head, with the length that it states.
fn download(
    receive: RecvStream,
    method: &Method,
    (status, stated): (StatusCode, Option<u64>),
    upload: Option<Upload>,
    lease: Lease,
) -> Body {
    let (length, left) = match (Content::of(Asked::by(method.as_str()), status.as_u16()), stated) {
        (Content::Never, _) | (Content::Withheld, None) => return Body::empty(),
        (Content::Framed, None) => (Length::Unknown, None),
        (Content::Withheld, Some(bytes)) => (Length::Known(bytes), Some(0)),
        (Content::Framed, Some(bytes)) => (Length::Known(bytes), Some(bytes)),
    };
    let intake = Intake::new(receive, left, &lease.link().unread, lease.source());
    let download = Download { intake, left, upload, lease };
    let chunks = futures_util::stream::unfold(Some(download), |download| async {
        let mut download = download?;
        match download.next().await {
            Some(Ok(chunk)) => Some((Ok(chunk), Some(download))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    });
    Body::stream(length, chunks)
}

impl Download {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self.chunk().await {
            Ok(Some(chunk)) => Some(self.check(chunk.len() as u64).map(|()| chunk)),
            Ok(None) if self.left.is_none_or(|left| left == 0) => None,
            Ok(None) => Some(Err(BodyError::new(WrongLength))),
            Err(error) => Some(Err(BodyError::new(error))),
        }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, IntakeError> {
        loop {
            let read = self.intake.chunk();
            let Some(upload) = &mut self.upload else { return read.await };
            tokio::select! {
                // How it ends matters to nobody: only the answer counts now, and if the client is gone this body is
                // dropped too.
                uploaded = upload => {
                    if let Err(UploadError::Stalled) = uploaded {
                        count(&self.lease.link().counters.uploads_stalled);
                    }
                    self.upload = None;
                }
                chunk = read => return chunk,
            }
        }
    }

    fn check(&mut self, bytes: u64) -> Result<(), BodyError> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes).ok_or_else(|| BodyError::new(WrongLength))?;
        }
        Ok(())
    }
}
