//! What a visitor sends while its request is being answered: the rest of the body, the next request, or the end.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{Body, BodyError, Frame, Length};
use bartizan_wire::http1::{self, BodyReader, Event, RequestHead};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::{Handover, Piece, Pieces};
use super::line::{Line, Read};
use crate::forward::{trailers_of, trailers_to_origin};
use crate::ingress::deadline::Awaited;
use crate::limits::{LINGER_BYTES_MAX, READ_AHEAD_BYTES_MAX};

/// Asks for the body (RFC 9110 §15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

pub(super) struct Intake<'u> {
    reader: BodyReader,
    handover: Rc<Handover>,
    /// Bytes that were read and not used yet.
    unread: &'u mut BytesMut,
    /// The part of [`CONTINUE`] that has to be written before the body is read.
    to_say: &'static [u8],
    state: State,
    /// How much of an unwanted body is still read and dropped, so that the visitor gets to read its answer (RFC 9112 §9.5).
    waste_bytes_left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Body,
    /// The body broke off, or too much of it is unwanted. No more of it is read.
    Broken,
    Over,
}

impl<'u> Intake<'u> {
    /// The body of a request whose head was just taken from `unread`, and the intake that feeds it.
    pub(super) fn begin(head: &RequestHead, unread: &'u mut BytesMut) -> (Body, Intake<'u>) {
        let handover = Rc::new(Handover::default());
        let length = match head.body {
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
            length => (Body::frames(length, Pieces(Rc::clone(&handover))), State::Body),
        };
        let to_say = if head.expects_continue && state == State::Body && unread.is_empty() { CONTINUE } else { &[] };
        let reader = BodyReader::new(head.body);
        (body, Intake { reader, handover, unread, to_say, state, waste_bytes_left: LINGER_BYTES_MAX })
    }

    /// Whether the visitor still waits for a 100. It may then send the body or not, so where its next request begins is
    /// unknown.
    pub(super) fn is_held_back(&self) -> bool {
        self.to_say.len() == CONTINUE.len()
    }

    /// Reads what the visitor sends. Ready only when the visitor has closed the connection.
    pub(super) fn poll<IO>(&mut self, line: &Line<IO>, cx: &mut Context<'_>) -> Poll<io::Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            match self.state {
                State::Broken => return Poll::Pending,
                // The next requests are here; they have to wait. So much is read that a visitor who leaves is noticed, and
                // no more: it would be held in memory.
                State::Over if self.unread.len() >= READ_AHEAD_BYTES_MAX => return Poll::Pending,
                State::Over => match ready!(line.poll_read(cx, self.unread, None)) {
                    Ok(Read::Some) => {}
                    Ok(Read::End) => return Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) => return Poll::Ready(error),
                },
                State::Body if self.handover.is_abandoned() && !self.is_held_back() => {
                    ready!(self.poll_waste(line, cx));
                }
                State::Body => {
                    ready!(self.handover.poll_wanted(cx));
                    while !self.to_say.is_empty() {
                        match ready!(line.poll_write(cx, &[IoSlice::new(self.to_say)])) {
                            Ok(written) => self.to_say = &self.to_say[written..],
                            Err(error) => return Poll::Ready(error),
                        }
                    }
                    let piece = ready!(self.poll_piece(line, cx));
                    self.state = match &piece {
                        Some(Ok(Frame::Data(_))) => State::Body,
                        Some(Err(_)) => State::Broken,
                        Some(Ok(Frame::Trailers(_))) | None => State::Over,
                    };
                    self.handover.give(piece);
                }
            }
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
            Ok(trailers) => (!trailers.is_empty()).then(|| {
                let mut fields = trailers_of(&trailers);
                trailers_to_origin(&mut fields);
                Ok(Frame::Trailers(fields))
            }),
            Err(refusal) => Some(Err(BodyError::new(refusal))),
        }
    }

    /// Writes the rest of a 100 that was begun. The final answer follows.
    pub(super) async fn finish_interim<IO>(&mut self, line: &Line<IO>) -> io::Result<()>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        if self.is_held_back() {
            self.to_say = &[];
        }
        line.write(&mut [IoSlice::new(std::mem::take(&mut self.to_say))]).await
    }

    /// Reads and drops one piece of an unwanted body.
    fn poll_waste<IO>(&mut self, line: &Line<IO>, cx: &mut Context<'_>) -> Poll<()>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.state = match ready!(self.poll_piece(line, cx)) {
            Some(Ok(Frame::Data(data))) if data.len() <= self.waste_bytes_left => {
                self.waste_bytes_left -= data.len();
                State::Body
            }
            Some(Ok(Frame::Data(_)) | Err(_)) => State::Broken,
            Some(Ok(Frame::Trailers(_))) | None => State::Over,
        };
        Poll::Ready(())
    }

    /// After the answer: reads and drops the rest of the body, within limits. Returns whether another request can follow.
    pub(super) async fn drain<IO>(mut self, line: &Line<IO>) -> bool
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        if self.state != State::Body {
            return self.state == State::Over;
        }
        let draining = poll_fn(|cx| {
            while self.state == State::Body {
                ready!(self.poll_waste(line, cx));
            }
            Poll::Ready(self.state == State::Over)
        });
        tokio::time::timeout(line.worker.limits.linger_time, draining).await.unwrap_or(false)
    }
}
