//! One look at one server.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_dial::{OriginDialer, OriginTls};
use bartizan_exchange::{Body, Frame, Io, Upgrade, Upstream};
use bartizan_names::{Encryption, Host, OriginHost, TunnelId};
use bartizan_steering::{Monitor, MonitorKind, Node, NodeTarget, Request};
use bartizan_wire::http1::{
    self, Asked, BodyReader, Event, FieldRoom, HeadSearch, HeadWriter, INTERIM_MAX, Illegal, Leading, Limits,
    ResponseHead,
};
use bytes::BytesMut;
use http::header::{LOCATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Octets of a body that are read: what is looked for must be among them.
const BODY_MAX: usize = 64 * 1024;

/// What a server may send as a head.
const LIMITS: Limits = Limits { head_bytes: 32 * 1024, ..Limits::RESPONSE };

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
    let port = monitor.port.or(node.port).unwrap_or(usual_port(request));
    let host = host_of(request, &node.target, port);
    for _ in 0..=REDIRECTS_MAX {
        let answer = match &node.target {
            NodeTarget::Host(hosts) => ask(ways, (hosts, port), request, (&host, &path)).await.map_err(failed)?,
            NodeTarget::Tunnel(tunnel) => ask_through(ways, *tunnel, request, (&host, &path)).await.map_err(failed)?,
        };
        if request.redirects && (300..400).contains(&answer.code) {
            match answer.location.as_deref().and_then(|location| same_place(location, request, &host)) {
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

/// The path of a redirect, if it leads to the same server, which is called `host`.
fn same_place(location: &str, request: &Request, host: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let is_same = match uri.authority() {
        None => true,
        Some(authority) => {
            let usual = format!(":{}", usual_port(request));
            let bare = |name: &str| name.strip_suffix(&usual).unwrap_or(name).to_ascii_lowercase();
            let scheme = if request.tls { "https" } else { "http" };
            uri.scheme_str() == Some(scheme) && bare(authority.as_str()) == bare(host)
        }
    };
    let path = uri.path_and_query()?.as_str();
    (is_same && path.starts_with('/')).then(|| path.to_owned())
}

const fn usual_port(request: &Request) -> u16 {
    if request.tls { 443 } else { 80 }
}

/// What the server is called in a request.
fn host_of(request: &Request, target: &NodeTarget, port: u16) -> String {
    if let Some(host) = &request.host {
        return host.clone();
    }
    let NodeTarget::Host(hosts) = target else { return "localhost".to_owned() };
    let name = match hosts.first() {
        Some(OriginHost::Address(IpAddr::V6(address))) => format!("[{address}]"),
        Some(OriginHost::Address(address)) => address.to_string(),
        Some(OriginHost::Name(name)) => name.to_string().trim_end_matches('.').to_owned(),
        None => String::new(),
    };
    if port == usual_port(request) { name } else { format!("{name}:{port}") }
}

fn method(request: &Request) -> Method {
    if request.head { Method::HEAD } else { Method::GET }
}

/// The request's own fields, for a tunnel.
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

async fn ask(
    ways: &Ways,
    (hosts, port): (&[OriginHost], u16),
    request: &Request,
    (host, path): (&str, &str),
) -> Result<Answer, String> {
    let stream = ways.dialer.connect_to(None, hosts, port).await.map_err(|failure| failure.to_string())?;
    let encryption = match (request.tls, request.insecure) {
        (false, _) => Encryption::None,
        (true, true) => Encryption::Unverified,
        (true, false) => Encryption::Verified,
    };
    let io: Box<dyn Io> = match ways.tls.client(encryption).map_err(|error| error.to_string())? {
        None => Box::new(stream),
        Some(config) => {
            let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|it| it.is_ascii_digit()));
            let name = name.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
            let stream =
                bartizan_tls::connect(config, name, stream).await.map_err(|error| format!("no TLS: {error}"))?;
            Box::new(stream)
        }
    };
    converse(io, request, host, path).await
}

/// Asks on a connection that is for this alone, and reads as much of the answer as matters.
async fn converse(mut io: Box<dyn Io>, request: &Request, host: &str, path: &str) -> Result<Answer, String> {
    let method = method(request);
    let mut head = Vec::new();
    let mut writer = HeadWriter::request(&mut head, method.as_str(), [path, ""]).field(b"Host", host.as_bytes());
    writer = writer.field(b"User-Agent", AGENT.as_bytes()).field(b"Connection", b"close");
    for (name, value) in &request.fields {
        writer = writer.field(name.as_bytes(), value.as_bytes());
    }
    writer.end().map_err(|Illegal| "what it is asked is no HTTP".to_owned())?;
    let broken = |error: io::Error| format!("the connection broke: {error}");
    io.write_all(&head).await.map_err(broken)?;
    io.flush().await.map_err(broken)?;
    let mut unread = BytesMut::new();
    for _ in 0..=INTERIM_MAX {
        let mut search = HeadSearch::new(Leading::Nothing);
        let found = loop {
            match search.find(&unread, &LIMITS).map_err(|refusal| refusal.to_string())? {
                Some(found) => break found,
                None if io.read_buf(&mut unread).await.map_err(broken)? == 0 => {
                    return Err("it closed the connection without an answer".to_owned());
                }
                None => {}
            }
        };
        let bytes = unread.split_to(found.end);
        let head = ResponseHead::parse(&bytes, Asked::by(method.as_str()), &LIMITS, FieldRoom::default());
        let head = head.map_err(|refusal| refusal.to_string())?;
        if head.is_interim() {
            continue;
        }
        let location = head.of(&bytes).fields().values("location").next();
        let location = location.and_then(|value| std::str::from_utf8(value).ok()).map(str::to_owned);
        let body = if request.body.is_empty() { Vec::new() } else { read_body(&mut io, head.body, unread).await? };
        return Ok(Answer { code: head.status, location, body });
    }
    Err("too many interim answers".to_owned())
}

async fn read_body(io: &mut Box<dyn Io>, framed: http1::Body, mut unread: BytesMut) -> Result<Vec<u8>, String> {
    let broken = |error: &dyn Display| format!("a broken body: {error}");
    let (mut body, mut read) = (BodyReader::new(framed), Vec::new());
    while read.len() < BODY_MAX {
        let step = body.next(&unread).map_err(|refusal| broken(&refusal))?;
        let used = unread.split_to(step.used);
        match step.event {
            Event::Data(range) => read.extend_from_slice(used.get(range).unwrap_or_default()),
            Event::End => break,
            Event::Hungry if io.read_buf(&mut unread).await.map_err(|error| broken(&error))? == 0 => {
                body.end_of_input().map_err(|refusal| broken(&refusal))?;
            }
            Event::Hungry => {}
        }
    }
    Ok(read)
}

async fn ask_through(
    ways: &Ways,
    tunnel: TunnelId,
    request: &Request,
    (host, path): (&str, &str),
) -> Result<Answer, String> {
    let asked = bartizan_exchange::Request {
        visitor: IpAddr::V4(Ipv4Addr::LOCALHOST),
        method: method(request),
        host: Host::parse(host).ok_or_else(|| format!("{host} is no host"))?,
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
