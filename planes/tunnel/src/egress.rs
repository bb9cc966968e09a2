//! Requests go out to connectors, on the caller's thread.
//!
//! ```text
//! choose a connection ─► open a stream ─► head ─► body ──────►┐ at the same time
//!                                          answer's head ◄────┘─► answer's body
//! ```

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bartizan_exchange::{
    Body, BodyError, Frame, Io, Length, LocalBoxFuture, Request, Response, Upgrade, Upstream, UpstreamError,
};
use bartizan_names::{Host, OriginFault, TunnelId};
use bartizan_net::{Account, LeastRate};
use bartizan_quic::Intake;
use bartizan_quotas::SourceKey;
use bartizan_rpc::over_http2::FieldsError;
use bartizan_rpc::{
    ConnectKind, ConnectResponse, Entry, HeadError, Metadata, encode_request, plain_text, read_response,
};
use bartizan_wire::http1::{Asked, Content, is_end_to_end};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use quinn::RecvStream;
use tokio::time::{Instant, timeout};

use crate::counters::{Counters, count};
use crate::http2;
use crate::limits::LOGGED_BYTES_MAX;
use crate::link::{Lease, Link};
use crate::links::{Links, Repeat};
use crate::stream::{Duplex, Inlet, InletError, QuicStream, Sending, Stream};
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
            let Request { visitor, method, host, path, headers, body, upgrade } = request;
            // RFC 9110 §9.2.2; and what was taken of a body is gone.
            let may_repeat = body.length().is_nothing() && method.is_idempotent();
            let repeat = if may_repeat { Repeat::Allowed } else { Repeat::Forbidden };
            let whom = (tunnel, SourceKey::widest(visitor));
            let asking =
                Asking { method: &method, host: &host, path: &path, headers: &headers, length: body.length(), upgrade };
            let mut body = Some(body);
            let answer = self.links.carry(whom, repeat, |stream| {
                // A second time only if there is none.
                let body = body.take().unwrap_or_else(Body::empty);
                async move {
                    match (stream, upgrade) {
                        (Stream::Quic(stream), Upgrade::None) => exchange(stream, &asking, body).await,
                        (Stream::Quic(stream), Upgrade::WebSocket) => switch(stream, &asking).await,
                        (Stream::Http2(slot, lease), Upgrade::None) => {
                            http2::exchange((slot, lease), &asking, body).await
                        }
                        (Stream::Http2(slot, lease), Upgrade::WebSocket) => http2::switch((slot, lease), &asking).await,
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
            let opened = self.links.carry(whom, Repeat::Allowed, |stream| {
                let head = head.clone();
                async move {
                    match stream {
                        Stream::Quic(stream) => open(stream, head).await,
                        Stream::Http2(slot, lease) => http2::open_service((slot, lease), host).await,
                    }
                }
            });
            let opened = opened.await?;
            count(if opened.is_ok() { &self.counters.tcp_connections } else { &self.counters.tcp_failed });
            opened.map(|duplex| Box::new(duplex) as Box<dyn Io>)
        })
    }
}

/// A request without its body.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'r> {
    pub(crate) method: &'r Method,
    pub(crate) host: &'r Host,
    pub(crate) path: &'r PathAndQuery,
    pub(crate) headers: &'r HeaderMap,
    /// Of the body.
    pub(crate) length: Length,
    pub(crate) upgrade: Upgrade,
}

/// A stream that becomes a connection to a service, if the connector agrees.
async fn open(mut stream: QuicStream, head: Bytes) -> Result<Duplex, UpstreamError> {
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
pub(crate) enum AnswerError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Fields(FieldsError),
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
pub(crate) enum UploadError {
    /// The client has gone: the exchange is over.
    #[error(transparent)]
    Client(#[from] BodyError),
    /// The connector reads no more of it, which is allowed: an answer may still come.
    #[error(transparent)]
    Connector(#[from] OutletError),
    #[error("the connector took nothing of the request's body for too long")]
    Stalled,
    /// The same, when others could not begin. It is counted where it was found.
    #[error("the connector took nothing of the request's body, and others could not begin")]
    MadeRoom,
}

type Upload = Pin<Box<dyn Future<Output = Result<(), UploadError>>>>;

/// A request and its answer, both as streams.
async fn exchange(stream: QuicStream, asking: &Asking<'_>, body: Body) -> Result<Response, UpstreamError> {
    let QuicStream { mut send, mut receive, lease } = stream;
    let head = Bytes::from(encode(asking));
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
        let upload = upload(send, head, body, (lease.source(), Arc::clone(lease.link())));
        head_and_rest(read_response(&mut receive), Some(upload), lease.link()).await?
    };
    let answer = answer.map_err(AnswerError::from)?;
    let head = noted(decode(answer, Upgrade::None), lease.link())?;
    let inlet = inlet(receive, head.left(asking.method), &lease);
    Ok(response(inlet, asking.method, head, uploading, lease))
}

/// Waits for the head of an answer while the body of the request goes out; what is left of that goes out while the answer is
/// read.
pub(crate) async fn head_and_rest<A>(
    answer: impl Future<Output = A>,
    upload: Option<impl Future<Output = Result<(), UploadError>> + 'static>,
    link: &Link,
) -> Result<(A, Option<Upload>), UpstreamError> {
    let Some(upload) = upload else { return Ok((in_time(answer, link).await?, None)) };
    let mut upload: Upload = Box::pin(upload);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        result = &mut upload => {
            uploaded(result, link)?;
            Ok((in_time(answer, link).await?, None))
        }
        // An answer may come before the request has ended.
        answer = &mut answer => Ok((answer, Some(upload))),
    }
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
pub(crate) async fn in_time<T>(answer: impl Future<Output = T>, link: &Link) -> Result<T, UpstreamError> {
    timeout(link.limits.answer_time, answer).await.map_err(|_| {
        count(&link.counters.answers_late);
        UpstreamError::TimedOut
    })
}

/// A request whose stream becomes a connection of its own, if the origin agrees.
async fn switch(stream: QuicStream, asking: &Asking<'_>) -> Result<Response, UpstreamError> {
    let QuicStream { mut send, mut receive, lease } = stream;
    let head = Bytes::from(encode(asking));
    uploaded(begin(&mut send, head, lease.link()).await, lease.link())?;
    let answer = in_time(read_response(&mut receive), lease.link()).await?;
    let head = noted(decode(answer.map_err(AnswerError::from)?, Upgrade::WebSocket), lease.link())?;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(switched(head, Duplex::from(QuicStream { send, receive, lease })));
    }
    send.finish();
    let inlet = inlet(receive, head.left(asking.method), &lease);
    Ok(response(inlet, asking.method, head, None, lease))
}

/// What a stream became.
pub(crate) fn switched(head: Head, io: Duplex) -> Response {
    let Head { status, headers, .. } = head;
    Response { status, headers, body: Body::empty(), upgraded: Some(Box::new(io)) }
}

/// An answer whose body is read from there.
pub(crate) fn response(inlet: Inlet, method: &Method, head: Head, uploading: Option<Upload>, lease: Lease) -> Response {
    let body = download(inlet, head.content(method), uploading, lease);
    Response { status: head.status, headers: head.headers, body, upgraded: None }
}

/// The head of a request. Without a framing field the stock connector drops the body in silence.
fn encode(request: &Asking<'_>) -> Vec<u8> {
    let kind = match request.upgrade {
        Upgrade::None => ConnectKind::Http,
        Upgrade::WebSocket => ConnectKind::WebSocket,
    };
    let length = match request.length {
        Length::Known(bytes) => bytes.to_string(),
        Length::Absent | Length::Unknown => String::new(),
    };
    let framing = match request.length {
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
    written.map_err(|_| UploadError::Stalled)?.map_err(|error| UploadError::Connector(error.into()))
}

async fn upload(
    mut send: Sending,
    head: Bytes,
    body: Body,
    (source, link): (SourceKey, Arc<Link>),
) -> Result<(), UploadError> {
    begin(&mut send, head, &link).await?;
    let outlet = Outlet::of_quic(send, source, &link);
    pour(outlet, body, link).await
}

/// Writes a body, and ends the stream.
pub(crate) async fn pour(outlet: Outlet, mut body: Body, link: Arc<Link>) -> Result<(), UploadError> {
    let (rate, mut account) = (LeastRate::with_stall(link.limits.stall_time), Account::default());
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        let mut left = match frame? {
            Frame::Data(data) => data,
            Frame::Trailers(trailers) => {
                outlet.finish_with(&trailers);
                return Ok(());
            }
        };
        while !left.is_empty() {
            let (began, bytes) = (Instant::now(), left.len());
            let written = timeout(account.left(rate.stall), outlet.write(&mut left)).await;
            written.map_err(|_| UploadError::Stalled)?.map_err(|error| match error {
                OutletError::MadeRoom => UploadError::MadeRoom,
                error => UploadError::Connector(error),
            })?;
            account.waited(began.elapsed());
            account.moved(bytes - left.len(), rate);
        }
    }
    outlet.finish();
    Ok(())
}

pub(crate) struct Head {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    /// The `Content-Length`, if there is one.
    length: Option<u64>,
}

/// What follows a head.
#[derive(Clone, Copy)]
enum Following {
    Nothing,
    /// What would be there, were it not left out.
    Withheld(u64),
    /// So many bytes, where that is known.
    Body(Option<u64>),
}

impl Head {
    fn content(&self, method: &Method) -> Following {
        match (Content::of(Asked::by(method.as_str()), self.status.as_u16()), self.length) {
            (Content::Never, _) | (Content::Withheld, None) => Following::Nothing,
            (Content::Withheld, Some(bytes)) => Following::Withheld(bytes),
            (Content::Framed, length) => Following::Body(length),
        }
    }

    /// The bytes that must come, where that is known.
    fn left(&self, method: &Method) -> Option<u64> {
        match self.content(method) {
            Following::Nothing | Following::Withheld(_) => Some(0),
            Following::Body(length) => length,
        }
    }
}

/// What comes on a stream of QUIC.
fn inlet(receive: RecvStream, left: Option<u64>, lease: &Lease) -> Inlet {
    Inlet::Quic(Intake::new(receive, left, &lease.link().unread, lease.source()))
}

/// The same, kept for whoever asks how the service behind the connection does.
pub(crate) fn noted(decoded: Result<Head, UpstreamError>, link: &Link) -> Result<Head, UpstreamError> {
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
    Ok(head_of(status, answer.metadata.len(), || headers_of(&answer))?)
}

/// A head with fields that came from an origin; `count` is how many there may be.
pub(crate) fn head_of<'f, I>(status: StatusCode, count: usize, fields: impl Fn() -> I) -> Result<Head, AnswerError>
where
    I: Iterator<Item = (&'f [u8], &'f Bytes)>,
{
    let named = |name: &'static [u8]| fields().filter(move |(own, _)| own.eq_ignore_ascii_case(name));
    let options: Vec<&Bytes> = named(b"Connection").map(|(_, value)| value).collect();
    let length = named(b"Content-Length").next().and_then(|(_, length)| str::from_utf8(length).ok()?.parse().ok());
    let mut headers = HeaderMap::with_capacity(count);
    for (name, value) in fields() {
        // What is the connector's and ours alone.
        if !is_end_to_end(name, options.iter().map(|value| &***value)) {
            continue;
        }
        let wrong = || AnswerError::Field(plain_text(name, LOGGED_BYTES_MAX));
        let name = HeaderName::from_bytes(name).map_err(|_| wrong())?;
        headers.append(name, HeaderValue::from_maybe_shared(value.clone()).map_err(|_| wrong())?);
    }
    Ok(Head { status, headers, length })
}

fn headers_of(answer: &ConnectResponse) -> impl Iterator<Item = (&[u8], &Bytes)> {
    answer.metadata.iter().filter_map(|entry| Some((entry.header_name()?.as_bytes(), &entry.value)))
}

/// The body of an answer, and what is left of the request's.
struct Download {
    inlet: Inlet,
    /// The bytes that must come, where that is known.
    left: Option<u64>,
    /// The request's body is sent on while the answer's is read.
    upload: Option<Upload>,
    lease: Lease,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer's body has another length than its head says")]
struct WrongLength;

/// What follows the head.
fn download(inlet: Inlet, following: Following, upload: Option<Upload>, lease: Lease) -> Body {
    let (length, left) = match following {
        Following::Nothing => return Body::empty(),
        Following::Withheld(bytes) => (Length::Known(bytes), Some(0)),
        Following::Body(None) => (Length::Unknown, None),
        Following::Body(Some(bytes)) => (Length::Known(bytes), Some(bytes)),
    };
    let download = Download { inlet, left, upload, lease };
    let chunks = futures_util::stream::unfold(Some(download), |download| async {
        let mut download = download?;
        match download.next().await {
            Some(Ok(frame)) => Some((Ok(frame), Some(download))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    });
    Body::frames(length, chunks)
}

impl Download {
    async fn next(&mut self) -> Option<Result<Frame, BodyError>> {
        match self.frame().await {
            Ok(Some(Frame::Data(chunk))) => Some(self.check(chunk.len() as u64).map(|()| Frame::Data(chunk))),
            // They are the end.
            Ok(Some(Frame::Trailers(_))) if self.left.is_some_and(|left| left > 0) => {
                Some(Err(BodyError::new(WrongLength)))
            }
            Ok(Some(trailers)) => Some(Ok(trailers)),
            Ok(None) if self.left.is_none_or(|left| left == 0) => None,
            Ok(None) => Some(Err(BodyError::new(WrongLength))),
            Err(error) => Some(Err(BodyError::new(error))),
        }
    }

    async fn frame(&mut self) -> Result<Option<Frame>, InletError> {
        loop {
            let read = self.inlet.frame();
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
                frame = read => return frame,
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
