//! Where requests go out: to an origin's address over HTTP/1.1, or to a tunnel.
//!
//! ```text
//! Request ─► Egress::send ─┬─ Pool ─ kept connection ─┐
//!                          │    └─── dial (base/dial) ┴─► origin      (codec of base/wire)
//!                          └─ Upstream ─► tunnel
//! ```

mod composed;
mod link;
mod patience;
mod pool;
mod upload;

use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_dial::{Failure, OriginDialer, OriginTls, Reach};
use bartizan_exchange::{Body, Io, Request, Upgrade, Upstream, UpstreamError};
use bartizan_names::{Encryption, Origin, OriginFault, TransportSecurity, TunnelId, ZoneId, ZoneSettings};
use bartizan_observed::HttpStage;
use bartizan_quotas::Gate;
use bartizan_routes::{Server, Target};
use bartizan_wire::http1::{self, Illegal};
use http::{HeaderMap, StatusCode};

use crate::answered::Answered;
use crate::arrived::Arrived;
use crate::clients::Told;
use crate::counters::Counters;
use crate::forward::{self, FIELDS_TO_ORIGIN, Provenance, SourceFields};
use crate::ingress::RequestGuard;
use crate::page::Problem;
use crate::ray::Ray;
use crate::spare::Spare;
use composed::Composed;
use link::{Head, Link, Lost};
use patience::Patience;
use pool::{Key, Lease, Pool};

/// Where one request goes, and under which settings.
pub(crate) struct Destination<'r> {
    pub(crate) zone: ZoneId,
    pub(crate) target: &'r Target,
    pub(crate) settings: &'r ZoneSettings,
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
            scheme: arrived.scheme,
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
    tls: OriginTls,
    origins: OriginDialer,
    /// How many connections there may be to origins: a visitor has no more of them than are left free for others.
    gate: Gate,
    pool: Rc<Pool>,
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
        Egress { upstream, tls, origins: OriginDialer::new(reach), gate, pool, spare, counters }
    }

    /// Sends a request, whose body it takes, and waits for the head of its answer.
    pub(crate) async fn send(&self, to: &Destination<'_>, arrived: &mut Arrived) -> Result<Answered, Problem> {
        let (request, silence_max) = (Rc::clone(&to.request.under_way), to.settings.proxy_read_timeout);
        let patience = Patience { request, silence_max };
        let body = patience.watch(std::mem::replace(&mut arrived.body, Body::empty()), to.settings.max_upload);
        let mut result = match to.target {
            Target::Tunnel(tunnel) => Box::pin(self.send_to_tunnel(*tunnel, to, (arrived, body), &patience)).await,
            Target::Origin(server) => self.send_to_origin(server, to, (arrived, body), &patience).await,
            Target::Unknown => Err(Problem::Unread),
        };
        if let Ok(answered) = &mut result
            && let Err(error) = patience.extend_to(&mut answered.body).await
        {
            tracing::debug!(%error, "an answer that is broken at its beginning");
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

    /// Forgets connections that were idle for too long.
    pub(crate) fn sweep(&self) {
        self.pool.sweep();
    }

    async fn send_to_tunnel(
        &self,
        tunnel: TunnelId,
        to: &Destination<'_>,
        (arrived, body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Answered, Problem> {
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
            match error {
                UpstreamError::NotConnected => Problem::TunnelNotConnected,
                UpstreamError::Origin(OriginFault::Tls, _) => Problem::TlsBehindTunnel,
                UpstreamError::Origin(fault, _) => Problem::Origin(fault),
                UpstreamError::TimedOut => Problem::OriginAnswerTimedOut,
                UpstreamError::Full => Problem::NoRoom,
                UpstreamError::Broken(_) => Problem::TunnelBroken,
            }
        })?;
        Ok(Answered::new(response, to.ray))
    }

    /// Sends over a kept connection if there is one. The origin may have closed it just now: then the request is sent
    /// once more over a new connection, if no byte of it had left or if it may be repeated (RFC 9110 §9.2.2).
    async fn send_to_origin(
        &self,
        server: &Server,
        to: &Destination<'_>,
        (arrived, body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Answered, Problem> {
        let key = Key::new(server.spoken_to(to.settings.ssl, arrived.scheme), arrived.host.bare_name());
        let composed = Composed::new(arrived, body, &to.provenance(arrived), self.spare.text());
        let mut request = composed.map_err(|Illegal| Problem::Refused(http1::Refusal::Malformed.into()))?;
        let piece_bytes = to.request.connection.piece_bytes();
        let record = to.request.record();
        if let Some(mut link) = self.pool.take(&key) {
            record.tell(HttpStage::Origin, || format!("by a connection that was kept, {}", told(key.origin())));
            link.begin(request, piece_bytes);
            match self.ask(&mut link, to, patience).await? {
                Ok(head) => return self.receive((head, to.ray), link, key, arrived.upgrade),
                Err(Lost { again }) => {
                    record.tell(HttpStage::Origin, || "it had closed that".to_owned());
                    request = again.ok_or(Problem::Origin(OriginFault::Broken))?;
                    self.counters.requests.retried.add(1);
                }
            }
        }
        to.request.count_dial();
        // In a box, since few requests have to wait for it.
        let whose = (to.zone, arrived.source.address);
        let link = Box::pin(self.open(&key, whose, to.request.worker.limits.connect_time)).await;
        record.tell(HttpStage::Origin, || match &link {
            Ok(_) => format!("by a new connection, {}", told(key.origin())),
            Err(problem) => format!("no connection, {}; {problem}", told(key.origin())),
        });
        let mut link = link?;
        link.begin(request, piece_bytes);
        let head = self.ask(&mut link, to, patience).await?.map_err(|_| Problem::Origin(OriginFault::Broken))?;
        self.receive((head, to.ray), link, key, arrived.upgrade)
    }

    async fn ask(
        &self,
        link: &mut Link,
        to: &Destination<'_>,
        patience: &Patience,
    ) -> Result<Result<Head, Lost>, Problem> {
        patience.wait(pin!(link.answer(to.request))).await.ok_or(Problem::OriginAnswerTimedOut)
    }

    /// A new connection, in the place of an idle one if there is no other: of the visitor's own if it has one. With TLS the
    /// certificate must be for the host of `key`.
    async fn open(
        &self,
        key: &Key,
        (zone, visitor): (ZoneId, IpAddr),
        connect_time: Duration,
    ) -> Result<Box<Link>, Problem> {
        let pass = self.gate.enter(visitor, Instant::now(), |whose| self.pool.close_one(whose)).map_err(|over| {
            tracing::debug!(%visitor, ?over, "no connection to an origin");
            Problem::NoRoom
        })?;
        let Origin { encryption, hosts, port } = key.origin();
        let config = self.tls.client(*encryption).map_err(|_| Problem::Origin(OriginFault::Tls))?;
        let connecting = async {
            let stream = self.origins.connect_to(Some(zone), hosts, *port).await?;
            let Some(config) = config else { return Ok::<Box<dyn Io>, Problem>(Box::new(stream)) };
            let stream = bartizan_tls::connect(config, key.host(), stream).await.map_err(|error| {
                tracing::debug!(host = key.host(), %error, "no TLS with the origin");
                Problem::Origin(OriginFault::Tls)
            })?;
            Ok(Box::new(stream))
        };
        let io = tokio::time::timeout(connect_time, connecting).await;
        io.unwrap_or(Err(Problem::Origin(OriginFault::ConnectTimedOut)))
            .map(|io| Link::new(io, Rc::clone(&self.spare)).within(pass))
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
            });
        }
        let body = Lease::new(Rc::clone(&self.pool), key, link, (body, persistence)).body(length);
        Ok(Answered { status, fields, body, upgraded: None, promise, ray, http3: None })
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

/// An origin, for who wants to see where a request goes.
fn told(origin: &Origin) -> String {
    let judged = match origin.encryption {
        Encryption::None => "",
        Encryption::Unverified => ", whose certificate is not judged",
        Encryption::Verified => ", whose certificate is judged",
    };
    format!("{origin}{judged}")
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        Problem::Origin(failure.into())
    }
}
