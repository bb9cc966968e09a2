//! HTTP/2 from visitors (RFC 9113), through hyper. The framing has one meaning, so only fields are checked.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use bartizan_exchange::{Length, LocalBoxFuture, Upgrade};
use bartizan_names::{Authority, Host};
use bartizan_wire::http1;
use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::answer::{Answer, Arriving, read_unwanted};
use super::connection::Connection;
use super::deadline::Awaited;
use super::gather::{Gather, Lent, in_turns};
use super::goodbye::{Carrier, say_goodbye};
use super::refusal::{Refusal, check_method};
use super::turn::Waiting;
use super::wire::Wire;
use crate::arrived::Arrived;
use crate::fields::Fields;
use crate::forward::join_cookies;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, FIELDS_MAX, HEAD_BYTES_MAX, STREAM_SEND_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use crate::page::Problem;
use crate::pipeline;
use crate::worker::Worker;

/// The preface of a connection (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;

/// Serves a connection to its end.
pub(crate) async fn serve<IO: Carrier>(io: IO, connection: Rc<Connection>, worker: Rc<Worker>) {
    connection.carry_many();
    let limits = &worker.limits;
    let wire = Wire::new(io, Rc::clone(&connection), Rc::clone(&worker)).with_preface(PREFACE_BYTES);
    let io = Rc::new(RefCell::new(Gather::new(wire, Rc::clone(&worker.spare))));
    let streams = Streams { connection: Rc::clone(&connection), worker: Rc::clone(&worker) };
    let service = service_fn(|request| respond(request, Rc::clone(&connection), Rc::clone(&worker)));
    // In a box, so that its memory is freed before the goodbye.
    let mut serving = Box::pin(
        http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.ping_every)
            .keep_alive_timeout(limits.ping_answer_time)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(STREAM_SEND_BYTES_MAX)
            .serve_connection(TokioIo::new(Lent::new(&io)), service),
    );
    let result = tokio::select! {
        result = in_turns(serving.as_mut(), &io) => result,
        () = end_of_interest(&connection, &worker) => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                result = in_turns(serving.as_mut(), &io) => result,
                () = end_of_patience(&connection, &worker) => return worker.counters.visitors.too_slow.add(1),
            }
        }
    };
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::trace!(peer = %connection.peer, %error, "connection failed"),
        Err(error) => tracing::trace!(peer = %connection.peer, %error, "connection broke"),
    }
    drop(serving);
    // What the last streams wrote is still under way. The library has let go of the connection, or a stream of it has not.
    if let Some(io) = Rc::into_inner(io) {
        let io = Box::pin(io.into_inner().finish()).await.into_inner();
        say_goodbye(io, &worker.limits).await;
    }
}

/// Returns when the connection should take no more requests: the plane drains, nothing was asked for long, or so much was
/// asked that its visitor should make a new one.
async fn end_of_interest(connection: &Connection, worker: &Worker) {
    tokio::select! {
        () = quiet(connection, worker.limits.idle_time) => {}
        () = worker.drain.wait() => {}
        () = connection.worn() => worker.counters.visitors.worn.add(1),
    }
}

/// Returns when a visitor that was told to leave does not: what it has left to take it does not take, or it asks for more
/// than it can have asked for before it knew.
async fn end_of_patience(connection: &Connection, worker: &Worker) {
    let asked = connection.begun();
    let asks_on = poll_fn(|_| match connection.begun() - asked > STREAMS_MAX {
        true => Poll::Ready(()),
        // This task runs whenever a request comes.
        false => Poll::Pending,
    });
    tokio::select! {
        () = quiet(connection, worker.limits.stall_time) => {}
        () = asks_on => {}
    }
}

/// Returns when no request was under way for so long.
async fn quiet(connection: &Connection, time: Duration) {
    let mut due = Instant::now() + time;
    loop {
        tokio::time::sleep_until(due).await;
        due = match connection.is_busy() {
            true => Instant::now() + time,
            false if connection.quiet_since() + time <= Instant::now() => return,
            false => connection.quiet_since() + time,
        };
    }
}

fn respond(
    request: hyper::Request<Incoming>,
    connection: Rc<Connection>,
    worker: Rc<Worker>,
) -> LocalBoxFuture<'static, Result<hyper::Response<Answer>, Infallible>> {
    let guard = connection.begin_stream(&worker);
    Box::pin(async move {
        let (head, incoming) = request.into_parts();
        let method = head.method.clone();
        worker.counters.requests.http2.add(1);
        let body = Arriving::new(incoming, &guard, &worker);
        let answered = match arrive(head, body, &guard.connection) {
            Ok(mut arrived) => pipeline::serve(&mut arrived, &guard).await,
            Err(refusal) => pipeline::refuse(Problem::Refused(refusal), &HeaderMap::new(), &guard),
        };
        Ok(Answer::respond(answered, &method, guard, &worker))
    })
}

/// The request in our types, if it has one meaning only (RFC 9113 §8.3.1).
fn arrive(mut head: Parts, body: Arriving, connection: &Connection) -> Result<Arrived, Refusal> {
    check_method(head.method.as_str().as_bytes())?;
    if head.headers.len() > FIELDS_MAX {
        return Err(http1::Refusal::TooManyFields.into());
    }
    let uri = head.uri.into_parts();
    let host = host_of(uri.authority.as_ref().map(|authority| authority.as_str()), &head.headers)?;
    let path = uri.path_and_query.filter(|path| fits(path, &head.method)).ok_or(http1::Refusal::Target)?;
    // RFC 9113 §8.2.1. HTTP/1.1 has it around values, and drops it.
    let has_space = |value: &HeaderValue| value.as_bytes().trim_ascii().len() != value.len();
    if head.headers.values().any(has_space) {
        return Err(http1::Refusal::Malformed.into());
    }
    join_cookies(&mut head.headers);
    let length = length_of(&head.headers, &body)?;
    Ok(Arrived {
        scheme: connection.scheme,
        source: connection.source,
        version: head.version,
        method: head.method,
        host,
        path,
        fields: Fields::Map(head.headers),
        body: body.into_body(length),
        upgrade: Upgrade::None,
    })
}

/// Whether a path is one that HTTP/1.1 could name with this method (RFC 9113 §8.3.1, RFC 9112 §3.2).
fn fits(path: &PathAndQuery, method: &Method) -> bool {
    path.as_str().starts_with('/') || (path == "*" && *method == Method::OPTIONS)
}

/// The one host that `:authority` and `Host` name together.
fn host_of(authority: Option<&str>, headers: &HeaderMap) -> Result<Host, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let field = hosts.next().map(|host| host.to_str().map_err(|_| http1::Refusal::BadHost)).transpose()?;
    if hosts.next().is_some() {
        return Err(http1::Refusal::SeveralHosts.into());
    }
    let host = authority.or(field).ok_or(http1::Refusal::NoHost)?;
    let parsed = Authority::parse(host).ok_or(http1::Refusal::BadHost)?;
    if let Some(field) = field
        && !Authority::parse(field).ok_or(http1::Refusal::BadHost)?.is_same(&parsed, 443)
    {
        return Err(http1::Refusal::HostDiffers.into());
    }
    Host::parse(host).ok_or(http1::Refusal::BadHost.into())
}

/// The library checks that the body has the announced length (RFC 9113 §8.1.1).
fn length_of(headers: &HeaderMap, body: &Arriving) -> Result<Length, Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (Some(_), Some(_)) => Err(http1::Refusal::SeveralLengths.into()),
        (Some(length), None) => {
            let length = length.to_str().ok().and_then(|length| length.parse().ok());
            Ok(Length::Known(length.ok_or(http1::Refusal::BadLength)?))
        }
        (None, _) if body.is_over() => Ok(Length::Absent),
        (None, _) => Ok(Length::Unknown),
    }
}

/// Runs a connection's streams on the worker's own thread, each for as long as its visitor takes the answer. The library
/// asks for more of an answer when the visitor has taken what there was, and waits for that without end.
#[derive(Clone)]
struct Streams {
    connection: Rc<Connection>,
    worker: Rc<Worker>,
}

impl<F: Future + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let under_way = self.connection.take_newest();
        let (connection, worker) = (Rc::clone(&self.connection), Rc::clone(&self.worker));
        tokio::task::spawn_local(async move {
            let taken = {
                let (mut stream, mut waiting) = (pin!(stream), Waiting::default());
                poll_fn(|cx| {
                    let polled = connection.turn.poll(&mut waiting, cx, |cx| stream.as_mut().poll(cx));
                    match (polled, &under_way) {
                        (Poll::Ready(_), _) => Poll::Ready(true),
                        (Poll::Pending, Some(under_way)) if under_way.untaken.get() > 0 => {
                            ready!(under_way.writing.poll(cx, Awaited::Room, &worker.limits));
                            // Dropped, the stream is reset, and its connection to the origin let go.
                            worker.counters.visitors.starved.add(1);
                            Poll::Ready(false)
                        }
                        (Poll::Pending, _) => Poll::Pending,
                    }
                })
                .await
            };
            let unwanted = under_way.as_ref().and_then(|under_way| under_way.unwanted.take());
            if let Some(unwanted) = unwanted.filter(|_| taken) {
                // In a box, since few streams have it.
                Box::pin(read_unwanted(unwanted, &worker.limits)).await;
            }
        });
    }
}
