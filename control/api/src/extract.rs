//! What handlers take from a request: a body, a query, ids in the path. One rejection each, with our own errors.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use bytes::Bytes;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::sync::watch;

use crate::error::{Error, Fault};
use crate::query;

/// Bytes of a request's body. The largest honest one is a tunnel's configuration with 1,000 rules.
pub const BODY_MAX: usize = 1 << 20;

/// Bytes of a batch of records: ten thousand of them with comments, or one with the longest texts many times.
pub(crate) const BATCH_MAX: usize = 8 << 20;

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// With a request that came over a connection: a handler whose work takes long, and goes on, says so by it.
#[derive(Clone)]
pub(crate) struct Patience(Arc<dyn Fn() + Send + Sync>);

impl Patience {
    pub(crate) fn new(renew: impl Fn() + Send + Sync + 'static) -> Patience {
        Patience(Arc::new(renew))
    }

    /// The request gets as much time again as it had at first.
    pub(crate) fn renew(&self) {
        (self.0)();
    }
}

/// With a request that came over a connection: an answer that has no end of its own ends when this says so, as the API that
/// stops waits for all that is under way.
#[derive(Clone)]
pub(crate) struct Stopping(pub(crate) watch::Receiver<()>);

impl Stopping {
    /// Until the API stops.
    pub(crate) async fn begun(&mut self) {
        // Its sender says nothing, and is gone then.
        let _ = self.0.changed().await;
    }
}

/// A JSON body, whatever its Content-Type says: one client sends none.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Body<T>, Error> {
        parse(&whole(request.into_body(), BODY_MAX).await?).map(Body)
    }
}

/// A JSON body that may be left out: then it says nothing.
pub(crate) struct AnyBody<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for AnyBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<AnyBody<T>, Error> {
        let body = whole(request.into_body(), BODY_MAX).await?;
        if body.is_empty() { Ok(AnyBody(T::default())) } else { parse(&body).map(AnyBody) }
    }
}

/// A JSON body of many objects.
pub(crate) struct LargeBody<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for LargeBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<LargeBody<T>, Error> {
        parse(&whole(request.into_body(), BATCH_MAX).await?).map(LargeBody)
    }
}

/// A whole body, if it has no more than `max` bytes, and does not take too long.
pub(crate) async fn whole(body: axum::body::Body, max: usize) -> Result<Bytes, Error> {
    within(BODY_WAIT, body, max).await
}

async fn within(wait: Duration, body: axum::body::Body, max: usize) -> Result<Bytes, Error> {
    // One that says so is refused before a byte of it is asked for (RFC 9110 §10.1.1).
    if body.size_hint().lower() > max as u64 {
        return Err(Fault::LargeBody.into());
    }
    let body = Limited::new(body, max).collect();
    let bytes = tokio::time::timeout(wait, body)
        .await
        .map_err(|_| Fault::SlowBody)?
        .map_err(|error| if error.is::<LengthLimitError>() { Fault::LargeBody } else { Fault::BadBody })?;
    Ok(bytes.to_bytes())
}

/// All bodies are objects (RFC 8259 §4). Said here, because the derived readers would take a list of a struct's fields as well.
fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
            Ok(_) => Fault::BodyField.because("it must be an object"),
            Err(error) => Fault::BadBody.because(error),
        });
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        let fault = match error.classify() {
            Category::Data => Fault::BodyField.because(misfit(&pointer, &error.to_string())),
            Category::Syntax | Category::Eof | Category::Io => Fault::BadBody.because(error),
        };
        if pointer.is_empty() { fault } else { fault.at(pointer) }
    })?;
    json.end().map_err(|error| Fault::BadBody.because(error))?;
    Ok(value)
}

/// RFC 6901; empty where the fault is not inside a field.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                Some(format!("/{}", key.replace('~', "~0").replace('/', "~1")))
            }
            Segment::Unknown => None,
        })
        .collect()
}

/// What is wrong in a body that is JSON, as people say it: `name` must be text, and is a number.
fn misfit(pointer: &str, told: &str) -> String {
    // Where in the text it stands is of no use to who never saw the text.
    let told = told.rsplit_once(" at line ").map_or(told, |(told, _)| told);
    let field = pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
    let it = if field.is_empty() { "it".to_owned() } else { format!("`{field}`") };
    if let Some(name) = told.strip_prefix("missing field ") {
        return if field.is_empty() { format!("{name} is missing") } else { format!("{it} lacks {name}") };
    }
    if told.starts_with("data did not match") {
        return format!("{it} is in none of the forms that it may have");
    }
    let kinds = told.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "));
    if let Some((found, wanted)) = kinds {
        return format!("{it} must be {}, and is {}", wanted_kind(wanted), found_kind(found));
    }
    let values = told.strip_prefix("invalid value: ").and_then(|rest| rest.rsplit_once(", expected "));
    match values.map(|(_, wanted)| wanted) {
        Some(wanted @ ("u8" | "u16" | "u32" | "u64" | "usize")) => {
            let bits = if wanted == "usize" { "64" } else { &wanted[1..] };
            format!("{it} must be a whole number from 0 on, of {bits} bits at most")
        }
        Some(wanted) => format!("{it} must be {}", wanted_kind(wanted)),
        None => format!("{it}: {told}"),
    }
}

/// A kind of JSON value as the reader of a field names it.
fn wanted_kind(wanted: &str) -> &str {
    match wanted {
        "a string" | "a borrowed string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        known if known.starts_with("struct ") => "an object",
        known => known,
    }
}

/// The same of what is there, without its value: that is the caller's, and may be long.
fn found_kind(found: &str) -> &'static str {
    match found.split([' ', '`']).next() {
        Some("string") => "text",
        Some("boolean") => "true or false",
        Some("integer" | "floating" | "number") => "a number",
        Some("sequence") => "a list",
        Some("map") => "an object",
        Some("null" | "unit") => "null",
        _ => "something else",
    }
}

/// The query string, as [`query`] reads it.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Error> {
        query::read(&parts.uri).map(Query)
    }
}

/// The ids in the path, from left to right.
pub(crate) struct Ids<T>(pub(crate) T);

impl<S: Send + Sync, T: FromIds> FromRequestParts<S> for Ids<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Ids<T>, Error> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Fault::BadId)?;
        let mut texts = params.iter().map(|(_, text)| text);
        T::from_ids(&mut texts).map(Ids).ok_or_else(|| Fault::BadId.into())
    }
}

/// One id or two or three of them.
pub(crate) trait FromIds: Sized {
    fn from_ids<'p>(texts: &mut impl Iterator<Item = &'p str>) -> Option<Self>;
}

impl<A: FromStr> FromIds for (A,) {
    fn from_ids<'p>(texts: &mut impl Iterator<Item = &'p str>) -> Option<(A,)> {
        Some((texts.next()?.parse().ok()?,))
    }
}

impl<A: FromStr, B: FromStr> FromIds for (A, B) {
    fn from_ids<'p>(texts: &mut impl Iterator<Item = &'p str>) -> Option<(A, B)> {
        Some((texts.next()?.parse().ok()?, texts.next()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        data: Option<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        #[serde(rename = "a/b")]
        port: Option<u16>,
    }

    /// The field is named, and what it must be; only what is no JSON is called so.
    #[test]
    fn what_a_field_must_be_is_told() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)]
        struct Every {
            text: Option<String>,
            flag: Option<bool>,
            port: Option<u16>,
            list: Option<Vec<String>>,
            inner: Option<Inner>,
            many: Option<Vec<Needs>>,
        }
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)]
        struct Needs {
            id: u64,
        }
        let prefix = format!("{}: ", Fault::BodyField.text());
        for (text, expect) in [
            (r#"{"text":7}"#, "`text` must be text, and is a number"),
            (r#"{"text":["a","b"]}"#, "`text` must be text, and is a list"),
            (r#"{"flag":"yes"}"#, "`flag` must be true or false, and is text"),
            (r#"{"port":1.5}"#, "`port` must be a whole number, and is a number"),
            (r#"{"port":70000}"#, "`port` must be a whole number from 0 on, of 16 bits at most"),
            (r#"{"port":{}}"#, "`port` must be a whole number, and is an object"),
            (r#"{"list":"a, expected b"}"#, "`list` must be a list, and is text"),
            (r#"{"list":[true]}"#, "`list.0` must be text, and is true or false"),
            (r#"{"inner":7}"#, "`inner` must be an object, and is a number"),
            (r#"{"inner":{"a/b":"x"}}"#, "`inner.a/b` must be a whole number, and is text"),
            (r#"{"many":[{}]}"#, "`many.0` lacks `id`"),
            (r#"{"many":[{"id":null}]}"#, "`many.0.id` must be a whole number, and is null"),
            ("[]", "it must be an object"),
            ("null", "it must be an object"),
        ] {
            let told = parse::<Every>(text.as_bytes()).unwrap_err().problem();
            assert_eq!(
                (told.code, told.message.strip_prefix(&prefix)),
                (6007, Some(expect)),
                "{text}: {}",
                told.message
            );
        }
        for text in ["", "[", r#"{"text":"x""#, "{} {}", r#"{"text":'x'}"#] {
            let told = parse::<Every>(text.as_bytes()).unwrap_err().problem();
            assert!(told.message.starts_with(Fault::BadBody.text()), "{text}: {}", told.message);
        }
    }

    #[tokio::test]
    async fn a_body_has_its_time() {
        let never = axum::body::Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let slow = within(Duration::from_millis(10), never, BODY_MAX).await.unwrap_err();
        assert_eq!((slow.fault, slow.problem().code), (Fault::SlowBody, 10_408));
    }

    #[test]
    fn a_bad_body_is_pointed_at() {
        for (text, expect) in [
            (r#"{"data":{"a/b":1}}"#, None),
            ("{}", None),
            (r#"{"data":{"a/b":"x"}}"#, Some(Some("/data/a~1b"))),
            (r#"{"data":7}"#, Some(Some("/data"))),
            ("", Some(None)),
            ("[", Some(None)),
            ("[]", Some(None)),
            ("null", Some(None)),
            ("{} {}", Some(None)),
        ] {
            let problem = parse::<Outer>(text.as_bytes()).err().map(|error| error.problem());
            let pointer = problem.map(|problem| problem.source.map(|source| source.pointer));
            assert_eq!(pointer, expect.map(|pointer| pointer.map(str::to_owned)), "{text}");
        }
    }
}
