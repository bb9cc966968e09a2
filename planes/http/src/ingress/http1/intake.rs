//! What a visitor sends while its request is being answered: the rest of the body, the next request, or the end.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{Body, BodyError, Frame, Length};
use bartizan_wire::http1::{self, BodyReader, Event};
use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::{Handover, Piece, Pieces};
use super::line::{Line, Read};
use crate::forward;
use crate::ingress::UnderWay;
use crate::ingress::deadline::Awaited;
use crate::ingress::goodbye::Carrier;
use crate::limits::{LINGER_BYTES_MAX, READ_AHEAD_BYTES_MAX};
use crate::spare::Unread;

pub(super) struct Intake<'u> {
    reader: BodyReader,
    unread: &'u mut Unread,
    /// Has what is written before the answer, and before more of the body is read.
    request: &'u UnderWay,
    /// Whether the visitor waits for a 100 that was not promised yet.
    is_held_back: bool,
    state: State,
    /// How much of an unwanted body is still read and dropped, so that the visitor gets to read its answer (RFC 9112 §9.5).
    waste_bytes_left: usize,
}

enum State {
    /// It goes to who reads it.
    Body(Rc<Handover>),
    /// The body broke off, or too much of it is unwanted. No more of it is read.
    Broken,
    Over,
}

impl<'u> Intake<'u> {
    /// The body of a request whose head was just taken from `unread`, and the intake that feeds it. `framing` is from the
    /// head, with whether it expects a 100.
    // Hot: once a request. No allocation but for a body that is still to come.
    pub(super) fn begin(
        (framing, expects_continue): (http1::Body, bool),
        unread: &'u mut Unread,
        request: &'u UnderWay,
    ) -> (Body, Intake<'u>) {
        let length = match framing {
            http1::Body::Length(length) => Length::Known(length),
            http1::Body::Chunked => Length::Unknown,
            http1::Body::None | http1::Body::UntilClose | http1::Body::Switched => Length::Absent,
        };
        let (body, state) = match length {
            Length::Absent => (Body::empty(), State::Over),
            // The whole body is here already.
            Length::Known(length) if length <= unread.len() as u64 => {
                (Body::whole(unread.split_to(length as usize).freeze()), State::Over)
            }
            length => {
                let handover = Rc::<Handover>::default();
                (Body::frames(length, Pieces(Rc::clone(&handover))), State::Body(handover))
            }
        };
        let is_held_back = expects_continue && matches!(state, State::Body(_)) && unread.is_empty();
        let reader = BodyReader::new(framing);
        (body, Intake { reader, unread, request, is_held_back, state, waste_bytes_left: LINGER_BYTES_MAX })
    }

    /// Whether the visitor still waits for a 100. It may then send the body or not, so where its next request begins is
    /// unknown.
    pub(super) fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    /// Reads what the visitor sends. Ready only when the visitor has closed the connection.
    pub(super) fn poll<IO: Carrier>(&mut self, line: &Line<IO>, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if let Err(error) = ready!(self.poll_say(line, cx)) {
                return Poll::Ready(error);
            }
            match &self.state {
                State::Broken => return Poll::Pending,
                // The next requests are here; they have to wait. So much is read that a visitor who leaves is noticed, and
                // no more: it would be held in memory.
                State::Over if self.unread.len() >= READ_AHEAD_BYTES_MAX => return Poll::Pending,
                State::Over => match ready!(line.poll_read(cx, self.unread, None)) {
                    Ok(Read::Some) => {}
                    Ok(Read::End) => return Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) => return Poll::Ready(error),
                },
                State::Body(handover) if handover.is_abandoned() && !self.is_held_back() => {
                    ready!(self.poll_waste(line, cx));
                }
                State::Body(handover) => {
                    ready!(handover.poll_wanted(cx));
                    let handover = Rc::clone(handover);
                    if std::mem::take(&mut self.is_held_back) {
                        self.request.interims.ask_for_body();
                        continue;
                    }
                    if ready!(self.poll_past(line, cx)) {
                        handover.pass();
                        continue;
                    }
                    let piece = ready!(self.poll_piece(line, cx));
                    self.end_with(&piece);
                    handover.give(piece);
                }
            }
        }
    }

    /// Sends what comes past us, if it may go that way. Whether some of it does.
    fn poll_past<IO: Carrier>(&mut self, line: &Line<IO>, cx: &mut Context<'_>) -> Poll<bool> {
        let past = &self.request.past;
        let Some(left) = self.reader.left().filter(|left| self.unread.is_empty() && past.takes(*left)) else {
            return Poll::Ready(false);
        };
        let passed = ready!(line.poll_past(cx, past, left));
        if let Some(bytes) = passed {
            self.reader.pass(bytes as u64);
        }
        Poll::Ready(passed.is_some())
    }

    /// Notes whether the body goes on after this piece of it.
    fn end_with(&mut self, piece: &Piece) {
        match piece {
            Some(Ok(Frame::Data(_))) => {}
            Some(Err(_)) => self.state = State::Broken,
            Some(Ok(Frame::Trailers(_))) | None => self.state = State::Over,
        }
    }

    /// The next piece of the body, or how it ended.
    fn poll_piece<IO>(&mut self, line: &Line<IO>, cx: &mut Context<'_>) -> Poll<Piece>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let step = match self.reader.next(self.unread) {
                Ok(step) => step,
                Err(refusal) => return Poll::Ready(Some(Err(BodyError::new(refusal)))),
            };
            let used = self.unread.split_to(step.used);
            match step.event {
                Event::Data(range) => return Poll::Ready(Some(Ok(Frame::Data(used.freeze().slice(range))))),
                Event::End => return Poll::Ready(self.trailers()),
                Event::Hungry => {}
            }
            match ready!(line.poll_read(cx, self.unread, Some(Awaited::Body))) {
                Ok(Read::Some) => {}
                Ok(Read::End) => return Poll::Ready(Some(Err(BodyError::new("the visitor hung up")))),
                Err(error) => return Poll::Ready(Some(Err(BodyError::new(error)))),
            }
        }
    }

    /// What comes behind the last data: trailers, or the end.
    fn trailers(&mut self) -> Piece {
        let over = BodyReader::new(http1::Body::None);
        match std::mem::replace(&mut self.reader, over).into_trailers() {
            Ok(trailers) => (!trailers.is_empty()).then(|| Ok(Frame::Trailers(forward::trailers(trailers.fields())))),
            Err(refusal) => Some(Err(BodyError::new(refusal))),
        }
    }

    fn poll_say<IO>(&self, line: &Line<IO>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let interims = &self.request.interims;
        let mut out = interims.out.borrow_mut();
        while !out.is_empty() {
            let written = ready!(line.poll_write(cx, &[IoSlice::new(&out)]))?;
            out.advance(written);
            line.connection.let_go(interims.written(written));
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the rest of what comes before the answer, which follows. A 100 that was not promised is needed no more.
    pub(super) async fn finish_interims<IO>(&mut self, line: &Line<IO>) -> io::Result<()>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.is_held_back = false;
        poll_fn(|cx| self.poll_say(line, cx)).await
    }

    /// Reads and drops one piece of an unwanted body.
    fn poll_waste<IO>(&mut self, line: &Line<IO>, cx: &mut Context<'_>) -> Poll<()>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let piece = ready!(self.poll_piece(line, cx));
        self.end_with(&piece);
        if let Some(Ok(Frame::Data(data))) = &piece {
            match self.waste_bytes_left.checked_sub(data.len()) {
                Some(left) => self.waste_bytes_left = left,
                None => self.state = State::Broken,
            }
        }
        Poll::Ready(())
    }

    /// After the answer: reads and drops the rest of the body, within limits. Returns whether another request can follow.
    pub(super) async fn drain<IO>(mut self, line: &Line<IO>) -> bool
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let draining = poll_fn(|cx| {
            loop {
                match self.state {
                    State::Body(_) => ready!(self.poll_waste(line, cx)),
                    State::Broken => return Poll::Ready(false),
                    State::Over => return Poll::Ready(true),
                }
            }
        });
        tokio::time::timeout(line.worker.limits.linger_time, draining).await.unwrap_or(false)
    }
}
