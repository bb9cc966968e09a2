//! All routes, and what is around them: normal paths outside, faults for what no route takes, no reply without an
//! envelope.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bartizan_certs::CrlFetcher;
use bartizan_names::AccountId;
use futures_util::FutureExt;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::{Tried, peer_of};
use crate::background::{Due, Worker};
use crate::calls::{Calls, Turn};
use crate::deletions::Deletions;
use crate::error::{Error, Fault};
use crate::last_used::LastUsed;
use crate::numbers::Numbers;
use crate::path::{self, BASE};
use crate::renewals::Renewals;
use crate::spools::Spools;
use crate::state::{Api, Background, Dependencies};
use crate::turns::Turns;
use crate::writes::Writes;
use crate::{
    access_rules, accounts, acme, acme_worker, analytics, audit_logs, certificate_packs, client_certificates,
    client_hosts, client_roots, clock, crl_worker, custom_certificates, delegation, dns_records, dns_trace, dnssec,
    edge, firewall, front, http_trace, invites, ips, live, load_balancers, members, monitors, openapi, organizations,
    origin_clients, origin_roots, page, page_rules, phishing, pools, pops, previews, probes, registries, sessions,
    settings, spectrum, status, tokens, tunnel_routes, tunnels, user, users, zone_facts, zones,
};

/// The whole API as a service, for [`crate::serve()`] and for tests.
pub fn router(given: Dependencies) -> Router {
    let names: Arc<[String]> = given.facts.api_names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let numbers = Arc::new(Numbers::telling(given.observed.problems.clone(), given.certs.clock().clone()));
    let writes = Writes::new(given.store.clone(), given.certs.clone(), Arc::clone(&numbers));
    let calls = Arc::new(Calls::new(given.facts.calls_max));
    let last_used = Arc::new(LastUsed::read(&given.facts.data));
    let edge = given.facts.account;
    let background = Background::start(&writes, &given, &numbers, &last_used);
    let api = Api::new(given, writes, background, numbers, last_used);
    let (v4, document) = {
        let (v4, document) = dialect(&api).split_for_parts();
        // Types that serde can write always make a document; an empty one shows the mistake in the first test.
        let text: Arc<str> = openapi::finished(&document).map_or_else(|_| "{}".into(), Into::into);
        (v4, text)
    };
    // It was made of some twenty megabytes, in small pieces.
    bartizan_net::give_back_memory();
    let v4 = v4.route("/openapi.json", get(move || async move { openapi::response(&document) }));
    let inner = Router::new()
        .nest(BASE, v4)
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics))
        .route("/", get(page::page))
        .route(page::PLAIN_PATH, get(page::plain))
        .route(page::ASSETS_PATH, get(page::asset))
        .route(page::ICON_PATH, get(page::asset))
        .route(page::STYLE_PATH, get(page::style))
        .fallback(|uri: Uri| async move { Error::from(tunnels::not_served(uri.path()).unwrap_or(Fault::NoRoute)) })
        .method_not_allowed_fallback(|| async { Error::from(Fault::BadMethod) })
        .with_state(api);
    let service = move |request| answer(inner.clone(), Arc::clone(&names), Arc::clone(&calls), edge, request);
    Router::new().fallback_service(tower::service_fn(service))
}

impl Background {
    fn start(writes: &Writes, given: &Dependencies, numbers: &Arc<Numbers>, last_used: &Arc<LastUsed>) -> Background {
        let sweep = Due::default();
        let mut deletions = Deletions::new(writes.clone(), sweep.clone(), Arc::clone(numbers));
        let (certs, seal) = (given.certs.clone(), given.seal.clone());
        let mut renewals = Renewals::new(writes.clone(), certs, seal, Arc::clone(numbers));
        let last_used = Arc::clone(last_used);
        let imports = Turns::default();
        let applied = given.observed.applied.clone();
        let acme =
            acme_worker::start(given.store.clone(), given.seal.clone(), writes.clone(), applied, Arc::clone(numbers));
        let fetcher = CrlFetcher::new(given.reach.clone(), given.certs.clock());
        let crls = crl_worker::start(given.store.clone(), fetcher, writes.clone(), Arc::clone(numbers));
        let (undo, turns) = (writes.clone(), imports.clone());
        Background {
            deletions: Worker::start("deletions", move |stop| deletions.run(stop)),
            sweep,
            _end: imports.end(),
            imports,
            spools: Spools::new(&given.facts.data),
            _undo: Worker::start("imports", move |stop| dns_records::undo_all(&undo, &turns, stop)),
            acme,
            crls,
            _renewals: Worker::start("renewals", move |stop| renewals.run(stop)),
            _last_used: Worker::start("last-used", move |stop| last_used.run(stop)),
        }
    }
}

/// The routes of the dialect, with their document.
fn dialect(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::empty(&api.facts().version))
        .merge(user::routes(api))
        .merge(organizations::routes(api))
        .merge(invites::routes(api))
        .merge(users::routes(api))
        .merge(sessions::routes(api))
        .merge(tokens::routes(api))
        .merge(accounts::routes(api))
        .merge(members::routes(api))
        .merge(zones::routes(api))
        .merge(settings::routes(api))
        .merge(dnssec::routes(api))
        .merge(registries::routes(api))
        .merge(custom_certificates::routes(api))
        .merge(origin_roots::routes(api))
        .merge(origin_clients::routes(api))
        .merge(client_roots::routes(api))
        .merge(client_hosts::routes(api))
        .merge(client_certificates::routes(api))
        .merge(certificate_packs::routes(api))
        .merge(acme::routes(api))
        .merge(zone_facts::routes(api))
        .merge(dns_records::routes(api))
        .merge(dns_trace::routes(api))
        .merge(analytics::routes(api))
        .merge(live::routes(api))
        .merge(http_trace::routes(api))
        .merge(previews::routes(api))
        .merge(delegation::routes(api))
        .merge(page_rules::routes(api))
        .merge(phishing::routes(api))
        .merge(ips::routes())
        .merge(tunnels::routes(api))
        .merge(tunnel_routes::routes(api))
        .merge(access_rules::routes(api))
        .merge(firewall::routes(api))
        .merge(pools::routes(api))
        .merge(monitors::routes(api))
        .merge(load_balancers::routes(api))
        .merge(spectrum::routes(api))
        .merge(edge::routes(api))
        .merge(pops::routes(api))
        .merge(audit_logs::routes(api))
        .merge(status::routes(api))
        .merge(clock::routes(api))
}

async fn answer(
    router: Router,
    names: Arc<[String]>,
    calls: Arc<Calls>,
    edge: AccountId,
    mut request: Request,
) -> Result<Response, Infallible> {
    normalise(&mut request);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    // The page and the probes are for people and monitors of this machine.
    let is_call = path.starts_with(BASE);
    let turn = is_call.then(|| calls.turn(request.headers(), peer_of(request.extensions()), Instant::now()));
    let admitted = turn.map_or(Ok(()), Turn::check).and_then(|()| front::check(&request, &names));
    let mut response = match admitted {
        Ok(()) => match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            // The hook has printed where; the client is told nothing of it.
            Err(_) => Error::from(Fault::Internal).into_response(),
        },
        Err(error) => error.into_response(),
    };
    if let Some(Tried(caller)) = response.extensions_mut().remove() {
        response = audit_logs::with_dry_run(response, &caller, edge).await;
    }
    if let Some(turn) = turn {
        turn.tell(response.headers_mut());
    }
    tracing::debug!(%method, path, status = response.status().as_u16(), "API");
    Ok(response)
}

fn normalise(request: &mut Request) {
    let path = path::normal(request.uri().path());
    if path == request.uri().path() {
        return;
    }
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    // Its bytes were a valid target before; where they are not any more, the router sees what was sent.
    if let Ok(target) = target.parse() {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target);
        if let Ok(uri) = http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::BodyExt;

    use super::*;

    async fn panics() -> StatusCode {
        panic!("a handler of a test that panics")
    }

    /// One handler with a mistake in it ends neither its connection nor the process, and tells strangers nothing.
    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let path = "/client/v4/zones";
        let router = Router::new().route(path, get(panics));
        let calls = Arc::new(Calls::new(100));
        let request = http::Request::get(path).header("host", "localhost").body(axum::body::Body::empty()).unwrap();
        let edge = AccountId::from_bytes([1; 16]);
        let response = answer(router, Arc::new([]), calls, edge, request).await.unwrap();
        assert_eq!(response.status(), Fault::Internal.status());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let envelope: bartizan_v4::Failure = serde_json::from_slice(&body).unwrap();
        let [error] = envelope.errors.as_slice() else { panic!("{envelope:?}") };
        assert_eq!((error.code, error.message.as_str()), (Fault::Internal.code(), Fault::Internal.text()));
    }
}
