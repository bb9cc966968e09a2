//! One look at one server.

use std::cell::RefCell;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_dial::{Failure, OriginDialer, OriginTls, Question, TTL_MIN};
use bartizan_exchange::{Body, Frame, Io, Upgrade, Upstream};
use bartizan_names::{AccountId, DnsKind, Encryption, Host, OriginHost, TunnelId};
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
use tokio::net::TcpStream;

use crate::servers::Servers;

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
    /// Looks at addresses, whatever the names are that lead there.
    addresses: RefCell<Servers<(AccountId, IpAddr)>>,
}

/// A server's addresses, and a place at each for one look.
struct Way<'w> {
    ways: &'w Ways,
    account: AccountId,
    addresses: Vec<SocketAddr>,
    /// At which it has a place.
    places: Vec<IpAddr>,
}

impl Ways {
    pub(crate) fn new(dialer: OriginDialer, tls: OriginTls, upstream: Arc<dyn Upstream>) -> Ways {
        Ways { dialer, tls, upstream, addresses: RefCell::default() }
    }

    /// What a server's names lead to now. Those that cannot be resolved are left out, unless that leaves nothing.
    async fn resolve(&self, hosts: &[OriginHost], port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let (mut addresses, mut failed) = (Vec::new(), None);
        for host in hosts {
            match host {
                OriginHost::Address(address) => addresses.push(SocketAddr::new(*address, port)),
                OriginHost::Name(name) => {
                    let question = Question { name, kind: DnsKind::Any, ttl_min: TTL_MIN, zone: None };
                    match self.dialer.find(question, port).await {
                        Ok(groups) => addresses.extend(groups.concat()),
                        Err(failure) => failed = Some(failure),
                    }
                }
            }
        }
        match failed {
            Some(failure) if addresses.is_empty() => Err(failure),
            _ => Ok(addresses),
        }
    }

    /// A place for an account's look at these addresses; none if there are too many looks at one of them.
    fn enter(&self, account: AccountId, addresses: Vec<SocketAddr>) -> Option<Way<'_>> {
        let mut way = Way { ways: self, account, addresses: Vec::new(), places: Vec::new() };
        for address in addresses.iter().map(|address| address.ip().to_canonical()) {
            if way.places.contains(&address) {
                continue;
            }
            if !self.addresses.borrow_mut().enter((account, address), Instant::now()) {
                return None;
            }
            way.places.push(address);
        }
        way.addresses = addresses;
        Some(way)
    }
}

impl Way<'_> {
    async fn connect(&self) -> Result<TcpStream, String> {
        let connecting = self.ways.dialer.connect(vec![self.addresses.clone()]);
        connecting.await.map_err(|failure| failure.to_string())
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        let mut addresses = self.ways.addresses.borrow_mut();
        self.places.iter().for_each(|address| addresses.leave(&(self.account, *address)));
    }
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

impl Outcome {
    /// Of a look for which there was no room.
    pub(crate) fn no_room() -> Outcome {
        let fault = "too many looks at its address are under way; ask again".to_owned();
        Outcome { fault: Some(fault), ..Outcome::default() }
    }
}

/// An answer, as far as it matters.
struct Answer {
    code: u16,
    location: Option<String>,
    body: Vec<u8>,
}

/// Looks for an account, and as often again as the monitor says while it fails. None if there are too many looks at an address that
/// the server has.
pub(crate) async fn look(ways: &Ways, account: AccountId, node: &Node, monitor: &Monitor) -> Option<Outcome> {
    let mut last = Outcome::default();
    let mut way = None;
    for _ in 0..=monitor.retries {
        let began = Instant::now();
        let by = (began + monitor.timeout).into();
        let late = || (0, format!("no answer within {:?}", monitor.timeout));
        let mut found = Ok(());
        if let NodeTarget::Host(hosts) = &node.target
            && way.is_none()
        {
            match tokio::time::timeout_at(by, ways.resolve(hosts, port_of(node, monitor))).await {
                Ok(Ok(addresses)) => way = Some(ways.enter(account, addresses)?),
                Ok(Err(failure)) => found = Err((0, failure.to_string())),
                Err(_) => found = Err(late()),
            }
        }
        let result = match found {
            Ok(()) => {
                let once = tokio::time::timeout_at(by, once(ways, way.as_ref(), node, monitor));
                once.await.unwrap_or_else(|_| Err(late()))
            }
            Err(missed) => Err(missed),
        };
        let took = began.elapsed();
        match result {
            Ok(code) => return Some(Outcome { took, code, fault: None }),
            Err((code, fault)) => last = Outcome { took, code, fault: Some(fault) },
        }
    }
    Some(last)
}

/// Where a server is looked at.
fn port_of(node: &Node, monitor: &Monitor) -> u16 {
    let usual = match &monitor.kind {
        MonitorKind::Http(request) => usual_port(request),
        MonitorKind::Tcp => 80,
    };
    monitor.port.or(node.port).unwrap_or(usual)
}

type Looked = Result<u16, (u16, String)>;

async fn once(ways: &Ways, way: Option<&Way<'_>>, node: &Node, monitor: &Monitor) -> Looked {
    let failed = |reason: String| (0, reason);
    let request = match &monitor.kind {
        MonitorKind::Http(request) => request,
        MonitorKind::Tcp => {
            let Some(way) = way else { return Err(failed("a tunnel is looked at over HTTP".to_owned())) };
            return way.connect().await.map(|_| 0).map_err(failed);
        }
    };
    let mut path = request.path.clone();
    let host = host_of(request, &node.target, port_of(node, monitor));
    for _ in 0..=REDIRECTS_MAX {
        let answer = match (&node.target, way) {
            (NodeTarget::Tunnel(tunnel), _) => ask_through(ways, *tunnel, request, (&host, &path)).await,
            (NodeTarget::Host(_), Some(way)) => ask(way, request, (&host, &path)).await,
            (NodeTarget::Host(_), None) => Err("it has no address".to_owned()),
        };
        let answer = answer.map_err(failed)?;
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

async fn ask(way: &Way<'_>, request: &Request, (host, path): (&str, &str)) -> Result<Answer, String> {
    let stream = way.connect().await?;
    let encryption = match (request.tls, request.insecure) {
        (false, _) => Encryption::None,
        (true, true) => Encryption::Unverified,
        (true, false) => Encryption::Verified,
    };
    let io: Box<dyn Io> = match way.ways.tls.client(encryption).map_err(|error| error.to_string())? {
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
