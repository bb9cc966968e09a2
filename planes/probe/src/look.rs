//! One look at one server.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_dial::{OriginDialer, OriginTls};
use bartizan_exchange::{Body, Frame, Io, Upgrade, Upstream};
use bartizan_names::{Encryption, Host, OriginHost, TunnelId};
use bartizan_steering::{Monitor, MonitorKind, Node, NodeTarget, Request};
use bytes::Bytes;
use http::header::{CONNECTION, HOST, LOCATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

/// Octets of a body that are read: what is looked for must be among them.
const BODY_MAX: usize = 64 * 1024;

/// Octets of a head, and of what is read at once.
const HEAD_MAX: usize = 32 * 1024;

const REDIRECTS_MAX: usize = 3;

const AGENT: &str = concat!("bartizan-monitor/", env!("CARGO_PKG_VERSION"));

/// By which servers are reached.
pub(crate) struct Ways {
    pub(crate) dialer: OriginDialer,
    pub(crate) tls: OriginTls,
    pub(crate) upstream: Arc<dyn Upstream>,
}

/// What came of a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    /// Of the last answer; 0 if there was none.
    pub(crate) code: u16,
    /// Why it failed; none if it went well.
    pub(crate) fault: Option<String>,
}

/// An answer, as far as it matters.
struct Answer {
    code: u16,
    location: Option<String>,
    body: Vec<u8>,
}

/// Looks, and as often again as the monitor says while it fails.
pub(crate) async fn look(ways: &Ways, node: &Node, monitor: &Monitor) -> Outcome {
    let mut last = Outcome::default();
    for _ in 0..=monitor.retries {
        let began = Instant::now();
        let once = tokio::time::timeout(monitor.timeout, once(ways, node, monitor));
        let result = once.await.unwrap_or_else(|_| Err((0, format!("no answer within {:?}", monitor.timeout))));
        let took = began.elapsed();
        match result {
            Ok(code) => return Outcome { took, code, fault: None },
            Err((code, fault)) => last = Outcome { took, code, fault: Some(fault) },
        }
    }
    last
}

type Looked = Result<u16, (u16, String)>;

async fn once(ways: &Ways, node: &Node, monitor: &Monitor) -> Looked {
    let failed = |reason: String| (0, reason);
    let request = match &monitor.kind {
        MonitorKind::Http(request) => request,
        MonitorKind::Tcp => {
            let NodeTarget::Host(hosts) = &node.target else {
                return Err(failed("a tunnel is looked at over HTTP".to_owned()));
            };
            let port = monitor.port.or(node.port).unwrap_or(80);
            return ways.dialer.connect_to(None, hosts, port).await.map(|_| 0).map_err(|it| failed(it.to_string()));
        }
    };
    let mut path = request.path.clone();
    for _ in 0..=REDIRECTS_MAX {
        let answer = match &node.target {
            NodeTarget::Host(hosts) => {
                let usual = if request.tls { 443 } else { 80 };
                let port = monitor.port.or(node.port).unwrap_or(usual);
                ask(ways, hosts, port, request, &path).await.map_err(failed)?
            }
            NodeTarget::Tunnel(tunnel) => ask_through(ways, *tunnel, request, &path).await.map_err(failed)?,
        };
        if request.redirects && (300..400).contains(&answer.code) {
            match answer.location.as_deref().and_then(|location| same_place(location, request)) {
                Some(next) => {
                    path = next;
                    continue;
                }
                None => return Err((answer.code, "it sends elsewhere".to_owned())),
            }
        }
        return judged(request, &answer);
    }
    Err((0, format!("more than {REDIRECTS_MAX} redirects")))
}

fn judged(request: &Request, answer: &Answer) -> Looked {
    if !request.expects(answer.code) {
        return Err((answer.code, format!("the status is {}", answer.code)));
    }
    let wanted = request.body.as_bytes();
    let has = wanted.is_empty() || answer.body.windows(wanted.len()).any(|part| part == wanted);
    if has { Ok(answer.code) } else { Err((answer.code, "the body is not as expected".to_owned())) }
}

/// The path of a redirect, if it leads to the same server.
fn same_place(location: &str, request: &Request) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let is_same = match uri.authority() {
        None => true,
        Some(authority) => request.host.as_deref().is_some_and(|host| authority.as_str().eq_ignore_ascii_case(host)),
    };
    let path = uri.path_and_query()?.as_str();
    (is_same && path.starts_with('/')).then(|| path.to_owned())
}

/// What the server is called in a request.
fn host_of(request: &Request, hosts: &[OriginHost], port: u16) -> String {
    if let Some(host) = &request.host {
        return host.clone();
    }
    let usual = if request.tls { 443 } else { 80 };
    let name = match hosts.first() {
        Some(OriginHost::Address(IpAddr::V6(address))) => format!("[{address}]"),
        Some(OriginHost::Address(address)) => address.to_string(),
        Some(OriginHost::Name(name)) => name.to_string().trim_end_matches('.').to_owned(),
        None => String::new(),
    };
    if port == usual { name } else { format!("{name}:{port}") }
}

fn method(request: &Request) -> Method {
    if request.head { Method::HEAD } else { Method::GET }
}

/// The request's own fields.
fn fields(request: &Request) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in &request.fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            map.append(name, value);
        }
    }
    map
}

async fn ask(ways: &Ways, hosts: &[OriginHost], port: u16, request: &Request, path: &str) -> Result<Answer, String> {
    let stream = ways.dialer.connect_to(None, hosts, port).await.map_err(|failure| failure.to_string())?;
    let host = host_of(request, hosts, port);
    let encryption = match (request.tls, request.insecure) {
        (false, _) => Encryption::None,
        (true, true) => Encryption::Unverified,
        (true, false) => Encryption::Verified,
    };
    let io: Box<dyn Io> = match ways.tls.client(encryption).map_err(|error| error.to_string())? {
        None => Box::new(stream),
        Some(config) => {
            let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|it| it.is_ascii_digit()));
            let name = name.map_or(host.as_str(), |(name, _)| name).trim_matches(['[', ']']);
            let stream =
                bartizan_tls::connect(config, name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
            Box::new(stream)
        }
    };
    let mut asked = http::Request::builder().method(method(request)).uri(path).body(Empty::<Bytes>::new());
    let asked = asked.as_mut().map_err(|error| error.to_string())?;
    *asked.headers_mut() = fields(request);
    asked.headers_mut().insert(HOST, HeaderValue::from_str(&host).map_err(|error| error.to_string())?);
    asked.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let asked = std::mem::take(asked);
    let begun = http1::Builder::new().max_buf_size(HEAD_MAX).handshake(TokioIo::new(io)).await;
    let (mut sender, connection) = begun.map_err(|error| error.to_string())?;
    let answering = async {
        let answer = sender.send_request(asked).await.map_err(|error| error.to_string())?;
        let (head, mut body) = answer.into_parts();
        let mut read = Vec::new();
        while read.len() < BODY_MAX && !request.body.is_empty() {
            match body.frame().await {
                Some(Ok(frame)) => read.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(error)) => return Err(format!("a broken body: {error}")),
                None => break,
            }
        }
        Ok(answer_of(head.status.as_u16(), &head.headers, read))
    };
    tokio::pin!(answering);
    tokio::select! {
        biased;
        answer = &mut answering => answer,
        // It is over when all of it is here, or it broke: then the other side knows.
        _ = connection => answering.await,
    }
}

async fn ask_through(ways: &Ways, tunnel: TunnelId, request: &Request, path: &str) -> Result<Answer, String> {
    let host = request.host.clone().unwrap_or_else(|| "localhost".to_owned());
    let asked = bartizan_exchange::Request {
        visitor: IpAddr::V4(Ipv4Addr::LOCALHOST),
        method: method(request),
        host: Host::parse(&host).ok_or_else(|| format!("{host} is no host"))?,
        path: PathAndQuery::try_from(path).map_err(|error| error.to_string())?,
        headers: fields(request),
        body: Body::empty(),
        upgrade: Upgrade::None,
    };
    let response = ways.upstream.send(tunnel, asked).await.map_err(|error| error.to_string())?;
    let (status, headers, mut body) = (response.status.as_u16(), response.headers, response.body);
    let mut read = Vec::new();
    while read.len() < BODY_MAX && !request.body.is_empty() {
        match std::future::poll_fn(|cx| body.poll_frame(cx)).await {
            Some(Ok(Frame::Data(data))) => read.extend_from_slice(&data),
            Some(Ok(Frame::Trailers(_))) => {}
            Some(Err(error)) => return Err(format!("a broken body: {error}")),
            None => break,
        }
    }
    Ok(answer_of(status, &headers, read))
}

fn answer_of(code: u16, headers: &HeaderMap, body: Vec<u8>) -> Answer {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Answer { code, location, body }
}
