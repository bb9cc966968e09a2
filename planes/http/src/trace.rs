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
use bartizan_observed::{HttpAnswer, HttpQuery, HttpQuestion, HttpStage, HttpStep, HttpTrace, TracesBusy, Tracing};
use bartizan_routes::{Server, Target};
use bartizan_tls::{Agreed, ClientConfig, Now, Roots, TlsError, client_config_by};
use bartizan_wire::http1::{Asked, FieldRoom, HeadSearch, Leading, Limits, ResponseHead};
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
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    tls: Arc<ClientConfig>,
    places: Semaphore,
}

impl InForce {
    /// By these listeners.
    pub(crate) fn new(
        traces: Traces,
        http: Option<SocketAddr>,
        https: Option<SocketAddr>,
        now: &Now,
    ) -> Result<InForce, TlsError> {
        // It is this process that it speaks to, and whatever certificate a visitor gets.
        let tls = client_config_by(now, &Roots::Unverified, &[b"http/1.1"])?;
        let (http, https) = (http.map(here), https.map(here));
        Ok(InForce { traces, http, https, tls, places: Semaphore::new(TRACES_MAX) })
    }

    async fn send(&self, question: HttpQuestion, telling: &Arc<Telling>) -> Option<HttpAnswer> {
        let listener = if question.https { self.https } else { self.http };
        let Some(listener) = listener else {
            telling.tell(HttpStage::Connection, "this edge has no listener for it");
            return None;
        };
        let failed = |error: std::io::Error| telling.tell(HttpStage::Connection, format!("it broke: {error}"));
        let stream = TcpStream::connect(listener).await.map_err(failed).ok()?;
        let peer = stream.local_addr().map_err(failed).ok()?;
        let wanted = Wanted { from: question.from, telling: Arc::clone(telling) };
        let _place = self.traces.want(peer, wanted);
        let answer = if question.https {
            let name = question.host.bare_name().to_owned();
            match bartizan_tls::connect(&self.tls, &name, stream).await {
                Ok(stream) => ask(stream, &question).await,
                Err(error) => {
                    telling.tell(HttpStage::Tls, format!("no handshake comes about for {name}: {error}"));
                    return None;
                }
            }
        } else {
            ask(stream, &question).await
        };
        match answer {
            Ok(answer) => {
                // The last octet may be here before all is told.
                let _ = tokio::time::timeout(TRACE_END_TIME, telling.over.notified()).await;
                Some(answer)
            }
            Err(error) => {
                failed(error);
                None
            }
        }
    }
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
