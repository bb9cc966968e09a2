//! A request on its way to an origin: its head and small pieces of its body in one write, large pieces without a copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{Body, BodyError, Frame, Length};
use bartizan_wire::http1::{Asked, ChunkLine, write_last_chunk};
use bytes::{Buf, Bytes};
use http::HeaderMap;
use tokio::io::AsyncWrite;

use super::composed::Composed;
use super::origin_io::OriginIo;
use crate::clients::Told;
use crate::ingress::UnderWay;
use crate::limits::GATHER_BYTES_MAX;

pub(super) struct Upload {
    asked: Asked,
    /// Whether `out`, which then is the whole request, is kept to be sent again.
    may_repeat: bool,
    /// The head and small pieces, framed.
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    /// A large piece, to be written after `out`.
    large: Bytes,
    body: Body,
    framing: Framing,
    stage: Stage,
    client: Option<Rc<Told>>,
    /// The request, if its body is still to come.
    request: Option<Rc<UnderWay>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Left(u64),
    Chunks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was taken from the body, and nothing was written.
    Untouched,
    UnderWay,
    /// All of it is in `out` and `large`.
    Gathered,
    Over,
    Failed,
}

/// Why an upload ended before its end.
pub(super) enum Failed {
    /// The visitor did not deliver the body.
    Body(BodyError),
    /// The origin does not take it. It may have answered.
    Origin,
}

impl Upload {
    pub(super) fn new(composed: Composed, request: &Rc<UnderWay>) -> Upload {
        let Composed { head, body, asked, may_repeat, client } = composed;
        let request = (!body.is_here()).then(|| Rc::clone(request));
        let framing = match body.length() {
            Length::Absent => Framing::Left(0),
            Length::Known(length) => Framing::Left(length),
            Length::Unknown => Framing::Chunks,
        };
        let (large, stage) = (Bytes::new(), Stage::Untouched);
        Upload { asked, may_repeat, out: head, written: 0, large, body, framing, stage, client, request }
    }

    /// The request, if nothing of it was sent, or if that does no harm.
    pub(super) fn into_repeatable(self) -> Option<Composed> {
        let Upload { asked, may_repeat, out: head, body, stage, client, .. } = self;
        (stage == Stage::Untouched || may_repeat).then_some(Composed { head, body, asked, may_repeat, client })
    }

    /// The memory of what was written.
    pub(super) fn into_text(self) -> Vec<u8> {
        self.out
    }

    /// Whether all of it has left, and it is not kept to be sent again.
    pub(super) fn is_spent(&self) -> bool {
        self.stage == Stage::Over && !self.may_repeat
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    pub(super) fn poll(&mut self, io: &mut OriginIo, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        match self.stage {
            Stage::Over => return Poll::Ready(Ok(())),
            Stage::Failed => return Poll::Ready(Err(Failed::Origin)),
            Stage::Untouched | Stage::UnderWay | Stage::Gathered => {}
        }
        let polled = self.poll_step(io, cx);
        if let Poll::Ready(Err(_)) = &polled {
            // A request that never left can be sent again.
            if self.stage != Stage::Untouched {
                self.stage = Stage::Failed;
            }
        }
        polled
    }

    fn poll_step(&mut self, io: &mut OriginIo, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        loop {
            let goes_past = self.request.as_ref().is_some_and(|request| request.past.is_busy());
            let waits = !goes_past && self.gather(cx).map_err(Failed::Body)?;
            while self.written < self.out.len() || !self.large.is_empty() {
                let written = ready!(self.poll_write(io, cx)).map_err(|_| Failed::Origin)?;
                self.advance(written);
            }
            if self.may_repeat {
                self.stage = Stage::Gathered;
            } else {
                self.out.clear();
                self.written = 0;
            }
            if goes_past {
                ready!(self.poll_past(io, cx))?;
            } else if waits || self.stage == Stage::Gathered {
                ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(|_| Failed::Origin)?;
                if waits {
                    self.open_past(io);
                    return Poll::Pending;
                }
                self.stage = Stage::Over;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// All that came is written. What is still to come may go from socket to socket.
    fn open_past(&self, io: &OriginIo) {
        if let (Some(request), Framing::Left(_), Stage::UnderWay, OriginIo::Plain(_)) =
            (&self.request, self.framing, self.stage, io)
        {
            request.past.open();
        }
    }

    /// Hands on what goes past us: it came behind all that was handed over, and nothing more is before it has left.
    fn poll_past(&mut self, io: &OriginIo, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let (Some(request), OriginIo::Plain(socket)) = (&self.request, io) else { return Poll::Ready(Ok(())) };
        while request.past.is_busy() {
            let bytes = ready!(request.past.poll_drain(socket, cx)).map_err(|_| Failed::Origin)?;
            // As where a piece is taken.
            request.answering.rest();
            request.record.received().add(bytes);
            if let Framing::Left(left) = &mut self.framing {
                *left = left.saturating_sub(bytes as u64);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is there of the body. Whether more of it has to be waited for.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<bool, BodyError> {
        while self.stage != Stage::Gathered && self.large.is_empty() && self.out.len() < GATHER_BYTES_MAX {
            if self.framing == Framing::Left(0) {
                if self.stage == Stage::Untouched && self.written == 0 {
                    // Stays untouched until a byte of the head has left.
                    return Ok(false);
                }
                self.stage = Stage::Gathered;
                break;
            }
            match self.body.poll_frame(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(piece) => {
                    self.stage = Stage::UnderWay;
                    match piece {
                        Some(Ok(Frame::Data(data))) => self.add(data)?,
                        Some(Ok(Frame::Trailers(fields))) => self.finish(&fields)?,
                        Some(Err(error)) => return Err(error),
                        None => self.finish(&HeaderMap::new())?,
                    }
                }
            }
        }
        Ok(false)
    }

    fn add(&mut self, data: Bytes) -> Result<(), BodyError> {
        let is_small = data.len() <= GATHER_BYTES_MAX;
        match &mut self.framing {
            Framing::Left(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or_else(|| BodyError::new("longer than announced"))?;
                if is_small {
                    self.out.extend_from_slice(&data);
                } else {
                    self.large = data;
                }
            }
            Framing::Chunks => {
                let Some(line) = ChunkLine::of(data.len()) else { return Ok(()) };
                self.out.extend_from_slice(&line);
                self.out.extend_from_slice(&data);
                self.out.extend_from_slice(ChunkLine::END);
            }
        }
        Ok(())
    }

    fn finish(&mut self, trailers: &HeaderMap) -> Result<(), BodyError> {
        match self.framing {
            Framing::Left(_) => return Err(BodyError::new("shorter than announced")),
            Framing::Chunks => {
                let fields = trailers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
                let is_ours = |name: &[u8]| self.client.as_ref().is_some_and(|told| told.is_chosen(name));
                let fields = fields.filter(|(name, _)| !is_ours(name));
                write_last_chunk(fields, &mut self.out);
            }
        }
        self.stage = Stage::Gathered;
        Ok(())
    }

    fn poll_write(&mut self, io: &mut OriginIo, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let io = Pin::new(io);
        let rest = &self.out[self.written..];
        let polled = match (rest.is_empty(), self.large.is_empty()) {
            (_, true) => io.poll_write(cx, rest),
            (true, false) => io.poll_write(cx, &self.large),
            (false, false) => io.poll_write_vectored(cx, &[IoSlice::new(rest), IoSlice::new(&self.large)]),
        };
        match ready!(polled)? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn advance(&mut self, written: usize) {
        if self.stage == Stage::Untouched {
            self.stage = Stage::UnderWay;
        }
        let of_out = written.min(self.out.len() - self.written);
        self.written += of_out;
        self.large.advance(written - of_out);
    }
}
