//! Writes an answer: in one write if head and body are small, without copying large pieces.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};

use bartizan_exchange::{Body, Frame, Length};
use bartizan_wire::http1::{self, ChunkLine, Content, HeadWriter, Persistence, RequestHead, Version, has_token};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Line;
use crate::answered::Answered;
use crate::forward;
use crate::limits::GATHER_BYTES_MAX;
use crate::worker::Worker;

/// Room for a usual head.
const HEAD_BYTES: usize = 512;

/// What the request says about the form of its answer.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// As far as it matters to the answer.
    pub(super) method: http1::Asked,
    pub(super) version: Version,
    pub(super) persistence: Persistence,
    /// Whether trailers are of use to the visitor, which it has to say (RFC 9110 §6.5.1).
    pub(super) trailers: Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailers {
    Taken,
    LeftOut,
}

impl Asked {
    pub(super) fn by(head: &RequestHead, bytes: &[u8]) -> Asked {
        let view = head.of(bytes);
        let takes_trailers = view.fields().values("te").any(|value| has_token(value, "trailers"));
        let trailers = if takes_trailers { Trailers::Taken } else { Trailers::LeftOut };
        Asked {
            method: http1::Asked::by(view.method()),
            version: head.version,
            persistence: head.persistence,
            trailers,
        }
    }
}

/// An answer that is ready to be written.
pub(super) struct Reply {
    /// What is written next: the head, and small pieces of the body.
    out: Vec<u8>,
    body: Body,
    framing: Framing,
    trailers: Trailers,
    /// Whether another request can follow.
    pub(super) persistence: Persistence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Left(u64),
    Chunks,
    UntilClose,
}

impl Reply {
    // Hot: once an answer. No allocation but for a larger buffer.
    pub(super) fn compose(mut answered: Answered, asked: Asked, worker: &Worker) -> Reply {
        let (status, body) = (answered.status, std::mem::replace(&mut answered.body, Body::empty()));
        let (stated, framing) = framing(asked, status, body.length());
        let persistence = if framing == Framing::UntilClose { Persistence::Close } else { asked.persistence };
        let gathered = match framing {
            Framing::Left(length) if length <= (GATHER_BYTES_MAX - HEAD_BYTES) as u64 => length as usize,
            Framing::Left(_) | Framing::Chunks | Framing::UntilClose => 0,
        };
        let mut out = worker.spare.text();
        out.reserve(HEAD_BYTES + gathered);
        let mut writer = HeadWriter::response(&mut out, status.as_u16(), status.canonical_reason().unwrap_or(""));
        writer = forward::to_visitor(&answered, &worker.dates, writer);
        writer = match (status, persistence, asked.version) {
            (StatusCode::SWITCHING_PROTOCOLS, ..) => {
                writer.field(b"Connection", b"upgrade").field(b"Upgrade", b"websocket")
            }
            (_, Persistence::Close, _) => writer.field(b"Connection", b"close"),
            // RFC 9112 §9.3: 1.0 closes unless it is told.
            (_, Persistence::KeepAlive, Version::Http10) => writer.field(b"Connection", b"keep-alive"),
            (_, Persistence::KeepAlive, Version::Http11) => writer,
        };
        let written = writer.body(stated).end();
        if let Some(room) = answered.fields.into_room() {
            worker.spare.give_room(room);
        }
        match written {
            Ok(()) => Reply { out, body, framing, trailers: asked.trailers, persistence },
            // What was read is legal, so this cannot happen; if it does, a body without a head must not be written.
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written");
                Reply {
                    out: Vec::new(),
                    body: Body::empty(),
                    framing: Framing::Left(0),
                    trailers: Trailers::LeftOut,
                    persistence: Persistence::Close,
                }
            }
        }
    }

    /// Whether nothing but the end of the connection says where the body ends (RFC 9112 §6.3).
    pub(super) fn ends_by_close(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    // Hot: once an answer. In one write if all of it is here and small; other answers take memory for themselves.
    pub(super) async fn write<IO>(&mut self, line: &Line<IO>) -> io::Result<()>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.gather_whole()? {
            return Box::pin(self.write_pieces(line)).await;
        }
        line.write(&mut [IoSlice::new(&self.out)]).await?;
        line.worker.spare.give_text(std::mem::take(&mut self.out));
        Ok(())
    }

    /// Gathers a small body that is here. Whether that is all.
    fn gather_whole(&mut self) -> io::Result<bool> {
        let Framing::Left(length) = self.framing else { return Ok(false) };
        if length == 0 {
            return Ok(true);
        }
        if !self.body.is_here() || self.out.len() as u64 + length > GATHER_BYTES_MAX as u64 {
            return Ok(false);
        }
        let piece = self.body.poll_frame(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(Some(Ok(Frame::Data(data)))) = piece {
            self.take_of_length(&data)?;
            self.out.extend_from_slice(&data);
        }
        // What is missing is found out by who writes pieces.
        Ok(self.framing == Framing::Left(0))
    }

    fn take_of_length(&mut self, data: &[u8]) -> io::Result<()> {
        if let Framing::Left(left) = self.framing {
            let left = left.checked_sub(data.len() as u64).ok_or_else(|| wrong_length("longer than announced"))?;
            self.framing = Framing::Left(left);
        }
        Ok(())
    }

    async fn write_pieces<IO>(&mut self, line: &Line<IO>) -> io::Result<()>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        while self.framing != Framing::Left(0) {
            let piece = match poll_fn(|cx| Poll::Ready(self.body.poll_frame(cx))).await {
                Poll::Ready(piece) => piece,
                Poll::Pending => {
                    // The next piece is not here yet: write what there is.
                    line.write(&mut [IoSlice::new(&self.out)]).await?;
                    line.worker.spare.give_text(std::mem::take(&mut self.out));
                    let piece = poll_fn(|cx| self.body.poll_frame(cx)).await;
                    self.out = line.worker.spare.text();
                    piece
                }
            };
            match piece {
                Some(Ok(Frame::Data(data))) => self.add(line, data).await?,
                Some(Ok(Frame::Trailers(fields))) if self.trailers == Trailers::Taken => {
                    self.finish(&fields)?;
                    break;
                }
                Some(Err(error)) => {
                    // What came before it is the visitor's: an answer that is cut, and not none at all.
                    line.write(&mut [IoSlice::new(&self.out)]).await?;
                    return Err(io::Error::other(error));
                }
                Some(Ok(Frame::Trailers(_))) | None => {
                    self.finish(&HeaderMap::new())?;
                    break;
                }
            }
        }
        line.write(&mut [IoSlice::new(&self.out)]).await?;
        line.worker.spare.give_text(std::mem::take(&mut self.out));
        Ok(())
    }

    /// Adds one piece: a small one to what is gathered; a large one is written together with that.
    async fn add<IO>(&mut self, line: &Line<IO>, data: Bytes) -> io::Result<()>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.take_of_length(&data)?;
        let (before, behind) = match self.framing {
            Framing::Chunks => match ChunkLine::of(data.len()) {
                Some(line) => (Some(line), ChunkLine::END),
                None => return Ok(()),
            },
            Framing::Left(_) | Framing::UntilClose => (None, &b""[..]),
        };
        self.out.extend_from_slice(before.as_deref().unwrap_or_default());
        if self.out.len() + data.len() <= GATHER_BYTES_MAX {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(behind);
            return Ok(());
        }
        line.write(&mut [IoSlice::new(&self.out), IoSlice::new(&data), IoSlice::new(behind)]).await?;
        self.out.clear();
        Ok(())
    }

    fn finish(&mut self, trailers: &HeaderMap) -> io::Result<()> {
        match self.framing {
            Framing::Left(0) | Framing::UntilClose => Ok(()),
            Framing::Left(_) => Err(wrong_length("shorter than announced")),
            Framing::Chunks => {
                let fields = trailers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
                http1::write_last_chunk(fields, &mut self.out);
                Ok(())
            }
        }
    }
}

/// What the head says of the body, and how the body is written (RFC 9112 §6).
fn framing(asked: Asked, status: StatusCode, length: Length) -> (http1::Body, Framing) {
    let nothing = Framing::Left(0);
    match (Content::of(asked.method, status.as_u16()), length) {
        (Content::Withheld, Length::Known(length)) => (http1::Body::Length(length), nothing),
        (Content::Never | Content::Withheld, _) => (http1::Body::None, nothing),
        (Content::Framed, Length::Absent) => (http1::Body::Length(0), nothing),
        (Content::Framed, Length::Known(length)) => (http1::Body::Length(length), Framing::Left(length)),
        (Content::Framed, Length::Unknown) if asked.version == Version::Http11 => {
            (http1::Body::Chunked, Framing::Chunks)
        }
        (Content::Framed, Length::Unknown) => (http1::Body::UntilClose, Framing::UntilClose),
    }
}

fn wrong_length(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
