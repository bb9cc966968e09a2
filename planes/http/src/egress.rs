//! Where requests go out: to an origin's address over HTTP/1.1 or HTTP/2, or to a tunnel.
//!
//! ```text
//!                          ┌─ Sessions ─ a stream ─────┐
//! Request ─► Egress::send ─┼─ Pool ─ kept connection ──┤
//!                          │    └─── dial (base/dial) ─┴─► origin      (codecs of base/wire)
//!                          └─ Upstream ─► tunnel; for gRPC a connection through it, with a session on it
//! ```

mod balanced;
mod composed;
mod http2;
mod link;
mod origin_io;
mod patience;
mod pool;
mod upload;

use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bartizan_dial::{Failure, OriginDialer, OriginTls, OwnTls, Reach, Trusts};
use bartizan_exchange::{Body, Request, Upgrade, Upstream, UpstreamError};
use bartizan_names::{Encryption, Origin, OriginFault, OriginHttp, TransportSecurity, TunnelId, ZoneId, ZoneSettings};
use bartizan_observed::HttpStage;
use bartizan_quotas::Gate;
use bartizan_routes::{Scheme, Server, Target};
use bartizan_steering::Balancer;
use bartizan_wire::http1::{self, Illegal};
use http::{HeaderMap, StatusCode};

use crate::Limits;
use crate::answered::Answered;
use crate::arrived::Arrived;
use crate::clients::Told;
use crate::counters::Counters;
use crate::forward::{self, FIELDS_TO_ORIGIN, Provenance, SourceFields};
use crate::ingress::RequestGuard;
use crate::limits::{ORIGIN_TRIES_MAX, SWEEPS_MAX};
use crate::page::Problem;
use crate::ray::Ray;
use crate::spare::Spare;
pub(crate) use balanced::Sticky;
use composed::Composed;
use http2::{Answer, Asking, Closed, Exchange, Lost, Making, Need, Opening, Session, Sessions};
use link::{Head, Link};
use origin_io::OriginIo;
use patience::Patience;
use pool::{Key, Lease, Offer, Place, Pool};

/// The other version that origins are offered.
const HTTP1: &[u8] = b"http/1.1";

/// Where one request goes, and under which settings.
pub(crate) struct Destination<'r> {
    pub(crate) zone: ZoneId,
    pub(crate) target: &'r Target,
    /// What the target is, if that is a load balancer which is there.
    pub(crate) balancer: Option<&'r Arc<Balancer>>,
    pub(crate) settings: &'r ZoneSettings,
    /// What the zone has of its own for TLS with its origins.
    pub(crate) own: OwnTls<'r>,
    /// Whose it is. To be told when a connection is made for it.
    pub(crate) request: &'r RequestGuard,
    /// Whom it is from.
    pub(crate) source: &'r SourceFields,
    pub(crate) ray: Ray,
    /// What is known of the visitor by its certificate, where that is asked for.
    pub(crate) client: Option<&'r Rc<Told>>,
}

impl Destination<'_> {
    /// What an origin is told beside the request's own fields.
    fn provenance<'r>(&'r self, arrived: &'r Arrived) -> Provenance<'r> {
        Provenance {
            source: self.source,
            host: arrived.host.as_str(),
            ray: &self.ray,
            is_early: self.request.connection.handshake_end().is_some(),
            client: self.client,
        }
    }
}

/// One worker's way out.
pub(crate) struct Egress {
    upstream: Arc<dyn Upstream>,
    tls: Trusts<Offers>,
    origins: OriginDialer,
    /// How many connections there may be to origins: a visitor has no more of them than are left free for others.
    gate: Gate,
    pool: Rc<Pool>,
    sessions: Rc<Sessions>,
    spare: Rc<Spare>,
    counters: Arc<Counters>,
}

impl Egress {
    pub(crate) fn new(
        (upstream, tls, (reach, gate)): (Arc<dyn Upstream>, OriginTls, (Reach, Gate)),
        counters: Arc<Counters>,
        spare: Rc<Spare>,
    ) -> Egress {
        let pool = Rc::new(Pool::new(Arc::clone(&counters)));
        let (tls, sessions) = (Trusts::new(tls, Offers::new), Rc::default());
        Egress { upstream, tls, origins: OriginDialer::new(reach), gate, pool, sessions, spare, counters }
    }

    /// Sends a request, whose body it takes, and waits for the head of its answer.
    pub(crate) async fn send(&self, to: &Destination<'_>, arrived: &mut Arrived) -> Result<Answered, Problem> {
        let (request, silence_max) = (Rc::clone(&to.request.under_way), to.settings.proxy_read_timeout);
        let patience = Patience { request, silence_max };
        let body = patience.watch(std::mem::replace(&mut arrived.body, Body::empty()), to.settings.max_upload);
        let mut result = match to.target {
            Target::Tunnel(tunnel) => Box::pin(self.send_to_tunnel(*tunnel, to, (arrived, body), &patience)).await,
            Target::Origin(server) => self.send_to_origin(server, to, (arrived, body), &patience).await,
            Target::Balancer(_) => match to.balancer {
                Some(balancer) => Box::pin(self.send_balanced(balancer, to, (arrived, body), &patience)).await,
                None => Err(Problem::Unread),
            },
            Target::Unknown => Err(Problem::Unread),
        };
        if let Ok(answered) = &mut result
            && let Err(error) = patience.extend_to(&mut answered.body).await
        {
            tracing::debug!(%error, "an answer that is broken at its beginning");
            result = Err(Problem::Origin(OriginFault::Broken));
        }
        if let (Ok(answered), Some(by_connect)) = (&mut result, &arrived.by_connect)
            && !by_connect.takes(answered)
        {
            tracing::debug!(status = %answered.status, "an answer that is none to who wants a WebSocket by CONNECT");
            result = Err(Problem::Origin(OriginFault::Broken));
        }
        match result {
            Ok(answered) => Ok(answered),
            // It looks like a failure of the origin, but the visitor's body was broken first, or was cut here.
            Err(_) if to.request.under_way.body_is_over.get() => Err(Problem::UploadTooLarge),
            Err(_) if to.request.under_way.body_broke.get() => Err(Problem::BodyBroken),
            Err(problem) => {
                self.count(problem);
                Err(problem)
            }
        }
    }

    /// Asks origins that say nothing whether they are there. To be called about once a second.
    pub(crate) fn look(&self, now: Instant, limits: &Limits) {
        self.sessions.look(now, (limits.origin_silence_time, limits.origin_ping_time));
    }

    /// Forgets connections that were idle for too long.
    pub(crate) fn sweep(&self) {
        self.pool.sweep();
        self.sessions.sweep();
        self.tls.sweep(SWEEPS_MAX);
    }

    async fn send_to_tunnel(
        &self,
        tunnel: TunnelId,
        to: &Destination<'_>,
        (arrived, body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Answered, Problem> {
        if arrived.is_grpc() {
            let key = Key::behind(tunnel, &arrived.host);
            return self.send_by(key, to, (arrived, body), patience).await.map_err(|failed| failed.problem);
        }
        let headers = HeaderMap::with_capacity(arrived.fields.count() + FIELDS_TO_ORIGIN);
        let request = Request {
            visitor: arrived.source.address,
            method: arrived.method.clone(),
            host: arrived.host.clone(),
            path: arrived.path.clone(),
            headers: forward::to_origin(&arrived.method, &arrived.fields, &to.provenance(arrived), headers),
            body,
            upgrade: arrived.upgrade,
        };
        let record = to.request.record();
        record.tell(HttpStage::Tunnel, || format!("to a connector of {tunnel}"));
        let sent = patience.wait(pin!(self.upstream.send(tunnel, request))).await;
        let response = sent.ok_or(Problem::OriginAnswerTimedOut)?.map_err(|error| {
            tracing::debug!(%tunnel, %error, "no answer through the tunnel");
            record.tell(HttpStage::Tunnel, || error.to_string());
            Problem::from(error)
        })?;
        Ok(Answered::new(response, to.ray))
    }

    async fn send_to_origin(
        &self,
        server: &Server,
        to: &Destination<'_>,
        (arrived, body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Answered, Problem> {
        self.try_origin(server, to, (arrived, body), patience).await.map_err(|failed| failed.problem)
    }

    /// The same; who fails gives the body back if another server may be asked.
    async fn try_origin(
        &self,
        server: &Server,
        to: &Destination<'_>,
        (arrived, body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Answered, Failed> {
        let origin = server.spoken_to(to.settings.ssl, arrived.scheme);
        let offer = offer(&origin, to.settings, arrived);
        let key = Key::new(origin, arrived.host.bare_name(), offer, &to.own).of(to.zone);
        self.send_by(key, to, (arrived, body), patience).await
    }

    /// Sends over a kept connection if there is one. The origin may have closed it just now, or says that it has done nothing: then the
    /// request is sent again, if no byte of it had left, if that is said, or if it may be repeated (RFC 9110 §9.2.2).
    async fn send_by(
        &self,
        mut key: Key,
        to: &Destination<'_>,
        (arrived, mut body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Answered, Failed> {
        let record = to.request.record();
        let (mut tries, mut may_be_kept) = (0, true);
        loop {
            tries += 1;
            if key.offer() == Offer::Both && self.sessions.wants_http1(&key) {
                key = key.by_http1();
            }
            let kept = match may_be_kept {
                true => self.send_on_kept(&key, to, (arrived, body), patience).await?,
                false => Err(Unanswered::NoConnection(body)),
            };
            let (lost, is_new) = match kept {
                Ok(answered) => return Ok(answered),
                Err(Unanswered::Lost(lost)) => (lost, false),
                Err(Unanswered::NoConnection(body)) => {
                    // In a box, since few requests have to wait for it.
                    match Box::pin(self.send_on_new(&key, to, (arrived, body), patience)).await? {
                        Ok(answered) => return Ok(answered),
                        Err(lost) => (lost, true),
                    }
                }
            };
            record.tell(stage(key.place()), || {
                let how = match lost.why {
                    Some(Closed::Refused) => "it did not take that",
                    Some(Closed::Http11Required) => "it wants HTTP/1.1",
                    Some(Closed::Broken) | None => "it had closed that",
                };
                how.to_owned()
            });
            let may_go_on = match lost.why {
                Some(Closed::Refused) => true,
                Some(Closed::Http11Required) => {
                    self.sessions.want_http1(&key);
                    key.offer() == Offer::Both
                }
                // A new connection that breaks says more of the origin than one that it may have closed just now.
                Some(Closed::Broken) | None => !is_new && tries == 1,
            };
            // Others that were kept over HTTP/1.1 may be closed too.
            may_be_kept = key.offer() != Offer::Http1 || lost.why.is_some();
            match lost.again {
                Some(again) if may_go_on && tries < ORIGIN_TRIES_MAX => body = again,
                again => return Err(Failed::with(Problem::Origin(OriginFault::Broken), again)),
            }
            self.counters.requests.retried.add(1);
        }
    }

    /// The same over a new connection, or one that somebody else has just made for the same.
    async fn send_on_new(
        &self,
        key: &Key,
        to: &Destination<'_>,
        (arrived, body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Result<Answered, Lost>, Failed> {
        let way = self.open(key, Need::of(arrived, body.length()), to, arrived).await;
        to.request.record().tell(stage(key.place()), || match &way {
            Ok(way) => format!("by {way}, {}", told(key.place())),
            Err(problem) => format!("no connection, {}; {problem}", told(key.place())),
        });
        match way {
            // Nothing of it has left.
            Err(problem) => Err(Failed::with(problem, Some(body))),
            Ok(Way::Http1(mut link)) => {
                link.begin(self.compose(arrived, body, to)?, to.request);
                Ok(match self.ask(&mut link, to, patience).await? {
                    Ok(head) => Ok(self.receive((head, to.ray), link, key.clone(), arrived.upgrade)?),
                    Err(lost) => Err(self.lost_by_http1(lost)),
                })
            }
            Ok(Way::Http2(session, made)) => {
                let asked = self.ask_on_stream(session, key, (arrived, body), to, patience).await?;
                Ok(asked.map_err(|lost| Lost {
                    // One that somebody else has made may have broken for what that asked.
                    why: lost.why.filter(|why| *why != Closed::Broken || made == Made::ForThis),
                    ..lost
                }))
            }
        }
    }

    /// The same, as far as there is a connection already.
    async fn send_on_kept(
        &self,
        key: &Key,
        to: &Destination<'_>,
        (arrived, body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Result<Answered, Unanswered>, Problem> {
        let record = to.request.record();
        if key.offer() != Offer::Http1
            && let Some(session) = self.sessions.find(key, Need::of(arrived, body.length()))
        {
            record.tell(stage(key.place()), || {
                format!("by a stream of a connection that was kept, {}", told(key.place()))
            });
            // In a box: most origins are not asked so.
            let asking = Box::pin(self.ask_on_stream(session, key, (arrived, body), to, patience));
            return Ok(asking.await?.map_err(Unanswered::Lost));
        }
        let Some(mut link) = self.pool.take(key) else { return Ok(Err(Unanswered::NoConnection(body))) };
        record.tell(HttpStage::Origin, || format!("by a connection that was kept, {}", told(key.place())));
        link.begin(self.compose(arrived, body, to)?, to.request);
        match self.ask(&mut link, to, patience).await? {
            Ok(head) => self.receive((head, to.ray), link, key.clone(), arrived.upgrade).map(Ok),
            Err(lost) => Ok(Err(Unanswered::Lost(self.lost_by_http1(lost)))),
        }
    }

    fn lost_by_http1(&self, lost: link::Lost) -> Lost {
        Lost { why: None, again: lost.again.map(|composed| self.body_of(composed)) }
    }

    /// The body of a request that is composed anew.
    fn body_of(&self, Composed { head, body, .. }: Composed) -> Body {
        self.spare.give_text(head);
        body
    }

    fn compose(&self, arrived: &Arrived, body: Body, to: &Destination<'_>) -> Result<Composed, Problem> {
        let composed = Composed::new(arrived, body, &to.provenance(arrived), self.spare.text());
        composed.map_err(|Illegal| Problem::Refused(http1::Refusal::Malformed.into()))
    }

    async fn ask(
        &self,
        link: &mut Link,
        to: &Destination<'_>,
        patience: &Patience,
    ) -> Result<Result<Head, link::Lost>, Problem> {
        patience.wait(pin!(link.answer(to.request))).await.ok_or(Problem::OriginAnswerTimedOut)
    }

    /// Asks on a stream of a connection. Where that comes to nothing, with the body, if that may be sent once more.
    async fn ask_on_stream(
        &self,
        session: Rc<Session>,
        key: &Key,
        (arrived, body): (&Arrived, Body),
        to: &Destination<'_>,
        patience: &Patience,
    ) -> Result<Result<Answered, Lost>, Problem> {
        let provenance = to.provenance(arrived);
        let scheme = match key.place() {
            // How the connector reaches it is not known here.
            Place::Tunnel(_) | Place::Address(Origin { encryption: Encryption::None, .. }) => Scheme::Http,
            Place::Address(_) => Scheme::Https,
        };
        let asking = Asking { arrived, provenance: &provenance, scheme, request: to.request };
        let exchange = match Exchange::begin(session, &asking, body) {
            Ok(exchange) => exchange,
            Err(body) => return Ok(Err(Lost { why: Some(Closed::Refused), again: Some(body) })),
        };
        self.counters.requests.to_http2.add(1);
        let answer = patience.wait(pin!(exchange.answer())).await.ok_or(Problem::OriginAnswerTimedOut)?;
        Ok(answer.map(|Answer { status, fields, body }| {
            let promise = TransportSecurity::default();
            Answered { status, fields, body, upgraded: None, promise, ray: to.ray, http3: None, sticky: None }
        }))
    }

    /// A new connection, or one that somebody else has just made for the same. It takes no longer than one may, whoever makes it.
    async fn open(&self, key: &Key, need: Need, to: &Destination<'_>, arrived: &Arrived) -> Result<Way, Problem> {
        let by = tokio::time::Instant::now() + to.request.worker.limits.connect_time;
        let timed_out = || Problem::Origin(OriginFault::ConnectTimedOut);
        let making = loop {
            if key.offer() == Offer::Http1 {
                break None;
            }
            match self.sessions.opening(key, need) {
                Opening::Ours(making) => break Some(making),
                Opening::Alone => break None,
                Opening::Theirs(dial) => {
                    tokio::time::timeout_at(by, dial.wait()).await.map_err(|_| timed_out())??;
                    if let Some(session) = self.sessions.find(key, need) {
                        return Ok(Way::Http2(session, Made::ByOthers));
                    }
                }
            }
        };
        to.request.count_dial();
        // Within a guard: who is gone before it is made leaves that to others.
        let mut making = making;
        let way = tokio::time::timeout_at(by, self.connect(key, to, arrived, &mut making)).await;
        let way = way.unwrap_or_else(|_| Err(timed_out()));
        match &way {
            Ok(Way::Http2(session, _)) => self.sessions.put(key, Rc::clone(session)),
            Ok(Way::Http1(_)) if key.offer() == Offer::Both => self.sessions.note_http1(key),
            Ok(Way::Http1(_)) => {}
            Err(problem) => making.into_iter().for_each(|making| making.fail(*problem)),
        }
        way
    }

    /// A new connection, in the place of an idle one if there is no other: of the visitor's own if it has one. With TLS the
    /// certificate must be for the host of `key`.
    /// `making` is taken along where others may wait for more than that it is there.
    async fn connect(
        &self,
        key: &Key,
        to: &Destination<'_>,
        arrived: &Arrived,
        making: &mut Option<Making>,
    ) -> Result<Way, Problem> {
        let visitor = arrived.source.address;
        let close_one = |whose| self.pool.close_one(whose) || self.sessions.close_one(whose);
        let pass = self.gate.enter(visitor, Instant::now(), close_one).map_err(|over| {
            tracing::debug!(%visitor, ?over, "no connection to an origin");
            Problem::NoRoom
        })?;
        let (io, is_http2) = match key.place() {
            Place::Address(origin) => self.connect_to(origin, key, to).await?,
            Place::Tunnel(tunnel) => {
                let opened = self.upstream.open(*tunnel, &arrived.host, visitor).await;
                let io = opened.map_err(|error| {
                    tracing::debug!(%tunnel, %error, "no connection through the tunnel");
                    to.request.record().tell(HttpStage::Tunnel, || error.to_string());
                    Problem::from(error)
                })?;
                (OriginIo::Other(io), true)
            }
        };
        let spare = Rc::clone(&self.spare);
        Ok(match is_http2 {
            true => {
                let turn = to.request.worker.lanes.turn_to_origin(to.zone);
                Way::Http2(Session::start(io.boxed(), (pass, making.take()), spare, turn), Made::ForThis)
            }
            false => Way::Http1(Link::new(io, spare).within(pass)),
        })
    }

    /// A connection to an address, and whether HTTP/2 is spoken on it.
    async fn connect_to(&self, origin: &Origin, key: &Key, to: &Destination<'_>) -> Result<(OriginIo, bool), Problem> {
        let Origin { encryption, hosts, port } = origin;
        let offers = self.tls.of(key.own(&to.own)).map_err(|error| {
            tracing::debug!(zone = %to.zone, %error, "what it has of its own for its origins cannot be used");
            Problem::Origin(OriginFault::Tls)
        })?;
        let tls = if key.offer() == Offer::Http1 { &offers.http1 } else { &offers.both };
        let config = tls.client(*encryption).map_err(|_| Problem::Origin(OriginFault::Tls))?;
        let stream = self.origins.connect_to(Some(to.zone), hosts, *port).await?;
        let Some(config) = config else { return Ok((OriginIo::Plain(stream), key.offer() == Offer::Http2)) };
        let stream = bartizan_tls::connect(config, key.host(), stream).await.map_err(|error| {
            tracing::debug!(host = key.host(), %error, "no TLS with the origin");
            Problem::Origin(OriginFault::Tls)
        })?;
        let is_http2 = stream.alpn() == Some(http2::ALPN);
        Ok((OriginIo::Other(Box::new(stream)), is_http2))
    }

    /// The origin's answer in our types. Its connection goes back to the pool when the body has been read.
    fn receive(
        &self,
        (head, ray): (Head, Ray),
        link: Box<Link>,
        key: Key,
        upgrade: Upgrade,
    ) -> Result<Answered, Problem> {
        let Head { status, fields, length, body, persistence, to_websocket } = head;
        let promise = TransportSecurity::default();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            if upgrade != Upgrade::WebSocket || !to_websocket {
                return Err(Problem::Origin(OriginFault::Broken));
            }
            return Ok(Answered {
                status,
                fields,
                body: Body::empty(),
                upgraded: Some(link.into_io()),
                promise,
                ray,
                http3: None,
                sticky: None,
            });
        }
        let body = Lease::new(Rc::clone(&self.pool), key, link, (body, persistence)).body(length);
        Ok(Answered { status, fields, body, upgraded: None, promise, ray, http3: None, sticky: None })
    }

    fn count(&self, problem: Problem) {
        let origins = &self.counters.origins;
        match problem {
            Problem::Origin(OriginFault::Refused) => origins.refused.add(1),
            Problem::Origin(OriginFault::Unreachable) => origins.unreachable.add(1),
            Problem::Origin(OriginFault::Unresolved) => origins.unresolved.add(1),
            Problem::Origin(OriginFault::NotAllowed) => origins.not_allowed.add(1),
            Problem::Origin(OriginFault::ConnectTimedOut) => origins.connect_timed_out.add(1),
            Problem::Origin(OriginFault::Tls) | Problem::TlsBehindTunnel => origins.tls.add(1),
            Problem::OriginAnswerTimedOut => origins.answer_timed_out.add(1),
            Problem::Origin(OriginFault::Broken) => origins.broken.add(1),
            Problem::TunnelBroken => origins.tunnel_broken.add(1),
            Problem::Origin(OriginFault::Untold) => origins.tunnel_untold.add(1),
            Problem::TunnelNotConnected => origins.tunnel_not_connected.add(1),
            Problem::NoRoom => origins.no_room.add(1),
            Problem::Refused(_)
            | Problem::UnknownHost
            | Problem::Blocked
            | Problem::Unread
            | Problem::NoServer
            | Problem::WebSocketOff
            | Problem::Http2Off
            | Problem::Http3Off
            | Problem::TlsRefused
            | Problem::OtherClients
            | Problem::CertificateMissing
            | Problem::CertificateRefused(_)
            | Problem::TooEarly
            | Problem::Loop
            | Problem::UploadTooLarge
            | Problem::BodyBroken => {}
        }
    }
}

/// Why a server gave no answer, and the request's body if another one may be asked.
struct Failed {
    problem: Problem,
    again: Option<Body>,
}

impl Failed {
    fn with(problem: Problem, again: Option<Body>) -> Failed {
        Failed { problem, again: again.filter(|_| balanced::is_of_node(problem)) }
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Failed {
        Failed { problem, again: None }
    }
}

/// What an origin over TLS is offered (RFC 7301).
#[derive(Clone)]
struct Offers {
    http1: OriginTls,
    /// The same, with an offer of HTTP/2.
    both: OriginTls,
}

impl Offers {
    /// `http1` offers HTTP/1.1 alone.
    fn new(http1: OriginTls) -> Offers {
        let both = http1.offering(&[http2::ALPN, HTTP1]);
        Offers { http1, both }
    }
}

/// Which versions an origin is offered for a request. What is to become a WebSocket asks for that in HTTP/1.1 (RFC 6455 §1.3), and
/// gRPC knows no other than HTTP/2. Where either will do, a head that may be too large for the origin goes by HTTP/1.1: it is
/// refused alone then, and with an answer.
fn offer(origin: &Origin, settings: &ZoneSettings, arrived: &Arrived) -> Offer {
    match (origin.encryption, settings.origin_max_http_version) {
        _ if arrived.upgrade != Upgrade::None => Offer::Http1,
        (Encryption::None, _) if settings.origin_h2c => Offer::Http2,
        (Encryption::None, _) => Offer::Http1,
        (Encryption::Unverified | Encryption::Verified, _) if arrived.is_grpc() => Offer::Both,
        (Encryption::Unverified | Encryption::Verified, OriginHttp::Http2) if !arrived.is_large() => Offer::Both,
        (Encryption::Unverified | Encryption::Verified, _) => Offer::Http1,
    }
}

/// Why there is no answer by a connection that was kept.
enum Unanswered {
    /// There is none; with the body.
    NoConnection(Body),
    /// It is over.
    Lost(Lost),
}

/// A connection to an origin.
enum Way {
    Http1(Box<Link>),
    Http2(Rc<Session>, Made),
}

/// For whom a connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    ForThis,
    ByOthers,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Http1(_) => "a new connection",
            Way::Http2(_, Made::ForThis) => "a stream of a new connection",
            Way::Http2(_, Made::ByOthers) => "a stream of a connection that was just made",
        })
    }
}

/// Which step of a trace tells of it.
fn stage(place: &Place) -> HttpStage {
    match place {
        Place::Address(_) => HttpStage::Origin,
        Place::Tunnel(_) => HttpStage::Tunnel,
    }
}

/// An origin, for who wants to see where a request goes.
fn told(place: &Place) -> String {
    let origin = match place {
        Place::Address(origin) => origin,
        Place::Tunnel(tunnel) => return format!("HTTP/2 with a service behind {tunnel}"),
    };
    let judged = match origin.encryption {
        Encryption::None => "",
        Encryption::Unverified => ", whose certificate is not judged",
        Encryption::Verified => ", whose certificate is judged",
    };
    format!("{origin}{judged}")
}

impl From<UpstreamError> for Problem {
    fn from(error: UpstreamError) -> Problem {
        match error {
            UpstreamError::NotConnected => Problem::TunnelNotConnected,
            UpstreamError::Origin(OriginFault::Tls, _) => Problem::TlsBehindTunnel,
            UpstreamError::Origin(fault, _) => Problem::Origin(fault),
            UpstreamError::TimedOut => Problem::OriginAnswerTimedOut,
            UpstreamError::Full => Problem::NoRoom,
            UpstreamError::Broken(_) => Problem::TunnelBroken,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        Problem::Origin(failure.into())
    }
}
