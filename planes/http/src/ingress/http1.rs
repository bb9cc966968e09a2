//! HTTP/1.1 from visitors, through hyper, behind the screen.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use bartizan_exchange::{Io, Length, LocalBoxFuture, Response, Upgrade};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::answer::{Answer, body_of};
use super::connection::Connection;
use super::head::{Refusal, has_token};
use super::relay;
use super::wire::{Protocol, Wire};
use crate::arrived::Arrived;
use crate::limits::{FIELDS_MAX, HTTP1_BUFFER_BYTES, LINGER_BYTES_MAX, LINGER_READ_BYTES, LINGER_TIME};
use crate::page::Problem;
use crate::pipeline;
use crate::worker::Worker;

/// Serves a connection to its end, also after it was switched to WebSocket.
pub(crate) async fn serve<IO>(io: IO, connection: Rc<Connection>, worker: Rc<Worker>)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let counters = Arc::clone(&worker.counters);
    let wire = TokioIo::new(Wire::new(io, Protocol::Http1, Rc::clone(&connection), counters));
    let service = service_fn(|request| respond(request, Rc::clone(&connection), Rc::clone(&worker)));
    let mut serving = http1::Builder::new()
        .title_case_headers(true)
        .max_headers(FIELDS_MAX)
        .max_buf_size(HTTP1_BUFFER_BYTES)
        // The wire has its own timeouts, which also see bodies.
        .header_read_timeout(None)
        .serve_connection(wire, service);
    let result = tokio::select! {
        result = &mut serving => result,
        () = worker.drain.wait() => {
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            (&mut serving).await
        }
    };
    if let Err(error) = result {
        tracing::trace!(peer = %connection.peer, %error, "connection failed");
    }
    let parts = serving.into_parts();
    let wire = parts.io.into_inner();
    match connection.take_upgrade() {
        Some(other) => relay::relay(wire, parts.read_buf, other).await,
        None => say_goodbye(wire.into_io()).await,
    }
}

fn respond(
    request: hyper::Request<Incoming>,
    connection: Rc<Connection>,
    worker: Rc<Worker>,
) -> LocalBoxFuture<'static, Result<hyper::Response<Answer>, Infallible>> {
    Box::pin(async move {
        let guard = connection.begin();
        let number = connection.ask();
        let method = request.method().clone();
        worker.counters.requests.http1.add(1);
        let mut response = match connection.refusal_of(number) {
            Some(refusal) => refuse(refusal, request.headers(), &worker),
            None => match arrive(request, &connection) {
                Ok(arrived) => pipeline::serve(arrived, &guard, &worker).await,
                Err(refusal) => refuse(refusal, &HeaderMap::new(), &worker),
            },
        };
        if let Some(other) = response.upgraded.take() {
            switch(&mut response, other, &connection);
        }
        connection.answer();
        Ok(Answer::respond(response, &method, guard))
    })
}

fn refuse(refusal: Refusal, asked: &HeaderMap, worker: &Worker) -> Response {
    let mut response = pipeline::refuse(Problem::Refused(refusal), asked, worker);
    response.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The request in our types. The screen has checked it, so an error here is a fault of the screen.
fn arrive(request: hyper::Request<Incoming>, connection: &Connection) -> Result<Arrived, Refusal> {
    let (mut head, body) = request.into_parts();
    let host = head.headers.remove(HOST).ok_or(Refusal::NoHost)?;
    let host = host.to_str().map_err(|_| Refusal::BadHost)?.to_owned();
    let path = head.uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let upgrade = upgrade_of(&head.method, head.version, &head.headers);
    let body = body_of(body, length_of(&head.headers)?);
    Ok(Arrived {
        scheme: connection.scheme,
        source: connection.source,
        version: head.version,
        method: head.method,
        host,
        path,
        headers: head.headers,
        body,
        upgrade,
    })
}

fn length_of(headers: &HeaderMap) -> Result<Length, Refusal> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Ok(Length::Unknown);
    }
    let Some(length) = headers.get(CONTENT_LENGTH) else { return Ok(Length::Absent) };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    length.map(Length::Known).ok_or(Refusal::BadLength)
}

/// The same question as the screen's.
fn upgrade_of(method: &http::Method, version: http::Version, headers: &HeaderMap) -> Upgrade {
    let names = |field, token| headers.get_all(field).iter().any(|value| has_token(value.as_bytes(), token));
    let asked = *method == http::Method::GET
        && version == http::Version::HTTP_11
        && names(UPGRADE, "websocket")
        && names(CONNECTION, "upgrade");
    if asked { Upgrade::WebSocket } else { Upgrade::None }
}

/// Makes the 101 and keeps the other end for when it is written.
fn switch(response: &mut Response, other: Box<dyn Io>, connection: &Connection) {
    response.status = StatusCode::SWITCHING_PROTOCOLS;
    response.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    connection.upgrade_to(other);
}

/// Closes our side, then listens for a while: a socket closed with unread bytes resets the connection, and the reset
/// may overtake our answer.
async fn say_goodbye<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO) {
    let farewell = async {
        io.shutdown().await?;
        let mut left = LINGER_BYTES_MAX;
        // On the heap: the future would keep it for as long as the connection lives.
        let mut waste = vec![0; LINGER_READ_BYTES];
        while left > 0 {
            match io.read(&mut waste).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    };
    // Whatever is read here is thrown away.
    let _ = tokio::time::timeout(LINGER_TIME, farewell).await;
}
