//! The only way a request becomes an answer: find its rule, ask what answers, write head and body.

use bartizan_names::Host;
use bartizan_rpc::{ConnectKind, ConnectRequest, ConnectResponse, Metadata};
use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use quinn::{RecvStream, SendStream};

use crate::Event;
use crate::egress::{Answer, Origin, RequestBody, no_body};
use crate::hello;
use crate::ingress::{Shared, StreamError};
use crate::rules::Service;

/// Bytes that are read from a stream at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Fields of one hop, not of the exchange (RFC 9110 §7.6.1). Which one frames the body, the client decides itself.
const HOP_FIELDS: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Answers one request. The stream is finished by the caller, or reset after an error.
pub(crate) async fn serve(
    request: ConnectRequest,
    send: &mut SendStream,
    receive: RecvStream,
    shared: &Shared,
) -> Result<(), StreamError> {
    let wanted = match Wanted::read(&request) {
        Ok(wanted) => wanted,
        Err(why) => return fail(send, why.to_owned()).await,
    };
    let rules = shared.rules.snapshot();
    match rules.value.find(&wanted.host, wanted.path.path()) {
        Service::Status(status) => answer(send, *status, &[], "").await,
        Service::Hello => {
            let page = hello::page(&request, wanted.host.received(), wanted.path.as_str());
            let body = if wanted.method == Method::HEAD { "" } else { &page.body };
            answer(send, StatusCode::OK, &page.headers, body).await
        }
        Service::Origin(origin) => forward(origin, wanted, send, receive, shared).await,
    }
}

/// A request, understood.
struct Wanted {
    kind: ConnectKind,
    method: Method,
    /// By which the rule is found.
    host: Host,
    /// What the origin is told.
    host_field: HeaderValue,
    path: PathAndQuery,
    headers: HeaderMap,
    /// How the body is framed; none if there is no body.
    body: Option<Framing>,
}

enum Framing {
    Length(HeaderValue),
    Chunked,
}

impl Wanted {
    fn read(request: &ConnectRequest) -> Result<Wanted, &'static str> {
        let method = request.text(Metadata::METHOD).and_then(|method| method.parse().ok()).ok_or("no valid method")?;
        let host = request.text(Metadata::HOST).ok_or("no host")?;
        let host = Host::parse(host).ok_or("the host is not valid")?;
        let received = request.text(Metadata::HOST_RECEIVED).unwrap_or(host.received());
        let host_field = HeaderValue::from_str(received).map_err(|_| "the host is not valid")?;
        let path = path_of(&request.dest).ok_or("the destination is not a URL")?;
        let mut headers = HeaderMap::with_capacity(request.metadata.len());
        for entry in &request.metadata {
            let Some(name) = entry.header_name() else { continue };
            let name: HeaderName = name.parse().map_err(|_| "a header field's name is not valid")?;
            let value = HeaderValue::from_maybe_shared(entry.value.clone());
            headers.append(name, value.map_err(|_| "a header field's value is not valid")?);
        }
        let body = framing(&mut headers);
        remove_hop_fields(&mut headers);
        Ok(Wanted { kind: request.kind, method, host, host_field, path, headers, body })
    }
}

/// Those that are known, and those that `Connection` names.
fn remove_hop_fields(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|options| options.to_str().ok())
        .flat_map(|options| options.split(','))
        .filter_map(|option| option.trim().parse().ok())
        .collect();
    for name in HOP_FIELDS.iter().chain(&named) {
        headers.remove(name);
    }
}

/// A body comes if its length or its chunks are announced; the fields go.
fn framing(headers: &mut HeaderMap) -> Option<Framing> {
    let chunked = headers
        .get(header::TRANSFER_ENCODING)
        .is_some_and(|codings| codings.as_bytes().to_ascii_lowercase().windows(7).any(|part| part == b"chunked"));
    let length = headers.remove(header::CONTENT_LENGTH);
    match length {
        _ if chunked => Some(Framing::Chunked),
        length => length.map(Framing::Length),
    }
}

/// Path and query of an absolute URL.
fn path_of(url: &str) -> Option<PathAndQuery> {
    let (_, rest) = url.split_once("://")?;
    match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('/') => rest[at..].parse().ok(),
        Some(at) => format!("/{}", &rest[at..]).parse().ok(),
        None => Some(PathAndQuery::from_static("/")),
    }
}

/// Asks an origin.
async fn forward(
    origin: &Origin,
    wanted: Wanted,
    send: &mut SendStream,
    receive: RecvStream,
    shared: &Shared,
) -> Result<(), StreamError> {
    let head = head(origin, &wanted);
    let (body, receive) = match (wanted.kind, wanted.body) {
        (ConnectKind::WebSocket, _) => (no_body(), Some(receive)),
        (_, Some(_)) => (stream_body(receive), None),
        (_, None) => (no_body(), None),
    };
    let asking = origin.send(head, body, wanted.host.bare_name(), &shared.origins);
    let answered = tokio::select! {
        answered = asking => answered,
        // The client is gone; the origin need not go on.
        _ = send.stopped() => return Err(StreamError::GivenUp),
    };
    match answered {
        Err(error) => {
            let why = error.to_string();
            shared.mention(Event::RequestFailed { origin: origin.name().to_owned(), why: why.clone() });
            fail(send, format!("{}: {why}", origin.name())).await
        }
        Ok(Answer { response, connection }) => match receive {
            Some(receive) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                upgrade(response, send, receive).await
            }
            _ => {
                relay(response, send).await.inspect_err(|error| mention(error, origin, shared))?;
                // The edge must not wait until the connection is put away. The caller finds the stream finished.
                let _ = send.finish();
                origin.keep(connection).await;
                Ok(())
            }
        },
    }
}

/// A broken answer is a fault of the origin; an answer that the edge stops reading is none.
fn mention(error: &StreamError, origin: &Origin, shared: &Shared) {
    if let StreamError::Origin(_) = error {
        shared.mention(Event::RequestFailed { origin: origin.name().to_owned(), why: error.to_string() });
    }
}

/// The request's head as the origin gets it.
fn head(origin: &Origin, wanted: &Wanted) -> Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = wanted.method.clone();
    head.uri = wanted.path.clone().into();
    head.headers = wanted.headers.clone();
    head.headers.insert(header::HOST, origin.host_header().unwrap_or(&wanted.host_field).clone());
    if let Some(Framing::Length(length)) = &wanted.body {
        head.headers.insert(header::CONTENT_LENGTH, length.clone());
    }
    if wanted.kind == ConnectKind::WebSocket {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    head
}

/// The rest of a stream as a body.
fn stream_body(receive: RecvStream) -> RequestBody {
    let frames = futures_util::stream::unfold(receive, |mut receive| async {
        let chunk = receive.read_chunk(CHUNK_BYTES, true).await.transpose()?;
        let frame = chunk.map(|chunk| Frame::data(chunk.bytes)).map_err(std::io::Error::from);
        Some((frame, receive))
    });
    StreamBody::new(frames.fuse()).boxed_unsync()
}

/// Writes an origin's answer.
async fn relay(response: http::Response<Incoming>, send: &mut SendStream) -> Result<(), StreamError> {
    let (head, mut body) = response.into_parts();
    send.write_chunk(encode(head.status, head.headers)).await?;
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            // The client may go away while the origin is silent.
            _ = send.stopped() => return Err(StreamError::GivenUp),
        };
        match frame.transpose()? {
            // Trailers are not carried over this transport.
            Some(frame) => {
                if let Ok(data) = frame.into_data() {
                    send.write_chunk(data).await?;
                }
            }
            None => return Ok(()),
        }
    }
}

/// Carries a WebSocket until both sides have ended.
async fn upgrade(
    mut response: http::Response<Incoming>,
    send: &mut SendStream,
    receive: RecvStream,
) -> Result<(), StreamError> {
    let upgraded = hyper::upgrade::on(&mut response);
    let (head, _) = response.into_parts();
    send.write_chunk(encode(head.status, head.headers)).await?;
    let mut origin = TokioIo::new(upgraded.await?);
    let mut edge = tokio::io::join(receive, send);
    tokio::io::copy_bidirectional(&mut edge, &mut origin).await.map_err(StreamError::Upgraded)?;
    Ok(())
}

/// The head of an origin's answer. Its length stays: it tells the edge how much must come.
fn encode(status: StatusCode, mut headers: HeaderMap) -> Bytes {
    remove_hop_fields(&mut headers);
    let mut metadata = Vec::with_capacity(headers.len() + 1);
    metadata.push(Metadata::new(Metadata::STATUS, status.as_str().as_bytes().to_vec()));
    metadata.extend(headers.iter().map(|(name, value)| Metadata::header(name.as_str(), value.as_bytes())));
    ConnectResponse { error: String::new(), metadata }.encode().into()
}

/// An answer of our own.
async fn answer(
    send: &mut SendStream,
    status: StatusCode,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(), StreamError> {
    let mut metadata = vec![Metadata::new(Metadata::STATUS, status.as_str().as_bytes().to_vec())];
    metadata.extend(headers.iter().map(|(name, value)| Metadata::header(name, value.as_bytes())));
    send.write_chunk(ConnectResponse { error: String::new(), metadata }.encode().into()).await?;
    send.write_all(body.as_bytes()).await?;
    Ok(())
}

/// There is no answer, for this reason.
async fn fail(send: &mut SendStream, error: String) -> Result<(), StreamError> {
    send.write_chunk(ConnectResponse { error, metadata: Vec::new() }.encode().into()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_of_a_url() {
        for (url, expect) in [
            ("http://a.example/b/c?d=e", Some("/b/c?d=e")),
            ("http://a.example:80", Some("/")),
            ("http://a.example?q", Some("/?q")),
            ("http://[::1]/%20", Some("/%20")),
            ("/b", None),
            ("http://a/ b", None),
        ] {
            assert_eq!(path_of(url).as_ref().map(PathAndQuery::as_str), expect, "{url}");
        }
    }

    #[test]
    fn a_body_comes_only_if_it_is_announced() {
        let read = |fields: &[(&str, &str)]| {
            let mut metadata = vec![Metadata::new("HttpMethod", "POST"), Metadata::new("HttpHost", "a")];
            metadata.extend(fields.iter().map(|(name, value)| Metadata::header(name, value.as_bytes())));
            let request = ConnectRequest { dest: "http://a/".to_owned(), kind: ConnectKind::Http, metadata };
            let wanted = Wanted::read(&request).unwrap();
            assert!(
                !wanted.headers.contains_key("transfer-encoding") && !wanted.headers.contains_key("content-length")
            );
            match wanted.body {
                None => "none".to_owned(),
                Some(Framing::Chunked) => "chunked".to_owned(),
                Some(Framing::Length(length)) => length.to_str().unwrap().to_owned(),
            }
        };
        for (fields, expect) in [
            (&[][..], "none"),
            (&[("Content-Length", "0")], "0"),
            (&[("content-length", "7")], "7"),
            (&[("Transfer-Encoding", "gzip, Chunked")], "chunked"),
            (&[("Content-Length", "7"), ("Transfer-Encoding", "chunked")], "chunked"),
        ] {
            assert_eq!(read(fields), expect, "{fields:?}");
        }
    }
}
