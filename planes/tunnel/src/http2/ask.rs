//! What is asked of a connector over HTTP/2: requests, connections, and that it takes its configuration.

use std::sync::Arc;

use bartizan_exchange::{Body, DialError, Flow, Frame, Length, Response, Upgrade, UpstreamError};
use bartizan_names::{Host, OriginFault};
use bartizan_quotas::SourceKey;
use bartizan_routes::TunnelConfiguration;
use bartizan_rpc::over_http2::{
    APPLIED_BYTES_MAX, Answerer, AppliedError, CONFIGURATION, CONTROL_STREAM, ERROR_FIELD, FieldsError, OWN_PREFIX,
    TCP_FIELD, UPGRADE_FIELD, WEBSOCKET, decode_fields, encode_configuration, read_applied,
};
use bartizan_rpc::{Applied, Metadata, OUR_FEATURE, plain_text};
use bartizan_wire::http1::{Asked, Decimal};
use bartizan_wire::http2::EndStream;
use bartizan_wire::http2::hpack::{Encoder, Indexing};
use http::StatusCode;

use super::handle::{Handle, Reader, Writer};
use super::session::{Gone, Session, Slot};
use super::stream::{Closed, Head};
use crate::egress::{self, AnswerError, Asking};
use crate::limits::LOGGED_BYTES_MAX;
use crate::link::Lease;
use crate::stream::{Duplex, Inlet};
use crate::untaken::Outlet;

/// The authority and the path of what is for the connector itself. It looks at neither.
const ITS_OWN: (&str, &str) = ("connector", "/");
/// What stands for the client of a TCP connection. Its address is nobody's business there.
const SOMEBODY: &str = "1";

/// A request and its answer, both as streams.
pub(crate) async fn exchange(
    (slot, lease): (Slot, Lease),
    asking: &Asking<'_>,
    body: Body,
) -> Result<Response, UpstreamError> {
    let is_nothing = body.is_here() && body.length().is_nothing();
    let handle = open(slot, lease.source(), asking, EndStream::when(is_nothing))?;
    let link = Arc::clone(lease.link());
    let upload = (!is_nothing).then(|| egress::pour(Outlet::of_http2(&handle), body, Arc::clone(&link)));
    let (head, uploading) = egress::head_and_rest(handle.head(), upload, &link).await?;
    let head = egress::noted(decode(head, Upgrade::None), &link)?;
    Ok(egress::response(Inlet::Http2(Reader::new(&handle)), asking.method, head, uploading, lease))
}

/// A request whose stream becomes a connection of its own, if the origin agrees.
pub(crate) async fn switch((slot, lease): (Slot, Lease), asking: &Asking<'_>) -> Result<Response, UpstreamError> {
    let handle = open(slot, lease.source(), asking, EndStream::Unset)?;
    let link = Arc::clone(lease.link());
    let head = egress::in_time(handle.head(), &link).await?;
    let head = egress::noted(decode(head, Upgrade::WebSocket), &link)?;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let io = Duplex::new(Outlet::of_http2(&handle), Inlet::Http2(Reader::new(&handle)), lease);
        return Ok(egress::switched(head, io));
    }
    handle.finish();
    Ok(egress::response(Inlet::Http2(Reader::new(&handle)), asking.method, head, None, lease))
}

/// A connection to the address that a flow names.
pub(crate) async fn connect((slot, lease): (Slot, Lease), authority: &str, flow: &Flow) -> Result<Duplex, DialError> {
    let is_ours = lease.link().has_feature(OUR_FEATURE);
    let opened = slot.open(lease.source(), Asked::Other, EndStream::Unset, |encoder, out| {
        let mut block = Block { encoder, out };
        block.first("POST", (authority, "/"));
        block.field(TCP_FIELD, SOMEBODY.as_bytes());
        if is_ours {
            block.field(Metadata::CLIENT, flow.client.to_string().as_bytes());
            block.field(Metadata::DIALLED, flow.dialled.to_string().as_bytes());
        }
    });
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| DialError::Broken(error);
    let handle = Arc::new(opened.map_err(|gone| broken(gone.into()))?);
    let head = handle.head().await.map_err(|closed| broken(closed.into()))?;
    match why_not(&head) {
        None if head.status == 200 => {
            Ok(Duplex::new(Outlet::of_http2(&handle), Inlet::Http2(Reader::new(&handle)), lease))
        }
        None => Err(broken(format!("the connector answered {} to a connection", head.status).into())),
        Some((fault, why)) => Err(DialError::Origin(fault, why)),
    }
}

/// A connection to the service that answers for a host.
pub(crate) async fn open_service((slot, lease): (Slot, Lease), host: &Host) -> Result<Duplex, UpstreamError> {
    if !lease.link().has_feature(OUR_FEATURE) {
        let why = "its connector is a stock one, which cannot carry a connection to a service";
        return Err(UpstreamError::Origin(OriginFault::Untold, why.to_owned()));
    }
    let opened = slot.open(lease.source(), Asked::Other, EndStream::Unset, |encoder, out| {
        let mut block = Block { encoder, out };
        block.first("POST", (host.as_str(), "/"));
        block.field(TCP_FIELD, SOMEBODY.as_bytes());
        block.field(Metadata::HOST, host.as_str().as_bytes());
    });
    let handle = Arc::new(opened.map_err(|gone| UpstreamError::Broken(gone.into()))?);
    let head = egress::in_time(handle.head(), lease.link()).await?;
    decode(head, Upgrade::None)?;
    Ok(Duplex::new(Outlet::of_http2(&handle), Inlet::Http2(Reader::new(&handle)), lease))
}

/// The first that is asked on a connection: who is there. Both directions of the stream.
pub(super) async fn control(session: &Arc<Session>, source: SourceKey) -> Result<(Reader, Writer), ControlError> {
    let handle = ask_itself(session, source, CONTROL_STREAM).await?;
    let head = handle.head().await?;
    match head.status {
        200 => Ok((Reader::new(&handle), Writer(handle))),
        status => Err(ControlError::Status(status)),
    }
}

/// There is no control stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("the connector answered {0}")]
    Status(u16),
}

/// A configuration could not be pushed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("the connector answered {0}")]
    Status(u16),
    #[error("its answer is too long")]
    TooLong,
    #[error(transparent)]
    Answer(#[from] AppliedError),
}

/// Hands a connector its configuration.
pub(crate) async fn push(
    session: &Arc<Session>,
    source: SourceKey,
    configuration: &TunnelConfiguration,
) -> Result<Applied, PushError> {
    let handle = ask_itself(session, source, CONFIGURATION).await?;
    let mut body = encode_configuration(configuration.version, &configuration.json);
    while !body.is_empty() {
        handle.send(&mut body).await?;
    }
    handle.finish();
    let head = handle.head().await?;
    if head.status != 200 {
        return Err(PushError::Status(head.status));
    }
    let (mut reader, mut answer) = (Reader::new(&handle), Vec::new());
    while let Some(frame) = reader.frame().await? {
        if let Frame::Data(data) = frame {
            answer.extend_from_slice(&data);
        }
        if answer.len() > APPLIED_BYTES_MAX {
            return Err(PushError::TooLong);
        }
    }
    Ok(read_applied(&answer)?)
}

/// A stream that is for the connector itself.
async fn ask_itself(session: &Arc<Session>, source: SourceKey, what: &str) -> Result<Arc<Handle>, Gone> {
    let slot = session.reserve().await?;
    let opened = slot.open(source, Asked::Other, EndStream::Unset, |encoder, out| {
        let mut block = Block { encoder, out };
        block.first("POST", ITS_OWN);
        block.field(UPGRADE_FIELD, what.as_bytes());
    });
    opened.map(Arc::new)
}

fn open(slot: Slot, source: SourceKey, asking: &Asking<'_>, end: EndStream) -> Result<Arc<Handle>, UpstreamError> {
    let asked = Asked::by(asking.method.as_str());
    let opened = slot.open(source, asked, end, |encoder, out| {
        let mut block = Block { encoder, out };
        block.first(asking.method.as_str(), (asking.host.as_str(), asking.path.as_str()));
        for (name, value) in asking.headers {
            // Whoever asks is not an edge.
            if !name.as_str().starts_with(OWN_PREFIX) {
                block.field(name.as_str(), value.as_bytes());
            }
        }
        if let Length::Known(length) = asking.length {
            block.field("content-length", Decimal::of(length).as_bytes());
        }
        if asking.upgrade == Upgrade::WebSocket {
            block.field(UPGRADE_FIELD, WEBSOCKET.as_bytes());
        }
    });
    opened.map(Arc::new).map_err(|gone| UpstreamError::Broken(gone.into()))
}

/// The fields of a request as they are written.
struct Block<'b> {
    encoder: &'b mut Encoder,
    out: &'b mut Vec<u8>,
}

impl Block<'_> {
    fn first(&mut self, method: &str, (authority, path): (&str, &str)) {
        let Block { encoder, out } = self;
        encoder.field(b":method", method.as_bytes(), Indexing::Table, out);
        encoder.field(b":scheme", b"http", Indexing::Table, out);
        encoder.field(b":authority", authority.as_bytes(), Indexing::Table, out);
        encoder.field(b":path", path.as_bytes(), Indexing::Literal, out);
    }

    /// Nothing of it has a place in the table: visitors share the connection, and what one of them sends must not be found out
    /// by another from how well a guess is compressed (RFC 7541 §7.1).
    fn field(&mut self, name: &str, value: &[u8]) {
        let lower = name.to_ascii_lowercase();
        self.encoder.field(lower.as_bytes(), value, Indexing::Literal, self.out);
    }
}

/// Why there is no answer of an origin: in a word, and in more for people.
fn why_not(head: &Head) -> Option<(OriginFault, String)> {
    let untold = || match head.answerer {
        Answerer::Limited => "it carries as many connections as it may",
        Answerer::Origin | Answerer::Connector => "its log says why",
    };
    if head.answerer == Answerer::Origin {
        return None;
    }
    let said = decode_fields(&head.fields).unwrap_or_default();
    let named = |name: &str| {
        let (_, value) = said.iter().find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(plain_text(value, LOGGED_BYTES_MAX))
    };
    Some((
        OriginFault::read(named(Metadata::FAULT).as_deref()),
        named(ERROR_FIELD).unwrap_or_else(|| untold().to_owned()),
    ))
}

fn decode(head: Result<Head, Closed>, asked: Upgrade) -> Result<egress::Head, UpstreamError> {
    let head = head.map_err(|closed| match closed {
        Closed::Reset => UpstreamError::Origin(OriginFault::Broken, "it broke off its answer".to_owned()),
        Closed::MadeRoom => UpstreamError::TimedOut,
        Closed::Refused | Closed::Lost | Closed::Shed => UpstreamError::Broken(closed.into()),
    })?;
    if let Some((fault, why)) = why_not(&head) {
        return Err(UpstreamError::Origin(fault, why));
    }
    let fields = decode_fields(&head.fields).map_err(AnswerError::from)?;
    let is_agreed = || fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"sec-websocket-accept"));
    let status = match head.status {
        // HTTP/2 has no 101 (RFC 9113 §8.6).
        200 if asked == Upgrade::WebSocket && is_agreed() => StatusCode::SWITCHING_PROTOCOLS,
        status => StatusCode::from_u16(status).map_err(|_| AnswerError::Status)?,
    };
    Ok(egress::head_of(status, fields.len(), || fields.iter().map(|(name, value)| (&**name, value)))?)
}

impl From<FieldsError> for AnswerError {
    fn from(error: FieldsError) -> AnswerError {
        AnswerError::Fields(error)
    }
}
