//! `/zones/{zone_id}/spectrum/apps`: TCP and UDP ports of the edge, and what they lead to.
//!
//! Both forms of the dialect are taken; replies are of the whole form. Where a body leaves a choice to us: access rules
//! are in force (`ip_firewall` is true), addresses are dynamic, and the edge ends no TLS. Which address an application
//! gets and what may stand beside it there is decided in [`crate::app_addresses`].

use axum::extract::State;
use bartizan_model::{Application, Zone};
use bartizan_names::{AppId, AppTls, Timestamp, ZoneId};
use bartizan_observed::AppCounters;
use bartizan_store::Direction;
use bartizan_v4::spectrum::{self, AppExtension, EdgeIps};
use bartizan_v4::{App, AppBody, Deleted, StoredApp};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app_addresses::{self, Addresses};
use crate::apps;
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply, direction};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};

/// The codes of the messages that say which part of a request was not granted.
const ONE_FAMILY_MESSAGE: u32 = 11_101;
const ARGO_MESSAGE: u32 = 11_102;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::ZoneSettingsRead, api, routes!(list)))
        .routes(needs(Permission::ZoneSettingsWrite, api, routes!(create)))
        .routes(needs(Permission::ZoneSettingsRead, api, routes!(get)))
        .routes(needs(Permission::ZoneSettingsWrite, api, routes!(replace)))
        .routes(needs(Permission::ZoneSettingsWrite, api, routes!(delete)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// `dns` (the default), `protocol`, `app_id`, `created_on` or `modified_on`.
    order: Option<String>,
    /// `asc` (the default) or `desc`.
    direction: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The applications of a zone.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/spectrum/apps",
    tag = "Spectrum",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<App>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<App>>, Error> {
    let page = PageSizes { min: 1, default: 20, max: 100 }.page(params.page, params.per_page);
    let here = api.clone();
    let apps = api
        .read_list(move |view| {
            view.zone(caller.account, zone)?;
            view.apps(zone, page, &params)?.try_map(|app| sent(&here, &app))
        })
        .await?;
    Ok(Reply::page(apps.documents, page, apps.total).without(apps.left_out))
}

impl View {
    /// A page of the applications of a zone. To put them in order each is read once, and only those of the page are kept.
    fn apps(&self, zone: ZoneId, page: Page, params: &Params) -> Result<Listed<StoredApp>, Error> {
        let mut order = Vec::new();
        let unreadable = self.each_app(zone, |app| order.push(sort_key(params.order.as_deref(), &app)))?;
        order.sort_unstable();
        if direction(params.direction.as_deref()) == Direction::Descending {
            order.reverse();
        }
        let total = order.len() as u64 + unreadable;
        let shown = page.cut(order).into_iter().map(|(.., id)| self.app(zone, id));
        Ok(Listed { documents: shown.collect::<Result<_, _>>()?, left_out: unreadable, total })
    }
}

/// By a text, a time or nothing more, then by name, port and id.
fn sort_key(order: Option<&str>, app: &StoredApp) -> (String, Option<Timestamp>, String, String, AppId) {
    let name = app.dns.name.clone();
    let (text, time) = match order {
        Some("protocol") => (app.protocol.clone(), None),
        Some("app_id") => (app.id.to_string(), None),
        Some("created_on") => (String::new(), Some(app.created_on)),
        Some("modified_on") => (String::new(), Some(app.modified_on)),
        _ => (name.clone(), None),
    };
    (text, time, name, app.protocol.clone(), app.id)
}

/// Makes an application.
#[utoipa::path(
    post,
    path = "/zones/{zone_id}/spectrum/apps",
    tag = "Spectrum",
    params(("zone_id" = String, Path)),
    request_body = AppBody,
    responses((status = 200, body = bartizan_v4::Envelope<App>))
)]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<AppBody>,
) -> Result<Reply<App>, Error> {
    let id = AppId::from_bytes(bartizan_seal::random());
    let argo = asks_for_argo(&body);
    let (actor, edge) = (caller.clone(), api.clone());
    let stored = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            put(change, &edge, &zone, id, None, &body)
        })
        .await?;
    reply(&api, &stored, argo)
}

/// One application, with what it did since the edge started.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/spectrum/apps/{app_id}",
    tag = "Spectrum",
    params(("zone_id" = String, Path), ("app_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<App>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, AppId)>,
) -> Result<Reply<App>, Error> {
    let stored = api
        .read(move |view| {
            view.zone(caller.account, zone)?;
            view.app(zone, id)
        })
        .await?;
    let mut app = sent(&api, &stored)?;
    if let Some(counters) = api.observed().apps.app(id) {
        let listening = api.observed().listening.snapshot();
        let unheard = listening.value.unheard_of(id);
        app.bartizan.listening = Some(unheard.map_or_else(|| "ok".to_owned(), ToString::to_string));
        app.bartizan.counters = Some(counted(&counters));
    }
    Ok(Reply::of(app))
}

/// Replaces an application: what the body leaves out goes back to its default. It keeps its dynamic addresses.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/spectrum/apps/{app_id}",
    tag = "Spectrum",
    params(("zone_id" = String, Path), ("app_id" = String, Path)),
    request_body = AppBody,
    responses((status = 200, body = bartizan_v4::Envelope<App>))
)]
async fn replace(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, AppId)>,
    Body(body): Body<AppBody>,
) -> Result<Reply<App>, Error> {
    let argo = asks_for_argo(&body);
    let (actor, edge) = (caller.clone(), api.clone());
    let stored = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            let stored = change.app(zone.id, id)?;
            put(change, &edge, &zone, id, Some(stored), &body)
        })
        .await?;
    reply(&api, &stored, argo)
}

/// Deletes an application, and its name with it.
#[utoipa::path(
    delete,
    path = "/zones/{zone_id}/spectrum/apps/{app_id}",
    tag = "Spectrum",
    params(("zone_id" = String, Path), ("app_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, AppId)>,
) -> Result<Reply<Deleted>, Error> {
    let actor = caller.clone();
    let held = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            let held = match change.app(zone.id, id).and_then(|stored| apps::parse(&stored)) {
                Ok(stored) => app_addresses::exchange(change, Some(&stored), None).map(|()| Held::Freed)?,
                Err(error) if error.fault == Fault::Damaged => Held::Unknown,
                Err(error) => return Err(error),
            };
            change.delete_app(zone.id, id)?;
            Ok(held)
        })
        .await?;
    if held == Held::Unknown {
        api.background().sweep.set();
        api.background().deletions.wake();
    }
    Ok(Reply::of(Deleted { id: id.to_string() }))
}

/// What becomes of the slot and the addresses of an application that is deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Freed,
    /// Its document does not tell; they are looked for in the background.
    Unknown,
}

/// Puts the application that `body` asks for, in place of `stored` if that is given.
fn put(
    change: &mut Change,
    api: &Api,
    zone: &Zone,
    id: AppId,
    stored: Option<StoredApp>,
    body: &AppBody,
) -> Result<StoredApp, Error> {
    let mut app = Application::parse_body(zone, id, body)?;
    let old = stored.as_ref().map(apps::parse).transpose()?;
    let addresses = Addresses::to_give(change, api)?;
    app_addresses::place(change, &addresses, zone, old.as_ref(), &mut app)?;
    app_addresses::exchange(change, old.as_ref(), Some(&app))?;
    let created_on = stored.map_or(change.now(), |stored| stored.created_on);
    let document = app.document(created_on, change.now());
    change.put_app(&document)?;
    if app.tls != AppTls::Off {
        change.put_certificate(zone, &app.name)?;
    }
    Ok(document)
}

fn asks_for_argo(body: &AppBody) -> bool {
    body.argo_smart_routing.value() == Some(&true)
}

fn reply(api: &Api, stored: &StoredApp, argo: bool) -> Result<Reply<App>, Error> {
    let mut reply = Reply::of(sent(api, stored)?);
    if let Some(text) = Addresses::of_edge(api).one_family(&apps::parse(stored)?) {
        reply = reply.with_message(ONE_FAMILY_MESSAGE, text);
    }
    if argo {
        reply = reply.with_message(ARGO_MESSAGE, "argo_smart_routing is not offered by this edge and stays off");
    }
    Ok(reply)
}

/// An application as clients see it, with the addresses that it has here.
fn sent(api: &Api, stored: &StoredApp) -> Result<App, Error> {
    let addresses: Vec<String> =
        Addresses::of_edge(api).of(&apps::parse(stored)?).iter().map(ToString::to_string).collect();
    Ok(App {
        id: stored.id,
        protocol: stored.protocol.clone(),
        dns: stored.dns.clone(),
        origin_direct: stored.origin_direct.clone(),
        origin_dns: stored.origin_dns.clone(),
        origin_port: stored.origin_port.clone(),
        edge_ips: EdgeIps { ips: Some(addresses.clone()), ..stored.edge_ips.clone() },
        ip_firewall: stored.ip_firewall,
        proxy_protocol: stored.proxy_protocol.clone(),
        tls: stored.tls.clone(),
        traffic_type: stored.traffic_type.clone(),
        argo_smart_routing: false,
        created_on: stored.created_on,
        modified_on: stored.modified_on,
        bartizan: AppExtension { addresses, origin_address: stored.origin_address.clone(), ..AppExtension::default() },
    })
}

fn counted(counters: &AppCounters) -> spectrum::AppCounters {
    spectrum::AppCounters {
        connects: counters.connects,
        filtered: counters.filtered,
        origin_errors: counters.origin_errors,
        bytes_ingress: counters.bytes_ingress,
        bytes_egress: counters.bytes_egress,
        open: counters.open,
        duration_ms: u64::try_from(counters.duration.as_millis()).unwrap_or(u64::MAX),
    }
}
