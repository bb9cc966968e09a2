//! Lists of revoked certificates that are fetched from where their authority puts them (RFC 5280 §4.2.1.13).
//!
//! ```text
//! URL ─► CrlFetcher: dialled as an origin is, bounded in time, octets and redirections ─► PEM ─► read_crl, as an uploaded one
//!                                                                                          │
//! StoredCrlFetch ◄── fetched: again before the next one is due ── not fetched: again after minutes, then each hour ◄─┘
//! ```
//! Whoever has a zone names the URL. So an address is judged when it is dialled, whatever led to it, and what is answered is
//! told to nobody unless it is a list that the authority has signed.

use std::sync::Arc;
use std::time::Duration;

use bartizan_clock::Clock;
use bartizan_dial::{OriginDialer, Question, Reach, TTL_MIN};
use bartizan_names::{DnsKind, Name, OriginHost, Timestamp};
use bartizan_tls::{ClientConfig, Roots, TlsError, client_config_by};
use bartizan_v4::client_auth::StoredCrlFetch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::ca::later;
use crate::clients::CRL_MAX;

/// All of it: names, connections, redirections and the list.
const FETCH_MAX: Duration = Duration::from_secs(30);

/// Octets of a URL.
const URL_MAX: usize = 2_048;

/// Other places that an answer may send us to, one after the other.
const REDIRECTS_MAX: usize = 3;

/// How soon a list is fetched again, whatever it says, and how late: who is revoked shall not wait for the authority's next
/// regular list, which may be a week away.
const AGAIN_MIN: Duration = Duration::from_secs(60);
const AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// The first wait after a failure, which doubles up to `AGAIN_MAX`.
const RETRY_FIRST: Duration = Duration::from_secs(60);

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum CrlFetchError {
    #[error("it is no URL that begins with http:// or https:// and names a host")]
    Url,
    #[error("the URL is longer than {URL_MAX} octets")]
    UrlLong,
    #[error("{host} cannot be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("there was no list in {} s", FETCH_MAX.as_secs())]
    Late,
    #[error("{host} answered {status}")]
    Status { host: String, status: StatusCode },
    #[error("what it answers is longer than {} MB", CRL_MAX >> 20)]
    Long,
    #[error("it sends us on to another place more than {REDIRECTS_MAX} times, or from https:// to http://")]
    Redirected,
    #[error("TLS: {0}")]
    Tls(String),
}

/// A place where lists are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlUrl {
    host: OriginHost,
    port: u16,
    is_secret: bool,
    /// Host and port as the URL has them.
    authority: String,
    /// Path and query.
    path: String,
}

impl CrlUrl {
    pub fn parse(text: &str) -> Result<CrlUrl, CrlFetchError> {
        if text.len() > URL_MAX {
            return Err(CrlFetchError::UrlLong);
        }
        let uri: Uri = text.parse().map_err(|_| CrlFetchError::Url)?;
        let is_secret = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(CrlFetchError::Url),
        };
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(CrlFetchError::Url)?;
        let host = authority.host();
        let host = match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => OriginHost::Address(address),
            Err(_) => OriginHost::Name(Name::parse(host).map_err(|_| CrlFetchError::Url)?),
        };
        let port = authority.port_u16().unwrap_or(if is_secret { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(CrlUrl { host, port, is_secret, authority: authority.to_string(), path })
    }

    /// Where an answer sends us, as this URL reads it (RFC 9110 §10.2.2).
    fn on_to(&self, location: &str) -> Result<CrlUrl, CrlFetchError> {
        let scheme = if self.is_secret { "https" } else { "http" };
        let next = match location {
            path if path.starts_with("//") => CrlUrl::parse(&format!("{scheme}:{path}")),
            path if path.starts_with('/') => CrlUrl::parse(&format!("{scheme}://{}{path}", self.authority)),
            whole => CrlUrl::parse(whole),
        }?;
        if self.is_secret && !next.is_secret { Err(CrlFetchError::Redirected) } else { Ok(next) }
    }

    fn name(&self) -> String {
        match &self.host {
            OriginHost::Address(address) => address.to_string(),
            OriginHost::Name(name) => name.to_string(),
        }
    }
}

/// Fetches lists. Clones share what is known of addresses.
#[derive(Clone)]
pub struct CrlFetcher {
    dialer: Arc<OriginDialer>,
    clock: Clock,
}

impl CrlFetcher {
    /// One that dials where anybody may, and judges certificates by this clock.
    pub fn new(reach: Reach, clock: Clock) -> CrlFetcher {
        CrlFetcher { dialer: Arc::new(OriginDialer::new(reach)), clock }
    }

    /// What is at a URL, as PEM. It is for the caller to see whether it is a list.
    pub async fn fetch(&self, url: &str) -> Result<String, CrlFetchError> {
        tokio::time::timeout(FETCH_MAX, self.follow(url)).await.map_err(|_| CrlFetchError::Late)?
    }

    async fn follow(&self, url: &str) -> Result<String, CrlFetchError> {
        let mut url = CrlUrl::parse(url)?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.get(&url).await?;
            let status = response.status();
            if status.is_redirection()
                && let Some(location) = response.headers().get(LOCATION)
            {
                url = url.on_to(location.to_str().map_err(|_| CrlFetchError::Url)?)?;
                continue;
            }
            if status != StatusCode::OK {
                return Err(CrlFetchError::Status { host: url.name(), status });
            }
            return Ok(crl_as_pem(response.body()));
        }
        Err(CrlFetchError::Redirected)
    }

    async fn get(&self, url: &CrlUrl) -> Result<Response<Bytes>, CrlFetchError> {
        let unreachable = |reason: String| CrlFetchError::Unreachable { host: url.name(), reason };
        let field = |text: &str| HeaderValue::try_from(text).map_err(|_| CrlFetchError::Url);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = url.path.parse().map_err(|_| CrlFetchError::Url)?;
        request.headers_mut().insert(HOST, field(&url.authority)?);
        let agent = concat!("bartizan/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/pkix-crl, */*;q=0.5"));
        let socket = self.dial(url).await.map_err(|failure| unreachable(failure.to_string()))?;
        if !url.is_secret {
            return send(TokioIo::new(socket), request, unreachable).await;
        }
        let tls = self.tls().map_err(|error| CrlFetchError::Tls(error.to_string()))?;
        let stream = bartizan_tls::connect(&tls, &url.name(), socket).await;
        send(TokioIo::new(stream.map_err(|error| CrlFetchError::Tls(error.to_string()))?), request, unreachable).await
    }

    async fn dial(&self, url: &CrlUrl) -> Result<TcpStream, bartizan_dial::Failure> {
        let groups = match &url.host {
            OriginHost::Address(address) => vec![vec![(*address, url.port).into()]],
            OriginHost::Name(name) => {
                let question = Question { name, kind: DnsKind::Any, ttl_min: TTL_MIN, zone: None };
                self.dialer.find(question, url.port).await?
            }
        };
        self.dialer.connect(groups).await
    }

    /// Read anew for each: the system's store may have changed, and lists are fetched seldom.
    fn tls(&self) -> Result<Arc<ClientConfig>, TlsError> {
        client_config_by(&self.clock.teller(), &Roots::System, &[b"http/1.1"])
    }
}

async fn send<IO>(
    io: IO,
    request: Request<Empty<Bytes>>,
    unreachable: impl Fn(String) -> CrlFetchError,
) -> Result<Response<Bytes>, CrlFetchError>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| unreachable(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(failed)?;
    // It ends when the answer is read or dropped: there is no second request.
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
    let body = Limited::new(body, CRL_MAX).collect().await.map_err(|error| match error.is::<LengthLimitError>() {
        true => CrlFetchError::Long,
        false => unreachable(error.to_string()),
    })?;
    Ok(Response::from_parts(parts, body.to_bytes()))
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
    fn urls_of_lists() {
        for (text, expect) in [
            ("http://crl.example/ca.crl", Some(("crl.example", 80, false, "/ca.crl"))),
            ("https://crl.example:8443/a?b=c", Some(("crl.example", 8443, true, "/a?b=c"))),
            ("http://192.0.2.1", Some(("192.0.2.1", 80, false, "/"))),
            ("https://[2001:db8::1]/x", Some(("2001:db8::1", 443, true, "/x"))),
            ("ldap://crl.example/ca", None),
            ("file:///etc/passwd", None),
            ("http://user:secret@crl.example/", None),
            ("http:///ca.crl", None),
            ("crl.example/ca.crl", None),
            ("", None),
            (&format!("http://crl.example/{}", "a".repeat(URL_MAX)), None),
        ] {
            let url = CrlUrl::parse(text).ok();
            let seen = url.as_ref().map(|url| (url.name(), url.port, url.is_secret, url.path.as_str()));
            assert_eq!(seen, expect.map(|(host, port, secret, path)| (host.to_owned(), port, secret, path)), "{text}");
        }
    }

    #[test]
    fn where_an_answer_sends_us() {
        let from = CrlUrl::parse("https://crl.example:8443/a/b?c").unwrap();
        for (location, expect) in [
            ("/d", Some("https://crl.example:8443/d")),
            ("//other.example/d", Some("https://other.example/d")),
            ("https://other.example/d", Some("https://other.example/d")),
            ("http://crl.example/d", None),
            ("gopher://crl.example/", None),
        ] {
            assert_eq!(from.on_to(location).ok(), expect.map(|url| CrlUrl::parse(url).unwrap()), "{location}");
        }
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
