//! Lists of revoked certificates that are fetched from where their authority puts them (RFC 5280 §4.2.1.13).
//!
//! ```text
//! URL ─► CrlFetcher: a call that is bounded in time, octets and redirections ─► PEM ─► read_crl, as an uploaded one
//!                                                                                          │
//! StoredCrlFetch ◄── fetched: again before the next one is due ── not fetched: again after minutes, then each hour ◄─┘
//! ```
//! Whoever has a zone names the URL. So an address is judged when it is dialled, whatever led to it, and what is answered is
//! told to nobody unless it is a list that the authority has signed.

use std::time::Duration;

use bartizan_clock::Clock;
use bartizan_dial::Reach;
use bartizan_fetch::{Bounds, Clear, Fetch, FetchError, Trust, Url};
use bartizan_names::Timestamp;
use bartizan_v4::client_auth::StoredCrlFetch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request, StatusCode};

use crate::ca::later;
use crate::clients::CRL_MAX;

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), answer: CRL_MAX, redirects: 3 };

/// How soon a list is fetched again, whatever it says, and how late: who is revoked shall not wait for the authority's next
/// regular list, which may be a week away.
const AGAIN_MIN: Duration = Duration::from_secs(60);
const AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// The first wait after a failure, which doubles up to `AGAIN_MAX`.
const RETRY_FIRST: Duration = Duration::from_secs(60);

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum CrlFetchError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{host} answered {status}")]
    Status { host: String, status: StatusCode },
}

/// Fetches lists. Clones share what is known of addresses.
#[derive(Clone)]
pub struct CrlFetcher(Fetch);

impl CrlFetcher {
    /// One that dials where anybody may, and judges certificates by this clock.
    pub fn new(reach: Reach, clock: &Clock) -> CrlFetcher {
        CrlFetcher(Fetch::new(reach, Trust::OfSystem(clock.teller()), Clear::Anybody, BOUNDS))
    }

    /// What is at a URL, as PEM. It is for the caller to see whether it is a list.
    pub async fn fetch(&self, url: &str) -> Result<String, CrlFetchError> {
        let url = Url::parse(url)?;
        let mut request = Request::new(Bytes::new());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/pkix-crl, */*;q=0.5"));
        let answer = self.0.call(&url, request).await?;
        match answer.status() {
            StatusCode::OK => Ok(crl_as_pem(answer.body())),
            status => Err(CrlFetchError::Status { host: url.host(), status }),
        }
    }
}

/// Authorities put lists in DER (RFC 2585 §3), and some in PEM.
pub fn crl_as_pem(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if text.contains("-----BEGIN ") => text.to_owned(),
        _ => {
            let text = BASE64.encode(body);
            let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
            format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", lines.join("\n"))
        }
    }
}

/// The part of a time that chance gives, so that what came at once is not fetched at once.
fn share_of(time: Duration, chance: u8) -> Duration {
    time * u32::from(chance) / 256
}

/// Lists are to be fetched from there, from now on.
pub fn crl_begun(url: &str, now: Timestamp) -> StoredCrlFetch {
    let url = url.to_owned();
    StoredCrlFetch { url, next_on: now, fetched_on: None, failures: 0, failing_since: None, last_error: None }
}

/// A good one came: the next is looked for when half of the time is over for which it stands, `chance` of all a little sooner.
pub fn crl_fetched(state: StoredCrlFetch, until: Option<Timestamp>, chance: u8, now: Timestamp) -> StoredCrlFetch {
    let left = until.map_or(0, |until| until.unix_micros().saturating_sub(now.unix_micros()));
    let wait = Duration::from_micros(left / 2).clamp(AGAIN_MIN, AGAIN_MAX);
    let next_on = later(now, wait - share_of(wait / 8, chance));
    StoredCrlFetch { next_on, fetched_on: Some(now), failures: 0, failing_since: None, last_error: None, ..state }
}

/// None came. What is there stays in force.
pub fn crl_not_fetched(state: StoredCrlFetch, reason: String, chance: u8, now: Timestamp) -> StoredCrlFetch {
    let failures = state.failures.saturating_add(1);
    let wait = RETRY_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(AGAIN_MAX);
    StoredCrlFetch {
        next_on: later(now, wait + share_of(wait / 8, chance)),
        failures,
        failing_since: state.failing_since.or(Some(now)),
        last_error: Some(reason),
        ..state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    #[test]
    fn when_a_list_is_fetched_again() {
        let begun = crl_begun("http://crl.example/", at(0));
        for (until, wait) in
            [(None, 60), (Some(50), 60), (Some(600), 300), (Some(86_400), 3_600), (Some(1 << 40), 3_600)]
        {
            let next = crl_fetched(begun.clone(), until.map(at), 0, at(0)).next_on;
            assert_eq!(next, at(wait), "{until:?}");
            let sooner = crl_fetched(begun.clone(), until.map(at), 255, at(0)).next_on;
            assert!(sooner < next && sooner >= at(wait - wait.div_ceil(8)), "{until:?}");
        }
        let (mut state, mut now, mut waits) = (begun, at(100), Vec::new());
        for _ in 0..9 {
            state = crl_not_fetched(state, "no".to_owned(), 0, now);
            waits.push((state.next_on.unix_micros() - now.unix_micros()) / 1_000_000);
            now = state.next_on;
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
        assert_eq!((state.failing_since, state.fetched_on), (Some(at(100)), None));
        let many = StoredCrlFetch { failures: u32::MAX, ..state.clone() };
        assert_eq!(crl_not_fetched(many, "no".to_owned(), 0, at(0)).next_on, at(3_600));
        let good = crl_fetched(state, None, 0, now);
        assert_eq!((good.failures, good.failing_since, good.last_error), (0, None, None));
    }

    #[test]
    fn what_comes_in_der_is_written_in_pem() {
        assert_eq!(crl_as_pem(b"\x30\x00"), "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n");
        let text = "a comment\n-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
        assert_eq!(crl_as_pem(text.as_bytes()), text);
    }
}
