//! One request on a stream, and its answer. Whoever waits for the answer or reads its body drives the upload as well.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{Body, BodyError, Frame, Length};
use bartizan_routes::Scheme;
use bartizan_wire::http1::{Asked, Content, has_token};
use bartizan_wire::http2::EndStream;
use bytes::{Bytes, BytesMut};
use futures_util::Stream as Frames;
use http::{HeaderMap, StatusCode};

use super::session::{Session, StreamClosed};
use super::stream::{Closed, Held, Need, Stream};
use crate::arrived::Arrived;
use crate::clients::Told;
use crate::fields::{Fields, bytes_of};
use crate::forward::{self, Provenance};
use crate::ingress::{Block, RequestGuard};
use crate::limits::{ORIGIN_KEPT_BODY_BYTES_MAX, ORIGIN_SHARED_BODY_BYTES_MAX};

/// A request that is to be sent.
pub(in crate::egress) struct Asking<'r> {
    pub(in crate::egress) arrived: &'r Arrived,
    pub(in crate::egress) provenance: &'r Provenance<'r>,
    /// How the origin is reached, which is not always how its visitor came.
    pub(in crate::egress) scheme: Scheme,
    pub(in crate::egress) request: &'r RequestGuard,
}

/// Dropped before its end, its stream is reset.
pub(in crate::egress) struct Exchange {
    session: Rc<Session>,
    stream: Rc<Stream>,
    asked: Asked,
    is_idempotent: bool,
    upload: Upload,
    /// How much the reader was given last. Until it comes for more, that may wait for its visitor.
    lent: usize,
}

/// The request's body on its way.
struct Upload {
    body: Body,
    length: Length,
    /// What was taken of it, as long as it is little and may have to be sent again.
    kept: Option<Kept>,
    /// What is left of a known length.
    left: Option<u64>,
    piece: Bytes,
    /// To be sent behind all else.
    trailers: Option<HeaderMap>,
    stage: Stage,
    client: Option<Rc<Told>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was taken from the body.
    Untouched,
    UnderWay,
    /// The last piece, or the end alone.
    Last,
    Trailers,
    Over,
}

/// What was taken of a body.
#[derive(Default)]
struct Kept {
    data: BytesMut,
    trailers: Option<HeaderMap>,
    /// Nothing more comes.
    is_whole: bool,
}

/// The head of an answer, and what follows it.
pub(in crate::egress) struct Answer {
    pub(in crate::egress) status: StatusCode,
    pub(in crate::egress) fields: Fields,
    pub(in crate::egress) body: Body,
}

/// There is no answer.
pub(in crate::egress) struct Lost {
    /// What the origin said, if it did.
    pub(in crate::egress) why: Option<Closed>,
    /// The request's body, if it may be sent once more.
    pub(in crate::egress) again: Option<Body>,
}

impl Need {
    /// Of a request with such a body.
    pub(in crate::egress) fn of(arrived: &Arrived, length: Length) -> Need {
        match length {
            _ if length.is_nothing() => Need::Stream,
            Length::Known(length @ ..=ORIGIN_SHARED_BODY_BYTES_MAX) => Need::Room(length as usize),
            _ if arrived.is_grpc() => Need::Talk,
            _ => Need::Whole,
        }
    }
}

impl Exchange {
    /// Sends the head of a request. Gives the body back if no stream may be opened now.
    // Hot: once a request.
    pub(in crate::egress) fn begin(session: Rc<Session>, asking: &Asking<'_>, body: Body) -> Result<Exchange, Body> {
        let Asking { arrived, provenance, scheme, request } = asking;
        let scheme = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let asked = Asked::by(arrived.method.as_str());
        let length = body.length();
        let stream = Stream::new(request, Need::of(arrived, length));
        let is_opened = session.open(&stream, asked, EndStream::when(length.is_nothing()), |encoder, out| {
            let mut block = Block::of_http2(encoder, out);
            block.request([arrived.method.as_str(), scheme, arrived.host.as_str(), arrived.path.as_str()]);
            let mut block = forward::to_origin(&arrived.method, &arrived.fields, provenance, block);
            // RFC 9110 §10.1.4: of a hop, and of this one too, which passes them on. Servers of gRPC insist on it.
            if arrived.fields.values("te").any(|value| has_token(value, "trailers")) {
                block.field(b"te", b"trailers");
            }
            if let Length::Known(length) = length {
                block.length(length);
            }
        });
        if !is_opened {
            return Err(body);
        }
        let left = match length {
            Length::Absent => Some(0),
            Length::Known(length) => Some(length),
            Length::Unknown => None,
        };
        let upload = Upload {
            length,
            kept: Some(Kept::default()),
            left,
            piece: Bytes::new(),
            trailers: None,
            stage: if length.is_nothing() { Stage::Over } else { Stage::Untouched },
            client: provenance.client.map(Rc::clone),
            body,
        };
        let is_idempotent = arrived.method.is_idempotent();
        Ok(Exchange { session, stream, asked, is_idempotent, upload, lent: 0 })
    }

    /// Waits for the head of the final answer.
    pub(in crate::egress) async fn answer(mut self) -> Result<Answer, Lost> {
        let (head, fields) = match std::future::poll_fn(|cx| self.poll_head(cx)).await {
            Ok(found) => found,
            Err(why) => return Err(Lost { why, again: self.into_repeatable(why) }),
        };
        self.upload.keep_no_more(&self.stream);
        let Ok(status) = StatusCode::from_u16(head.status) else { return Err(Lost { why: None, again: None }) };
        let body = match Content::of(self.asked, head.status) {
            Content::Framed => self.into_body(head.length),
            // What is stated for `HEAD` and by a 304.
            Content::Withheld => head
                .length
                .map_or_else(Body::empty, |length| Body::stream(Length::Known(length), futures_util::stream::empty())),
            Content::Never => Body::empty(),
        };
        Ok(Answer { status, fields, body })
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(bartizan_wire::http2::AnswerHead, Fields), Option<Closed>>> {
        self.stream.wait(cx);
        if let Poll::Ready(Err(Failed::Body(error))) = self.poll_upload(cx) {
            tracing::debug!(%error, "the visitor did not deliver the body");
            return Poll::Ready(Err(None));
        }
        let mut intake = self.stream.intake.borrow_mut();
        if let Some(head) = intake.head.take() {
            self.stream.release(head.1.bytes());
            return Poll::Ready(Ok(head));
        }
        match intake.closed {
            Some(why) => Poll::Ready(Err(Some(why))),
            None => Poll::Pending,
        }
    }

    /// The body of the request, if it may be sent once more: nothing was done for it, or doing that again does no harm (RFC 9110 §9.2.2);
    /// and it is still to be had whole.
    fn into_repeatable(mut self, why: Option<Closed>) -> Option<Body> {
        let may_repeat = match why {
            Some(Closed::Refused | Closed::Http11Required) => true,
            Some(Closed::Broken) => self.is_idempotent,
            None => false,
        };
        if may_repeat { self.upload.again(&self.stream) } else { None }
    }

    /// The body of the answer.
    // Hot: once a request. No allocation where all of it came with the head.
    fn into_body(self, length: Option<u64>) -> Body {
        let mut intake = self.stream.intake.borrow_mut();
        if intake.is_over && intake.trailers.is_none() {
            let data = std::mem::take(&mut intake.data).freeze();
            drop(intake);
            self.stream.release(data.len());
            return match length {
                None if data.is_empty() => Body::empty(),
                _ => Body::whole(data),
            };
        }
        drop(intake);
        Body::frames(length.map_or(Length::Unknown, Length::Known), Reading(Some(self)))
    }

    /// The next piece of the answer's body; none at its end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        self.stream.wait(cx);
        // A failed upload is not worth the answer.
        let _ = self.poll_upload(cx);
        let lent = std::mem::take(&mut self.lent);
        if lent > 0 {
            self.session.took(&self.stream, lent);
        }
        let mut intake = self.stream.intake.borrow_mut();
        if !intake.data.is_empty() {
            let data = std::mem::take(&mut intake.data).freeze();
            drop(intake);
            self.lent = data.len();
            return Poll::Ready(Some(Ok(Frame::Data(data))));
        }
        if intake.is_over {
            let trailers = intake.trailers.take();
            self.stream.release(trailers.as_ref().map_or(0, bytes_of));
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::Trailers(trailers))));
        }
        match intake.closed {
            Some(_) => Poll::Ready(Some(Err(BodyError::new("the origin broke off")))),
            None => Poll::Pending,
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        loop {
            let upload = &mut self.upload;
            match upload.stage {
                Stage::Over => return Poll::Ready(Ok(())),
                Stage::Trailers => {
                    let trailers = upload.trailers.take().unwrap_or_default();
                    let client = upload.client.as_ref();
                    let is_ours = |name: &[u8]| client.is_some_and(|told| told.is_chosen(name));
                    let polled = self.session.poll_trailers(&self.stream, |encoder, out| {
                        let mut block = Block::of_http2(encoder, out);
                        let fields = trailers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
                        fields.filter(|(name, _)| !is_ours(name)).for_each(|(name, value)| block.field(name, value));
                    });
                    if polled.is_pending() {
                        self.upload.trailers = Some(trailers);
                        return Poll::Pending;
                    }
                    self.upload.stage = Stage::Over;
                }
                Stage::Untouched | Stage::UnderWay if upload.piece.is_empty() => {
                    match ready!(upload.body.poll_frame(cx)) {
                        Some(Ok(Frame::Data(data))) => {
                            upload.stage = Stage::UnderWay;
                            upload.keep(&data, &self.stream);
                            if let Some(left) = &mut upload.left {
                                let rest = left.checked_sub(data.len() as u64);
                                *left = rest.ok_or_else(|| Failed::Body(BodyError::new("longer than announced")))?;
                                if *left == 0 {
                                    upload.stage = Stage::Last;
                                }
                            }
                            upload.piece = data;
                        }
                        Some(Err(error)) => return Poll::Ready(Err(Failed::Body(error))),
                        other => {
                            if upload.left.is_some_and(|left| left > 0) {
                                return Poll::Ready(Err(Failed::Body(BodyError::new("shorter than announced"))));
                            }
                            upload.trailers = match other {
                                Some(Ok(Frame::Trailers(trailers))) if !trailers.is_empty() => Some(trailers),
                                _ => None,
                            };
                            if let Some(kept) = &mut upload.kept {
                                kept.trailers.clone_from(&upload.trailers);
                                kept.is_whole = true;
                            }
                            upload.stage = if upload.trailers.is_some() { Stage::Trailers } else { Stage::Last };
                        }
                    }
                }
                Stage::Untouched | Stage::UnderWay | Stage::Last => {
                    let end = EndStream::when(upload.stage == Stage::Last);
                    match ready!(self.session.poll_data(&self.stream, &mut upload.piece, end)) {
                        Ok(_) if upload.piece.is_empty() && end == EndStream::Set => upload.stage = Stage::Over,
                        Ok(_) => {}
                        Err(StreamClosed) => {
                            upload.stage = Stage::Over;
                            return Poll::Ready(Err(Failed::Origin));
                        }
                    }
                }
            }
        }
    }
}

impl Upload {
    fn keep(&mut self, data: &[u8], stream: &Stream) {
        let Some(kept) = &mut self.kept else { return };
        if kept.data.len() + data.len() <= ORIGIN_KEPT_BODY_BYTES_MAX && stream.try_to_keep(data.len()) {
            // A copy: what it was cut from may be much larger.
            kept.data.extend_from_slice(data);
        } else {
            self.keep_no_more(stream);
        }
    }

    fn keep_no_more(&mut self, stream: &Stream) {
        self.kept.take().into_iter().for_each(|kept| stream.keep_no_more(kept.data.len()));
    }

    /// All of the body, if it is still to be had.
    fn again(&mut self, stream: &Stream) -> Option<Body> {
        let Kept { data, trailers, is_whole } = self.kept.take()?;
        let held = stream.hand_over(data.len());
        let rest = std::mem::replace(&mut self.body, Body::empty());
        if data.is_empty() && !is_whole {
            return Some(rest);
        }
        let data = Some(data.freeze()).filter(|data| !data.is_empty()).map(|data| (data, held));
        Some(Body::frames(self.length, Again { data, trailers, rest: Some(rest).filter(|_| !is_whole) }))
    }
}

/// A body of which some was taken before.
struct Again {
    /// Counted as the visitor's until it is taken, however long the next connection takes to come about.
    data: Option<(Bytes, Held)>,
    trailers: Option<HeaderMap>,
    /// None if nothing follows.
    rest: Option<Body>,
}

impl Frames for Again {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some((data, _)) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::Data(data))));
        }
        match &mut self.rest {
            Some(rest) => rest.poll_frame(cx),
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::Trailers(trailers)))),
        }
    }
}

/// Why an upload ended before its end.
enum Failed {
    /// The visitor did not deliver the body.
    Body(BodyError),
    /// The origin does not take it. It may have answered.
    Origin,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.upload.keep_no_more(&self.stream);
        self.session.let_go(&self.stream);
    }
}

/// None when the body is over.
struct Reading(Option<Exchange>);

impl Frames for Reading {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(exchange) = &mut self.0 else { return Poll::Ready(None) };
        let piece = ready!(exchange.poll_piece(cx));
        if !matches!(piece, Some(Ok(Frame::Data(_)))) {
            self.0 = None;
        }
        Poll::Ready(piece)
    }
}
