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
        return Err(Fault::BadBody.because("expected an object"));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        let fault = Fault::BadBody.because(error.into_inner());
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
