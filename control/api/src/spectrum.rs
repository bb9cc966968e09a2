//! `/zones/{zone_id}/spectrum/apps`: TCP and UDP ports of the edge, and what they lead to.
//!
//! Both forms of the dialect are taken; replies are of the whole form. Where a body leaves a choice to us: access rules
//! are in force (`ip_firewall` is true), addresses are dynamic, and the edge ends no TLS. Which address an application
//! gets and what may stand beside it there is decided in [`crate::app_addresses`].

use bartizan_model::Application;
use bartizan_names::{AppId, AppTls, Timestamp};
use bartizan_observed::AppCounters;
use bartizan_store::{Direction, Kind};
use bartizan_v4::spectrum::{self, AppExtension, EdgeIps};
use bartizan_v4::{App, AppBody, StoredApp};
use utoipa_axum::router::OpenApiRouter;

use crate::app_addresses::{self, Addresses};
use crate::apps;
use crate::error::{Error, Fault};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, direction};
use crate::resource::{self, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};

/// The codes of the messages that say which part of a request was not granted.
const ONE_FAMILY_MESSAGE: u32 = 11_101;
const ARGO_MESSAGE: u32 = 11_102;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<SpectrumApps>(api)
}

struct SpectrumApps;

impl Resource for SpectrumApps {
    const KIND: Kind = Kind::App;
    const PLACES: &'static [Place] =
        &[Place::changed(Owner::Zone, Permission::ZoneSettingsRead, Permission::ZoneSettingsWrite)];
    const PATH: &'static str = "spectrum/apps";
    const ID: &'static str = "app_id";
    const ONE: &'static str = "an application";
    const MANY: &'static str = "Spectrum";
    const CALLS: &'static [Call] = &[Call::List, Call::Get, Call::Create, Call::Edit(Edit::Replace), Call::Delete];
    const SIZES: PageSizes = PageSizes { min: 1, default: 20, max: 100 };
    const UNKNOWN: Fault = Fault::AppUnknown;
    const TAGGED: bool = false;

    type Id = AppId;
    type Params = Params;
    type Document = StoredApp;
    type Sent = App;

    fn sent(here: &Here<'_>, _: &View, app: StoredApp) -> Result<App, Error> {
        sent(here.api, app)
    }

    /// With what it did since the edge started.
    fn shown(here: &Here<'_>, _: &View, app: StoredApp) -> Result<App, Error> {
        let (id, mut app) = (app.id, sent(here.api, app)?);
        let observed = here.api.observed();
        if let Some(counters) = observed.apps.app(id) {
            let listening = observed.listening.snapshot();
            let not_listening = listening.value.not_listening_of(id);
            app.bartizan.listening = Some(not_listening.map_or_else(|| "ok".to_owned(), ToString::to_string));
            app.bartizan.counters = Some(counted(&counters));
        }
        Ok(app)
    }

    /// To put them in order each is read once, and only those of the page are kept.
    fn list(here: &Here<'_>, view: &View, params: Params, page: Page) -> Result<Listed<StoredApp>, Error> {
        let (zone, mut order) = (here.zone_id()?, Vec::new());
        let unreadable = view.each_app(zone, |app| order.push(sort_key(params.order.as_deref(), &app)))?;
        order.sort_unstable();
        if direction(params.direction.as_deref()) == Direction::Descending {
            order.reverse();
        }
        let total = order.len() as u64 + unreadable;
        let shown = page.cut(order).into_iter().map(|(.., id)| view.app(zone, id));
        Ok(Listed { documents: shown.collect::<Result<_, _>>()?, left_out: unreadable, total, looked_at: None })
    }
}

impl Editable for SpectrumApps {
    type Body = AppBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &AppBody) -> Result<StoredApp, Error> {
        let now = change.now();
        Ok(assigned(here, change, None, AppId::from_bytes(bartizan_seal::random()), body)?.document(now, now))
    }

    /// It keeps its dynamic addresses.
    fn edit(
        here: &Here<'_>,
        change: &mut Change,
        old: &StoredApp,
        body: &AppBody,
        _: Edit,
    ) -> Result<StoredApp, Error> {
        Ok(assigned(here, change, Some(old), old.id, body)?.document(old.created_on, old.modified_on))
    }

    fn id(app: &StoredApp) -> AppId {
        app.id
    }

    fn stamp(app: &mut StoredApp, now: Timestamp) {
        app.modified_on = now;
    }

    fn put(here: &Here<'_>, change: &mut Change, old: Option<&StoredApp>, new: &StoredApp) -> Result<(), Error> {
        let (old, app) = (old.map(apps::parse).transpose()?, apps::parse(new)?);
        app_addresses::update_holders(change, old.as_ref(), Some(&app))?;
        change.put_app(new)?;
        match app.tls {
            AppTls::Off => Ok(()),
            _ => change.put_certificate(&here.zone()?, &app.name),
        }
    }

    fn delete(here: &Here<'_>, change: &mut Change, id: AppId) -> Result<(), Error> {
        let zone = here.zone_id()?;
        match change.app(zone, id).and_then(|stored| apps::parse(&stored)) {
            Ok(app) => app_addresses::update_holders(change, Some(&app), None)?,
            // It does not tell which slot and addresses it has: they are looked for in the background.
            Err(error) if error.fault == Fault::Damaged => {
                let api = here.api.clone();
                change.afterwards(move || {
                    api.background().sweep.set();
                    api.background().deletions.wake();
                });
            }
            Err(error) => return Err(error),
        }
        change.delete_app(zone, id)
    }

    fn messages(here: &Here<'_>, body: &AppBody, app: &StoredApp) -> Result<Vec<(u32, String)>, Error> {
        let one_family = Addresses::of_edge(here.api).one_family(&apps::parse(app)?);
        let argo = body.argo_smart_routing.value() == Some(&true);
        let argo = argo.then_some("argo_smart_routing is not offered by this edge and stays off");
        let all = [(ONE_FAMILY_MESSAGE, one_family), (ARGO_MESSAGE, argo)];
        Ok(all.into_iter().filter_map(|(code, text)| Some((code, text?.to_owned()))).collect())
    }
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
pub(crate) struct Params {
    /// `dns` (the default), `protocol`, `app_id`, `created_on` or `modified_on`.
    order: Option<String>,
    /// `asc` (the default) or `desc`.
    direction: Option<String>,
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

/// Puts an application back as it was, with addresses that are free now.
pub(crate) fn put_back(
    here: &Here<'_>,
    change: &mut Change,
    now: Option<&StoredApp>,
    before: &StoredApp,
) -> Result<(), Error> {
    let mut app = apps::parse(before)?;
    refuse_name_of_api(here.api, &app)?;
    let old = now.map(apps::parse).transpose()?;
    let addresses = Addresses::to_give(change, here.api)?;
    app_addresses::assign(change, &addresses, &here.zone()?, old.as_ref(), &mut app)?;
    let document = app.document(before.created_on, change.now());
    SpectrumApps::put(here, change, now, &document)
}

/// Deletes an application that somebody made, as if they had not.
pub(crate) fn take_back(here: &Here<'_>, change: &mut Change, now: Option<&StoredApp>) -> Result<(), Error> {
    now.map_or(Ok(()), |now| SpectrumApps::delete(here, change, now.id))
}

/// Browsers send the cookies of a host to all of its ports (RFC 6265 §8.5): whoever had an application under a name of the API
/// would get the sessions of those who log in there.
fn refuse_name_of_api(api: &Api, app: &Application) -> Result<(), Error> {
    let name = app.name.to_string();
    if api.facts().api_names.iter().any(|one| one.trim_end_matches('.').eq_ignore_ascii_case(&name)) {
        let detail = format!("{name} is a name of the API, whose sessions browsers would send there too");
        return Err(Fault::AppDns.because(detail).at("/dns/name"));
    }
    Ok(())
}

/// The application that `body` asks for, in place of `old` if that is given, with its addresses.
fn assigned(
    here: &Here<'_>,
    change: &mut Change,
    old: Option<&StoredApp>,
    id: AppId,
    body: &AppBody,
) -> Result<Application, Error> {
    let zone = here.zone()?;
    let mut app = Application::parse_body(&zone, id, body)?;
    refuse_name_of_api(here.api, &app)?;
    let old = old.map(apps::parse).transpose()?;
    let addresses = Addresses::to_give(change, here.api)?;
    app_addresses::assign(change, &addresses, &zone, old.as_ref(), &mut app)?;
    Ok(app)
}

/// An application as clients see it, with the addresses that it has here.
fn sent(api: &Api, stored: StoredApp) -> Result<App, Error> {
    let addresses: Vec<String> =
        Addresses::of_edge(api).of(&apps::parse(&stored)?).iter().map(ToString::to_string).collect();
    Ok(App {
        id: stored.id,
        protocol: stored.protocol,
        dns: stored.dns,
        origin_direct: stored.origin_direct,
        origin_dns: stored.origin_dns,
        origin_port: stored.origin_port,
        edge_ips: EdgeIps { ips: Some(addresses.clone()), ..stored.edge_ips },
        ip_firewall: stored.ip_firewall,
        proxy_protocol: stored.proxy_protocol,
        tls: stored.tls,
        traffic_type: stored.traffic_type,
        argo_smart_routing: false,
        created_on: stored.created_on,
        modified_on: stored.modified_on,
        bartizan: AppExtension {
            addresses,
            origin_address: stored.origin_address,
            origin_pool: stored.origin_pool,
            ..AppExtension::default()
        },
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
