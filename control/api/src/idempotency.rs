//! `Idempotency-Key`, an extra of ours: who repeats a write because the answer was lost gets that answer, and nothing is
//! done twice. Answers are kept in memory for a day, as long as there is room; after a start nobody is known any more.
//!
//! ```text
//! key unknown ─► running ─► answer kept ─ the same call again ─► the answer
//!                   │            └──────── another call ───────► 400
//!                   └─ the same call meanwhile ─► 503, to be tried again
//! ```
//! A call that failed at this edge (5xx), or was broken off, is not kept: the next one with its key runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::error::{Error, Fault};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Answers that are kept, and their bytes together; the oldest go first.
const ANSWERS_MAX: usize = 4_096;
const BYTES_MAX: usize = 8 << 20;

/// A larger answer is not kept.
const ANSWER_MAX: usize = 64 << 10;

/// Characters of a key.
const KEY_MAX: usize = 255;

/// How soon a call may come again whose first is still running.
const RUNNING: Duration = Duration::from_secs(1);

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Who calls, with which key.
type Who = (String, String);

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    entries: HashMap<Who, Entry>,
    /// By when each was kept.
    order: BTreeMap<u64, (Instant, Who)>,
    next: u64,
    bytes: usize,
}

enum Entry {
    Running,
    Done { call: [u8; 32], place: u64, answer: Answer },
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// What becomes of a call.
pub(crate) enum Turn {
    /// It runs, and nothing is kept.
    Free,
    /// It runs, and its answer is kept.
    First(First),
    /// It has been answered before, or cannot run.
    Answered(Box<Response>),
}

impl Answers {
    /// Whether a call says which one it is: a write with a key.
    pub(crate) fn key(method: &Method, headers: &HeaderMap) -> Result<Option<String>, Error> {
        let Some(key) = headers.get(KEY).filter(|_| !method.is_safe()) else { return Ok(None) };
        let valid = key.to_str().ok().filter(|key| (1..=KEY_MAX).contains(&key.len()));
        valid
            .map(|key| Some(key.to_owned()))
            .ok_or_else(|| Fault::IdempotencyKey.because(format!("it must have 1 to {KEY_MAX} characters of ASCII")))
    }

    /// `call` is what is asked for: a second one with the same key must ask for the same.
    pub(crate) fn turn(&self, caller: String, key: String, call: [u8; 32], now: Instant) -> Turn {
        let who = (caller, key);
        let mut kept = self.lock();
        kept.forget_old(now);
        match kept.entries.get(&who) {
            Some(Entry::Done { call: first, answer, .. }) if *first == call => {
                return Turn::Answered(Box::new(answer.response()));
            }
            Some(Entry::Done { .. }) => {
                let error = Fault::IdempotencyKey.because("it was used for another call");
                return Turn::Answered(Box::new(error.into_response()));
            }
            Some(Entry::Running) => {
                let error = Error::from(Fault::Busy).after(RUNNING);
                return Turn::Answered(Box::new(error.into_response()));
            }
            None => {}
        }
        // More than this at once is a mistake of somebody; their calls run, and nobody is told what they were answered.
        if kept.entries.len() >= ANSWERS_MAX && !kept.make_room(0) {
            return Turn::Free;
        }
        kept.entries.insert(who.clone(), Entry::Running);
        Turn::First(First { answers: self.clone(), who: Some(who), call })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget_old(&mut self, now: Instant) {
        while let Some(first) = self.order.first_entry().filter(|first| now.duration_since(first.get().0) >= KEPT) {
            let (_, who) = first.remove();
            self.forget(&who);
        }
    }

    /// Lets the oldest answers go until there is room; false if there are none to let go.
    fn make_room(&mut self, bytes: usize) -> bool {
        while self.bytes + bytes > BYTES_MAX || self.entries.len() >= ANSWERS_MAX {
            let Some((_, (_, who))) = self.order.pop_first() else { return false };
            self.forget(&who);
        }
        true
    }

    fn forget(&mut self, who: &Who) {
        if let Some(Entry::Done { place, answer, .. }) = self.entries.remove(who) {
            self.order.remove(&place);
            self.bytes -= answer.body.len();
        }
    }
}

/// The first call with its key. Dropped without an answer, it was none.
pub(crate) struct First {
    answers: Answers,
    who: Option<Who>,
    call: [u8; 32],
}

impl First {
    /// Keeps the answer, if it is final and not large, and gives it back.
    pub(crate) async fn keep(mut self, response: Response, now: Instant) -> Response {
        let size = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
        if response.status().is_server_error() || size.is_none_or(|size| size > ANSWER_MAX) {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return Error::from(Fault::Internal).into_response() };
        let body = body.to_bytes();
        let mut kept = self.answers.lock();
        if let Some(who) = self.who.take() {
            // It is in the way of its own answer.
            kept.entries.remove(&who);
            if kept.make_room(body.len()) {
                let (place, answer) = (kept.next, Answer { status: parts.status, body: body.clone() });
                kept.next += 1;
                kept.bytes += answer.body.len();
                kept.order.insert(place, (now, who.clone()));
                kept.entries.insert(who, Entry::Done { call: self.call, place, answer });
            }
        }
        drop(kept);
        Response::from_parts(parts, Body::from(body))
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if let Some(who) = self.who.take() {
            self.answers.lock().entries.remove(&who);
        }
    }
}

impl Answer {
    fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, size: usize) -> Response {
        let mut response = Response::new(Body::from(vec![b'x'; size]));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }

    /// `runs`, or the status of the answer.
    fn turn(answers: &Answers, key: &str, call: u8, now: Instant) -> (Option<First>, u16) {
        match answers.turn("me".to_owned(), key.to_owned(), [call; 32], now) {
            Turn::First(first) => (Some(first), 0),
            Turn::Free => (None, 1),
            Turn::Answered(response) => (None, response.status().as_u16()),
        }
    }

    #[tokio::test]
    async fn a_call_is_answered_once() {
        let (answers, start) = (Answers::default(), Instant::now());
        let (first, _) = turn(&answers, "a", 1, start);
        assert_eq!(turn(&answers, "a", 1, start).1, 503, "still running");
        first.unwrap().keep(response(200, 9), start).await;
        assert_eq!(turn(&answers, "a", 1, start).1, 200);
        assert_eq!(turn(&answers, "a", 2, start).1, 400, "another call");
        assert_eq!(turn(&answers, "b", 1, start).1, 0, "another key");
        // What failed here, or was broken off, runs again.
        turn(&answers, "c", 1, start).0.unwrap().keep(response(503, 9), start).await;
        drop(turn(&answers, "c", 1, start).0.unwrap());
        assert_eq!(turn(&answers, "c", 1, start).1, 0);
        turn(&answers, "d", 1, start).0.unwrap().keep(response(200, ANSWER_MAX + 1), start).await;
        assert_eq!(turn(&answers, "d", 1, start).1, 0, "too large to be kept");
        assert_eq!(turn(&answers, "a", 2, start + KEPT).1, 0, "a day later it is forgotten");
        assert_eq!(answers.lock().bytes, 0);
    }

    #[tokio::test]
    async fn so_much_is_kept() {
        let (answers, now) = (Answers::default(), Instant::now());
        let many = BYTES_MAX / ANSWER_MAX;
        for number in 0..=many {
            let first = turn(&answers, &number.to_string(), 1, now).0.unwrap();
            first.keep(response(200, ANSWER_MAX), now).await;
        }
        assert_eq!(answers.lock().bytes, BYTES_MAX);
        assert_eq!(turn(&answers, "1", 1, now).1, 200);
        assert_eq!(turn(&answers, "0", 1, now).1, 0, "the oldest went");
        for number in 0..ANSWERS_MAX {
            turn(&answers, &format!("small {number}"), 1, now).0.unwrap().keep(response(200, 1), now).await;
        }
        assert_eq!(answers.lock().entries.len(), ANSWERS_MAX);
        let answers = Answers::default();
        let running: Vec<_> = (0..ANSWERS_MAX).map(|number| turn(&answers, &number.to_string(), 1, now)).collect();
        assert_eq!(turn(&answers, "one more", 1, now).1, 1, "it runs, and is not kept");
        drop(running);
        assert_eq!(answers.lock().entries.len(), 0);
    }
}
