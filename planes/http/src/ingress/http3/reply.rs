//! One stream: its request is read and answered, and the answer written for as long as its visitor takes it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bartizan_wire::http2::EndStream;
use bartizan_wire::http3::Code;
use bytes::Bytes;
use http::Version;
use tokio::time::timeout;

use super::session::Session;
use super::stream::{Arriving, Cut as Lost, Stream};
use crate::arrived::Arrived;
use crate::ingress::arrive::{Pace, arrive};
use crate::ingress::block::Block;
use crate::ingress::connection::RequestGuard;
use crate::ingress::interim::Interims;
use crate::ingress::refusal::Refusal;
use crate::ingress::stream_reply::{Channel, Cut, StreamClosed, answer};
use crate::limits::LINGER_BYTES_MAX;
use crate::worker::Worker;

/// Runs the stream as a task of its own, which ends when the stream does.
pub(super) fn spawn(session: Rc<Session>, stream: Rc<Stream>) {
    // They count also if it is closed before it was ever looked at.
    let counted = (Open(Rc::clone(&session)), Unfinished(Some(Rc::clone(&session))));
    let work = Box::pin(serve(counted, Rc::clone(&session), Rc::clone(&stream)));
    let turn = Rc::clone(&session.connection.turn);
    tokio::task::spawn_local(turn.take_unless(work, move |cx| {
        let mut cx = Context::from_waker(cx.waker());
        stream.poll_closed(&mut cx)
    }));
}

/// Counts a stream for as long as it is open.
struct Open(Rc<Session>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.end_stream();
    }
}

/// A stream that comes to no request counts as one that was cancelled.
struct Unfinished(Option<Rc<Session>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.connection.count_unfinished(&session.worker);
        }
    }
}

async fn serve((_open, unfinished): (Open, Unfinished), session: Rc<Session>, stream: Rc<Stream>) {
    let Some((arrived, guard)) = read(&session, &stream, unfinished).await else { return };
    let give = |cx: &mut Context<'_>, interims: &Interims| {
        let held = interims.give(|status, fields| stream.send_interim(status, fields));
        session.connection.let_go(held);
        // What has no room waits.
        let _ = stream.poll_leave(cx);
    };
    let answer = answer(give, &session.worker, arrived, &guard).await;
    let written = answer.write(&guard, &Way { session: &session, stream: &stream }).await;
    match written {
        Ok(()) => {
            guard.under_way.answered.set(true);
            stream.finish();
        }
        Err(Cut::Closed) => {}
        Err(Cut::Broken) => stream.reset(Code::Internal),
        // RFC 9220 §3.
        Err(Cut::Lost) => stream.reset(Code::RequestCancelled),
        Err(Cut::Starved) => {
            session.worker.counters.visitors.starved.add(1);
            stream.reset(Code::RequestCancelled);
        }
    }
    // The visitor has its answer, and what is left to do is not its request any more.
    drop(guard);
    if stream.is_receiving() {
        // In a box, since few streams have it.
        Box::pin(read_unwanted(&session, &stream)).await;
    }
    // What it does not take lies in our buffers, which are those of the connection.
    let taken = timeout(session.worker.limits.stall_time, poll_fn(|cx| stream.poll_taken(cx)));
    if taken.await.is_err() {
        session.worker.counters.visitors.too_slow.add(1);
        session.fail(Code::No);
    }
}

/// Reads the head. None if there is none, or nobody that it could be answered to.
async fn read(
    session: &Rc<Session>,
    stream: &Rc<Stream>,
    mut unfinished: Unfinished,
) -> Option<(Result<Arrived, Refusal>, RequestGuard)> {
    let head = poll_fn(|cx| {
        stream.poll_head(cx, |head, heads| {
            // It is kept for as long as nothing is answered.
            if !stream.hold(heads.text().len()) {
                return None;
            }
            let guard = session.connection.begin_stream(&session.worker);
            session.worker.counters.requests.http3.add(1);
            session.refill();
            let arrived = head.map_err(Refusal::from).and_then(|head| {
                let text = session.keep(heads.text());
                let body = Arriving::new(stream, &guard.under_way, Pace::of(&head)).into_body(head.length);
                arrive((&head, Version::HTTP_3), (text, heads), body, &session.connection, &session.worker)
            });
            Some((arrived, guard))
        })
    });
    match timeout(session.worker.limits.head_time, head).await {
        Ok(Ok(Some(read))) => {
            unfinished.0 = None;
            Some(read)
        }
        Ok(Ok(None)) => {
            stream.cut(&Lost::Memory);
            None
        }
        Ok(Err(cut)) => {
            stream.cut(&cut);
            None
        }
        Err(_) => {
            session.worker.counters.visitors.too_slow.add(1);
            stream.reset(Code::RequestIncomplete);
            None
        }
    }
}

/// Reads on after the answer what its visitor still sends of the request, so much and so long; then it is told to stop
/// (RFC 9114 §4.1).
async fn read_unwanted(session: &Session, stream: &Stream) {
    let mut left = LINGER_BYTES_MAX;
    let reading = poll_fn(|cx| stream.poll_waste(cx, &mut left));
    // Whether it has ended or not.
    let _ = timeout(session.worker.limits.linger_time, reading).await;
    stream.stop(Code::No);
}

/// How the answer of a stream goes.
struct Way<'w> {
    session: &'w Session,
    stream: &'w Stream,
}

impl Channel for Way<'_> {
    fn worker(&self) -> &Worker {
        &self.session.worker
    }

    fn poll_head(
        &self,
        cx: &mut Context<'_>,
        _: EndStream,
        fields: impl FnOnce(Block<'_>),
    ) -> Poll<Result<(), StreamClosed>> {
        self.stream.poll_block(cx, fields)
    }

    fn poll_data(&self, cx: &mut Context<'_>, piece: &mut Bytes, end: EndStream) -> Poll<Result<usize, StreamClosed>> {
        let polled = self.stream.poll_data(cx, piece);
        if end == EndStream::Set && piece.is_empty() && matches!(polled, Poll::Ready(Ok(_))) {
            self.stream.finish();
        }
        polled
    }

    fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<Result<(), StreamClosed>> {
        self.stream.poll_leave(cx)
    }

    fn hold(&self, bytes: usize) -> bool {
        self.stream.hold(bytes)
    }

    fn let_go(&self, bytes: usize) {
        self.stream.let_go(bytes);
    }
}
