//! The calls of the public authority.

use std::pin::Pin;
use std::time::Duration;

use bartizan_clock::Clock;
use bartizan_dial::{Destinations, NameServers, Own, Private, Reach};
use bartizan_fetch::{Bounds, Clear, Fetch, FetchError, Trust, Url};
use bartizan_names::Timestamp;
use bartizan_tls::Roots;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use super::account::AcmeAccount;
use super::failure::{Failure, Kind};

/// The largest answer is a chain.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), answer: 256 << 10, redirects: 0 };

/// The authority wants to be asked later, and says when.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Later {
    pub(super) reason: String,
    pub(super) status: StatusCode,
    pub(super) after: Duration,
}

/// Clones share the TLS settings, and what is known of addresses.
#[derive(Clone)]
pub(super) struct Client {
    /// The operator has named the directory, and may name one on this machine.
    to_directory: Fetch,
    /// What the directory names may be anywhere in the world: it is not for others to have us call in our own network.
    to_others: Fetch,
    directory: Url,
    clock: Clock,
}

impl Client {
    pub(super) fn of(account: &AcmeAccount, clock: &Clock) -> Result<Client, Failure> {
        let roots = account.roots_pem.clone().map_or(Roots::System, Roots::Pem);
        let trust = Trust::kept(&clock.teller(), &roots);
        let trust = trust.map_err(|error| Failure::new(Kind::Ours, format!("TLS: {error}")))?;
        let directory = Url::parse(&account.directory);
        let directory = directory.map_err(|error| Failure::new(Kind::Ours, format!("the directory: {error}")))?;
        let to = |destinations, clear| {
            Fetch::new(Reach::new(NameServers::default(), destinations), trust.clone(), clear, BOUNDS)
        };
        Ok(Client {
            to_directory: to(Destinations::all(), Clear::ThisMachine),
            to_others: to(Destinations::new(Own::default(), Private::Refused), Clear::Nobody),
            directory,
            clock: clock.clone(),
        })
    }

    async fn call(&self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, Error> {
        let (mut parts, body) = request.into_parts();
        let url = Url::parse(&std::mem::take(&mut parts.uri).to_string()).map_err(other)?;
        let body = body.collect().await.map_err(|error| Error::Other(error.into()))?.to_bytes();
        let fetch = if url.is_of_server(&self.directory) { &self.to_directory } else { &self.to_others };
        let answer = fetch.call(&url, Request::from_parts(parts, body)).await;
        answer.map_err(|error| match error {
            FetchError::Unreachable { .. } => other(error),
            error => Error::Other(format!("{} cannot be reached: {error}", url.host()).into()),
        })
    }
}

fn other(error: FetchError) -> Error {
    Error::Other(Box::new(error))
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let answer = client.call(request).await?;
            later(&answer, client.clock.now()).map_or_else(
                || Ok(BytesResponse::from(answer.map(Full::new))),
                |later| Err(Error::Other(Box::new(later))),
            )
        })
    }
}

/// What an answer says that wants no other call for a while (RFC 8555 §6.6).
fn later(response: &Response<Bytes>, now: Timestamp) -> Option<Later> {
    let status = response.status();
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let after = retry_after(response.headers(), now)?;
    let problem: Option<instant_acme::Problem> = serde_json::from_slice(response.body()).ok();
    let reason = problem.and_then(|problem| problem.detail).unwrap_or_else(|| status.to_string());
    Some(Later { reason, status, after })
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let then = Timestamp::from(httpdate::parse_http_date(text).ok()?);
            Some(Duration::from_micros(then.unix_micros().saturating_sub(now.unix_micros())))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn when_to_ask_again_is_read_in_both_forms() {
        let now = "2026-11-30T06:00:00Z".parse().unwrap();
        for (text, expect) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Mon, 30 Nov 2026 06:01:40 GMT", Some(100)),
            ("Mon, 30 Nov 2026 05:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            assert_eq!(retry_after(&headers, now), expect.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
