//! HTTP/1.1 from visitors: one request after the other, on the codec of `base/wire`.
//!
//! ```text
//!          ┌──────────────────────── another ────────────────────────┐
//!          ▼                                                          │
//! idle ─► head ─► pipeline ─► answer ─► rest of the body drained ─────┤
//!          │         ▲  while both last, the body is taken in         ├─► goodbye
//!          │         └─ and a visitor who leaves is noticed           │
//!          └─ refused ─► page ────────────────────────────────────────┘
//!                                       └─ 101 ─► relay
//! ```
//! One task does all of it; while it waits for a request it holds no buffer. What each wait may last is in
//! [`Awaited`].

mod body;
mod intake;
mod line;
mod reply;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bartizan_exchange::{Body, Io, Upgrade};
use bartizan_names::Host;
use bartizan_wire::http1::{self, FieldRoom, HeadSearch, Leading, Limits, Persistence, RequestHead, Version};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, RequestGuard};
use super::deadline::Awaited;
use super::goodbye::{Carrier, say_goodbye};
use super::refusal::{Refusal, check_method};
use super::relay;
use super::wire::Wire;
use crate::arrived::Arrived;
use crate::fields::{Fields, Lines};
use crate::limits::WEBSOCKET_BUFFER_BYTES;
use crate::page::Problem;
use crate::pipeline;
use crate::spare::Unread;
use crate::worker::Worker;
use intake::Intake;
use line::{Line, Read};
use reply::{Asked, Reply, Trailers};

/// Serves a connection to its end, also after it was switched to WebSocket.
pub(crate) async fn serve<IO: Carrier>(io: IO, connection: Rc<Connection>, worker: Rc<Worker>) {
    let line = Line::new(io, connection, worker);
    let mut unread = Unread::default();
    let end = loop {
        match next_head(&line, &mut unread).await {
            Ok(None) => break None,
            Ok(Some(head)) => {
                match exchange(&line, head, &mut unread).await {
                    Ok(Next::Request) => {}
                    Ok(Next::Goodbye) => break None,
                    Ok(Next::Reset) => {
                        // Fails only on a socket that is gone already.
                        let _ = line.into_io().socket().set_zero_linger();
                        return;
                    }
                    Ok(Next::Other(other, guard)) => break Some((other, guard)),
                    Err(error) => break failed(&line, &error),
                }
            }
            Err(error) => break failed(&line, &error),
        }
        unread.rest(&line.worker.spare);
        if let Err(error) = line.rest(&unread) {
            break failed(&line, &error);
        }
    };
    // In boxes too: there is one state for all that a connection waits for, as large as the largest.
    match end {
        Some((other, guard)) => Box::pin(serve_websocket(line, unread.split().freeze(), other, guard)).await,
        None => {
            let (connection, worker) = (Rc::clone(&line.connection), Rc::clone(&line.worker));
            Box::pin(say_goodbye(line.into_io(), &connection.turn, &worker.limits)).await;
        }
    }
}

/// To the end of both sides; `first` came already. What the visitor was told last has to arrive.
async fn serve_websocket<IO: Carrier>(line: Line<IO>, first: Bytes, other: Box<dyn Io>, guard: RequestGuard) {
    let (connection, worker) = (Rc::clone(&line.connection), Rc::clone(&line.worker));
    let mut wire = Wire::new(line.into_io(), Rc::clone(&connection), Rc::clone(&worker));
    // For as long as the connection lasts. Without memory it is as if the origin had gone.
    if !connection.hold(2 * WEBSOCKET_BUFFER_BYTES, &worker) {
        return;
    }
    relay::relay(&mut wire, first, other, guard.record(), worker.limits.websocket_idle_time).await;
    // The request ends here.
    drop(guard);
    say_goodbye(wire.into_inner(), &connection.turn, &worker.limits).await;
}

fn failed<T, IO>(line: &Line<IO>, error: &io::Error) -> Option<T> {
    tracing::trace!(peer = %line.connection.peer, %error, "connection failed");
    None
}

/// What happens on the connection after an exchange.
enum Next {
    Request,
    Goodbye,
    /// The answer broke off, and a goodbye would look like its end.
    Reset,
    /// It was switched to WebSocket; this is the origin's end. The request lasts as long.
    Other(Box<dyn Io>, RequestGuard),
}

/// A head that was checked, with its bytes; or why it is refused.
type Head = Result<(RequestHead, Bytes), Refusal>;

/// Waits for the next request. None: there will be none.
async fn next_head<IO>(line: &Line<IO>, unread: &mut Unread) -> io::Result<Option<Head>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut search = HeadSearch::new(Leading::EmptyLine);
    loop {
        match search.find(unread, &Limits::REQUEST) {
            Ok(Some(found)) => {
                line.connection.reading.rest();
                let bytes = unread.split_to(found.end).freeze().slice(found);
                return Ok(Some(read_head(bytes, line.worker.spare.room())));
            }
            Ok(None) => {}
            Err(refusal) => return Ok(Some(Err(refusal.into()))),
        }
        let read = if unread.is_empty() {
            poll_fn(|cx| match line.poll_read(cx, unread, Some(Awaited::Request)) {
                // No request is lost. It is woken when one of these begins.
                Poll::Pending if line.worker.has_ended_for(&line.connection) => Poll::Ready(Ok(Read::End)),
                Poll::Pending if line.connection.is_overdue() => {
                    line.worker.counters.visitors.handshakes_failed.add(1);
                    Poll::Ready(Ok(Read::End))
                }
                read => read,
            })
            .await?
        } else {
            poll_fn(|cx| line.poll_read(cx, unread, Some(Awaited::Head))).await?
        };
        if read == Read::End {
            return Ok(None);
        }
    }
}

fn read_head(bytes: Bytes, room: FieldRoom) -> Head {
    // First, so that a method that is never served gets 405 whatever else is wrong with the request.
    check_method(bytes.split(|byte| *byte == b' ').next().unwrap_or_default())?;
    let head = RequestHead::parse(&bytes, &Limits::REQUEST, room)?;
    Ok((head, bytes))
}

/// Answers one request. In a box, so that an idle connection holds none of its memory; what is made before goes in there
/// without a second place for it.
// Hot: once a request. It asks for memory for itself and the host.
fn exchange<'e, IO>(
    line: &'e Line<IO>,
    head: Head,
    unread: &'e mut Unread,
) -> Pin<Box<dyn Future<Output = io::Result<Next>> + 'e>>
where
    IO: Carrier,
{
    let worker = &line.worker;
    let guard = line.connection.begin(worker);
    worker.counters.requests.http1.add(1);
    let (head, bytes) = match head {
        Ok(head) => head,
        Err(refusal) => return Box::pin(refuse(line, refusal, HeaderMap::new(), guard)),
    };
    let mut asked = Asked::by(&head, &bytes);
    let framing = (head.body, head.expects_continue);
    let mut arrived = match arrive(head, bytes, &line.connection) {
        Ok(arrived) => arrived,
        Err((refusal, accepted)) => return Box::pin(refuse(line, refusal, accepted, guard)),
    };
    if asked.version == Version::Http11 {
        guard.under_way.interims.take();
    }
    Box::pin(async move {
        let (body, mut intake) = Intake::begin(framing, unread, &guard.under_way);
        arrived.body = body;
        let mut answered = {
            let answering = pin!(pipeline::serve(&mut arrived, &guard));
            beside(answering, &mut intake, line).await?
        };
        arrived.let_go(&worker.spare);
        if intake.is_held_back() || worker.drain.has_begun() || line.connection.is_overdue() {
            asked.persistence = Persistence::Close;
        }
        let other = answered.upgraded.take();
        let mut reply = Reply::compose(answered, asked, worker);
        intake.finish_interims(line).await?;
        let (persistence, ends_by_close) = (reply.persistence, reply.ends_by_close());
        match beside(pin!(reply.write(line)), &mut intake, line).await? {
            Err(_) if ends_by_close => return Ok(Next::Reset),
            written => written?,
        }
        guard.under_way.answered.set(true);
        if let Some(other) = other {
            drop(intake);
            return Ok(Next::Other(other, guard));
        }
        match persistence {
            Persistence::KeepAlive if intake.drain(line).await => Ok(Next::Request),
            Persistence::KeepAlive | Persistence::Close => Ok(Next::Goodbye),
        }
    })
}

/// Does `work` while the visitor goes on sending; fails when the visitor has closed the connection.
async fn beside<IO, T>(
    mut work: Pin<&mut impl Future<Output = T>>,
    intake: &mut Intake<'_>,
    line: &Line<IO>,
) -> io::Result<T>
where
    IO: Carrier,
{
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => {
            // Where nothing is read, as before somebody wants the body, it would not go on.
            if let Poll::Ready(error) = line.poll_handshake(cx) {
                return Poll::Ready(Err(error));
            }
            intake.poll(line, cx).map(Err)
        }
    })
    .await
}

/// Writes the page that says why.
async fn refuse<IO>(line: &Line<IO>, refusal: Refusal, asked: HeaderMap, guard: RequestGuard) -> io::Result<Next>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    line.worker.counters.requests.screened_out.add(1);
    let answered = pipeline::refuse(Problem::Refused(refusal), &asked, &guard);
    let (version, persistence) = (Version::Http11, Persistence::Close);
    let asked = Asked { method: http1::Asked::Other, version, persistence, trailers: Trailers::LeftOut };
    Reply::compose(answered, asked, &line.worker).write(line).await?;
    guard.under_way.answered.set(true);
    Ok(Next::Goodbye)
}

/// The request in our types, without its body; or why it is refused, and what the format of the page is chosen by.
fn arrive(head: RequestHead, bytes: Bytes, connection: &Connection) -> Result<Arrived, (Refusal, HeaderMap)> {
    let what = what_is_asked(&head, &bytes);
    let RequestHead { version, upgrade, .. } = head;
    let fields = Fields::Lines(Lines::new(bytes, head.into_room()));
    let (method, host, path) = match what {
        Ok(what) => what,
        Err(refusal) => return Err((refusal, fields.accepted())),
    };
    Ok(Arrived {
        scheme: connection.scheme,
        source: connection.source,
        version: match version {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
        },
        method,
        host,
        path,
        fields,
        body: Body::empty(),
        upgrade: match upgrade {
            http1::Upgrade::WebSocket => Upgrade::WebSocket,
            http1::Upgrade::None | http1::Upgrade::Tunnel => Upgrade::None,
        },
        by_connect: None,
    })
}

fn what_is_asked(head: &RequestHead, bytes: &Bytes) -> Result<(Method, Host, PathAndQuery), Refusal> {
    let view = head.of(bytes);
    let method = Method::from_bytes(view.method().as_bytes()).map_err(|_| http1::Refusal::Malformed)?;
    let path = match view.path() {
        // These need not be in the head.
        ["/", ""] => Ok(PathAndQuery::from_static("/")),
        ["*", ""] => Ok(PathAndQuery::from_static("*")),
        // Shares the memory of the head, as values do.
        [whole, ""] => PathAndQuery::from_maybe_shared(bytes.slice_ref(whole.as_bytes())),
        pieces => PathAndQuery::try_from(pieces.concat()),
    };
    let host = Host::parse(view.host()).ok_or(http1::Refusal::BadHost)?;
    Ok((method, host, path.map_err(|_| http1::Refusal::Target)?))
}
