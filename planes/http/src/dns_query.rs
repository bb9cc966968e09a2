//! DNS over HTTPS (RFC 8484): a DNS query in a request, its answer in the response. What the message says is read by the
//! DNS plane alone.
//!
//! It is answered at `/dns-query` of the names of the edge's own name servers, over HTTPS. Whoever asks there asks an
//! authoritative server: it knows the zones of this edge and nothing else.

use std::cell::RefCell;
use std::net::IpAddr;

use bartizan_exchange::{Body, DnsAnswer, DnsAnswerer, LocalBoxFuture, Request, Response, Service};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// Where DNS over HTTPS is by convention (RFC 8484 §4.1.1, and all clients' default).
pub(crate) const PATH: &str = "/dns-query";

/// The one media type (RFC 8484 §6).
const MESSAGE: &str = "application/dns-message";

/// As much as a query over TCP may have. A real one is below 100 bytes, or 512 with padding.
const QUERY_BYTES_MAX: usize = 4_096;

/// The query of one request.
pub(crate) struct DnsQuery<'w> {
    pub(crate) answerer: &'w RefCell<Box<dyn DnsAnswerer>>,
    pub(crate) client: IpAddr,
}

/// Why a request has no DNS answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Method,
    MediaType,
    TooLong,
    NoQuery,
    BrokenOff,
}

impl Service for DnsQuery<'_> {
    fn answer(&self, request: Request) -> LocalBoxFuture<'_, Response> {
        Box::pin(async move {
            match query(request).await {
                Ok(message) => {
                    let answer = self.answerer.borrow_mut().answer(self.client, &message);
                    answer.map_or_else(|| Refused::NoQuery.page(), response)
                }
                Err(refused) => refused.page(),
            }
        })
    }
}

/// The DNS message in a request.
async fn query(mut request: Request) -> Result<Bytes, Refused> {
    match request.method {
        Method::GET | Method::HEAD => in_target(request.path.query()),
        Method::POST => {
            let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let kind = kind.split_once(';').map_or(kind, |(kind, _)| kind);
            if !kind.trim().eq_ignore_ascii_case(MESSAGE) {
                return Err(Refused::MediaType);
            }
            read(&mut request.body).await
        }
        _ => Err(Refused::Method),
    }
}

/// The message that is written in the target: base64url without padding (RFC 8484 §4.1, §6).
fn in_target(query: Option<&str>) -> Result<Bytes, Refused> {
    let text = query.unwrap_or_default().split('&').find_map(|part| part.strip_prefix("dns="));
    let text = text.ok_or(Refused::NoQuery)?;
    if text.len() > QUERY_BYTES_MAX.div_ceil(3) * 4 {
        return Err(Refused::TooLong);
    }
    URL_SAFE_NO_PAD.decode(text).map(Bytes::from).map_err(|_| Refused::NoQuery)
}

async fn read(body: &mut Body) -> Result<Bytes, Refused> {
    let mut message = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Refused::BrokenOff)?;
        if message.len() + piece.len() > QUERY_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        message.extend_from_slice(&piece);
    }
    Ok(message.into())
}

/// Whatever the message says, an error of DNS included, the request was answered (RFC 8484 §4.2.1).
fn response(answer: DnsAnswer) -> Response {
    let lifetime = HeaderValue::try_from(format!("max-age={}", answer.lifetime.as_secs()));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MESSAGE));
    headers.insert(CACHE_CONTROL, lifetime.unwrap_or(HeaderValue::from_static("no-store")));
    Response { status: StatusCode::OK, headers, body: Body::whole(answer.message), upgraded: None }
}

impl Refused {
    fn page(self) -> Response {
        let (status, text) = match self {
            Refused::Method => (StatusCode::METHOD_NOT_ALLOWED, "DNS over HTTPS is asked by GET or POST.\n"),
            Refused::MediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body of a POST is of the type application/dns-message.\n")
            }
            Refused::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "No DNS query is as long as this.\n"),
            Refused::NoQuery => (
                StatusCode::BAD_REQUEST,
                "This is no DNS query. By GET it is in ?dns=, in base64url without padding (RFC 8484).\n",
            ),
            Refused::BrokenOff => (StatusCode::BAD_REQUEST, "The body of the request broke off.\n"),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self == Refused::Method {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        }
        Response { status, headers, body: Body::whole(text), upgraded: None }
    }
}
