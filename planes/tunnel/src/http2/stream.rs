//! What a stream's caller and its connection share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bartizan_rpc::over_http2::{ANSWER_FIELD, Answerer, META_FIELD};
use bartizan_wire::http1::{Fields, may_follow_a_body};
use bartizan_wire::http2::AnswerHead;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::held::Holding;

/// Of its connection's state and this one, the connection's is locked first.
pub(crate) struct Stream(Mutex<Intake>);

/// What came and was not taken. The stream's window bounds it, and the share of memory.
pub(super) struct Intake {
    /// 0 until it is opened.
    pub(super) number: u32,
    pub(super) head: Option<Head>,
    pub(super) data: BytesMut,
    pub(super) trailers: Option<HeaderMap>,
    /// The connector has sent its last.
    pub(super) is_over: bool,
    pub(super) closed: Option<Closed>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Whether it is in a queue of its connection.
    pub(super) is_queued: bool,
    holding: Holding,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) answerer: Answerer,
    /// The origin's fields, as they came.
    pub(crate) fields: Bytes,
}

/// Why a stream ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Closed {
    #[error("the connector broke it off")]
    Reset,
    #[error("the connector has done nothing for it")]
    Refused,
    #[error("the connection to the connector was lost")]
    Lost,
    #[error("it was read too slowly, and others needed the memory")]
    Shed,
    #[error("nothing of it was taken, and others could not begin")]
    MadeRoom,
}

impl From<Closed> for std::io::Error {
    fn from(closed: Closed) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::ConnectionReset, closed)
    }
}

/// There is no memory for what came: the stream is to be reset.
#[derive(Debug)]
pub(super) struct Unheld;

impl Stream {
    pub(super) fn new(holding: Holding) -> Stream {
        Stream(Mutex::new(Intake {
            number: 0,
            head: None,
            data: BytesMut::new(),
            trailers: None,
            is_over: false,
            closed: None,
            reader: None,
            writer: None,
            is_queued: false,
            holding,
        }))
    }

    pub(super) fn intake(&self) -> MutexGuard<'_, Intake> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its end, for both halves.
    pub(super) fn close(&self, why: Closed) {
        let mut intake = self.intake();
        intake.closed.get_or_insert(why);
        let wakers = (intake.reader.take(), intake.writer.take());
        drop(intake);
        wake(wakers.0);
        wake(wakers.1);
    }

    /// It was in a queue, and is not any more.
    pub(super) fn go_on(&self) {
        self.intake().is_queued = false;
        self.wake_writer();
    }

    pub(super) fn wake_writer(&self) {
        let mut intake = self.intake();
        let writer = intake.writer.take();
        drop(intake);
        wake(writer);
    }

    pub(super) fn receive_head(&self, head: AnswerHead, fields: Fields<'_>, ends: bool) -> Result<(), Unheld> {
        let named = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        let answerer = Answerer::read(named(META_FIELD).map(|field| field.value));
        let fields = named(ANSWER_FIELD).map_or_else(Bytes::new, |field| Bytes::copy_from_slice(field.value));
        let head = Head { status: head.status, answerer, fields };
        self.put(head.fields.len(), ends, |intake| intake.head = Some(head))
    }

    // Hot: once a frame. One copy, so that what is held is what is counted.
    pub(super) fn receive(&self, data: &[u8], ends: bool) -> Result<(), Unheld> {
        self.put(data.len(), ends, |intake| intake.data.extend_from_slice(data))
    }

    /// Only such as may be there, and none that an edge alone says.
    pub(super) fn receive_trailers(&self, fields: Fields<'_>) -> Result<(), Unheld> {
        let passes = |name: &[u8]| {
            let is_of = |prefix: &str| {
                name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
            };
            may_follow_a_body(name) && !is_of("cf-") && !is_of("bartizan-")
        };
        let field = |field: bartizan_wire::http1::Field<'_>| {
            Some((HeaderName::from_bytes(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?))
        };
        let trailers: HeaderMap = fields.iter().filter(|field| passes(field.name)).filter_map(field).collect();
        let bytes = bytes_of(&trailers);
        self.put(bytes, true, |intake| intake.trailers = Some(trailers).filter(|trailers| !trailers.is_empty()))
    }

    fn put(&self, bytes: usize, ends: bool, put: impl FnOnce(&mut Intake)) -> Result<(), Unheld> {
        let mut intake = self.intake();
        intake.holding.add(bytes).map_err(|_| Unheld)?;
        put(&mut intake);
        intake.is_over |= ends;
        let reader = intake.reader.take();
        drop(intake);
        wake(reader);
        Ok(())
    }

    pub(super) fn source(&self) -> bartizan_quotas::SourceKey {
        self.intake().holding.source()
    }
}

impl Intake {
    /// So much of it is held no more.
    pub(super) fn release(&mut self, bytes: usize) {
        self.holding.sub(bytes);
    }

    pub(super) fn read_later(&mut self, cx: &Context<'_>) {
        keep(&mut self.reader, cx);
    }

    pub(super) fn write_later(&mut self, cx: &Context<'_>) {
        keep(&mut self.writer, cx);
    }
}

pub(super) fn bytes_of(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
