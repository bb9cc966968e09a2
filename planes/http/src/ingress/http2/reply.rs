//! One stream: its request is answered, and the answer written for as long as its visitor takes it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_wire::http2::{Code, EndStream};
use bytes::Bytes;
use tokio::time::timeout;

use super::session::Session;
use super::stream::Stream;
use crate::arrived::Arrived;
use crate::ingress::block::Block;
use crate::ingress::connection::RequestGuard;
use crate::ingress::interim::Interims;
use crate::ingress::refusal::Refusal;
use crate::ingress::stream_reply::{Channel, Cut, StreamClosed, answer};
use crate::worker::Worker;

/// Runs the stream as a task of its own, which ends when the stream does.
pub(super) fn spawn(session: Rc<Session>, stream: Rc<Stream>, arrived: Result<Arrived, Refusal>, guard: RequestGuard) {
    let work = Box::pin(serve(Rc::clone(&session), Rc::clone(&stream), arrived, guard));
    let turn = Rc::clone(&session.connection.turn);
    tokio::task::spawn_local(turn.take_unless(work, move |cx| {
        ready!(stream.poll_closed(cx));
        session.let_next_go();
        Poll::Ready(())
    }));
}

async fn serve(session: Rc<Session>, stream: Rc<Stream>, arrived: Result<Arrived, Refusal>, guard: RequestGuard) {
    let give = |_: &mut Context<'_>, interims: &Interims| {
        let held = interims.give(|status, fields| session.send_interim(&stream, status, fields));
        session.connection.let_go(held);
    };
    let answer = answer(give, &session.worker, arrived, &guard).await;
    let written = answer.write(&guard, &Way { session: &session, stream: &stream }).await;
    stream.has_been_answered();
    match written {
        Ok(()) => guard.under_way.answered.set(true),
        Err(Cut::Closed) => {}
        Err(Cut::Broken) => session.reset(&stream, Code::Internal),
        // RFC 8441 §5.
        Err(Cut::Lost) => session.reset(&stream, Code::Cancel),
        Err(Cut::Starved) => {
            session.worker.counters.visitors.starved.add(1);
            session.reset(&stream, Code::Cancel);
        }
    }
    // The visitor has its answer, and what is left to do is not its request any more.
    drop(guard);
    session.let_next_go();
    if session.is_receiving(&stream) {
        // In a box, since few streams have it.
        Box::pin(read_unwanted(&session, &stream)).await;
    }
}

/// Reads on after the answer what its visitor still sends of the request, so much and so long. The stream is reset at
/// the end of that (NO_ERROR, RFC 9113 §8.1), and at once there are clients that take the reset for the loss of the
/// answer, which that section forbids.
async fn read_unwanted(session: &Session, stream: &Stream) {
    session.took(stream, stream.want_no_more());
    let reading = poll_fn(|_| if stream.has_ended() { Poll::Ready(()) } else { Poll::Pending });
    // Whether it has ended or not.
    let _ = timeout(session.worker.limits.linger_time, reading).await;
    session.reset(stream, Code::NoError);
}

/// How the answer of a stream goes.
struct Way<'w> {
    session: &'w Session,
    stream: &'w Rc<Stream>,
}

impl Channel for Way<'_> {
    fn worker(&self) -> &Worker {
        &self.session.worker
    }

    fn poll_head(
        &self,
        _: &mut Context<'_>,
        end: EndStream,
        fields: impl FnOnce(Block<'_>),
    ) -> Poll<Result<(), StreamClosed>> {
        self.session.poll_head(self.stream, end, |encoder, out| fields(Block::of_http2(encoder, out)))
    }

    fn poll_data(&self, _: &mut Context<'_>, piece: &mut Bytes, end: EndStream) -> Poll<Result<usize, StreamClosed>> {
        self.session.poll_data(self.stream, piece, end)
    }

    /// The last frame says so.
    fn poll_finish(&self, _: &mut Context<'_>) -> Poll<Result<(), StreamClosed>> {
        Poll::Ready(Ok(()))
    }

    fn hold(&self, bytes: usize) -> bool {
        self.stream.hold(bytes, &self.session.worker)
    }

    fn let_go(&self, bytes: usize) {
        self.stream.let_go(bytes);
    }
}
