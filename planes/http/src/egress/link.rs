//! One HTTP/1.1 connection to an origin, on the codec of `base/wire`.
//!
//! Nobody runs it: whoever waits for an answer or reads its body drives the upload of the request's body as well.
//!
//! ```text
//! Link ── begin, answer ─► Head ─┬─ body read to its end, upload over, kept alive ─► pool
//!                                └─ 101 ─► into_io
//! ```
//! An answer that is there counts, even if the upload failed before (RFC 9112 §9.5).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bartizan_exchange::{Io, Length};
use bartizan_quotas::{Pass, SourceKey};
use bartizan_wire::http1::{
    self, Asked, BodyReader, Event, HeadSearch, INTERIM_MAX, Leading, Limits, Persistence, ResponseHead,
};
use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::composed::Composed;
use super::origin_io::OriginIo;
use super::upload::{Failed, Upload};
use crate::fields::{Fields, Lines};
use crate::ingress::RequestGuard;
use crate::limits::ORIGIN_READ_BYTES_MAX;
use crate::spare::{Spare, Unread};

/// Dropped, it closes. In a box, since it goes from hand to hand with each request.
pub(crate) struct Link {
    io: OriginIo,
    unread: Unread,
    /// The request's body on its way to the origin. None between requests.
    upload: Option<Upload>,
    /// Its place among all connections to origins.
    pass: Option<Pass>,
    /// What the request under way asks for.
    asked: Asked,
    /// The most that is read at a time.
    piece_bytes: usize,
    spare: Rc<Spare>,
}

/// What `answer` waits for.
struct Waiting<'r> {
    /// Whoever is told of interim answers.
    request: &'r RequestGuard,
    search: HeadSearch,
    /// Interim answers that came.
    interim: usize,
}

const SEARCH: HeadSearch = HeadSearch::new(Leading::Nothing);

/// The head of an answer.
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) fields: Fields,
    /// The length of the body, or the stated length where there is none (`HEAD`, 304).
    pub(crate) length: Length,
    pub(crate) body: BodyReader,
    pub(crate) persistence: Persistence,
    /// A 101 that switches to WebSocket.
    pub(crate) to_websocket: bool,
}

/// The connection broke before the answer's head was there.
pub(crate) struct Lost {
    /// The request, if it may be sent over another one.
    pub(crate) again: Option<Composed>,
}

impl Link {
    pub(super) fn new(io: OriginIo, spare: Rc<Spare>) -> Box<Link> {
        let (unread, asked) = (Unread::default(), Asked::Other);
        Box::new(Link { io, unread, upload: None, pass: None, asked, piece_bytes: ORIGIN_READ_BYTES_MAX, spare })
    }

    /// The same, which gives this place back when it closes.
    pub(crate) fn within(mut self: Box<Self>, pass: Pass) -> Box<Link> {
        self.pass = Some(pass);
        self
    }

    /// The visitor that it was made for.
    pub(crate) fn source(&self) -> Option<SourceKey> {
        self.pass.as_ref().map(Pass::source)
    }

    /// Whether the origin has closed it, as far as we know, or has said something that nobody asked for.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        Pin::new(&mut self.io).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_ready()
    }

    /// Takes a request, to be sent by [`Link::answer`].
    pub(crate) fn begin(&mut self, composed: Composed, of: &RequestGuard) {
        self.piece_bytes = of.connection.piece_bytes();
        self.asked = composed.asked;
        self.upload = Some(Upload::new(composed, &of.under_way));
    }

    /// Sends the request and waits for the head of its final answer; `to` is told of those before.
    pub(crate) async fn answer(&mut self, to: &RequestGuard) -> Result<Head, Lost> {
        let mut waiting = Waiting { request: to, search: SEARCH, interim: 0 };
        match poll_fn(|cx| self.poll_head(cx, &mut waiting)).await {
            Ok(head) => {
                self.let_go(Upload::is_over);
                Ok(head)
            }
            Err(error) => {
                tracing::debug!(%error, "no answer from the origin");
                Err(Lost { again: self.upload.take().and_then(Upload::into_repeatable) })
            }
        }
    }

    /// Gives the memory of the upload back, if it is done.
    fn let_go(&mut self, is_done: impl FnOnce(&Upload) -> bool) {
        if let Some(upload) = self.upload.take_if(|upload| is_done(upload)) {
            self.spare.give_text(upload.into_text());
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, waiting: &mut Waiting<'_>) -> Poll<io::Result<Head>> {
        if let Poll::Ready(Err(Failed::Body(error))) = self.poll_upload(cx) {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        loop {
            let found = waiting.search.find(&self.unread, &Limits::RESPONSE).map_err(io::Error::other)?;
            let Some(found) = found else {
                if ready!(self.poll_read(cx))? == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                continue;
            };
            let bytes = self.unread.split_to(found.end).freeze();
            let head = ResponseHead::parse(&bytes, self.asked, &Limits::RESPONSE, self.spare.room());
            let head = head.map_err(io::Error::other)?;
            let is_interim = head.is_interim();
            let head = Head::of(head, bytes)?;
            if !is_interim {
                return Poll::Ready(Ok(head));
            }
            waiting.interim += 1;
            if waiting.interim > INTERIM_MAX {
                return Poll::Ready(Err(io::Error::other("too many interim answers")));
            }
            waiting.request.pass_interim(head.status, &head.fields);
            head.fields.into_room().into_iter().for_each(|room| self.spare.give_room(room));
            waiting.search = SEARCH;
        }
    }

    /// The next piece of the answer's body; none at its end.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>, body: &mut BodyReader) -> Poll<Option<io::Result<Bytes>>> {
        // A failed upload shows when the connection is to be kept; the answer is worth more.
        let _ = self.poll_upload(cx);
        loop {
            let step = body.next(&self.unread).map_err(io::Error::other)?;
            let mut used = self.unread.split_to(step.used);
            match step.event {
                Event::Data(range) => {
                    used.truncate(range.end);
                    used.advance(range.start);
                    // Where many answers share a connection, many pieces may wait.
                    let is_one_of_many = self.piece_bytes < ORIGIN_READ_BYTES_MAX;
                    let piece = if is_one_of_many { self.unread.part(used) } else { used };
                    return Poll::Ready(Some(Ok(piece.freeze())));
                }
                Event::End => return Poll::Ready(None),
                Event::Hungry => {}
            }
            if ready!(self.poll_read(cx))? == 0 {
                body.end_of_input().map_err(io::Error::other)?;
            }
        }
    }

    /// A body of this length, if all of it is here, with nothing that it would keep, and nothing of the request is still to be sent.
    pub(crate) fn take_whole(&mut self, body: &mut BodyReader, length: u64) -> Option<Bytes> {
        if self.unread.len() as u64 != length || self.upload.as_ref().is_some_and(|upload| !upload.is_over()) {
            return None;
        }
        let step = body.next(&self.unread).ok()?;
        let used = self.unread.split_to(step.used);
        Some(used.freeze())
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let Some(upload) = &mut self.upload else { return Poll::Ready(Ok(())) };
        let polled = upload.poll(&mut self.io, cx);
        self.let_go(Upload::is_spent);
        polled
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let polled = self.unread.poll_read(&mut self.io, cx, self.piece_bytes, &self.spare);
        if polled.is_pending() {
            self.unread.rest(&self.spare);
        }
        polled
    }

    /// Whether another request may follow, after an answer was read to its end.
    pub(crate) fn may_be_kept(&mut self, persistence: Persistence) -> bool {
        self.let_go(Upload::is_over);
        let uploaded = self.upload.take().is_none();
        self.unread.rest(&self.spare);
        persistence == Persistence::KeepAlive && uploaded && self.unread.is_empty()
    }

    /// The bytes behind a 101.
    pub(crate) fn into_io(self: Box<Self>) -> Box<dyn Io> {
        let Link { io, mut unread, pass, .. } = *self;
        Box::new(Rewound { first: unread.split().freeze(), io: io.boxed(), _pass: pass })
    }
}

impl Head {
    fn of(head: ResponseHead, bytes: Bytes) -> io::Result<Head> {
        let stated = head.stated_length.map_or(Length::Absent, Length::Known);
        let length = match head.body {
            http1::Body::Length(length) => Length::Known(length),
            http1::Body::Chunked | http1::Body::UntilClose => Length::Unknown,
            // For `HEAD` and 304.
            http1::Body::None => stated,
            http1::Body::Switched => Length::Absent,
        };
        Ok(Head {
            status: StatusCode::from_u16(head.status).map_err(io::Error::other)?,
            length,
            body: BodyReader::new(head.body),
            persistence: head.persistence,
            to_websocket: head.to_websocket,
            fields: Fields::Lines(Lines::new(bytes, head.into_room())),
        })
    }
}

/// A connection of which some bytes were read already.
struct Rewound {
    first: Bytes,
    io: Box<dyn Io>,
    _pass: Option<Pass>,
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let now = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..now]);
        self.first.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
