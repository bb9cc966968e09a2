//! The calls of the public authority, over HTTP/1.1 and TLS: a connection each, bounded in time and size.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bartizan_clock::Clock;
use bartizan_dial::{Destinations, NameServers, OriginDialer, Own, Private, Question, Reach, TTL_MIN};
use bartizan_names::{DnsKind, Name, Timestamp};
use bartizan_tls::{ClientConfig, Roots, client_config_by};
use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::net::TcpStream;

use super::account::AcmeAccount;
use super::failure::{Failure, Kind};

/// All of a call, and the octets of its answer: the largest is a chain.
const CALL_MAX: Duration = Duration::from_secs(30);
const ANSWER_MAX: usize = 256 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

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
    tls: Arc<ClientConfig>,
    /// The operator has named the directory, and may name one on this machine.
    to_directory: Arc<OriginDialer>,
    /// What the directory names may be anywhere in the world: it is not for others to have us call in our own network.
    to_others: Arc<OriginDialer>,
    directory: Uri,
    clock: Clock,
}

impl Client {
    pub(super) fn of(account: &AcmeAccount, clock: &Clock) -> Result<Client, Failure> {
        let roots = account.roots_pem.clone().map_or(Roots::System, Roots::Pem);
        let tls = client_config_by(&clock.teller(), &roots, &[b"http/1.1"]);
        let directory = account.directory.parse();
        Ok(Client {
            tls: tls.map_err(|error| Failure::new(Kind::Ours, format!("TLS: {error}")))?,
            to_directory: dialer(Destinations::all()),
            to_others: dialer(Destinations::new(Own::default(), Private::Refused)),
            directory: directory.map_err(|_| Failure::new(Kind::Ours, "the directory is no URL"))?,
            clock: clock.clone(),
        })
    }
}

fn dialer(destinations: Destinations) -> Arc<OriginDialer> {
    Arc::new(OriginDialer::new(Reach::new(NameServers::default(), destinations)))
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let uri = request.uri().clone();
            let called = tokio::time::timeout(CALL_MAX, client.call(request)).await;
            let failed = |reason: String| {
                let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
                Error::Other(format!("{host} cannot be reached: {reason}").into())
            };
            match called {
                Err(_) => Err(failed(format!("no answer in {} s", CALL_MAX.as_secs()))),
                Ok(Err(error)) => Err(failed(error.to_string())),
                Ok(Ok(response)) => later(&response, client.clock.now()).map_or_else(
                    || Ok(BytesResponse::from(response.map(Full::new))),
                    |later| Err(Error::Other(Box::new(later))),
                ),
            }
        })
    }
}

impl Client {
    async fn call(&self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, BoxError> {
        let (mut parts, body) = request.into_parts();
        let uri = std::mem::take(&mut parts.uri);
        let authority = uri.authority().ok_or("its URL has no host")?.clone();
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        parts.uri = uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| path.clone().into());
        parts.headers.insert(HOST, HeaderValue::try_from(authority.as_str())?);
        // The library names itself; who runs an authority wants to know who it really is.
        let agent = concat!("bartizan/", env!("CARGO_PKG_VERSION"));
        parts.headers.insert(http::header::USER_AGENT, HeaderValue::from_static(agent));
        let body = body.collect().await?.to_bytes();
        let request = Request::from_parts(parts, Full::new(body));
        let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let is_directory = (uri.scheme(), uri.authority()) == (self.directory.scheme(), self.directory.authority());
        let is_https = uri.scheme_str() == Some("https");
        if !is_directory && !is_https {
            return Err("its URL does not begin with https://".into());
        }
        let socket = self.dial(&host, authority.port_u16().unwrap_or(usual), is_directory).await?;
        match is_https {
            true => send(TokioIo::new(bartizan_tls::connect(&self.tls, &host, socket).await?), request).await,
            // To this machine alone.
            false if socket.peer_addr()?.ip().is_loopback() => send(TokioIo::new(socket), request).await,
            false => Err("its URL does not begin with https://".into()),
        }
    }

    /// A connection to whichever address of a host answers first.
    async fn dial(&self, host: &str, port: u16, is_directory: bool) -> Result<TcpStream, BoxError> {
        let dialer = if is_directory { &self.to_directory } else { &self.to_others };
        let groups = match host.parse() {
            Ok(address) => vec![vec![SocketAddr::new(address, port)]],
            Err(_) => {
                let name = Name::parse(host)?;
                let question = Question { name: &name, kind: DnsKind::Any, ttl_min: TTL_MIN, zone: None };
                dialer.find(question, port).await?
            }
        };
        Ok(dialer.connect(groups).await?)
    }
}

async fn send<IO>(io: IO, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, BoxError>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    // It ends when the answer is read or dropped: there is no second request.
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
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
