//! The only way a request becomes an answer.
//!
//! ```text
//!                   ┌─ go on ──► origin or tunnel ─┐
//! request stages ───┤                              ├─► response stages ──► visitor ──► end stage
//!                   └─ answer ─────────────────────┘
//! ```
//! What is new for requests is a line in [`request_stages`], what is new for answers one in [`response_stages`]; what
//! wants to know of requests that are over hangs at [`end`]. Stages decide and do not wait: what takes time is an
//! upstream's, or a [`Service`]'s that a stage answers with. What each of them knows is what it has as arguments.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use bartizan_dial::OwnTls;
use bartizan_exchange::{Length, Service, Upgrade};
use bartizan_firewall::Verdict;
use bartizan_names::{ClientMode, ClientStatus, Ssl, TransportSecurity, ZoneSettings};
use bartizan_observed::HttpStage;
use bartizan_routes::Scheme;
use bartizan_tls::TlsPolicy;
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderMap, HeaderValue, Version};

use crate::answered::Answered;
use crate::arrived::Arrived;
use crate::clients::Standing;
use crate::dns_query::{self, DnsQuery};
use crate::egress::Destination;
use crate::forward;
use crate::ingress::{Connection, RequestGuard};
use crate::page::{Instead, Page, Problem};
use crate::ray::Ray;
use crate::record::Ended;
use crate::trace;
use crate::worker::{Known, Worker};
use crate::zero_rtt;

/// What a request stage says: go on, or this is the answer.
type Stage = ControlFlow<Instead<'static>>;

/// Where what is asked of a host itself is found (RFC 8615).
const WELL_KNOWN: &str = "/.well-known/";

/// Where a public authority looks (RFC 8555 §8.3), by plain HTTP: an origin may have certificates of its own.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// What pages are.
const PAGES: &[u8] = b"text/html";

const GO_ON: Stage = ControlFlow::Continue(());

fn answer(instead: impl Into<Instead<'static>>) -> Stage {
    ControlFlow::Break(instead.into())
}

/// Notes what a stage has said.
fn stage<'i>(name: &'static str, said: ControlFlow<Instead<'i>>, guard: &RequestGuard) -> ControlFlow<Instead<'i>> {
    if said.is_continue() {
        guard.record().tell(HttpStage::Stage(name), || "goes on".to_owned());
    }
    said.map_break(|instead| by(name, instead, guard))
}

/// Notes that this stage has answered.
fn by<'i>(name: &'static str, instead: Instead<'i>, guard: &RequestGuard) -> Instead<'i> {
    guard.record().note_stage(name);
    guard.record().tell(HttpStage::Stage(name), || instead.to_string());
    instead
}

/// Answers a request.
pub(crate) async fn serve(arrived: &mut Arrived, guard: &RequestGuard) -> Answered {
    let proof = zero_rtt::wait(arrived, guard).await;
    // The snapshot is held for as long as this lasts, so a request never sees parts of two configurations.
    let traced = trace::begin(arrived, guard);
    let (known, ray) = guard.worker.look_up(arrived, &guard.connection);
    guard.record().note_ray(ray);
    guard.record().note_asked(arrived);
    if traced {
        trace::tell_known(arrived, known.as_ref(), guard);
    }
    let decided = match proof {
        Ok(()) => request_stages(arrived, known.as_ref(), guard),
        Err(problem) => ControlFlow::Break(by("early data", problem.into(), guard)),
    };
    let result = {
        let answering = pin!(async {
            match decided {
                ControlFlow::Continue(known) => send(arrived, known, ray, guard).await,
                ControlFlow::Break(instead) => {
                    if let Instead::Problem(problem) | Instead::Stranger(problem, _) = instead {
                        guard.record().note_problem(problem);
                    }
                    arrived.body.meter(guard.record().received());
                    // In a box, since few requests have to wait for it.
                    let response = Box::pin(Page { instead, ray }.answer(arrived.take_request())).await;
                    Ok(Answered::new(response, ray))
                }
            }
        });
        guard.unless_ended(answering).await.unwrap_or(Err(Problem::Blocked))
    };
    let mut answered = result.unwrap_or_else(|problem| {
        guard.record().note_problem(problem);
        Answered::new(problem.page(&arrived.fields.accepted(), &ray), ray)
    });
    offer_http3(&mut answered, arrived, known.as_ref(), &guard.worker);
    let settings = known.as_ref().map(|known| &known.site.policy.settings);
    response_stages(answered, Some(arrived), settings, guard)
}

/// Answers a request that was refused before it could be read.
pub(crate) fn refuse(problem: Problem, asked: &HeaderMap, guard: &RequestGuard) -> Answered {
    let ray = guard.worker.draw_ray();
    guard.record().note_ray(ray);
    guard.record().note_problem(problem);
    response_stages(Answered::new(problem.page(asked, &ray), ray), None, None, guard)
}

/// Each lets the request go on or answers it, in this order.
fn request_stages<'k>(
    arrived: &Arrived,
    known: Option<&'k Known>,
    guard: &'k RequestGuard,
) -> ControlFlow<Instead<'k>, &'k Known> {
    let stage = |name, said: ControlFlow<Instead<'k>>| stage(name, said, guard);
    stage("dns", answer_dns(arrived, guard))?;
    stage("challenge", show_name(arrived, guard))?;
    let Some(known) = known else { return ControlFlow::Break(by("host", Problem::UnknownHost.into(), guard)) };
    let settings = &known.site.policy.settings;
    stage("firewall", let_in(arrived, known, guard))?;
    stage("version", allow_version(arrived, settings))?;
    stage("tls", allow_tls(guard, settings))?;
    stage("scheme", right_scheme(arrived, settings, &guard.worker))?;
    stage("client", know_client(known))?;
    stage("upgrade", allow_upgrade(arrived, settings))?;
    stage("upload", allow_upload(arrived, settings))?;
    stage("loop", break_loop(arrived))?;
    stage("options", answer_options(arrived))?;
    ControlFlow::Continue(known)
}

/// Each sees an answer, whoever made it, and the request that it is to (none if that could not be read) with the settings of
/// its zone, before it leaves, and may change its status, fields and body. Which fields leave is said by
/// [`forward::to_visitor`], where they are written.
fn response_stages(
    mut answered: Answered,
    arrived: Option<&Arrived>,
    settings: Option<&ZoneSettings>,
    guard: &RequestGuard,
) -> Answered {
    promise_in_secret(&mut answered, arrived);
    promise(&mut answered, arrived, settings, guard);
    count(&answered, guard);
    note(&mut answered, guard);
    answered
}

/// Once for each request, when it is over, whatever its end was.
pub(crate) fn end(request: &Ended<'_>, connection: &Connection, worker: &Worker) {
    worker.counters.ends.ended(request);
    if let Some(pen) = &worker.pen {
        pen.write(request, connection.source.address, connection.scheme);
    }
    if let Some(tap) = &worker.tap
        && !tap.record(request, connection)
    {
        worker.counters.requests.untold.add(1);
    }
    let Ended { how, asked, ray, status, problem, zone, sent_to, stage, received, sent, first_byte, whole, .. } =
        *request;
    // Without the query, which may have secrets.
    let path = asked.map(|line| line.path.path());
    let (method, host) = (asked.map(|line| line.method.as_str()), asked.map(|line| line.host));
    let (ray, sent_to) = (ray.as_ref().map(Ray::as_str), sent_to.map(tracing::field::display));
    tracing::debug!(
        ?how,
        method,
        host,
        path,
        ray,
        ?status,
        ?problem,
        ?zone,
        sent_to,
        stage,
        received,
        sent,
        ?first_byte,
        ?whole,
        "request over"
    );
}

/// Sends a request that may go on to where its host leads.
async fn send(arrived: &mut Arrived, known: &Known, ray: Ray, guard: &RequestGuard) -> Result<Answered, Problem> {
    let (zone, target) = (known.site.zone, &known.route.target);
    guard.record().note_target(target);
    arrived.body.meter(guard.record().received());
    let settings = &known.site.policy.settings;
    let own = guard.worker.to_origins(zone);
    let own = own.as_deref().map_or_else(OwnTls::default, |own| OwnTls {
        roots: own.roots().map(|roots| (&*roots.certificates, roots.sum)),
        identity: own.identity(arrived.host.name()),
    });
    let client = known.client.as_ref().and_then(Standing::told);
    let source = trace::source(arrived, guard);
    let source = source.as_ref().unwrap_or(&guard.connection.source_fields);
    let balancer = known.balancer.as_ref();
    let destination = Destination { zone, target, balancer, settings, own, request: guard, source, ray, client };
    guard.worker.egress.send(&destination, arrived).await
}

/// DNS over HTTPS: at the names of our name servers, which need be no site's. Access rules are for sites, and DNS over other
/// transports does not ask them either.
fn answer_dns<'w>(arrived: &Arrived, guard: &'w RequestGuard) -> ControlFlow<Instead<'w>> {
    // Who wants a WebSocket by CONNECT would take the answer for one.
    let is_asked = arrived.path.path() == dns_query::PATH
        && arrived.by_connect.is_none()
        && arrived.scheme == Scheme::Https
        && guard.worker.is_name_server(arrived.host.name());
    match &guard.worker.dns {
        Some(answerer) if is_asked => {
            ControlFlow::Break(Instead::Dns(DnsQuery { answerer, client: arrived.source.address }))
        }
        _ => GO_ON,
    }
}

/// The question of a public authority whether a name is ours (RFC 8555 §8.3). It comes from anywhere, and by whatever scheme,
/// so nothing that holds for the zone is asked first.
fn show_name(arrived: &Arrived, guard: &RequestGuard) -> Stage {
    let path = arrived.path.path();
    // The same is so for CONNECT.
    if !path.starts_with(WELL_KNOWN) || arrived.by_connect.is_some() {
        return GO_ON;
    }
    let shown = guard.worker.challenge(arrived.host.name(), path);
    shown.map_or(GO_ON, |text| ControlFlow::Break(Instead::Shown(text)))
}

/// Passes a request that the firewall allows. A challenge is a refusal too: there is no page for one yet.
fn let_in(arrived: &Arrived, known: &Known, guard: &RequestGuard) -> Stage {
    guard.record().note_zone(known.site.zone);
    match known.verdict {
        Verdict::Block(_) | Verdict::Challenge(_) => answer(Problem::Blocked),
        Verdict::Unknown(_) => answer(Problem::Unread),
        Verdict::Allow(_) => {
            guard.concern(known.site.zone, arrived.host.name());
            GO_ON
        }
    }
}

/// A connection whose name may speak HTTP/2 or HTTP/3 can still ask for one that may not, and a setting can change while it lasts.
fn allow_version(arrived: &Arrived, settings: &ZoneSettings) -> Stage {
    match arrived.version {
        Version::HTTP_2 if !settings.http2 => answer(Problem::Http2Off),
        Version::HTTP_3 if !settings.http3 => answer(Problem::Http3Off),
        _ => GO_ON,
    }
}

/// The same is so for TLS: the policy of the name that the connection was made for may be another one, or of yesterday.
fn allow_tls(guard: &RequestGuard, settings: &ZoneSettings) -> Stage {
    match guard.connection.agreed() {
        Some(agreed) if !TlsPolicy::of(settings).allows(agreed) => answer(Problem::TlsRefused),
        _ => GO_ON,
    }
}

/// 301 for visitors by the scheme that the zone does not have: over HTTPS with `ssl: off`, which goes before all else, and
/// over plain HTTP with `always_use_https`, but for authorities that ask the origin whether a name is its own.
fn right_scheme(arrived: &Arrived, settings: &ZoneSettings, worker: &Worker) -> Stage {
    let (scheme, usual, port) = match (arrived.scheme, settings.ssl) {
        (Scheme::Https, Ssl::Off) => ("http", 80, worker.ports.http),
        (Scheme::Http, Ssl::Flexible | Ssl::Full | Ssl::Strict)
            if settings.always_use_https && !arrived.path.path().starts_with(CHALLENGES) =>
        {
            ("https", 443, worker.ports.https)
        }
        _ => return GO_ON,
    };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let location = format!("{scheme}://{}{port}{}", arrived.host.name(), arrived.path);
    // Both parts were read as parts of a target, so they make one.
    HeaderValue::try_from(location).map_or(GO_ON, |location| ControlFlow::Break(Instead::Moved(location)))
}

/// Asked for each request: whoever takes up a session again, or was let in before, passes by nothing.
fn know_client(known: &Known) -> Stage {
    match &known.client {
        None => GO_ON,
        Some(Standing::Elsewhere) => answer(Problem::OtherClients),
        Some(Standing::Known { auth, status, .. }) => {
            let problem = match (auth.policy.mode, status) {
                (_, ClientStatus::Valid) | (ClientMode::Report, _) => return GO_ON,
                (ClientMode::Enforce, ClientStatus::None) => Problem::CertificateMissing,
                (ClientMode::Enforce, ClientStatus::Invalid(reason)) => Problem::CertificateRefused(*reason),
            };
            ControlFlow::Break(Instead::Stranger(problem, Arc::clone(auth)))
        }
    }
}

fn allow_upgrade(arrived: &Arrived, settings: &ZoneSettings) -> Stage {
    match arrived.upgrade {
        Upgrade::WebSocket if !settings.websockets => answer(Problem::WebSocketOff),
        Upgrade::WebSocket | Upgrade::None => GO_ON,
    }
}

/// Before anything of it is asked for, where its length is known; else it is cut where it gets too long
/// ([`Patience`](crate::egress)).
fn allow_upload(arrived: &Arrived, settings: &ZoneSettings) -> Stage {
    match arrived.body.length() {
        Length::Known(length) if length > settings.max_upload => answer(Problem::UploadTooLarge),
        Length::Known(_) | Length::Unknown | Length::Absent => GO_ON,
    }
}

fn break_loop(arrived: &Arrived) -> Stage {
    if forward::is_loop(&arrived.fields) { answer(Problem::Loop) } else { GO_ON }
}

fn answer_options(arrived: &Arrived) -> Stage {
    if forward::ends_here(&arrived.method, &arrived.fields) { answer(Instead::Options) } else { GO_ON }
}

/// Only what comes over TLS may promise TLS from now on (RFC 6797 §7.2): anybody on the way could have said it.
fn promise_in_secret(answered: &mut Answered, arrived: Option<&Arrived>) {
    let is_in_the_clear = arrived.is_some_and(|arrived| arrived.scheme == Scheme::Http);
    if is_in_the_clear && answered.fields.get("strict-transport-security").is_some() {
        answered.fields.edit(|fields| drop(fields.remove(STRICT_TRANSPORT_SECURITY)));
    }
}

/// What the zone promises goes with every answer that the promise can be kept by: TLS only where there is some.
fn promise(answered: &mut Answered, arrived: Option<&Arrived>, settings: Option<&ZoneSettings>, guard: &RequestGuard) {
    if let (Some(arrived), Some(settings)) = (arrived, settings) {
        let promised = settings.security_header;
        let enabled = promised.enabled && arrived.scheme == Scheme::Https && settings.speaks().tls;
        answered.promise = TransportSecurity { enabled, ..promised };
        if enabled || promised.nosniff {
            let tls = if enabled { "TLS from now on" } else { "nothing about TLS" };
            let types = if promised.nosniff { ", no other type than is said" } else { "" };
            guard.record().tell(HttpStage::Promise, || format!("{tls}{types}"));
        }
    }
}

/// Where the zone wants it, and its TLS is what QUIC is made of. Only what comes over TLS says so: in the clear it would be
/// anybody's word.
fn offer_http3(answered: &mut Answered, arrived: &Arrived, known: Option<&Known>, worker: &Worker) {
    let speaks = |known: &Known| known.site.policy.settings.speaks().http3;
    if arrived.scheme == Scheme::Https && known.is_some_and(speaks) {
        answered.http3 = worker.ports.quic;
    }
}

fn count(answered: &Answered, guard: &RequestGuard) {
    let requests = &guard.worker.counters.requests;
    if guard.record().problem() == Some(Problem::Blocked) {
        requests.blocked.add(1);
    }
    requests.answered(answered.status);
}

/// For the end stage.
fn note(answered: &mut Answered, guard: &RequestGuard) {
    let is_html = |text: &[u8]| text.get(..PAGES.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(PAGES));
    let is_page = answered.status.is_success() && answered.fields.get("content-type").is_some_and(is_html);
    guard.record().note_answer(answered.status, is_page);
    answered.body.meter(guard.record().sent());
}
