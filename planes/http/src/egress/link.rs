//! One HTTP/1.1 connection to an origin, on the codec of `base/wire`.
//!
//! Nobody runs it: whoever waits for an answer or reads its body drives the upload of the request's body as well.
//!
//! ```text
//! Link ── send ─► Answered ─► AnswerBody ── read to its end, upload over, kept alive ─► pool
//!                   └─ 101 ─► into_io
//! ```
//! An answer that is there counts, even if the upload failed before (RFC 9112 §9.5).

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bartizan_exchange::{Io, Length};
use bartizan_quotas::{Pass, SourceKey};
use bartizan_wire::http1::{
    self, Asked, BodyReader, Class, Event, FieldRoom, HeadSearch, INTERIM_MAX, Leading, Limits, Persistence,
    ResponseHead,
};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::composed::Composed;
use super::upload::{Failed, Upload};
use crate::forward::FIELDS_SIGNED;
use crate::ingress::RequestGuard;
use crate::limits::ORIGIN_READ_BYTES_MAX;

/// Dropped, it closes.
pub(crate) struct Link {
    io: Box<dyn Io>,
    /// Bytes that were read and not used yet.
    unread: BytesMut,
    /// The request's body on its way to the origin. None between requests.
    upload: Option<Upload>,
    /// Its place among all connections to origins.
    pass: Option<Pass>,
    /// The most that is read at a time.
    piece_bytes: usize,
}

/// What `send` waits for.
struct Waiting<'r> {
    asked: Asked,
    room: &'r Cell<FieldRoom>,
    /// Whoever is told of interim answers.
    request: &'r RequestGuard,
    search: HeadSearch,
    /// Interim answers that came.
    interim: usize,
}

const SEARCH: HeadSearch = HeadSearch::new(Leading::Nothing);

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
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
    pub(crate) fn new(io: Box<dyn Io>) -> Link {
        Link { io, unread: BytesMut::new(), upload: None, pass: None, piece_bytes: ORIGIN_READ_BYTES_MAX }
    }

    /// The same, which gives this place back when it closes.
    pub(crate) fn within(self, pass: Pass) -> Link {
        Link { pass: Some(pass), ..self }
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

    /// Sends a request and waits for the head of its final answer, which is read with the memory in `room`; `to` is told
    /// of those before.
    pub(crate) async fn send(
        &mut self,
        request: Composed,
        piece_bytes: usize,
        (room, to): (&Cell<FieldRoom>, &RequestGuard),
    ) -> Result<Head, Lost> {
        self.piece_bytes = piece_bytes;
        let mut waiting = Waiting { asked: request.asked, room, request: to, search: SEARCH, interim: 0 };
        self.upload = Some(Upload::new(request));
        let head = poll_fn(|cx| self.poll_head(cx, &mut waiting)).await;
        head.map_err(|error| {
            tracing::debug!(%error, "no answer from the origin");
            Lost { again: self.upload.take().and_then(Upload::into_repeatable) }
        })
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
            let head = ResponseHead::parse(&bytes, waiting.asked, &Limits::RESPONSE, waiting.room.take());
            let head = head.map_err(io::Error::other)?;
            if !head.is_interim() {
                let read = Head::of(&head, &bytes);
                waiting.room.set(head.into_room());
                return Poll::Ready(read);
            }
            waiting.interim += 1;
            if waiting.interim > INTERIM_MAX {
                return Poll::Ready(Err(io::Error::other("too many interim answers")));
            }
            let Head { status, headers, .. } = Head::of(&head, &bytes)?;
            waiting.request.pass_interim(status, headers);
            waiting.search = SEARCH;
        }
    }

    /// The next piece of the answer's body; none at its end.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>, body: &mut BodyReader) -> Poll<Option<io::Result<Bytes>>> {
        // A failed upload shows when the connection is to be kept; the answer is worth more.
        let _ = self.poll_upload(cx);
        loop {
            let step = body.next(&self.unread).map_err(io::Error::other)?;
            let used = self.unread.split_to(step.used);
            match step.event {
                Event::Data(range) => return Poll::Ready(Some(Ok(used.freeze().slice(range)))),
                Event::End => return Poll::Ready(None),
                Event::Hungry => {}
            }
            if ready!(self.poll_read(cx))? == 0 {
                body.end_of_input().map_err(io::Error::other)?;
            }
        }
    }

    /// A body of this length, if all of it is here and nothing of the request is still to be sent.
    pub(crate) fn take_whole(&mut self, body: &mut BodyReader, length: u64) -> Option<Bytes> {
        if (self.unread.len() as u64) < length || self.upload.as_ref().is_some_and(|upload| !upload.is_over()) {
            return None;
        }
        let step = body.next(&self.unread).ok()?;
        let used = self.unread.split_to(step.used);
        Some(used.freeze())
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        match &mut self.upload {
            Some(upload) => upload.poll(&mut self.io, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.unread.is_empty() {
            // What was handed out keeps its memory; this begins anew.
            self.unread = BytesMut::new();
        }
        // On the stack, so that a connection that waits holds no buffer.
        let mut scratch = [const { MaybeUninit::uninit() }; ORIGIN_READ_BYTES_MAX];
        let piece_bytes = self.piece_bytes.min(scratch.len());
        let mut buffer = ReadBuf::uninit(&mut scratch[..piece_bytes]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        self.unread.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Whether another request may follow, after an answer was read to its end.
    pub(crate) fn may_be_kept(&mut self, persistence: Persistence) -> bool {
        let uploaded = self.upload.take().is_none_or(|upload| upload.is_over());
        persistence == Persistence::KeepAlive && uploaded && self.unread.is_empty()
    }

    /// The bytes behind a 101.
    pub(crate) fn into_io(self) -> Box<dyn Io> {
        let Link { io, unread, pass, .. } = self;
        Box::new(Rewound { first: unread.freeze(), io, _pass: pass })
    }
}

impl Head {
    fn of(head: &ResponseHead, bytes: &Bytes) -> io::Result<Head> {
        let view = head.of(bytes);
        let mut headers = HeaderMap::with_capacity(view.fields().iter().count() + FIELDS_SIGNED);
        for field in view.fields().iter().filter(|field| field.class == Class::EndToEnd) {
            let name = HeaderName::from_bytes(field.name).map_err(io::Error::other)?;
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).map_err(io::Error::other)?;
            headers.append(name, value);
        }
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
            headers,
            length,
            body: BodyReader::new(head.body),
            persistence: head.persistence,
            to_websocket: head.to_websocket,
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
