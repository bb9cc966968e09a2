//! The only way a request becomes an answer: find its rule, ask what answers, write head and body.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bartizan_names::{Host, OriginFault};
use bartizan_rpc::{ConnectKind, ConnectRequest, Entry, Metadata};
use bartizan_wire::http1::{self, Asked, Class, Content, HeadWriter, Illegal, has_token, is_end_to_end};
use bytes::Bytes;
use http::{Method, StatusCode};

use crate::Event;
use crate::egress::{Origin, OriginError};
use crate::hello;
use crate::ingress::{Shared, StreamError};
use crate::link::{Answer, Asking, Upload};
use crate::rules::Service;
use crate::stream::{Arriving, Head, Outlet};
use crate::upgrade;

/// Room for a usual head.
const HEAD_BYTES: usize = 1024;

/// Answers one request. The stream is finished by the caller, or reset after an error.
pub(crate) async fn serve(
    request: ConnectRequest,
    send: &mut Outlet,
    receive: Arriving,
    shared: &Shared,
) -> Result<(), StreamError> {
    let wanted = match Wanted::read(&request) {
        Ok(wanted) => wanted,
        Err(why) => return fail(send, why.to_owned(), OriginFault::Untold).await,
    };
    let rules = shared.rules.snapshot();
    let service = rules.value.find(&wanted.host, wanted.path());
    let host_header = match service {
        Service::Origin(origin) => origin.host_header(),
        Service::Status(_) | Service::Hello | Service::Unserved(_) => None,
    };
    // Whoever answers, only a request that can be written is one.
    let Ok(head) = wanted.head(host_header) else {
        return fail(send, "a field of the request is not valid".to_owned(), OriginFault::Untold).await;
    };
    match service {
        Service::Unserved(why) => {
            shared.mention(Event::RequestFailed { origin: wanted.host.as_str().to_owned(), why: why.to_string() });
            fail(send, why.to_string(), OriginFault::Untold).await
        }
        Service::Status(status) => answer(send, &wanted.method, *status, &[], "").await,
        Service::Hello => {
            let page = hello::page(&request, wanted.host.as_str(), &wanted.target);
            answer(send, &wanted.method, StatusCode::OK, &page.headers, &page.body).await
        }
        Service::Origin(origin) => forward(origin, &wanted, head, send, receive, shared).await,
    }
}

/// A request, understood.
struct Wanted<'r> {
    request: &'r ConnectRequest,
    method: Method,
    /// By which the rule is found, and which the origin gets.
    host: Host,
    /// Path and query, or `*`.
    target: String,
    body: http1::Body,
}

impl Wanted<'_> {
    fn read(request: &ConnectRequest) -> Result<Wanted<'_>, &'static str> {
        let method: Method =
            request.text(Metadata::METHOD).and_then(|method| method.parse().ok()).ok_or("no valid method")?;
        let host = request.text(Metadata::HOST).ok_or("no host")?;
        let host = Host::parse(host).ok_or("the host is not valid")?;
        let target = target_of(&request.dest).ok_or("the destination is not a URL")?;
        let body = body_of(request)?;
        Ok(Wanted { request, method, host, target, body })
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The head as an origin gets it.
    fn head(&self, host_header: Option<&[u8]>) -> Result<Vec<u8>, Illegal> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let mut writer = HeadWriter::request(&mut head, self.method.as_str(), [&self.target, ""]);
        writer = writer.field(b"Host", host_header.unwrap_or(self.host.as_str().as_bytes()));
        // Two lines of it are not read as one (RFC 9113 §8.2.3).
        writer = writer.joined(b"Cookie", "; ", fields(self.request).filter(is_cookie).map(|(_, value)| value));
        for (name, value) in fields(self.request).filter(|field| !is_cookie(field) && self.goes_on(field.0)) {
            writer = writer.titled(name, value);
        }
        if self.request.kind == ConnectKind::WebSocket {
            writer = writer.field(b"Connection", b"Upgrade").field(b"Upgrade", b"websocket");
        }
        writer.body(self.body).end()?;
        Ok(head)
    }

    fn goes_on(&self, name: &str) -> bool {
        is_end_to_end(name.as_bytes(), named(self.request, "Connection").map(|(_, value)| value))
    }
}

fn fields(request: &ConnectRequest) -> impl Iterator<Item = (&str, &[u8])> {
    request.metadata.iter().filter_map(|entry| Some((entry.header_name()?, &*entry.value)))
}

fn named<'r>(request: &'r ConnectRequest, name: &str) -> impl Iterator<Item = (&'r str, &'r [u8])> {
    fields(request).filter(move |(own, _)| own.eq_ignore_ascii_case(name))
}

fn is_cookie((name, _): &(&str, &[u8])) -> bool {
    name.eq_ignore_ascii_case("Cookie")
}

/// A body comes if its length or its chunks are announced. One that is chunked has no length (RFC 9112 §6.3).
fn body_of(request: &ConnectRequest) -> Result<http1::Body, &'static str> {
    if request.kind == ConnectKind::WebSocket {
        return Ok(http1::Body::None);
    }
    if named(request, "Transfer-Encoding").any(|(_, codings)| has_token(codings, "chunked")) {
        return Ok(http1::Body::Chunked);
    }
    let mut lengths = named(request, "Content-Length");
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(http1::Body::None),
        (Some((_, length)), None) if length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            length.map(http1::Body::Length).ok_or("the length of the body is not valid")
        }
        (Some(_), _) => Err("the length of the body is not valid"),
    }
}

/// Path and query of an absolute URL. An edge of ours puts the `*` of `OPTIONS *` where the path would be
/// (RFC 9112 §3.2.4).
fn target_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let target = match rest.find(['/', '?', '*']).map(|at| &rest[at..]) {
        Some(query) if query.starts_with('?') => format!("/{query}"),
        Some(rest) if rest.starts_with('*') && rest != "*" => return None,
        Some(target) => target.to_owned(),
        None => "/".to_owned(),
    };
    target.bytes().all(|byte| byte > b' ' && byte != 0x7F).then_some(target)
}

/// Asks an origin.
async fn forward(
    origin: &Origin,
    wanted: &Wanted<'_>,
    head: Vec<u8>,
    send: &mut Outlet,
    receive: Arriving,
    shared: &Shared,
) -> Result<(), StreamError> {
    let (body, receive) = match wanted.body {
        _ if wanted.request.kind == ConnectKind::WebSocket => (Upload::Nothing, Some(receive)),
        http1::Body::Length(length) => (Upload::Length(length, receive.intake(wanted.request, Some(length))), None),
        http1::Body::Chunked => (Upload::Chunked(receive.intake(wanted.request, None)), None),
        http1::Body::None | http1::Body::UntilClose | http1::Body::Switched => (Upload::Nothing, None),
    };
    let request = Asking { head: head.into(), asked: Asked::by(wanted.method.as_str()), body };
    let asking = origin.send(request, wanted.method.is_idempotent(), wanted.host.bare_name(), &shared.origins);
    let answered = tokio::select! {
        answered = asking => answered,
        // The client is gone; the origin need not go on.
        _ = send.stopped() => return Err(StreamError::GivenUp),
    };
    let mut answer = match answered {
        Ok(answer) => answer,
        Err(error) => return say_why(origin, &error, send, shared).await,
    };
    match receive {
        Some(receive) if answer.head.to_websocket => {
            let head = head_of(send, &answer);
            send.begin(head, Bytes::new()).await?;
            let receive = receive.intake(wanted.request, None);
            upgrade::relay(answer, send, receive, shared.limits.deliver_time).await
        }
        _ if answer.head.status == StatusCode::SWITCHING_PROTOCOLS.as_u16() => {
            say_why(origin, &OriginError::Switched, send, shared).await
        }
        _ => {
            // While nothing is said, what breaks at once is no answer.
            let first = match poll_fn(|cx| Poll::Ready(pin!(answer.next()).poll(cx))).await {
                Poll::Ready(Err(error)) => return say_why(origin, &error.into(), send, shared).await,
                Poll::Ready(Ok(first)) => Poll::Ready(first),
                Poll::Pending => Poll::Pending,
            };
            let relayed = relay(&mut answer, first, send).await.inspect_err(|error| mention(error, origin, shared));
            match relayed {
                Ok(()) => origin.keep(answer),
                // What came before the break is the visitor's, and a reset may overtake it. The edge knows how much is missing.
                Err(StreamError::Origin(_)) if matches!(answer.head.body, http1::Body::Length(_)) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        }
    }
}

async fn say_why(origin: &Origin, error: &OriginError, send: &mut Outlet, shared: &Shared) -> Result<(), StreamError> {
    let why = error.to_string();
    shared.mention(Event::RequestFailed { origin: origin.name().to_owned(), why: why.clone() });
    fail(send, format!("{}: {why}", origin.name()), error.fault()).await
}

/// A broken answer is a fault of the origin; an answer that the edge stops reading is none.
fn mention(error: &StreamError, origin: &Origin, shared: &Shared) {
    if let StreamError::Origin(_) = error {
        shared.mention(Event::RequestFailed { origin: origin.name().to_owned(), why: error.to_string() });
    }
}

/// Writes an origin's answer. `first` is the first piece of its body, or its end, if that is here.
async fn relay(answer: &mut Answer, first: Poll<Option<Bytes>>, send: &mut Outlet) -> Result<(), StreamError> {
    let (data, is_over) = match first {
        Poll::Ready(Some(data)) => (data, false),
        Poll::Ready(None) => (Bytes::new(), true),
        Poll::Pending => (Bytes::new(), false),
    };
    let head = head_of(send, answer);
    send.begin(head, data).await?;
    if is_over {
        return Ok(());
    }
    let stopped = send.stopped();
    tokio::pin!(stopped);
    loop {
        let piece = tokio::select! {
            biased;
            piece = answer.next() => piece,
            // The client may go away while the origin is silent.
            _ = &mut stopped => return Err(StreamError::GivenUp),
        };
        match piece? {
            Some(data) => send.write_chunk(data).await?,
            // Trailers are not carried over this transport.
            None => return Ok(()),
        }
    }
}

/// The head of an origin's answer. Its length stays: it tells the edge how much must come.
fn head_of(send: &Outlet, answer: &Answer) -> Head {
    let head = &answer.head;
    let fields = head.of(&answer.head_bytes).fields();
    let (status, length) = (head.status.to_string(), head.stated_length.map(|length| length.to_string()));
    let status = Entry::new(Metadata::STATUS, status.as_bytes());
    let length = length.as_ref().map(|length| Entry::header(b"Content-Length", length.as_bytes()));
    let end_to_end = || fields.iter().filter(|field| field.class == Class::EndToEnd);
    let end_to_end = || end_to_end().map(|field| Entry::header(field.name, field.value));
    send.head("", || [status].into_iter().chain(length).chain(end_to_end()))
}

/// An answer of our own. For `HEAD` it says the length of what `GET` would bring (RFC 9110 §8.6).
async fn answer(
    send: &mut Outlet,
    method: &Method,
    status: StatusCode,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(), StreamError> {
    let content = Content::of(Asked::by(method.as_str()), status.as_u16());
    // Of what a 304 stands for nothing is known.
    let states = content == Content::Framed || (content == Content::Withheld && !body.is_empty());
    let (code, length) = (Entry::new(Metadata::STATUS, status.as_str().as_bytes()), body.len().to_string());
    let length = states.then(|| Entry::header(b"Content-Length", length.as_bytes()));
    let headers = || headers.iter().map(|(name, value)| Entry::header(name.as_bytes(), value.as_bytes()));
    let body = if content == Content::Framed { Bytes::copy_from_slice(body.as_bytes()) } else { Bytes::new() };
    let head = send.head("", || [code].into_iter().chain(headers()).chain(length));
    Ok(send.begin(head, body).await?)
}

/// There is no answer, for this reason: in words for people, and in one for the edge.
pub(crate) async fn fail(send: &mut Outlet, error: String, fault: OriginFault) -> Result<(), StreamError> {
    let fault = Entry::new(Metadata::FAULT, fault.as_str().as_bytes());
    let head = send.head(&error, || std::iter::once(fault));
    Ok(send.begin(head, Bytes::new()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)]) -> ConnectRequest {
        let mut metadata = vec![Metadata::new("HttpMethod", "POST"), Metadata::new("HttpHost", "a.example")];
        metadata.extend(fields.iter().map(|(name, value)| Metadata::header(name, value.as_bytes())));
        ConnectRequest { dest: "http://a.example/x".to_owned(), kind: ConnectKind::Http, metadata }
    }

    #[test]
    fn targets_of_urls() {
        for (url, expect) in [
            ("http://a.example/b/c?d=e", Some("/b/c?d=e")),
            ("http://a.example/b*", Some("/b*")),
            ("http://a.example:80", Some("/")),
            ("http://a.example?q", Some("/?q")),
            ("http://[::1]/%20", Some("/%20")),
            ("http://a.example*", Some("*")),
            ("http://a.example*/", None),
            ("/b", None),
            ("http://a/ b", None),
        ] {
            assert_eq!(target_of(url).as_deref(), expect, "{url}");
        }
    }

    #[test]
    fn a_body_comes_only_if_it_is_announced() {
        for (fields, expect) in [
            (&[][..], Ok(http1::Body::None)),
            (&[("Content-Length", "0")], Ok(http1::Body::Length(0))),
            (&[("content-length", "7")], Ok(http1::Body::Length(7))),
            (&[("Transfer-Encoding", "gzip, Chunked")], Ok(http1::Body::Chunked)),
            (&[("Content-Length", "7"), ("Transfer-Encoding", "chunked")], Ok(http1::Body::Chunked)),
            (&[("Content-Length", "+7")], Err("the length of the body is not valid")),
            (&[("Content-Length", "")], Err("the length of the body is not valid")),
            (&[("Content-Length", "7"), ("content-length", "7")], Err("the length of the body is not valid")),
        ] {
            assert_eq!(body_of(&request(fields)), expect, "{fields:?}");
        }
    }

    #[test]
    fn heads_as_origins_get_them() {
        for (fields, host, expect) in [
            (&[][..], None, "POST /x HTTP/1.1\r\nHost: a.example\r\n\r\n"),
            (&[], Some("b"), "POST /x HTTP/1.1\r\nHost: b\r\n\r\n"),
            (
                &[("cookie", "a=1"), ("x-y", "1"), ("cookie", "b=2"), ("content-length", "3")],
                None,
                "POST /x HTTP/1.1\r\nHost: a.example\r\nCookie: a=1; b=2\r\nX-Y: 1\r\nContent-Length: 3\r\n\r\n",
            ),
            (
                &[("Connection", "x-hop, te"), ("X-Hop", "1"), ("TE", "gzip"), ("Keep-Alive", "1"), ("Accept", "*/*")],
                None,
                "POST /x HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n",
            ),
        ] {
            let request = request(fields);
            let head = Wanted::read(&request).unwrap().head(host.map(str::as_bytes)).unwrap();
            assert_eq!(String::from_utf8(head).unwrap(), expect, "{fields:?}");
        }
        for field in [("a b", "1"), ("a", "1\r\nb: 2")] {
            assert!(Wanted::read(&request(&[field])).unwrap().head(None).is_err(), "{field:?}");
        }
    }
}
