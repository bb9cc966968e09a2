//! Requests whose way through the pipeline somebody wants to see.
//!
//! ```text
//! InForce::trace ── a connection of its own ──► ingress ─► pipeline ─► egress ─► answer
//!        └── Traces: by the address that it comes from ──► Record ── what each of them decides ──► steps
//! ```
//! It is a request as any other, by the listeners of this process; nothing is decided here. Who asks is known by its
//! address, which nobody else can have meanwhile.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bartizan_firewall::{Source, Verdict};
use bartizan_names::{OriginHost, SettingId};
use bartizan_observed::{
    HttpAnswer, HttpIdentity, HttpQuery, HttpQuestion, HttpStage, HttpStep, HttpTrace, HttpVersion, TracesBusy, Tracing,
};
use bartizan_routes::{Server, Target};
use bartizan_tls::{Agreed, ClientConfig, Identity, Now, Roots, TlsError, client_config_by, showing};
use bartizan_wire::http1::{Asked, FieldRoom, HeadSearch, Leading, Limits, ResponseHead};
use bartizan_wire::http2::hpack::Indexing;
use bartizan_wire::http2::{self, AnswerHead, EndStream, Event, HeadRoom};
use bartizan_wire::http3;
use bartizan_wire::http3::qpack::{self, Secrecy};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, VarInt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

use crate::access_log::version_text;
use crate::arrived::Arrived;
use crate::clients::Standing;
use crate::forward::SourceFields;
use crate::ingress::RequestGuard;
use crate::limits::{
    TRACE_DETAIL_BYTES_MAX, TRACE_END_TIME, TRACE_READ_BYTES_MAX, TRACE_STEPS_MAX, TRACE_TIME, TRACES_MAX,
};
use crate::worker::Known;

/// Those that are under way.
#[derive(Clone, Default)]
pub(crate) struct Traces(Arc<Table>);

#[derive(Default)]
struct Table {
    /// How many there are, so that other requests need not look for themselves.
    count: AtomicUsize,
    wanted: Mutex<HashMap<SocketAddr, Wanted>>,
}

/// What is wanted of one.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// The address that it is from, in place of its own.
    pub(crate) from: Option<IpAddr>,
    pub(crate) telling: Arc<Telling>,
}

/// What is told of one.
#[derive(Default)]
pub(crate) struct Telling {
    steps: Mutex<Vec<HttpStep>>,
    over: Notify,
}

impl Traces {
    /// What is wanted of a request that comes from there.
    // Hot: once a request. A look at a number that hardly ever changes.
    pub(crate) fn wanted(&self, peer: SocketAddr) -> Option<Wanted> {
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned()
    }

    /// Wants it until the place is dropped.
    fn want(&self, peer: SocketAddr, wanted: Wanted) -> Place<'_> {
        let mut all = self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(peer, wanted);
        self.0.count.store(all.len(), Ordering::Relaxed);
        Place { traces: self, peer }
    }
}

struct Place<'t> {
    traces: &'t Traces,
    peer: SocketAddr,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.traces.0.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.peer);
        self.traces.0.count.store(all.len(), Ordering::Relaxed);
    }
}

impl Telling {
    pub(crate) fn tell(&self, step: HttpStage, detail: impl Into<String>) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() < TRACE_STEPS_MAX {
            let mut detail = detail.into();
            detail.truncate(detail.floor_char_boundary(TRACE_DETAIL_BYTES_MAX));
            steps.push(HttpStep { step, detail });
        }
    }

    /// Nothing more is told.
    pub(crate) fn end(&self) {
        self.over.notify_one();
    }

    fn take(&self) -> Vec<HttpStep> {
        std::mem::take(&mut self.steps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether somebody wants to see this request, which is then from where they say.
pub(crate) fn begin(arrived: &mut Arrived, guard: &RequestGuard) -> bool {
    let Some(Wanted { from, telling }) = guard.worker.traces.wanted(guard.connection.peer) else { return false };
    if let Some(from) = from {
        (arrived.source, _) = guard.worker.source_of(SocketAddr::new(from, 0));
    }
    guard.record().trace(telling);
    true
}

/// Whom an origin is told that it is from, if that is not who the connection is from.
pub(crate) fn source(arrived: &Arrived, guard: &RequestGuard) -> Option<SourceFields> {
    let is_anothers = arrived.source.address != guard.connection.source.address;
    is_anothers.then(|| SourceFields::new(&arrived.source, arrived.scheme))
}

/// What is known of it before anything is decided.
pub(crate) fn tell_known(arrived: &Arrived, known: Option<&Known>, guard: &RequestGuard) {
    let record = guard.record();
    record.tell(HttpStage::Connection, || {
        let tls = match guard.connection.agreed() {
            Some(Agreed::Tls13) => "https, TLS 1.3".to_owned(),
            Some(Agreed::Tls12(cipher)) => format!("https, TLS 1.2 with {}", cipher.as_str()),
            None => "http".to_owned(),
        };
        let Source { address, country, asn } = arrived.source;
        let country = country.map(|country| format!(", {}", country.as_str())).unwrap_or_default();
        let network = asn.map(|asn| format!(", {asn}")).unwrap_or_default();
        format!("{tls}, {}, from {address}{country}{network}", version_text(arrived.version))
    });
    let Some(Known { site, route, verdict, client, balancer: _ }) = known else { return };
    record.tell(HttpStage::Host, || {
        format!("{} of the zone {} leads to {}", route.host, site.apex, place(&route.target))
    });
    record.tell(HttpStage::Settings, || {
        let settings = &site.policy.settings;
        let told = SettingId::ALL.iter().map(|id| format!("{}={}", id.as_str(), settings.get(*id)));
        told.collect::<Vec<_>>().join(" ")
    });
    if let Some(standing) = client {
        record.tell(HttpStage::Certificate, || certificate(standing));
    }
    record.tell(HttpStage::Rule, || match verdict {
        Verdict::Allow(None) => "no access rule is about this visitor".to_owned(),
        Verdict::Allow(Some(rule)) => format!("{rule} lets in"),
        Verdict::Challenge(rule) => format!("{rule} challenges, which is a refusal here"),
        Verdict::Block(rule) => format!("{rule} blocks"),
        Verdict::Unknown(rule) => format!("{rule} cannot be read"),
    });
}

/// What the host wants of its clients, and what this one has shown.
fn certificate(standing: &Standing) -> String {
    match standing {
        Standing::Elsewhere => "the connection was made for a host that wants something else of its clients".to_owned(),
        Standing::Known { auth, status, .. } => {
            let reason = status.reason().map(|reason| format!(", {}", reason.as_str())).unwrap_or_default();
            let mode = auth.policy.mode.as_str();
            format!("the host asks its clients for one ({mode}); of this one: {}{reason}", status.as_str())
        }
    }
}

fn place(target: &Target) -> String {
    match target {
        Target::Origin(Server { hosts, port }) => {
            let hosts = hosts.iter().map(|host| match host {
                OriginHost::Address(address) => address.to_string(),
                OriginHost::Name(name) => name.to_string(),
            });
            let port = port.map_or("the usual port".to_owned(), |port| format!("port {port}"));
            format!("{} at {port}", hosts.collect::<Vec<_>>().join(", "))
        }
        Target::Tunnel(tunnel) => format!("the tunnel {tunnel}"),
        Target::Balancer(balancer) => format!("a server of the load balancer {balancer}"),
        Target::Unknown => "nobody knows where".to_owned(),
    }
}

/// What is in force, for who wants to see it work.
pub(crate) struct InForce {
    traces: Traces,
    listeners: Listeners,
    tls: [Arc<ClientConfig>; 3],
    places: Semaphore,
}

/// Where this process takes requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) quic: Option<SocketAddr>,
}

/// Why nothing was answered.
enum Failed {
    /// No connection came about, as was told.
    Told,
    Broke(std::io::Error),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed::Broke(std::io::Error::other(error))
    }
}

impl InForce {
    /// By these listeners.
    pub(crate) fn new(traces: Traces, listeners: Listeners, now: &Now) -> Result<InForce, TlsError> {
        // It is this process that it speaks to, and whatever certificate a visitor gets.
        let tls = |alpn: &[u8]| client_config_by(now, &Roots::Unverified, &[alpn]);
        let tls = [tls(b"http/1.1")?, tls(b"h2")?, tls(http3::ALPN)?];
        let Listeners { http, https, quic } = listeners;
        let listeners = Listeners { http: http.map(here), https: https.map(here), quic: quic.map(here) };
        Ok(InForce { traces, listeners, tls, places: Semaphore::new(TRACES_MAX) })
    }

    /// What such a visitor speaks TLS by.
    fn tls_for(&self, question: &HttpQuestion, telling: &Telling) -> Result<Arc<ClientConfig>, Failed> {
        let [http1, http2, http3] = &self.tls;
        let tls = match question.version {
            HttpVersion::Http1 => http1,
            HttpVersion::Http2 => http2,
            HttpVersion::Http3 => http3,
        };
        let Some(HttpIdentity { chain, key }) = &question.shown else { return Ok(Arc::clone(tls)) };
        Identity::from_pem(chain, key).and_then(|identity| showing(tls, &identity)).map_err(|error| {
            telling.tell(HttpStage::Tls, format!("this certificate cannot be shown: {}", with_cause(&error)));
            Failed::Told
        })
    }

    async fn send(&self, question: HttpQuestion, telling: &Arc<Telling>) -> Option<HttpAnswer> {
        let asked = match (question.https, question.version) {
            (true, HttpVersion::Http3) => Box::pin(self.send_over_quic(&question, telling)).await,
            _ => Box::pin(self.send_over_tcp(&question, telling)).await,
        };
        match asked {
            Ok(answer) => {
                // The last octet may be here before all is told.
                let _ = tokio::time::timeout(TRACE_END_TIME, telling.over.notified()).await;
                Some(answer)
            }
            Err(Failed::Told) => None,
            Err(Failed::Broke(error)) => {
                telling.tell(HttpStage::Connection, format!("it broke: {error}"));
                None
            }
        }
    }

    async fn send_over_tcp(&self, question: &HttpQuestion, telling: &Arc<Telling>) -> Result<HttpAnswer, Failed> {
        let Listeners { http, https, .. } = self.listeners;
        let listener = if question.https { https } else { http };
        let stream = TcpStream::connect(listener.ok_or_else(|| no_listener(telling))?).await?;
        let _place = self.want(stream.local_addr()?, question, telling);
        if !question.https {
            return Ok(ask(stream, question).await?);
        }
        let tls = self.tls_for(question, telling)?;
        let name = question.host.bare_name();
        let connected = bartizan_tls::connect(&tls, name, stream).await;
        let stream = connected.map_err(|error| no_handshake(name, &error, telling))?;
        match question.version {
            HttpVersion::Http1 | HttpVersion::Http3 => Ok(ask(stream, question).await?),
            HttpVersion::Http2 => Ok(ask_http2(stream, question).await?),
        }
    }

    async fn send_over_quic(&self, question: &HttpQuestion, telling: &Arc<Telling>) -> Result<HttpAnswer, Failed> {
        let listener = self.listeners.quic.ok_or_else(|| no_listener(telling))?;
        let tls = self.tls_for(question, telling)?;
        // The address that it is known by then.
        let mut endpoint = Endpoint::client(SocketAddr::new(listener.ip(), 0))?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
        let _place = self.want(endpoint.local_addr()?, question, telling);
        let name = question.host.bare_name();
        let quic = endpoint.connect(listener, name)?.await.map_err(|error| no_handshake(name, &error, telling))?;
        let answer = ask_http3(&quic, question).await;
        quic.close(VarInt::from_u32(http3::Code::No as u32), b"");
        // It is told: else the edge would wait for more.
        endpoint.wait_idle().await;
        Ok(answer?)
    }

    /// What comes from there is to be traced, as long as the place is kept.
    fn want(&self, peer: SocketAddr, question: &HttpQuestion, telling: &Arc<Telling>) -> Place<'_> {
        self.traces.want(peer, Wanted { from: question.from, telling: Arc::clone(telling) })
    }
}

fn with_cause(error: &TlsError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(" ({cause})")).unwrap_or_default();
    format!("{error}{cause}")
}

fn no_listener(telling: &Telling) -> Failed {
    telling.tell(HttpStage::Connection, "this edge has no listener for it");
    Failed::Told
}

fn no_handshake(name: &str, error: &dyn std::fmt::Display, telling: &Telling) -> Failed {
    telling.tell(HttpStage::Tls, format!("no handshake comes about for {name}: {error}"));
    Failed::Told
}

impl HttpQuery for InForce {
    fn trace(&self, question: HttpQuestion) -> Tracing<'_> {
        Box::pin(async move {
            let _place = self.places.try_acquire().map_err(|_| TracesBusy)?;
            let telling = Arc::<Telling>::default();
            let answer = tokio::time::timeout(TRACE_TIME, self.send(question, &telling)).await;
            let answer = answer.unwrap_or_else(|_| {
                telling
                    .tell(HttpStage::End, format!("no answer within {} s; it is not waited for", TRACE_TIME.as_secs()));
                None
            });
            Ok(HttpTrace { steps: telling.take(), answer })
        })
    }
}

/// Where a listener is reached from this machine.
fn here(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Asks, reads the answer to its end or as much of it as may be, and gives its head.
async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: &HttpQuestion,
) -> Result<HttpAnswer, std::io::Error> {
    let HttpQuestion { host, target, method, .. } = question;
    let request = format!(
        "{} {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bartizan-trace\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        method.as_str(),
        host.as_str()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let asked = Asked::by(method.as_str());
    let mut bytes = Vec::new();
    let mut answer = None;
    let mut read = 0;
    loop {
        while answer.is_none() {
            let found = HeadSearch::new(Leading::Nothing).find(&bytes, &Limits::RESPONSE);
            let Some(found) = found.map_err(std::io::Error::other)? else { break };
            let head: Vec<u8> = bytes.drain(..found.end).collect();
            let parsed = ResponseHead::parse(&head, asked, &Limits::RESPONSE, FieldRoom::default());
            let parsed = parsed.map_err(std::io::Error::other)?;
            if parsed.is_interim() {
                continue;
            }
            let status = parsed.status;
            let room = parsed.into_room();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let fields = room.fields(&head).iter().map(|field| (text(field.name), text(field.value))).collect();
            answer = Some(HttpAnswer { status, fields });
        }
        let before = bytes.len();
        let more = stream.read_buf(&mut bytes).await;
        read += bytes.len() - before;
        match (answer.take(), more) {
            // Its end, or what is taken for one: the answer's own words for it are the edge's to say.
            (Some(answer), Ok(0) | Err(_)) => return Ok(answer),
            (Some(answer), Ok(_)) if read > TRACE_READ_BYTES_MAX => return Ok(answer),
            (None, Ok(0)) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            (None, Err(error)) => return Err(error),
            (still, Ok(_)) => answer = still,
        }
        if answer.is_some() {
            bytes.clear();
        }
    }
}

/// What every version is told beside what it asks for.
const FIELDS: [(&str, &str); 2] = [("user-agent", "bartizan-trace"), ("accept", "*/*")];

/// The pseudo-fields of a question (RFC 9113 §8.3.1), and its fields.
fn fields(question: &HttpQuestion) -> impl Iterator<Item = (&str, &str)> {
    let HttpQuestion { host, target, method, .. } = question;
    let pseudo =
        [(":method", method.as_str()), (":scheme", "https"), (":authority", host.as_str()), (":path", target.as_str())];
    pseudo.into_iter().chain(FIELDS)
}

/// The head of an answer that lies in the room, with names as they are sent (RFC 9113 §8.2.1).
fn answered(head: AnswerHead, heads: &HeadRoom) -> HttpAnswer {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = heads.fields();
    let fields = fields.iter().map(|field| (text(field.name).to_ascii_lowercase(), text(field.value))).collect();
    HttpAnswer { status: head.status, fields }
}

/// What is taken of an answer over HTTP/2: more than is read of it.
const OVER_HTTP2: http2::Limits = http2::Limits {
    streams: 1,
    stream_window: 2 * TRACE_READ_BYTES_MAX as u32,
    connection_window: 2 * TRACE_READ_BYTES_MAX as u32,
    list_bytes: Limits::RESPONSE.head_bytes,
    fields: Limits::RESPONSE.fields,
};

/// The same by HTTP/2.
async fn ask_http2(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: &HttpQuestion,
) -> Result<HttpAnswer, std::io::Error> {
    let (mut out, mut bytes, mut heads) = (Vec::new(), Vec::new(), HeadRoom::default());
    let mut wire = http2::Connection::<()>::client(OVER_HTTP2, &mut out);
    let asked = Asked::by(question.method.as_str());
    wire.open((), asked, EndStream::Set, &mut out, |encoder, out| {
        fields(question).for_each(|(name, value)| {
            encoder.field(name.as_bytes(), value.as_bytes(), Indexing::Never, out);
        });
    });
    let (mut answer, mut read) = (None, 0);
    loop {
        loop {
            let step = wire.next(&bytes, &mut heads, &mut out).map_err(std::io::Error::other)?;
            let (used, is_hungry) = (step.used, matches!(step.event, Event::Hungry));
            let is_over = match step.event {
                Event::Answer { head, .. } if head.is_interim() => false,
                Event::Answer { head, ends, .. } => {
                    answer = Some(answered(head, &heads));
                    ends
                }
                Event::Data { at, ends, .. } => {
                    read += at.len();
                    ends || read > TRACE_READ_BYTES_MAX
                }
                Event::Trailers { .. } => true,
                // Its end, or what is taken for one: the answer's own words for it are the edge's to say.
                Event::Reset { .. } | Event::Leaving { .. } if answer.is_some() => true,
                Event::Reset { .. } => return Err(std::io::Error::other("the stream was reset")),
                _ => false,
            };
            bytes.drain(..used);
            if let Some(answer) = answer.take_if(|_| is_over) {
                return Ok(answer);
            }
            if is_hungry {
                break;
            }
        }
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        match (stream.read_buf(&mut bytes).await, answer.take()) {
            (Ok(0) | Err(_), Some(answer)) => return Ok(answer),
            (Ok(0), None) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            (Err(error), None) => return Err(error),
            (Ok(_), still) => answer = still,
        }
    }
}

/// The same by HTTP/3.
async fn ask_http3(quic: &quinn::Connection, question: &HttpQuestion) -> Result<HttpAnswer, std::io::Error> {
    const HEAD: http3::Limits =
        http3::Limits { list_bytes: Limits::RESPONSE.head_bytes, fields: Limits::RESPONSE.fields };
    let (mut settings, mut block, mut request) = (Vec::new(), Vec::new(), Vec::new());
    http3::put_settings(HEAD.list_bytes, &mut settings);
    qpack::Encoder.begin(&mut block);
    fields(question).for_each(|(name, value)| {
        qpack::Encoder.field(name.as_bytes(), value.as_bytes(), Secrecy::Secret, &mut block);
    });
    http3::put_block(&block, &mut request);
    // For as long as the connection: its end would be that of all (RFC 9114 §6.2.1).
    let mut control = quic.open_uni().await?;
    control.write_all(&settings).await?;
    let (mut send, mut receive) = quic.open_bi().await?;
    send.write_all(&request).await?;
    send.finish()?;
    let (mut heads, mut bytes, mut answer, mut read) = (HeadRoom::default(), Vec::new(), None, 0);
    loop {
        let chunk = receive.read_chunk(TRACE_READ_BYTES_MAX, true).await;
        let chunk = match (chunk, answer.take()) {
            (Ok(Some(chunk)), still) => {
                answer = still;
                chunk
            }
            (Ok(None) | Err(_), Some(answer)) => return Ok(answer),
            (Ok(None), None) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            (Err(error), None) => return Err(error.into()),
        };
        read += chunk.bytes.len();
        if answer.is_none() {
            bytes.extend_from_slice(&chunk.bytes);
            let head = http3::answer_head(&bytes, HEAD, &mut heads).map_err(std::io::Error::other)?;
            answer = head.map(|head| answered(head, &heads));
        }
        match answer.take() {
            Some(answer) if read > TRACE_READ_BYTES_MAX => return Ok(answer),
            None if read > TRACE_READ_BYTES_MAX => return Err(std::io::Error::other("a head without end")),
            still => answer = still,
        }
    }
}
