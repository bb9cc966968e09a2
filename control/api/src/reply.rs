//! Replies: the envelope around a result, as compact JSON.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bartizan_store::Direction;
use bartizan_v4::{Envelope, Message, ResultInfo};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// The code of the message that says that a list is not whole.
const LEFT_OUT_MESSAGE: u32 = 10_501;

/// The code of the message that says that not all was searched.
const LOOKED_AT_MESSAGE: u32 = 10_506;

/// On a response that has a secret which is told this once, and is kept nowhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToldOnce;

/// What a handler returns: one result, or a page of them.
pub(crate) struct Reply<T>(Envelope<T>, Option<HeaderValue>, Option<ToldOnce>);

impl<T> Reply<T> {
    pub(crate) fn of(result: T) -> Reply<T> {
        let (errors, messages) = (Vec::new(), Vec::new());
        Reply(
            Envelope { result: Some(result), success: true, errors, messages, result_info: None, dry_run: None },
            None,
            None,
        )
    }

    /// With the tag by which `If-Match` asks for this state of the object.
    pub(crate) fn tagged(self, tag: Option<String>) -> Reply<T> {
        Reply(self.0, tag.and_then(|tag| HeaderValue::try_from(tag).ok()), self.2)
    }

    /// With a secret that is told this once.
    pub(crate) fn told_once(self) -> Reply<T> {
        Reply(self.0, self.1, Some(ToldOnce))
    }

    /// Something that the caller should know although the call succeeded. Never under `cfd_tunnel` and `routes`: the
    /// stock client expects strings there.
    pub(crate) fn with_message(mut self, code: u32, text: impl Into<String>) -> Reply<T> {
        self.0.messages.push(Message { code, message: text.into() });
        self
    }
}

impl<T> Reply<Vec<T>> {
    /// Page `page` of a list in which the filter matched `total` objects.
    pub(crate) fn page(results: Vec<T>, page: Page, total: u64) -> Reply<Vec<T>> {
        let info = ResultInfo {
            page: page.number.into(),
            per_page: page.size.into(),
            count: results.len() as u64,
            total_count: total,
            total_pages: total.div_ceil(page.size.into()),
        };
        let mut reply = Reply::of(results);
        reply.0.result_info = Some(info);
        reply
    }

    /// Says how many objects of the list are not in it, because they cannot be read.
    pub(crate) fn without(self, left_out: u64) -> Reply<Vec<T>> {
        match left_out {
            0 => self,
            1 => self.with_message(
                LEFT_OUT_MESSAGE,
                "1 object of this list cannot be read and is left out; `bartizan status` names it",
            ),
            more => self.with_message(
                LEFT_OUT_MESSAGE,
                format!("{more} objects of this list cannot be read and are left out; `bartizan status` names them"),
            ),
        }
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        let mut response = json(StatusCode::OK, &self.0);
        if let Some(tag) = self.1 {
            response.headers_mut().insert(header::ETAG, tag);
        }
        if let Some(told) = self.2 {
            response.extensions_mut().insert(told);
        }
        response
    }
}

/// A page of documents that are sent as they are kept. Their texts go out a piece at a time, so that a large page lies in
/// memory once, and less of it the more was sent.
pub(crate) struct KeptPage {
    envelope: Reply<Vec<()>>,
    documents: Vec<Arc<str>>,
}

impl KeptPage {
    pub(crate) fn new(documents: Vec<Arc<str>>, page: Page, total: u64, left_out: u64) -> KeptPage {
        let mut envelope = Reply::page(Vec::new(), page, total).without(left_out);
        if let Some(info) = &mut envelope.0.result_info {
            info.count = documents.len() as u64;
        }
        KeptPage { envelope, documents }
    }

    /// Says how many objects were looked at, if not all.
    pub(crate) fn looked_at(self, looked_at: Option<u64>) -> KeptPage {
        let Some(count) = looked_at else { return self };
        let text =
            format!("only the first {count} records of this list were searched; three letters or more search all");
        KeptPage { envelope: self.envelope.with_message(LOOKED_AT_MESSAGE, text), ..self }
    }
}

/// Bytes that are handed to the connection at once.
const PIECE: usize = 64 << 10;

impl IntoResponse for KeptPage {
    fn into_response(self) -> Response {
        const RESULT: &str = r#"{"result":["#;
        let Ok(envelope) = serde_json::to_string(&self.envelope.0) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        // The result is the first field, and there is nothing in it yet.
        let rest: Arc<str> = envelope.strip_prefix(RESULT).unwrap_or_default().into();
        let commas = self.documents.len().saturating_sub(1);
        let texts: usize = self.documents.iter().map(|text| text.len()).sum();
        let length = RESULT.len() + texts + commas + rest.len();
        let mut texts = self.documents.into_iter();
        let (mut piece, mut first, mut rest) = (RESULT.to_owned(), true, Some(rest));
        let pieces = std::iter::from_fn(move || {
            while piece.len() < PIECE
                && let Some(text) = texts.next()
            {
                if !std::mem::replace(&mut first, false) {
                    piece.push(',');
                }
                piece.push_str(&text);
            }
            if texts.as_slice().is_empty()
                && let Some(rest) = rest.take()
            {
                piece.push_str(&rest);
            }
            Some(std::mem::take(&mut piece)).filter(|piece| !piece.is_empty())
        });
        let body = Body::from_stream(futures_util::stream::iter(pieces.map(Ok::<_, Infallible>)));
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        // Known although the body is made on the way: some clients cannot read chunks.
        headers.insert(header::CONTENT_LENGTH, length.into());
        response
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `Content-Type` is exactly `application/json`: the stock tunnel client reads no error body under any other.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let Ok(text) = serde_json::to_vec(value) else {
        // Not reachable: our shapes have text keys only. An empty 500 is still better than a panic.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Which part of a list. The size is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) number: u32,
    pub(crate) size: u32,
}

/// Which page of a list somebody asks for.
#[derive(serde::Deserialize, utoipa::IntoParams)]
pub(crate) struct Paging {
    page: Option<u32>,
    per_page: Option<u32>,
}

impl Paging {
    pub(crate) fn of(self, sizes: PageSizes) -> Page {
        sizes.page(self.page, self.per_page)
    }
}

/// How large the pages of a list may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageSizes {
    pub(crate) min: u32,
    pub(crate) default: u32,
    pub(crate) max: u32,
}

impl PageSizes {
    /// Sizes out of range are moved into it, not refused: a client asks for 100 where 50 is the most.
    pub(crate) fn page(self, number: Option<u32>, size: Option<u32>) -> Page {
        Page { number: number.unwrap_or(1).max(1), size: size.unwrap_or(self.default).clamp(self.min, self.max) }
    }
}

impl Page {
    /// How many objects the pages before this one have.
    pub(crate) fn before(self) -> u64 {
        u64::from(self.number - 1) * u64::from(self.size)
    }

    /// This page of a whole list.
    pub(crate) fn cut<T>(self, list: Vec<T>) -> Vec<T> {
        let size = self.size as usize;
        list.into_iter().skip((self.number - 1) as usize * size).take(size).collect()
    }
}

/// `desc` turns a list around; anything else leaves it as it is.
pub(crate) fn direction(text: Option<&str>) -> Direction {
    if text == Some("desc") { Direction::Descending } else { Direction::Ascending }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_of_kept_documents_is_the_page_that_would_be_written() {
        let long = "x".repeat(PIECE);
        for texts in [vec![], vec!["1"], vec!["1", "2"], vec![&long, "2"], vec!["1", &long], vec![&long, &long]] {
            let documents: Vec<String> = texts.iter().map(|text| format!(r#"{{"a":"{text}"}}"#)).collect();
            let page = Page { number: 1, size: 5 };
            let values: Vec<serde_json::Value> =
                documents.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            let expect = serde_json::to_vec(&Reply::page(values, page, 7).without(2).0).unwrap();
            let kept = KeptPage::new(documents.iter().map(|text| text.as_str().into()).collect(), page, 7, 2);
            let response = kept.into_response();
            assert_eq!(response.headers()[header::CONTENT_LENGTH], expect.len().to_string());
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body, expect);
        }
    }

    #[test]
    fn pages() {
        let sizes = PageSizes { min: 5, default: 20, max: 50 };
        for (number, size, expect) in [
            (None, None, (1, 20)),
            (Some(0), Some(1), (1, 5)),
            (Some(3), Some(100), (3, 50)),
            (Some(u32::MAX), Some(50), (u32::MAX, 50)),
        ] {
            let page = sizes.page(number, size);
            assert_eq!((page.number, page.size), expect);
        }
        assert_eq!(sizes.page(Some(2), Some(5)).cut((0..7).collect()), [5, 6]);
        assert!(sizes.page(Some(3), Some(5)).cut((0..7).collect::<Vec<u8>>()).is_empty());
    }
}
