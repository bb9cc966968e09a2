//! `Idempotency-Key`, an extra of ours: who repeats a write because the answer was lost gets that answer, and nothing is
//! done twice. Answers are kept in memory for a day, as long as there is room; after a start nobody is known any more.
//!
//! ```text
//! key unknown ─► running ─► done ─ the same call again ─► its answer, or 409 where that is not kept
//!                   │         └──── another call ───────► 400
//!                   └─ any call meanwhile ─► 503, to be tried again
//! ```
//! A call that has begun goes on to its end, whoever still waits for its answer. One that did nothing (4xx), or failed at
//! this edge (5xx), is not kept: the next one with its key runs.
//!
//! Each caller has a part of the room. Where all of it is taken, whoever has most of it gives way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::error::{Error, Fault};
use crate::reply::ToldOnce;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// What a call takes beside its answer, roughly: the key, the caller, and its places in the tables.
const CALL_BYTES: usize = 1 << 10;

/// What all calls and their answers take together, and those of one caller; the oldest go first.
const BYTES_MAX: usize = 8 << 20;
const PART_BYTES_MAX: usize = 512 << 10;

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
    /// By when each was done.
    order: BTreeMap<u64, (Instant, Who)>,
    parts: HashMap<String, Part>,
    next: u64,
    bytes: usize,
}

/// What one caller has of it.
#[derive(Default)]
struct Part {
    bytes: usize,
    /// In the order.
    done: BTreeSet<u64>,
}

enum Entry {
    Running,
    Done {
        call: [u8; 32],
        place: u64,
        /// None: it is told once, or too large.
        answer: Option<Answer>,
    },
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Entry::Done { answer: Some(answer), .. } => CALL_BYTES + answer.body.len(),
            _ => CALL_BYTES,
        }
    }
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// What becomes of a call.
pub(crate) enum Turn {
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
        let known: Option<Error> = match kept.entries.get(&who) {
            Some(Entry::Done { call: first, answer: Some(answer), .. }) if *first == call => {
                return Turn::Answered(Box::new(answer.response()));
            }
            Some(Entry::Done { call: first, .. }) if *first == call => Some(Fault::AnswerNotKept.into()),
            Some(Entry::Done { .. }) => Some(Fault::IdempotencyKey.because("it was used for another call")),
            Some(Entry::Running) => Some(Error::from(Fault::Busy).after(RUNNING)),
            None => None,
        };
        let refusal = match known {
            Some(refusal) => refusal,
            None if kept.make_room(&who.0, CALL_BYTES) => {
                kept.insert(who.clone(), Entry::Running);
                return Turn::First(First { answers: self.clone(), who: Some(who), call });
            }
            // A call that cannot be known again does not run.
            None => Error::from(Fault::Busy).after(RUNNING),
        };
        Turn::Answered(Box::new(refusal.into_response()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget_old(&mut self, now: Instant) {
        while let Some(who) = self.order.values().next().filter(|(at, _)| now.duration_since(*at) >= KEPT) {
            let who = who.1.clone();
            self.forget(&who);
        }
    }

    /// Lets the oldest calls go until there is room: the caller's own, if their part is full, else those of whoever has
    /// most. False if there are none to let go.
    fn make_room(&mut self, caller: &str, bytes: usize) -> bool {
        loop {
            let own = self.parts.get(caller).filter(|part| part.bytes + bytes > PART_BYTES_MAX);
            let full = match own {
                Some(own) => Some(own),
                None if self.bytes + bytes <= BYTES_MAX => return true,
                None => self.parts.values().filter(|part| !part.done.is_empty()).max_by_key(|part| part.bytes),
            };
            let oldest = full.and_then(|part| part.done.first()).and_then(|place| self.order.get(place));
            let Some((_, who)) = oldest.cloned() else { return false };
            self.forget(&who);
        }
    }

    fn insert(&mut self, who: Who, entry: Entry) {
        self.forget(&who);
        self.bytes += entry.bytes();
        let part = self.parts.entry(who.0.clone()).or_default();
        part.bytes += entry.bytes();
        if let Entry::Done { place, .. } = &entry {
            part.done.insert(*place);
        }
        self.entries.insert(who, entry);
    }

    fn forget(&mut self, who: &Who) {
        let Some(entry) = self.entries.remove(who) else { return };
        self.bytes -= entry.bytes();
        if let Some(part) = self.parts.get_mut(&who.0) {
            part.bytes -= entry.bytes();
            if let Entry::Done { place, .. } = &entry {
                part.done.remove(place);
                self.order.remove(place);
            }
            if part.bytes == 0 {
                self.parts.remove(&who.0);
            }
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
    /// Keeps what was done, with the answer if that is not large and may be told again, and gives the answer back.
    pub(crate) async fn keep(mut self, response: Response, now: Instant) -> Response {
        if !response.status().is_success() {
            return response;
        }
        let size = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
        if response.extensions().get::<ToldOnce>().is_some() || size.is_none_or(|size| size > ANSWER_MAX) {
            self.done(None, now);
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else {
            self.done(None, now);
            return Error::from(Fault::Internal).into_response();
        };
        let body = body.to_bytes();
        self.done(Some(Answer { status: parts.status, body: body.clone() }), now);
        Response::from_parts(parts, Body::from(body))
    }

    fn done(&mut self, answer: Option<Answer>, now: Instant) {
        let Some(who) = self.who.take() else { return };
        let mut kept = self.answers.lock();
        let room = answer.as_ref().map_or(0, |answer| answer.body.len());
        let answer = answer.filter(|_| kept.make_room(&who.0, room));
        let place = kept.next;
        kept.next += 1;
        kept.insert(who.clone(), Entry::Done { call: self.call, place, answer });
        kept.order.insert(place, (now, who));
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if let Some(who) = self.who.take() {
            self.answers.lock().forget(&who);
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

    /// The first call, or the status of the answer.
    fn turn_of(answers: &Answers, caller: &str, key: &str, call: u8, now: Instant) -> (Option<First>, u16) {
        match answers.turn(caller.to_owned(), key.to_owned(), [call; 32], now) {
            Turn::First(first) => (Some(first), 0),
            Turn::Answered(response) => (None, response.status().as_u16()),
        }
    }

    fn turn(answers: &Answers, key: &str, call: u8, now: Instant) -> (Option<First>, u16) {
        turn_of(answers, "me", key, call, now)
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
        // What failed here, was refused, or never came to an end, runs again.
        for status in [503, 400, 409] {
            turn(&answers, "c", 1, start).0.unwrap().keep(response(status, 9), start).await;
        }
        drop(turn(&answers, "c", 1, start).0.unwrap());
        assert_eq!(turn(&answers, "c", 1, start).1, 0);
        // What was done is not done again, also where its answer is not kept.
        turn(&answers, "d", 1, start).0.unwrap().keep(response(200, ANSWER_MAX + 1), start).await;
        assert_eq!(turn(&answers, "d", 1, start).1, 409, "too large to be kept");
        let mut secret = response(200, 9);
        secret.extensions_mut().insert(ToldOnce);
        turn(&answers, "e", 1, start).0.unwrap().keep(secret, start).await;
        assert_eq!((turn(&answers, "e", 1, start).1, turn(&answers, "e", 2, start).1), (409, 400));
        assert_eq!(turn(&answers, "a", 2, start + KEPT).1, 0, "a day later it is forgotten");
        let kept = answers.lock();
        assert_eq!((kept.bytes, kept.parts.len(), kept.order.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn so_much_is_kept() {
        let (answers, now) = (Answers::default(), Instant::now());
        turn_of(&answers, "other", "0", 1, now).0.unwrap().keep(response(200, 9), now).await;
        let many = PART_BYTES_MAX / (ANSWER_MAX + CALL_BYTES);
        for number in 0..=many {
            turn(&answers, &number.to_string(), 1, now).0.unwrap().keep(response(200, ANSWER_MAX), now).await;
        }
        assert_eq!((turn(&answers, "1", 1, now).1, turn(&answers, "0", 1, now).1), (200, 0), "the oldest went");
        // However many come with however much, each within their part: whoever has little keeps it.
        for caller in 0..2 * BYTES_MAX / PART_BYTES_MAX {
            for number in 0..1_000 {
                let (first, _) = turn_of(&answers, &caller.to_string(), &number.to_string(), 1, now);
                first.unwrap().keep(response(200, 400), now).await;
                let kept = answers.lock();
                assert!(kept.bytes <= BYTES_MAX && kept.parts.values().all(|part| part.bytes <= PART_BYTES_MAX));
            }
        }
        assert_eq!(turn_of(&answers, "other", "0", 1, now).1, 200, "nobody else's answers go for it");
        let kept = answers.lock();
        let entries: usize = kept.entries.values().map(Entry::bytes).sum();
        assert_eq!((kept.bytes, kept.order.len()), (entries, kept.entries.len()));
        drop(kept);
        // A call that cannot be known again does not run.
        let answers = Answers::default();
        let running: Vec<_> =
            (0..PART_BYTES_MAX / CALL_BYTES).map(|number| turn(&answers, &number.to_string(), 1, now)).collect();
        assert_eq!((turn(&answers, "more", 1, now).1, turn_of(&answers, "other", "0", 1, now).1), (503, 0));
        drop(running);
        assert_eq!(answers.lock().entries.len(), 0);
    }
}
